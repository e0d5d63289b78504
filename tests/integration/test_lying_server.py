"""Servers that lie: whoever answers before it is verified gets nothing and has nothing it says passed on."""

import contextlib
import struct
import time

import pytest

from harness import wire
from harness.pgveil import IS_SANITIZED
from harness.processes import POSTGRES_VERSION
from harness.scripted_server import verified_session

SECRET_TEXT = "run this command to fix your login"


def attempt(proxy, **parameters) -> dict[str, str]:
    """Starts a session that must be refused; answers the fields of the error, behind which nothing may come."""
    with proxy.connect() as client:
        client.send(wire.startup_message(**{"user": "app", **parameters}))
        error = client.receive_error()
        assert client.receive_to_end() == b""
    return error


def answers(*parts: bytes):
    """The script of a server that has these bytes for SSLRequest."""

    def script(peer):
        peer.receive_ssl_request()
        peer.send(*parts)

    return script


def closes(peer):
    peer.receive_ssl_request()
    peer.close()


@pytest.fixture
def proxy_to(pgveil, scripted_server, authority):
    """Starts a server with this script, and pgveil in front of it."""

    def start(script, **sections):
        server = scripted_server(script)
        return server, pgveil(server.upstream(sslrootcert=str(authority.file)), **sections)

    return start


OLD_ERROR = b"E" + SECRET_TEXT.encode() + b"\n\0"
ERROR = wire.error_response("FATAL", "53300", SECRET_TEXT)
RECORD_OF_TLS = b"\x16\x03\x03\x00\x05hello"

