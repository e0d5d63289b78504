"""The process: what it does if nobody reads what it writes, how it ends, and what it starts with."""

import contextlib
import fcntl
import os
import random
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time

import pytest

from harness import wire
from harness.audit import parse, records, to_file, wait_for_records
from harness.audit_pipe import LONG_NAME, Fifo, fill_audit
from harness.pgveil import BINARY, EX_UNAVAILABLE, IS_SANITIZED, RELAY, toml
from harness.postgres import PASSWORD
from harness.processes import environment, eventually, run
from harness.scram import authentication, b64, mechanisms
from harness.secrets import secret_file

# More than a blocked log or audit file may delay the end: half a second each.
SOON = 6.0 if not IS_SANITIZED else 20.0

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change user or namespace")


def fill(descriptor: int) -> None:
    """Writes to a pipe until it takes nothing more."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(descriptor, b"x" * 4095 + b"\n")
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)


class Started:
    """pgveil on a Unix socket, so that nobody has to read its log to find it."""

    def __init__(self, folder, upstream: dict, prefix=(), stderr=None, limits=None, log=None, audit=None, **listener):
        self.address = str(folder / ".s.PGSQL.5432")
        file = folder / "pgveil.toml"
        file.write_text(toml({
            "listener": [{"address": f"unix:{self.address}", "upstream": "primary", **listener}],
            "upstream": {"primary": upstream}, "limits": limits or {}, "log": log or {}, "audit": audit or {},
        }))  # fmt: skip
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *map(str, prefix), BINARY, "run", "--config", file],
            env=environment(**RELAY), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr,
        )  # fmt: skip
        self.pid = self.process.pid
        try:
            eventually(self._answers)
        except BaseException:
            self.process.kill()
            raise

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"it ended with {self.process.returncode}"
        with contextlib.suppress(OSError):
            self.connect().close()
            return True
        return False

    def connect(self) -> wire.Client:
        return wire.Client(self.address)

    def seconds_to_end(self, *signals: signal.Signals) -> float:
        """From the first signal on; it must end with exit code 0."""
        begin = time.monotonic()
        for number in signals or (signal.SIGTERM,):
            self.process.send_signal(number)
            time.sleep(0.1)  # one that is pending swallows another of its kind
        assert self.process.wait(60) == 0
        return time.monotonic() - begin


@pytest.fixture
def start(folder):
    running = []

    def start(upstream, **settings):
        running.append(Started(folder, upstream, **settings))
        return running[-1]

    yield start
    for proxy in running:
        proxy.process.kill()
        proxy.process.wait()


@pytest.fixture
def full_pipe():
    """The end of a pipe for writing; nobody reads the other one."""
    reader, writer = os.pipe()
    fill(writer)
    yield writer
    os.close(reader)
    os.close(writer)


@pytest.fixture
def fifo(folder):
    fifo = Fifo(folder)
    yield fifo
    fifo.close()


ONLY_BILLING = "local all billing relay\nlocal all all reject\n"


class TestALogThatNobodyReads:
    def test_does_not_keep_sigterm_from_ending_the_process(self, start, postgres, full_pipe):
        proxy = start(postgres.unix_upstream(), stderr=full_pipe)
        with proxy.connect() as client:
            client.log_in(user="billing", database="ledger")
            assert client.rows("SELECT 1")
            assert proxy.seconds_to_end() < SOON
            assert client.receive_error()["C"] == "57P01"

    def test_is_written_to_its_end_if_it_is_read_slowly(self, start, postgres):
        reader, writer = os.pipe()
        proxy = start(postgres.unix_upstream(), stderr=writer)
        fill(writer)
        os.close(writer)
        proxy.process.send_signal(signal.SIGTERM)
        text = b""
        while part := os.read(reader, 8192):
            text += part
            time.sleep(0.05)
        os.close(reader)
        assert b" stopped " in text


class TestAnAuditFileThatTakesNoRecords:
    @pytest.fixture
    def proxy(self, start, postgres, fifo):
        def begin(**limits):
            return start(postgres.unix_upstream(), hba=ONLY_BILLING, audit=to_file(fifo.path), log={"level": "error"},
                         limits=limits)  # fmt: skip

        return begin

    def test_leaves_established_sessions_alone_and_has_logins_wait(self, proxy, fifo):
        proxy = proxy(workers=1)
        with proxy.connect() as established:
            established.log_in(user="billing", database="ledger")
            fill_audit(proxy).close()
            assert established.rows("SELECT 1")
            with proxy.connect() as waiting:
                waiting.send(wire.startup_message(user="billing", database="ledger"))
                assert not select.select([waiting.socket], [], [], 0.3)[0]
                assert established.rows("SELECT 1")
                text = fifo.read()
                waiting.receive_until(b"Z")
                text += fifo.read()
        outcomes = [(record["outcome"], record["user"]) for record in map(parse, text.splitlines())]
        assert outcomes.count(("accepted", "billing")) == 2

    def test_does_not_keep_sigterm_from_ending_the_process(self, proxy):
        proxy = proxy()
        with fill_audit(proxy):
            assert proxy.seconds_to_end() < SOON

    def test_refuses_a_login_that_has_waited_for_too_long(self, proxy):
        proxy = proxy(startup_timeout="1500ms")
        with fill_audit(proxy) as client:
            error = client.receive_error()
        assert (error["C"], error["M"]) == ("57P03", "pgveil: the proxy cannot write its audit record")

    def test_is_told_once(self, start, postgres, fifo):
        reader, writer = os.pipe()
        proxy = start(postgres.unix_upstream(), hba=ONLY_BILLING, stderr=writer,
                      audit=to_file(fifo.path), log={"level": "error"})  # fmt: skip
        os.close(writer)
        with fill_audit(proxy), proxy.connect() as another:
            another.send(wire.startup_message(user=LONG_NAME))
            assert not select.select([another.socket], [], [], 0.5)[0]
            proxy.seconds_to_end()
        log = b"".join(iter(lambda: os.read(reader, 1 << 16), b"")).decode()
        os.close(reader)
        assert log.count(" audit_blocked ") == 1
        assert re.search(r" audit_records_lost lines=\d+ detail=\"nobody read them before the process ended\"", log)


class Log:
    """A pipe for standard error."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        self.text = ""

    def close_writer(self) -> None:
        os.close(self.writer)

    def close(self) -> None:
        os.close(self.reader)

    def read_until(self, is_enough) -> None:
        while not is_enough(self.text):
            assert select.select([self.reader], [], [], 20)[0], self.text
            self.text += os.read(self.reader, 1 << 16).decode()

    def read_to_end(self) -> str:
        while piece := os.read(self.reader, 1 << 16):
            self.text += piece.decode()
        return self.text


