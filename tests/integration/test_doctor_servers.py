"""What `pgveil doctor` says of servers that are PostgreSQL, PgBouncer, HAProxy, or something else."""

import base64
import http.server
import json
import ssl
import threading
from pathlib import Path

import pytest

from harness.certificates import DAY, Authority, Credentials, rehashed
from harness.haproxy import Haproxy
from harness.pgbouncer import Pgbouncer
from harness.pgveil import BINARY, EX_CONFIG, EX_UNAVAILABLE
from harness.postgres import PASSWORD
from harness.processes import environment, run


def examine(port: int, root, *words, host="localhost", hostaddr="127.0.0.1", **variables):
    """Exit code, the report, and the last step of each name."""
    words = [f"{host}:{port}", "--sslrootcert", root, "--connect-timeout", "2s", *words,
             *(["--hostaddr", hostaddr] if hostaddr else [])]  # fmt: skip
    done = run(BINARY, "doctor", "--json", *words, env=environment(**variables))
    assert done.returncode in (0, EX_UNAVAILABLE), done.stderr
    (report,) = json.loads(done.stdout)["servers"]
    return done.returncode, report, {step["name"]: step for step in report["steps"]}


# --- PostgreSQL ---


def test_postgresql_is_recognized_in_each_release(each_postgres, authority):
    """Also without a user. 15 on Debian 12; others where they are installed below /usr/lib/postgresql."""
    code, report, steps = examine(each_postgres.port, authority.file)
    assert code == 0 and report["answers"] == "postgresql" and steps["server"]["outcome"] == "passed"
    assert steps["GSSENC"]["text"].startswith("G:")
    version = int(each_postgres.admin("SHOW server_version_num")) // 10_000
    expected = "accepted, ALPN postgresql" if version >= 17 else "not accepted"
    assert steps["direct TLS"]["text"].startswith(expected)


def test_postgresql_without_tls_is_recognized(postgres, authority):
    with postgres.reconfigured(ssl="off"):
        _, report, steps = examine(postgres.port, authority.file)
    assert report["answers"] == "postgresql" and report["tls"] is None and "GSSENC" in steps


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_ciphers_that_are_broken_are_a_fault(postgres, authority, kind):
    """A cipher without encryption needs a key that OpenSSL has it with, and security level 0."""
    credentials = authority.issue("localhost", dns=["localhost"], kind=kind)
    with postgres.presenting(credentials, ssl_ciphers="ALL:eNULL:@SECLEVEL=0"):
        code, report, steps = examine(postgres.port, authority.file)
    assert code == EX_UNAVAILABLE and report["tls"]["broken_ciphers"]
    assert "ssl_ciphers" in steps["ciphers"]["finding"]["remedy"] and steps["ciphers"]["finding"]["side"] == "server"


def test_ciphers_without_forward_secrecy_are_noted(postgres, authority):
    credentials = authority.issue("localhost", dns=["localhost"], kind="rsa")
    with postgres.presenting(credentials):
        code, report, steps = examine(postgres.port, authority.file)
    assert code == 0 and steps["ciphers"]["outcome"] == "noted"
    assert "AES256-GCM-SHA384" in report["tls"]["ciphers_without_forward_secrecy"]
    _, report, steps = examine(postgres.port, authority.file)
    assert steps["ciphers"]["outcome"] == "passed" and not report["tls"]["ciphers_without_forward_secrecy"]


@pytest.mark.parametrize("count", [0, 3])
def test_session_tickets_are_counted(scripted_server, credentials, authority, count):
    server = scripted_server(lambda peer: peer.accept_tls(credentials, num_tickets=count))
    _, report, steps = examine(server.port, authority.file)
    assert report["tls"]["tickets"] == count and ("none" in steps["tickets"]["text"]) == (count == 0)


def test_each_address_of_both_families_is_tried(postgres, authority):
    """PostgreSQL listens on 127.0.0.1 only."""
    _, report, steps = examine(postgres.port, authority.file, hostaddr=None)
    addresses = {each["family"]: each for each in report["addresses"]}
    assert addresses["IPv4"]["connected"] and report["verdict"]["verified"]
    assert "IPv4 127.0.0.1" in steps["dns"]["text"]
    if "IPv6" in addresses:
        assert not addresses["IPv6"]["connected"] and addresses["IPv6"]["error"] == "Connection refused"
        assert "IPv6 ::1" in steps["dns"]["text"]


# --- PgBouncer ---


