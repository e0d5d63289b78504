"""Connections that are made ahead: ready before a client comes, used once, renewed, and replaced with patience."""

import re
import signal
import socket
import threading
import time

import pytest

from harness import wire
from harness.cancelling import cancel_a_sleeping_query
from harness.network import FAR, NEAR, ROUND_TRIP
from harness.postgres import PASSWORD
from harness.processes import PATIENCE, eventually
from harness.secrets import secret_file
from harness.wire import Client


class Server:
    """A scripted server that knows when its handshakes were done. `after_tls(number, peer)` is what it does then."""

    def __init__(self, scripted_server, credentials, after_tls=None):
        self.ready: list = []  # peers, in the order in which their handshakes were done
        self.arrivals: list[float] = []
        self._news = threading.Condition()

        def serve(_number, peer):
            peer.log_in()
            peer.serve()

        def script(peer):
            with self._news:
                number = len(self.arrivals)
                self.arrivals.append(time.monotonic())
            peer.accept_tls(credentials)
            with self._news:
                self.ready.append(peer)
                self._news.notify_all()
            (after_tls or serve)(number, peer)

        self.scripted = scripted_server(script)
        self.upstream = self.scripted.upstream

    def wait_for_ready(self, count: int):
        with self._news:
            assert self._news.wait_for(lambda: len(self.ready) >= count, PATIENCE), f"{len(self.ready)} are ready"
            return self.ready[count - 1]


@pytest.fixture
def server(scripted_server, credentials):
    return lambda after_tls=None: Server(scripted_server, credentials, after_tls)


@pytest.fixture
def trust(authority):
    return {"sslrootcert": str(authority.file)}


def hang_up(peer) -> None:
    peer.socket.shutdown(socket.SHUT_RDWR)


def counted(proxy, key: str) -> int:
    """Of all workers together, once pgveil has ended."""
    return sum(int(match) for match in re.findall(rf"preconnect_stopped\b.*\b{key}=(\d+)", proxy.log))


@pytest.fixture
def one_ready(server, pgveil, trust):
    """Starts a server and a pgveil with one connection to it. Returns pgveil and the server's end of the connection."""

    def start(after_tls):
        there = server(after_tls)
        proxy = pgveil(there.upstream(preconnect=1, **trust), limits={"workers": 1})
        return proxy, there.wait_for_ready(1)

    return start


def test_the_handshake_is_done_before_a_client_comes(server, pgveil, trust):
    there = server()
    proxy = pgveil(there.upstream(preconnect=1, **trust), limits={"workers": 1}, log={"level": "debug"})
    waiting = there.wait_for_ready(1)
    with proxy.connect() as client:
        client.log_in(user="ann", database="ledger")
        # Its StartupMessage is the first that this connection carries, or log_in() of the script would fail.
        assert b"user\0ann\0" in waiting.startup
        assert " preconnected=yes " in proxy.wait_for_line("session_started.*").string
    line = proxy.record_of_session()
    assert " preconnected=yes " in line
    assert re.search(r" tls=TLSv1\.3 .* server_fingerprint=[0-9a-f:]{64,} ", line)


def test_one_that_was_taken_is_replaced_at_once(server, pgveil, trust):
    there = server()
    proxy = pgveil(there.upstream(preconnect=1, **trust), limits={"workers": 1})
    there.wait_for_ready(1)
    with proxy.connect() as first:
        first.log_in(user="ann", database="ledger")
        there.wait_for_ready(2)
        with proxy.connect() as second:
            second.log_in(user="bob", database="ledger")
            assert b"user\0bob\0" in there.ready[1].startup
    assert len(proxy.wait_for_lines("session_started.* preconnected=yes ", 2)) == 2


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_there_are_as_many_as_the_setting_says_whatever_the_workers(server, pgveil, trust, workers):
    there = server()
    proxy = pgveil(there.upstream(preconnect=3, **trust), limits={"workers": workers})
    there.wait_for_ready(3)
    assert proxy.stop() == 0
    assert (counted(proxy, "made"), len(there.arrivals)) == (3, 3)


def test_a_session_that_finds_none_makes_its_own(server, pgveil, trust):
    there = server()
    proxy = pgveil(there.upstream(**trust), limits={"workers": 1})
    with proxy.connect() as client:
        client.log_in(user="ann", database="ledger")
    assert "preconnected" not in proxy.wait_for_line("session_started.*").string
    assert len(there.arrivals) == 1


