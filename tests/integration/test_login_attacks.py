"""Peers that do not keep to the protocol of a login that pgveil completes."""

import hashlib
import select
import socket
import struct
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from harness import scram, wire
from harness.pgveil import IS_SANITIZED
from harness.scram import Exchange, Keys, authentication, mechanisms
from harness.secrets import secret_file
from harness.tls_clients import certificate, tls_client

PASSWORD = "sesame"
KEYS = Keys(PASSWORD)
TRUST = {"hba": "host all all 127.0.0.1/32 trust\n"}
SCRAM = "host all all all scram-sha-256\n"


class TestServers:
    """They are verified, and lie all the same."""

    @pytest.fixture
    def refused(self, pgveil, scripted_server, authority, credentials, folder):
        """The error of a client of a server that plays `script`, and the end of the session in the log; what the
        server still heard is its `rest`."""

        def run(script, **settings):
            def play(peer):
                peer.accept_tls(credentials)
                peer.startup = peer.receive_startup_packet()
                script(peer)

            server = scripted_server(play)
            passfile = secret_file(folder / "pgpass", f"*:*:*:*:{PASSWORD}\n")
            upstream = server.upstream(sslrootcert=str(authority.file), passfile=passfile, **settings)
            proxy = pgveil(upstream, listener=TRUST)
            with proxy.connect() as client:
                client.send(wire.startup_message(user="app"))
                error = client.receive_error()
                client.receive_to_end()
            run.rest = server.finished_peer().rest
            return error, proxy.end_of_session()

        return run

    def test_that_do_not_know_the_password_are_left(self, refused):
        error, end = refused(lambda peer: scram.serve(peer, KEYS, signature=b"\1" * 32))
        assert (error["C"], error["M"]) == ("28000", "pgveil: the server could not prove that it knows the password")
        assert "reason=upstream_signature_wrong" in end

    def test_that_prove_nothing_are_left(self, refused):
        def script(peer):
            scram.serve(peer, KEYS, final=False)
            peer.send(authentication(0), wire.message(b"Z", b"I"))

        assert "reason=upstream_signature_wrong" in refused(script)[1]

    def test_that_accept_without_asking_are_left(self, refused):
        error, end = refused(lambda peer: peer.send(authentication(0), wire.message(b"Z", b"I")))
        assert error["M"] == "pgveil: the server's way of authentication is not allowed"
        assert "reason=upstream_auth_not_allowed" in end

    def test_that_accept_in_the_middle_are_left(self, refused):
        def script(peer):
            peer.send(mechanisms(*scram.BOTH))
            peer.receive_message()
            peer.send(authentication(0), wire.message(b"Z", b"I"))

        assert "reason=upstream_signature_wrong" in refused(script)[1]

    def test_that_are_ready_before_the_login_are_left(self, refused):
        assert "reason=upstream_protocol_violation" in refused(lambda peer: peer.send(wire.message(b"Z", b"I")))[1]

    def test_cannot_make_pgveil_compute_for_long(self, refused):
        # Were it computed, the login would end in its timeout.
        _, end = refused(lambda peer: scram.serve(peer, KEYS, iterations=2**31))
        assert "reason=upstream_protocol_violation" in end and "iterations" in end

    def test_that_do_not_go_on_from_the_nonce_are_left(self, refused):
        _, end = refused(lambda peer: scram.serve(peer, KEYS, nonce=b"something-else-of-that-length"))
        assert "reason=upstream_protocol_violation" in end

    @pytest.mark.parametrize("request_again", [mechanisms(*scram.BOTH), authentication(3), authentication(5, b"salt")])
    def test_that_ask_twice_are_left(self, refused, request_again):
        def script(peer):
            peer.send(mechanisms(*scram.BOTH))
            peer.receive_message()
            peer.send(request_again)

        _, end = refused(script, require_auth="scram-sha-256,password,md5")
        assert "reason=upstream_protocol_violation" in end

    @pytest.mark.parametrize(
        ("request_", "what"),
        [(authentication(7), "GSSAPI"), (authentication(9), "SSPI"), (mechanisms(b"OAUTHBEARER"), "OAuth"),
         (mechanisms(b"SCRAM-SHA-512"), "SCRAM-SHA-512"), (authentication(2), "authentication request 2")],
    )  # fmt: skip
    def test_that_ask_for_what_pgveil_does_not_speak_are_explained(self, refused, request_, what):
        error, end = refused(lambda peer: peer.send(request_))
        assert error["M"] == "pgveil: the server asks for an authentication that the proxy does not support"
        assert "reason=upstream_auth_unsupported" in end and what in end

    @pytest.mark.parametrize("request_", [authentication(3), authentication(5, b"salt")], ids=["cleartext", "md5"])
    def test_do_not_get_the_password_in_a_weaker_way(self, refused, request_):
        _, end = refused(lambda peer: peer.send(request_))
        assert "reason=upstream_auth_not_allowed" in end
        assert refused.rest == b""

    def test_that_offer_plus_to_be_bound_elsewhere_are_left_where_it_is_required(self, refused):
        _, end = refused(lambda peer: peer.send(mechanisms(b"SCRAM-SHA-256")), channel_binding="require")
        assert "reason=upstream_channel_binding_unavailable" in end

    def test_whose_refusal_comes_in_the_middle_do_not_speak_to_the_client(self, refused):
        def script(peer):
            peer.send(mechanisms(*scram.BOTH))
            peer.receive_message()
            peer.send(wire.error_response("FATAL", "28P01", "not you"))
            peer.close()

        error, end = refused(script)
        assert (error["C"], error["M"]) == ("28000", "pgveil: the server refused the proxy's password for this user")
        assert "reason=upstream_refused_password" in end and "sqlstate=28P01" in end and "not you" in end

    def test_that_refuse_by_scram_itself_do_not_speak_to_the_client(self, refused):
        error, end = refused(lambda peer: scram.serve(peer, KEYS, error=b"invalid-proof"))
        assert (error["C"], error["M"]) == ("28000", "pgveil: the server refused the proxy's password for this user")
        assert "error received from server in SCRAM exchange" in end

    @pytest.mark.parametrize("sqlstate", ["53300", "57P03", "3D000"])
    def test_that_have_another_reason_to_refuse_have_it_passed_on(self, refused, sqlstate):
        def script(peer):
            peer.send(mechanisms(*scram.BOTH))
            peer.receive_message()
            peer.send(wire.error_response("FATAL", sqlstate, "not now"))
            peer.close()

        error, end = refused(script)
        assert (error["C"], error["M"]) == (sqlstate, "not now")
        assert "reason=login_failed" in end and f"not now (SQLSTATE {sqlstate})" in end

    def test_whose_refusal_is_long_do_not_fill_the_log(self, refused):
        _, end = refused(lambda peer: peer.send(wire.error_response("FATAL", "28000", "x" * 500_000)))
        assert "reason=upstream_refused_login" in end and len(end) < 3000


