"""Servers that are away, silent, full or starting up: what the client and the log are told, and which server is tried next."""

import contextlib
import socket
import struct
import time

import pytest

from harness import wire
from harness.network import FAR, NEAR
from harness.pgveil import psql
from harness.postgres import PASSWORD
from harness.processes import POSTGRES_BIN, run
from harness.scripted_server import verified_session
from harness.tls_clients import certificate, tls_client
from harness.wire import Client

STARTING_UP = wire.error_response("FATAL", "57P03", "the database system is starting up")
SHUTTING_DOWN = wire.error_response("FATAL", "57P03", "the database system is shutting down")


@pytest.fixture
def trust(authority):
    return {"sslrootcert": str(authority.file)}


@pytest.fixture
def nobody():
    """A port on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def full_port():
    """A port whose queue of new connections is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(listener.getsockname())
        time.sleep(0.1)
        yield listener.getsockname()[1]


def hosts(*ports, **settings) -> dict:
    """An upstream of several servers."""
    return {"host": ",".join(["localhost"] * len(ports)), "hostaddr": ",".join(["127.0.0.1"] * len(ports)),
            "port": ",".join(map(str, ports)), **settings}  # fmt: skip


def attempt(proxy) -> tuple[dict[str, str], float]:
    """An error, and the seconds that it took to come."""
    began = time.monotonic()
    with proxy.connect() as client:
        client.send(wire.startup_message(user="ann", database="ledger"))
        return client.receive_error(), time.monotonic() - began


def log_in(proxy) -> float:
    began = time.monotonic()
    with proxy.connect() as client:
        client.log_in(user="ann", database="ledger")
        client.send(wire.query("SELECT 1"))
        assert b"verified" in dict(client.receive_until(b"Z"))[b"D"]
    return time.monotonic() - began


def refuses(credentials, word: bytes):
    def script(peer):
        peer.accept_tls(credentials)
        peer.startup = peer.receive_startup_packet()
        peer.send(word)
        peer.close()

    return script


def ignores_startup(credentials):
    def script(peer):
        peer.accept_tls(credentials)
        peer.startup = peer.receive_startup_packet()

    return script


class TestWhatIsTold:
    def test_a_full_port(self, pgveil, trust, full_port):
        proxy = pgveil({"host": "db", "hostaddr": "127.0.0.1", "port": full_port, "connect_timeout": "300ms", **trust})
        error, _ = attempt(proxy)
        assert error["C"] == "57P03"
        assert error["D"] == f'Connection to server at "db" (127.0.0.1:{full_port}) failed: no answer in time.'
        line = proxy.end_of_session()
        assert "reason=upstream_timed_out" in line and f"server=127.0.0.1:{full_port}" in line

    def test_a_full_port_at_startup_timeout(self, pgveil, trust, full_port):
        proxy = pgveil({"host": "db", "hostaddr": "127.0.0.1", "port": full_port, "connect_timeout": "0s", **trust},
                       limits={"startup_timeout": "300ms"})  # fmt: skip
        error, _ = attempt(proxy)
        assert f"(127.0.0.1:{full_port}) failed: no answer in time." in error["D"]

    @pytest.mark.parametrize("last", ["full", "refused", "silent", "without TLS"])
    def test_what_became_of_earlier_addresses(self, pgveil, scripted_server, trust, full_port, nobody, last):
        def script(peer):
            peer.receive_ssl_request()
            if last == "without TLS":
                peer.send(b"N")

        server = scripted_server(script)
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            port = {"full": full_port, "refused": other.getsockname()[1]}.get(last, server.port)
            proxy = pgveil(hosts(nobody, port, connect_timeout="300ms", **trust))
            error, _ = attempt(proxy)
        assert error["C"] == ("08001" if last == "without TLS" else "57P03")
        for each, what in ((nobody, "Connection refused"),
                           (port, {"full": "no answer in time", "refused": "Connection refused",
                                   "silent": "did not answer the request for TLS in time"}.get(last))):  # fmt: skip
            if what:
                assert f"(127.0.0.1:{each}) failed: " in error["D"] and what in error["D"]
        assert error["D"].split("Connection", 1)[1] in proxy.end_of_session().replace('\\"', '"')

    def test_a_server_that_does_not_answer_the_login(self, pgveil, scripted_server, credentials, trust):
        server = scripted_server(ignores_startup(credentials))
        proxy = pgveil(server.upstream(**trust), limits={"startup_timeout": "400ms"})
        error, _ = attempt(proxy)
        assert error["C"] == "57P03"
        assert "the server did not answer the StartupMessage in time." in error["D"]
        assert "reason=upstream_timed_out" in proxy.end_of_session()

    def test_the_server_of_a_cancel_request(self, pgveil, scripted_server, full_port, trust):
        """Its client cannot be told; the log is."""
        proxy = pgveil({"host": "db", "hostaddr": "127.0.0.1", "port": full_port, "connect_timeout": "300ms", **trust})
        with proxy.connect() as client:
            client.send(wire.cancel_request(4711, b"\1\2\3\4"))
            assert client.receive_to_end() == b""
        line = proxy.end_of_session()
        assert "reason=upstream_timed_out" in line and f"(127.0.0.1:{full_port}) failed: no answer in time" in line