@pytest.fixture
def bouncer(folder, postgres, credentials):
    running = []

    def start(mode):
        running.append(Pgbouncer(folder, postgres, credentials, mode))
        return running[-1]

    yield start
    for each in running:
        each.stop()


@pytest.mark.parametrize("mode, plaintext", [("require", "passed"), ("allow", "failed")])
def test_pgbouncer_is_recognized(bouncer, authority, mode, plaintext):
    port = bouncer(mode).port
    _, report, steps = examine(port, authority.file, "--user", "app", "--dbname", "ledger")
    assert report["answers"] == "pgbouncer" and "PgBouncer" in steps["server"]["text"]
    assert steps["GSSENC"]["text"].startswith("N:")
    assert steps["plaintext"]["outcome"] == plaintext
    if plaintext == "failed":
        assert "client_tls_sslmode" in steps["plaintext"]["finding"]["remedy"]
    assert "channel binding is not offered" in steps["login"]["text"]


def test_a_login_through_pgbouncer_shows_the_server_behind_it(bouncer, authority, postgres):
    port = bouncer("require").port
    _, report, steps = examine(port, authority.file, "--user", "app", "--dbname", "ledger", PGPASSWORD=PASSWORD)
    assert report["session"] == {"method": "SCRAM-SHA-256", "server_version": postgres.admin("SHOW server_version")}
    assert "between PgBouncer and PostgreSQL" in steps["pg_stat_ssl"]["text"]
    _, report, steps = examine(port, authority.file, "--user", "app", "--dbname", "pgbouncer", PGPASSWORD=PASSWORD)
    assert report["session"]["server_version"].endswith("/bouncer")
    assert "admin console" in steps["version"]["text"] and "pg_stat_ssl" not in steps


# --- something else ---


def test_haproxy_with_direct_tls_is_recognized(folder, postgres, credentials, authority):
    """And verified, as soon as it is asked for direct TLS."""
    bundle = folder / "haproxy.pem"
    bundle.write_bytes(credentials.certificate.read_bytes() + credentials.key.read_bytes())
    haproxy = Haproxy(folder, f"127.0.0.1:{postgres.port}", bind=f"ssl crt {bundle} alpn postgresql")
    try:
        code, report, steps = examine(haproxy.address[1], authority.file)
        assert code == EX_UNAVAILABLE and report["answers"] == "direct_tls"
        finding = steps["verdict"]["finding"]
        assert finding["side"] == "client" and "sslnegotiation to direct" in finding["remedy"]
        code, report, steps = examine(haproxy.address[1], authority.file, "--sslnegotiation", "direct")
        assert code == 0 and report["verdict"]["verified"] and steps["ALPN"]["text"] == "postgresql"
        assert report["answers"] == "direct_tls"
    finally:
        haproxy.stop()


def test_haproxy_without_alpn_is_a_tls_server(folder, postgres, credentials, authority):
    bundle = folder / "haproxy.pem"
    bundle.write_bytes(credentials.certificate.read_bytes() + credentials.key.read_bytes())
    haproxy = Haproxy(folder, f"127.0.0.1:{postgres.port}", bind=f"ssl crt {bundle}")
    try:
        _, report, steps = examine(haproxy.address[1], authority.file)
        assert report["answers"] == "tls" and "alpn postgresql" in steps["verdict"]["finding"]["remedy"]
    finally:
        haproxy.stop()


class Web:
    """An HTTP server, with TLS if there are credentials."""

    def __init__(self, credentials=None, alpn=()):
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
        self._server.RequestHandlerClass.log_message = lambda *words: None
        self._server.handle_error = lambda *words: None
        if credentials:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(credentials.certificate, credentials.key)
            if alpn:
                context.set_alpn_protocols(list(alpn))
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True,
                                                      do_handshake_on_connect=False)  # fmt: skip
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.mark.parametrize("answers, tls, alpn", [("http", False, ()), ("https", True, ("http/1.1",)), ("tls", True, ())])
def test_web_servers_are_recognized(credentials, authority, answers, tls, alpn):
    with Web(credentials if tls else None, alpn) as web:
        code, report, steps = examine(web.port, authority.file)
    assert code == EX_UNAVAILABLE and report["answers"] == answers
    finding = steps["verdict"]["finding"]
    assert finding["side"] == "client" and "host and port of PostgreSQL" in finding["remedy"]


