"""Whom pgveil believes to be the server: for every kind of certificate, what libpq's verify-full says too.

Each row is one server and one setting. The verdict must be the one that is written here, and the one of `psql
sslmode=verify-full` at the same server. Where it is no, the client must get SQLSTATE 08001 with the whole diagnosis,
and the server nothing at all."""

import socket
import ssl
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from harness import wire
from harness.certificates import CLIENT, DAY, Authority, pem
from harness.pgveil import psql
from harness.processes import run_or_fail
from harness.scripted_server import verified_session

YES = "yes"

# Reasons, as the log has them.
UNTRUSTED = "upstream_certificate_untrusted"
EXPIRED = "upstream_certificate_expired"
NOT_YET_VALID = "upstream_certificate_not_yet_valid"
REVOKED = "upstream_certificate_revoked"
WRONG_NAME = "upstream_certificate_wrong_name"
INVALID = "upstream_certificate_invalid"
CRL_UNUSABLE = "upstream_crl_unusable"

HOST = "db.example.com"


class Authorities:
    """The CAs of this file. Only what `root` and `rsa` have issued can be trusted."""

    def __init__(self, directory):
        self.root = Authority(directory, "root")
        self.rsa = Authority(directory, "rsa root", kind="rsa")
        self.ed25519 = Authority(directory, "ed25519 root", kind="ed25519")
        self.stranger = Authority(directory, "stranger")
        self.namesake = Authority(directory, "root")  # another key under the trusted name
        self.intermediate = Authority(directory, "intermediate", issuer=self.root)
        self.expired = Authority(directory, "expired", issuer=self.root, age=3 * DAY, lifetime=2 * DAY)
        # A certificate for servers that signs another, as if it were a CA.
        self.no_authority = Authority(directory, "no authority", issuer=self.root)
        self.no_authority.certificate = self.root._sign(
            self.no_authority.subject, self.no_authority.key, ca=False
        )
        # Certificates of servers that a client is given as sslrootcert.
        self.own = self.root.self_signed(HOST)
        self.issued = self.root.issue(HOST, dns=[HOST])
        # One that is self-signed, is not a CA, and signs another all the same.
        self.pinned = Authority(directory, "pinned")
        self.pinned.certificate = self.pinned._sign(self.pinned.subject, self.pinned.key, ca=False)
        self.pinned.file = self.pinned._write("crt", pem(self.pinned.certificate))


@pytest.fixture(scope="module")
def ca(workplace):
    directory = workplace / "certificates"
    directory.mkdir()
    return Authorities(directory)


@dataclass(frozen=True)
class Case:
    name: str
    verdict: str  # YES, or the reason
    issue: object  # (Authorities) -> Credentials of the server
    host: str = HOST
    diagnosis: str = ""  # words of DETAIL
    settings: object = field(default=lambda ca: {})  # (Authorities) -> settings beside sslrootcert
    root: str = "root"  # which authority is trusted
    server: dict = field(default_factory=dict)  # of the TLS server

    def __str__(self):
        return self.name.replace(" ", "-")


def named(*common_names, **options):
    """A certificate of the trusted root."""
    return lambda ca: ca.root.issue(*common_names, **options)