def lost_records(log: str) -> int:
    return sum(map(int, re.findall(r"audit_records_lost lines=(\d+) ", log)))


class TestAnAuditFileOnAFullDisk:
    """A limit on the size of files is as a disk that is full: the kernel takes a part of what is written."""

    def log_in(self, proxy) -> None:
        with proxy.connect() as client:
            client.log_in(user="billing", database="ledger")

    def fill(self, proxy, file) -> int:
        """Leaves 100 bytes for the next record. Returns the size that the file then cannot exceed."""
        full = file.stat().st_size + 100
        run("prlimit", f"--pid={proxy.pid}", f"--fsize={full}:unlimited")
        return full

    def empty(self, proxy) -> None:
        run("prlimit", f"--pid={proxy.pid}", "--fsize=unlimited")

    @pytest.fixture
    def started(self, start, postgres, folder):
        """Starts pgveil with an audit file in which one session is recorded; also returns its log."""
        logs = []

        def begin(**audit):
            file = folder / "audit.json"
            logs.append(Log())
            proxy = start(postgres.unix_upstream(), audit=to_file(file, **audit), log={"level": "error"},
                          stderr=logs[-1].writer)  # fmt: skip
            logs[-1].close_writer()
            self.log_in(proxy)
            wait_for_records(file, 1, "ended")
            return proxy, file, logs[-1]

        yield begin
        for log in logs:
            log.close()

    def test_has_every_record_once_there_is_room_again(self, started):
        proxy, file, log = started()
        full = self.fill(proxy, file)
        self.log_in(proxy)
        eventually(lambda: file.stat().st_size == full)
        with proxy.connect() as waiting:
            waiting.send(wire.startup_message(user="billing", database="ledger"))
            assert not select.select([waiting.socket], [], [], 0.5)[0]
            self.empty(proxy)
            waiting.receive_until(b"Z")
        proxy.seconds_to_end()
        first, end, incomplete, *whole = file.read_text().splitlines()
        assert [parse(line)["outcome"] for line in (first, end, *whole)] == ["accepted", "ended"] * 3
        assert len(incomplete) == 100 and whole[0].startswith(incomplete)
        assert 'audit_blocked detail="File too large"' in log.read_to_end() and "audit_records_lost" not in log.text

    def test_that_fails_open_has_its_next_record_on_a_line_of_its_own(self, started):
        proxy, file, log = started(fail="open")
        full = self.fill(proxy, file)
        self.log_in(proxy)
        self.log_in(proxy)
        log.read_until(lambda text: lost_records(text) == 4)
        assert file.stat().st_size == full
        self.empty(proxy)
        self.log_in(proxy)
        proxy.seconds_to_end()
        first, end, incomplete, *whole = file.read_text().splitlines()
        assert len(incomplete) == 100
        assert [parse(line)["outcome"] for line in (first, end, *whole)] == ["accepted", "ended"] * 2
        assert lost_records(log.read_to_end()) == 4 and "audit_blocked" not in log.text

    def test_is_continued_on_a_new_line_after_a_restart(self, start, postgres, folder):
        file = folder / "audit.json"
        file.write_text('{"time":"2026-')
        proxy = start(postgres.unix_upstream(), audit=to_file(file))
        self.log_in(proxy)
        proxy.seconds_to_end()
        incomplete, *whole = file.read_text().splitlines()
        assert incomplete == '{"time":"2026-'
        assert [parse(line)["outcome"] for line in whole] == ["accepted", "ended"]


