"""What is measured. A workload runs once for one contender and answers figures: names to numbers."""

import re
import subprocess
import time

import measure
from workplace import POSTGRES_BIN, Failure, environment, run

GIB = 1 << 30
MIB = 1 << 20
_LINE_BYTES = 1000


class Workload:
    """`key` names it on the command line; `repeats` is false where one round says everything (memory)."""

    pump = False
    tls_clients = False  # with certificates, which the proxy has to check
    with_direct = True
    repeats = True

    def __init__(self, place):
        self._place = place

    def prepare(self):
        """Once, before the first round."""

    def measure(self, running):
        raise NotImplementedError

    def system_calls(self, running):
        """Counted in a run of their own, once."""
        return {}


class Transactions(Workload):
    """Small queries: one row by primary key, prepared."""

    def __init__(self, place, clients, seconds):
        super().__init__(place)
        self.key = f"pgbench-{clients}"
        self.title = f"`pgbench -S -M prepared`, {clients} client{'s' if clients > 1 else ''}"
        self._clients = clients
        self._seconds = seconds

    def measure(self, running):
        before = _cpu(running)
        output = self._pgbench(running, "-T", self._seconds)
        used = _cpu(running) - before
        done = int(_find(r"transactions actually processed: (\d+)", output))
        figures = {
            "tps": float(_find(r"tps = ([\d.]+)", output)),
            "latency_us": 1000 * float(_find(r"latency average = ([\d.]+) ms", output)),
        }
        if running.pid:
            figures["cpu_us_per_txn"] = 1e6 * used / done
        return figures

    def system_calls(self, running):
        """Per transaction; what connecting costs is in a shorter run as well, and so drops out."""
        few, many = 50, 50 + 8000 // self._clients
        counts = []
        for transactions in (few, many):
            with measure.SystemCalls(running.pid) as calls:
                self._pgbench(running, "-t", transactions)
            counts.append(calls.count)
        if None in counts:
            return {}
        return {"calls_per_txn": (counts[1] - counts[0]) / ((many - few) * self._clients)}

    def _pgbench(self, running, *amount):
        threads = min(self._clients, 2)
        return run(POSTGRES_BIN / "pgbench", "-S", "-M", "prepared", "-n", "-c", self._clients, "-j", threads,
                   *amount, env=environment(**running.libpq))  # fmt: skip


class CopyOut(Workload):
    """Long lines that the server makes up, to a psql that throws them away."""

    key = "copy-out"
    title = "`COPY … TO STDOUT`"

    def __init__(self, place, mebibytes):
        super().__init__(place)
        self._lines = mebibytes * MIB // (_LINE_BYTES + 1)

    def measure(self, running):
        return _per_gib(running, self._lines * (_LINE_BYTES + 1), self._copy)

    def system_calls(self, running):
        return _calls_per_mib(running, self._lines * (_LINE_BYTES + 1), self._copy)

    def _copy(self, running):
        query = f"COPY (SELECT repeat('x', {_LINE_BYTES}) FROM generate_series(1, {self._lines})) TO STDOUT"
        _psql(running, query, stdout=subprocess.DEVNULL)