CASES = [
    # The name, by the rules of fe-secure-common.c.
    Case("a dNSName that is the host", YES, named("x", dns=[HOST])),
    Case("a dNSName in another case", YES, named("x", dns=["DB.Example.COM"])),
    Case("the second of two dNSNames", YES, named("x", dns=["other.example.com", HOST])),
    Case("another dNSName", WRONG_NAME, named("x", dns=["db.example.org"]), diagnosis="db.example.org"),
    Case("a CN and no names beside it", YES, named(HOST)),
    Case("another CN and no names beside it", WRONG_NAME, named("db.example.org"), diagnosis="db.example.org"),
    Case("the CN is not looked at beside a dNSName", WRONG_NAME, named(HOST, dns=["other.example.com"])),
    Case("the CN is looked at beside an address", YES, named(HOST, ips=["192.0.2.1"])),
    Case("the first CN counts", YES, named(HOST, "other")),
    Case("the second CN does not", WRONG_NAME, named("other", HOST)),
    Case("a wildcard for one label", YES, named("x", dns=["*.example.com"])),
    Case("a wildcard in the CN", YES, named("*.example.com")),
    Case("a wildcard is not for two labels", WRONG_NAME, named("x", dns=["*.example.com"]),
         host="a.db.example.com"),
    Case("a wildcard is not for no label", WRONG_NAME, named("x", dns=["*.db.example.com"])),
    Case("no wildcard within a label", WRONG_NAME, named("x", dns=["d*.example.com"])),
    Case("no wildcard in the middle", WRONG_NAME, named("x", dns=["db.*.com"])),
    Case("a bare wildcard is for nothing", WRONG_NAME, named("x", dns=["*"]), host="db"),
    Case("a wildcard above a top level", YES, named("x", dns=["*.com"]), host="example.com"),
    Case("a trailing dot is another name", WRONG_NAME, named("x", dns=[HOST + "."])),
    Case("a NUL within a dNSName", WRONG_NAME, named("x", dns=[HOST + "\0.evil.org"])),
    Case("a NUL within the CN", WRONG_NAME, named(HOST + "\0.evil.org")),
    Case("an address that is the host", YES, named("x", ips=["127.0.0.1"]), host="127.0.0.1"),
    Case("another address", WRONG_NAME, named("x", ips=["127.0.0.2"]), host="127.0.0.1", diagnosis="127.0.0.2"),
    Case("an address beside a dNSName", YES, named("x", dns=["other"], ips=["127.0.0.1"]), host="127.0.0.1"),
    Case("an address as CN beside a dNSName", YES, named("127.0.0.1", dns=["other"]), host="127.0.0.1"),
    Case("an address as CN beside an address", WRONG_NAME, named("127.0.0.1", ips=["127.0.0.2"]),
         host="127.0.0.1"),
    Case("no name at all", WRONG_NAME, named()),
    # The chain.
    Case("an unknown authority", UNTRUSTED, lambda ca: ca.stranger.issue(HOST, dns=[HOST]), diagnosis="stranger"),
    Case("another key under the name of the root", UNTRUSTED, lambda ca: ca.namesake.issue(HOST, dns=[HOST])),
    Case("signed by itself", UNTRUSTED, lambda ca: ca.root.self_signed(HOST)),
    Case("an intermediate that is sent along", YES, lambda ca: ca.intermediate.issue(HOST, dns=[HOST])),
    Case("an intermediate that is not", UNTRUSTED,
         lambda ca: ca.intermediate.issue(HOST, dns=[HOST], chain=False)),
    Case("an intermediate is no root to end at", UNTRUSTED,
         lambda ca: ca.intermediate.issue(HOST, dns=[HOST]), root="intermediate"),
    Case("an intermediate that has expired", EXPIRED, lambda ca: ca.expired.issue(HOST, dns=[HOST]),
         diagnosis="expired"),
    Case("an issuer that is no authority", INVALID, lambda ca: ca.no_authority.issue(HOST, dns=[HOST])),
    # sslrootcert is the server's own certificate.
    Case("signed by itself and pinned", YES, lambda ca: ca.own, settings=lambda ca: {"sslrootcert": ca.own.certificate}),
    Case("issued by an authority and pinned", UNTRUSTED, lambda ca: ca.issued,
         settings=lambda ca: {"sslrootcert": ca.issued.certificate}),
    Case("issued by a pinned one that is an authority", YES, lambda ca: ca.stranger.issue(HOST, dns=[HOST]), root="stranger"),
    Case("issued by a pinned one that is no authority", INVALID, lambda ca: ca.pinned.issue(HOST, dns=[HOST]), root="pinned"),
    # The time.
    Case("expired", EXPIRED, named(HOST, dns=[HOST], age=3 * DAY, lifetime=2 * DAY), diagnosis="expired"),
    Case("not yet valid", NOT_YET_VALID, named(HOST, dns=[HOST], age=-DAY)),
    Case("expired a minute ago", EXPIRED, named(HOST, dns=[HOST], lifetime=DAY - timedelta(minutes=1))),
    # What it is for.
    Case("for servers, though nothing says so", YES, named(HOST, dns=[HOST], usage=None)),
    Case("for clients", INVALID, named(HOST, dns=[HOST], usage=CLIENT)),
    # Algorithms.
    Case("RSA", YES, lambda ca: ca.rsa.issue(HOST, dns=[HOST], kind="rsa"), root="rsa"),
    Case("a signature of RSA-PSS", YES, lambda ca: ca.rsa.issue_with_pss(HOST), root="rsa"),
    Case("Ed25519", YES, lambda ca: ca.ed25519.issue(HOST, dns=[HOST], kind="ed25519"), root="ed25519"),
    Case("a key of 1024 bits", INVALID, named(HOST, dns=[HOST], kind="rsa1024")),
    # Revocation.
    Case("on no revocation list", YES, named(HOST, dns=[HOST]),
         settings=lambda ca: {"sslcrl": ca.root.revoke()}),
    Case("a list of another authority", CRL_UNUSABLE, named(HOST, dns=[HOST]),
         settings=lambda ca: {"sslcrl": ca.stranger.revoke()}),
    Case("a list that is out of date", CRL_UNUSABLE, named(HOST, dns=[HOST]),
         settings=lambda ca: {"sslcrl": ca.root.revoke(age=3 * DAY, lifetime=2 * DAY)}),
    Case("a list of the root alone", CRL_UNUSABLE, lambda ca: ca.intermediate.issue(HOST, dns=[HOST]),
         settings=lambda ca: {"sslcrl": ca.root.revoke()}),
    # TLS.
    Case("a server of TLS 1.2", YES, named(HOST, dns=[HOST]), server={"maximum_version": 0x0303}),
    Case("a server of TLS 1.1", "upstream_tls_failed", named(HOST, dns=[HOST]),
         server={"maximum_version": 0x0302}),
]  # fmt: skip


