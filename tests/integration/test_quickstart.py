"""deploy/quickstart: both directions with a PostgreSQL of its own, as root and as an ordinary user; and a server of yours."""

import contextlib
import os
import pwd
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from harness.pgveil import BINARY, psql
from harness.postgres import PASSWORD
from harness.processes import environment, eventually, run

QUICKSTART = Path(__file__).parents[2] / "deploy/quickstart"
# What a reader sees, in this order.
SHOWN = [
    'certificate of the client "alice@example.com"',
    'database "postgres", no encryption',  # by the server itself
    " t   | TLSv1.3 | ",
    'Host is "db.example.com"; the certificate names "localhost".',
    'hba = "hostssl  all  all  127.0.0.1/32  cert map=people"',
    " current_user \n--------------\n alice\n",
    "FATAL:  pgveil: the client certificate may not log in as this user",
    "I session_closed ",
    " reason=identity_not_mapped ",
    "✓ verdict ",
    "✓ plaintext ",
    "✓ session ",
    "✓ SHOW ssl ",
    "✓ ALPN ",  # the server has none up to PostgreSQL 16, and pgveil always has it
    "✓ verdict ",
    "=== PASSED: ",
]


@pytest.fixture
def temporary(folder):
    """The folder for temporary files. Nothing is left in it."""
    folder.chmod(0o1777)
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def ordinary_user(temporary):
    """The beginning of a command line that runs as a user who is not root."""
    if os.geteuid() != 0:
        return ()
    nobody = pwd.getpwnam("nobody")
    prefix = ("setpriv", "--reuid", nobody.pw_uid, "--regid", nobody.pw_gid, "--clear-groups", "--")
    if run(*prefix, "test", "-x", QUICKSTART, "-a", "-x", BINARY).returncode != 0:
        pytest.skip("an ordinary user cannot read this checkout")
    return prefix


def quickstart(temporary, *words, prefix=()):
    return run(*prefix, QUICKSTART, *words, env=environment(PGVEIL=str(Path(BINARY).resolve()), TMPDIR=str(temporary)))


def processes_in(folder) -> list[str]:
    """The programs whose working directory or command line is in the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            places = os.readlink(process / "cwd") + " " + (process / "cmdline").read_text()
            if str(folder) in places:
                found.append(places)
    return found


def assert_shown(text: str) -> None:
    place = 0
    for words in SHOWN:
        found = text.find(words, place)
        assert found >= 0, f"{words!r} is not in the rest: {text[place:]}"
        place = found + len(words)


def test_both_directions_are_shown(temporary):
    done = quickstart(temporary)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_shown(done.stdout)
    assert done.stderr == "" and "✗" not in done.stdout
    assert processes_in(temporary) == []


def test_an_ordinary_user_can_run_it(temporary, ordinary_user):
    done = quickstart(temporary, prefix=ordinary_user)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_shown(done.stdout)
    assert processes_in(temporary) == []


def test_it_can_be_kept_tried_and_stopped(temporary):
    done = quickstart(temporary, "--keep")
    assert done.returncode == 0, done.stdout + done.stderr
    folder, plain, with_tls = re.search(r"Try it: +cd (\S+)\n +(PGPASSWORD=.*)\n +(psql .*)\n", done.stdout).groups()
    stop = re.search(r"Stop it: +(.*)", done.stdout)[1]
    try:
        for command, user in ((plain, "app"), (with_tls, "alice")):
            tried = run("sh", "-c", f"{command} -XAtc 'SELECT current_user'", cwd=folder)
            assert tried.stdout == f"{user}\n", tried.stderr
    finally:
        stopped = run("sh", "-c", stop)
    assert stopped.returncode == 0, stopped.stderr
    eventually(lambda: processes_in(temporary) == [])


def test_variables_of_the_reader_change_nothing(temporary):
    """Those that the guides set, and those that libpq and pgveil would use."""
    variables = {"PGPASSWORD": "correct horse", "PGCHANNELBINDING": "require", "PGSSLMODE": "disable", "PGUSER": "nobody",
                 "PGVEIL_CONFIG": "/nonexistent", "PGVEIL_LISTEN": "127.0.0.1:1"}  # fmt: skip
    done = run(QUICKSTART, env=environment(PGVEIL=str(Path(BINARY).resolve()), TMPDIR=str(temporary), **variables))
    assert done.returncode == 0, done.stdout + done.stderr
    assert_shown(done.stdout)


def test_a_file_that_is_not_a_program_is_refused(temporary):
    done = run(QUICKSTART, env=environment(PGVEIL="/nonexistent", TMPDIR=str(temporary)))
    assert done.returncode == 1 and "FAILED: PGVEIL=/nonexistent is not a program" in done.stderr


def test_a_step_that_fails_ends_it_and_leaves_nothing(temporary, folder):
    broken = folder.parent / "broken-pgveil"
    broken.write_text(f'#!/bin/sh\n[ "$1" != doctor ] || exit 69\nexec {shlex.quote(str(Path(BINARY).resolve()))} "$@"\n')
    broken.chmod(0o755)
    done = run(QUICKSTART, env=environment(PGVEIL=str(broken), TMPDIR=str(temporary)))
    assert done.returncode == 1 and "FAILED: it found a fault" in done.stderr and "PASSED" not in done.stdout
    assert processes_in(temporary) == []


def test_a_server_of_yours(temporary, postgres, authority):
    """The file of --sslrootcert is relative to where the reader is."""
    host, port = postgres.address
    command = [QUICKSTART, f"localhost:{port}", "--hostaddr", host, "--sslrootcert", authority.file.name]
    with subprocess.Popen(list(map(str, command)), cwd=authority.file.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, env=environment(PGVEIL=str(Path(BINARY).resolve()), TMPDIR=str(temporary)),
                          start_new_session=True) as process:  # fmt: skip
        try:
            for line in process.stdout:
                if found := re.search(r'psql "(.*) user=YOU dbname=YOURS"', line):
                    break
            assert found
            done = psql(f"{found[1]} user=app dbname=ledger password='{PASSWORD}'", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            assert done.stdout.strip() == "t", done.stderr
            while "session_closed" not in (line := process.stdout.readline()):
                assert line
        finally:
            os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == ""
    assert processes_in(temporary) == []


def test_help_is_shown_wherever_the_reader_is(temporary):
    done = run("./quickstart", "--help", cwd=QUICKSTART.parent)
    assert done.returncode == 0 and "deploy/quickstart --keep" in done.stdout, done.stderr


def test_an_unknown_option_is_refused(temporary):
    done = quickstart(temporary, "--unknown")
    assert done.returncode == 64 and "deploy/quickstart --keep" in done.stderr
