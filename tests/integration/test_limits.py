"""What pgveil does at its limits: sessions, time, descriptors, memory."""

import contextlib
import select
import signal
import socket
import struct
import time

import pytest

from harness import wire
from harness.admin import Admin
from harness.pgveil import IS_SANITIZED
from harness.processes import eventually
from harness.tls_clients import certificate

# UndefinedBehaviorSanitizer looks at memory through a pipe, and takes having no descriptor for it for a bad address.
needs_no_descriptors = pytest.mark.skipif(IS_SANITIZED, reason="a sanitizer needs descriptors of its own")


def test_one_session_too_many_is_told_so(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), limits={"max_sessions": 2})
    with proxy.connect() as first, proxy.connect() as second:
        for client in (first, second):
            client.log_in(user="trusted", database="ledger")
        with proxy.connect() as third:
            third.send(wire.startup_message(user="trusted", database="ledger"))
            error = third.receive_error()
            assert third.receive_to_end() == b""
    assert error["C"] == "53300"
    assert error["M"] == "pgveil: sorry, too many clients already"
    assert "reason=too_many_sessions" in proxy.end_of_session()


def test_a_session_that_has_ended_makes_room(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), limits={"max_sessions": 1})
    for _ in range(3):
        with proxy.connect() as client:
            ended = len(proxy.lines)
            client.log_in(user="trusted", database="ledger")
            client.send(wire.TERMINATE)
            client.receive_to_end()
        proxy.end_of_session(after=ended)


def test_connections_that_have_not_said_who_they_are_take_no_session(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), limits={"max_sessions": 1})
    with proxy.connect(), proxy.connect(), proxy.connect():
        assert proxy.query("SELECT 1") == "1"


def test_a_session_without_a_byte_is_ended(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), limits={"idle_timeout": "1s"})
    with proxy.connect() as client:
        client.log_in(user="trusted", database="ledger")
        assert client.rows("SELECT pg_sleep(0.7)")  # traffic that puts it off
        assert client.rows("SELECT pg_sleep(0.7)")
        error = client.receive_error()
        assert client.receive_to_end() == b""
    assert (error["S"], error["C"]) == ("FATAL", "57P05")
    assert "reason=idle_timeout" in proxy.end_of_session()


def test_sigterm_tells_the_client_of_an_idle_session(pgveil, postgres):
    proxy = pgveil(postgres.upstream())
    with proxy.connect() as client:
        client.log_in(user="trusted", database="ledger")
        proxy.send_signal(signal.SIGTERM)
        error = client.receive_error()
        assert client.receive_to_end() == b""
    assert (error["S"], error["C"]) == ("FATAL", "57P01")
    assert proxy.wait() == 0
    assert "reason=shutting_down" in proxy.log


def test_sigint_ends_a_session_in_the_middle_of_a_row_without_garbage(pgveil, postgres):
    proxy = pgveil(postgres.upstream())
    with proxy.connect() as client:
        client.log_in(user="trusted", database="ledger")
        client.send(wire.query("SELECT repeat('x', 100000000)"))
        assert client.receive_message()[0] == b"T"
        proxy.send_signal(signal.SIGINT)
        # What has come is one DataRow, cut off: behind it no ErrorResponse may pass for its content.
        rest = client.receive_to_end()
    assert rest[:1] == b"D"
    assert set(rest[11:]) <= {ord("x")}
    assert proxy.wait() == 0


def test_sigint_ends_it_as_well(pgveil, postgres):
    proxy = pgveil(postgres.upstream())
    proxy.send_signal(signal.SIGINT)
    assert proxy.wait() == 0


def test_a_session_counts_until_its_last_answer_has_come(pgveil, postgres):
    """Else a client that ends its side could have any number of statements run at once."""
    proxy = pgveil(postgres.upstream(), limits={"max_sessions": 1})
    with proxy.connect() as client:
        client.log_in(user="trusted", database="ledger")
        client.send(wire.query("SELECT pg_sleep(1)"))
        client.socket.shutdown(socket.SHUT_WR)
        for _ in range(5):  # the first may come before the end is seen, the last does not
            with proxy.connect() as another:
                another.send(wire.startup_message(user="trusted", database="ledger"))
                assert another.receive_error()["C"] == "53300"
        assert b"SELECT 1\0" in client.receive_to_end()


@needs_no_descriptors
def test_running_out_of_descriptors_is_survived(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), prefix=("prlimit", "--nofile=40:40"))
    clients = [proxy.connect() for _ in range(60)]
    # None of them is lost for good: as soon as there is room, those that wait are served.
    for client in clients[:40]:
        client.close()
    for client in clients[40:]:
        client.close()
    assert eventually(lambda: proxy.psql("SELECT 1").stdout == "1\n")
    assert proxy.is_running()


@needs_no_descriptors
def test_no_descriptor_for_the_server_is_told_as_such(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), prefix=("prlimit", "--nofile=40:40"))
    clients = [proxy.connect() for _ in range(60)]  # more than are accepted: they take every descriptor
    eventually(lambda: "accept_failed" in proxy.log)
    clients[0].send(wire.startup_message(user="trusted", database="ledger"))
    error = clients[0].receive_error()
    assert error["C"] == "XX000"
    assert "LimitNOFILE" in error["H"]
    line = proxy.wait_for_line(" accept_failed .*").string
    assert "New connections wait. Raise the limit of open files of this process: LimitNOFILE" in line
    assert "reason=out_of_resources" in proxy.end_of_session()


