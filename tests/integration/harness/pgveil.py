"""pgveil under test: started with a configuration, ended with SIGINT."""

import json
import os
import signal
from pathlib import Path

from harness.processes import PATIENCE, POSTGRES_BIN, Daemon, environment, run
from harness.wire import Client

# All unit tests of the TLS layer, to be run with other releases of OpenSSL: the library is the one of the system.
TLS_TEST = Path(os.environ.get("PGVEIL_TLS_TEST", Path(__file__).resolve().parents[3] / "build/release/tests/tls/tls_test"))


def tls_test_needs_openssl_3() -> bool:
    """A Debian with OpenSSL 3 cannot run it otherwise."""
    return "libssl.so.3" in run("ldd", TLS_TEST).stdout


BINARY = Path(os.environ.get("PGVEIL", Path(__file__).resolve().parents[3] / "build/release/pgveil"))

# The settings `relay` and `tls_records` for all tests, if these variables are set. ctest runs some files once with each value.
RELAY = {name: value for name, value in os.environ.items() if name in ("PGVEIL_RELAY", "PGVEIL_TLS_RECORDS")}

# How it ends where it cannot start, after sysexits.h.
EX_USAGE = 64
EX_UNAVAILABLE = 69  # an address cannot be listened on, or the kernel has no io_uring for us
EX_CONFIG = 78  # errors in the configuration

# Built with a sanitizer: no bound on memory can be tested, and everything takes longer.
IS_SANITIZED = any(mark in BINARY.read_bytes() for mark in (b"__asan_init", b"__tsan_init")) if BINARY.exists() else False


def toml(configuration: dict) -> str:
    """{"listener": [...], "upstream": {name: {...}}, "limits": {...}, ...} as a TOML file."""
    lines = []

    def section(header: str, settings: dict) -> None:
        lines.append(header)
        # A TOML string, number or boolean is written as in JSON.
        lines.extend(f"{key} = {json.dumps(value)}" for key, value in settings.items() if key != "certificate")
        for certificate in settings.get("certificate", []):
            section(f"[{header.strip('[]')}.certificate]".join("[]"), certificate)

    for name, content in configuration.items():
        if name == "listener":
            for listener in content:
                section("[[listener]]", listener)
        elif name == "upstream":
            for upstream, settings in content.items():
                section(f"[upstream.{upstream}]", settings)
        else:
            section(f"[{name}]", content)
    return "\n".join(lines) + "\n"


class Pgveil(Daemon):
    """Listens once it is constructed. `addresses` are those of its listeners, in their order."""

    def __init__(self, *arguments, listeners: int = 1, prefix: tuple = (), pass_fds: tuple = (), **variables: str):
        super().__init__(BINARY, "run", *arguments, prefix=prefix, pass_fds=pass_fds,
                         env=environment(**{**RELAY, **variables}))  # fmt: skip
        try:
            # As key=value and as JSON.
            found = self.wait_for_lines(r'\blistening\b.*\baddress(?:="?|": ?")([^\s"]+)', listeners)
        except AssertionError:
            self.stop()
            raise
        self.addresses = [parse_address(match[1]) for match in found]
        self.address = self.addresses[0]

    def connect(self, patience: float = 20.0) -> Client:
        return Client(self.address, patience)

    def seconds_of_processor(self) -> float:
        """What the process has used so far, user and system."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            user, system = file.read().rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def connection_string(self, **parameters) -> str:
        """libpq's, for a client without TLS."""
        host, port = self.address if isinstance(self.address, tuple) else unix_host_and_port(self.address)
        settings = {"host": host, "port": port, "sslmode": "disable", "user": "trusted",
                    "dbname": "ledger", **parameters}  # fmt: skip
        return " ".join(f"{key}='{value}'" for key, value in settings.items())

    def tls_string(self, **parameters) -> str:
        """libpq's, for a client that knows whom it talks to; `sslrootcert` has to be given."""
        return self.connection_string(**{"host": "localhost", "hostaddr": self.address[0], "sslmode": "verify-full",
                                         **parameters})  # fmt: skip

    def psql(self, *commands: str, input: str | None = None, **parameters):
        """Runs psql through pgveil, with TLS off; each command stands for itself."""
        return psql(self.connection_string(**parameters), *commands, input=input)

    def query(self, sql: str, **parameters) -> str:
        """The rows of a query that must succeed."""
        done = self.psql(sql, **parameters)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def stop(self, number: signal.Signals = signal.SIGINT, patience: float = PATIENCE) -> int:
        """Ends all sessions at once. With SIGTERM, pgveil waits for their transactions."""
        return super().stop(number, patience)

    def reload(self) -> list[str]:
        """Sends SIGHUP; returns the lines of the log up to the one that says how this reload ended."""
        before = len(self.lines)
        self.send_signal(signal.SIGHUP)
        last = self.wait_for_line(r" (reloaded|reload_failed) trigger=SIGHUP .*", after=before).string
        lines = self.lines[before:]
        return lines[: lines.index(last) + 1]

    def end_of_session(self, after: int = 0) -> str:
        """The log line of the end of a session, which may be still to come."""
        return self.wait_for_line(r"session_closed.*", after=after).string

    def record_of_session(self) -> str:
        """The log line with all keys of a session that has ended or will end. `log.level` has to be debug."""
        return self.wait_for_line(r"session_record.*").string


def psql(connection_string: str, *commands: str, input: str | None = None):
    """Rows without decoration; the first error ends it. `input` is a script instead of commands."""
    words = [word for command in commands for word in ("-c", command)] or ["-f", "-"]
    return run(
        f"{POSTGRES_BIN}/psql", "--no-psqlrc", "--tuples-only", "--no-align", "--quiet",
        "-v", "ON_ERROR_STOP=1", *words, connection_string,
        **({"input": input, "stdin": None} if input is not None else {}),
    )  # fmt: skip


def parse_address(text: str):
    """`127.0.0.1:5432`, `[::1]:5432` or `unix:PATH`, as the log has it."""
    if text.startswith("unix:"):
        return text.removeprefix("unix:")
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


def unix_host_and_port(path: str) -> tuple[str, str]:
    directory, name = path.rsplit("/", 1)
    return directory, name.removeprefix(".s.PGSQL.")
