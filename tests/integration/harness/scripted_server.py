"""Servers that say what a test tells them to, true or not."""

import contextlib
import socket
import ssl
import struct
import threading
import warnings
from pathlib import Path

from harness import wire
from harness.certificates import Credentials
from harness.processes import PATIENCE


class Peer(wire.Conversation):
    """The server's end of one connection."""

    def __init__(self, connection: socket.socket):
        super().__init__(connection)
        self.startup: bytes | None = None  # the StartupMessage, without its length word
        self.rest: bytes | None = None  # what came between the last word of the script and the client's end
        self.error: Exception | None = None
        self.encrypted = threading.Event()  # the TLS handshake is complete at both ends, if it is TLS 1.3
        self.finished = threading.Event()

    def receive_ssl_request(self) -> None:
        """Ends the script if another request comes, as those of `pgveil doctor` do."""
        request = self.receive(8)
        if request != wire.SSL_REQUEST:
            raise wire.EndOfStream(f"{request!r} instead of an SSLRequest")

    def start_tls(
        self,
        credentials: Credentials,
        *,
        alpn: list[str] | None = None,
        curve: str | None = None,
        ciphers: str = "DEFAULT:@SECLEVEL=0",
        clients_of: Path | None = None,
        **limits,
    ) -> None:
        """`clients_of`: the authority of the certificate that each client must have; without it none is asked for."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # What a client may think of a weak key is for the client to say.
        context.set_ciphers(ciphers)
        context.load_cert_chain(credentials.certificate, credentials.key)
        if clients_of:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients_of)
        if alpn:
            context.set_alpn_protocols(alpn)
        if curve:
            context.set_ecdh_curve(curve)  # and no other group
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TLS 1.1, which is the point
            for limit, value in limits.items():
                setattr(context, limit, value)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.encrypted.set()

    def accept_tls(self, credentials: Credentials, **settings) -> None:
        """The regular beginning: SSLRequest, `S`, handshake."""
        self.receive_ssl_request()
        self.send(b"S")
        self.start_tls(credentials, **settings)

    def log_in(self, key: bytes = b"\x01\x02\x03\x04") -> None:
        """Takes whoever comes."""
        self.startup = self.receive_startup_packet()
        self.send(
            wire.message(b"R", struct.pack("!I", 0)),
            wire.message(b"S", b"server_version\x0015.0\0"),
            wire.message(b"S", b"client_encoding\0UTF8\0"),
            wire.message(b"K", struct.pack("!I", 4711) + key),
            wire.message(b"Z", b"I"),
        )

    def serve(self) -> None:
        """Answers every query with one row that says `verified`, until the client is gone."""
        column = b"\0\1" + b"answer\0" + struct.pack("!IhIhih", 0, 0, 25, -1, -1, 0)
        row = b"\0\1" + struct.pack("!I", 8) + b"verified"
        while self.receive_message()[0] == b"Q":
            self.send(
                wire.message(b"T", column),
                wire.message(b"D", row),
                wire.message(b"C", b"SELECT 1\0"),
                wire.message(b"Z", b"I"),
            )


class ScriptedServer:
    """Follows `script` in a thread for each connection, and remembers them all as `peers`."""

    def __init__(self, script, family=socket.AF_INET, address=("127.0.0.1", 0)):
        self._script = script
        self._listener = socket.create_server(address, family=family)
        self.port: int = 0 if family == socket.AF_UNIX else self._listener.getsockname()[1]
        self.peers: list[Peer] = []
        self._news = threading.Condition()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def upstream(self, **settings) -> dict:
        """The settings of pgveil that lead here."""
        return {"host": "localhost", "hostaddr": "127.0.0.1", "port": self.port, **settings}

    def peer(self, number: int = 0) -> Peer:
        """The connection of this number, which may be still to come."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.peers) > number, PATIENCE), "nobody connected"
            return self.peers[number]

    def finished_peer(self, number: int = 0) -> Peer:
        """The connection of this number, once its script has ended."""
        peer = self.peer(number)
        assert peer.finished.wait(PATIENCE), "the script does not end"
        return peer

    def wait_for_encrypted(self, count: int) -> None:
        """Until the TLS handshakes of the first `count` connections are complete."""
        for number in range(count):
            assert self.peer(number).encrypted.wait(PATIENCE), f"no TLS handshake with connection {number}"

    def stop(self) -> None:
        with contextlib.suppress(OSError):  # may be stopped before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.socket.shutdown(socket.SHUT_RDWR)  # wakes its thread
        for thread in self._threads:
            thread.join(PATIENCE)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            peer = Peer(connection)
            thread = threading.Thread(target=self._follow_script, args=(peer,), daemon=True)
            with self._news:
                self.peers.append(peer)
                self._threads.append(thread)
                self._news.notify_all()
            thread.start()

    def _follow_script(self, peer: Peer) -> None:
        try:
            self._script(peer)
            peer.rest = peer.receive_to_end()
        except (OSError, wire.EndOfStream) as error:  # ssl.SSLError is an OSError
            peer.error = error
        finally:
            peer.close()
            peer.finished.set()


def verified_session(credentials: Credentials, **settings):
    """The script of a server that behaves."""

    def script(peer: Peer) -> None:
        peer.accept_tls(credentials, **settings)
        peer.log_in()
        peer.serve()

    return script
