"""An audit file that is a pipe, and logins that fill it."""

import os
import select

from harness import wire
from harness.processes import eventually

# Each of its bytes takes six in a record.
LONG_NAME = "\x01" * 63


class Fifo:
    """An audit file that a test reads when it wants to."""

    def __init__(self, folder):
        self.path = folder / "audit"
        os.mkfifo(self.path)
        self.reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def read(self) -> str:
        """What comes, until nothing has come for a while, or the writer has closed its end."""
        text = b""
        while select.select([self.reader], [], [], 0.3)[0] and (piece := os.read(self.reader, 1 << 20)):
            text += piece
        return text.decode()

    def read_until(self, wanted: str) -> str:
        """What comes, with `wanted` in it."""
        text = ""

        def has_come() -> bool:
            nonlocal text
            text += self.read()
            return wanted in text

        eventually(has_come)
        return text

    def close(self) -> None:
        os.close(self.reader)


def fill_audit(proxy) -> wire.Client:
    """Has logins refused until one gets no answer, which it returns: the records of the others fill the queue."""
    for _ in range(10_000):
        client = proxy.connect()
        client.send(wire.startup_message(user=LONG_NAME, database=LONG_NAME))
        if not select.select([client.socket], [], [], 0.5)[0]:
            return client
        client.close()
    raise AssertionError("every login was answered")