class TestReadiness:
    """pg_isready, and libpq's own host list, decide by 57P03."""

    def isready(self, proxy):
        host, port = proxy.address
        return run(f"{POSTGRES_BIN}/pg_isready", "-h", host, "-p", port, "-d", "sslmode=disable")

    def test_a_server_that_is_there(self, pgveil, postgres):
        done = self.isready(pgveil(postgres.upstream()))
        assert (done.returncode, "accepting" in done.stdout) == (0, True), done.stdout

    @pytest.mark.parametrize("why", ["refused", "full", "unknown", "silent", "hangs up", "hangs up later", "starting up"])
    def test_a_server_that_is_away(self, pgveil, scripted_server, credentials, trust, nobody, full_port, why):
        def hang_up(peer):
            peer.receive_ssl_request()
            peer.close()

        def hang_up_later(peer):
            peer.accept_tls(credentials)
            peer.receive_startup_packet()
            peer.close()

        script = {"hangs up": hang_up, "hangs up later": hang_up_later, "starting up": refuses(credentials, STARTING_UP)}.get(
            why, lambda peer: peer.receive_ssl_request())
        server = scripted_server(script)
        upstream = server.upstream(connect_timeout="300ms", **trust)
        upstream |= {"refused": {"port": nobody}, "full": {"port": full_port},
                     "unknown": {"host": "db.invalid", "hostaddr": ""}}.get(why, {})  # fmt: skip
        done = self.isready(pgveil({key: value for key, value in upstream.items() if value != ""}))
        assert (done.returncode, "rejecting connections" in done.stdout) == (1, True), done.stdout

    def test_a_server_without_tls_that_hangs_up(self, pgveil, scripted_server):
        def hang_up(peer):
            peer.receive_startup_packet()
            peer.close()

        servers = [scripted_server(hang_up), scripted_server(hang_up)]
        ports = ",".join(str(server.port) for server in servers)
        for host, port in ("127.0.0.1", servers[0].port), ("127.0.0.1,127.0.0.1", ports):
            done = self.isready(pgveil({"host": host, "port": port, "sslmode": "disable"}))
            assert (done.returncode, "rejecting connections" in done.stdout) == (1, True), done.stdout

    def test_a_certificate_that_is_refused_is_no_server_that_is_away(self, pgveil, scripted_server, authority, trust):
        stranger = authority.issue("other", dns=["other.example.com"])
        proxy = pgveil(scripted_server(verified_session(stranger)).upstream(**trust))
        assert attempt(proxy)[0]["C"] == "08001"

    def test_libpq_goes_on_to_the_next_pgveil(self, pgveil, postgres, trust, nobody):
        away = pgveil({"host": "localhost", "hostaddr": "127.0.0.1", "port": nobody, **trust})
        there = pgveil(postgres.upstream())
        (host, first), (_, second) = away.address, there.address
        done = psql(f"host={host},{host} port={first},{second} sslmode=disable user=trusted dbname=ledger", "SELECT 42")
        assert done.stdout.strip() == "42", done.stderr
        away.end_of_session()


