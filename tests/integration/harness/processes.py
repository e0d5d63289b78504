"""Child processes that cannot outlive the tests, in an environment that nobody has configured."""

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

# Debian's own, whatever stands first in PATH; the newest, where there are several.
POSTGRES_VERSIONS = sorted(int(path.name) for path in Path("/usr/lib/postgresql").glob("[0-9]*")) or [15]
POSTGRES_VERSION = POSTGRES_VERSIONS[-1]
POSTGRES_BIN = f"/usr/lib/postgresql/{POSTGRES_VERSION}/bin"

# Long enough for a busy machine; a test that needs it has failed anyway.
PATIENCE = 30.0


def environment(**extra: str) -> dict[str, str]:
    """An environment without the PG* variables and files of whoever runs the tests."""
    return {
        "PATH": f"{POSTGRES_BIN}:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": "/dev/null",  # where nothing can be made, not even by root
        "PGPASSFILE": "/nonexistent/.pgpass",
        "PGCONNECT_TIMEOUT": "20",
        **extra,
    }


def run(*command, **settings) -> subprocess.CompletedProcess:
    """Runs a program to its end; its output is text."""
    settings.setdefault("env", environment())
    settings.setdefault("timeout", 2 * PATIENCE)
    settings.setdefault("stdin", subprocess.DEVNULL)
    settings.setdefault("errors", "replace")
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **settings)


def run_or_fail(*command, **settings) -> str:
    """Runs a program that must succeed; answers its standard output."""
    done = run(*command, **settings)
    assert done.returncode == 0, f"{command} answered {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


class Daemon:
    """A program that runs beside the tests and whose standard error is read line by line.

    setpriv(1) has the kernel send it `last_signal` when the tests die, however they die. What `prefix` changes of its
    privileges comes first, since the kernel forgets that wish where they change."""

    def __init__(self, *command, env: dict[str, str] | None = None, prefix: tuple = (), last_signal: str = "KILL",
                 pass_fds: tuple = ()):  # fmt: skip
        self._process = subprocess.Popen(
            [*prefix, "setpriv", "--pdeathsig", last_signal, "--", *map(str, command)],
            env=env or environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            pass_fds=pass_fds,
        )
        self.pid = self._process.pid
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def lines(self) -> list[str]:
        with self._news:
            return list(self._lines)

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def wait_for_line(self, pattern: str, patience: float = PATIENCE, *, after: int = 0) -> re.Match:
        """The first match of `pattern` in a line, which may be still to come; `after` lines are skipped."""
        return self.wait_for_lines(pattern, 1, patience, after=after)[0]

    def wait_for_lines(
        self, pattern: str, count: int, patience: float = PATIENCE, *, after: int = 0
    ) -> list[re.Match]:
        deadline = time.monotonic() + patience
        with self._news:
            while True:
                found = [match for line in self._lines[after:] if (match := re.search(pattern, line))]
                if len(found) >= count:
                    return found
                rest = deadline - time.monotonic()
                if self._ended or rest <= 0:
                    why = "ended without" if self._ended else f"did not write within {patience} s"
                    raise AssertionError(f"pid {self.pid} {why} /{pattern}/:\n" + "\n".join(self._lines))
                self._news.wait(rest)

    def wait_for_end_of_log(self, patience: float = PATIENCE) -> None:
        """Until nobody can write another line."""
        self._reader.join(patience)
        assert not self._reader.is_alive(), f"pid {self.pid} still had its log after {patience} s"

    def is_running(self) -> bool:
        return self._process.poll() is None

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, patience: float = PATIENCE) -> int:
        """The exit code; negative after a signal."""
        code = self._process.wait(patience)
        self._reader.join(patience)
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM, patience: float = PATIENCE) -> int:
        if self.is_running():
            self.send_signal(number)
        try:
            return self.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.wait()
            raise AssertionError(f"pid {self.pid} did not end within {patience} s:\n{self.log}") from None

    def descriptors(self) -> int:
        """All of them: files may be open for a moment, as at the start and during a reload."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def descriptors_at_rest(self) -> int:
        """Their number once it has not changed for a while."""
        counts = [self.descriptors()]
        while len(counts) < 10 or len(set(counts[-10:])) > 1:
            time.sleep(0.02)
            counts.append(self.descriptors())
        return counts[-1]

    def open_files(self) -> dict[str, str]:
        """What each descriptor leads to, by its number. The process may close some of them meanwhile; those are left out."""
        targets = {}
        for number in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                targets[number] = os.readlink(f"/proc/{self.pid}/fd/{number}")
        return targets

    def sockets(self) -> int:
        """The number of descriptors that are sockets."""
        return sum(target.startswith("socket:") for target in self.open_files().values())

    def resident_bytes(self) -> int:
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) * 1024

    def _read(self) -> None:
        for line in self._process.stderr:
            with self._news:
                self._lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


def eventually(condition, patience: float = PATIENCE):
    """Asks `condition` until it answers something true, and answers that; for what nobody can be told of."""
    deadline = time.monotonic() + patience
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"this did not become true within {patience} s"
        time.sleep(0.01)
    return answer


@contextlib.contextmanager
def stopped_thread(daemon, name: str):
    """PTRACE_INTERRUPT stops one thread; SIGSTOP would stop all."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    seize, interrupt, detach = 0x4206, 0x4207, 17
    thread = next(int(task.name) for task in Path(f"/proc/{daemon.pid}/task").iterdir()
                  if (task / "comm").read_text().strip() == name)  # fmt: skip
    if libc.ptrace(seize, thread, None, None) != 0:
        pytest.skip(f"ptrace: {os.strerror(ctypes.get_errno())}")
    assert libc.ptrace(interrupt, thread, None, None) == 0
    os.waitpid(thread, 0x40000000)  # __WALL
    try:
        yield
    finally:
        assert libc.ptrace(detach, thread, None, None) == 0
