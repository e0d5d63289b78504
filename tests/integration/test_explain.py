"""`pgveil explain`: what it says of a client is what a session with this client does. See also test_access_rules.py."""

import re
import shutil
import socket
import ssl

import pytest

from harness.certificates import Authority
from harness.guide import commands, sections
from harness.pgveil import BINARY, EX_CONFIG, EX_UNAVAILABLE, EX_USAGE, toml
from harness.processes import run
from harness.secrets import secret_file
from harness.tls_clients import run_psql, shown, tls_socket

RULES = """
host    all  billing  10.0.0.0/8   reject
hostssl all  all      127.0.0.0/8  cert map=people
host    all  all      127.0.0.0/8  relay
"""
PEOPLE = "people /^(.*)@example\\.com$ \\1"


@pytest.fixture(scope="module")
def users(authority):
    """Certificates of clients."""
    return {name: authority.issue_to_client(f"{name}@example.com") for name in ("billing", "orders")}


@pytest.fixture
def other_authority(folder):
    (folder / "other").mkdir()
    return Authority(folder / "other", "another root")


@pytest.fixture
def file(folder, postgres, authority, credentials):
    """A configuration, whose listener and upstream may have more settings."""

    def write(upstream=None, listeners=1, **listener):
        settings = {"address": "127.0.0.1:0", "upstream": "primary", "tls": "optional",
                    "ssl_cert_file": str(credentials.certificate), "ssl_key_file": str(credentials.key),
                    "ssl_ca_file": str(authority.file), "hba": RULES, "ident": PEOPLE, **listener}  # fmt: skip
        settings = {key: value for key, value in settings.items() if value is not None}
        path = folder / "pgveil.toml"
        path.write_text(toml({
            "listener": [settings, {**settings, "address": "127.0.0.2:0"}][:listeners],
            "upstream": {"primary": {**postgres.unix_upstream(), **(upstream or {})}},
        }), encoding="utf-8")  # fmt: skip
        return path

    return write


def explained(path, *options):
    return run(BINARY, "explain", "--config", path, *options)


def steps(done) -> dict[str, str]:
    """What stands beside each label, several lines in one."""
    found, label = {}, ""
    for line in done.stdout.splitlines():
        label = line[:12].strip() or label
        found[label] = f"{found.get(label, '')} {line[12:]}".strip()
    return found


def test_a_client_whose_certificate_is_mapped(file, users, pgveil, authority):
    path = file()
    options = ("--cert", users["billing"].certificate, "--user", "billing", "--database", "ledger")
    done = explained(path, *options)
    assert done.returncode == 0, done.stderr
    said = steps(done)
    assert said["client"] == "127.0.0.1, with TLS"
    assert said["certificate"].startswith("CN=billing@example.com, verified by ")
    assert re.fullmatch(rf"{path}:\d+ \(hostssl all all 127\.0\.0\.0/8 cert map=people\), method cert", said["rule"])
    assert re.fullmatch(rf'{path}:\d+, "billing@example.com" is database user "billing"', said["map"])
    assert said["admitted"] == 'as database user "billing", database "ledger"'
    assert said["login"].startswith("The client is not asked")
    assert said["startup"] == 'user="billing", database="ledger"'
    assert "/.s.PGSQL." in said["server"] and "without TLS" in said["server"]
    proxy = pgveil(flags=["--config", path])
    session = run_psql(proxy, authority, "SELECT current_user", user="billing", **shown(users["billing"]))
    assert session.stdout.strip() == "billing"


@pytest.mark.parametrize("user, certificate", [("billing", "orders"), ("orders", "other"), ("billing", None)])
def test_a_client_whose_certificate_is_not_good_for_the_user(file, users, pgveil, authority, other_authority, user, certificate):
    credentials = {**users, "other": other_authority.issue_to_client("orders@example.com"), None: None}[certificate]
    path = file()
    options = ["--cert", credentials.certificate] if credentials else ["--tls"]
    done = explained(path, "--user", user, *options)
    assert done.returncode == EX_UNAVAILABLE, done.stdout
    reason = re.search(r"\(reason (\w+)", steps(done)["refused"])[1]
    proxy = pgveil(flags=["--config", path])
    assert run_psql(proxy, authority, "SELECT 1", user=user, **shown(credentials)).returncode == 2
    proxy.wait_for_line(f" session_closed .*reason={reason} ")


