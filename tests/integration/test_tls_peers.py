"""Other implementations of TLS 1.3 as clients and as servers: data both ways, and new keys both ways, with each kind of
records. Those that are not installed are skipped; tests/tls-peers installs them all. What each of them can do is in
harness/tls_peers.py. TLS_PEERS_MIB: how much goes each way."""

import io
import itertools
import os
import random
import struct

import pytest

from harness import wire
from harness.java import JAVA, JDBC_DRIVER, compiled, newest_java
from harness.postgres import HBA, PASSWORD
from harness.processes import Daemon, run
from harness.tls_clients import certificate
from harness.tls_peers import (HAS_SHORT_KEYS, IS_WHOLE_RUN, JSSE_RECEIVED, JSSE_SENT, PEERS, SOURCES, Missing,
                               go_program, java_command, java_version, key_updates, package_version)  # fmt: skip

psycopg2 = pytest.importorskip("psycopg2")

RECORDS = ["own", "openssl"]
MIB = int(os.environ.get("TLS_PEERS_MIB", "4"))
ROWS = MIB * 1024
LINE = "lpad(i::text, 1023, 'x')"
ROWS_OF_A_STATEMENT = 4096
PATIENCE = 60 + MIB


@pytest.fixture(scope="module")
def open_postgres(postgres):
    """A server that takes `billing` without TLS, for what a peer has decrypted."""
    with postgres.reconfigured(hba=f"{HBA}\nhostnossl all billing 127.0.0.1/32 trust\n"):
        yield postgres


@pytest.fixture(scope="module")
def peers(workplace):
    """The command of a peer, by its name; skips where it is not installed."""
    made = {}

    def make(name: str) -> list:
        if PEERS[name].is_costly and not IS_WHOLE_RUN:
            pytest.skip(f"{name}: run tests/tls-peers")
        if name not in made:
            folder = workplace / f"peer-{name}"
            folder.mkdir()
            try:
                made[name] = PEERS[name].command(folder)
            except Missing as reason:
                made[name] = reason
        if isinstance(made[name], Missing):
            pytest.skip(f"{name}: {made[name]}")
        return made[name]

    return make


@pytest.fixture
def tunnel(peers, authority, credentials):
    """Starts a peer: tunnel(NAME, ROLE, TARGET_PORT). It asks for new keys, if it can and `rekey` does not forbid it."""
    running = []

    def start(name: str, role: str, port: int, rekey: bool = True) -> Daemon:
        octets = PEERS[name].rekey_octets(MIB << 20) if rekey and PEERS[name].sends_key_updates else 0
        files = credentials.certificate, credentials.key, authority.file
        running.append(Daemon(*peers(name), role, port, *files, octets))
        return running[-1]

    yield start
    for peer in running:
        if peer.is_running():
            peer.stop()
        print("\n".join(peer.lines[-20:]))  # pytest shows it if the test has failed


def port_of(peer: Daemon) -> int:
    return int(peer.wait_for_line(r"^port (\d+)$")[1])


class Received(io.RawIOBase):
    """Rows that come are compared with those that should."""

    def __init__(self):
        self.rows = 0
        self._rest = b""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.rows += 1
            assert line == row(self.rows), f"row {self.rows} is another: {line[:50]}"
        return len(data)


def row(number: int) -> bytes:
    return str(number).rjust(1023, "x").encode()


