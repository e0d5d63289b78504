"""Counters of the kernel, and what is said about a handful of figures."""

import os
import re
import signal
import statistics
import subprocess
import time
from pathlib import Path

from common import environment

_TICKS = os.sysconf("SC_CLK_TCK")


def family(pid):
    """A process and its children's: nginx and hitch work in processes that their first one starts."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *(one for child in children for one in family(int(child)))]


def cpu_seconds(pid):
    """User and system time of a process and its children: of all threads, including those that have ended."""
    return sum(map(_cpu_seconds, family(pid)))


def _cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def pss_kib(pid):
    """Proportional set size: what a process and its children keep in memory, shared pages by share."""
    return sum(map(_pss_kib, family(pid)))


def _pss_kib(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return int(re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE).group(1))


def busy_share(seconds=1.0):
    """How much of all processors is in use: what others do, if asked while we do nothing."""

    def sample():
        first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
        numbers = [int(word) for word in first.split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4], numbers[7]

    all_before, idle_before, stolen_before = sample()
    time.sleep(seconds)
    all_after, idle_after, stolen_after = sample()
    span = max(all_after - all_before, 1)
    return {
        "busy": 1 - (idle_after - idle_before) / span,
        "stolen": (stolen_after - stolen_before) / span,
    }


class SystemCalls:
    """Counts the system calls of a process and its children while the block runs. perf counts without slowing it down;
    strace, if perf is not allowed, slows it down so much that wake-ups merge: then the count is a little too low."""

    def __init__(self, pid):
        self.pid = pid
        self.count = None

    def __enter__(self):
        everybody = list(map(str, family(self.pid)))
        perf = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", ",".join(everybody)]
        strace = ["strace", "-c", "-f", "-qq", *(word for pid in everybody for word in ("-p", pid))]
        self._process = subprocess.Popen(
            perf if counting_tool() == "perf" else strace,
            env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        time.sleep(0.5)  # neither says when it has attached
        return self

    def __exit__(self, *_):
        self._process.send_signal(signal.SIGINT)
        text = self._process.communicate(timeout=20)[1]
        found = re.search(r"^(\d+),|(\d+)\s+(?:\d+\s+)?total$", text, re.MULTILINE)
        self.count = int(found.group(1) or found.group(2)) if found else None


def counting_tool():
    """Returns "perf", otherwise "strace", otherwise None."""
    if not hasattr(counting_tool, "answer"):
        trial = {
            "perf": ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "true"],
            "strace": ["strace", "-c", "-f", "true"],
        }
        counting_tool.answer = next((name for name, command in trial.items() if _works(command)), None)
    return counting_tool.answer


def _works(command):
    try:
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and "<not" not in done.stderr


def summary(values):
    """Median and extremes."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(values, others):
    """Round by round: what happened to both at about the same time is compared, and nothing else."""
    return [values[turn] / others[turn] for turn in values if turn in others and others[turn] > 0]