def verdict_of_psql(server, host, settings) -> str:
    words = {"host": host, "hostaddr": "127.0.0.1", "port": server.port, "sslmode": "verify-full",
             "user": "app", "dbname": "ledger", **settings}  # fmt: skip
    done = psql(" ".join(f"{key}='{value}'" for key, value in words.items()), "SELECT 1")
    assert (done.returncode == 0) == (done.stdout == "verified\n"), done.stderr
    return YES if done.returncode == 0 else done.stderr


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_verdict_is_that_of_libpq(case, ca, pgveil, scripted_server):
    server = scripted_server(verified_session(case.issue(ca), **case.server))
    settings = {"sslrootcert": getattr(ca, case.root).file, **case.settings(ca)}
    settings = {key: str(value) for key, value in settings.items()}
    proxy = pgveil(server.upstream(host=case.host, **settings))

    of_psql = verdict_of_psql(server, case.host, settings)
    server.finished_peer(0)
    done = psql(proxy.connection_string(user="app"), "SELECT 1")
    peer = server.finished_peer(1)

    if case.verdict == YES:
        assert of_psql == YES
        assert done.stdout == "verified\n", done.stderr
        return
    assert of_psql != YES
    assert peer.startup is None, "the server that was not verified got a StartupMessage"
    assert done.stdout == ""
    assert "DETAIL:  " in done.stderr and "HINT:  " in done.stderr
    assert case.diagnosis in done.stderr
    assert f"reason={case.verdict} " in proxy.end_of_session()
    assert "sqlstate=08001" in proxy.end_of_session()


@pytest.mark.parametrize("name", ["127.0.0.1", "*.0.0.1"])
def test_an_address_matches_no_dns_name_though_it_does_in_libpq(name, ca, pgveil, scripted_server):
    server = scripted_server(verified_session(ca.root.issue("x", dns=[name])))
    settings = {"sslrootcert": str(ca.root.file)}
    assert verdict_of_psql(server, "127.0.0.1", settings) == YES
    proxy = pgveil(server.upstream(host="127.0.0.1", **settings))
    assert f'the certificate names "{name}".' in proxy.psql("SELECT 1").stderr
    assert f"reason={WRONG_NAME} " in proxy.end_of_session()


@pytest.mark.parametrize("rule, names, accepted", [("fallback", [], True), ("never", [], False), ("never", [HOST], True)])
def test_the_common_name_counts_unless_it_never_shall(rule, names, accepted, ca, pgveil, scripted_server):
    server = scripted_server(verified_session(ca.root.issue(HOST, dns=names)))
    settings = {"sslrootcert": str(ca.root.file), "certificate_common_name": rule}
    done = pgveil(server.upstream(host=HOST, **settings)).psql("SELECT 1")
    assert (done.stdout == "verified\n") == accepted, done.stderr
    assert ("only as its CN, which does not count" in done.stderr) != accepted


