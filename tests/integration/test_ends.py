"""How sessions end: when, what still arrives, and what the log says of it."""

import contextlib
import fcntl
import os
import re
import signal
import socket
import ssl
import struct
import threading
import time

import pytest

from harness import wire
from harness.processes import eventually
from harness.raw_tls import RawTls
from harness.secrets import secret_file
from harness.tls_clients import certificate, tls_client

READY = wire.message(b"Z", b"I")
LOGIN = wire.message(b"R", bytes(4)) + wire.message(b"K", bytes(8)) + READY
START = wire.startup_message(user="ann", database="ledger")
RESET = (socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def logged_in(proxy, **parameters):
    client = proxy.connect()
    client.log_in(**{"user": "trusted", "database": "ledger", **parameters})
    return client


# --- when ---


def test_the_idle_timeout_counts_from_the_last_byte(pgveil, scripted_server):
    """The last byte comes to a worker that has waited for it: what it knew of the time then was old."""
    answered = []

    def script(peer):
        peer.log_in()
        peer.receive_message()
        time.sleep(0.9)
        peer.send(wire.message(b"C", b"SELECT 1\0"), wire.message(b"Z", b"I"))
        answered.append(time.monotonic())

    proxy = pgveil(scripted_server(script).upstream(sslmode="disable"), limits={"idle_timeout": "1s", "workers": 1})
    with logged_in(proxy) as client:
        client.send(wire.query("SELECT 1"))
        client.receive_until(b"Z")
        assert client.receive_error()["C"] == "57P05"
        assert 0.95 < time.monotonic() - answered[0] < 10


def test_and_from_the_last_byte_of_the_client(pgveil, scripted_server):
    def script(peer):
        peer.log_in()
        peer.receive_message()

    proxy = pgveil(scripted_server(script).upstream(sslmode="disable"), limits={"idle_timeout": "1s", "workers": 1})
    with logged_in(proxy) as client:
        time.sleep(0.9)
        client.send(wire.query("SELECT 1"))
        sent = time.monotonic()
        assert client.receive_error()["C"] == "57P05"
        assert 0.95 < time.monotonic() - sent < 10


# --- what still arrives ---


@pytest.fixture(params=["tls", "plaintext"])
def server_that(request, scripted_server, authority, credentials):
    """A server of which `script(peer)` is the session, and the settings of pgveil that lead there."""

    def start(script):
        def whole(peer):
            if request.param == "tls":
                peer.accept_tls(credentials)
            peer.log_in()
            script(peer)

        server = scripted_server(whole)
        trust = {"sslrootcert": str(authority.file)} if request.param == "tls" else {"sslmode": "disable"}
        return server, server.upstream(**trust)

    return start


ROW = wire.message(b"d", bytes(59_995))
FATAL = wire.error_response("FATAL", "57P01", "terminating connection due to administrator command")


def wait_until_acknowledged(peer: socket.socket) -> None:
    """Until everything that was sent has reached pgveil's machine."""
    siocoutq = 0x5411
    eventually(lambda: struct.unpack("i", fcntl.ioctl(peer, siocoutq, b"\0" * 4))[0] == 0)


def test_what_came_before_a_reset_arrives(pgveil, server_that):
    """Although the client reads slowly: pgveil has paused the server by then."""
    rows = 110
    reset = threading.Event()

    def script(peer):
        peer.receive_message()
        peer.send(ROW * rows, FATAL)
        wait_until_acknowledged(peer.socket)
        peer.socket.setsockopt(*RESET)
        socket.socket(fileno=peer.socket.detach()).close()  # without TLS's close_notify
        reset.set()

    _, upstream = server_that(script)
    proxy = pgveil(upstream)
    # Without TLS, a reset is what follows an error if the server has not read everything.
    expected = "server_closed .*sqlstate=57P01" if "sslmode" in upstream else (
        "upstream_lost .*sqlstate=57P01 .*Connection reset by peer")  # fmt: skip
    with logged_in(proxy) as client:
        client.send(wire.query("COPY t TO STDOUT"))
        received = b""
        while not reset.wait(0.05):
            received += client.socket.recv(1 << 16)  # makes room for what the server has still to send
        time.sleep(0.1)
        received += client.receive_to_end()
    assert received == ROW * rows + FATAL
    assert re.search(f"reason={expected}", proxy.end_of_session())


def test_what_a_client_sent_before_its_reset_arrives(pgveil, server_that):
    """Although the server reads slowly: that is how PostgreSQL itself reads it."""
    rows = 110
    reset = threading.Event()
    received = []

    def script(peer):
        while not reset.wait(0.05):
            received.append(peer.receive(1 << 16))
        time.sleep(0.1)
        received.append(peer.receive(len(ROW) * rows - len(received) * (1 << 16)))

    server, upstream = server_that(script)
    proxy = pgveil(upstream)
    client = logged_in(proxy)
    client.send(ROW * rows)
    wait_until_acknowledged(client.socket)
    client.socket.setsockopt(*RESET)
    client.close()
    reset.set()
    assert re.search("reason=client_lost .*Connection reset by peer", proxy.end_of_session())
    server.finished_peer()
    assert b"".join(received) == ROW * rows


# --- what the log says ---


def raw_tls(connection: socket.socket, *, server: ssl.SSLContext | None = None) -> RawTls:
    if server:
        return RawTls(connection, server, server_side=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return RawTls(connection, context, server_side=False)


@pytest.fixture
def tls_server(scripted_server, authority, credentials):
    """A server whose records are in the hands of `script(peer, tls)`, and the settings of pgveil that lead there."""

    def start(script):
        def whole(peer):
            peer.receive_ssl_request()
            peer.send(b"S")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(credentials.certificate, credentials.key)
            tls = raw_tls(peer.socket, server=context)
            assert b"user\0" in tls.receive()
            script(peer, tls)

        server = scripted_server(whole)
        return server.upstream(sslrootcert=str(authority.file))

    return start


class TestABrokenRecordEndsTheSessionAtOnce:
    """After good data in the same read, while the connection stays open."""

    def assert_told(self, proxy, reason):
        line = proxy.wait_for_line("session_closed.*", patience=5).string
        assert re.search(f"reason={reason} .*bad record mac", line)
        return line

    def test_from_the_server_in_a_session(self, pgveil, tls_server):
        def script(peer, tls):
            peer.send(tls.encrypt(LOGIN))
            tls.receive()
            peer.send(tls.encrypt(READY) + tls.broken_record())

        proxy = pgveil(tls_server(script))
        with logged_in(proxy) as client:
            client.send(wire.query("SELECT 1"))
            assert client.receive(len(READY)) == READY
            assert client.receive_error()["C"] == "08006"
            self.assert_told(proxy, "upstream_lost")

    def test_from_the_server_in_the_login(self, pgveil, tls_server):
        proxy = pgveil(tls_server(lambda peer, tls: peer.send(tls.encrypt(LOGIN[:9]) + tls.broken_record())))
        with proxy.connect() as client:
            client.send(START)
            assert client.receive_message()[0] == b"R"
            assert "phase=log_in" in self.assert_told(proxy, "upstream_tls_failed")

    def test_from_the_client_in_a_session(self, pgveil, postgres, credentials):
        proxy = pgveil(postgres.upstream(), listener=certificate(credentials))
        client, tls = self.client(proxy)
        with client:
            client.send(tls.encrypt(wire.startup_message(user="trusted", database="ledger")))
            tls.receive_until(READY)
            client.send(tls.encrypt(wire.query("SELECT 1")) + tls.broken_record())
            self.assert_told(proxy, "client_lost")

    @pytest.mark.parametrize("rule", [None, "host all all all scram-sha-256\n"], ids=["relayed", "asked-by-pgveil"])
    def test_from_the_client_in_the_login(self, pgveil, postgres, credentials, folder, rule):
        settings = {"hba": rule, "auth_file": secret_file(folder / "users", '"app" "secret"\n')} if rule else {}
        proxy = pgveil(postgres.upstream(), listener=certificate(credentials, **settings))
        client, tls = self.client(proxy)
        with client:
            client.send(tls.encrypt(wire.startup_message(user="app", database="ledger")))
            assert tls.receive()[:1] == b"R"
            client.send(tls.encrypt(b"p\0\0") + tls.broken_record())
            assert "phase=log_in" in self.assert_told(proxy, "client_lost")

    def test_from_the_client_before_its_login(self, pgveil, postgres, credentials):
        proxy = pgveil(postgres.upstream(), listener=certificate(credentials))
        client, tls = self.client(proxy)
        with client:
            client.send(tls.encrypt(START[:20]) + tls.broken_record())
            assert "phase=read_startup" in self.assert_told(proxy, "tls_failed")

    def test_from_the_client_with_its_startup_message(self, pgveil, postgres, credentials):
        proxy = pgveil(postgres.upstream(), listener=certificate(credentials))
        client, tls = self.client(proxy)
        with client:
            client.send(tls.encrypt(START) + tls.broken_record())
            self.assert_told(proxy, "client_lost")

    def client(self, proxy):
        client = proxy.connect()
        client.send(wire.SSL_REQUEST)
        assert client.receive(1) == b"S"
        return client, raw_tls(client.socket)


class TestCloseNotifyWithTheLastData:
    """In one read, and the connection stays open."""

    def test_of_the_server_ends_the_session(self, pgveil, tls_server):
        def script(peer, tls):
            peer.send(tls.encrypt(LOGIN))
            tls.receive()
            peer.send(tls.encrypt(FATAL) + tls.close_notify())

        proxy = pgveil(tls_server(script))
        with logged_in(proxy) as client:
            client.send(wire.query("SELECT 1"))
            assert client.receive_to_end() == FATAL
        assert re.search("reason=server_closed .*sqlstate=57P01", proxy.end_of_session())


class TestWhatWasCutOff:
    """It does not look like a regular end to the other side: no close_notify goes out."""

    @staticmethod
    @contextlib.contextmanager
    def tls_session(proxy):
        with proxy.connect() as client:
            client.send(wire.SSL_REQUEST)
            assert client.receive(1) == b"S"
            tls = raw_tls(client.socket)
            client.send(tls.encrypt(START))
            tls.receive_until(READY)
            yield client, tls

    @staticmethod
    def end_noted_in(ends):
        """A server that notes whether its client ended with close_notify."""

        def script(peer, tls):
            peer.send(tls.encrypt(LOGIN))
            tls.receive_to_end()
            ends.append(tls.ended_with_close_notify)

        return script

    @pytest.mark.parametrize("sent, complete", [
        (FATAL, False),
        (FATAL[:9], False),
        (b"", True),  # pgveil itself says the last word, 08006
    ], ids=["after-the-last-message", "inside-a-message", "between-messages"])  # fmt: skip
    def test_by_the_server(self, pgveil, tls_server, credentials, sent, complete):
        def script(peer, tls):
            peer.send(tls.encrypt(LOGIN))
            tls.receive()
            peer.send(tls.encrypt(sent) if sent else b"")
            peer.close()

        proxy = pgveil(tls_server(script), listener=certificate(credentials))
        with self.tls_session(proxy) as (client, tls):
            client.send(tls.encrypt(wire.query("SELECT 1")))
            received = tls.receive_to_end()
            assert received.startswith(sent)
            assert tls.ended_with_close_notify is complete

    @pytest.mark.parametrize("sent, complete", [
        (wire.TERMINATE, True),
        (b"", True),  # without TLS nobody can tell that from a cut
        (wire.query("SELECT 1")[:6], False),
    ], ids=["after-terminate", "between-messages", "inside-a-message"])  # fmt: skip
    def test_by_a_client_without_tls(self, pgveil, tls_server, sent, complete):
        ends = []
        proxy = pgveil(tls_server(self.end_noted_in(ends)))
        with logged_in(proxy) as client:
            client.send(sent)
        eventually(lambda: ends)
        assert ends == [complete]

    @pytest.mark.parametrize("how, complete", [("terminate", True), ("close_notify", True), ("cut", False)])
    def test_by_a_client_with_tls(self, pgveil, tls_server, credentials, how, complete):
        ends = []
        proxy = pgveil(tls_server(self.end_noted_in(ends)), listener=certificate(credentials))
        with self.tls_session(proxy) as (client, tls):
            if how == "terminate":
                client.send(tls.encrypt(wire.TERMINATE))
            elif how == "close_notify":
                client.send(tls.close_notify())
        eventually(lambda: ends)
        assert ends == [complete]


def await_statement(postgres, client):
    """Until the server executes a statement of the client."""
    asked = f"SELECT state FROM pg_stat_activity WHERE pid = {client.process_id} AND query LIKE '%pg_sleep%'"
    eventually(lambda: postgres.admin(asked).strip() == "active")


class TestTheEndOfAServer:
    """A killed backend, a cut connection and a regular end are three entries."""

    def line(self, proxy):
        line = proxy.end_of_session()
        level = re.search(" ([DIWE]) session_closed", line)[1]
        return level, re.search(" reason=(\\w+) ", line)[1], line

    def test_that_an_administrator_ended(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream())
        with logged_in(proxy) as client:
            postgres.admin(f"SELECT pg_terminate_backend({client.process_id})")
            client.receive_to_end()
            level, reason, line = self.line(proxy)
        assert (level, reason) == ("I", "server_closed")
        assert "sqlstate=57P01" in line

    @pytest.mark.parametrize("upstream", ["upstream", "unix_upstream"])
    def test_whose_process_was_killed(self, pgveil, postgres, upstream):
        """By signal 9, which PostgreSQL answers by ending all sessions."""
        proxy = pgveil(getattr(postgres, upstream)())
        with logged_in(proxy, user="billing" if upstream == "unix_upstream" else "trusted") as client:
            os.kill(client.process_id, signal.SIGKILL)
            assert client.receive_error()["C"] == "08006"
            assert client.receive_to_end() == b""
            level, reason, line = self.line(proxy)
        assert (level, reason) == ("W", "server_closed_unexpectedly")
        assert ("without close_notify" if upstream == "upstream" else "no FATAL error") in line
        postgres.await_recovery()

    def test_whose_process_was_killed_while_it_sent(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream())
        with logged_in(proxy) as client:
            client.send(wire.query("SELECT repeat('x', 100000000)"))
            client.receive(10_000)
            os.kill(client.process_id, signal.SIGKILL)
            client.receive_to_end()
            level, reason, _ = self.line(proxy)
        assert (level, reason) == ("W", "server_closed_in_message")
        postgres.await_recovery()

    @pytest.mark.parametrize("last", [b"", wire.TERMINATE], ids=["without-terminate", "with-terminate"])
    def test_whose_process_was_killed_before_its_last_answer(self, pgveil, postgres, last):
        """The client has ended its side, and reads."""
        proxy = pgveil(postgres.upstream())
        with logged_in(proxy) as client:
            client.send(wire.query("SELECT pg_sleep(60)") + last)
            client.socket.shutdown(socket.SHUT_WR)
            await_statement(postgres, client)
            os.kill(client.process_id, signal.SIGKILL)
            assert client.receive_error()["C"] == "08006"
            assert client.receive_to_end() == b""
            level, reason, _ = self.line(proxy)
        # With RST, since the server has not read the end of its client.
        assert (level, reason) in [("W", "upstream_lost"), ("W", "server_closed_unexpectedly")]
        postgres.await_recovery()

    def test_that_an_administrator_ended_before_its_last_answer(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream())
        with logged_in(proxy) as client:
            client.send(wire.query("SELECT pg_sleep(60)"))
            client.socket.shutdown(socket.SHUT_WR)
            await_statement(postgres, client)
            postgres.admin(f"SELECT pg_terminate_backend({client.process_id})")
            assert wire.error_fields(client.receive_until(b"E")[-1][1])["C"] == "57P01"
            level, reason, line = self.line(proxy)
        assert (level, reason) == ("I", "server_closed")
        assert "sqlstate=57P01" in line

    def test_that_has_noticed_the_end_of_its_client(self, pgveil, postgres):
        """With client_connection_check_interval: then the client has ended the session."""
        proxy = pgveil(postgres.upstream())
        with logged_in(proxy) as client:
            client.send(wire.query("SET client_connection_check_interval = '100ms'"))
            client.receive_until(b"Z")
            client.send(wire.query("SELECT pg_sleep(60)"))
            await_statement(postgres, client)
        level, reason, _ = self.line(proxy)
        assert (level, reason) == ("I", "client_closed")

    @pytest.mark.parametrize("sent, reason", [(b"", "server_closed_unexpectedly"), (ROW[:7], "server_closed_in_message"),
                                              (FATAL, "server_closed_unexpectedly")],
                             ids=["between-messages", "inside-a-message", "after-its-error"])  # fmt: skip
    def test_whose_connection_was_cut(self, pgveil, server_that, sent, reason):
        """With a FIN that is not the server's."""

        def script(peer):
            peer.receive_message()
            peer.send(sent)
            socket.socket(fileno=peer.socket.detach()).close()

        _, upstream = server_that(script)
        if sent == FATAL and "sslmode" in upstream:
            reason = "server_closed"  # nobody can tell
        proxy = pgveil(upstream)
        with logged_in(proxy) as client:
            client.send(wire.query("SELECT 1"))
            client.receive_to_end()
            assert self.line(proxy)[:2] == ("I" if reason == "server_closed" else "W", reason)

    def test_in_the_login_says_how(self, pgveil, scripted_server, authority, credentials):
        def script(peer):
            peer.accept_tls(credentials)
            peer.receive_startup_packet()
            peer.send(LOGIN[:12])
            socket.socket(fileno=peer.socket.detach()).close()

        proxy = pgveil(scripted_server(script).upstream(sslrootcert=str(authority.file)))
        with proxy.connect() as client:
            client.send(START)
            client.receive_to_end()
        line = proxy.end_of_session()
        assert "reason=upstream_lost " in line
        assert "closed the connection during the login, inside a message, without close_notify." in line


class TestTheEndOfAClient:
    """Likewise, at level info."""

    @pytest.fixture
    def proxy(self, pgveil, postgres, credentials):
        return pgveil(postgres.upstream(), listener=certificate(credentials, tls="optional"))

    def session(self, proxy, has_tls, authority):
        client = tls_client(proxy, authority) if has_tls else proxy.connect()
        client.send(wire.startup_message(user="trusted", database="ledger"))
        client.receive_until(b"Z")
        return client

    @pytest.mark.parametrize("has_tls", [True, False], ids=["tls", "plaintext"])
    @pytest.mark.parametrize("sent, reason, detail", [
        (wire.TERMINATE, "client_closed", ""),
        (b"", "client_closed_unexpectedly", "TLS ended without close_notify."),
        (wire.query("SELECT 1")[:6], "client_closed_in_message",
         "The connection ended inside a message, and TLS without close_notify."),
    ], ids=["after-terminate", "between-messages", "inside-a-message"])  # fmt: skip
    def test_without_close_notify(self, proxy, authority, has_tls, sent, reason, detail):
        client = self.session(proxy, has_tls, authority)
        client.send(sent)
        socket.socket(fileno=client.socket.detach()).close()
        if not has_tls:
            reason = reason.replace("_unexpectedly", "")
            detail = {"client_closed_in_message": "The connection ended inside a message.",
                      "client_closed": "" if sent else "The client sent no Terminate message."}[reason]  # fmt: skip
        line = proxy.end_of_session()
        assert " I session_closed" in line
        assert f" reason={reason} " in line
        assert f' detail="{detail}"' in line if detail else " detail=" not in line

    def test_with_close_notify_and_without_terminate(self, proxy, authority):
        client = self.session(proxy, True, authority)
        with contextlib.suppress(OSError):
            client.socket.settimeout(0.1)
            client.socket.unwrap()
        client.close()
        assert re.search("reason=client_closed .*The client sent no Terminate message", proxy.end_of_session())

    def test_that_broke(self, proxy, authority):
        client = self.session(proxy, False, authority)
        client.socket.setsockopt(*RESET)
        client.close()
        assert re.search("reason=client_lost .*Connection reset", proxy.end_of_session())
