"""A PostgreSQL of the tests' own: TLS only over TCP, with a role for every way to log in."""

import contextlib
import os
import shutil
import signal
import socket
from pathlib import Path

from harness.certificates import Authority
from harness.processes import POSTGRES_BIN, Daemon, environment, run, run_or_fail
from harness.tree import Tree

# PostgreSQL refuses to run as root.
ACCOUNT = "postgres" if os.geteuid() == 0 else None

SETTINGS = """
listen_addresses = '127.0.0.1'
max_connections = 60
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
ssl_ca_file = 'clients.crt'
password_encryption = 'scram-sha-256'
wal_level = logical
max_wal_senders = 4
max_replication_slots = 4
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
"""

# No `host` line: whoever comes over TCP without TLS is refused.
HBA = """
local    all          postgres                  trust
local    all          billing,orders            trust
local    all          all                       scram-sha-256
hostssl  replication  replicator  127.0.0.1/32  scram-sha-256
hostssl  all          trusted     127.0.0.1/32  trust
hostssl  all          old         127.0.0.1/32  md5
hostssl  all          certified   127.0.0.1/32  cert
hostssl  all          billing     127.0.0.1/32  cert map=proxies
hostssl  all          all         127.0.0.1/32  scram-sha-256
"""

# The certificate of a pgveil may be the roles as which pgveil logs in on behalf of clients.
IDENT = """
proxies  pgveil  billing
"""

PASSWORD = "correct horse"

ROLES = f"""
CREATE ROLE app LOGIN PASSWORD '{PASSWORD}';
CREATE ROLE trusted LOGIN SUPERUSER;
CREATE ROLE certified LOGIN;
CREATE ROLE billing LOGIN;
CREATE ROLE orders LOGIN;
CREATE ROLE replicator LOGIN REPLICATION PASSWORD '{PASSWORD}';
SET password_encryption = 'md5';
CREATE ROLE old LOGIN PASSWORD '{PASSWORD}';
RESET password_encryption;
CREATE DATABASE ledger OWNER app;
"""


