"""What of a connection's secrets is in pgveil's memory: looked for there, with the key log of the other end at hand."""

import contextlib
import mmap
import os
import socket
import ssl
import subprocess

import pytest

from harness import wire
from harness.certificates import Authority
from harness.pgveil import BINARY, toml
from harness.processes import environment, eventually
from harness.scripted_server import verified_session
from harness.tls_clients import certificate, tls_socket


def key_log(file) -> dict[str, bytes]:
    """The secrets of the one connection, by their names."""
    lines = [line.split() for line in file.read_text(encoding="ascii").splitlines() if not line.startswith("#")]
    return {label: bytes.fromhex(secret) for label, _, secret in lines}


def writable_memory(pid: int, but: str | None = None) -> bytes:
    """The heaps, stacks and everything else that `pid` may write to, except for the part of this name."""
    found = []
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for place, rights, *_, name in (line.split() for line in maps):
            if rights.startswith("rw") and name != but:
                begin, end = (int(address, 16) for address in place.split("-"))
                for page in range(begin, end, mmap.PAGESIZE):
                    with contextlib.suppress(OSError):  # a guard of a stack, since glibc 2.42
                        memory.seek(page)
                        found.append(memory.read(mmap.PAGESIZE))
    return b"".join(found)


KEPT = {"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"}
RECORDS = pytest.mark.parametrize("records", ["openssl", "own"])
HYBRID = "X25519MLKEM768"


@pytest.fixture
def stranger(folder) -> Authority:
    """Whom nobody trusts."""
    directory = folder / "stranger"
    directory.mkdir()
    return Authority(directory, "Stranger")


def occurrences(pid: int, secrets: dict[str, bytes]) -> dict[str, int]:
    """How often each is in the memory of `pid`, also as text, which is how OpenSSL tells them."""
    memory = writable_memory(pid)
    return {label: memory.count(secret) + memory.count(secret.hex().encode()) for label, secret in secrets.items()}


def limits(records: str) -> dict:
    return {"core_dumps": True, "tls_records": records}  # else nobody may look


def need_hybrid_groups() -> None:
    if ssl.OPENSSL_VERSION_INFO < (3, 5):
        pytest.skip("OpenSSL has had ML-KEM since 3.5")


def expect_only_those_of_the_keys(proxy, client, secrets) -> None:
    """While the session of `client` is open, and nothing once it is over."""
    assert len(secrets) == 5
    once = {label: int(label in KEPT) for label in secrets}
    eventually(lambda: occurrences(proxy.pid, secrets) == once)  # the peer may be done first
    client.send(wire.query("SELECT 1"))
    client.receive_until(b"Z")
    assert occurrences(proxy.pid, secrets) == once
    client.close()
    proxy.end_of_session()
    expect_none(proxy, secrets)


def expect_none(proxy, secrets) -> None:
    eventually(lambda: not any(occurrences(proxy.pid, secrets).values()))


@pytest.mark.parametrize("group", ["X25519", HYBRID])
def test_of_the_secrets_of_a_handshake_only_those_of_the_keys_stay(
    pgveil, postgres, credentials, authority, folder, group
):
    if group == HYBRID:
        need_hybrid_groups()
    listener = certificate(credentials, ssl_groups=group)
    proxy = pgveil(postgres.unix_upstream(), listener=listener, limits=limits("own"))
    file = folder / "keys"
    with wire.Conversation(tls_socket(proxy, authority, keylog_filename=str(file))) as client:
        client.send(wire.startup_message(user="billing", database="ledger"))
        client.receive_until(b"Z")
        expect_only_those_of_the_keys(proxy, client, key_log(file))


@pytest.mark.parametrize("group", ["X25519", HYBRID])
def test_the_same_holds_towards_a_server(pgveil, scripted_server, credentials, authority, folder, group):
    if group == HYBRID:
        need_hybrid_groups()
    file = folder / "keys"
    server = scripted_server(verified_session(credentials, keylog_filename=str(file)))
    proxy = pgveil(server.upstream(sslrootcert=str(authority.file), ssl_groups=group), limits=limits("own"))
    with proxy.connect() as client:
        client.send(wire.startup_message(user="app", database="ledger"))
        client.receive_until(b"Z")
        expect_only_those_of_the_keys(proxy, client, key_log(file))