class TestHostLists:
    @pytest.mark.parametrize("word", [STARTING_UP, SHUTTING_DOWN], ids=["starting up", "shutting down"])
    @pytest.mark.parametrize("method", ["relay", "trust"])
    def test_a_host_that_takes_no_connections_now_is_left(self, pgveil, scripted_server, credentials, trust, word, method):
        first = scripted_server(refuses(credentials, word))
        second = scripted_server(verified_session(credentials))
        proxy = pgveil(hosts(first.port, second.port, **trust), listener={"hba": f"host all all all {method}\n"})
        log_in(proxy)
        line = proxy.wait_for_line("session_started.*").string
        assert f"server=127.0.0.1:{second.port} " in line
        assert f"(127.0.0.1:{first.port}) failed: the server takes no connections now" in line
        assert first.finished_peer().startup == second.finished_peer().startup
        assert first.finished_peer().rest in (None, b"")

    def test_a_client_is_asked_for_its_password_once(self, pgveil, scripted_server, authority, credentials, trust):
        def asks(peer):
            peer.accept_tls(credentials)
            peer.receive_startup_packet()
            peer.send(wire.message(b"R", struct.pack("!I", 3)))
            assert peer.receive_message() == (b"p", b"secret\0")
            peer.send(wire.message(b"R", bytes(4)), wire.message(b"Z", b"I"))

        first = scripted_server(refuses(credentials, STARTING_UP))
        proxy = pgveil(hosts(first.port, scripted_server(asks).port, require_auth="password", **trust),
                       listener=certificate(credentials, hba="hostssl all all all password\n"))  # fmt: skip
        with tls_client(proxy, authority) as client:
            client.send(wire.startup_message(user="ann", database="ledger"))
            assert client.receive_message() == (b"R", struct.pack("!I", 3))
            client.send(wire.message(b"p", b"secret\0"))
            requests = [body for kind, body in client.receive_until(b"Z") if kind == b"R"]
            assert requests == [bytes(4)]

    def test_the_last_refusal_is_passed_on_unchanged(self, pgveil, scripted_server, credentials, trust):
        servers = [scripted_server(refuses(credentials, word)) for word in (STARTING_UP, SHUTTING_DOWN)]
        proxy = pgveil(hosts(*(server.port for server in servers), **trust))
        with proxy.connect() as client:
            client.send(wire.startup_message(user="ann", database="ledger"))
            assert client.receive_to_end() == SHUTTING_DOWN
        line = proxy.end_of_session()
        assert "reason=login_failed" in line and "sqlstate=57P03" in line
        assert f"(127.0.0.1:{servers[0].port}) failed: the server takes no connections now" in line

    def test_then_the_next_one_may_be_away(self, pgveil, scripted_server, credentials, trust, nobody):
        first = scripted_server(refuses(credentials, STARTING_UP))
        error, _ = attempt(pgveil(hosts(first.port, nobody, **trust)))
        assert error["C"] == "57P03"
        assert "the database system is starting up" in error["D"] and "Connection refused" in error["D"]

    @pytest.mark.parametrize("sqlstate", ["53300", "28000", "3D000", "57P01"])
    def test_any_other_refusal_is_final(self, pgveil, scripted_server, credentials, trust, sqlstate):
        first = scripted_server(refuses(credentials, wire.error_response("FATAL", sqlstate, "no")))
        second = scripted_server(verified_session(credentials))
        assert attempt(pgveil(hosts(first.port, second.port, **trust)))[0]["C"] == sqlstate
        assert second.peers == []

    def test_a_refusal_after_a_password_request_is_final(self, pgveil, scripted_server, credentials, trust):
        def script(peer):
            peer.accept_tls(credentials)
            peer.receive_startup_packet()
            peer.send(wire.message(b"R", struct.pack("!I", 3)))
            peer.receive_message()
            peer.send(STARTING_UP)
            peer.close()

        first, second = scripted_server(script), scripted_server(verified_session(credentials))
        proxy = pgveil(hosts(first.port, second.port, **trust))
        with proxy.connect() as client:
            client.send(wire.startup_message(user="ann", database="ledger"))
            client.receive_until(b"R")
            client.send(wire.message(b"p", b"secret\0"))
            assert client.receive_error()["C"] == "57P03"
        assert second.peers == []

    def test_what_a_client_has_sent_early_goes_to_one_server_only(self, pgveil, scripted_server, credentials, trust):
        def script(peer):
            peer.accept_tls(credentials)
            peer.receive_startup_packet()
            peer.receive_message()
            peer.send(STARTING_UP)
            peer.close()

        first, second = scripted_server(script), scripted_server(verified_session(credentials))
        proxy = pgveil(hosts(first.port, second.port, **trust))
        with proxy.connect() as client:
            client.send(wire.startup_message(user="ann", database="ledger") + wire.message(b"p", b"secret\0"))
            assert client.receive_error()["C"] == "57P03"
        assert second.peers == []

    def test_a_version_that_the_server_does_not_know_changes_nothing(self, pgveil, scripted_server, credentials, trust):
        first = scripted_server(refuses(credentials, wire.message(b"v", struct.pack("!II", 0, 0)) + STARTING_UP))
        second = scripted_server(verified_session(credentials))
        log_in(pgveil(hosts(first.port, second.port, **trust)))

    def test_a_refusal_in_pieces_is_understood(self, pgveil, scripted_server, credentials, trust):
        def script(peer):
            peer.accept_tls(credentials)
            peer.receive_startup_packet()
            for at in range(0, len(STARTING_UP), 10):
                peer.send(STARTING_UP[at : at + 10])
                time.sleep(0.02)
            peer.close()

        first, second = scripted_server(script), scripted_server(verified_session(credentials))
        log_in(pgveil(hosts(first.port, second.port, **trust)))

    def test_a_host_that_hangs_up_is_left(self, pgveil, scripted_server, credentials, trust):
        def script(peer):
            if len(first.peers) == 1:
                peer.receive_ssl_request()
            elif len(first.peers) == 2:
                peer.receive_ssl_request()
                peer.send(b"S")
                peer.receive(1)
            else:
                peer.accept_tls(credentials)
                peer.receive_startup_packet()
            peer.socket.shutdown(socket.SHUT_RDWR)

        first, second = scripted_server(script), scripted_server(verified_session(credentials))
        proxy = pgveil(hosts(first.port, second.port, **trust))
        for _ in range(3):
            log_in(proxy)
        assert len(first.peers) == 3

    @pytest.mark.parametrize("connect_timeout", ["10s", "0s"])
    def test_the_time_is_divided_among_the_hosts(self, pgveil, scripted_server, credentials, trust, connect_timeout):
        """Silent hosts leave time for those after them, whatever connect_timeout says."""

        def in_silence(peer):
            peer.receive_ssl_request()

        silent = [scripted_server(in_silence), scripted_server(ignores_startup(credentials))]
        last = scripted_server(verified_session(credentials))
        proxy = pgveil(hosts(*(server.port for server in silent), last.port, connect_timeout=connect_timeout, **trust),
                       limits={"startup_timeout": "3s"})  # fmt: skip
        assert 1.8 < log_in(proxy) < 2.9
        line = proxy.wait_for_line("session_started.*").string
        assert "did not answer the request for TLS in time" in line
        assert "did not answer the StartupMessage in time" in line

    def test_connect_timeout_is_the_most(self, pgveil, scripted_server, credentials, trust):
        silent = scripted_server(lambda peer: peer.receive_ssl_request())
        last = scripted_server(verified_session(credentials))
        assert 0.2 < log_in(pgveil(hosts(silent.port, last.port, connect_timeout="300ms", **trust))) < 8