def test_a_silent_port_is_recognized(scripted_server, authority):
    server = scripted_server(lambda peer: None)
    code, report, steps = examine(server.port, authority.file)
    assert code == EX_UNAVAILABLE and report["answers"] == "silent"
    assert "nobody answers" in steps["server"]["text"] and steps["verdict"]["finding"]["side"] == "server"


# --- our own files ---


@pytest.fixture(scope="module")
def crl_authority(workplace):
    directory = workplace / "doctor crl"
    directory.mkdir()
    return Authority(directory, "crl root")


def serving(scripted_server, credentials):
    return scripted_server(lambda peer: peer.accept_tls(credentials, minimum_version=ssl.TLSVersion.TLSv1_2)).port


@pytest.mark.parametrize("as_directory", [False, True], ids=["file", "directory"])
def test_a_current_crl_is_compared_with_the_chain(folder, scripted_server, crl_authority, as_directory):
    credentials = crl_authority.issue("localhost", dns=["localhost"])
    crl = crl_authority.revoke()
    words = ("--sslcrldir", rehashed(folder, crl)) if as_directory else ("--sslcrl", crl)
    code, report, steps = examine(serving(scripted_server, credentials), crl_authority.file, *words)
    assert code == 0 and steps["CRL"]["outcome"] == "passed" and "none of the chain" in steps["CRL"]["text"]


@pytest.mark.parametrize("kind, reason", [("revoking", "upstream_certificate_revoked"), ("expired", "upstream_crl_unusable"),
                                          ("missing", "upstream_crl_unusable")])  # fmt: skip
def test_a_crl_that_refuses_the_server(pgveil, scripted_server, crl_authority, authority, kind, reason):
    credentials = crl_authority.issue("localhost", dns=["localhost"])
    crl = {"revoking": lambda: crl_authority.revoke(credentials),
           "expired": lambda: crl_authority.revoke(age=3 * DAY),
           "missing": lambda: authority.revoke()}[kind]()  # fmt: skip
    port = serving(scripted_server, credentials)
    code, report, steps = examine(port, crl_authority.file, "--sslcrl", crl)
    proxy = pgveil({"host": "localhost", "hostaddr": "127.0.0.1", "port": port, "sslrootcert": str(crl_authority.file),
                    "sslcrl": str(crl)})  # fmt: skip
    assert proxy.psql("SELECT 1").returncode != 0
    assert f"reason={reason} " in proxy.end_of_session()
    assert code == EX_UNAVAILABLE and report["verdict"]["reason"] == reason
    assert steps["CRL"]["outcome"] == "failed"
    assert steps["verdict"]["finding"]["remedy"].endswith(".") and "CRL" in steps["CRL"]["name"]


def with_extra(folder, credentials, extra: Path):
    """`credentials` with one more certificate at the end of the chain."""
    chain = folder / "chain.crt"
    chain.write_bytes(credentials.certificate.read_bytes() + extra.read_bytes())
    return Credentials(chain, credentials.key)


@pytest.mark.parametrize("kind", ["old and new CRL", "new and old CRL", "directory", "extra certificate", "expired root"])
def test_what_a_session_does_not_need_is_no_fault(folder, postgres, crl_authority, pgveil, kind):
    """OpenSSL takes the current CRL, and ignores certificates that are not part of the path to a root."""
    credentials = crl_authority.issue("localhost", dns=["localhost"])
    old, new = crl_authority.revoke(age=3 * DAY), crl_authority.revoke()
    crl = {"sslcrl": folder / "root.crl"}
    (folder / "root.crl").write_bytes(new.read_bytes())
    if kind.endswith("CRL"):
        files = (old, new) if kind.startswith("old") else (new, old)
        (folder / "root.crl").write_bytes(b"".join(file.read_bytes() for file in files))
    elif kind == "directory":
        (folder / "crls").mkdir()
        crl = {"sslcrldir": rehashed(folder / "crls", old, new)}
    elif kind == "extra certificate":
        other = Authority(folder, "other", issuer=Authority(folder, "other root"))
        credentials = with_extra(folder, credentials, other.file)
    else:
        expired = Authority(folder, "expired root", age=3 * DAY)
        credentials = with_extra(folder, credentials, expired.file)
    with postgres.presenting(credentials):
        words = [text for key, path in crl.items() for text in (f"--{key}", path)]
        code, report, _ = examine(postgres.port, crl_authority.file, *words)
        upstream = postgres.upstream(sslrootcert=str(crl_authority.file), **{key: str(path) for key, path in crl.items()})
        assert pgveil(upstream).query("SELECT 1") == "1"
    assert report["verdict"]["verified"]
    assert [step["text"] for step in report["steps"] if step["outcome"] == "failed"] == [] and code == 0
    notes = [step["text"] for step in report["steps"] if step["outcome"] == "noted"]
    expected = {"extra certificate": 'no CRL of "CN=other root"', "expired root": "expired on"}.get(kind, "expired on")
    assert any(expected in note for note in notes)


