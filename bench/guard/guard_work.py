"""The work that bench/guard/run measures: the site and the client. Sessions and transactions come one after the other,
so that each run of the same work takes the same steps, even on a busy machine. The server is `pump serve`,
the clients are here."""

import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import common
from common import Authority, Failure, port_of

PATIENCE = 60.0  # seconds for anything to happen, under valgrind and on a busy machine

_PROTOCOL_3_0 = 196608
_SSL_REQUEST = 80877103


def environment():
    """As common.environment(). Large copies are made in the same way on every processor, and not by `rep movsb`, which
    callgrind would count by the byte."""
    never = 1 << 30
    tunables = f"glibc.cpu.x86_rep_movsb_threshold={never}:glibc.cpu.x86_rep_stosb_threshold={never}"
    return common.environment(GLIBC_TUNABLES=tunables)


def run(*command):
    """As common.run(), with that environment."""
    return common.run(*command, timeout=PATIENCE, env=environment())


# --- what pgveil stands between -------------------------------------------------------------------------------------


class Site:
    """Certificates, the server, and a configuration with a listener for each kind of session."""

    KINDS = ("plain", "egress", "ingress", "login")  # in the order of the listeners

    def __init__(self, pgveil, pump):
        self.directory = Path(tempfile.mkdtemp(prefix="pgveil-guard-"))
        self._pgveil = pgveil
        self._log = self.directory / "pgveil.log"
        self._make_certificates()
        self._server = subprocess.Popen(
            [pump, "serve", self.directory / "server.crt", self.directory / "server.key"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
        )  # fmt: skip
        self._configure(port_of(self._server))
        self.engines = ["epoll", "io_uring"] if self._has_io_uring() else ["epoll"]

    def close(self):
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait(PATIENCE)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _make_certificates(self):
        authority = Authority(self.directory, "guard CA")
        authority.issue("server", "localhost", "serverAuth", "DNS:localhost")
        authority.issue("client", "workload", "clientAuth", "DNS:workload")

    def _configure(self, port):
        at = self.directory
        passwords = at / "pgpass"
        passwords.write_text("*:*:*:scram:bench\n", encoding="ascii")
        passwords.chmod(0o600)
        certificate = f'ssl_cert_file = "{at}/server.crt"\nssl_key_file = "{at}/server.key"'
        text = f"""
[[listener]]  # plain: no TLS at all
address = "127.0.0.1:0"
upstream = "plain"
[[listener]]  # egress
address = "127.0.0.1:0"
upstream = "verified"
[[listener]]  # ingress
address = "127.0.0.1:0"
upstream = "plain"
{certificate}
[[listener]]  # login: a certificate on one side, SCRAM-SHA-256-PLUS on the other
address = "127.0.0.1:0"
upstream = "verified"
{certificate}
ssl_ca_file = "{at}/ca.crt"
hba = "hostssl all all all cert map=guard assign=1"
ident = "guard workload scram"

[upstream.plain]
host = "127.0.0.1"
port = {port}
sslmode = "disable"
[upstream.verified]
host = "localhost"
hostaddr = "127.0.0.1"
port = {port}
sslrootcert = "{at}/ca.crt"
passfile = "{at}/pgpass"

[limits]
workers = 1
max_sessions = 100
tls_records = "own"
"""
        (at / "pgveil.toml").write_text(text, encoding="ascii")

    def _has_io_uring(self):
        """Whether the kernel lets pgveil have it."""
        with self.pgveil([], "auto"):
            return re.search(r" relay engine=io_uring\b", self._log.read_text("utf-8")) is not None

    def tls(self, kind):
        """What a client of that kind needs; nothing for plaintext."""
        if kind not in ("ingress", "login"):
            return None
        context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if kind == "login":
            context.load_cert_chain(self.directory / "client.crt", self.directory / "client.key")
        return context

    @contextlib.contextmanager
    def pgveil(self, tool, relay):
        """pgveil with `tool` (a command line) in front of it, until the block ends. Returns the ports by kind."""
        command = [*tool, self._pgveil, "run", "--config", self.directory / "pgveil.toml", "--relay", relay]
        with self._log.open("w", encoding="utf-8") as stream:
            process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                env=environment(), cwd=self.directory,
            )  # fmt: skip
        try:
            ports = self._wait_for_ports(process)
            self._program = _traced(process.pid)
            yield dict(zip(self.KINDS, ports, strict=True))
            self.settle()
            os.kill(self._program, signal.SIGTERM)
            if process.wait(PATIENCE) != 0:
                raise Failure(f"pgveil: exit code {process.returncode}\n{self._log.read_text('utf-8')}")
        finally:
            process.kill()
            process.wait()

    def settle(self):
        """Returns once pgveil and the server wait for something: whatever comes then finds them in the same state
        every time. Both are found asleep twice, for one of them may just be about to go on."""
        deadline = time.monotonic() + PATIENCE
        times = 0
        while times < 2:
            times = times + 1 if _is_asleep(self._program) and _is_asleep(self._server.pid) else 0
            if time.monotonic() > deadline:
                raise Failure("pgveil does not come to rest")
            time.sleep(0.0005)

    def _wait_for_ports(self, process):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            ports = re.findall(r" listening address=127\.0\.0\.1:(\d+) ", self._log.read_text("utf-8"))
            if len(ports) == len(self.KINDS):
                return [int(port) for port in ports]
            time.sleep(0.02)
        raise Failure(f"pgveil does not start:\n{self._log.read_text('utf-8')}")