def test_binds_to_the_certificate_that_the_server_shows(pgveil, scripted_server, authority, credentials, folder):
    said = {}

    def script(peer):
        peer.accept_tls(credentials)
        peer.startup = peer.receive_startup_packet()
        said.update(scram.serve(peer, KEYS))
        peer.send(authentication(0), wire.message(b"Z", b"I"))

    server = scripted_server(script)
    passfile = secret_file(folder / "pgpass", f"*:*:*:*:{PASSWORD}\n")
    proxy = pgveil(server.upstream(sslrootcert=str(authority.file), passfile=passfile), listener=TRUST)
    with proxy.connect() as client:
        client.send(wire.startup_message(user="app"))
        assert [kind for kind, _ in client.receive_until(b"Z")] == [b"R", b"Z"]
    shown = x509.load_pem_x509_certificate(credentials.certificate.read_bytes())
    digest = hashlib.new(shown.signature_hash_algorithm.name, shown.public_bytes(Encoding.DER)).digest()
    assert said == {"mechanism": b"SCRAM-SHA-256-PLUS", "flag": b"p=tls-server-end-point",
                    "binding": b"p=tls-server-end-point,," + digest}  # fmt: skip


def test_a_version_that_the_server_negotiates_reaches_the_client_before_it_is_asked(
        pgveil, scripted_server, authority, credentials, folder):  # fmt: skip
    def script(peer):
        peer.accept_tls(credentials)
        peer.startup = peer.receive_startup_packet()
        peer.send(wire.message(b"v", struct.pack("!II", 0x00030000, 0)))
        scram.serve(peer, KEYS)
        peer.send(authentication(0), wire.message(b"S", b"a\0b\0"), wire.message(b"N", b"SNOTICE\0\0"),
                  wire.message(b"K", b"\0\0\0\1key!"), wire.message(b"Z", b"I"))  # fmt: skip

    server = scripted_server(script)
    users = secret_file(folder / "users", f'"app" "{KEYS.secret()}"\n')
    proxy = pgveil(server.upstream(sslrootcert=str(authority.file)), listener={"hba": SCRAM, "auth_file": users})
    with proxy.connect() as client:
        client.send(wire.startup_message(version=0x00030002, user="app"))
        assert client.receive_message()[0] == b"v"
        exchange = Exchange(KEYS)
        assert client.receive_message() == (b"R", mechanisms(b"SCRAM-SHA-256")[5:])
        client.send(exchange.initial_response())
        client.send(exchange.response(client.receive_message()[1][4:]))
        # SASLFinal, AuthenticationOk, and the server's words in their order.
        assert b"".join(kind for kind, _ in client.receive_until(b"Z")) == b"RRSNKZ"


