"""`pgveil check` reports what `pgveil run` fails with, in the same words, and leaves nothing behind."""

import os
import re
import socket
import subprocess

import pytest

from harness import io_uring
from harness.audit import to_file
from harness.pgveil import BINARY, EX_CONFIG, EX_UNAVAILABLE, toml
from harness.processes import PATIENCE, environment, run

AS_NOBODY = ("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups")
TRUST = {"hba": "host all all 127.0.0.1/32 trust"}

only_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def configuration(listener=None, upstream=None, **sections) -> dict:
    return {
        "listener": [{"address": "127.0.0.1:0", "upstream": "a", **(listener or {})}],
        "upstream": {"a": {"host": "/run", **(upstream or {})}},
        **sections,
    }


@pytest.fixture
def complaint(folder):
    """What both commands say of a configuration that cannot be run."""

    def start(configuration: dict, exit_code: int, prefix: tuple = ()) -> str:
        file = folder / "pgveil.toml"
        file.write_text(toml(configuration), encoding="utf-8")
        checked, started = (run(*prefix, BINARY, command, "--config", file) for command in ("check", "run"))
        assert checked.stderr == started.stderr
        assert checked.returncode == started.returncode == exit_code, checked.stderr
        assert not checked.stdout
        return checked.stderr

    return start


@pytest.mark.parametrize("path", ["missing/audit.json", ".", "file/audit.json", "dangling", "socket"])
def test_an_audit_file_that_cannot_be_opened_is_reported(complaint, folder, path):
    (folder / "file").write_text("")
    (folder / "dangling").symlink_to(folder / "missing" / "audit.json")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
    said = complaint(configuration(audit=to_file(f"{folder}/{path}")), EX_CONFIG)
    assert re.search(r'pgveil\.toml:\d+: audit\.file: ".*" cannot be opened for writing: ', said)


def test_a_limit_of_open_files_that_is_too_low_to_start_is_reported(complaint, pgveil):
    settings = configuration(TRUST, limits={"workers": 2})
    few = ("prlimit", "--nofile=12:12")
    said = complaint(settings, EX_UNAVAILABLE, few)
    required = int(re.search(r"error: the limit of open files is 12, and (\d+) are required to start\n", said)[1])
    assert "Raise the limit (ulimit -n, or LimitNOFILE of the service)" in said
    complaint(settings, EX_UNAVAILABLE, ("prlimit", f"--nofile={required - 1}:{required - 1}"))
    pgveil(configuration=settings, prefix=("prlimit", f"--nofile={required}:{required}"))


def test_a_fifo_for_the_audit_that_nobody_reads_is_reported(complaint, folder):
    os.mkfifo(folder / "fifo")
    said = complaint(configuration(audit=to_file(f"{folder}/fifo")), EX_CONFIG)
    assert 'fifo" cannot be opened for writing: no process reads the FIFO\n' in said
    assert "Start the program that reads it first." in said


