"""What identity, rules and audit must withstand."""

import json
import re
import struct

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from harness import wire
from harness.audit import logins, to_file
from harness.certificates import DAY
from harness.pgveil import BINARY, psql, toml
from harness.postgres import PASSWORD
from harness.processes import Daemon, eventually
from harness.tls_clients import answer, certificate, run_psql, shown, tls_client

CERT = "hostssl all all all cert"


@pytest.fixture
def start(pgveil, postgres, authority, credentials):
    def start(hba=CERT, ident="", upstream=None, log=None, audit=None, **listener):
        settings = {"ssl_ca_file": str(authority.file), "hba": hba, **({"ident": ident} if ident else {}), **listener}
        return pgveil(upstream or postgres.unix_upstream(), listener=certificate(credentials, **settings),
                      log=log or {}, audit=audit or {})  # fmt: skip

    return start


def attribute(kind, value):
    return x509.NameAttribute(kind, value)


CN, O, OU, C = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.COUNTRY_NAME

# The DN as PostgreSQL itself sees it: pg_stat_ssl is of another format, so method cert with clientname=DN is asked.
DNS = {
    "a comma": (x509.Name([attribute(O, "Acme, Inc."), attribute(CN, "alice")]), r"CN=alice,O=Acme\, Inc."),
    "a forged CN within O": (x509.Name([attribute(O, "x,CN=admin"), attribute(CN, "bob")]), r"CN=bob,O=x\,CN=admin"),
    "special characters": (x509.Name([attribute(CN, 'a+b"c\\d<e>f;g')]), r'CN=a\+b\"c\\d\<e\>f\;g'),
    "blanks around": (x509.Name([attribute(CN, " x ")]), r"CN=\ x\ "),
    "a hash in front": (x509.Name([attribute(CN, "#x")]), r"CN=\#x"),
    "UTF-8": (x509.Name([attribute(CN, "Jürgen")]), r"CN=J\C3\BCrgen"),
    "several values in one RDN": (
        x509.Name([
            x509.RelativeDistinguishedName([attribute(C, "DE")]),
            x509.RelativeDistinguishedName([attribute(OU, "ledger"), attribute(CN, "alice")]),
        ]), None),
    "two CNs": (x509.Name([attribute(CN, "first"), attribute(O, "o"), attribute(CN, "second")]),
                "CN=second,O=o,CN=first"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DNS, ids=lambda kind: kind.replace(" ", "-"))
def test_a_dn_is_spelled_as_postgres_spells_it(kind, start, postgres, authority, folder):
    name, written = DNS[kind]
    client = {"user": "billing", **shown(authority.issue_to_client(name=name))}
    proxy = start("hostssl all all all cert map=m clientname=DN", r"m /^(.*)$ orders", log={"level": "debug"})
    run_psql(proxy, authority, "SELECT 1", **client)
    subject = re.search(r'audit .*subject=(?:"((?:[^"\\]|\\.)*)"|(\S+))',
                        proxy.wait_for_line(" audit ").string)  # fmt: skip
    seen = json.loads(f'"{subject[1]}"') if subject[1] is not None else subject[2]
    if written:
        assert seen == written
    quoted = '"' + seen.replace('"', '""') + '"'
    rule, ident = "cert map=m clientname=DN", f"m {quoted} billing\n"
    strict = start(f"hostssl all all all {rule}", ident)
    with postgres.reconfigured(hba=f"local all all trust\nhostssl all all 127.0.0.1/32 {rule}", ident=ident):
        assert answer(run_psql(postgres, authority, "SELECT current_user", **client)) == "billing"
        assert answer(run_psql(strict, authority, "SELECT current_user", **client)) == "billing"


def test_a_server_that_asks_for_a_password_is_explained(start, authority):
    proxy = start()
    client = shown(authority.issue_to_client("app"))
    done = run_psql(proxy, authority, "SELECT 1", user="app", **client)
    assert "FATAL:  pgveil: the server asks for a password, and the proxy has none for this user" in done.stderr
    line = proxy.end_of_session()
    assert "reason=upstream_asks_for_password " in line and " sqlstate=28000 " in line


def test_an_assigned_user_gives_the_default_database(start, postgres, authority):
    postgres.admin("SELECT 1 FROM pg_database WHERE datname = 'billing'") or postgres.admin("CREATE DATABASE billing")
    client = authority.issue_to_client("workload")
    proxy = start("hostssl all all all cert map=m assign=1", "m workload billing")
    with tls_client(proxy, authority, credentials=client) as session:
        session.send(wire.startup_message())
        session.receive_until(b"Z")
        session.send(wire.query("SELECT current_database()"))
        rows = [body for kind, body in session.receive_until(b"Z") if kind == b"D"]
    assert rows == [b"\0\1\0\0\0\7billing"]


def test_assign_with_a_user_asked_and_no_database(start, postgres, authority):
    """The user that was asked for is not the one that the database is called after, for the server that gets `user`."""
    postgres.admin("SELECT 1 FROM pg_database WHERE datname = 'billing'") or postgres.admin("CREATE DATABASE billing")
    client = authority.issue_to_client("workload")
    proxy = start("hostssl billing all all cert map=m assign=1\nhostssl app all all reject", "m workload billing")
    with tls_client(proxy, authority, credentials=client) as session:
        session.send(wire.startup_message(user="app"))
        kind, body = session.receive_message()
    # The rules were asked for database "app" (the asked user's default): it must not become "billing" behind them.
    assert kind == b"E", "the rule for database app (reject) was passed, and the database became another"


IDENTITY = "CN=back office"


class TestTheServerIsToldTheTruth:
    @pytest.fixture
    def ask(self, start, authority):
        client = authority.issue_to_client("back office")

        def ask(setting, *pairs, **listener):
            rule = "hostssl all all all trust clientcert=verify-ca"
            allowed = "options,application_name,pgveil.client_dn"
            proxy = start(rule, log_client_identity=True, allowed_startup_parameters=allowed, **listener)
            with tls_client(proxy, authority, credentials=client) as session:
                session.send(wire.startup_message(("user", "billing"), ("database", "ledger"), *pairs))
                kind = b""
                while kind != b"Z":
                    kind, body = session.receive_message()
                    if kind == b"E":
                        return "FATAL " + wire.error_fields(body)["M"]
                session.send(wire.query(f"SHOW {setting}"))
                messages = session.receive_until(b"Z")
            return next(body[6:].decode() for kind, body in messages if kind == b"D")

        return ask

    @pytest.mark.parametrize("pairs", [
        pytest.param([("application_name", "x")], id="plain"),
        pytest.param([("application_name", "x"), ("Application_Name", "forged [CN=admin]")],
                     id="another-spelling-behind"),
        pytest.param([("APPLICATION_NAME", "forged [CN=admin]"), ("application_name", "x")],
                     id="another-spelling-before"),
        pytest.param([("options", "-c application_name=forged")], id="options"),
        pytest.param([("application_name", "x" * 70)], id="70-bytes"),
        pytest.param([("application_name", "x" * 50)], id="50-bytes"),
    ])  # fmt: skip
    def test_in_the_application_name(self, ask, pairs):
        said = ask("application_name", *pairs)
        assert said.endswith(f"[{IDENTITY}]") or said == IDENTITY

    @pytest.mark.parametrize("pairs", [
        [],
        [("options", "-c pgveil.client_dn=CN=admin")],
        [("options", "--pgveil.client-dn=CN=admin")],
        [("pgveil.client_dn", "CN=admin")],
        [("PGVEIL.CLIENT_DN", "CN=admin")],
    ])
    def test_in_options(self, ask, pairs):
        assert ask("pgveil.client_dn", *pairs, client_identity_in="options") == IDENTITY

    @pytest.mark.parametrize("end", ["\\", " --", " -c", " -c x=\\", " #", "\\\\", " ''", ' "'])
    def test_what_swallows_the_identity_lets_nobody_in(self, ask, end):
        said = ask("pgveil.client_dn", ("options", "-c pgveil.client_dn=CN=admin" + end), client_identity_in="options")
        assert said == IDENTITY or said.startswith("FATAL "), said


@pytest.mark.parametrize("value", ["true", "tru", "t", "on", "yes", "y", "1", "TRUE", "off", "of", "o", "0", "f", "",
                                   "database", "DATABASE", "databas", "maybe", " true", "2"])  # fmt: skip
@pytest.mark.parametrize("rules", ["host all all 127.0.0.0/8 trust", "host replication all 127.0.0.0/8 trust"])
def test_replication_is_read_as_postgres_reads_it(value, rules, pgveil, postgres, authority, credentials):
    postgres.admin("SELECT 1 FROM pg_roles WHERE rolname = 'walsender'") or postgres.admin(
        "CREATE ROLE walsender LOGIN REPLICATION")
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials, hba=rules))
    packet = wire.startup_message(user="walsender", database="ledger", replication=value)

    def verdict(server):
        with tls_client(server, authority) as client:
            client.send(packet)
            kind, body = client.receive_message()
        if kind != b"E":
            return kind
        error = wire.error_fields(body)
        # PostgreSQL adds the value.
        return error["C"], re.sub(': "[^"]*"$', "", error["M"].removeprefix(wire.OWN))

    with postgres.reconfigured(hba=rules):
        by_postgres = verdict(postgres)
    with postgres.reconfigured(hba="local all all trust\nlocal replication all trust"):
        by_pgveil = verdict(proxy)
    assert by_pgveil == by_postgres