def in_der(key, to):
    """Writes the key in DER (PKCS #8), encrypted if `key` is."""
    to.write_bytes(base64.b64decode("".join(key.read_text().splitlines()[1:-1])))
    to.chmod(0o600)
    return to


@pytest.mark.parametrize("kind", ["not encrypted", "encrypted", "not encrypted, in DER"])
def test_our_certificate_and_key_are_described(postgres, authority, folder, kind):
    passphrase = "open sesame" if kind == "encrypted" else None
    mine = authority.issue_to_client("certified", passphrase=passphrase)
    key = in_der(mine.key, folder / "key.der") if kind.endswith("DER") else mine.key
    words = ["--sslcert", mine.certificate, "--sslkey", key]
    _, _, steps = examine(postgres.port, authority.file, *words, PGVEIL_SSLPASSWORD=passphrase or "")
    assert f"mode 0600, owner {key.owner()}, {kind}, fits the certificate" in steps["own key"]["text"]
    assert '"CN=certified"' in steps["own cert"]["text"] and "for clients" in steps["own cert"]["text"]
    assert steps["accepted"]["outcome"] == "passed"


@pytest.mark.parametrize("fault, words", [("mode", "group or world access"), ("other", "does not match"),
                                          ("encrypted", "is encrypted"),
                                          ("encrypted DER", "it is encrypted and in DER format, not PEM")])  # fmt: skip
def test_a_key_that_cannot_be_used_is_an_error(folder, authority, fault, words):
    mine = authority.issue_to_client("app", passphrase="open sesame" if fault.startswith("encrypted") else None)
    key = folder / "key"
    key.write_bytes((authority.issue_to_client("x") if fault == "other" else mine).key.read_bytes())
    key.chmod(0o644 if fault == "mode" else 0o600)
    variables = environment()
    if fault == "encrypted DER":
        in_der(mine.key, key)
        variables = environment(PGVEIL_SSLPASSWORD="open sesame")
    done = run(BINARY, "doctor", "localhost", "--sslrootcert", authority.file, "--sslcert", mine.certificate, "--sslkey", key,
               env=variables)  # fmt: skip
    assert done.returncode == EX_CONFIG and "--sslkey" in done.stderr and words in done.stderr and "hint: " in done.stderr


def test_our_certificate_that_has_expired_is_a_fault(scripted_server, credentials, authority):
    mine = authority.issue_to_client("app", age=3 * DAY)
    words = ["--sslcert", mine.certificate, "--sslkey", mine.key]
    code, _, steps = examine(serving(scripted_server, credentials), authority.file, *words)
    assert code == EX_UNAVAILABLE and steps["own cert"]["finding"]["side"] == "client"


# --- the chain ---


def test_the_authorities_of_the_system_are_asked_too(scripted_server, credentials, authority, crl_authority):
    port = serving(scripted_server, credentials)
    _, _, steps = examine(port, crl_authority.file, SSL_CERT_FILE=str(authority.file))
    assert steps["system"]["text"].endswith("sslrootcert=system would do")
    _, _, steps = examine(port, crl_authority.file, SSL_CERT_FILE=str(crl_authority.file))
    assert "do not trust this chain either" in steps["system"]["text"]
    _, _, steps = examine(port, authority.file)
    assert "system" not in steps


def test_a_certificate_has_its_purpose(postgres, authority):
    _, report, steps = examine(postgres.port, authority.file)
    assert report["certificates"][0]["for_servers"] and not report["certificates"][0]["for_clients"]
    texts = [step["text"] for step in report["steps"] if step["name"] == "certificate"]
    assert texts[0].endswith("; for servers") and texts[1].endswith("; an authority")


def test_pgveil_itself_is_recognized(pgveil, postgres, credentials, authority):
    listener = {"ssl_cert_file": str(credentials.certificate), "ssl_key_file": str(credentials.key)}
    proxy = pgveil(postgres.upstream(), listener=listener)
    _, report, _ = examine(proxy.address[1], authority.file)
    assert report["answers"] == "pgveil"

