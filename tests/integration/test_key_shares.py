"""The key share that the server took is sent to it first in the next handshake, so that it need not ask for another."""

import contextlib
import socket
import threading
import time

from harness.network import FAR, NEAR, ROUND_TRIP
from harness.processes import PATIENCE
from harness.wire import Client

# The random of a ServerHello that is a HelloRetryRequest: RFC 8446, 4.1.3.
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


class Middleman:
    """Passes everything on to a server, and keeps what that one says in each connection."""

    def __init__(self, scripted_server, address):
        self._address = address
        self._said: list[bytearray] = []
        self.port = scripted_server(self._pass_on).port

    def retries(self) -> list[int]:
        """How many HelloRetryRequests each connection has had."""
        return [said.count(RETRY) for said in self._said]

    def _pass_on(self, peer) -> None:
        said = bytearray()
        self._said.append(said)
        with socket.create_connection(self._address, timeout=PATIENCE) as server:
            upwards = threading.Thread(target=self._pass_up, args=(peer, server), daemon=True)
            upwards.start()
            while part := server.recv(1 << 16):
                said += part
                peer.send(part)
            peer.socket.shutdown(socket.SHUT_WR)
            upwards.join(PATIENCE)

    @staticmethod
    def _pass_up(peer, server: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the other way may be over first
            while part := peer.socket.recv(1 << 16):
                server.sendall(part)
            server.shutdown(socket.SHUT_WR)


def test_a_server_asks_for_another_share_in_the_first_connection_only(scripted_server, pgveil, postgres):
    between = Middleman(scripted_server, postgres.address)
    with postgres.reconfigured(ssl_ecdh_curve="prime256v1"):  # the default up to 17
        proxy = pgveil(postgres.upstream(port=between.port), limits={"workers": 1})
        for _ in range(3):
            assert proxy.query("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == "TLSv1.3"
    assert between.retries() == [1, 0, 0]


def test_the_second_login_is_a_round_trip_faster(slow_line, scripted_server, credentials, pgveil, authority, folder):
    def script(peer):
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.accept_tls(credentials, curve="prime256v1")
        peer.log_in()
        peer.serve()

    with slow_line.entered():
        there = scripted_server(script, address=(NEAR, 0))

    def logins(number: int) -> list[float]:
        """The first two of a pgveil."""
        proxy = pgveil(
            there.upstream(hostaddr=FAR, sslrootcert=str(authority.file)),
            listener={"address": f"unix:{folder}/.s.PGSQL.{6000 + number}"},
            limits={"workers": 1}, prefix=slow_line.prefix,
        )  # fmt: skip
        times = []
        for _ in range(2):
            begin = time.monotonic()
            with Client(proxy.address, PATIENCE) as client:
                client.log_in(user="ann", database="ledger")
                times.append(time.monotonic() - begin)
        return times

    first, second = (min(times) for times in zip(*map(logins, range(5))))
    print(f"{first * 1000:.0f} ms, then {second * 1000:.0f} ms")
    # Half a round trip is what a busy machine may add.
    assert first - second >= 0.5 * ROUND_TRIP
