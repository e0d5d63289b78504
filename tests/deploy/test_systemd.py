"""The systemd unit: known to systemd, hardened, and in agreement with the program."""

import re
import shlex
import shutil

import pytest

from harness.pgveil import BINARY
from harness.processes import environment, run
from project import ROOT, complaints

UNIT = ROOT / "deploy/systemd/pgveil.service"

# Of 100, as systemd rates the exposure of a service; a service without any hardening has 96.
MOST_EXPOSURE = 20


def settings(name: str) -> list[str]:
    """The values of `name`, in their order."""
    return re.findall(rf"(?m)^{name}=(.*)$", UNIT.read_text())


@pytest.fixture(scope="module")
def analyze():
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing: install the package systemd"
    return program


@pytest.fixture
def install(tmp_path):
    """Installs the units below a directory, and returns the path of the service."""

    def start(*definitions: str):
        script = UNIT.with_name("install.cmake")
        done = run("cmake", "-DCMAKE_INSTALL_PREFIX=/usr/local", *definitions, "-P", script,
                   env=environment(DESTDIR=str(tmp_path)))  # fmt: skip
        assert done.returncode == 0, done.stderr
        return tmp_path / "usr/local/lib/systemd/system" / UNIT.name

    return start


def test_systemd_knows_every_setting(analyze, install):
    """The version of this machine, of what is installed for it."""
    unit = install()
    # With a path to the program that exists: verify looks for it.
    unit.write_text(unit.read_text().replace("ExecStart=pgveil ", f"ExecStart={BINARY.resolve()} "))
    sockets = unit.with_suffix(".socket")
    done = run(analyze, "verify", "--man=no", unit, sockets)
    complaints = [line for line in done.stderr.splitlines() if UNIT.stem in line]
    assert (done.returncode, complaints) == (0, [])


def test_systemctl_reload_waits_where_systemd_can(install):
    text = install("-DPGVEIL_SYSTEMD_VERSION=253").read_text()
    assert re.findall(r"(?m)^(?:Type|ExecReload)=.*", text) == ["Type=notify-reload"]
    text = install("-DPGVEIL_SYSTEMD_VERSION=252").read_text()
    assert re.findall(r"(?m)^(?:Type|ExecReload)=.*", text) == ["Type=notify", "ExecReload=kill -HUP $MAINPID"]


def test_it_is_hardened(analyze):
    done = run(analyze, "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", "--no-pager", UNIT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "name, value",
    [
        ("DynamicUser", "yes"),
        ("CapabilityBoundingSet", ""),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("MemoryDenyWriteExecute", "yes"),
        ("LimitCORE", "0"),
    ],
)
def test_it_gives_up(name, value):
    assert settings(name) == [value]


def test_five_quick_failures_do_not_end_it_for_good():
    """systemd's default is to give up after five starts within ten seconds."""
    assert settings("StartLimitIntervalSec") == ["0"]
    assert settings("Restart") == ["on-failure"]


@pytest.mark.parametrize("example", sorted((ROOT / "deploy/examples").glob("*.toml")), ids=lambda path: path.name)
def test_it_may_write_where_the_examples_do(example):
    """With ProtectSystem=strict it may write to the directories that systemd makes for it, and to no other."""
    assert settings("ProtectSystem") == ["strict"]
    writable = [f"/var/log/{name}/" for name in settings("LogsDirectory")]
    writable += [f"/run/{name}/" for name in settings("RuntimeDirectory")]
    written = re.findall(r'(?m)^(?:file = "|address = "unix:)([^"]+)"', example.read_text())
    assert [path for path in written if not path.startswith(tuple(writable))] == []


def test_the_journal_reads_the_levels_of_its_lines():
    """As it does by default: see integration/test_process.py for the prefixes."""
    assert settings("SyslogLevelPrefix") == [] and settings("StandardError") == []


def test_its_command_line_is_understood(files, tmp_path):
    program, command, *words = shlex.split(settings("ExecStart")[0])
    assert (program, command) == ("pgveil", "run")
    file = tmp_path / "pgveil.toml"
    file.write_text(files.put_into((ROOT / "deploy/examples/egress.toml").read_text()))
    words[words.index("--config") + 1] = str(file)
    done = run(BINARY, "check", *words)
    assert (done.returncode, complaints(done)) == (0, "")


def test_errors_of_the_operator_do_not_restart_it(tmp_path):
    mistaken = tmp_path / "mistaken.toml"
    mistaken.write_text("[limits]\nmax_sesions = 1\n")
    codes = [
        run(BINARY, "run", "--no-such-flag").returncode,
        run(BINARY, "run", "--config", tmp_path / "missing.toml").returncode,
        run(BINARY, "run", "--config", mistaken).returncode,
    ]
    assert settings("RestartPreventExitStatus") == [" ".join(map(str, codes))]
