"""What is measured. A workload runs once for one contender and returns figures: names to numbers."""

import re
import statistics
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import measure
from common import Failure

GIB = 1 << 30
MIB = 1 << 20
_LINE_BYTES = 1000
_LOGGED = 0.2  # of the transactions, for percentiles: the same for everybody
_PINGS = 1000  # of a busy session, in one go
_PAIRS = 15  # of goes beside idle sessions and without


class Length(NamedTuple):
    """How much of each."""

    title: str
    seconds: int  # of pgbench: the server spends the first two on new processes
    out_mebibytes: int
    in_mebibytes: int
    sessions: int  # that come and go
    idle: tuple  # numbers of sessions
    idle_peers: bool  # whether the larger number is measured of others than pgveil


LENGTHS = {
    "quick": Length("--quick", 4, 256, 128, 400, (500,), idle_peers=True),
    "normal": Length("normal length", 8, 1024, 256, 1000, (1000, 10000), idle_peers=False),
    "full": Length("--full", 10, 1024, 256, 4000, (1000, 10000), idle_peers=True),
}
# What --quick is content with; with several modes only the first.
QUICK = ["pgbench-16", "copy-out", "connect", "idle", "pgbench-1", "copy-in", "pump-out", "pump-in"]
QUICK_IN_EVERY_MODE = QUICK[:4]


class Workload:
    """`key` names it on the command line; `repeats` is false where one round says everything (memory): measure() then
    takes two processes of the contender that nobody has used."""

    pump = False
    modes = ("egress", "ingress", "both")
    checks_clients = False  # clients with certificates, which the proxy has to check
    with_direct = True
    with_peers = True
    repeats = True
    seconds_expected = 4.0  # of one contender, before anything is known

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
        self.seconds_expected = seconds + 1
        self._clients = clients
        self._seconds = seconds

    def measure(self, running):
        prefix = self._place.folder / "transactions"
        before = _cpu(running)
        output = self._pgbench(running, "-T", self._seconds, "-l", f"--log-prefix={prefix}",
                               f"--sampling-rate={_LOGGED}")  # fmt: skip
        used = _cpu(running) - before
        done = int(_find(r"transactions actually processed: (\d+)", output))
        figures = {"tps": float(_find(r"tps = ([\d.]+)", output)), **percentiles(prefix)}
        if running.pid:
            figures["cpu_us_per_txn"] = 1e6 * used / done
        return figures

    def system_calls(self, running):
        """Per transaction; what connecting costs is in a shorter run as well, and so drops out."""
        few, many = 50, 50 + 32000 // self._clients
        counts = []
        for transactions in (few, many):
            with measure.SystemCalls(running.pid) as calls:
                self._pgbench(running, "-t", transactions)
            counts.append(calls.count)
        # Logins vary: with many clients and io_uring they may weigh more than all transactions.
        if None in counts or counts[1] <= counts[0]:
            return {}
        return {"calls_per_txn": (counts[1] - counts[0]) / ((many - few) * self._clients)}

    def _pgbench(self, running, *amount):
        threads = min(self._clients, 2)
        return self._place.run("pgbench", "-S", "-M", "prepared", "-n", "-c", self._clients, "-j", threads, *amount,
                               env=running.libpq)  # fmt: skip


class TransactionsWithConnections(Workload):
    """A connection for each query: PostgreSQL's own work for one is far more than a proxy's."""

    key = "pgbench-connect"
    title = "`pgbench -S -C`, 8 clients: a connection for each transaction"

    def __init__(self, place, seconds):
        super().__init__(place)
        self.seconds_expected = seconds + 1
        self._seconds = seconds

    def measure(self, running):
        before = _cpu(running)
        output = self._place.run("pgbench", "-S", "-C", "-n", "-c", 8, "-j", 2, "-T", self._seconds, env=running.libpq)
        used = _cpu(running) - before
        figures = {"connections_per_second": float(_find(r"tps = ([\d.]+)", output))}
        if running.pid:
            done = int(_find(r"transactions actually processed: (\d+)", output))
            figures["cpu_us_per_connection"] = 1e6 * used / done
        return figures