class TestUnixSockets:
    @pytest.fixture
    def listener(self, folder):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / ".s.PGSQL.5432"))
            listener.listen(0)
            yield listener

    def fill(self, stack, path):
        """Answers how many connections it took."""
        for number in range(8):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            try:
                client.connect(path)
            except BlockingIOError:
                return number
        raise AssertionError("the queue does not fill")

    def test_a_full_queue_is_waited_for(self, pgveil, folder, listener):
        with contextlib.ExitStack() as stack:
            filled = self.fill(stack, listener.getsockname())
            proxy = pgveil({"host": str(folder)})
            client = stack.enter_context(proxy.connect())
            client.send(wire.startup_message(user="ann", database="ledger"))
            time.sleep(0.3)
            assert "session_closed" not in proxy.log
            for _ in range(filled):
                listener.accept()[0].close()
            server, _ = listener.accept()
            stack.enter_context(server)
            assert b"user\0ann\0" in server.recv(4096)

    def test_not_for_ever(self, pgveil, folder, listener):
        with contextlib.ExitStack() as stack:
            self.fill(stack, listener.getsockname())
            proxy = pgveil({"host": str(folder), "connect_timeout": "300ms"})
            error, seconds = attempt(proxy)
        assert error["C"] == "57P03" and 0.25 < seconds < 8
        assert "its queue of new connections is full" in error["D"]
        assert "reason=upstream_timed_out" in proxy.end_of_session()

    def test_the_next_host_is_tried(self, pgveil, postgres, folder, listener):
        with contextlib.ExitStack() as stack:
            self.fill(stack, listener.getsockname())
            proxy = pgveil({"host": f"{folder},{postgres.directory}", "port": f"5432,{postgres.port}",
                            "connect_timeout": "300ms"})  # fmt: skip
            assert proxy.query("SELECT 1", user="app", password=PASSWORD) == "1"

    def test_a_client_whose_connection_breaks_ends_the_wait(self, pgveil, folder, listener):
        """One that only ends its side may wait for its answers."""
        with contextlib.ExitStack() as stack:
            self.fill(stack, listener.getsockname())
            proxy = pgveil({"host": str(folder)})
            with proxy.connect() as client:
                client.send(wire.startup_message(user="ann", database="ledger"))
                time.sleep(0.1)
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            assert "reason=client_lost" in proxy.end_of_session()