@needs_no_descriptors
def test_that_clients_wait_for_descriptors_is_counted(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), prefix=("prlimit", "--nofile=40:40"), admin={"address": "127.0.0.1:0"})
    clients = [proxy.connect() for _ in range(60)]
    eventually(lambda: "accept_failed" in proxy.log)
    pauses = [count for series, count in Admin(proxy).metrics().items()
              if series.startswith("pgveil_accept_pauses_total{") and 'cause="resources"' in series]  # fmt: skip
    assert len(pauses) == 1 and pauses[0] >= 1
    for client in clients:
        client.close()


@needs_no_descriptors
def test_a_failed_descriptor_does_not_cost_the_processor(pgveil, postgres):
    """Accepting that fails at once must not be tried at once again, forever."""
    proxy = pgveil(postgres.upstream(), prefix=("prlimit", "--nofile=40:40"))

    clients = [proxy.connect() for _ in range(60)]
    before, started = proxy.seconds_of_processor(), time.monotonic()
    clients[0].socket.settimeout(1)
    try:
        clients[0].receive(1)
    except TimeoutError:
        pass
    share = (proxy.seconds_of_processor() - before) / (time.monotonic() - started)
    for client in clients:
        client.close()
    assert share < 0.5


def is_answered(client, patience: float = 0.3) -> bool:
    """Whether pgveil has accepted a client that has asked for TLS."""
    return bool(select.select([client.socket], [], [], patience)[0])


class TestClientsThatHaveNotLoggedIn:
    def newcomer(self, proxy):
        client = proxy.connect()
        client.send(wire.SSL_REQUEST)
        return client

    def test_wait_once_there_are_too_many(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream(), limits={"max_unauthenticated_clients": 2})
        first, second, third = (self.newcomer(proxy) for _ in range(3))
        assert is_answered(first, 20) and is_answered(second, 20) and not is_answered(third)
        proxy.wait_for_line(r" W accept_paused .*max_unauthenticated_clients")
        first.close()
        assert is_answered(third, 20)
        second.close()
        third.close()

    def test_make_room_when_they_log_in(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream(), limits={"max_unauthenticated_clients": 1, "workers": 2})
        with contextlib.ExitStack() as stack:
            for _ in range(5):
                stack.enter_context(proxy.connect()).log_in(user="trusted", database="ledger")
            assert proxy.query("SELECT 1") == "1"

    def test_make_room_at_the_end_of_their_time(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream(), limits={"max_unauthenticated_clients": 1, "startup_timeout": "300ms"})
        clients = [self.newcomer(proxy) for _ in range(2)]
        assert all(is_answered(client, 20) for client in clients)
        for client in clients:
            client.close()

    def test_are_all_served_in_a_burst(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream(), limits={"max_unauthenticated_clients": 3, "workers": 2})
        clients = [proxy.connect() for _ in range(60)]
        for client in clients:
            client.send(wire.startup_message(user="trusted", database="ledger"))
        for client in clients:
            client.receive_until(b"Z")
            client.close()

    def test_of_one_listener_do_not_keep_those_of_another_from_coming(self, pgveil, postgres):
        listener = {"address": "127.0.0.1:0", "upstream": "primary"}
        proxy = pgveil(configuration={"listener": [listener, dict(listener)], "upstream": {"primary": postgres.upstream()},
                                      "limits": {"max_unauthenticated_clients": 1, "startup_timeout": "300ms"}})  # fmt: skip
        busy = [self.newcomer(proxy) for _ in range(20)]
        proxy.address = proxy.addresses[1]
        started = time.monotonic()
        with self.newcomer(proxy) as other:
            assert is_answered(other, 20)
        assert time.monotonic() - started < 20  # the others take twice as long: each has two seconds to close
        for client in busy:
            client.close()

    # Of docs/configuration.md, with a tenth more.
    @pytest.mark.skipif(IS_SANITIZED, reason="a sanitizer needs memory of its own")
    @pytest.mark.parametrize("hello_bytes, kib", [(600, 53), (131_000, 190)], ids=["half-a-hello", "largest-hello"])
    def test_need_as_much_memory_as_is_documented(self, pgveil, postgres, credentials, hello_bytes, kib):
        """Clients that send a ClientHello without its end."""
        hello = b"\1" + struct.pack("!I", hello_bytes)[1:] + b"\3\3" + bytes(hello_bytes - 3)
        records = b"".join(b"\x16\3\1" + struct.pack("!H", len(part)) + part
                           for part in (hello[at : at + 16_384] for at in range(0, len(hello), 16_384)))  # fmt: skip
        proxy = pgveil(postgres.upstream(), listener=certificate(credentials), limits={"workers": 1})
        with contextlib.ExitStack() as stack:

            def connect(count):
                for _ in range(count):
                    client = stack.enter_context(self.newcomer(proxy))
                    assert client.receive(1) == b"S"
                    client.send(records[:-1])

            connect(1)
            before = proxy.resident_bytes()
            connect(500)
            # Until the last one is read.
            eventually(lambda: proxy.resident_bytes() - before > 500 * kib * 1024 // 2)
            time.sleep(0.5)
            assert proxy.resident_bytes() - before < 500 * kib * 1024

    def test_do_not_keep_a_cancel_request_out_for_long(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream(), limits={"max_unauthenticated_clients": 1, "startup_timeout": "500ms"})
        with proxy.connect() as client:
            client.log_in(user="trusted", database="ledger")
            client.send(wire.query("SELECT pg_sleep(100)"))
            silent = self.newcomer(proxy)
            assert is_answered(silent, 20)
            with proxy.connect() as canceller:
                canceller.send(wire.cancel_request(client.process_id, client.key))
                error = wire.error_fields(dict(client.receive_until(b"Z"))[b"E"])
            silent.close()
        assert error["C"] == "57014"