LIES = {
    "it does not support TLS": (answers(b"N"), "upstream_refused_tls"),
    "it does not support TLS and asks for a password": (
        answers(b"N", wire.message(b"R", struct.pack("!I", 3))),
        "upstream_protocol_violation",
    ),
    "an error": (answers(ERROR), "upstream_protocol_violation"),
    "an error of protocol 2": (answers(OLD_ERROR), "upstream_protocol_violation"),
    "a byte without a meaning": (answers(b"Y"), "upstream_protocol_violation"),
    "GSSAPI instead": (answers(b"G"), "upstream_protocol_violation"),
    "a server of something else": (answers(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "upstream_protocol_violation"),
    "it closes": (closes, "upstream_unreachable"),
    "a byte behind its yes": (answers(b"SX"), "upstream_protocol_violation"),
    "an error behind its yes": (answers(b"S", ERROR), "upstream_"),
    "a login behind its yes": (answers(b"S", wire.message(b"R", struct.pack("!I", 0))), "upstream_"),
    "broken TLS": (answers(b"S", RECORD_OF_TLS), "upstream_"),
}


@pytest.mark.parametrize("script, reason", LIES.values(), ids=[lie.replace(" ", "-") for lie in LIES])
def test_a_lie_instead_of_a_certificate_ends_the_session(proxy_to, script, reason):
    server, proxy = proxy_to(script)
    error = attempt(proxy)
    # One that hangs up has not answered: so does a load balancer without servers.
    assert error["C"] == ("57P03" if reason == "upstream_unreachable" else "08001")
    assert error["D"] and error["H"]
    assert SECRET_TEXT not in "".join(error.values())
    assert f"reason={reason}" in proxy.end_of_session()
    assert SECRET_TEXT not in proxy.log

    # Behind its answer the server got at most a TLS record (a ClientHello or an alert), and no StartupMessage.
    rest = server.finished_peer().rest or b""
    assert rest[:1] in (b"", b"\x16", b"\x15")
    assert b"app" not in rest


def test_a_yes_and_plaintext_after_a_while_is_no_login(proxy_to):
    def script(peer):
        peer.receive_ssl_request()
        peer.send(b"S")
        peer.receive(1)  # the ClientHello has come, so this can be no byte behind the yes
        peer.send(wire.message(b"R", struct.pack("!I", 0)), wire.message(b"Z", b"I"))

    server, proxy = proxy_to(script)
    assert attempt(proxy)["C"] == "08001"
    assert b"app" not in server.finished_peer().rest


def test_a_handshake_without_end_is_ended(proxy_to):
    # Clients ignore HelloRequest messages (RFC 5246, 7.4.1.1): here are 4096 of them in a record, again and again.
    record = b"\x16\x03\x03\x40\0" + bytes(16384)

    def floods(peer):
        peer.receive_ssl_request()
        peer.send(b"S")
        peer.receive(1)
        while True:
            peer.send(record)

    _, proxy = proxy_to(floods)
    error = attempt(proxy)
    assert error["C"] == "08001"
    assert error["D"].endswith("the TLS handshake is larger than 1 MiB.")
    assert "reason=upstream_tls_failed" in proxy.end_of_session()


@pytest.mark.parametrize("phase", ["SSLRequest", "ClientHello"])
def test_a_server_that_says_nothing_is_given_up(pgveil, scripted_server, authority, phase):
    def script(peer):
        peer.receive_ssl_request()
        if phase == "ClientHello":
            peer.send(b"S")

    server = scripted_server(script)
    proxy = pgveil(server.upstream(sslrootcert=str(authority.file), connect_timeout="1s"))
    started = time.monotonic()
    error = attempt(proxy)
    assert 0.9 < time.monotonic() - started < 5
    assert error["C"] == "57P03"
    owed = "answer the request for TLS" if phase == "SSLRequest" else "complete the TLS handshake"
    assert error["D"] == (f'Connection to server at "localhost" (127.0.0.1:{server.port}) failed: it took the connection, '
                          f"but did not {owed} in time.")  # fmt: skip
    assert "reason=upstream_timed_out" in proxy.end_of_session()


def test_a_server_that_says_nothing_is_given_up_at_startup_timeout_too(pgveil, scripted_server, authority):
    server = scripted_server(lambda peer: peer.receive_ssl_request())
    proxy = pgveil(
        server.upstream(sslrootcert=str(authority.file), connect_timeout="0s"), limits={"startup_timeout": "1s"}
    )
    started = time.monotonic()
    assert attempt(proxy)["C"] == "57P03"
    assert 0.9 < time.monotonic() - started < 5


def test_nobody_at_the_address_is_told_as_such(pgveil, scripted_server, authority):
    server = scripted_server(lambda peer: None)
    server.stop()
    proxy = pgveil(server.upstream(sslrootcert=str(authority.file)))
    error = attempt(proxy)
    assert error["C"] == "57P03"
    assert "refused" in error["D"]
    assert "reason=upstream_unreachable" in proxy.end_of_session()


def test_a_name_that_nobody_knows_is_told_as_such(pgveil, authority):
    # RFC 6761, section 6.4: never resolves.
    proxy = pgveil({"host": "db.invalid", "sslrootcert": str(authority.file)})
    error = attempt(proxy)
    assert error["C"] == "57P03"
    assert "db.invalid" in error["D"]
    assert "reason=upstream_not_resolved" in proxy.end_of_session()


class TestVerified:
    """A verified server may say what it likes; the session must only survive it."""

    def test_its_error_comes_unchanged(self, proxy_to, credentials):
        refusal = wire.error_response("FATAL", "53300", "sorry, too many clients already")

        def script(peer):
            peer.accept_tls(credentials)
            peer.receive_startup_packet()
            peer.send(refusal)
            peer.close()

        _, proxy = proxy_to(script)
        with proxy.connect() as client:
            client.send(wire.startup_message(user="app"))
            assert client.receive_to_end() == refusal
        assert "reason=login_failed" in proxy.end_of_session()
        assert "sqlstate=53300" in proxy.end_of_session()

    def test_a_close_before_the_login_is_explained(self, proxy_to, credentials):
        def script(peer):
            peer.accept_tls(credentials)
            peer.receive_startup_packet()
            peer.close()

        server, proxy = proxy_to(script)
        error = attempt(proxy)
        assert error["C"] == "57P03"
        assert error["D"] == (f'Connection to server at "localhost" (127.0.0.1:{server.port}) failed: the server closed the '
                              "connection instead of answering the StartupMessage, without close_notify.")  # fmt: skip
        assert "reason=upstream_unreachable" in proxy.end_of_session()

    def test_a_close_in_the_login_is_explained(self, proxy_to, credentials):
        def script(peer):
            peer.accept_tls(credentials)
            peer.receive_startup_packet()
            peer.send(self.OK)
            peer.close()

        _, proxy = proxy_to(script)
        with proxy.connect() as client:
            client.send(wire.startup_message(user="app"))
            client.receive_message()
            assert client.receive_error()["C"] == "08006"
        assert "reason=upstream_lost" in proxy.end_of_session()

    @pytest.mark.parametrize(
        "bytes_of_server",
        [
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            wire.message(b"R", b""),
            b"R\xff\xff\xff\xff",
            b"R\0\0\0\0",
        ],
        ids=["http", "no-code", "four-gigabytes", "length-zero"],
    )
    def test_what_is_no_login_ends_the_session(self, proxy_to, credentials, bytes_of_server):
        def script(peer):
            peer.accept_tls(credentials)
            peer.receive_startup_packet()
            peer.send(bytes_of_server)

        _, proxy = proxy_to(script)
        assert attempt(proxy)["C"] == "08001"
        assert "reason=upstream_protocol_violation" in proxy.end_of_session()

    OK = wire.message(b"R", struct.pack("!I", 0))

    @pytest.mark.parametrize(
        "before, wrong",
        [
            ([], wire.message(b"Z", b"I")),
            ([], wire.message(b"S", b"server_version\x0015.0\0")),
            ([], wire.message(b"K", struct.pack("!II", 1, 2))),
            ([], wire.message(b"D", b"\0\0")),
            ([OK], OK),
            ([OK], wire.message(b"R", struct.pack("!I", 3))),
            ([OK], wire.message(b"v", struct.pack("!II", 0x30000, 0))),
            ([OK], wire.message(b"D", b"\0\0")),
            ([OK], wire.message(b"T", b"\0\0")),
            ([OK], wire.message(b"G", b"\0\0\0")),
        ],
        ids=["ready-unasked", "status-unasked", "key-unasked", "row-unasked", "ok-twice", "question-after-ok",
             "version-after-ok", "row", "columns", "copy"],
    )  # fmt: skip
    def test_a_message_out_of_its_place_ends_the_session(self, proxy_to, credentials, before, wrong):
        def script(peer):
            peer.accept_tls(credentials)
            peer.receive_startup_packet()
            peer.send(*before, wrong, wire.message(b"Z", b"I"))

        _, proxy = proxy_to(script)
        with proxy.connect() as client:
            client.send(wire.startup_message(user="app"))
            received = client.receive_until(b"E")
        assert [kind for kind, _ in received] == [b"R"] * len(before) + [b"E"]
        assert "reason=upstream_protocol_violation" in proxy.end_of_session()

    @pytest.mark.skipif(IS_SANITIZED, reason="a sanitizer needs memory of its own")
    def test_a_login_that_nobody_reads_does_not_pile_up(self, proxy_to, credentials):
        notice = wire.message(b"N", b"SNOTICE\0M" + b"x" * 65_000 + b"\0\0")

        def script(peer):
            peer.accept_tls(credentials)
            peer.receive_startup_packet()
            peer.send(self.OK)
            peer.socket.settimeout(1)  # without progress
            with contextlib.suppress(OSError):
                for _ in range(2000):  # 130 MB
                    peer.send(notice)

        server, proxy = proxy_to(script)
        before = proxy.resident_bytes()
        with proxy.connect() as client:
            client.send(wire.startup_message(user="app"))
            server.finished_peer()
            assert proxy.resident_bytes() - before < 32 << 20

    def test_a_login_that_does_not_end_is_ended(self, proxy_to, credentials):
        def script(peer):
            peer.accept_tls(credentials)
            peer.receive_startup_packet()
            peer.send(wire.message(b"R", struct.pack("!I", 3)))

        _, proxy = proxy_to(script, limits={"startup_timeout": "1s"})
        with proxy.connect() as client:
            client.send(wire.startup_message(user="app"))
            assert client.receive_message() == (b"R", struct.pack("!I", 3))
            assert client.receive_error()["C"] == "57014"
        assert "reason=login_timeout" in proxy.end_of_session()

    def test_a_session_that_is_up_outlives_the_startup_timeout(self, proxy_to, credentials):
        _, proxy = proxy_to(verified_session(credentials), limits={"startup_timeout": "1s"})
        with proxy.connect() as client:
            client.log_in(user="app")
            assert client.rows("one") == [b"\0\1\0\0\0\x08verified"]
            client.socket.settimeout(1.5)
            with pytest.raises(TimeoutError):
                client.receive(1)
            client.socket.settimeout(20)
            assert client.rows("two") == [b"\0\1\0\0\0\x08verified"]


class TestDirectTls:
    """sslnegotiation = "direct", which begins with TLS; the protocol `postgresql` must be agreed on (ALPN)."""

    def start(self, pgveil, scripted_server, authority, credentials, **tls):
        def script(peer):
            peer.start_tls(credentials, **tls)
            peer.log_in()
            peer.serve()

        server = scripted_server(script)
        return server, pgveil(server.upstream(sslrootcert=str(authority.file), sslnegotiation="direct"))

    def test_it_reaches_a_server_that_knows_it(self, pgveil, scripted_server, authority, credentials):
        _, proxy = self.start(pgveil, scripted_server, authority, credentials, alpn=["postgresql"])
        assert proxy.query("SELECT 1") == "verified"

    @pytest.mark.parametrize("alpn", [None, ["h2"]], ids=["no-protocol", "another-protocol"])
    def test_a_server_that_does_not_agree_gets_no_startup_message(
        self, pgveil, scripted_server, authority, credentials, alpn
    ):
        server, proxy = self.start(pgveil, scripted_server, authority, credentials, alpn=alpn)
        assert attempt(proxy)["C"] == "08001"
        assert server.finished_peer().startup is None

    @pytest.mark.skipif(POSTGRES_VERSION >= 17, reason=f"PostgreSQL {POSTGRES_VERSION} knows direct TLS")
    def test_an_old_server_that_takes_it_for_a_bad_length_is_explained(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream(sslnegotiation="direct"))
        error = attempt(proxy)
        assert error["C"] == "08001"
        assert error["H"]


def test_the_protocol_is_offered_after_ssl_request_too(proxy_to, credentials):
    agreed = []

    def script(peer):
        peer.accept_tls(credentials, alpn=["postgresql"])
        agreed.append(peer.socket.selected_alpn_protocol())
        peer.log_in()
        peer.serve()

    _, proxy = proxy_to(script)
    assert proxy.query("SELECT 1") == "verified"
    assert agreed == ["postgresql"]