def _traced(pid):
    """The program that a tool runs: strace's only child; valgrind has become it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return int(children[0]) if children else pid


def _is_asleep(pid):
    """Every thread of it: one that is traced and stopped is not."""
    for file in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            if file.read_text("ascii", errors="replace").rpartition(")")[2].split()[0] != "S":
                return False
    return True


# --- a client -------------------------------------------------------------------------------------------------------


class Client:
    """One session, logged in. `tls`: over TLS, asked for by SSLRequest. Before it does anything, it lets the site
    settle."""

    def __init__(self, site, port, tls=None):
        self._site = site
        site.settle()
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tls = None
        self._bytes = b""
        if tls:
            self._begin_tls(tls)
        parameters = b"user\0bench\0database\0bench\0\0"
        self._send(struct.pack("!ii", 8 + len(parameters), _PROTOCOL_3_0) + parameters)
        self._skip_until(b"Z")

    def ask(self):
        """A small query and its small answer."""
        self._send(_message(b"Q", b"ping\0"))
        self._skip_until(b"Z")

    def leave(self):
        self._send(_message(b"X", b""))
        while self._socket.recv(65536):
            pass
        self._site.settle()
        self._socket.close()

    def _begin_tls(self, context):
        self._send(struct.pack("!ii", 8, _SSL_REQUEST))
        if self._socket.recv(1) != b"S":
            raise Failure("pgveil does not take TLS")
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
            self._site.settle()
            self._socket.sendall(self._outgoing.read())
            self._incoming.write(self._some())
        # The last flight waits for the StartupMessage: sent alone, it would reach pgveil now and then before it.
        self._tls = tls

    def _send(self, data):
        if self._tls:
            self._tls.write(data)
            data = self._outgoing.read()
        self._site.settle()
        self._socket.sendall(data)

    def _some(self):
        received = self._socket.recv(65536)
        if not received:
            raise Failure("pgveil has closed a session too early")
        return received

    def _receive(self):
        if not self._tls:
            return self._some()
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                return self._tls.read(65536)
            self._incoming.write(self._some())

    def _skip_until(self, wanted):
        while True:
            while len(self._bytes) >= 5 and len(self._bytes) > (size := struct.unpack_from("!i", self._bytes, 1)[0]):
                kind, self._bytes = self._bytes[:1], self._bytes[1 + size :]
                if kind == wanted:
                    return
                if kind == b"E":
                    raise Failure("pgveil or the server ended a session with an ErrorResponse")
            self._bytes += self._receive()


def _message(kind, body):
    return kind + struct.pack("!i", len(body) + 4) + body