def test_a_fifo_for_the_audit_that_is_read_is_not_reported(folder):
    os.mkfifo(folder / "fifo")
    file = folder / "pgveil.toml"
    file.write_text(toml(configuration(audit=to_file(f"{folder}/fifo"))))
    reader = os.open(folder / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    assert run(BINARY, "check", "--config", file).returncode == 0
    os.close(reader)


def test_an_audit_file_that_can_be_created_is_not_created_by_a_check(folder):
    file, audit = folder / "pgveil.toml", folder / "audit.json"
    (folder / "link").symlink_to(audit)
    for path in audit, folder / "link":
        file.write_text(toml(configuration(audit=to_file(path))))
        assert run(BINARY, "check", "--config", file).returncode == 0
        assert not audit.exists()
    audit.write_text("a record\n")
    os.utime(audit, (1, 1))
    assert run(BINARY, "check", "--config", file).returncode == 0
    assert audit.stat().st_mtime == 1 and audit.read_text() == "a record\n"


@pytest.mark.parametrize("name", ["missing/.s.PGSQL.5432", "file/.s.PGSQL.5432"])
def test_a_missing_directory_of_a_socket_is_reported(complaint, folder, name):
    (folder / "file").write_text("")
    said = complaint(configuration({"address": f"unix:{folder}/{name}"}), EX_UNAVAILABLE)
    assert re.search(r"pgveil\.toml:\d+: listener\[0\]\.address: no socket can be created in the directory", said)


def test_a_file_in_the_place_of_a_socket_is_reported(complaint, folder):
    (folder / ".s.PGSQL.5432").write_text("dear diary")
    said = complaint(configuration({"address": f"unix:{folder}/.s.PGSQL.5432"}), EX_UNAVAILABLE)
    assert "exists and is not a socket\n  hint: Remove it" in said


def test_an_unknown_group_is_reported(complaint, folder):
    listener = {"address": f"unix:{folder}/.s.PGSQL.5432", "unix_socket_group": "nobodies-friends"}
    said = complaint(configuration(listener), EX_CONFIG)
    assert 'listener[0].unix_socket_group: there is no group "nobodies-friends"' in said
    assert not (folder / ".s.PGSQL.5432").exists()


@pytest.mark.parametrize("program", ["/nonexistent/token", "no-such-program", "{}/data", "{}/script", "{}", "{}/data/token"])
def test_a_password_command_that_cannot_be_run_is_reported(complaint, folder, program):
    (folder / "data").write_text("a password")
    (folder / "script").write_text("#! /nonexistent/python -E\n")
    (folder / "script").chmod(0o755)
    said = complaint(configuration(TRUST, {"password_command": [program.format(folder), "%u"]}), EX_CONFIG)
    assert re.search(r'pgveil\.toml:\d+: upstream\.a\.password_command: ".*" cannot be run: ', said)


@pytest.mark.parametrize("program", ["/bin/cat", "cat", "{}/script", "{}/plain"])
def test_a_password_command_that_can_be_run_is_not_run_by_a_check(folder, program):
    for name, first in ("script", "#!/bin/sh\n"), ("plain", ""):
        (folder / name).write_text(f"{first}touch {folder}/was-run\n")
        (folder / name).chmod(0o755)
    file = folder / "pgveil.toml"
    file.write_text(toml(configuration(TRUST, {"password_command": [program.format(folder)]})))
    done = run(BINARY, "check", "--config", file)
    assert done.returncode == 0, done.stderr
    assert not (folder / "was-run").exists()


def test_an_address_of_another_machine_is_reported(complaint):
    listener = {"address": "192.0.2.1:5432", "allow_plaintext_from_network": True}
    said = complaint(configuration(listener), EX_UNAVAILABLE)
    assert "192.0.2.1:5432 cannot be listened on: bind: Cannot assign requested address" in said
    assert "No network interface of this machine has this address" in said


def test_io_uring_that_the_kernel_refuses_is_reported(complaint):
    said = complaint(configuration(limits={"relay": "io_uring", "workers": 1}), EX_UNAVAILABLE, io_uring.without())
    assert "limits.relay: io_uring cannot be used: io_uring_setup: Operation not permitted" in said
    assert "hint: Use Linux 6.1 or newer and permit io_uring, or set relay to" in said


@only_as_root
class TestAsAnotherUser:
    """check judges with the rights of the user that it runs as."""

    def test_what_it_may_not_write_is_reported(self, complaint, folder):
        (folder / "audit.json").write_text("")
        said = complaint(configuration({"address": f"unix:{folder}/.s.PGSQL.5432"},
                                       audit=to_file(f"{folder}/audit.json")), EX_CONFIG, AS_NOBODY)  # fmt: skip
        assert re.search("address: no socket can be created in .*: Permission denied", said)
        assert re.search("audit.file: .* cannot be opened for writing: Permission denied", said)

    def test_a_group_that_it_is_not_in_is_reported(self, complaint, folder):
        folder.chmod(0o777)
        listener = {"address": f"unix:{folder}/.s.PGSQL.5432", "unix_socket_group": "root"}
        said = complaint(configuration(listener), EX_CONFIG, AS_NOBODY)
        assert 'the user of this process is not a member of the group "root"' in said

    def test_a_program_of_others_is_reported(self, complaint, folder):
        (folder / "token").write_text("#!/bin/sh\n")
        (folder / "token").chmod(0o700)
        said = complaint(configuration(TRUST, {"password_command": [f"{folder}/token"]}), EX_CONFIG, AS_NOBODY)
        assert "cannot be run: Permission denied" in said

    def test_a_file_of_others_is_reported_with_the_user_that_needs_it(self, complaint, folder):
        folder.chmod(0o711)
        (folder / "ca.crt").write_text("")
        (folder / "ca.crt").chmod(0o600)
        said = complaint(configuration(TRUST, {"host": "db", "sslrootcert": f"{folder}/ca.crt"}), EX_CONFIG, AS_NOBODY)
        assert f'root certificate file "{folder}/ca.crt" cannot be loaded: Permission denied\n' in said
        assert f'Let the user "nobody" (uid 65534) read the file "{folder}/ca.crt", which belongs to user "root"' in said
        assert "PEM" not in said and "fsGroup" not in said

    def test_a_privileged_port_is_reported(self, complaint):
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            if int(file.read()) < 1024:
                pytest.skip("every user may have every port here")
        said = complaint(configuration({"address": "127.0.0.1:1023"}), EX_UNAVAILABLE, AS_NOBODY)
        assert "127.0.0.1:1023 cannot be listened on: bind: Permission denied" in said
        for hint in ("AmbientCapabilities=CAP_NET_BIND_SERVICE", "net.ipv4.ip_unprivileged_port_start to 1023"):
            assert hint in said

    def test_a_port_that_this_machine_makes_privileged_is_reported(self, complaint, namespace):
        namespace.set("net.ipv4.ip_unprivileged_port_start", "6000")
        said = complaint(configuration({"address": "127.0.0.1:5432"}), EX_UNAVAILABLE, (*namespace.prefix, *AS_NOBODY))
        assert "127.0.0.1:5432 cannot be listened on: bind: Permission denied" in said
        assert "Ports below 6000 need the capability CAP_NET_BIND_SERVICE" in said

    def test_a_directory_of_crls_that_may_only_be_entered_is_reported(self, complaint, folder):
        folder.chmod(0o711)
        (folder / "crls").mkdir()
        (folder / "crls").chmod(0o711)
        upstream = {"host": "db", "sslrootcert": "system", "sslcrldir": f"{folder}/crls"}
        said = complaint(configuration(TRUST, upstream), EX_CONFIG, AS_NOBODY)
        assert f'CRL directory "{folder}/crls" cannot be read: Permission denied' in said
        assert f'read the directory "{folder}/crls", which belongs to user "root"' in said


def test_everything_is_reported_at_once(complaint, folder):
    (folder / "here").write_text("")
    wrong = {
        "listener": [
            {"address": f"unix:{folder}/missing/a", "upstream": "a", "unix_socket_group": "nobodies-friends"},
            {"address": f"unix:{folder}/here", "upstream": "a"},
            {"address": "127.0.0.1:0", "upstream": "a", **TRUST, "auth_file": f"{folder}/missing"},
        ],
        "upstream": {"a": {"host": "/run", "password_command": ["no-such-program"]}},
        "audit": to_file(f"{folder}/missing/audit.json"),
    }
    said = complaint(wrong, EX_CONFIG)
    for key in ("listener[0].address", "listener[0].unix_socket_group", "listener[1].address", "listener[2].auth_file",
                "upstream.a.password_command", "audit.file"):  # fmt: skip
        assert re.search(rf"pgveil\.toml:\d+: {re.escape(key)}: ", said), said
    # And beside an error that is found before anything is loaded.
    wrong["log"] = {"format": "xml"}
    said = complaint(wrong, EX_CONFIG)
    assert "log.format" in said and "audit.file" in said and "listener[1].address" in said


def test_errors_and_warnings_begin_with_what_they_are_and_are_counted(complaint, folder):
    wrong = configuration(audit=to_file(f"{folder}/missing/audit.json"))
    wrong["upstream"]["unused"] = {"host": "/run"}
    lines = complaint(wrong, EX_CONFIG).splitlines()
    beginnings = [line.split(":")[0] for line in lines]
    assert beginnings == ["warning", "  hint", "error", "  hint", "1 error, 1 warning"]


@pytest.mark.parametrize("command", ["check", "run"])
def test_the_memory_is_hidden_from_others_before_the_configuration_is_read(folder, command):
    os.mkfifo(folder / "pgveil.toml", 0o644)
    prefix = AS_NOBODY if os.geteuid() == 0 else ()  # all processes of root belong to root
    process = subprocess.Popen([*prefix, BINARY, command, "--config", folder / "pgveil.toml"],
                               env=environment(), stderr=subprocess.PIPE, text=True)  # fmt: skip
    try:
        with open(folder / "pgveil.toml", "w", encoding="ascii") as configuration:
            owner = os.stat(f"/proc/{process.pid}/mem").st_uid
            configuration.write("limits = 1\n")
        assert "limits: must be a table" in process.communicate(timeout=PATIENCE)[1]
    finally:
        process.kill()
        process.wait()
    assert owner == 0  # without PR_SET_DUMPABLE the user of the process


def test_the_addresses_of_a_pgveil_that_runs_are_no_error(pgveil, postgres, folder):
    listeners = [{"address": f"unix:{folder}/.s.PGSQL.5432", "upstream": "a"}, {"address": "127.0.0.1:0", "upstream": "a"}]
    settings = {"listener": listeners, "upstream": {"a": postgres.unix_upstream()}}
    proxy = pgveil(configuration=settings)
    listeners[1]["address"] = f"127.0.0.1:{proxy.addresses[1][1]}"
    file = folder / "again.toml"
    file.write_text(toml(settings))
    done = run(BINARY, "check", "--config", file)
    assert done.returncode == 0, done.stderr
    assert proxy.query("SELECT 1", user="billing") == "1"


def test_run_names_every_address_that_is_in_use(folder):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        addresses = [f"127.0.0.1:{used.getsockname()[1]}" for used in (one, other)]
        file = folder / "pgveil.toml"
        listeners = [{"address": address, "upstream": "a"} for address in addresses]
        file.write_text(toml({"listener": listeners, "upstream": {"a": {"host": "/run"}}}))
        done = run(BINARY, "run", "--config", file)
    assert done.returncode == EX_UNAVAILABLE
    assert len(re.findall("listen_failed", done.stderr)) == 2
    assert all(address in done.stderr for address in addresses)


def test_too_few_descriptors_are_a_warning(folder):
    file = folder / "pgveil.toml"
    file.write_text(toml(configuration(limits={"max_sessions": 1000, "workers": 1})))
    done = run("prlimit", "--nofile=500:500", BINARY, "check", "--config", file)
    assert done.returncode == 0
    assert "warning: the limit of open files is 500, but 3073 are required\n" in done.stderr
