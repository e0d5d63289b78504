"""`pgveil generate`: groff and mandoc accept the manual pages, and bash, zsh and fish complete with what is printed."""

import os
import pty
import re
import shlex
import shutil
import subprocess
import threading

import pytest

from harness.pgveil import BINARY, EX_USAGE
from harness.processes import PATIENCE, environment, run, run_or_fail

EX_CANTCREAT = 73

PAGES = ("man", "toml-man")


def needs(program: str) -> str:
    """The path of a program of Debian; skips the test without it."""
    found = shutil.which(program, path="/usr/bin:/bin")
    return found or pytest.skip(f"{program} is not installed")


@pytest.fixture
def page(folder):
    """A function that writes what `pgveil generate` prints, and returns the file."""

    def write(what: str, name: str = ""):
        file = folder / (name or what)
        file.write_text(run_or_fail(BINARY, "generate", what))
        return file

    return write


# --- manual pages ---


@pytest.mark.parametrize("what", PAGES)
def test_groff_has_no_warnings_about_a_page(page, what):
    done = run(needs("groff"), "-man", "-Tutf8", "-ww", "-z", page(what))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("what", PAGES)
def test_mandoc_has_no_warnings_about_a_page_except_that_it_has_no_date(page, what):
    lines = run(needs("mandoc"), "-T", "lint", "-W", "warning", page(what)).stdout.splitlines()
    assert [line for line in lines if "missing date" not in line] == []


def plain(file) -> str:
    """A page as `man` shows it in a narrow terminal, as one line."""
    text = run_or_fail(needs("man"), "--local-file", file, env={**environment(), "MANWIDTH": "60"})
    return " ".join(re.sub(".\b", "", text).split())


def test_man_shows_options_and_effects_as_help_does(page):
    text = plain(page("man"))
    for part in ("pgveil - TLS-terminating PostgreSQL wire-protocol proxy", "pgveil certs revoke FILE... [OPTION]...",
                 "--sslmode verify-full|disable verify-full encrypts to the server that --upstream names, and to no other;",
                 "78 Invalid setting in the file, an option or a variable."):  # fmt: skip
        assert part in text
    assert "\N{HYPHEN}" not in text  # no word is divided


def test_man_shows_keys_with_type_default_option_and_variable(page):
    text = plain(page("toml-man"))
    for part in ("startup_timeout From accepting a client to the server's ReadyForQuery. "
                 'Type: duration, 1ms to 1d. Default: "15s". '
                 "Option: --startup-timeout. Variable: PGVEIL_STARTUP_TIMEOUT.",
                 "[upstream.NAME]"):  # fmt: skip
        assert part in text


# --- completion ---

# What is typed before TAB, and the last word after it.
COMPLETED = [
    ("ch", "check"),
    ("certs rev", "revoke"),
    ("generate toml", "toml-man"),
    ("probe re", "ready"),
    ("run --ssl-min-p", "--ssl-min-protocol-version"),
    ("certs server --sp", "--sp"),
    ("certs client --sp", "--spiffe"),
    ("run --relay ep", "epoll"),
    ("run --relay=ep", "--relay=epoll"),
    ("check --reuse-port=t", "--reuse-port=true"),
    ("certs server --key rsa:2", "rsa:2048"),
    ("certs server --key=rsa:2", "--key=rsa:2048"),
    ("sessions --filter us", "user="),
    ("run --config pg", "pgveil.toml"),
    ("run --config=pg", "--config=pgveil.toml"),
    ("certs show bil", "billing.crt"),
    ("certs ca --dir author", "authority/"),
    ("run --listen pg", "pg"),
    ("status pg", "pg"),
    ("frobnicate --", "--"),
]


@pytest.fixture
def desk(folder):
    """A folder with some files, and a `pgveil` that writes the words of its command line to the file `words`."""
    desk = folder / "desk"
    (desk / "authority").mkdir(parents=True)
    for name in ("pgveil.toml", "authority.crt", "billing.crt"):
        (desk / name).touch()
    (folder / "bin").mkdir()
    program = folder / "bin" / "pgveil"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{shlex.quote(str(folder / 'words'))}\n")
    program.chmod(0o755)
    return desk


