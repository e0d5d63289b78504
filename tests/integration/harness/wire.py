"""The PostgreSQL wire by hand: packets as bytes, and a client that can say anything."""

import select
import socket
import struct
import time

SSL_REQUEST = bytes.fromhex("00000008 04d2162f")
GSSENC_REQUEST = bytes.fromhex("00000008 04d21630")
PROTOCOL_3_0 = 0x00030000
PROTOCOL_3_2 = 0x00030002


def startup_packet(body: bytes) -> bytes:
    return struct.pack("!I", len(body) + 4) + body


def startup_message(*pairs: tuple[str, str], version: int = PROTOCOL_3_0, **parameters: str) -> bytes:
    """Takes pairs beside keywords, since a name may have to come twice."""
    texts = [text for pair in (*pairs, *parameters.items()) for text in pair]
    return startup_packet(
        struct.pack("!I", version) + b"".join(text.encode() + b"\0" for text in texts) + b"\0"
    )


def cancel_request(process_id: int, key: bytes) -> bytes:
    return startup_packet(struct.pack("!II", 80877102, process_id) + key)


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def query(sql: str) -> bytes:
    return message(b"Q", sql.encode() + b"\0")


def parse(sql: str) -> bytes:
    return message(b"P", b"\0" + sql.encode() + b"\0" + b"\0\0")


BIND = message(b"B", b"\0\0" + b"\0\0" * 3)
EXECUTE = message(b"E", b"\0" + b"\0" * 4)
SYNC = message(b"S")
TERMINATE = message(b"X")


def error_response(severity: str, sqlstate: str, text: str) -> bytes:
    fields = {b"S": severity, b"V": severity, b"C": sqlstate, b"M": text}
    body = b"".join(code + value.encode() + b"\0" for code, value in fields.items())
    return message(b"E", body + b"\0")


# Begins the message of an error that pgveil itself has made.
OWN = "pgveil: "


def error_fields(body: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse by their letters, such as C (SQLSTATE), M, D (DETAIL) and H (HINT)."""
    fields = body.rstrip(b"\0").split(b"\0")
    return {field[:1].decode(): field[1:].decode() for field in fields}


class EndOfStream(Exception):
    """The peer closed, where more was expected."""


class Conversation:
    """One end of a connection, with deadlines."""

    def __init__(self, connection: socket.socket, patience: float = 20.0):
        self.socket = connection
        self.socket.settimeout(patience)

    def send(self, *parts: bytes) -> None:
        self.socket.sendall(b"".join(parts))

    def receive(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            part = self.socket.recv(min(size - len(received), 1 << 20))
            if not part:
                raise EndOfStream(f"after {len(received)} of {size} bytes: {bytes(received)!r}")
            received += part
        return bytes(received)

    def receive_to_end(self) -> bytes:
        received = bytearray()
        try:
            while part := self.socket.recv(1 << 16):
                received += part
        except ConnectionResetError:
            pass
        return bytes(received)

    def receive_message(self) -> tuple[bytes, bytes]:
        kind, length = struct.unpack("!cI", self.receive(5))
        return kind, self.receive(length - 4)

    def receive_until(self, wanted: bytes) -> list[tuple[bytes, bytes]]:
        """All messages up to the first of kind `wanted`."""
        messages = [self.receive_message()]
        while messages[-1][0] != wanted:
            messages.append(self.receive_message())
        return messages

    def receive_error(self) -> dict[str, str]:
        kind, body = self.receive_message()
        assert kind == b"E", f"an ErrorResponse was expected, and {kind!r} {body!r} came"
        return error_fields(body)

    def receive_startup_packet(self) -> bytes:
        """Without its length word."""
        return self.receive(struct.unpack("!I", self.receive(4))[0] - 4)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Client(Conversation):
    """A client of pgveil. `address` is a path, or a host and a port; `source` is the address that it comes from."""

    def __init__(self, address, patience: float = 20.0, *, source: str = ""):
        if isinstance(address, str):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(patience)
            # `@` stands for the abstract namespace, as in libpq.
            connection.connect("\0" + address[1:] if address.startswith("@") else address)
        else:
            connection = socket.create_connection(address, timeout=patience, source_address=(source, 0))
        super().__init__(connection, patience)
        self.process_id = 0
        self.key = b""

    def log_in(self, *, version: int = PROTOCOL_3_0, **parameters: str) -> list[tuple[bytes, bytes]]:
        """As a role that needs no password; answers everything up to ReadyForQuery."""
        self.send(startup_message(version=version, **parameters))
        messages = self.receive_until(b"Z")
        key_data = dict(messages)[b"K"]
        self.process_id, self.key = struct.unpack("!I", key_data[:4])[0], key_data[4:]
        return messages

    def rows(self, sql: str) -> list[bytes]:
        """The bodies of the DataRows that `sql` brings."""
        self.send(query(sql))
        return [body for kind, body in self.receive_until(b"Z") if kind == b"D"]

    def seconds_until_closed(self) -> float:
        started = time.monotonic()
        self.receive_to_end()
        return time.monotonic() - started


def wait_readable(descriptor: int, patience: float = 20.0) -> None:
    readable, _, _ = select.select([descriptor], [], [], patience)
    assert readable, f"nothing came within {patience} s"
