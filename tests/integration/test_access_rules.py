"""Rules: the same lines, asked of PostgreSQL itself and of pgveil, must let the same clients in and refuse in the same
words."""

import re
from dataclasses import dataclass

import pytest

from harness import wire
from harness.pgveil import BINARY, EX_CONFIG, toml
from harness.processes import environment, run
from harness.tls_clients import certificate, run_psql

RULES = {
    "no rule for the database": "hostssl postgres all all trust",
    "one database": "hostssl ledger all 127.0.0.0/8 trust",
    "a list of databases": "hostssl postgres,ledger all 127.0.0.0/8 trust",
    "sameuser": "hostssl sameuser all 127.0.0.0/8 trust",
    "a quoted keyword is a name": 'hostssl "all" all 127.0.0.0/8 trust',
    "one user": "hostssl all billing 127.0.0.0/8 trust",
    "a list of users": "hostssl all orders,billing 127.0.0.0/8 trust",
    "another user": "hostssl all orders 127.0.0.0/8 trust",
    "the first match decides": "hostssl all billing all reject\nhostssl all all 127.0.0.0/8 trust",
    "the first match lets in": "hostssl all all 127.0.0.0/8 trust\nhostssl all billing all reject",
    "plaintext only": "hostnossl all all 127.0.0.0/8 trust",
    "with and without TLS": "host all all 127.0.0.0/8 trust",
    "never with GSS": "hostgssenc all all 127.0.0.0/8 trust",
    "all others without GSS": "hostnogssenc all all 127.0.0.0/8 trust",
    "Unix sockets only": "local all all trust",
    "one address": "host all all 127.0.0.1/32 trust",
    "another address": "host all all 127.0.0.2/32 trust",
    "a mask of its own": "host all all 127.0.0.99 255.255.255.0 trust",
    "IPv6 does not match IPv4": "host all all ::1/128 trust",
    "a mapped address does not, either": "host all all ::ffff:127.0.0.1/128 reject\nhost all all 127.0.0.1/32 trust",
    "a host name": "host all all localhost reject",
    "another host name": "host all all elsewhere.example.com reject",
    "a suffix": "host all all .example.com reject",
    "samehost": "host all all samehost reject",
    "samenet": "host all all samenet reject",
    "all is no replication": "host all all 127.0.0.0/8 trust\nhost replication all 127.0.0.0/8 reject",
    "replication only": "host replication all 127.0.0.0/8 trust",
    "comments and continuation": "# one\nhost all \\\nall 127.0.0.0/8 trust # three",
    "an explicit reject": "host all all all reject",
}
CLIENTS = {
    "tls": {"user": "billing"},
    "plaintext": {"user": "billing", "sslmode": "disable"},
    "postgres": {"user": "billing", "dbname": "postgres"},
    "replication": {"user": "walsender", "replication": "true"},
    "logical": {"user": "walsender", "replication": "database"},
}


@pytest.fixture(scope="module")
def server(postgres):
    postgres.admin("CREATE ROLE walsender LOGIN REPLICATION")
    return postgres


@dataclass
class Outcome:
    is_in: bool
    words: str


def outcome(server, authority, client) -> Outcome:
    command = "IDENTIFY_SYSTEM" if "replication" in client else "SELECT 1"
    done = run_psql(server, authority, command, **client)
    found = re.search(r"FATAL:  (.*)", done.stderr)
    assert done.returncode == 0 or found, done.stderr
    return Outcome(done.returncode == 0, found[1].removeprefix(wire.OWN) if found else "")


def explanation(file, client) -> Outcome:
    """What `pgveil explain` says of it."""
    options = ["--user", client["user"], "--database", client.get("dbname", "ledger"), "--client-name", "localhost"]
    options += ["--tls"] if "sslmode" not in client else []
    options += ["--replication"] if client.get("replication") == "true" else []
    done = run(BINARY, "explain", "--config", file, *options)
    found = re.search(r"^refused +FATAL \w+: pgveil: (.*) \(reason \w+\)$", done.stdout, re.MULTILINE)
    assert (done.returncode == 0) is (found is None), done
    return Outcome(done.returncode == 0, found[1] if found else "")


@pytest.mark.parametrize("rules", RULES, ids=lambda name: name.replace(" ", "-"))
def test_the_same_clients_come_in(rules, server, pgveil, authority, credentials, folder):
    """And `pgveil explain` says so before."""
    lines = RULES[rules]
    listener = certificate(credentials, tls="optional", hba=lines)
    proxy = pgveil(server.unix_upstream(), listener=listener)
    file = folder / "pgveil.toml"
    file.write_text(toml({"listener": [{"address": "127.0.0.1:0", "upstream": "a", **listener}],
                          "upstream": {"a": server.unix_upstream()}}), encoding="utf-8")  # fmt: skip
    # By the Unix socket pgveil has to get in.
    with server.reconfigured(hba=lines):
        by_postgres = {name: outcome(server, authority, client) for name, client in CLIENTS.items()}
    with server.reconfigured(hba="local all all trust\nlocal replication all trust"):
        by_pgveil = {name: outcome(proxy, authority, client) for name, client in CLIENTS.items()}
    assert by_pgveil == by_postgres
    assert {name: explanation(file, client) for name, client in CLIENTS.items()} == by_postgres