class TestTheEnd:
    @pytest.fixture
    def computing(self, pgveil, scripted_server, authority, credentials, folder):
        """A pgveil whose threads are busy for long: each login has another salt and as many iterations as there can
        be. And its clients."""

        def play(peer):
            peer.accept_tls(credentials)
            peer.receive_startup_packet()
            peer.send(mechanisms(b"SCRAM-SHA-256-PLUS"))
            _, body = peer.receive_message()
            nonce = re.search(rb"r=([^,]+)", body)[1]
            salt = b64(os.urandom(16))
            peer.send(authentication(11, b"r=" + nonce + b64(os.urandom(18)) + b",s=" + salt + b",i=1000000"))
            asked.release()
            with contextlib.suppress(wire.EndOfStream, OSError):
                peer.receive_message()

        asked = threading.Semaphore(0)
        server = scripted_server(play)
        passfile = secret_file(folder / "pgpass", "*:*:*:*:sesame\n")
        upstream = server.upstream(sslrootcert=str(authority.file), passfile=passfile)

        def start(**limits):
            proxy = pgveil(upstream, listener={"hba": "host all all all trust\n"}, limits=limits)
            clients = [proxy.connect() for _ in range(60)]
            for client in clients:
                client.send(wire.startup_message(user="app"))
            for _ in clients:
                assert asked.acquire(timeout=30)
            return proxy, clients

        return start

    def seconds_to_end(self, proxy, *signals) -> float:
        begin = time.monotonic()
        for number in signals:
            proxy.send_signal(number)
            proxy.wait_for_line("stopping")
        assert proxy.wait() == 0
        return time.monotonic() - begin

    def test_does_not_wait_for_what_threads_still_compute(self, computing):
        proxy, _ = computing()
        assert self.seconds_to_end(proxy, signal.SIGTERM) < SOON
        assert "stopped" in proxy.log

    def test_comes_at_once_with_the_second_signal(self, computing):
        proxy, _ = computing(drain_timeout="1h")
        assert self.seconds_to_end(proxy, signal.SIGTERM, signal.SIGINT) < SOON

    def wait_until_full(self, client) -> None:
        """Until nothing more comes to a client that does not read."""
        before = 0
        while (now := struct.unpack("i", fcntl.ioctl(client.socket, termios.FIONREAD, b"\0" * 4))[0]) != before or not now:
            before = now
            time.sleep(0.3)

    def test_comes_soon_without_a_drain_timeout(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream(), limits={"drain_timeout": "0s"})
        with proxy.connect() as reading, proxy.connect() as idle:
            for client in (reading, idle):
                client.log_in(user="trusted", database="ledger")
            reading.send(wire.query("SELECT repeat('x', 20000000)"))
            self.wait_until_full(reading)  # and it is never read
            assert self.seconds_to_end(proxy, signal.SIGTERM) < SOON
            assert idle.receive_error()["C"] == "57P01"


class TestDescriptorsThatAreClosedAtTheStart:
    def test_are_not_those_of_other_files(self, start, postgres, folder):
        file = folder / "audit.json"
        shell = ("sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh")
        proxy = start(postgres.unix_upstream(), prefix=shell, audit=to_file(file), log={"level": "debug"},
                      limits={"core_dumps": True})  # or only root may see its descriptors; fmt: skip
        with proxy.connect() as client:
            client.log_in(user="billing", database="ledger")
            assert client.rows("SELECT 1")
        files = [os.readlink(f"/proc/{proxy.pid}/fd/{descriptor}") for descriptor in (0, 1, 2)]
        proxy.seconds_to_end()
        assert files == ["/dev/null"] * 3
        assert [record["outcome"] for record in records(file)] == ["accepted", "ended"]