def test_a_revoked_certificate_is_refused_as_libpq_does(ca, pgveil, scripted_server):
    revoked = ca.root.issue(HOST, dns=[HOST])
    server = scripted_server(verified_session(revoked))
    settings = {"sslrootcert": str(ca.root.file), "sslcrl": str(ca.root.revoke(revoked))}
    assert verdict_of_psql(server, HOST, settings) != YES
    proxy = pgveil(server.upstream(host=HOST, **settings))
    assert proxy.psql("SELECT 1").returncode != 0
    assert f"reason={REVOKED} " in proxy.end_of_session()


def test_revocation_lists_can_be_in_a_directory(ca, pgveil, scripted_server, folder):
    revoked = ca.root.issue(HOST, dns=[HOST])
    (folder / "root.crl").write_bytes(ca.root.revoke(revoked).read_bytes())
    run_or_fail("openssl", "rehash", folder)
    server = scripted_server(verified_session(revoked))
    settings = {"sslrootcert": str(ca.root.file), "sslcrldir": str(folder)}
    assert verdict_of_psql(server, HOST, settings) != YES
    proxy = pgveil(server.upstream(host=HOST, **settings))
    assert proxy.psql("SELECT 1").returncode != 0
    assert f"reason={REVOKED} " in proxy.end_of_session()


def test_a_wrong_name_at_a_real_server_is_refused_with_the_whole_diagnosis(pgveil, postgres):
    proxy = pgveil(postgres.upstream(host="db.example.com"))
    with proxy.connect() as client:
        client.send(wire.startup_message(user="trusted", database="ledger"))
        error = client.receive_error()
        assert client.receive_to_end() == b""
    assert error["S"] == error["V"] == "FATAL"
    assert error["C"] == "08001"
    assert error["D"] == 'Host is "db.example.com"; the certificate names "localhost".'
    assert "hostaddr" in error["H"]


def test_the_host_is_sent_as_server_name_unless_it_is_an_address(ca, pgveil, scripted_server):
    """RFC 6066, section 3: no literal addresses in server_name."""
    def names_seen(host, **settings):
        seen = []
        credentials = ca.root.issue(HOST, dns=[HOST], ips=["127.0.0.1"])

        def note_name(connection, name, context):
            seen.append(name)

        server = scripted_server(verified_session(credentials, sni_callback=note_name))
        proxy = pgveil(server.upstream(host=host, sslrootcert=str(ca.root.file), **settings))
        assert proxy.query("SELECT 1") == "verified"
        return seen

    assert names_seen(HOST) == [HOST]
    assert names_seen("127.0.0.1") == [None]
    assert names_seen(HOST, sslsni=False) == [None]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name)
def test_no_session_is_resumed(ca, pgveil, scripted_server, version):
    """The server gives tickets, and takes them from a client that keeps them. pgveil judges its certificate anew."""
    credentials = ca.root.issue(HOST, dns=[HOST])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.certificate, credentials.key)
    context.minimum_version = context.maximum_version = version
    resumed = []

    def script(peer):
        peer.receive_ssl_request()
        peer.send(b"S")
        peer.socket = context.wrap_socket(peer.socket, server_side=True)
        resumed.append(peer.socket.session_reused)
        peer.log_in()
        peer.serve()

    server = scripted_server(script)
    keeper, session = ssl.create_default_context(cafile=str(ca.root.file)), None
    for _ in range(2):
        raw = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        raw.sendall(wire.SSL_REQUEST)
        assert raw.recv(1) == b"S"
        with keeper.wrap_socket(raw, server_hostname=HOST, session=session) as tls:
            client = wire.Conversation(tls)
            client.send(wire.startup_message(user="app"))
            client.receive_until(b"Z")
            session = tls.session
    assert resumed == [False, True]

    proxy = pgveil(server.upstream(host=HOST, sslrootcert=str(ca.root.file)))
    assert [proxy.query("SELECT 1") for _ in range(3)] == ["verified"] * 3
    assert resumed[2:] == [False] * 3
