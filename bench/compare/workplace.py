"""What the measurements stand on: a directory, certificates, a private PostgreSQL, and processes that end with us."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from common import PATH, Authority, Failure, environment, port_of, run

CLIENT_NAME = "workload"  # in the client's certificate
PATIENCE = 30.0  # seconds for anything to start, on a busy machine
_MOST_BACKENDS = 500  # poolers keep theirs, of every contender and mode


class Server(NamedTuple):
    """Where a server listens: with TLS on a port of 127.0.0.1, without on the Unix socket of that name."""

    port: int
    folder: Path

    @property
    def socket(self):
        return self.folder / f".s.PGSQL.{self.port}"


def free_port():
    """A port of 127.0.0.1 that nobody had a moment ago, for programs that cannot take port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Here:
    """Where programs come from: this machine. tree.Tree is another Debian, with the same members."""

    root = Path("/")

    def __init__(self):
        # PostgreSQL and PgBouncer refuse to run as root: then everything runs under PostgreSQL's account.
        try:
            self.account = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        except KeyError as error:
            raise Failure("root needs an account that PostgreSQL can run under: install PostgreSQL") from error

    def enter(self):
        """The words before a command that make it one of these programs, and the account its own."""
        account = ["--reuid", str(self.account.pw_uid), "--regid", str(self.account.pw_gid), "--clear-groups"]
        return ["setpriv", *(account if os.geteuid() == 0 else []), "--"]

    def share(self, directory):
        """Shows a directory to the programs, under the name that it has here."""


class Workplace:
    """Owns everything that is started or written; close() stops and removes it."""

    def __init__(self, pump=None, debian=None):
        self.debian = debian or Here()
        self.account = self.debian.account
        self.directory = Path(tempfile.mkdtemp(prefix="pgveil-bench-"))
        self.directory.chmod(0o755)
        self.debian.share(self.directory)
        self.folder = self.directory / "run"  # of Unix sockets, and what programs write
        self.folder.mkdir()
        os.chown(self.folder, self.account.pw_uid, self.account.pw_gid)
        self.processes = []
        self.postgres = None
        self.postgres_major = max(
            (int(path.name) for path in self.debian.root.glob("usr/lib/postgresql/*") if path.name.isdigit()), default=0
        )
        # Wherever the checkout is, that account may not get to it.
        try:
            self.pump = self.adopt(pump) if pump else None
        except OSError:
            self.close()
            raise

    def close(self):
        for process in reversed(self.processes):
            process.terminate()  # PostgreSQL comes last: it waits for its clients
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()
        shutil.rmtree(self.directory, ignore_errors=True)

    def adopt(self, program, name=None):
        """A copy that stays the same when somebody builds meanwhile."""
        copy = self.directory / (name or Path(program).name)
        copy.unlink(missing_ok=True)  # one that runs stays what it is
        shutil.copy(program, copy)
        copy.chmod(0o755)
        return copy

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        os.chown(path, self.account.pw_uid, self.account.pw_gid)
        return path

    def unprivileged(self, command):
        """The command under the account; the kernel ends it should this script be killed."""
        return [*self.debian.enter(), "setpriv", "--pdeathsig", "TERM", "--", *map(str, command)]

    def environment(self, **extra):
        return environment(PATH=f"/usr/lib/postgresql/{self.postgres_major}/bin:{PATH}", **extra)

    def run(self, *command, env=None, **settings):
        """As run(), for a program of the Debian that is measured, under the account."""
        return run(*self.unprivileged(command), cwd="/", env=self.environment(**(env or {})), **settings)

    def spawn(self, *command, **settings):
        """A client of a measurement: the caller ends it."""
        return subprocess.Popen(self.unprivileged(command), cwd="/", env=self.environment(), text=True, **settings)

    def start(self, name, command, **settings):
        """Starts a program beside us, under the unprivileged account; its output goes to NAME.log."""
        with open(self.directory / f"{name}.log", "w", encoding="utf-8") as log:
            settings.setdefault("stdin", subprocess.DEVNULL)
            settings.setdefault("stdout", log)
            process = self.spawn(*command, stderr=log, **settings)
        self.processes.append(process)
        return process

    def stop(self, process):
        """Ends one before the others."""
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.processes.remove(process)

    def log_of(self, name):
        return (self.directory / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def wait_for(self, what, process, name):
        """Polls `what` until it returns something; fails with the program's log if it ends before."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = what()
            if found:
                return found
            if process.poll() is not None:
                break
            time.sleep(0.02)
        raise Failure(f"{name} does not start:\n{self.log_of(name)}")

    def make_certificates(self):
        """A CA, a certificate of it for localhost and 127.0.0.1, and one for a client (ECDSA P-256)."""
        at = self.directory
        authority = Authority(at, "pgveil bench CA")
        authority.issue("server", "localhost", "serverAuth", "DNS:localhost,IP:127.0.0.1")
        authority.issue("client", CLIENT_NAME, "clientAuth")
        # HAProxy and hitch want both in one file.
        both = (at / "server.crt").read_text(encoding="ascii") + (at / "server.key").read_text(encoding="ascii")
        self.write("server.pem", both)
        for name in ["server.key", "server.crt", "client.key", "client.crt"]:
            os.chown(at / name, self.account.pw_uid, self.account.pw_gid)
            (at / name).chmod(0o600)
        (at / "ca.crt").chmod(0o644)
        self.ca = at / "ca.crt"

    def start_postgres(self):
        """A PostgreSQL with TLS on 127.0.0.1 and a Unix socket, warm, whose disk does not matter."""
        data = self.directory / "data"
        data.mkdir(mode=0o700)
        os.chown(data, self.account.pw_uid, self.account.pw_gid)
        self.run("initdb", "--no-sync", "--auth=trust", "--username=bench", data)
        settings = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder,
            "max_connections": _MOST_BACKENDS, "ssl": "on",
            "ssl_cert_file": self.directory / "server.crt", "ssl_key_file": self.directory / "server.key",
            "fsync": "off", "synchronous_commit": "off", "autovacuum": "off", "max_wal_size": "4GB",
        }  # fmt: skip
        for _ in range(5):
            self.postgres = Server(free_port(), self.folder)
            words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
            process = self.start("postgres", ["postgres", "-D", data, "-p", self.postgres.port, *words])
            try:
                self.wait_for(self._postgres_answers, process, "postgres")
                break
            except Failure:
                if "Address already in use" not in self.log_of("postgres"):
                    raise
        self.run("createdb", *self._connection(), "bench")
        self.run("pgbench", *self._connection(), "-i", "-q", "-s", "1", "bench")
        self.sql("CREATE TABLE sink (line text)")

    def sql(self, text):
        return self.run("psql", *self._connection(), "-XAtc", text, "bench").strip()

    def _connection(self):
        return ["-h", "127.0.0.1", "-p", self.postgres.port, "-U", "bench"]

    def _postgres_answers(self):
        ready = self.unprivileged(["pg_isready", "-q", "-h", "127.0.0.1", "-p", self.postgres.port])
        return subprocess.run(ready, cwd="/", env=self.environment(), check=False).returncode == 0

    def start_pump_server(self):
        """The fake server of pump.cc."""
        process = self.start(
            "pump",
            [self.pump, "serve", self.directory / "server.crt", self.directory / "server.key", self.folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            return Server(port_of(process), self.folder)
        except Failure as failure:
            raise Failure(f"{failure}:\n{self.log_of('pump')}") from failure
