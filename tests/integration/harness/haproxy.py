"""HAProxy in front of pgveil or behind it, and the headers of the PROXY protocol by hand."""

import contextlib
import socket
import struct
from ipaddress import ip_address
from pathlib import Path

from harness.processes import Daemon

BINARY = "/usr/sbin/haproxy"

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
UNSPEC, TCP4, TCP6, UNIX = 0x00, 0x11, 0x21, 0x31
ALPN, AUTHORITY, CRC32C, SSL = 0x01, 0x02, 0x03, 0x20
SSL_VERSION, SSL_CN, SSL_CIPHER = 0x21, 0x22, 0x23


def line(source: str = "192.0.2.7", destination: str = "198.51.100.9", protocol: str = "TCP4") -> bytes:
    """A header of version 1."""
    return f"PROXY {protocol} {source} {destination} 56324 5432\r\n".encode()


def header(source: str = "192.0.2.7", destination: str = "198.51.100.9", tlvs: bytes = b"", *, command: int = PROXY,
           family: int | None = None) -> bytes:  # fmt: skip
    """A header of version 2. A family other than TCP4 and TCP6 has only `tlvs` as its content."""
    from_address, to_address = ip_address(source), ip_address(destination)
    content = from_address.packed + to_address.packed + struct.pack("!HH", 56324, 5432)
    if family in (None, TCP4, TCP6):
        family = family or (TCP4 if from_address.version == 4 else TCP6)
    else:
        content = b""
    content += tlvs
    return SIGNATURE + struct.pack("!BBH", command, family, len(content)) + content


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def read_tlvs(content: bytes) -> dict[int, bytes]:
    found = {}
    while content:
        kind, length = struct.unpack("!BH", content[:3])
        found[kind], content = content[3 : 3 + length], content[3 + length :]
    return found


def receive_header(connection) -> tuple[int, int, bytes]:
    """Command, family and content of a header of version 2 that a Conversation receives."""
    assert connection.receive(12) == SIGNATURE
    command, family, length = struct.unpack("!BBH", connection.receive(4))
    return command, family, connection.receive(length)


def read_addresses(family: int, content: bytes) -> tuple[tuple[str, int], tuple[str, int], dict[int, bytes]]:
    """Source, destination and TLVs of a header."""
    size = {TCP4: 4, TCP6: 16}[family]
    source, destination = (str(ip_address(content[place : place + size])) for place in (0, size))
    ports = struct.unpack("!HH", content[2 * size : 2 * size + 4])
    return (source, ports[0]), (destination, ports[1]), read_tlvs(content[2 * size + 4 :])


class Haproxy(Daemon):
    """Forwards from `address` to `server`, "HOST:PORT" with HAProxy's options. `bind` has the options of the front.

    The socket is bound here and inherited, so that no other process can take its port."""

    def __init__(self, folder: Path, server: str, *, bind: str = "", log: str = "%ci:%cp", unix: str | None = None):
        if unix:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(unix)
            listener.listen()
        else:
            listener = socket.create_server(("127.0.0.1", 0))
        self.address = listener.getsockname()
        with contextlib.closing(listener):
            file = folder / f"haproxy-{listener.fileno()}.cfg"
            file.write_text(f"""
global
    log stderr format raw local0
defaults
    mode tcp
    timeout connect 20s
    timeout client 60s
    timeout server 60s
frontend front
    bind fd@{listener.fileno()} {bind}
    log global
    log-format "connection {log}"
    default_backend back
backend back
    server one {server}
""", encoding="utf-8")  # fmt: skip
            listener.set_inheritable(True)
            super().__init__(BINARY, "-db", "-f", file, pass_fds=(listener.fileno(),))
