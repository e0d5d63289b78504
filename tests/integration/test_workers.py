"""Worker threads: sessions are spread over them, and what holds for the process holds across them."""

import collections
import concurrent.futures
import contextlib
import json
import os
import re
import signal
import socket
from pathlib import Path

import pytest

from harness import wire
from harness.audit import to_file, wait_for_records
from harness.cancelling import cancel_a_sleeping_query
from harness.processes import eventually

WORKERS = pytest.mark.parametrize("workers", [1, 2, 4])


@pytest.fixture
def start(pgveil, postgres):
    def start(workers, upstream=None, *, log=None, audit=None, **limits):
        return pgveil(upstream or postgres.upstream(), limits={"workers": workers, **limits}, log=log or {},
                      audit=audit or {})  # fmt: skip

    return start


@contextlib.contextmanager
def sessions(proxy, count):
    """So many clients, logged in one after another."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.connect()) for _ in range(count)]
        for client in clients:
            client.log_in(user="trusted", database="ledger")
        yield clients


def values(proxy, event, key) -> list[str]:
    return re.findall(rf"(?m){event}\b.*\b{key}=(\S+)", proxy.log)


def json_values(proxy, event, key) -> list:
    """Of a log in JSON, which has all keys."""
    return [line[key] for line in map(json.loads, proxy.lines) if line["event"] == event]


def threads(proxy) -> list[str]:
    names = []
    for task in Path(f"/proc/{proxy.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            names.append((task / "comm").read_text().strip())
    return sorted(name for name in names if name.startswith("worker-"))


@WORKERS
def test_there_are_as_many_as_the_setting_says(start, workers):
    proxy = start(workers)
    assert threads(proxy) == [f"worker-{number}" for number in range(1, workers + 1)]
    assert re.search(rf'starting workers={workers} configured={workers} granted="affinity \d+, cpu.max \S+"', proxy.log)


def test_there_is_one_for_each_cpu_that_is_granted(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), prefix=("taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))))
    assert threads(proxy) == ["worker-1"]
    assert re.search(r'starting workers=1 granted="affinity 1, cpu.max \S+"', proxy.log)


@WORKERS
def test_sessions_are_spread_evenly(start, workers):
    proxy = start(workers, log={"format": "json"})
    with sessions(proxy, 8):
        proxy.wait_for_lines("session_started", 8)
    spread = collections.Counter(json_values(proxy, "session_started", "worker"))
    assert spread == {number: 8 // workers for number in range(1, workers + 1)}
    assert len(set(json_values(proxy, "session_started", "session"))) == 8


@pytest.mark.parametrize("session, canceller_is_on", [(1, 1), (0, 2)])
def test_a_cancel_request_reaches_a_session_of_another_worker(start, postgres, session, canceller_is_on):
    """With two hosts, a key that is not known goes nowhere."""
    upstream = postgres.upstream(
        host="localhost,localhost", hostaddr="127.0.0.1,127.0.0.1", port=f"{postgres.port},{postgres.port}"
    )
    proxy = start(2, upstream, log={"format": "json"})
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(sessions(proxy, 2))[session]
        if canceller_is_on == 2:
            stack.enter_context(proxy.connect())  # comes to the first
        cancel_a_sleeping_query(proxy, client, postgres)
        proxy.wait_for_lines('session_closed.*"reason":"cancel_forwarded"', 1)
        assert json_values(proxy, "session_closed", "worker") == [canceller_is_on]
        assert json_values(proxy, "session_started", "worker")[session] != canceller_is_on


def in_parallel(function, count) -> list:
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: function(), range(count)))


@WORKERS
def test_max_sessions_is_exact_in_a_burst(start, workers):
    proxy = start(workers, max_sessions=5)

    def knock():
        client = proxy.connect()
        client.send(wire.startup_message(user="trusted", database="ledger"))
        kind, body = client.receive_message()
        return client, "accepted" if kind == b"R" else wire.error_fields(body)["C"]

    for _ in range(3):  # those that have ended make room for as many, not for one more
        came = in_parallel(knock, 40)
        assert collections.Counter(outcome for _, outcome in came) == {"accepted": 5, "53300": 35}
        ended = len(proxy.lines)
        for client, _ in came:
            client.close()
        proxy.wait_for_lines("session_closed.*reason=(?!too_many)", 5, after=ended)


def test_cancel_requests_are_limited_across_workers(start, authority):
    with socket.create_server(("127.0.0.1", 0), backlog=300) as silent, contextlib.ExitStack() as stack:
        upstream = {"host": "localhost", "hostaddr": "127.0.0.1", "port": silent.getsockname()[1],
                    "sslrootcert": str(authority.file)}  # fmt: skip
        proxy = start(4, upstream)
        request = wire.cancel_request(4711, b"abcd")
        before = proxy.sockets()
        for _ in range(256):
            stack.enter_context(proxy.connect()).send(request)
        eventually(lambda: proxy.sockets() == before + 2 * 256)
        with proxy.connect() as one_more:
            one_more.send(request)
            assert one_more.receive_to_end() == b""
        proxy.wait_for_line("session_closed.*reason=too_many_cancels ")


@WORKERS
def test_sigterm_tells_the_clients_of_every_worker(start, workers):
    proxy = start(workers)
    with sessions(proxy, 8) as clients:
        proxy.send_signal(signal.SIGTERM)
        for client in clients:
            error = client.receive_error()
            assert client.receive_to_end() == b""
            assert (error["S"], error["C"]) == ("FATAL", "57P01")
        assert proxy.wait() == 0
    assert values(proxy, "session_closed", "reason") == ["shutting_down"] * 8
    assert values(proxy, "stopped", "abandoned_sessions") == ["0"]


def stuck_sessions(proxy, stack, count):
    """Clients that do not read what is due to them: 100 MB each."""
    clients = stack.enter_context(sessions(proxy, count))
    for client in clients:
        client.send(wire.query("SELECT repeat('x', 100000000)"))
        assert client.receive_message()[0] == b"T"
    return clients


def test_sessions_that_do_not_end_in_time_are_abandoned_and_counted(start):
    proxy = start(2, drain_timeout="500ms")
    with contextlib.ExitStack() as stack:
        stuck_sessions(proxy, stack, 4)
        proxy.send_signal(signal.SIGTERM)
        assert proxy.wait() == 0
    assert values(proxy, "stopped", "abandoned_sessions") == ["4"]


def test_a_second_signal_closes_at_once(start):
    proxy = start(2, drain_timeout="1h")
    with contextlib.ExitStack() as stack:
        stuck_sessions(proxy, stack, 4)
        proxy.send_signal(signal.SIGTERM)
        proxy.wait_for_line(" draining sessions=4")
        assert proxy.is_running()
        proxy.send_signal(signal.SIGTERM)
        assert proxy.wait() == 0
    assert values(proxy, "stopped", "abandoned_sessions") == ["4"]


def test_sigterm_in_a_burst_of_connections_leaves_nobody_hanging(start):
    proxy = start(4)
    clients = [proxy.connect() for _ in range(200)]
    proxy.send_signal(signal.SIGTERM)
    for client in clients:
        assert client.receive_to_end() == b""
        client.close()
    assert proxy.wait() == 0
    assert values(proxy, "stopped", "abandoned_sessions") == ["0"]


@WORKERS
def test_connections_that_have_come_and_gone_leave_no_descriptor(start, workers):
    proxy = start(workers)
    before = proxy.sockets()
    for number in range(500):
        with proxy.connect() as client:
            if number % 2:
                client.send(wire.SSL_REQUEST)
                assert client.receive(1) == b"N"
    eventually(lambda: proxy.sockets() <= before)


def test_lines_of_all_workers_stay_whole(start, folder):
    audit = folder / "audit.json"
    proxy = start(4, audit=to_file(audit))

    def come_and_go():
        for _ in range(10):
            with proxy.connect() as client:
                client.log_in(user="trusted", database="ledger")
                client.send(wire.TERMINATE)
                client.receive_to_end()

    in_parallel(come_and_go, 8)
    proxy.wait_for_lines("session_closed", 80)
    for line in proxy.lines:
        assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [DIWE] \w+( \w+=("([^"\\]|\\.)*"|\S+))*', line), line
    named = values(proxy, "session_started", "session")
    assert len(set(named)) == len(named) == 80
    # A file of its own, written many records at a time, and not when the log is.
    for outcome in "accepted", "ended":
        assert sorted(record["session"] for record in wait_for_records(audit, 80, outcome)) == sorted(named)