def check(folder, listener: dict):
    file = folder / "pgveil.toml"
    settings = {"address": "127.0.0.1:0", "upstream": "a", **listener}
    file.write_text(toml({"listener": [settings], "upstream": {"a": {"host": "/run"}}}), encoding="utf-8")
    return run(BINARY, "check", "--config", file)


@pytest.mark.parametrize(
    "rule, complaint",
    [
        ("host all +staff all relay", "+staff"),
        ("host samerole all all relay", "samerole"),
        ("host all all all scram-sha-256", "relay"),
        ("host all all all cert", "hostssl"),
        ("host all all all peer", "local"),
        ("hostssl all all all relay colour=blue", "colour"),
        ("host all all 10.0.0.0/33 relay", 'invalid prefix length "33"'),
        ("host all /( all relay", "("),
        ("host all", "ends before the users"),
    ],
)
def test_what_cannot_be_is_named_with_its_line(folder, rule, complaint):
    file = folder / "pg_hba.conf"
    file.write_text(f"# the first line\n\n{rule}\n")
    done = check(folder, {"hba_file": str(file)})
    assert done.returncode == EX_CONFIG
    assert f"{file}:3: " in done.stderr and complaint in done.stderr


def test_errors_of_included_files_are_located_there(folder):
    (folder / "rules").mkdir()
    (folder / "rules/10.conf").write_text("host all all all relay\nnonsense\n")
    file = folder / "pg_hba.conf"
    file.write_text("include_dir rules\ninclude_if_exists nowhere.conf\n")
    done = check(folder, {"hba_file": str(file)})
    assert done.returncode == EX_CONFIG
    assert f"{folder}/rules/10.conf:2: " in done.stderr and "nowhere.conf" not in done.stderr


def test_an_included_file_must_be_there(folder):
    file = folder / "pg_hba.conf"
    file.write_text("host all all all relay\ninclude missing.conf\n")
    done = check(folder, {"hba_file": str(file)})
    assert done.returncode == EX_CONFIG
    assert f"{file}:2: " in done.stderr and f'could not read file "{folder}/missing.conf"' in done.stderr


def test_names_may_stand_in_a_file(pgveil, server, folder):
    (folder / "users").write_text("orders\nbilling # and nobody else\n")
    rules = folder / "pg_hba.conf"
    rules.write_text("host all @users all relay\n")
    proxy = pgveil(server.unix_upstream(), listener={"hba_file": str(rules)})
    assert proxy.query("SELECT current_user", user="billing") == "billing"
    done = proxy.psql("SELECT 1", user="app")
    assert 'no pg_hba.conf entry for host "127.0.0.1", user "app", database "ledger", no encryption' in done.stderr


def test_check_prints_the_rules_that_are_built_in(folder):
    done = check(folder, {})
    assert "    host all all all relay\n    host replication all all relay\n" in done.stdout


def test_a_user_is_still_asked_for(pgveil, server):
    proxy = pgveil(server.unix_upstream())
    with proxy.connect() as client:
        client.send(wire.startup_message(database="ledger"))
        assert client.receive_error()["M"] == "pgveil: no PostgreSQL user name specified in startup packet"


def test_rules_of_a_variable_count(pgveil, postgres):
    proxy = pgveil(
        flags=[],
        variables={
            "PGVEIL_LISTEN": "127.0.0.1:0",
            "PGVEIL_UPSTREAM": f"{postgres.directory}:{postgres.port}",
            "PGVEIL_HBA": "host all orders all reject\nhost all all all relay",
        },
    )
    assert proxy.query("SELECT 1", user="billing") == "1"
    assert "FATAL:  pgveil: pg_hba.conf rejects connection" in proxy.psql("SELECT 1", user="orders").stderr


def test_a_variable_that_sets_nothing_keeps_it_from_starting():
    flags = ["--listen", "127.0.0.1:0", "--upstream", "/nonexistent"]
    done = run(BINARY, "run", *flags, env=environment(PGVEIL_PASSWORD_COMMAND="/bin/token"))
    assert done.returncode == EX_CONFIG
    assert done.stderr.startswith('error: unknown variable "PGVEIL_PASSWORD_COMMAND"\n')
