"""The guides in docs/: their files and commands, and a terminal in which a test follows them as they are printed.

A fenced block of a guide is one of these:

- ```console: commands after `$ `, continued after `> `, and below each the output that it must have. `...` in an output
  stands for anything, as a line of its own for any number of lines. A command must succeed, unless its output shows an
  error. `pgveil run` keeps running: the output is what its log begins with.
- ```log: what the log of the last `pgveil run` has, or will have, after what was last expected in it.
- ```toml, ```conf or ```sh whose first line is a comment with a path: the content of that file; with `, at its end` after the
  path, more lines of it.

All other blocks are for readers only."""

import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from harness.pgveil import RELAY
from harness.postgres import ACCOUNT
from harness.processes import PATIENCE, POSTGRES_BIN, environment

DOCS = Path(__file__).resolve().parents[3] / "docs"


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int


def sections(page: str) -> dict[str, list[Block]]:
    """The blocks of a page by the heading of second level above them."""
    found: dict[str, list[Block]] = {}
    heading, language, begin, indent, lines = "", None, 0, "", []
    for number, line in enumerate((DOCS / page).read_text().splitlines(), 1):
        fence = re.match(r"^( *)```(\w*)$", line)
        if fence and language is None:
            indent, language, begin, lines = fence[1], fence[2], number, []
        elif fence:
            found.setdefault(heading, []).append(Block(language, "\n".join(lines), begin))
            language = None
        elif language is not None:
            lines.append(line.removeprefix(indent))
        elif line.startswith("## "):
            heading = line.removeprefix("## ")
    return found


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below this heading of second level, without its first line."""
    text = (DOCS / page).read_text().split(f"\n## {heading}\n")[1]
    rows = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)[0].splitlines()[2:]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def commands(block: Block) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output below it."""
    found: list[tuple[list[str], list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif line.startswith("> ") and not found[-1][1]:
            found[-1][0].append(line[2:])
        else:
            found[-1][1].append(line)
    return [("\n".join(command), "\n".join(output)) for command, output in found]


def pattern(shown: str) -> str:
    """The regular expression of an output in which `...` stands for anything. Spaces at the end of a line do not count."""
    lines = ["(?:.*\n)*?" if line.strip() == "..." else re.escape(line.rstrip()).replace(r"\.\.\.", ".*?") + " *\n"
             for line in shown.rstrip().splitlines()]  # fmt: skip
    return "".join(lines)


def free_port() -> int:
    """Below those that the kernel hands out, for a server that cannot be given port 0."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10000, max(lowest, 20000))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Terminal:
    """A shell of an ordinary user in an empty folder. What a guide prints and a test may replace is in `replaced`."""

    MARK = "<the end of a command>"

    def __init__(self, folder: Path, program: Path, namespace=None, account: str | None = ACCOUNT):
        """`program` is a pgveil that every user may run. In a network of its own, the ports are those of the guides."""
        self.folder = folder
        # No port, no path and no release of PostgreSQL but these: docs/README.md promises that.
        self.replaced = {
            r"/tmp/pgveil-trial\b": str(folder / "pgveil-trial"),
            r"/usr/lib/postgresql/15/bin\b": POSTGRES_BIN,
        }
        if not namespace:
            self.replaced |= {rf"(?<!\d){port}\b": str(free_port()) for port in (5432, 6432)}
        if account:
            shutil.chown(folder, account, account)
        self._logs: list[Path] = []
        self._seen = 0  # of the last log, by what was expected in it
        path = f"{program.parent}:/usr/bin:/bin" + ("" if account else ":/usr/sbin")
        env = {**environment(), **RELAY, "HOME": str(folder), "PATH": path}
        prefix = namespace.prefix if namespace else ()
        user = ["setpriv", "--reuid", account, "--regid", account, "--clear-groups", "--"] if account else []
        # It reads commands until this process has ended, however that came; then it ends what it has started.
        self._shell = subprocess.Popen([*prefix, *user, "bash", "--norc"], cwd=folder, env=env, stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
        self.run(
            "clean_up() { kill $(jobs -p) $(cat */*.pid); wait; for file in $(find . -name postmaster.pid); do"
            " pid=$(head -n 1 $file); kill -QUIT $pid; tail --pid=$pid --follow /dev/null; done; } &>/dev/null\n"
            f"trap 'cd {folder} && clean_up' EXIT; trap exit PIPE"
        )

    def follow(self, blocks: list[Block]) -> None:
        """Does what the blocks say, and compares what they show."""
        for block in blocks:
            first = block.text.partition("\n")[0]
            if block.language == "console":
                for command, output in commands(block):
                    self._follow_command(command, output, block)
            elif block.language == "log":
                self._expect_in_log(pattern(self.translated(block.text)), f"line {block.line}")
            elif block.language in ("toml", "conf", "sh") and (file := re.match(r"# ([\w./-]+)(, at its end)?$", first)):
                self._write(file[1], ">>" if file[2] else ">", self.translated(block.text))

    def translated(self, text: str) -> str:
        for printed, real in self.replaced.items():
            text = re.sub(printed, real, text)
        return text

    def run(self, command: str) -> tuple[int, str]:
        """The exit code and the output of a command."""
        self._shell.stdin.write(f"{{ {command}\n}} </dev/null 2>&1\necho \"{self.MARK} $?\"\n".encode())
        self._shell.stdin.flush()
        output = b""
        deadline = time.monotonic() + 2 * PATIENCE
        while not (end := re.search(rb"%s (\d+)\n$" % self.MARK.encode(), output)):
            rest = deadline - time.monotonic()
            ready = rest > 0 and select.select([self._shell.stdout], [], [], rest)[0]
            part = os.read(self._shell.stdout.fileno(), 65536) if ready else b""
            assert part, f"{command} did not end:\n{output.decode()}"
            output += part
        return int(end[1]), output[: end.start()].decode()

    def stop(self) -> None:
        """Ends each pgveil as its user would, and whatever else is left."""
        try:
            code, output = self.run("status=0; for job in $(jobs -p); do kill $job; wait $job || status=$?; done; (exit $status)")
            # runuser(1) says that it was ended by a signal, also if its program has ended as it should.
            assert code in (0, 128 + signal.SIGTERM), output + self._log()
            assert all(" stopped " in log.read_text() for log in self._logs), self._log()
        finally:
            self._shell.stdin.close()
            self._shell.wait(2 * PATIENCE)
            self._shell.stdout.close()

    def _follow_command(self, command: str, output: str, block: Block) -> None:
        where = f"line {block.line}: {command}"
        if re.match(r"(runuser .* -- )?pgveil run ", command):
            self._logs.append(self.folder / f"pgveil-{len(self._logs)}.log")
            self._seen = 0
            code, said = self.run(f"{self.translated(command)} &>{self._logs[-1]} &")
            assert code == 0, f"{where}\n{said}"
            self._expect_in_log(r"\A" + pattern(self.translated(output)), where)
            return
        code, said = self.run(self.translated(command))
        assert re.fullmatch(pattern(self.translated(output)) + "\n*", said.expandtabs()), f"{where}\nprinted:\n{said}{self._log()}"
        shows_error = re.search(r"error:|FATAL:", output) is not None
        assert (code != 0) == shows_error, f"{where}\nexit code {code}:\n{said}"

    def _write(self, file: str, operator: str, text: str) -> None:
        code, said = self.run(f"cat {operator}{file} <<'end of the file'\n{text}\nend of the file")
        assert code == 0, said

    def _expect_in_log(self, expected: str, where: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(expected, self._log()[self._seen :], re.MULTILINE)):
            assert time.monotonic() < deadline, f"{where}\nthe log has no\n{expected}\n{self._log()}"
            time.sleep(0.02)
        self._seen += found.end()

    def _log(self) -> str:
        return self._logs[-1].read_text() if self._logs and self._logs[-1].exists() else ""