def test_it_is_renewed_before_it_grows_too_old(server, pgveil, trust):
    there = server()
    pgveil(there.upstream(preconnect=1, preconnect_max_age="1s", **trust), limits={"workers": 1})
    first = there.wait_for_ready(1)
    successor = there.wait_for_ready(2)
    assert first.finished.wait(PATIENCE)
    assert isinstance(first.error, wire.EndOfStream)  # a regular end, with close_notify
    assert not successor.finished.is_set()


def test_one_that_the_server_closed_is_replaced(server, pgveil, trust):
    def close_the_first(number, peer):
        if number == 0:
            hang_up(peer)
            return
        peer.log_in()
        peer.serve()

    there = server(close_the_first)
    proxy = pgveil(there.upstream(preconnect=1, **trust), limits={"workers": 1})
    replacement = there.wait_for_ready(2)
    with proxy.connect() as client:
        client.log_in(user="ann", database="ledger")
        assert b"user\0ann\0" in replacement.startup
    assert re.search("preconnect_failed upstream=primary .*reason=upstream_lost", proxy.log)


def test_a_server_that_fails_is_asked_less_and_less_and_complained_of_once(server, pgveil, trust):
    there = server(lambda _number, peer: hang_up(peer))
    proxy = pgveil(there.upstream(preconnect=1, **trust), limits={"workers": 1})
    there.wait_for_ready(4)
    pauses = [later - earlier for earlier, later in zip(there.arrivals, there.arrivals[1:])]
    assert all(pause >= least for pause, least in zip(pauses, (0.24, 0.49, 0.99))), pauses
    assert len(re.findall("preconnect_failed", proxy.log)) == 1


def test_a_server_that_speaks_unasked_is_not_used(server, pgveil, trust):
    def speak_first(number, peer):
        if number == 0:
            peer.send(wire.message(b"R", b"\0\0\0\0"))
            return
        peer.log_in()
        peer.serve()

    there = server(speak_first)
    proxy = pgveil(there.upstream(preconnect=1, **trust), limits={"workers": 1})
    proxy.wait_for_line("preconnect_failed.* reason=upstream_protocol_violation ")
    there.wait_for_ready(2)
    with proxy.connect() as client:
        client.log_in(user="ann", database="ledger")


def test_a_login_begins_anew_where_the_connection_had_died_unnoticed(one_ready):
    def die_at_startup(number, peer):
        startup = peer.receive_startup_packet()
        if number == 0:
            hang_up(peer)
            return
        peer.startup = startup
        peer.send(wire.message(b"R", b"\0\0\0\0"), wire.message(b"Z", b"I"))
        peer.serve()

    proxy, _ = one_ready(die_at_startup)
    with proxy.connect() as client:
        client.send(wire.startup_message(user="ann", database="ledger"))
        client.receive_until(b"Z")
    assert "preconnected" not in proxy.wait_for_line("session_started.*").string


def test_a_login_that_the_server_cuts_off_begins_anew_only_once(one_ready):
    def die_at_startup(_number, peer):
        peer.receive_startup_packet()
        hang_up(peer)

    proxy, _ = one_ready(die_at_startup)
    with proxy.connect() as client:
        client.send(wire.startup_message(user="ann", database="ledger"))
        assert client.receive_error()["C"] == "57P03"
    proxy.wait_for_line("session_closed.* reason=upstream_unreachable ")


def test_a_login_does_not_begin_anew_once_the_server_has_answered(one_ready):
    """The client would be asked for its password twice."""

    def ask_and_die(_number, peer):
        peer.receive_startup_packet()
        peer.send(wire.message(b"R", b"\0\0\0\3"))
        hang_up(peer)

    proxy, _ = one_ready(ask_and_die)
    with proxy.connect() as client:
        client.send(wire.startup_message(user="ann", database="ledger"))
        assert [kind for kind, _ in client.receive_until(b"E")] == [b"R", b"E"]
    proxy.wait_for_line("session_closed.* reason=upstream_lost ")


@pytest.mark.parametrize("is_early", [True, False])
def test_a_login_does_not_begin_anew_once_the_client_has_spoken(one_ready, is_early):
    """What went up is gone: another server would wait for it."""
    password = wire.message(b"p", b"secret\0")

    def listen_and_die(_number, peer):
        peer.startup = peer.receive_startup_packet()
        peer.receive(len(password))
        hang_up(peer)

    proxy, waiting = one_ready(listen_and_die)
    startup = wire.startup_message(user="ann", database="ledger")
    with proxy.connect() as client:
        if is_early:
            client.send(startup + password)
        else:
            client.send(startup)
            eventually(lambda: waiting.startup)
            client.send(password)
        assert client.receive_error()["C"] == "08006"
    proxy.wait_for_line("session_closed.* reason=upstream_lost ")


