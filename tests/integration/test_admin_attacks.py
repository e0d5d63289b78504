"""Hostile clients of the admin address. None of them delays a session, or keeps a probe out."""

import contextlib
import random
import resource
import socket
import statistics
import struct
import subprocess
import threading
import time

import pytest

from harness.admin import Admin
from harness.pgveil import IS_SANITIZED
from harness.processes import eventually

# proxy/admin/http_listener.h and http_connection.h
MAX_CONNECTIONS = 128
MAX_SECONDS = 10
MIB = 1 << 20


@pytest.fixture
def start(pgveil, postgres):
    def start(admin=None, **sections):
        admin = {"address": "127.0.0.1:0", "upstream_check_interval": "0s", **(admin or {})}
        proxy = pgveil(postgres.unix_upstream(), admin=admin, **sections)
        return proxy, Admin(proxy)

    return start


@pytest.fixture
def allow_descriptors():
    """Lets this process have so many descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def allow(count: int) -> None:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(count, soft), max(count, hard)))
        except (OSError, ValueError) as error:
            pytest.skip(f"{count} descriptors in one process are needed, {hard} are allowed: {error}")

    yield allow
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Watch:
    """An established session beside the attack, and what the attack costs pgveil."""

    def __init__(self, proxy, client):
        self._proxy, self._client = proxy, client
        self._seconds = []
        self._resident = proxy.resident_bytes()
        self._descriptors = self._most_descriptors = proxy.descriptors_at_rest()

    def look(self) -> None:
        begin = time.monotonic()
        assert self._client.rows("SELECT 1")
        self._seconds.append(time.monotonic() - begin)
        self._most_descriptors = max(self._most_descriptors, self._proxy.descriptors())

    def judge(self) -> None:
        assert statistics.median(self._seconds) < 3  # on a busy machine, too
        # A connection is accepted before the oldest one is closed, and pages read files of /proc.
        assert self._most_descriptors <= self._descriptors + MAX_CONNECTIONS + 4
        assert IS_SANITIZED or self._proxy.resident_bytes() < self._resident + 16 * MIB


@contextlib.contextmanager
def watched(proxy):
    with proxy.connect() as client:
        client.log_in(user="billing", database="ledger")
        watch = Watch(proxy, client)
        yield watch
        watch.look()
        watch.judge()


@contextlib.contextmanager
def hostile_client(admin, source: str = "127.0.0.1"):
    with contextlib.closing(socket.socket()) as client:
        client.settimeout(20)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leaves no port in TIME_WAIT
        client.bind((source, 0))
        client.connect(admin.address)
        yield client


class TestMany:
    @pytest.mark.parametrize("count", [1_000, 10_000])
    def test_connections_keep_neither_sessions_nor_probes_waiting(self, start, allow_descriptors, count):
        allow_descriptors(count + 200)
        proxy, admin = start()
        with watched(proxy) as watch, contextlib.ExitStack() as stack:
            for number in range(count):
                # An address has too few free ports for all.
                client = stack.enter_context(hostile_client(admin, f"127.0.0.{2 + number // 1_000}"))
                with contextlib.suppress(OSError):
                    client.send([b"", b"G", b"GET / HTTP/1.1\r\nX: ", b"\x16\x03\x01", b"GET /status HTTP/1.1\r\n\r\n"][number % 5])
                if number % 100 == 0:
                    watch.look()
            # All are still open at their ends.
            assert admin.status("/livez") == 200
            assert admin.status("/metrics") == 200
            watch.look()
        eventually(lambda: proxy.sockets() < MAX_CONNECTIONS)
        assert admin.status("/livez") == 200

    def test_connections_at_the_limit_of_descriptors_do_not_keep_probes_out(self, start):
        proxy, admin = start(limits={"workers": 1})
        with contextlib.ExitStack() as stack:
            limit = proxy.descriptors_at_rest()
            subprocess.run(["prlimit", f"--pid={proxy.pid}", f"--nofile={limit}"], check=True)
            for _ in range(3):
                stack.enter_context(contextlib.closing(admin.connect()))
            for _ in range(3):
                assert admin.status("/livez") == 200

    def test_clients_that_do_not_read(self, start):
        """Their answers wait in buffers. http_listener_test.cc has one that is larger than those of the kernel."""
        proxy, admin = start()
        with watched(proxy) as watch, contextlib.ExitStack() as stack:
            hostile = [stack.enter_context(contextlib.closing(admin.connect())) for _ in range(50)]
            for client in hostile:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
                client.send(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert admin.status("/metrics") == 200
            watch.look()
            for client in hostile:  # each has an answer, and not a refusal
                assert client.recv(17) == b"HTTP/1.1 200 OK\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


NOISE = random.Random(1).randbytes(4096)
# How a request begins, what comes again and again after that, and the status of the only answer.
ENDLESS = {
    "method": (b"", b"A" * 4096, 400),
    "path": (b"GET /", b"a" * 4096, 400),
    "header field": (b"GET / HTTP/1.1\r\nX: ", b"y" * 4096, 400),
    "header fields": (b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 700, 400),
    "body": (b"POST /reload HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n", b"x" * 4096, 400),
    "chunks": (b"POST /reload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", chunk(b"x" * 4000), 400),
    "noise": (b"", NOISE, 400),
    "requests": (b"", b"GET /livez HTTP/1.1\r\n\r\n" * 100, 200),
    "orders": (b"GET /livez HTTP/1.1\r\n\r\n", b"POST /quitquitquit HTTP/1.1\r\n\r\n" * 100, 200),
    "noise after a request": (b"GET /livez HTTP/1.1\r\n\r\n", NOISE, 200),
}
# One byte after the other.
SLOW = {
    "head": (b"GET / HTTP/1.1\r\nX: ", b"y"),
    "body": (b"POST /reload HTTP/1.1\r\nContent-Length: 1000\r\n\r\n", b"x"),
}


class TestRequestsWithoutEnd:
    @pytest.mark.parametrize("begin, more, status", ENDLESS.values(), ids=ENDLESS)
    def test_get_one_answer(self, start, begin, more, status):
        proxy, admin = start({"allow_quit": True})
        with contextlib.closing(admin.connect()) as hostile:
            hostile.sendall(begin + more * 4)
            answer = b""
            while part := hostile.recv(4096):  # the end is not by RST, which could lose the answer
                answer += part
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert admin.status("/livez") == 200
        assert "reload" not in proxy.log and "stopping" not in proxy.log

    def test_are_cut_off_in_time(self, start):
        """Also if the client goes on after its answer."""
        proxy, admin = start()
        seconds = {}

        def send(name: str, begin: bytes, more: bytes, pause: float) -> None:
            began = time.monotonic()
            with hostile_client(admin) as client, contextlib.suppress(OSError):
                client.sendall(begin)
                while time.monotonic() < began + 6 * MAX_SECONDS:
                    client.sendall(more)
                    time.sleep(pause)
            seconds[name] = time.monotonic() - began

        fast = [(f"endless {name}", begin, more, 0.01) for name, (begin, more, _) in ENDLESS.items()]
        slow = [(f"slow {name}", begin, more, 0.2) for name, (begin, more) in SLOW.items()]
        with watched(proxy) as watch:
            threads = [threading.Thread(target=send, args=each) for each in fast + slow]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                watch.look()
                assert admin.status("/livez") == 200
                time.sleep(0.1)
        assert len(seconds) == len(threads)
        for name, each in seconds.items():
            assert MAX_SECONDS - 1 < each < 3 * MAX_SECONDS, f"{name}: {each} s"