class Copy(Workload):
    """Long lines, through psql."""

    def measure(self, running):
        before, begin = _cpu(running), time.monotonic()
        self._copy(running)
        seconds, used = time.monotonic() - begin, _cpu(running) - before
        return _bulk(running, self._bytes, seconds, used)

    def system_calls(self, running):
        return _calls_per_mib(running, self._bytes, self._copy)

    def _psql(self, running, query, **streams):
        self._place.run("psql", "-X", "-q", "-c", query, env=running.libpq, **streams)


class CopyOut(Copy):
    """The server makes them up, and psql throws them away."""

    key = "copy-out"
    title = "`COPY … TO STDOUT`"

    def __init__(self, place, mebibytes):
        super().__init__(place)
        self._lines = mebibytes * MIB // (_LINE_BYTES + 1)
        self._bytes = self._lines * (_LINE_BYTES + 1)

    def _copy(self, running):
        query = f"COPY (SELECT repeat('x', {_LINE_BYTES}) FROM generate_series(1, {self._lines})) TO STDOUT"
        self._psql(running, query, stdout=subprocess.DEVNULL)


class CopyIn(Copy):
    """They come from a file, and the server parses and drops them."""

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

    def _copy(self, running):
        with open(self._file, "rb") as lines:
            self._psql(running, "COPY sink FROM STDIN WHERE false", stdin=lines)


class PumpWorkload(Workload):
    """Between the two ends of pump.cc, which cost almost nothing."""

    pump = True
    with_direct = False

    def _pump(self, running, role, amount):
        return self._place.run(self._place.pump, role, running.port, amount, *running.pump_words)


class Pump(PumpWorkload):
    """COPY messages of 1 KiB: the proxy is the slowest part."""

    def __init__(self, place, direction, mebibytes):
        super().__init__(place)
        self.key = f"pump-{direction}"
        self.title = f"pump, {direction}: COPY messages of 1 KiB, fake server and client"
        self._direction = direction
        self._mebibytes = mebibytes

    def measure(self, running):
        before = _cpu(running)
        seconds = float(_find(r"seconds ([\d.]+)", self._copy(running)))
        return _bulk(running, self._mebibytes * MIB, seconds, _cpu(running) - before)

    def system_calls(self, running):
        return _calls_per_mib(running, self._mebibytes * MIB, self._copy)

    def _copy(self, running):
        return self._pump(running, self._direction, self._mebibytes)


class Connections(PumpWorkload):
    """Log in, one query, leave; eight at a time; a full TLS 1.3 handshake for each (poolers: on the client's side)."""

    key = "connect"
    title = "connections: log in, one query, leave; fake server, 8 at a time"
    figures = ("connections_per_second", "cpu_us_per_connection", "calls_per_connection")

    def __init__(self, place, sessions):
        super().__init__(place)
        self._sessions = sessions

    def measure(self, running):
        before = _cpu(running)
        seconds = float(_find(r"seconds ([\d.]+)", self._connect(running, self._sessions)))
        used = _cpu(running) - before
        rate, cpu, _ = self.figures
        return {rate: self._sessions / seconds, cpu: 1e6 * used / self._sessions}

    def system_calls(self, running):
        with measure.SystemCalls(running.pid) as calls:
            self._connect(running, 200)
        return {} if calls.count is None else {self.figures[2]: calls.count / 200}

    def _connect(self, running, sessions):
        return self._pump(running, "connect", sessions)


class Logins(Connections):
    """The same with clients that show a certificate, over direct TLS 1.3: two full handshakes for each. pgveil
    logs in to the server by SCRAM-SHA-256-PLUS; HAProxy cannot, so the server lets its clients in unasked."""

    key = "login"
    title = "logins: client certificates, TLS on both sides; fake server, 8 at a time"
    modes = ("both",)
    checks_clients = True
    figures = ("logins_per_second", "cpu_us_per_login", "calls_per_login")

    def _connect(self, running, sessions):
        at = self._place.directory
        return self._place.run(self._place.pump, "connect", running.port, sessions, "direct", self._place.ca,
                               at / "client.crt", at / "client.key")  # fmt: skip


