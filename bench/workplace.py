"""What the measurements stand on: a directory, certificates, a private PostgreSQL, and processes that end with us."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

POSTGRES_BIN = Path("/usr/lib/postgresql/15/bin")
CLIENT_NAME = "workload"  # in the client's certificate
PATIENCE = 30.0  # seconds for anything to start, on a busy machine


class Failure(Exception):
    """The measurement cannot go on; the text says why."""


def environment(**extra):
    """Nothing of whoever runs this: no PG* variables, no password files."""
    return {
        "PATH": f"{POSTGRES_BIN}:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": "/nonexistent",
        "PGPASSFILE": "/nonexistent/.pgpass",
        "PGCONNECT_TIMEOUT": "20",
        **extra,
    }


def run(*command, timeout=120.0, **settings):
    """Runs a program that must succeed, to its end; answers what it wrote."""
    command = [str(word) for word in command]
    settings.setdefault("env", environment())
    settings.setdefault("stdin", subprocess.DEVNULL)
    settings.setdefault("stdout", subprocess.PIPE)
    try:
        done = subprocess.run(
            command, stderr=subprocess.PIPE, text=True, errors="replace", timeout=timeout, check=False, **settings
        )
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{' '.join(command)}: not done after {timeout:.0f} seconds") from error
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout or ''}{done.stderr}")
    return done.stdout or ""


def free_port():
    """A port of 127.0.0.1 that nobody had a moment ago, for programs that cannot take port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Workplace:
    """Owns everything that is started or written; close() stops and removes it."""

    def __init__(self, pump):
        self.directory = Path(tempfile.mkdtemp(prefix="pgveil-bench-"))
        self.directory.chmod(0o755)
        self.processes = []
        self.postgres_port = None
        self.as_root = os.geteuid() == 0
        # PostgreSQL and PgBouncer refuse to run as root: then everything runs under PostgreSQL's account.
        self.account = pwd.getpwnam("postgres") if self.as_root else pwd.getpwuid(os.geteuid())
        # Wherever the checkout is, that account may not get to it.
        self.pump = self.adopt(pump)

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

    def adopt(self, program):
        """A copy that stays the same when somebody builds meanwhile."""
        copy = self.directory / Path(program).name
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
        identity = ["--reuid", "postgres", "--regid", "postgres", "--clear-groups"] if self.as_root else []
        return ["setpriv", "--pdeathsig", "TERM", *identity, "--", *map(str, command)]

    def start(self, name, command, **settings):
        """Starts a program beside us, under the unprivileged account; its output goes to NAME.log."""
        log = open(self.directory / f"{name}.log", "w", encoding="utf-8")
        settings.setdefault("stdin", subprocess.DEVNULL)
        settings.setdefault("stdout", log)
        process = subprocess.Popen(
            self.unprivileged(command), cwd="/", env=environment(), stderr=log, text=True, **settings
        )
        log.close()
        self.processes.append(process)
        return process

    def log_of(self, name):
        return (self.directory / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def wait_for(self, what, process, name):
        """Polls `what` until it answers something; fails with the program's log when it ends before."""
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
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "3"]
        at = self.directory
        run("openssl", "req", "-x509", *new_key, "-keyout", at / "ca.key", "-out", at / "ca.crt",
            "-subj", "/CN=pgveil bench CA")  # fmt: skip
        run("openssl", "req", "-x509", *new_key, "-keyout", at / "server.key", "-out", at / "server.crt",
            "-CA", at / "ca.crt", "-CAkey", at / "ca.key", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE",
            "-addext", "extendedKeyUsage=serverAuth")  # fmt: skip
        run("openssl", "req", "-x509", *new_key, "-keyout", at / "client.key", "-out", at / "client.crt",
            "-CA", at / "ca.crt", "-CAkey", at / "ca.key", "-subj", f"/CN={CLIENT_NAME}",
            "-addext", "basicConstraints=CA:FALSE", "-addext", "extendedKeyUsage=clientAuth")  # fmt: skip
        # HAProxy wants both in one file.
        both = (at / "server.crt").read_text(encoding="ascii") + (at / "server.key").read_text(encoding="ascii")
        self.write("server.pem", both)
        for name in ["server.key", "server.crt", "client.key", "client.crt"]:
            os.chown(at / name, self.account.pw_uid, self.account.pw_gid)
            (at / name).chmod(0o600)
        (at / "ca.crt").chmod(0o644)
        self.ca = at / "ca.crt"

    def start_postgres(self):
        """A PostgreSQL with TLS on 127.0.0.1, warm, whose disk does not matter."""
        data = self.directory / "data"
        data.mkdir(mode=0o700)
        os.chown(data, self.account.pw_uid, self.account.pw_gid)
        initdb = [POSTGRES_BIN / "initdb", "--no-sync", "--auth=trust", "--username=bench", data]
        run(*self.unprivileged(initdb), cwd="/")
        settings = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": 100, "ssl": "on",
            "ssl_cert_file": self.directory / "server.crt", "ssl_key_file": self.directory / "server.key",
            "fsync": "off", "synchronous_commit": "off", "autovacuum": "off", "max_wal_size": "4GB",
        }  # fmt: skip
        for _ in range(5):
            self.postgres_port = free_port()
            words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
            process = self.start(
                "postgres", [POSTGRES_BIN / "postgres", "-D", data, "-p", self.postgres_port, *words]
            )
            try:
                self.wait_for(self._postgres_answers, process, "postgres")
                break
            except Failure:
                if "Address already in use" not in self.log_of("postgres"):
                    raise
        run(POSTGRES_BIN / "createdb", *self._connection(), "bench")
        run(POSTGRES_BIN / "pgbench", *self._connection(), "-i", "-q", "-s", "1", "bench")
        self.sql("CREATE TABLE sink (line text)")

    def sql(self, text):
        return run(POSTGRES_BIN / "psql", *self._connection(), "-XAtc", text, "bench").strip()

    def _connection(self):
        return ["-h", "127.0.0.1", "-p", self.postgres_port, "-U", "bench"]

    def _postgres_answers(self):
        ready = [POSTGRES_BIN / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.postgres_port)]
        return subprocess.run(ready, env=environment(), check=False).returncode == 0

    def start_pump_server(self):
        """The fake server of pump.cc; answers its port."""
        process = self.start(
            "pump",
            [self.pump, "serve", self.directory / "server.crt", self.directory / "server.key"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        line = process.stdout.readline()
        if not line.startswith("port "):
            raise Failure(f"pump does not start:\n{self.log_of('pump')}")
        return int(line.split()[1])