class Terminal:
    """A shell with a terminal."""

    PROMPT = b"READY>"

    def __init__(self, command, desk, **variables):
        self.folder = desk.parent
        controller, terminal = pty.openpty()
        self.descriptor = controller
        path = f"{self.folder / 'bin'}:/usr/bin:/bin"
        self.process = subprocess.Popen(
            command, cwd=desk, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
            env={**environment(), "PATH": path, "TERM": "vt100", "LC_ALL": "C.UTF-8", **variables})  # fmt: skip
        os.close(terminal)
        self.output = b""
        # Ends a shell that waits for something, so that the reading ends.
        self.guard = threading.Timer(PATIENCE, self.process.kill)
        self.guard.start()

    def read_until(self, text: bytes):
        while text not in self.output:
            try:
                block = os.read(self.descriptor, 65536)
            except OSError:  # the shell has ended
                block = b""
            assert block, self.output.decode(errors="replace")
            self.output += block
        self.output = self.output.partition(text)[2]

    def words_after_tab(self, typed: str) -> list[str]:
        """Types a command line of pgveil and TAB, at the prompt; returns its words, and waits for the next prompt."""
        os.write(self.descriptor, f"pgveil {typed}\t\n".encode())
        self.read_until(self.PROMPT)
        return (self.folder / "words").read_text().splitlines()

    def end(self):
        self.guard.cancel()
        self.process.kill()
        self.process.wait()
        os.close(self.descriptor)


def bash(page, desk, set_up=""):
    shell = needs("bash")
    start = desk.parent / "bashrc"
    start.write_text(f"PS1='READY>'\nbind 'set enable-bracketed-paste off'\n{set_up}\nsource {shlex.quote(str(page('bash')))}\n")
    return Terminal([shell, "--noprofile", "--rcfile", start, "-i"], desk)


def start_zsh(desk, before="", after=""):
    (desk.parent / ".zshrc").write_text(
        f"{before}\nunsetopt prompt_sp\nautoload -Uz compinit\ncompinit -u -D\n{after}\nPS1='READY>'\n"
    )
    return Terminal([needs("zsh"), "-d", "-i"], desk, ZDOTDIR=str(desk.parent))


def zsh(page, desk):
    """Finds the completion in a directory of fpath, as it does after an installation."""
    functions = desk.parent / "functions"
    functions.mkdir()
    page("zsh", "functions/_pgveil")
    return start_zsh(desk, before=f"fpath=({shlex.quote(str(functions))} $fpath)")


def zsh_with_source(page, desk):
    return start_zsh(desk, after=f"source {shlex.quote(str(page('zsh')))}")


@pytest.fixture(params=(bash, zsh, zsh_with_source), ids=lambda start: start.__name__)
def terminal(request, page, desk):
    terminal = request.param(page, desk)
    try:
        terminal.read_until(terminal.PROMPT)
        yield terminal
    finally:
        terminal.end()


def without_end(word: str) -> str:
    """zsh ends the name of an option with "=", which it removes if a blank follows, and shells differ in the "/"."""
    return word.rstrip("=/")


def test_bash_and_zsh_complete_words(terminal):
    completed = [(typed, without_end(terminal.words_after_tab(typed)[-1])) for typed, _ in COMPLETED]
    assert completed == [(typed, without_end(word)) for typed, word in COMPLETED]


def test_bash_completes_where_colons_and_equals_signs_end_no_word(page, desk):
    terminal = bash(page, desk, "COMP_WORDBREAKS=${COMP_WORDBREAKS//[:=]}")
    try:
        terminal.read_until(terminal.PROMPT)
        for typed, word in (("certs server --key=rsa:2", "--key=rsa:2048"), ("run --relay=ep", "--relay=epoll")):
            assert terminal.words_after_tab(typed)[-1] == word
    finally:
        terminal.end()


def fish(command: str, desk) -> str:
    """What fish prints after a command."""
    variables = {**environment(), "HOME": str(desk.parent)}
    return run_or_fail(needs("fish"), "--no-config", "--command", command, cwd=desk, env=variables)


@pytest.mark.parametrize("typed, word", COMPLETED)
def test_fish_completes_words(page, desk, typed, word):
    command = f"source {page('fish')}; complete --do-complete 'pgveil {typed}'"
    text = fish(command, desk)
    expected = [] if typed.endswith(word) else [word]
    assert [line.partition("\t")[0] for line in text.splitlines()] == expected


def test_fish_offers_the_commands_and_the_options_of_one(page, desk):
    text = fish(f"source {page('fish')}; complete -C 'pgveil '; complete -C 'pgveil certs crl --'", desk)
    names = [line.partition("\t")[0] for line in text.splitlines()]
    commands = ["run", "check", "probe", "status", "sessions", "terminate", "certs", "explain", "doctor", "generate"]
    assert sorted(names) == sorted([*commands, "--help", "--dir", "--days"])


# --- the command ---


def test_another_name_is_refused(folder):
    done = run(BINARY, "generate", "tcsh")
    assert (done.returncode, done.stdout) == (EX_USAGE, "")
    assert 'generate cannot print "tcsh"' in done.stderr


def test_a_full_disk_is_an_error():
    with open("/dev/full", "w") as full:
        done = subprocess.run([BINARY, "generate", "man"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (EX_CANTCREAT, "error: could not write to standard output\n")