def test_a_certificate_that_is_not_asked_for(file, users):
    done = explained(file(ssl_ca_file=None, hba="host all all all relay", ident=None), "--cert", users["billing"].certificate,
                     "--user", "billing")  # fmt: skip
    assert done.returncode == 0 and "not asked for" in steps(done)["certificate"]


def test_all_rules(file):
    done = explained(file(), "--user", "orders", "--all-rules")
    compared = [line[12:].split(" ", 1)[1] for line in done.stdout.splitlines() if " match" in line]
    assert compared == [
        "(host all billing 10.0.0.0/8 reject) does not match: the user",
        "(hostssl all all 127.0.0.0/8 cert map=people) does not match: its type is for other connections",
        "(host all all 127.0.0.0/8 relay) matches",
    ]
    done = explained(file(), "--user", "billing", "--client", "10.1.2.3", "--all-rules")
    assert done.stdout.count(" match") == 1
    assert steps(done)["refused"].startswith(
        'FATAL 28000: pgveil: pg_hba.conf rejects connection for host "10.1.2.3", user "billing", database "billing"')  # fmt: skip


def certificate_for(credentials, names=None) -> dict:
    return {**({"server_names": names} if names else {}), "ssl_cert_file": str(credentials.certificate),
            "ssl_key_file": str(credentials.key)}  # fmt: skip


def test_the_server_name_chooses_the_certificate(file, pgveil, authority, credentials):
    other = authority.issue("db", dns=["db.example.com"])
    path = file(certificate=[certificate_for(other, "db.example.com")], ssl_ca_file=None, hba="host all all all relay", ident=None)
    proxy = pgveil(flags=["--config", path])
    for name, expected in ("db.example.com", other), ("DB.Example.COM", other), ("elsewhere.example", credentials):
        said = steps(explained(path, "--user", "billing", "--sni", name))
        assert said["client"].endswith("with TLS") and said["presents"].startswith(f"{expected.certificate}, for ")
        assert said["presents"].endswith(f'to a client that requests "{name}"')
        with tls_socket(proxy, authority, name=name, check_hostname=False) as tls:
            assert tls.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(expected.certificate.read_text())
    said = steps(explained(path, "--user", "billing", "--tls"))
    assert said["presents"] == f'{credentials.certificate}, for "localhost", to a client that requests no server name'
    assert "presents" not in steps(explained(path, "--user", "billing"))


def test_a_server_name_without_a_certificate(file, pgveil, authority):
    path = file(certificate=[certificate_for(authority.issue("db", dns=["db.example.com"]), "db.example.com")],
                ssl_cert_file=None, ssl_key_file=None, ssl_ca_file=None, hba="host all all all relay", ident=None)  # fmt: skip
    assert explained(path, "--user", "billing", "--sni", "db.example.com").returncode == 0
    done = explained(path, "--user", "billing", "--sni", "elsewhere.example")
    assert done.returncode == EX_UNAVAILABLE
    assert steps(done)["refused"] == (
        "the TLS handshake with the client failed (reason tls_failed; the client gets no message) "
        'The client asked for "elsewhere.example", for which no certificate is set. '
        "Add the name to server_names of a certificate of the listener."
    )
    assert "with --sni: libpq sends it." in steps(explained(path, "--user", "billing", "--tls"))["refused"]
    proxy = pgveil(flags=["--config", path])
    with pytest.raises(ssl.SSLError, match="unrecognized name"):
        tls_socket(proxy, authority, name="elsewhere.example")
    proxy.wait_for_line(" session_closed .*reason=tls_failed ")


def test_the_channel_binding_of_both_sides(file, folder, credentials, authority):
    auth_file = secret_file(folder / "users.txt", '"billing" "secret"\n')
    upstream = {"host": "db.example.com", "hostaddr": "127.0.0.1", "sslrootcert": str(authority.file)}
    path = file(upstream, hba="host all all all scram-sha-256", ident=None, ssl_ca_file=None, auth_file=auth_file)
    login = steps(explained(path, "--user", "billing", "--tls"))["login"]
    assert "by SCRAM (every channel_binding of the client works)" in login and "(scram-sha-256, bound to TLS if it can)" in login
    login = steps(explained(path, "--user", "billing"))["login"]
    assert "by SCRAM (no channel binding)" in login and "channel_binding=require fails" in login
    path = file({**upstream, "channel_binding": "disable"}, hba="host all all all scram-sha-256", ident=None,
                ssl_ca_file=None, auth_file=auth_file)  # fmt: skip
    assert "(scram-sha-256)." in steps(explained(path, "--user", "billing", "--tls"))["login"]