def test_a_login_with_a_held_password_is_bound_to_it(pgveil, postgres, folder):
    passfile = secret_file(folder / "pgpass", f"*:*:ledger:app:{PASSWORD}\n")
    proxy = pgveil(postgres.upstream(preconnect=1, passfile=passfile, channel_binding="require"),
                   listener={"hba": "host all all all trust\n"}, limits={"workers": 1}, log={"level": "debug"})  # fmt: skip
    for _ in range(3):
        assert proxy.query("SELECT current_user", user="app") == "app"
    assert "server_method=SCRAM-SHA-256-PLUS" in proxy.wait_for_line("audit.*outcome=accepted").string
    assert proxy.stop() == 0
    assert counted(proxy, "taken") >= 1


def test_all_are_closed_when_pgveil_stops(server, pgveil, trust):
    there = server()
    proxy = pgveil(there.upstream(preconnect=4, **trust), limits={"workers": 2})
    there.wait_for_ready(4)
    assert proxy.stop(signal.SIGTERM) == 0
    for peer in there.ready:
        assert peer.finished.wait(PATIENCE)
        assert isinstance(peer.error, wire.EndOfStream)


def test_a_real_server_takes_them_as_any_other(pgveil, postgres):
    proxy = pgveil(postgres.upstream(preconnect=2), limits={"workers": 1})
    for _ in range(5):
        assert proxy.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == "t"
    assert proxy.stop() == 0
    assert counted(proxy, "taken") >= 1
    assert counted(proxy, "failed") == 0


def test_a_cancel_request_finds_a_session_on_one(pgveil, postgres):
    proxy = pgveil(postgres.upstream(preconnect=1), limits={"workers": 1})
    with proxy.connect() as client:
        client.log_in(user="trusted", database="ledger")
        cancel_a_sleeping_query(proxy, client, postgres)


@pytest.mark.parametrize(
    "upstream, why",
    [
        ({"host": "/run/postgresql", "preconnect": 1}, "preconnect: has no effect: a Unix socket never uses TLS"),
        ({"host": "127.0.0.1", "sslmode": "disable", "preconnect": 1}, "preconnect: has no effect: TLS is not used"),
        ({"host": "db", "sslrootcert": "system", "preconnect_max_age": "20s"}, "preconnect_max_age: has no effect"),
        ({"host": "db", "sslrootcert": "system", "preconnect": 1, "role_certificates": "/r"}, "cannot be combined with"),
    ],
)
def test_it_is_refused_where_it_is_of_no_use(refusal, upstream, why):
    assert why in refusal(upstream)


@pytest.mark.parametrize("negotiation, saved", [("postgres", 3), ("direct", 2)])
def test_a_client_waits_for_the_login_only(
    slow_line, scripted_server, credentials, pgveil, trust, folder, negotiation, saved
):
    """TCP, SSLRequest and TLS 1.3 are a round trip each, and so is a login without a password."""

    def best_login(preconnect: int) -> float:
        made = threading.Semaphore(0)

        def script(peer):
            peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if negotiation == "postgres":
                peer.accept_tls(credentials)
            else:
                peer.start_tls(credentials, alpn=["postgresql"])
            made.release()
            peer.log_in()
            peer.serve()

        with slow_line.entered():
            there = scripted_server(script, address=(NEAR, 0))
        proxy = pgveil(
            there.upstream(hostaddr=FAR, preconnect=preconnect, sslnegotiation=negotiation, **trust),
            listener={"address": f"unix:{folder}/.s.PGSQL.{6000 + preconnect}"},
            limits={"workers": 1}, prefix=slow_line.prefix,
        )  # fmt: skip
        times = []
        for _ in range(5):
            if preconnect:  # in TLS 1.3 the client is done before the server
                assert made.acquire(timeout=PATIENCE)
            begin = time.monotonic()
            with Client(proxy.address, PATIENCE) as client:
                client.log_in(user="ann", database="ledger")
                times.append(time.monotonic() - begin)
        return min(times)

    without, with_it = best_login(0), best_login(1)
    print(f"{negotiation}: {without * 1000:.0f} ms without, {with_it * 1000:.0f} ms with")
    assert with_it >= ROUND_TRIP
    # Half a round trip is what a busy machine may add.
    assert without - with_it >= (saved - 0.5) * ROUND_TRIP