class CopyIn(Workload):
    """The same lines from a file, to a server that parses and drops them."""

    key = "copy-in"
    title = "`COPY … FROM STDIN`"

    def __init__(self, place, mebibytes):
        super().__init__(place)
        self._lines = mebibytes * MIB // (_LINE_BYTES + 1)
        self._file = place.directory / "lines"

    def prepare(self):
        block = ("x" * _LINE_BYTES + "\n") * 1000
        with open(self._file, "w", encoding="ascii") as file:
            for _ in range(self._lines // 1000):
                file.write(block)
        self._bytes = self._file.stat().st_size

    def measure(self, running):
        return _per_gib(running, self._bytes, self._copy)

    def system_calls(self, running):
        return _calls_per_mib(running, self._bytes, self._copy)

    def _copy(self, running):
        with open(self._file, "rb") as lines:
            _psql(running, "COPY sink FROM STDIN WHERE false", stdin=lines)


class Pump(Workload):
    """COPY messages of 1 KiB between the two ends of pump.cc: the proxy is the slowest part."""

    pump = True

    def __init__(self, place, direction, mebibytes):
        super().__init__(place)
        self.key = f"pump-{direction}"
        self.title = f"pump, {direction}: COPY messages of 1 KiB, fake server and client"
        self._direction = direction
        self._mebibytes = mebibytes

    def measure(self, running):
        before = _cpu(running)
        seconds = float(_find(r"seconds ([\d.]+)", self._copy(running)))
        used = _cpu(running) - before
        gibibytes = self._mebibytes * MIB / GIB
        figures = {"gib_per_second": gibibytes / seconds}
        if running.pid:
            figures["cpu_s_per_gib"] = used / gibibytes
        return figures

    def system_calls(self, running):
        return _calls_per_mib(running, self._mebibytes * MIB, self._copy)

    def _copy(self, running):
        return run(self._place.pump, self._direction, running.port, self._mebibytes)


class Connections(Workload):
    """Log in, one query, leave; eight at a time; a full TLS 1.3 handshake for each (PgBouncer pools)."""

    key = "connect"
    title = "connections: log in, one query, leave; fake server, 8 at a time"
    pump = True
    with_direct = False

    def __init__(self, place, sessions):
        super().__init__(place)
        self._sessions = sessions

    def measure(self, running):
        before = _cpu(running)
        seconds = float(_find(r"seconds ([\d.]+)", run(self._place.pump, "connect", running.port, self._sessions)))
        used = _cpu(running) - before
        return {
            "connections_per_second": self._sessions / seconds,
            "cpu_us_per_connection": 1e6 * used / self._sessions,
        }

    def system_calls(self, running):
        with measure.SystemCalls(running.pid) as calls:
            run(self._place.pump, "connect", running.port, 200)
        return {} if calls.count is None else {"calls_per_connection": calls.count / 200}


class Logins(Workload):
    """The same with clients that show a certificate, over direct TLS 1.3: two full handshakes for each. pgveil
    logs in to the server by SCRAM-SHA-256-PLUS; HAProxy cannot, so the server lets its clients in unasked."""

    key = "login"
    title = "logins: client certificates, TLS on both sides; fake server, 8 at a time"
    pump = True
    tls_clients = True
    with_direct = False

    def __init__(self, place, sessions):
        super().__init__(place)
        self._sessions = sessions

    def measure(self, running):
        before = _cpu(running)
        seconds = float(_find(r"seconds ([\d.]+)", self._log_in(running, self._sessions)))
        used = _cpu(running) - before
        return {
            "logins_per_second": self._sessions / seconds,
            "cpu_us_per_login": 1e6 * used / self._sessions,
        }

    def system_calls(self, running):
        with measure.SystemCalls(running.pid) as calls:
            self._log_in(running, 200)
        return {} if calls.count is None else {"calls_per_login": calls.count / 200}

    def _log_in(self, running, sessions):
        at = self._place.directory
        return run(
            self._place.pump, "login", running.port, self._place.ca, at / "client.crt", at / "client.key", sessions
        )


class IdleSessions(Workload):
    """Sessions that have been served one query, each with a server connection of its own, and now wait."""

    key = "idle"
    pump = True
    with_direct = False
    repeats = False

    def __init__(self, place, sessions):
        super().__init__(place)
        self.title = f"{sessions:,} idle sessions, fake server"
        self._sessions = sessions

    def measure(self, running):
        """The process must be fresh: memory that earlier sessions left behind would be used again."""
        empty = measure.pss_kib(running.pid)
        clients = subprocess.Popen(
            [self._place.pump, "idle", str(running.port), str(self._sessions)],
            env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            if clients.stdout.readline().strip() != "ready":
                raise Failure(f"{running.name} does not take {self._sessions} sessions")
            time.sleep(1)  # for what the proxy puts off until it has nothing to do
            full = measure.pss_kib(running.pid)
        finally:
            clients.stdin.close()
            clients.wait(20)
        return {"kib_per_session": (full - empty) / self._sessions, "kib_without_sessions": empty}


def everything(place, quick):
    seconds = 2 if quick else 6
    bulk = 256 if quick else 1024
    return [
        Transactions(place, 1, seconds),
        Transactions(place, 16, seconds),
        CopyOut(place, bulk),
        CopyIn(place, 128 if quick else 256),
        Pump(place, "out", bulk),
        Pump(place, "in", bulk),
        Connections(place, 500 if quick else 3000),
        Logins(place, 500 if quick else 3000),
        IdleSessions(place, 500 if quick else 1000),
    ]


def _cpu(running):
    return measure.cpu_seconds(running.pid) if running.pid else 0.0


def _find(pattern, text):
    found = re.search(pattern, text)
    if not found:
        raise Failure(f"{pattern!r} is not in:\n{text}")
    return found.group(1)


def _psql(running, query, **streams):
    run(POSTGRES_BIN / "psql", "-X", "-q", "-c", query, env=environment(**running.libpq), **streams)


def _per_gib(running, size, copy):
    cpu_before, begin = _cpu(running), time.monotonic()
    copy(running)
    seconds, used = time.monotonic() - begin, _cpu(running) - cpu_before
    figures = {"gib_per_second": size / GIB / seconds}
    if running.pid:
        figures["cpu_s_per_gib"] = used / (size / GIB)
    return figures


def _calls_per_mib(running, size, copy):
    with measure.SystemCalls(running.pid) as calls:
        copy(running)
    return {} if calls.count is None else {"calls_per_mib": calls.count / (size / MIB)}