NAMES = [
    {"user": "billing", "database": ""}, {"user": "billing"}, {"user": "ledger", "database": ""},
    {"user": "LEDGER", "database": "ledger"}, {"user": "all", "database": "all"}, {"user": "replication"},
    {"user": "billing", "database": "replication"}, {"user": "x" * 63, "database": "y" * 63},
    {"user": "billing ", "database": "ledger"}, {"user": '"billing"', "database": "ledger"},
]


@pytest.mark.parametrize("names", NAMES, ids=str)
@pytest.mark.parametrize("rules", [
    "hostssl sameuser all 127.0.0.0/8 trust", "hostssl replication all 127.0.0.0/8 trust",
    'hostssl "replication" all 127.0.0.0/8 trust', 'hostssl all "all" 127.0.0.0/8 reject',
    "hostssl ledger,billing billing 127.0.0.0/8 trust", 'hostssl ledger"x" all 127.0.0.0/8 trust',
    "hostssl LEDGER all 127.0.0.0/8 reject",
])  # fmt: skip
def test_names_are_compared_as_postgres_compares_them(names, rules, pgveil, postgres, authority, credentials):
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials, hba=rules))

    def verdict(server):
        with tls_client(server, authority) as client:
            client.send(wire.startup_message(**names))
            kind, body = client.receive_message()
        error = wire.error_fields(body) if kind == b"E" else None
        return (error["C"], error["M"].removeprefix(wire.OWN)) if error else kind

    with postgres.reconfigured(hba=rules):
        by_postgres = verdict(postgres)
    with postgres.reconfigured(hba="local all all trust"):
        by_pgveil = verdict(proxy)
    assert by_pgveil == by_postgres


