"""Many bytes, slow peers and ends: nothing is lost, nothing piles up, nothing waits for itself."""

import re
import socket
import ssl
import threading
import time

import pytest

from harness import wire
from harness.pgveil import IS_SANITIZED
from harness.processes import eventually
from harness.scripted_server import verified_session
from harness.tls_clients import certificate, tls_client

MEBIBYTE = 1 << 20


@pytest.fixture
def proxy(pgveil, postgres):
    return pgveil(postgres.upstream())


def logged_in(proxy):
    client = proxy.connect()
    client.log_in(user="trusted", database="ledger")
    return client


def is_stuck(proxy) -> bool:
    """Whether pgveil neither reads nor writes any more: its counters stand still for a while."""
    def counters():
        with open(f"/proc/{proxy.pid}/io", encoding="ascii") as file:
            return file.read()

    before = counters()
    time.sleep(0.3)
    return counters() == before


@pytest.mark.skipif(IS_SANITIZED, reason="a sanitizer needs memory of its own")
def test_a_result_that_nobody_reads_does_not_pile_up(proxy):
    with logged_in(proxy) as client:
        client.rows("SELECT 1")
        before = proxy.resident_bytes()
        client.send(wire.query("SELECT repeat('x', 1000000) FROM generate_series(1, 1000)"))
        eventually(lambda: is_stuck(proxy))
        assert proxy.resident_bytes() - before < 8 * MEBIBYTE


@pytest.mark.skipif(IS_SANITIZED, reason="a sanitizer needs memory of its own")
def test_an_upload_that_the_server_does_not_read_does_not_pile_up(pgveil, scripted_server, authority, credentials):
    done = threading.Event()

    def script(peer):
        peer.accept_tls(credentials)
        peer.log_in()
        done.wait(60)

    server = scripted_server(script)
    proxy = pgveil(server.upstream(sslrootcert=str(authority.file)))
    with logged_in(proxy) as client:
        before = proxy.resident_bytes()
        client.socket.settimeout(1)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 1000 * MEBIBYTE:
                sent += client.socket.send(bytes(MEBIBYTE))
        assert proxy.resident_bytes() - before < 8 * MEBIBYTE
        done.set()


def test_a_slow_reader_gets_everything(proxy):
    with logged_in(proxy) as client:
        client.send(wire.query("SELECT repeat('x', 20000000)"))
        eventually(lambda: is_stuck(proxy))
        rows = [body for kind, body in client.receive_until(b"Z") if kind == b"D"]
    assert [len(row) for row in rows] == [2 + 4 + 20_000_000]