def test_the_work_of_a_login_delays_no_other_session(pgveil, scripted_server, authority, credentials, folder):
    # A million iterations take some tenths of a second: here, and in pgveil.
    keys = Keys(PASSWORD, iterations=1_000_000)
    logged_in = threading.Event()

    def script(peer):
        peer.accept_tls(credentials)
        if b"busy" not in peer.receive_startup_packet():
            peer.send(authentication(0), wire.message(b"Z", b"I"))
            return peer.serve()
        scram.serve(peer, keys, iterations=1_000_000)
        logged_in.set()
        peer.send(authentication(0), wire.message(b"Z", b"I"))

    server = scripted_server(script)
    passfile = secret_file(folder / "pgpass", f"*:*:*:*:{PASSWORD}\n")
    upstream = server.upstream(sslrootcert=str(authority.file), passfile=passfile, require_auth="scram-sha-256,none")
    proxy = pgveil(upstream, listener=TRUST, limits={"workers": 1})
    with proxy.connect() as quick, proxy.connect() as busy:
        quick.send(wire.startup_message(user="quick"))
        quick.receive_until(b"Z")
        busy.send(wire.startup_message(user="busy"))
        answered = 0
        while not logged_in.is_set():
            assert quick.rows("SELECT 1")
            answered += 1
        busy.receive_until(b"Z")
    assert answered > 100


class TestClients:
    """They do not keep to SCRAM, or come for somebody else's sake."""

    @pytest.fixture
    def proxy(self, pgveil, postgres, credentials, folder):
        users = secret_file(folder / "users", f'"app" "{KEYS.secret()}"\n"plain" "{PASSWORD}"\n')
        listener = certificate(credentials, tls="optional", hba=SCRAM, auth_file=users)
        return pgveil(postgres.upstream(), listener=listener)

    def begin(self, client, user="app"):
        client.send(wire.startup_message(user=user))
        kind, body = client.receive_message()
        assert kind == b"R"
        return [name for name in body[4:].split(b"\0") if name]

    def test_are_offered_binding_inside_tls_only(self, proxy, authority):
        with tls_client(proxy, authority) as client:
            assert self.begin(client) == list(scram.BOTH)
        with proxy.connect() as client:
            assert self.begin(client) == [b"SCRAM-SHA-256"]

    def test_that_think_there_is_no_binding_are_refused(self, proxy, authority):
        # Somebody in the middle has taken PLUS out of the list.
        with tls_client(proxy, authority) as client:
            self.begin(client)
            client.send(Exchange(KEYS, gs2=b"y,,").initial_response())
            error = client.receive_error()
        assert (error["C"], error["M"]) == ("28000", "pgveil: SCRAM channel binding negotiation error")
        assert "reason=channel_binding_failed" in proxy.end_of_session()

    def test_that_are_bound_to_another_certificate_are_refused(self, proxy, authority):
        with tls_client(proxy, authority) as client:
            self.begin(client)
            exchange = Exchange(KEYS, gs2=b"p=tls-server-end-point,,", binding=b"\7" * 32)
            client.send(exchange.initial_response(b"SCRAM-SHA-256-PLUS"))
            client.send(exchange.response(client.receive_message()[1][4:]))
            error = client.receive_error()
        assert (error["C"], error["M"]) == ("28000", "pgveil: SCRAM channel binding check failed")

    @pytest.mark.parametrize(
        ("gs2", "mechanism", "sqlstate"),
        [(b"p=tls-server-end-point,,", b"SCRAM-SHA-256", "08P01"), (b"n,a=root,", b"SCRAM-SHA-256", "0A000"),
         (b"n,,", b"SCRAM-SHA-256-PLUS", "08P01"), (b"n,,", b"SCRAM-SHA-1", "08P01")],
    )  # fmt: skip
    def test_that_break_the_first_message_are_refused_as_by_postgresql(self, proxy, gs2, mechanism, sqlstate):
        with proxy.connect() as client:
            self.begin(client)
            client.send(Exchange(KEYS, gs2=gs2).initial_response(mechanism))
            assert client.receive_error()["C"] == sqlstate

    def test_cannot_reuse_a_nonce(self, proxy):
        with proxy.connect() as client:
            self.begin(client)
            exchange = Exchange(KEYS)
            client.send(exchange.initial_response())
            client.send(exchange.response(client.receive_message()[1][4:], nonce=b"abcdefghijklmnopqrstuvwx"))
            assert client.receive_error()["C"] == "08P01"

    @pytest.mark.parametrize(
        "what",
        [wire.query("DROP TABLE x"), wire.startup_message(user="postgres"), wire.message(b"p", b"\0" * 2000),
         b"p\0\0\0\0", b"\0" * 64],
        ids=["a query", "another StartupMessage", "too long", "bad length", "zeros"],
    )  # fmt: skip
    def test_that_say_something_else_are_refused(self, proxy, what):
        with proxy.connect() as client:
            self.begin(client)
            client.send(what)
            assert client.receive_error()["C"] == "08P01"
            client.receive_to_end()
        assert "reason=protocol_violation" in proxy.end_of_session()

    @pytest.mark.parametrize("user", ["app", "plain", "nobody"])
    def test_cannot_tell_who_exists(self, proxy, user):
        salts = set()
        for _ in range(3):
            with proxy.connect() as client:
                assert self.begin(client, user) == [b"SCRAM-SHA-256"]
                exchange = Exchange(Keys("wrong"))
                client.send(exchange.initial_response())
                first = client.receive_message()[1][4:]
                fields = scram.attributes(first)
                salts.add(fields["s"])
                assert fields["i"] == b"4096" and len(fields["s"]) == 24
                client.send(exchange.response(first))
                error = client.receive_error()
            assert (error["C"], error["M"]) == ("28P01", f'pgveil: password authentication failed for user "{user}"')
        assert len(salts) == 1, "a salt that changes tells that there is no such user"

    def test_that_go_away_leave_nothing_behind(self, proxy):
        with proxy.connect() as client:
            self.begin(client)
        assert "reason=client_closed" in proxy.end_of_session()

    def test_that_speak_byte_by_byte_get_in(self, pgveil, scripted_server, authority, credentials, folder):
        def script(peer):
            peer.accept_tls(credentials)
            peer.receive_startup_packet()
            scram.serve(peer, KEYS)
            peer.send(authentication(0), wire.message(b"Z", b"I"))
            peer.serve()

        server = scripted_server(script)
        users = secret_file(folder / "users", f'"app" "{KEYS.secret()}"\n')
        proxy = pgveil(server.upstream(sslrootcert=str(authority.file)), listener={"hba": SCRAM, "auth_file": users})
        with proxy.connect() as client:
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def slowly(data):
                for byte in data:
                    client.send(bytes([byte]))

            slowly(wire.startup_message(user="app"))
            client.receive_message()
            exchange = Exchange(KEYS)
            slowly(exchange.initial_response())
            # The first query comes early, together with the last answer.
            client.send(exchange.response(client.receive_message()[1][4:]) + wire.query("SELECT 1"))
            client.receive_until(b"Z")
            assert b"verified" in dict(client.receive_until(b"Z"))[b"D"]