class TestConnectionsMadeAhead:
    def test_one_that_was_made_during_the_start_is_replaced(self, pgveil, scripted_server, credentials, trust):
        """PostgreSQL decides when the connection is made, and says so at its StartupMessage, however late that comes."""

        def script(peer):
            (refuses(credentials, STARTING_UP) if len(server.peers) <= 2 else verified_session(credentials))(peer)

        server = scripted_server(script)
        proxy = pgveil(server.upstream(preconnect=2, **trust), limits={"workers": 1})
        server.wait_for_encrypted(2)
        log_in(proxy)
        proxy.wait_for_line("preconnect_failed.* detail=.*takes no connections now")
        line = proxy.wait_for_line("session_started.*").string
        assert "preconnected" not in line and "takes no connections now" in line

    def test_one_whose_server_does_not_answer_costs_time_but_no_login(self, pgveil, scripted_server, credentials, trust):
        def script(peer):
            (ignores_startup(credentials) if len(server.peers) <= 3 else verified_session(credentials))(peer)

        server = scripted_server(script)
        proxy = pgveil(server.upstream(preconnect=3, **trust), limits={"workers": 1, "startup_timeout": "6s"})
        server.wait_for_encrypted(3)
        assert 2.9 < log_in(proxy) < 6
        assert log_in(proxy) < 2.9  # the others are not trusted any more

    def test_a_host_that_is_gone_costs_time_but_no_login(self, cut_off):
        line, proxy, _ = cut_off
        line.cut()
        assert 0.9 < self.enter(line, proxy) < 9
        proxy.wait_for_line("preconnect_failed")  # with the first, all are gone
        assert self.enter(line, proxy) < 9

    def test_a_host_that_is_gone_is_noticed_without_a_login(self, cut_off):
        line, proxy, second = cut_off
        line.cut()
        proxy.wait_for_line("preconnect_failed.* reason=upstream_lost", 12)
        second.wait_for_encrypted(3)  # all of them lead there now
        proxy.wait_for_line("preconnect_recovered")
        # On a busy machine, the first may still get one that leads to the first host.
        for _ in range(3):
            self.enter(line, proxy)
        assert any("preconnected=yes" in found.string for found in proxy.wait_for_lines("session_started.*", 3))

    def enter(self, line, proxy):
        began = time.monotonic()
        with line.entered(), Client(proxy.address) as client:
            client.log_in(user="ann", database="ledger")
        return time.monotonic() - began

    @pytest.fixture
    def cut_off(self, slow_line, scripted_server, credentials, pgveil, trust, folder):
        """A first host across a line that can be cut, with connections made ahead, and a second one."""
        with slow_line.entered():
            first = scripted_server(verified_session(credentials), address=(NEAR, 0))
            second = scripted_server(verified_session(credentials), address=("127.0.0.1", 0))
        proxy = pgveil(
            {"host": "localhost,localhost", "hostaddr": f"{FAR},127.0.0.1", "port": f"{first.port},{second.port}",
             "preconnect": 3, "keepalives_idle": "1s", "keepalives_interval": "1s", "keepalives_count": 1, **trust},
            listener={"address": f"unix:{folder}/.s.PGSQL.7100"}, limits={"workers": 1, "startup_timeout": "4s"},
            prefix=slow_line.prefix,
        )  # fmt: skip
        first.wait_for_encrypted(3)
        return slow_line, proxy, second