class Cluster:
    """Runs from construction to stop(). `authority` issues its certificate and those of its clients; `tree` has
    another PostgreSQL than the machine's, and `binaries` is the directory of another one of the machine's."""

    def __init__(self, directory: Path, authority: Authority, tree: Tree | None = None, binaries: str = POSTGRES_BIN):
        self.directory = directory
        self.tree = tree
        self.binaries = binaries
        self.authority = authority
        self.data = directory / "data"
        self._hba, self._ident = HBA, IDENT
        directory.mkdir()
        self._own(directory)
        self._as_owner("initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8",
                       "--locale=C.UTF-8", "--pgdata", self.data)  # fmt: skip
        self._configure()
        self._starts = 1
        self._start()
        self.admin(ROLES)

    def upstream(self, **settings) -> dict:
        """The settings of pgveil that lead here."""
        return {
            "host": "localhost",
            "hostaddr": "127.0.0.1",
            "port": self.port,
            "sslrootcert": str(self.authority.file),
            **settings,
        }

    def unix_upstream(self, **settings) -> dict:
        """The settings of pgveil that lead to the Unix socket, without TLS."""
        return {"host": str(self.directory), "port": self.port, **settings}

    def admin(self, sql: str, database: str = "postgres") -> str:
        """Runs SQL as superuser through the Unix socket, beside pgveil; answers the rows."""
        return run_or_fail(
            f"{POSTGRES_BIN}/psql", "--no-psqlrc", "--tuples-only", "--no-align", "--quiet",
            "-v", "ON_ERROR_STOP=1", "-f", "-",
            f"host={self.directory} port={self.port} user=postgres dbname={database}",
            input=sql, stdin=None,
        ).strip()  # fmt: skip

    @property
    def lines(self) -> list[str]:
        """Its log."""
        return self._postmaster.lines

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    @contextlib.contextmanager
    def reconfigured(self, *, hba: str | None = None, ident: str | None = None, **settings):
        """For the time of a `with`: other files and settings, as far as a reload takes them."""
        files = self._hba, self._ident
        commands = [f"ALTER SYSTEM SET {name} = '{value}'" for name, value in settings.items()]
        self._reconfigure(files[0] if hba is None else hba, files[1] if ident is None else ident, commands)
        try:
            yield self
        finally:
            self._reconfigure(*files, [f"ALTER SYSTEM RESET {name}" for name in settings])

    def _reconfigure(self, hba: str, ident: str, commands: list[str]) -> None:
        self._hba, self._ident = hba, ident
        # admin() has to get in, whatever is tried.
        self._place("pg_hba.conf", f"local all postgres trust\n{hba}".encode())
        self._place("pg_ident.conf", ident.encode())
        before = len(self._postmaster.lines)
        self.admin(";\n".join([*commands, "SELECT pg_reload_conf()"]))
        # Whoever is accepted after this line is accepted after all of the reload.
        self._postmaster.wait_for_line("received SIGHUP", after=before)
        self.admin("SELECT 1")
        said = "\n".join(self._postmaster.lines[before:])
        # Not "could not": a backend may say that of a client that is just leaving.
        assert "not reloaded" not in said and "contains errors" not in said, said

    @contextlib.contextmanager
    def presenting(self, credentials, **changes):
        """As reconfigured(), with another certificate of the server."""
        self._present(credentials)
        with self.reconfigured(**changes):
            try:
                yield self
            finally:
                self._present(self.credentials)

    def _present(self, credentials) -> None:
        self._place("server.crt", credentials.certificate.read_bytes())
        self._place("server.key", credentials.key.read_bytes())

    def await_recovery(self) -> None:
        """After one of its processes was killed: until it has ended all others and takes connections again."""
        self._starts += 1
        self._postmaster.wait_for_lines("database system is ready to accept connections", self._starts)

    def stop(self) -> None:
        # Immediate shutdown: the data is thrown away in any case.
        self._postmaster.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _configure(self) -> None:
        self.credentials = self.authority.issue("localhost", dns=["localhost"])
        self._present(self.credentials)
        self._place("clients.crt", self.authority.file.read_bytes())
        self._place("pg_hba.conf", HBA.encode())
        self._place("pg_ident.conf", IDENT.encode())
        with open(self.data / "postgresql.conf", "a", encoding="ascii") as file:
            file.write(SETTINGS + f"unix_socket_directories = '{self.directory}'\n")

    def _start(self) -> None:
        # PostgreSQL does not take port 0: another process may take the free one first, so there are some tries.
        for _ in range(5):
            with socket.create_server(("127.0.0.1", 0)) as probe:
                self.port = probe.getsockname()[1]
            self._postmaster = self._daemon("postgres", "-D", self.data, "-p", self.port)
            try:
                self._postmaster.wait_for_line("database system is ready to accept connections")
                return
            except AssertionError:
                if "could not bind" not in self._postmaster.log:
                    raise
                self._postmaster.wait()
        raise AssertionError("no free port could be kept")

    def _daemon(self, program: str, *arguments) -> Daemon:
        if self.tree:
            return Daemon(*self.tree.command(program, *arguments, user=ACCOUNT), last_signal="QUIT")
        prefix = ("setpriv", "--reuid", ACCOUNT, "--regid", ACCOUNT, "--clear-groups") if ACCOUNT else ()
        return Daemon(f"{self.binaries}/{program}", *arguments, prefix=prefix, last_signal="QUIT")

    def _as_owner(self, program: str, *arguments) -> None:
        if self.tree:
            done = run(*self.tree.command(program, *arguments, user=ACCOUNT), cwd="/")
        else:
            done = run(f"{self.binaries}/{program}", *arguments, user=ACCOUNT, cwd="/", env=environment())
        assert done.returncode == 0, done.stderr

    def _place(self, name: str, content: bytes) -> None:
        path = self.data / name
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        self._own(path)

    def _own(self, path: Path) -> None:
        if ACCOUNT:
            shutil.chown(path, ACCOUNT, ACCOUNT)