class TestPasswordCommands:
    RULE = "local all all trust\n"

    def test_have_the_limit_of_open_files_that_pgveil_was_started_with(self, start, postgres, folder):
        script = f'ulimit -Sn >{folder}/soft; ulimit -Hn >{folder}/hard; echo "{PASSWORD}"'
        upstream = postgres.upstream(password_command=["/bin/sh", "-c", script])
        proxy = start(upstream, prefix=("prlimit", "--nofile=200:900"), hba=self.RULE)
        with proxy.connect() as client:
            client.log_in(user="app", database="ledger")
        limits = re.search(r"Max open files +(\d+) +(\d+)", open(f"/proc/{proxy.pid}/limits", encoding="ascii").read())
        assert limits.groups() == ("900", "900")
        assert [(folder / name).read_text() for name in ("soft", "hard")] == ["200\n", "900\n"]

    @needs_root
    def test_leave_no_zombies_to_the_first_process_of_a_container(self, start, postgres):
        # It ends before the process that it has started, which so becomes a child of process 1.
        script = f'(sleep 0.2; exit 3) >/dev/null 2>&1 & echo "{PASSWORD}"'
        upstream = postgres.upstream(password_command=["/bin/sh", "-c", script])
        container = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
        proxy = start(upstream, prefix=container, hba=self.RULE)
        (first,) = children_of(proxy.pid)
        for _ in range(3):
            with proxy.connect() as client:
                client.log_in(user="app", database="ledger")
        eventually(lambda: not children_of(first))
        os.kill(first, signal.SIGTERM)
        assert proxy.process.wait(20) == 0


def children_of(pid: int) -> list[int]:
    children = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                children += [int(word) for word in file.read().split()]
    return children


class TestThreads:
    @needs_root
    @pytest.mark.skipif(IS_SANITIZED, reason="a sanitizer has threads of its own")
    def test_that_cannot_be_made_are_told_at_the_start(self, authority, folder, workplace):
        """Never later: with so few threads as suffice for the start, a login that needs those of libuv's pool works."""
        folder.chmod(0o777)
        user = random.randrange(100_000, 1_000_000)  # whose threads nobody else counts
        passfile = folder / "pgpass"
        passfile.write_text("*:*:*:*:sesame\n")
        passfile.chmod(0o600)
        os.chown(passfile, user, user)
        file = folder / "pgveil.toml"
        file.write_text(toml({
            "listener": [{"address": f"unix:{folder}/.s.PGSQL.5432", "upstream": "a"}],
            "upstream": {"a": {"host": "/nonexistent"}}, "limits": {"workers": 2, "relay": "epoll"},
        }))  # fmt: skip
        ends = {}
        for threads in range(1, 12):
            account = ("setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", "--")
            process = subprocess.Popen(
                [*account, "prlimit", f"--nproc={threads}:{threads}", "setpriv", "--pdeathsig", "KILL", "--",
                 BINARY, "run", "--config", file],
                env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                text=True,
            )  # fmt: skip
            line = ""
            for line in process.stderr:
                if " listening " in line:
                    break
            process.terminate()
            ends[threads] = (process.wait(20), " listening " in line)
            if threads == 1:  # no log: the report of errors
                assert line == "1 error\n"
            process.stderr.close()
        refused = [threads for threads, end in ends.items() if end == (EX_UNAVAILABLE, False)]
        served = [threads for threads, end in ends.items() if end == (0, True)]
        assert sorted(refused + served) == list(ends), ends
        # The main thread, the log's, two workers and four of the pool.
        assert served == list(range(8, 12)), ends


class TestTheJournal:
    """systemd says in JOURNAL_STREAM which file is the journal."""

    @pytest.mark.parametrize("log_format", ["text", "json"])
    @pytest.mark.parametrize("is_journal", [True, False])
    def test_is_told_the_level_of_each_line(self, folder, is_journal, log_format):
        reader, writer = os.pipe()
        status = os.fstat(writer)
        stream = f"{status.st_dev}:{status.st_ino + (0 if is_journal else 1)}"
        with socket.create_server(("127.0.0.1", 0)) as taken:
            file = folder / "pgveil.toml"
            file.write_text(toml({
                "listener": [{"address": f"127.0.0.1:{taken.getsockname()[1]}", "upstream": "a"}],
                "upstream": {"a": {"host": "/run"}}, "log": {"format": log_format},
            }))  # fmt: skip
            done = subprocess.run([BINARY, "run", "--config", file], env=environment(JOURNAL_STREAM=stream),
                                  stderr=writer, stdin=subprocess.DEVNULL, timeout=20, check=False)  # fmt: skip
        os.close(writer)
        lines = os.read(reader, 1 << 16).decode().splitlines()
        os.close(reader)
        assert done.returncode == EX_UNAVAILABLE
        found = [re.match(r"(<\d>)?(?:\{|\d{4}-).*?(starting|listen_failed)", line) for line in lines]
        levels = {match[2]: match[1] for match in found if match}
        wanted = {"starting": "<6>", "listen_failed": "<3>"}
        assert levels == (wanted if is_journal else dict.fromkeys(wanted))