class Sent(io.RawIOBase):
    """The rows of these numbers."""

    def __init__(self, numbers: range):
        self._numbers = iter(numbers)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        many = max(1, size // 1024)
        return b"".join(row(number) + b"\n" for number in itertools.islice(self._numbers, many))


def exchange_through(port: int) -> None:
    exchange(f"host=127.0.0.1 port={port} user=billing dbname=ledger sslmode=disable")


def exchange(connection_string: str) -> None:
    """A download, an upload, and small statements between, all checked."""
    connection = psycopg2.connect(connection_string)
    connection.autocommit = True
    with connection.cursor() as cursor:
        received = Received()
        cursor.copy_expert(f"COPY (SELECT {LINE} FROM generate_series(1, {ROWS}) i) TO STDOUT", received, 1 << 16)
        assert received.rows == ROWS
        ask(cursor)
        cursor.execute("CREATE TEMP TABLE uploaded (number serial, line text)")
        # An answer comes after each statement.
        for first in range(1, ROWS + 1, ROWS_OF_A_STATEMENT):
            numbers = range(first, min(first + ROWS_OF_A_STATEMENT, ROWS + 1))
            cursor.copy_expert("COPY uploaded (line) FROM STDIN", Sent(numbers), 1 << 16)
        cursor.execute(f"SELECT count(*), bool_and(line = {LINE}) FROM (SELECT number AS i, line FROM uploaded) AS it")
        assert cursor.fetchone() == (ROWS, True)
        ask(cursor)
    connection.close()


def ask(cursor) -> None:
    for number in range(50):
        cursor.execute("SELECT %s", (number,))
        assert cursor.fetchone() == (number,)


def check(proxy, peer: Daemon, name: str, records: str, record_property) -> None:
    """Both have ended as they should, and there were new keys."""
    line = proxy.end_of_session()
    assert peer.wait(PATIENCE) == 0, peer.log[-2000:]
    assert "reason=client_closed " in line and "tls=TLSv1.3" in line, line
    sent, received = key_updates(peer.log)
    record_property("version", PEERS[name].version())
    record_property("sent", sent)
    record_property("received", received)
    if PEERS[name].sends_key_updates:
        assert sent == -1 or sent >= (MIB << 20) // PEERS[name].rekey_octets(MIB << 20)
        # pgveil answers several at once, before its next data.
        assert received == -1 or received >= 2
    else:
        record_property("note", f"sends no KeyUpdate: {PEERS[name].why_not}")
    if HAS_SHORT_KEYS and records == "own":
        assert received == -1 or received >= MIB


@pytest.fixture
def described(record_property):
    """For the table of tests/tls-peers; skips what a peer cannot do."""

    def describe(name: str, role: str, records: str) -> None:
        for key, value in [("peer", name), ("role", role), ("records", records)]:
            record_property(key, value)
        if HAS_SHORT_KEYS and name in PEERS and PEERS[name].short_keys:
            pytest.skip(f"{name}: {PEERS[name].short_keys}")

    return describe


@pytest.mark.parametrize("records", RECORDS)
@pytest.mark.parametrize("name", PEERS)
def test_as_a_client(name, records, described, pgveil, peers, tunnel, postgres, credentials, record_property):
    described(name, "client", records)
    peers(name)
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials), limits={"tls_records": records})
    peer = tunnel(name, "client", proxy.address[1])
    exchange_through(port_of(peer))
    check(proxy, peer, name, records, record_property)


@pytest.mark.parametrize("records", RECORDS)
@pytest.mark.parametrize("name", PEERS)
def test_as_a_server(name, records, described, pgveil, tunnel, open_postgres, record_property):
    described(name, "server", records)
    peer = tunnel(name, "server", open_postgres.port)
    upstream = {**open_postgres.upstream(), "port": port_of(peer)}
    proxy = pgveil(upstream, limits={"tls_records": records})
    exchange_through(proxy.address[1])
    check(proxy, peer, name, records, record_property)


# --- one long transfer ---

PIECE = 1 << 20


class Pieces:
    """Messages of 1 MiB, each with its number; what comes is compared byte by byte."""

    def __init__(self, connection):
        self._connection = connection
        self._message = bytearray(wire.message(b"d", random.Random(4711).randbytes(PIECE - 5)))

    def _numbered(self, number: int) -> bytearray:
        struct.pack_into("!Q", self._message, 5, number)
        return self._message

    def send(self, count: int) -> None:
        for number in range(count):
            self._connection.sendall(self._numbered(number))

    def receive(self, count: int) -> None:
        received = bytearray(PIECE)
        for number in range(count):
            rest = memoryview(received)
            while rest:
                size = self._connection.recv_into(rest)
                assert size, f"the end came inside of piece {number} of {count}"
                rest = rest[size:]
            assert received == self._numbered(number), f"piece {number} of {count} is another"


