"""What of a connection's secrets is in pgveil's memory: looked for there, with the client's key log at hand."""

import contextlib
import mmap

from harness import wire
from harness.processes import eventually
from harness.tls_clients import certificate, tls_socket


def key_log(file) -> dict[str, bytes]:
    """The secrets of the one connection, by their names."""
    lines = [line.split() for line in file.read_text(encoding="ascii").splitlines() if not line.startswith("#")]
    return {label: bytes.fromhex(secret) for label, _, secret in lines}


def writable_memory(pid: int) -> bytes:
    """The heaps, stacks and everything else that `pid` may write to."""
    found = []
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for place, rights in (line.split()[:2] for line in maps):
            if rights.startswith("rw"):
                begin, end = (int(address, 16) for address in place.split("-"))
                for page in range(begin, end, mmap.PAGESIZE):
                    with contextlib.suppress(OSError):  # a guard of a stack, since glibc 2.42
                        memory.seek(page)
                        found.append(memory.read(mmap.PAGESIZE))
    return b"".join(found)


KEPT = {"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"}


def test_of_the_secrets_of_a_handshake_only_those_of_the_keys_stay(pgveil, postgres, credentials, authority, folder):
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials), limits={"core_dumps": True})
    file = folder / "keys"
    with wire.Conversation(tls_socket(proxy, authority, keylog_filename=str(file))) as client:
        secrets = key_log(file)
        assert len(secrets) == 5
        once = {label: int(label in KEPT) for label in secrets}

        def found() -> dict[str, int]:
            memory = writable_memory(proxy.pid)
            # As text is how OpenSSL tells them.
            return {label: memory.count(secret) + memory.count(secret.hex().encode()) for label, secret in secrets.items()}

        eventually(lambda: found() == once)  # the client is the first to be done
        client.send(wire.startup_message(user="billing", database="ledger"))
        client.receive_until(b"Z")
        assert found() == once
    proxy.end_of_session()
    eventually(lambda: not any(found().values()))
