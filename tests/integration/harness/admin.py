"""The admin address of a pgveil under test."""

import http.client
import json
import re
import socket
import time

from harness.pgveil import BINARY, parse_address
from harness.processes import run


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float):
        super().__init__("pgveil", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Admin:
    """Of a pgveil whose [admin] has an address."""

    def __init__(self, proxy):
        self.text = proxy.wait_for_line(r"admin_listening address=(\S+)")[1]
        self.address = parse_address(self.text)

    def request(self, method: str, target: str, headers=None, patience: float = 20.0) -> tuple[int, str]:
        """Status and body."""
        connection = (
            http.client.HTTPConnection(*self.address, timeout=patience)
            if isinstance(self.address, tuple)
            else UnixConnection(self.address, patience)
        )
        try:
            connection.request(method, target, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8")
        finally:
            connection.close()

    def get(self, target: str, **settings) -> tuple[int, str]:
        return self.request("GET", target, **settings)

    def status(self, target: str) -> int:
        return self.get(target)[0]

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_INET if isinstance(self.address, tuple) else socket.AF_UNIX)
        client.settimeout(20)
        client.connect(self.address)
        return client

    def metrics(self) -> dict[str, float]:
        """Each series with its value now: {'pgveil_sessions{listener="...",phase="relay"}': 1.0}."""
        time.sleep(0.21)  # then the page is made anew
        status, text = self.get("/metrics")
        assert status == 200
        return dict(series(text))

    def state(self) -> dict:
        """What /status says now."""
        time.sleep(0.21)  # then the workers are asked again
        status, text = self.get("/status")
        assert status == 200
        return json.loads(text)

    def probe(self, what: str, *more: str):
        return run(BINARY, "probe", what, "--admin", self.text, *more)


def series(text: str):
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            yield name, float(value)


def labels(name: str) -> dict[str, str]:
    return {key: json.loads(f'"{value}"') for key, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', name)}