@pytest.mark.parametrize("records", RECORDS)
@pytest.mark.parametrize("is_upload", [False, True], ids=["download", "upload"])
def test_one_connection_for_all_of_it(is_upload, records, described, pgveil, peers, tunnel, scripted_server, authority,
                                      credentials, record_property):  # fmt: skip
    """TLS on both sides of pgveil, with an OpenSSL in another process at each. With own records and `--mib 307200`, pgveil
    passes the limits of its keys: it sends new ones, and asks for those of its peer."""
    described(f"openssl, {'up' if is_upload else 'down'}load", "both", records)
    peers("openssl")

    def serve(connection):
        connection.log_in()
        assert connection.receive_message()[0] == b"Q"
        connection.send(wire.message(b"G" if is_upload else b"H", b"\0\0\0"))
        pieces = Pieces(connection.socket)
        pieces.receive(MIB) if is_upload else pieces.send(MIB)
        if is_upload:
            assert connection.receive_message()[0] == b"c"
        else:
            connection.send(wire.message(b"c"))
        connection.send(wire.message(b"C", b"COPY 1\0"), wire.message(b"Z", b"I"))

    server_side = tunnel("openssl", "server", scripted_server(serve).port, rekey=False)
    upstream = {"host": "localhost", "hostaddr": "127.0.0.1", "port": port_of(server_side),
                "sslrootcert": str(authority.file)}  # fmt: skip
    proxy = pgveil(upstream, listener=certificate(credentials), limits={"tls_records": records})
    client_side = tunnel("openssl", "client", proxy.address[1], rekey=False)
    with wire.Client(("127.0.0.1", port_of(client_side))) as client:
        client.log_in(user="billing", database="ledger")
        client.send(wire.query("COPY"))
        assert client.receive_message()[0] == (b"G" if is_upload else b"H")
        pieces = Pieces(client.socket)
        if is_upload:
            pieces.send(MIB)
            client.send(wire.message(b"c"))
        else:
            pieces.receive(MIB)
        assert [kind for kind, _ in client.receive_until(b"Z")][-2:] == [b"C", b"Z"]
        client.send(wire.TERMINATE)
    assert "reason=client_closed " in proxy.end_of_session()
    updates = {}
    for side, peer in [("client", client_side), ("server", server_side)]:
        assert peer.wait(PATIENCE) == 0, peer.log[-2000:]
        updates[side] = key_updates(peer.log)
    record_property("version", PEERS["openssl"].version())
    for index, word in enumerate(["sent", "received"]):
        record_property(word, "/".join(str(updates[side][index]) for side in updates))
    if records == "own" and MIB >= 300 << 10:
        # Each peer knows of one direction with data: what pgveil reads, or what it writes.
        reads, writes = ("client", "server") if is_upload else ("server", "client")
        assert updates[reads][0] >= 1 and updates[writes][1] >= 1


# --- drivers ---


@pytest.fixture(scope="session")
def copy_program(workplace):
    """The class path of a compiled Copy.java."""
    class_path = compiled(SOURCES.parent / "drivers/Copy.java", workplace / "copy", JDBC_DRIVER)
    if class_path is None:
        pytest.skip("libpostgresql-jdbc-java or a JDK is not installed")
    return class_path


@pytest.mark.parametrize("records", RECORDS)
@pytest.mark.parametrize("jdk", ["default", "newest"])
def test_jdbc_asks_for_new_keys_at_every_record(jdk, records, described, pgveil, postgres, authority, credentials,
                                                copy_program, folder, record_property):  # fmt: skip
    """JSSE sends a KeyUpdate for every record that it reads after its limit, until the answer has come: many
    if as many records are on their way. pgveil ended the session after 32 of them."""
    described(f"pgjdbc, {jdk} JDK", "client", records)
    java = {"default": JAVA.resolve(), "newest": newest_java()}[jdk]
    if jdk == "newest" and java == JAVA.resolve():
        pytest.skip("the default JDK is the newest here")
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials), limits={"tls_records": records})
    url = f"jdbc:postgresql://localhost:{proxy.address[1]}/ledger?sslmode=verify-full&sslrootcert={authority.file}"
    done = run(*java_command(java, folder, 1 << 17, copy_program), "Copy", url, PASSWORD, MIB, timeout=2 * PATIENCE)
    assert done.stdout.splitlines() == [f"download {MIB << 20} true", "upload t", "statements"], done.stderr[-2000:]
    assert "reason=client_closed " in proxy.end_of_session()
    sent, received = done.stderr.count(JSSE_SENT), done.stderr.count(JSSE_RECEIVED)
    for key, value in [("version", java_version(java)), ("sent", sent), ("received", received)]:
        record_property(key, value)
    assert sent > 64 and received > 16


@pytest.mark.parametrize("records", RECORDS)
def test_psycopg(records, described, pgveil, postgres, authority, credentials, record_property):
    """libpq has no key limits of its own: it answers pgveil's."""
    described("psycopg", "client", records)
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials), limits={"tls_records": records})
    exchange(proxy.tls_string(user="billing", sslrootcert=authority.file))
    assert "reason=client_closed " in proxy.end_of_session()
    record_property("version", psycopg2.__version__.split()[0])


@pytest.mark.parametrize("records", RECORDS)
def test_pgx(records, described, pgveil, postgres, authority, credentials, folder, record_property):
    """Go has no key limits of its own, either."""
    described("pgx", "client", records)
    if not IS_WHOLE_RUN:
        pytest.skip("pgx: run tests/tls-peers")
    try:
        program = go_program(SOURCES.parent / "drivers/copy.go", folder)
    except Missing as reason:
        pytest.skip(f"pgx: {reason}")
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials), limits={"tls_records": records})
    url = f"postgres://billing@localhost:{proxy.address[1]}/ledger?sslmode=verify-full&sslrootcert={authority.file}"
    done = run(program, url, MIB, timeout=2 * PATIENCE)
    assert done.stdout.splitlines() == [f"download {MIB << 20} true", "upload true", "statements"], done.stderr[-2000:]
    assert "reason=client_closed " in proxy.end_of_session()
    record_property("version", package_version("golang-github-jackc-pgx-v4-dev"))