@RECORDS
def test_no_secret_of_a_session_stays_after_its_end(pgveil, scripted_server, credentials, authority, folder, records):
    of_client, of_server = folder / "client-keys", folder / "server-keys"
    server = scripted_server(verified_session(credentials, keylog_filename=str(of_server)))
    proxy = pgveil(server.upstream(sslrootcert=str(authority.file)), listener=certificate(credentials), limits=limits(records))
    with wire.Conversation(tls_socket(proxy, authority, keylog_filename=str(of_client))) as client:
        client.send(wire.startup_message(user="app", database="ledger"))
        client.receive_until(b"Z")
    proxy.end_of_session()
    for file in (of_client, of_server):
        secrets = key_log(file)
        assert len(secrets) == 5
        expect_none(proxy, secrets)


@RECORDS
def test_no_secret_stays_of_a_handshake_that_a_client_aborts(
    pgveil, postgres, credentials, stranger, folder, records
):
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials), limits=limits(records))
    file = folder / "keys"
    with pytest.raises(ssl.SSLCertVerificationError):
        tls_socket(proxy, stranger, keylog_filename=str(file))
    proxy.end_of_session()
    secrets = key_log(file)
    assert "SERVER_HANDSHAKE_TRAFFIC_SECRET" in secrets
    expect_none(proxy, secrets)


@RECORDS
def test_no_secret_stays_of_a_handshake_that_a_client_leaves(
    pgveil, postgres, credentials, authority, folder, records
):
    """It has all that it needs, and says nothing any more."""
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials), limits=limits(records))
    file = folder / "keys"
    context = ssl.create_default_context(cafile=str(authority.file))
    context.keylog_filename = str(file)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    with socket.create_connection(proxy.address, timeout=20) as raw:
        raw.sendall(wire.SSL_REQUEST)
        assert raw.recv(1) == b"S"
        raw.sendall(outgoing.read())
        while True:
            incoming.write(raw.recv(1 << 16))
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
    proxy.end_of_session()
    secrets = key_log(file)
    assert len(secrets) == 5
    expect_none(proxy, secrets)


@RECORDS
def test_no_secret_stays_of_a_handshake_that_pgveil_refuses(
    pgveil, scripted_server, authority, stranger, folder, records
):
    file = folder / "keys"
    server = scripted_server(verified_session(stranger.issue("localhost", dns=["localhost"]), keylog_filename=str(file)))
    proxy = pgveil(server.upstream(sslrootcert=str(authority.file)), limits=limits(records))
    with proxy.connect() as client:
        client.send(wire.startup_message(user="app", database="ledger"))
        client.receive_until(b"E")
    proxy.end_of_session()
    secrets = key_log(file)
    assert "SERVER_HANDSHAKE_TRAFFIC_SECRET" in secrets
    expect_none(proxy, secrets)


# --- pgveil doctor ---

PASSPHRASE = "sesame, open for doctor"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into a process that keeps debuggers out")
@pytest.mark.parametrize("form", ["variable", "configuration"])
def test_the_passphrase_of_a_key_is_wiped_before_doctor_connects(scripted_server, authority, folder, form):
    """On the stack the kernel has put the variables, as in any process, and memcpy() may have left parts of the file."""
    mine = authority.issue_to_client("app", passphrase=PASSPHRASE)
    server = scripted_server(lambda peer: peer.receive(1000))  # does not answer
    files = {"sslrootcert": str(authority.file), "sslcert": str(mine.certificate), "sslkey": str(mine.key)}
    if form == "variable":
        words = [f"localhost:{server.port}", "--hostaddr", "127.0.0.1"]
        words += [word for name, file in files.items() for word in (f"--{name}", file)]
    else:
        path = folder / "pgveil.toml"
        upstream = server.upstream(**files, sslpassword=PASSPHRASE)
        path.write_text(toml({"listener": [{"address": "127.0.0.1:0", "upstream": "a"}], "upstream": {"a": upstream}}))
        path.chmod(0o600)
        words = ["--config", str(path)]
    variables = {"PGVEIL_SSLPASSWORD": PASSPHRASE} if form == "variable" else {}
    doctor = subprocess.Popen([BINARY, "doctor", *words], env=environment(**variables), stdout=subprocess.DEVNULL)
    try:
        server.peer()
        assert PASSPHRASE.encode() not in writable_memory(doctor.pid, but="[stack]")
    finally:
        doctor.kill()
        doctor.wait()