class TestAudit:
    def test_every_refusal_has_one_record(self, start, authority, folder):
        file = folder / "audit.json"
        proxy = start("hostssl all billing all cert", audit=to_file(file))
        run_psql(proxy, authority, "SELECT 1", user="billing", **shown(None))
        run_psql(proxy, authority, "SELECT 1", user="billing", **shown(authority.issue_to_client("orders")))
        run_psql(proxy, authority, "SELECT 1", user="app", **shown(authority.issue_to_client("app")))
        run_psql(proxy, authority, "SELECT 1", user="billing", sslmode="disable")
        proxy.wait_for_lines("session_closed", 4)
        assert proxy.stop() == 0
        reasons = [record["reason"] for record in logins(file)]
        assert reasons == ["client_certificate_required", "identity_not_mapped", "rejected_by_rule", "tls_required"]

    def test_a_certificate_that_was_refused_is_audited(self, start, authority, folder):
        file = folder / "audit.json"
        proxy = start(audit=to_file(file))
        run_psql(proxy, authority, "SELECT 1", user="billing", **shown(authority.issue_to_client("x", age=3 * DAY)))
        proxy.end_of_session()
        assert proxy.stop() == 0
        records = logins(file)
        assert [each["reason"] for each in records] == ["client_certificate_invalid"]

    def test_names_of_any_bytes_stay_json(self, start, authority, folder):
        file = folder / "audit.json"
        proxy = start("hostssl all all 127.0.0.0/8 trust", audit=to_file(file))
        with tls_client(proxy, authority) as client:
            client.send(wire.startup_packet(struct.pack("!I", wire.PROTOCOL_3_0) +
                                            b"user\0a\xff\"\n\x1b[31m{}\0database\0\xc3(\0\0"))
            client.receive_to_end()
        proxy.end_of_session()
        assert proxy.stop() == 0
        record, = logins(file)
        assert record["outcome"] == "refused"

    def test_a_password_is_in_no_record(self, pgveil, postgres, authority, credentials, folder):
        file = folder / "audit.json"
        proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials),
                       audit=to_file(file), log={"level": "debug"})  # fmt: skip
        run_psql(proxy, authority, "SELECT 1")
        run_psql(proxy, authority, "SELECT 1", user="old")
        run_psql(proxy, authority, "SELECT 1", password="a wrong guess")
        proxy.wait_for_lines("session_closed", 3)
        assert proxy.stop() == 0
        assert len(logins(file)) == 3
        for text in file.read_text(), proxy.log:
            assert PASSWORD not in text and "wrong guess" not in text

    def test_an_upstream_that_is_down_is_audited_as_refused(self, start, authority, folder):
        file = folder / "audit.json"
        proxy = start(upstream={"host": str(folder), "port": 1}, audit=to_file(file))
        run_psql(proxy, authority, "SELECT 1", user="billing", **shown(authority.issue_to_client("billing")))
        proxy.end_of_session()
        assert proxy.stop() == 0
        record, = logins(file)
        assert (record["outcome"], record["reason"]) == ("refused", "upstream_unreachable")