class IdleSessions(PumpWorkload):
    """Sessions that have been served one query, each with a server connection of its own, and now wait; and what
    they are to another session that does not."""

    repeats = False

    def __init__(self, place, sessions, is_first, with_peers):
        super().__init__(place)
        self.with_peers = with_peers
        self.key = "idle" if is_first else f"idle-{sessions}"
        sessions = min(sessions, place.most_sessions - 20)  # where there are too few descriptors
        self.title = f"{sessions:,} idle sessions, fake server"
        self.seconds_expected = 5 + sessions / 700
        self._sessions = sessions

    def measure(self, running, twin):
        """Both processes must be fresh: memory that earlier sessions left behind would be used again. `twin` stays
        without sessions."""
        empty = measure.pss_kib(running.pid)
        clients = self._place.spawn(
            self._place.pump, "idle", running.port, self._sessions, *running.pump_words,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            if clients.stdout.readline().strip() != "ready":
                raise Failure(f"{running.name} does not take {self._sessions} sessions: {clients.stderr.read()}")
            time.sleep(1)  # for what the proxy puts off until it has nothing to do
            full = measure.pss_kib(running.pid)
            # In turn, since the machine's speed changes.
            pairs = [(self._pings_per_second(running), self._pings_per_second(twin)) for _ in range(_PAIRS)]
        finally:
            clients.kill()  # also while it still connects
            clients.communicate()
        return {
            "kib_per_session": (full - empty) / self._sessions,
            "kib_without_sessions": empty,
            "busy_beside_idle": statistics.median(beside / alone for beside, alone in pairs),
        }

    def _pings_per_second(self, running):
        return _PINGS / float(_find(r"seconds ([\d.]+)", self._pump(running, "ping", _PINGS)))


def everything(place, length):
    return [
        Transactions(place, 1, length.seconds),
        Transactions(place, 16, length.seconds),
        Transactions(place, 64, length.seconds),
        TransactionsWithConnections(place, max(length.seconds // 2, 2)),
        CopyOut(place, length.out_mebibytes),
        CopyIn(place, length.in_mebibytes),
        Pump(place, "out", length.out_mebibytes),
        Pump(place, "in", length.out_mebibytes),
        Connections(place, length.sessions),
        Logins(place, length.sessions),
        IdleSessions(place, length.idle[0], is_first=True, with_peers=True),
        *(IdleSessions(place, more, is_first=False, with_peers=length.idle_peers) for more in length.idle[1:]),
    ]


def modes_of(length):
    """The keys of all workloads, and the modes of each, before there is a place to measure in."""
    nowhere = SimpleNamespace(directory=Path(), folder=Path(), most_sessions=1 << 30)
    return {workload.key: workload.modes for workload in everything(nowhere, length)}


def _cpu(running):
    return measure.cpu_seconds(running.pid) if running.pid else 0.0


def _find(pattern, text):
    found = re.search(pattern, text)
    if not found:
        raise Failure(f"{pattern!r} is not in:\n{text}")
    return found.group(1)


def percentiles(prefix):
    """Of the latencies that pgbench has logged, in microseconds; the logs are removed."""
    latencies = []
    for log in prefix.parent.glob(f"{prefix.name}.*"):
        latencies += [int(line.split()[2]) for line in log.read_text(encoding="ascii").splitlines()]
        log.unlink()
    if len(latencies) < 100:
        return {}
    hundredths = statistics.quantiles(latencies, n=100)
    return {"p50_us": hundredths[49], "p99_us": hundredths[98]}


def _bulk(running, size, seconds, used):
    figures = {"gib_per_second": size / GIB / seconds}
    if running.pid:
        figures["cpu_s_per_gib"] = used / (size / GIB)
    return figures


def _calls_per_mib(running, size, copy):
    with measure.SystemCalls(running.pid) as calls:
        copy(running)
    return {} if calls.count is None else {"calls_per_mib": calls.count / (size / MIB)}