def test_only_files_are_opened(file, folder, authority, credentials):
    """No connection to the server, no address that is listened on, no audit, no command for a password."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as taken:
        host, port = server.getsockname()
        mark = folder / "mark"
        path = file({"host": "db.invalid", "hostaddr": host, "port": port, "sslrootcert": str(authority.file),
                     "password_command": ["touch", str(mark)]},
                    address=f"127.0.0.1:{taken.getsockname()[1]}", hba="host all all 127.0.0.1/32 trust", ident=None,
                    tls="off", ssl_cert_file=None, ssl_key_file=None, ssl_ca_file=None)  # fmt: skip
        audit = folder / "audit.log"
        path.write_text(path.read_text() + f'[audit]\ntarget = "file"\nfile = "{audit}"\n')
        done = explained(path, "--user", "billing")
        assert done.returncode == 0, done.stderr
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert not mark.exists() and not audit.exists()


def test_a_rule_with_a_host_name_needs_the_name(file):
    path = file(hba="host all all app.example.com relay", ident=None)
    unknown = explained(path, "--user", "billing")
    assert unknown.returncode == EX_USAGE and "--client-name" in unknown.stderr
    assert explained(path, "--user", "billing", "--client-name", "app.example.com").returncode == 0
    assert explained(path, "--user", "billing", "--client-name", "other.example.com").returncode == EX_UNAVAILABLE


def test_plaintext_where_tls_is_required(file):
    done = explained(file(tls="require"), "--user", "billing")
    assert done.returncode == EX_UNAVAILABLE
    assert steps(done)["refused"].startswith("FATAL 28000: pgveil: connection requires TLS (reason tls_required)")


def test_tls_where_there_is_none(folder, postgres):
    path = folder / "plain.toml"
    path.write_text(toml({"listener": [{"address": "127.0.0.1:0", "upstream": "a"}],
                          "upstream": {"a": postgres.unix_upstream()}}), encoding="utf-8")  # fmt: skip
    assert "reason tls_not_offered" in steps(explained(path, "--user", "billing", "--tls"))["refused"]
    assert explained(path, "--user", "billing").returncode == 0


def test_parameters_that_the_listener_sets(file):
    path = file(hba="host all all all relay", ident=None, database="ledger", application_name="shop")
    assert steps(explained(path, "--user", "billing", "--database", "other"))["startup"] == (
        'user="billing", database="ledger", application_name="shop"'
    )


def test_the_admin_database(file):
    path = file(hba="host all all 127.0.0.1/32 trust", ident=None, admin_database="pgveil", admin_users="operator")
    done = explained(path, "--user", "operator", "--database", "pgveil")
    assert steps(done)["admitted"] == 'to the admin database, as user "operator"'
    done = explained(path, "--user", "billing", "--database", "pgveil")
    assert "reason admin_database_denied" in steps(done)["refused"]


def test_a_user_who_is_not_in_auth_file(file, folder):
    path = file(hba="host all all all scram-sha-256", ident=None, admin_database="pgveil", admin_users="operator,orders",
                auth_file=secret_file(folder / "users.txt", '"billing" "secret"\n"operator" "secret"\n'))  # fmt: skip
    assert explained(path, "--user", "billing").returncode == 0
    done = explained(path, "--user", "orders")
    assert done.returncode == EX_UNAVAILABLE and "reason password_wrong" in steps(done)["refused"]
    for user, reason in (("billing", "admin_database_denied"), ("orders", "password_wrong")):
        done = explained(path, "--user", user, "--database", "pgveil")
        assert done.returncode == EX_UNAVAILABLE and f"reason {reason}" in steps(done)["refused"]
    assert explained(path, "--user", "operator", "--database", "pgveil").returncode == 0


def test_a_rule_that_assigns_the_user(file, users):
    path = file(hba="hostssl all all all cert map=people assign=1")
    certificate = ("--cert", users["billing"].certificate)
    assert steps(explained(path, *certificate))["admitted"] == 'as database user "billing", database "billing"'
    assert steps(explained(path, *certificate, "--user", "eve", "--database", "ledger"))["startup"] == (
        'user="billing", database="ledger"'
    )


@pytest.mark.parametrize("options, reason", [
    ([], "no_user"),
    (["--user", "x" * 64], "protocol_violation"),
    (["--user", "billing", "--database", "x" * 64], "protocol_violation"),
])  # fmt: skip
def test_a_startup_message_that_is_refused(file, options, reason):
    done = explained(file(hba="host all all all reject", ident=None), *options)
    assert done.returncode == EX_UNAVAILABLE and f"reason {reason}" in steps(done)["refused"]


def test_an_ipv4_address_in_ipv6(file):
    assert steps(explained(file(), "--user", "orders", "--client", "::ffff:127.0.0.9"))["client"] == "127.0.0.9, without TLS"


def test_a_role_without_a_certificate(file, folder, users):
    (folder / "roles").mkdir()
    done = explained(file(hba="hostssl all all all cert map=people", upstream={"role_certificates": str(folder / "roles")}),
                     "--user", "billing", "--cert", users["billing"].certificate)  # fmt: skip
    assert done.returncode in (EX_UNAVAILABLE, EX_CONFIG)


def test_a_process_at_a_unix_socket(folder, postgres):
    path = folder / "unix.toml"
    path.write_text(toml({
        "listener": [{"address": f"unix:{folder}/.s.PGSQL.5432", "upstream": "a", "hba": "local all all peer"}],
        "upstream": {"a": postgres.unix_upstream()},
    }), encoding="utf-8")  # fmt: skip
    done = explained(path, "--user", "billing", "--os-user", "billing")
    assert done.returncode == 0 and steps(done)["client"] == "[local], without TLS"
    assert "reason identity_not_mapped" in steps(explained(path, "--user", "billing", "--os-user", "eve"))["refused"]
    assert "clients of a Unix socket have no address" in explained(path, "--user", "a", "--client", "10.0.0.1").stderr


@pytest.mark.parametrize("options, message", [
    (["--listener", "127.0.0.9:1"], 'there is no listener "127.0.0.9:1"'),
    (["--client", "example.com"], '"example.com" is not an IP address'),
    (["--cert", "/nonexistent.crt"], "/nonexistent.crt"),
    (["--os-user", "app"], "only clients of a Unix socket"),
    (["--sni", "10.0.0.1"], '"10.0.0.1" is never a server name (SNI)'),
    (["--colour"], 'unknown option "--colour"'),
])  # fmt: skip
def test_a_mistake_in_the_command_line(file, options, message):
    done = explained(file(), *options)
    assert done.returncode == EX_USAGE and message in done.stderr


def test_one_of_several_listeners(file):
    path = file(listeners=2)
    assert "Name one of them with --listener: 127.0.0.1:0, 127.0.0.2:0." in explained(path, "--user", "billing").stderr
    done = explained(path, "--user", "billing", "--listener", "127.0.0.2:0")
    assert steps(done)["listener"] == "127.0.0.2:0, to upstream primary"


def test_a_configuration_with_errors(file):
    done = explained(file(hba="nonsense"), "--user", "billing")
    assert done.returncode == EX_CONFIG and "nonsense" in done.stderr


def test_the_page_shows_what_is_printed(folder, authority):
    """The example of docs/access-rules.md, with its files in another folder."""
    (shown,) = [block for block in sections("access-rules.md")["What would happen to a client"] if "pgveil explain" in block.text]
    ((command, output),) = commands(shown)
    server, mine = authority.issue("server", dns=["pg.example.com"]), authority.issue_to_client("pgveil")
    alice = authority.issue_to_client("alice@example.com")
    for name, file in {"server.crt": server.certificate, "server.key": server.key, "clients-ca.crt": authority.file,
                       "sslcert.crt": mine.certificate, "sslcert.key": mine.key, "alice.crt": alice.certificate}.items():  # fmt: skip
        shutil.copy2(file, folder / name)
    (folder / "hba.conf").write_text("# Who may come in\n\nhostssl  all  all  10.0.0.0/8  cert  map=people\n")
    (folder / "ident.conf").write_text("people  /^(.*)@example\\.com$  \\1\n")
    (folder / "pgveil.toml").write_text(toml({
        "listener": [{"address": "0.0.0.0:6432", "upstream": "primary", "ssl_cert_file": f"{folder}/server.crt",
                      "ssl_key_file": f"{folder}/server.key", "ssl_ca_file": f"{folder}/clients-ca.crt",
                      "hba_file": f"{folder}/hba.conf", "ident_file": f"{folder}/ident.conf"}],
        "upstream": {"primary": {"host": "db.example.com", "sslrootcert": f"{folder}/clients-ca.crt",
                                 "sslcert": f"{folder}/sslcert.crt", "sslkey": f"{folder}/sslcert.key"}},
    }))  # fmt: skip
    words = command.replace("/etc/pgveil", str(folder)).split()[1:]
    done = run(BINARY, *words, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.replace(str(folder), "/etc/pgveil").splitlines() == output.splitlines()
