"""TLS whose records are in the hands of a test: several may go out in one piece, and be broken."""

import socket
import ssl


class RawTls:
    """One end of a connection. encrypt() and close_notify() return what is to be sent; nothing goes out by itself after
    the handshake."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, *, server_side: bool, name: str | None = None):
        self.socket = connection
        self.ended_with_close_notify = None  # whether it did, once it has
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # which Python sets: both ends would look alike
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side, server_hostname=name)
        self._retry(self._tls.do_handshake)

    def encrypt(self, *parts: bytes) -> bytes:
        self._tls.write(b"".join(parts))
        return self._outgoing.read()

    def close_notify(self) -> bytes:
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # the answer of the peer is still to come
        return self._outgoing.read()

    def broken_record(self) -> bytes:
        """A record that cannot be decrypted."""
        return b"\x17\x03\x03\x00\x40" + bytes(64)

    def receive(self) -> bytes:
        """At least a byte, or nothing at the end."""
        return self._retry(lambda: self._tls.read(1 << 16))

    def receive_until(self, wanted: bytes) -> bytes:
        """Everything up to a part that ends with `wanted`."""
        received = b""
        while not received.endswith(wanted):
            part = self.receive()
            assert part, f"the peer closed after {received!r}"
            received += part
        return received

    def receive_to_end(self) -> bytes:
        received = b""
        while part := self.receive():
            received += part
        return received

    def _retry(self, step):
        while True:
            try:
                result = step()
                self._flush()
                if result == b"":
                    self.ended_with_close_notify = True
                return result
            except ssl.SSLWantReadError:
                self._flush()
                part = self.socket.recv(1 << 16)
                if part:
                    self._incoming.write(part)
                else:
                    self._incoming.write_eof()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                if error.reason != "UNEXPECTED_EOF_WHILE_READING" and not isinstance(error, ssl.SSLEOFError):
                    raise
                self.ended_with_close_notify = False
                return b""

    def _flush(self) -> None:
        if waiting := self._outgoing.read():
            self.socket.sendall(waiting)
