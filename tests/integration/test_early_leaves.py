"""Clients that leave before their StartupMessage: the log says what they wanted, and health checks fill no log."""

import re
import socket
import ssl
import struct

import pytest

from harness import wire
from harness.certificates import Authority
from harness.tls_clients import certificate, run_psql, tls_socket


def reset(connection: socket.socket) -> None:
    """Closes with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


LEAVES = {"fin": socket.socket.close, "rst": reset}
by_fin_and_rst = pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)


@pytest.fixture
def plaintext(pgveil, postgres):
    return pgveil(postgres.unix_upstream(), log={"level": "debug"})


@pytest.fixture
def with_tls(pgveil, postgres, credentials):
    return pgveil(postgres.unix_upstream(), listener=certificate(credentials), log={"level": "debug"})


class TestAProbe:
    """A TCP check of Kubernetes ends with FIN, one of HAProxy with RST."""

    @by_fin_and_rst
    @pytest.mark.parametrize("kind", ["plaintext", "with_tls"])
    def test_is_logged_for_debugging_only(self, request, kind, leave):
        proxy = request.getfixturevalue(kind)
        leave(proxy.connect().socket)
        assert re.search(r" D session_closed .*reason=no_startup ", proxy.end_of_session())

    @by_fin_and_rst
    def test_writes_nothing_at_the_usual_level(self, pgveil, postgres, leave):
        proxy = pgveil(postgres.upstream())
        leave(proxy.connect().socket)
        assert proxy.query("SELECT 1") == "1"
        proxy.wait_for_line("session_closed.*reason=client_closed")
        assert "no_startup" not in proxy.log

    def test_through_a_unix_socket_is_one_too(self, pgveil, postgres, folder):
        proxy = pgveil(postgres.unix_upstream(), listener={"address": f"unix:{folder}/.s.PGSQL.5432"},
                       log={"level": "debug"})  # fmt: skip
        proxy.connect().close()
        assert re.search(r" D session_closed .*reason=no_startup ", proxy.end_of_session())


class TestAClientThatNeedsEncryption:
    @pytest.mark.parametrize("sslmode", ["require", "verify-full"])
    def test_is_told_apart_from_one_that_speaks_nonsense(self, plaintext, authority, sslmode):
        done = run_psql(plaintext, authority, "SELECT 1", sslmode=sslmode)
        assert "server does not support SSL, but SSL was required" in done.stderr
        line = plaintext.end_of_session()
        assert re.search(r" I session_closed .*reason=tls_not_offered phase=negotiate ", line)
        assert "sslmode=require" in line

    @by_fin_and_rst
    def test_may_leave_in_either_way(self, plaintext, leave):
        client = plaintext.connect()
        client.send(wire.SSL_REQUEST)
        assert client.receive(1) == b"N"
        leave(client.socket)
        assert "reason=tls_not_offered" in plaintext.end_of_session()

    def test_may_begin_with_tls_at_once(self, plaintext):
        with plaintext.connect() as client:
            client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64))
            assert client.receive_to_end() == b""
        line = plaintext.end_of_session()
        assert "reason=tls_not_offered" in line and "sslnegotiation=direct" in line

    @pytest.mark.parametrize("kind", ["plaintext", "with_tls"])
    def test_may_need_gssapi(self, request, kind):
        proxy = request.getfixturevalue(kind)
        with proxy.connect() as client:
            client.send(wire.GSSENC_REQUEST)
            assert client.receive(1) == b"N"
        assert "reason=gss_not_offered" in proxy.end_of_session()

    def test_is_judged_by_what_it_asked_last(self, plaintext):
        with plaintext.connect() as client:
            for request in (wire.GSSENC_REQUEST, wire.SSL_REQUEST):
                client.send(request)
                assert client.receive(1) == b"N"
        assert "reason=tls_not_offered" in plaintext.end_of_session()

    def test_is_no_longer_one_once_it_goes_on(self, plaintext):
        with plaintext.connect() as client:
            client.send(wire.SSL_REQUEST)
            assert client.receive(1) == b"N"
            client.send(wire.startup_message(user="trusted")[:10])
        line = plaintext.end_of_session()
        assert "reason=malformed_startup" in line and "before its StartupMessage" in line


VERSIONS = pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name
)
NAMES = re.compile(r'certificate names \\"localhost\\"; the client asked for (\\"elsewhere.example\\"|no server name)')


class TestAClientThatDoesNotAcceptTheCertificate:
    @pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
    def test_psql_leaves_over_a_name_after_the_handshake(self, with_tls, authority, version):
        done = run_psql(with_tls, authority, "SELECT 1", host="elsewhere.example", ssl_min_protocol_version=version,
                        ssl_max_protocol_version=version)  # fmt: skip
        assert 'does not match host name "elsewhere.example"' in done.stderr
        line = with_tls.end_of_session()
        assert re.search(r" I session_closed .*reason=left_after_handshake phase=read_startup ", line)
        assert "probably because it did not accept the certificate" in line
        assert NAMES.search(line)[1] == '\\"elsewhere.example\\"'

    @pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
    def test_psql_says_that_it_does_not_trust_the_authority(self, with_tls, folder, version):
        stranger = Authority(folder, "other root")
        done = run_psql(with_tls, stranger, "SELECT 1", ssl_min_protocol_version=version,
                        ssl_max_protocol_version=version)  # fmt: skip
        assert "certificate verify failed" in done.stderr
        line = with_tls.end_of_session()
        assert "reason=client_rejected_certificate" in line and "unknown ca" in line
        assert 'certificate names \\"localhost\\"; the client asked for \\"localhost\\"' in line

    @VERSIONS
    def test_python_says_that_the_name_is_wrong(self, with_tls, authority, version):
        with pytest.raises(ssl.SSLCertVerificationError):
            tls_socket(with_tls, authority, name="elsewhere.example", minimum_version=version, maximum_version=version)
        line = with_tls.end_of_session()
        assert "reason=client_rejected_certificate" in line and "bad certificate" in line
        assert NAMES.search(line)[1] == '\\"elsewhere.example\\"'

    @VERSIONS
    @by_fin_and_rst
    def test_another_leaves_without_a_word(self, with_tls, authority, version, leave):
        leave(tls_socket(with_tls, authority, minimum_version=version, maximum_version=version))
        line = with_tls.end_of_session()
        assert "reason=left_after_handshake" in line and 'names \\"localhost\\"' in line

    def test_one_that_sends_no_name_is_told_apart(self, with_tls, authority):
        tls_socket(with_tls, authority, name=None, check_hostname=False).close()
        assert NAMES.search(with_tls.end_of_session())[1] == "no server name"

    def test_the_certificate_is_the_one_that_it_was_shown(self, pgveil, postgres, authority, credentials):
        other = authority.issue("db", dns=["db.example.com"])
        names = {"server_names": "*.example.com", "ssl_cert_file": str(other.certificate), "ssl_key_file": str(other.key)}
        proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials, certificate=[names]))
        tls_socket(proxy, authority, name="x.example.com", check_hostname=False).close()
        assert r'names \"db.example.com\"; the client asked for \"x.example.com\"' in proxy.end_of_session()


class TestInsideTls:
    @by_fin_and_rst
    def test_a_client_that_got_its_s_and_left(self, with_tls, leave):
        client = with_tls.connect()
        client.send(wire.SSL_REQUEST)
        assert client.receive(1) == b"S"
        leave(client.socket)
        line = with_tls.end_of_session()
        assert "reason=tls_failed phase=accept_tls" in line and "without a ClientHello" in line

    def test_psql_without_its_root_certificate_is_such_a_client(self, with_tls, authority):
        done = run_psql(with_tls, authority, "SELECT 1", sslrootcert="/nonexistent/root.crt")
        assert 'root certificate file "/nonexistent/root.crt" does not exist' in done.stderr
        assert "without a ClientHello" in with_tls.end_of_session()

    def test_one_that_left_after_its_clienthello(self, with_tls):
        with with_tls.connect() as client:
            client.send(wire.SSL_REQUEST)
            assert client.receive(1) == b"S"
            client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64))
        line = with_tls.end_of_session()
        assert "reason=tls_failed" in line and "closed the connection during the TLS handshake" in line

    def test_one_that_left_inside_its_startup_message(self, with_tls, authority):
        with tls_socket(with_tls, authority) as client:
            client.sendall(wire.startup_message(user="trusted")[:10])
        assert "reason=malformed_startup phase=read_startup" in with_tls.end_of_session()

    def test_a_broken_record_is_a_failure_of_tls(self, with_tls, authority):
        with tls_socket(with_tls, authority) as client:
            raw = socket.socket(fileno=client.detach())
            raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            raw.close()
        assert "reason=tls_failed phase=read_startup" in with_tls.end_of_session()


OTHER_PROTOCOLS = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: db\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "PROXY 1": b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 5432\r\n",
    "PROXY 2": b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
}


@pytest.mark.parametrize("name", OTHER_PROTOCOLS)
def test_another_protocol_is_named(plaintext, name):
    with plaintext.connect() as client:
        client.send(OTHER_PROTOCOLS[name])
        assert client.receive_to_end() == b""
    line = plaintext.end_of_session()
    assert "reason=malformed_startup" in line and f"first bytes are those of {'the ' * ('PROXY' in name)}{name[:4]}" in line