class TestClientsThatSendWithoutEnd:
    """They send more than a login needs."""

    @pytest.mark.parametrize("rule", ["host all all 127.0.0.1/32 relay\n", TRUST["hba"]], ids=["relayed", "on-behalf"])
    def test_that_send_without_end_before_the_server_answers_are_not_read(self, pgveil, scripted_server, rule):
        """The memory of pgveil stays, others are served, and all that was sent arrives."""
        may_answer = threading.Event()

        def script(peer):
            startup = peer.receive_startup_packet()
            if b"slow" in startup:
                assert may_answer.wait(60)
            peer.send(authentication(0), wire.message(b"K", bytes(8)), wire.message(b"Z", b"I"))
            peer.received = len(peer.receive_to_end())

        server = scripted_server(script)
        upstream = server.upstream(sslmode="disable", require_auth="none")
        proxy = pgveil(upstream, listener={"hba": rule}, limits={"workers": 1})
        with proxy.connect() as other:
            other.log_in(user="before")
        before = proxy.resident_bytes()
        query = wire.query("x" * 9_000)
        with proxy.connect() as client:
            client.send(wire.startup_message(user="slow"))
            server.peer(1)
            sent = send_what_is_taken(client.socket, query * 20_000)
            assert sent < 30_000_000, "pgveil has read everything"
            assert proxy.resident_bytes() - before < 5_000_000 or IS_SANITIZED
            with proxy.connect() as other:
                other.log_in(user="other")
            may_answer.set()
            client.receive_until(b"Z")
            client.socket.shutdown(socket.SHUT_WR)
            client.receive_to_end()
        assert server.finished_peer(1).received == sent


def send_what_is_taken(connection: socket.socket, data: bytes) -> int:
    """Sends until nothing was taken for a second."""
    sent = 0
    connection.setblocking(False)
    while sent < len(data) and select.select([], [connection], [], 1)[1]:
        sent += connection.send(data[sent : sent + 100_000])
    connection.settimeout(20)
    return sent