def test_the_end_of_a_bulk_transfer_does_not_wait_for_more(pgveil, scripted_server, authority, credentials):
    """In bulk the kernel wakes pgveil for large pieces only. What comes behind them, byte by byte, is seen all the
    same: the server goes on only when the client has it."""
    seen = threading.Semaphore(0)
    row = wire.message(b"d", bytes(8000))
    last = wire.message(b"c", b"")

    def script(peer):
        peer.accept_tls(credentials)
        peer.log_in()
        peer.receive_message()
        peer.send(row * (12 * MEBIBYTE // len(row)))
        for octet in last:
            peer.send(bytes([octet]))
            assert seen.acquire(timeout=20)
        peer.serve()

    server = scripted_server(script)
    proxy = pgveil(server.upstream(sslrootcert=str(authority.file)))
    with logged_in(proxy) as client:
        client.send(wire.query("COPY numbers TO STDOUT"))
        client.receive(len(row) * (12 * MEBIBYTE // len(row)))
        for octet in last:
            assert client.receive(1) == bytes([octet])
            seen.release()
        assert client.rows("SELECT 1")
    server.finished_peer()


def test_both_sides_may_send_at_once(proxy):
    """A server that is writing does not read, and a client that is writing need not: pgveil must not wait for one
    before it serves the other."""
    size = 40 * MEBIBYTE
    with logged_in(proxy) as client:
        client.send(wire.query(f"SELECT repeat('x', {size})"))
        upload = threading.Thread(target=client.send, args=(wire.query(f"SELECT length('{'y' * size}')"),))
        upload.start()
        first = [body for kind, body in client.receive_until(b"Z") if kind == b"D"]
        second = [body for kind, body in client.receive_until(b"Z") if kind == b"D"]
        upload.join(30)
        assert not upload.is_alive()
    assert len(first[0]) == 6 + size
    assert second[0].endswith(str(size).encode())


def test_the_last_words_of_the_server_arrive(proxy, postgres):
    with logged_in(proxy) as client:
        process_id = client.process_id
        postgres.admin(f"SELECT pg_terminate_backend({process_id})")
        assert client.receive_error()["C"] == "57P01"
        assert client.receive_to_end() == b""
    assert "reason=server_closed" in proxy.end_of_session()


def test_waiting_for_a_client_after_the_end_does_not_cost_the_processor(proxy):
    """The server's close_notify and FIN have come, and the client keeps its socket open."""
    with logged_in(proxy) as client:
        before = proxy.seconds_of_processor()
        client.send(wire.query("SELECT pg_terminate_backend(pg_backend_pid())"))
        client.receive_to_end()
        sockets = proxy.sockets()
        eventually(lambda: proxy.sockets() < sockets, patience=5)  # pgveil has stopped waiting
        assert proxy.seconds_of_processor() - before < 0.3


def test_a_tls_client_that_left_costs_no_processor_while_the_server_works(pgveil, postgres, authority, credentials):
    """Its close_notify and its FIN have come, and nobody needs the FIN."""
    proxy = pgveil(postgres.upstream(), listener=certificate(credentials))
    client = tls_client(proxy, authority)
    client.send(wire.startup_message(user="trusted", database="ledger"))
    client.receive_until(b"Z")
    client.send(wire.query("SELECT pg_sleep(1.5)"))
    client.socket.settimeout(0.1)
    with pytest.raises((TimeoutError, ssl.SSLError)):
        client.socket.unwrap()  # sends close_notify, and waits in vain for the answer
    before = proxy.seconds_of_processor()
    client.close()
    assert "reason=client_closed" in proxy.end_of_session()
    assert proxy.seconds_of_processor() - before < 0.3


def test_a_client_that_terminates_ends_its_session_at_the_server(proxy, postgres):
    with logged_in(proxy) as client:
        client.send(wire.TERMINATE)
        client.close()  # as libpq does
        # Who of the two is seen to close first is chance.
        assert re.search("reason=(client|server)_closed ", proxy.end_of_session())
        alive = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {client.process_id}"
        eventually(lambda: postgres.admin(alive) == "0")


def test_what_a_session_held_is_free_soon_after_its_end(proxy):
    before = proxy.sockets()
    for leave in (lambda client: client.send(wire.TERMINATE), lambda client: None):
        with logged_in(proxy) as client:
            leave(client)
        eventually(lambda: proxy.sockets() <= before, patience=1)


def test_a_client_that_shuts_its_side_still_gets_its_answer(proxy):
    """Not what libpq does, but `printf ... | nc` does."""
    with logged_in(proxy) as client:
        client.send(wire.query("SELECT 42"), wire.TERMINATE)
        client.socket.shutdown(socket.SHUT_WR)
        answer = client.receive_to_end()
    assert b"SELECT 1\0" in answer


def test_a_client_that_is_killed_ends_its_session_at_the_server(proxy, postgres):
    client = logged_in(proxy)
    process_id = client.process_id
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # RST
    client.close()
    alive = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {process_id}"
    eventually(lambda: postgres.admin(alive) == "0")
    assert "reason=client_lost" in proxy.end_of_session()


def test_a_client_that_leaves_while_its_result_waits_is_noticed(proxy, postgres):
    client = logged_in(proxy)
    process_id = client.process_id
    client.send(wire.query("SELECT repeat('x', 1000000) FROM generate_series(1, 1000)"))
    eventually(lambda: is_stuck(proxy))
    client.close()
    alive = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {process_id}"
    eventually(lambda: postgres.admin(alive) == "0")
    proxy.end_of_session()


def test_a_server_that_is_lost_in_a_session_is_told(pgveil, scripted_server, authority, credentials):
    def script(peer):
        peer.accept_tls(credentials)
        peer.log_in()
        peer.receive_message()
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()

    server = scripted_server(script)
    proxy = pgveil(server.upstream(sslrootcert=str(authority.file)))
    with logged_in(proxy) as client:
        client.send(wire.query("SELECT 1"))
        assert client.receive_error()["C"] == "08006"
    assert "reason=upstream_lost" in proxy.end_of_session()


def test_records_that_come_in_pieces_are_put_together(pgveil, scripted_server, authority, credentials):
    """TLS records of every size, and rows that straddle them."""
    server = scripted_server(verified_session(credentials))
    proxy = pgveil(server.upstream(sslrootcert=str(authority.file)))
    with logged_in(proxy) as client:
        for size in (1, 2, 3, 5, 1_000, 16_383, 16_384, 16_385, 300_000):
            packet = wire.query("x" * size)
            for start in range(0, len(packet), 7_919):
                client.send(packet[start : start + 7_919])
            assert [kind for kind, _ in client.receive_until(b"Z")] == [b"T", b"D", b"C", b"Z"]


@pytest.mark.parametrize("mebibytes", [5, 9, 32])
def test_a_slow_client_that_has_ended_its_side_gets_all_of_its_answer(
    pgveil, scripted_server, credentials, authority, mebibytes
):
    """Also where the server has closed long before the client reads."""

    def script(peer):
        peer.accept_tls(credentials)
        peer.log_in()
        peer.receive_message()
        for _ in range(mebibytes):
            peer.send(bytes(1 << 20))
        peer.socket.unwrap().shutdown(socket.SHUT_WR)

    there = scripted_server(script)
    proxy = pgveil(there.upstream(sslrootcert=str(authority.file)), limits={"workers": 1})
    with proxy.connect() as client:
        client.log_in(user="ann", database="ledger")
        client.send(wire.query("SELECT all"))
        client.socket.shutdown(socket.SHUT_WR)
        time.sleep(1)
        assert len(client.receive_to_end()) == mebibytes << 20
    assert "reason=client_closed" in proxy.end_of_session()
