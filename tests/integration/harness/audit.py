"""Audit records: the settings for a file, what a file has, and the sockets of log daemons."""

import json
import re
import socket
from pathlib import Path

import jsonschema

from harness.processes import eventually

SCHEMA = json.loads((Path(__file__).resolve().parents[3] / "docs/audit.schema.json").read_text(encoding="utf-8"))
_validator = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def to_file(path, **settings) -> dict:
    """The section [audit] for a file. Without a limit for strangers, since tests count records."""
    return {"target": "file", "file": str(path), "stranger_rate": "0", **settings}


def parse(text: str) -> dict:
    """A record, which must have the form of docs/audit.schema.json, and no key twice."""

    def unique(pairs):
        assert len({key for key, _ in pairs}) == len(pairs), f"a key twice in {text}"
        return dict(pairs)

    record = json.loads(text, object_pairs_hook=unique)
    error = jsonschema.exceptions.best_match(_validator.iter_errors(record))
    assert error is None, f"{error.message} in {text}"
    kind = record["outcome"] if record["outcome"] in SCHEMA["$defs"] else "login"
    assert list(record) == SCHEMA["$defs"][kind]["required"], "other keys than the schema has, or in another order"
    return record


def records(path) -> list[dict]:
    """All records of a file, in their order."""
    return [parse(line) for line in Path(path).read_text(encoding="utf-8", errors="strict").splitlines()]


def logins(path) -> list[dict]:
    """The records of logins: all but those of the ends of sessions."""
    return [record for record in records(path) if record["outcome"] not in ("ended", "omitted")]


def wait_for_records(path, count: int, outcome: str) -> list[dict]:
    """The records with this outcome, once there are so many of them."""

    def found():
        matching = [record for record in records(path) if record["outcome"] == outcome] if Path(path).exists() else []
        return matching if len(matching) >= count else None

    return eventually(found)


class LogSocket:
    """The socket of a log daemon, that a test reads."""

    def __init__(self, path, patience: float = 20.0):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(patience)

    def receive(self) -> bytes:
        return self.socket.recv(1 << 20)

    def drain(self) -> int:
        """Reads what is there, and returns how many datagrams that were."""
        self.socket.setblocking(False)
        count = 0
        try:
            while True:
                self.socket.recv(1 << 20)
                count += 1
        except BlockingIOError:
            self.socket.settimeout(20.0)
            return count

    def close(self) -> None:
        """As a daemon that ends: the socket file is removed."""
        self.socket.close()
        Path(self.path).unlink()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


# The grammar of RFC 5424, section 6, strictly: each field has its alphabet and its limit.
_PRINTABLE = r"[\x21-\x7e]"
RFC5424 = re.compile(
    r"<(?P<priority>[1-9]\d{0,2}|0)>(?P<version>[1-9]\d{0,2})"
    r" (?P<time>-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d))"
    rf" (?P<host>-|{_PRINTABLE}{{1,255}}) (?P<program>-|{_PRINTABLE}{{1,48}}) (?P<process>-|{_PRINTABLE}{{1,128}})"
    rf" (?P<kind>-|{_PRINTABLE}{{1,32}}) (?P<data>-)"
    r"(?: (?P<message>.*))?\Z", re.DOTALL)  # fmt: skip


def parse_syslog(datagram: bytes) -> dict:
    """The fields of a datagram of RFC 5424, with `facility` and `severity`, and the record as `record`."""
    match = RFC5424.match(datagram.decode("utf-8"))
    assert match, datagram
    fields = match.groupdict()
    priority = int(fields["priority"])
    assert priority <= 191
    return {**fields, "facility": priority // 8, "severity": priority % 8, "record": parse(fields["message"])}


def parse_journal(datagram: bytes) -> dict:
    """The fields of an entry of the journal (https://systemd.io/JOURNAL_NATIVE_PROTOCOL), and the record as `record`."""
    fields = {}
    while datagram:
        name, _, rest = datagram.partition(b"\n")
        if b"=" in name:
            name, _, value = name.partition(b"=")
        else:
            size = int.from_bytes(rest[:8], "little")
            value, end, rest = rest[8 : 8 + size], rest[8 + size : 9 + size], rest[9 + size :]
            assert end == b"\n"
        assert re.fullmatch(rb"[A-Z0-9][A-Z0-9_]{0,63}", name), name
        fields[name.decode()] = value.decode("utf-8")
        datagram = rest
    return {**fields, "record": parse(fields["MESSAGE"])}