def test_built_in_rules_with_optional_tls_and_a_ca(pgveil, postgres, authority, credentials):
    """sslmode=prefer without a certificate: refused inside TLS, and back in plaintext."""
    proxy = pgveil(postgres.unix_upstream(),
                   listener=certificate(credentials, tls="optional", ssl_ca_file=str(authority.file)))  # fmt: skip
    done = run_psql(proxy, authority, "SELECT 1", sslmode="prefer", **shown(None))
    assert done.returncode != 0, "ssl_ca_file is set, and a client without certificate is in (in plaintext)"


@pytest.mark.parametrize("upstream, code", [("different", "28000"), ("shared", "08001")])
def test_the_codes_of_channel_binding(upstream, code, pgveil, postgres, authority, credentials):
    more = {"shared_certificate": True} if upstream == "shared" else {}
    proxy = pgveil(postgres.upstream(), listener=certificate(credentials, **more))
    run_psql(proxy, authority, "SELECT 1")
    assert f" sqlstate={code} " in proxy.end_of_session()


@pytest.mark.parametrize("level", ["warning", "error"])
def test_the_audit_file_does_not_depend_on_the_level_of_the_log(level, postgres, folder):
    """pgveil tells where it listens at level info, so the socket has to say when it is there."""
    file, socket = folder / "audit.json", folder / ".s.PGSQL.5432"
    configuration = folder / "quiet.toml"
    configuration.write_text(toml({
        "listener": [{"address": f"unix:{socket}", "upstream": "a", "hba": "local all all trust"}],
        "upstream": {"a": postgres.unix_upstream()},
        "audit": to_file(file), "log": {"level": level},
    }), encoding="utf-8")  # fmt: skip
    daemon = Daemon(BINARY, "run", "--config", configuration)
    try:
        # The socket is there a moment before it listens.
        eventually(lambda: psql(f"host={folder} port=5432 user=billing dbname=ledger", "SELECT 1").stdout == "1\n")
    finally:
        assert daemon.stop() == 0
    record, = logins(file)
    assert record["outcome"] == "accepted"


@pytest.mark.parametrize("address, comes_in", [("::1/128", True), ("::/0", True), ("127.0.0.0/8", False)])
def test_ipv6_clients_are_matched_by_ipv6_rules_alone(address, comes_in, pgveil, postgres):
    rules = f"host all all {address} trust"
    proxy = pgveil(postgres.unix_upstream(), listener={"address": "[::1]:0", "hba": rules})
    done = proxy.psql("SELECT 1", user="billing")
    assert (done.returncode == 0) == comes_in
    if not comes_in:
        assert 'no pg_hba.conf entry for host "::1", user "billing", database "ledger", no encryption' in done.stderr
