"""Cancel requests: to the server of their session, over TLS, and not answered before they are done."""

import signal
import socket
import struct
import subprocess
import threading

import pytest

from harness import wire
from harness.cancelling import cancel_a_sleeping_query
from harness.processes import POSTGRES_BIN, environment, eventually
from harness.scripted_server import verified_session


@pytest.fixture
def proxy(pgveil, postgres):
    return pgveil(postgres.upstream())


def test_control_c_in_psql_cancels_the_query(proxy, postgres):
    psql = subprocess.Popen(
        [f"{POSTGRES_BIN}/psql", "--no-psqlrc", "-c", "SELECT pg_sleep(600)",
         proxy.connection_string(application_name="sleeper")],
        env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sleeper' AND wait_event = 'PgSleep'"
    eventually(lambda: postgres.admin(asleep) == "1")
    psql.send_signal(signal.SIGINT)
    _, errors = psql.communicate(timeout=20)
    assert "ERROR:  canceling statement due to user request" in errors
    proxy.wait_for_line("session_closed.*reason=cancel_forwarded ")


def test_the_session_goes_on_after_its_query_was_cancelled(proxy, postgres):
    with proxy.connect() as client:
        client.log_in(user="trusted", database="ledger")
        cancel_a_sleeping_query(proxy, client, postgres)
        assert client.rows("SELECT 42") == [b"\0\1\0\0\0\x0242"]


def test_a_wrong_key_cancels_nothing(proxy):
    with proxy.connect() as client:
        client.log_in(user="trusted", database="ledger")
        client.send(wire.query("SELECT pg_sleep(0.5)"))
        with proxy.connect() as canceller:
            canceller.send(wire.cancel_request(client.process_id, bytes(byte ^ 1 for byte in client.key)))
            assert canceller.receive_to_end() == b""
        assert b"E" not in [kind for kind, _ in client.receive_until(b"Z")]


def several_hosts(*servers, authority) -> dict:
    """One upstream with a server for each host."""
    count = len(servers)
    return {"host": ",".join(["localhost"] * count), "hostaddr": ",".join(["127.0.0.1"] * count),
            "port": ",".join(str(server.port) for server in servers), "sslrootcert": str(authority.file)}  # fmt: skip


def test_an_unknown_key_goes_to_the_only_server(pgveil, scripted_server, authority, credentials):
    """Another replica of pgveil may have relayed that session."""
    cancels = []
    server = scripted_server(session_or_cancel(credentials, b"abcd", cancels))
    proxy = pgveil(several_hosts(server, authority=authority))
    with proxy.connect() as canceller:
        canceller.send(wire.cancel_request(4711, b"efgh"))
        assert canceller.receive_to_end() == b""
    assert cancels == [struct.pack("!I", 4711) + b"efgh"]


@pytest.mark.parametrize("has_session", [False, True])
def test_an_unknown_key_goes_nowhere_with_several_servers(pgveil, scripted_server, authority, credentials, has_session):
    """Nobody can tell to which of them, and each would learn a key that may be another's."""
    cancels = []
    servers = [scripted_server(session_or_cancel(credentials, b"abcd", cancels)) for _ in range(2)]
    proxy = pgveil(several_hosts(*servers, authority=authority))
    with proxy.connect() as client:
        if has_session:
            client.log_in(user="app")
        for process_id, key in [(4711, b"efgh"), (4712, b"abcd"), (4711, b"abcd\0")]:
            seen = len(proxy.lines)
            with proxy.connect() as canceller:
                canceller.send(wire.cancel_request(process_id, key))
                assert canceller.receive_to_end() == b""
            assert "reason=cancel_unknown phase=negotiate" in proxy.end_of_session(after=seen)
    assert cancels == []
    assert [len(server.peers) for server in servers] == [1 if has_session else 0, 0]


def test_a_key_is_unknown_once_its_session_has_ended(pgveil, scripted_server, authority, credentials):
    cancels = []
    servers = [scripted_server(session_or_cancel(credentials, b"abcd", cancels)) for _ in range(2)]
    proxy = pgveil(several_hosts(*servers, authority=authority))
    with proxy.connect() as client:
        client.log_in(user="app")
        client.send(wire.TERMINATE)
    seen = len(proxy.lines)
    proxy.end_of_session()
    with proxy.connect() as canceller:
        canceller.send(wire.cancel_request(4711, b"abcd"))
        assert canceller.receive_to_end() == b""
    assert "reason=cancel_unknown" in proxy.wait_for_line("session_closed.*reason=cancel_unknown", after=seen).string
    assert cancels == []


def two_servers(pgveil, scripted_server, authority, credentials, scripts):
    servers = [scripted_server(script) for script in scripts]
    names = [f"server{number}" for number in range(len(servers))]
    proxy = pgveil(
        configuration={
            "listener": [{"address": "127.0.0.1:0", "upstream": name} for name in names],
            "upstream": {
                name: server.upstream(sslrootcert=str(authority.file)) for name, server in zip(names, servers)
            },
        }
    )
    return proxy, servers


def session_or_cancel(credentials, key, cancels, allow_close=None):
    """The script of a server that notes cancel requests in `cancels`, and closes when it is allowed to."""

    def script(peer):
        peer.accept_tls(credentials)
        packet = peer.receive_startup_packet()
        if packet[:4] == struct.pack("!I", 80877102):
            cancels.append(packet[4:])
            if allow_close:
                allow_close.wait(60)
            peer.close()
            return
        peer.send(
            wire.message(b"R", struct.pack("!I", 0)),
            wire.message(b"K", struct.pack("!I", 4711) + key),
            wire.message(b"Z", b"I"),
        )
        peer.serve()

    return script


def test_it_goes_to_the_server_of_its_session_over_tls(pgveil, scripted_server, authority, credentials):
    """Both servers have a session of the same process id; the key tells them apart, whatever the listener."""
    keys, cancels = [b"abcd", b"efgh"], [[], []]
    proxy, _ = two_servers(
        pgveil, scripted_server, authority, credentials,
        [session_or_cancel(credentials, key, noted) for key, noted in zip(keys, cancels)],
    )  # fmt: skip
    first, second = (wire.Client(address) for address in proxy.addresses)
    for client in (first, second):
        client.log_in(user="app")
    assert (first.key, second.key) == (b"abcd", b"efgh")
    for address in proxy.addresses:
        with wire.Client(address) as canceller:
            canceller.send(wire.cancel_request(4711, b"efgh"))
            assert canceller.receive_to_end() == b""
    assert cancels == [[], [struct.pack("!I", 4711) + b"efgh"] * 2]
    first.close()
    second.close()


def test_it_goes_to_the_address_where_its_session_is(pgveil, postgres, scripted_server, authority, credentials):
    """With several hosts, not to the first that answers now."""
    cancels = []
    second = scripted_server(session_or_cancel(credentials, b"abcd", cancels))
    with socket.socket() as first:
        first.bind(("127.0.0.1", 0))  # does not listen yet, and nobody else can have its port
        proxy = pgveil(
            {"host": "localhost,localhost", "hostaddr": "127.0.0.1,127.0.0.1",
             "port": f"{first.getsockname()[1]},{second.port}", "sslrootcert": str(authority.file)},
        )  # fmt: skip
        with proxy.connect() as client:
            client.log_in(user="app")
            first.listen()
            with proxy.connect() as canceller:
                canceller.send(wire.cancel_request(client.process_id, client.key))
                assert canceller.receive_to_end() == b""
            first.setblocking(False)
            with pytest.raises(BlockingIOError):
                first.accept()
    assert len(cancels) == 1


def test_its_connection_ends_after_the_server_has_closed_its_own(pgveil, scripted_server, authority, credentials):
    """Else libpq may send its next query, and the signal would hit that (fe-cancel.c)."""
    allow_close, cancels = threading.Event(), []
    server = scripted_server(session_or_cancel(credentials, b"abcd", cancels, allow_close))
    proxy = pgveil(server.upstream(sslrootcert=str(authority.file)))
    with proxy.connect() as client:
        client.log_in(user="app")
        with proxy.connect() as canceller:
            canceller.send(wire.cancel_request(client.process_id, client.key))
            eventually(lambda: cancels)
            canceller.socket.settimeout(0.5)
            with pytest.raises(TimeoutError):
                canceller.receive(1)
            allow_close.set()
            canceller.socket.settimeout(20)
            assert canceller.receive_to_end() == b""


def test_a_server_that_closes_without_close_notify_is_noted(pgveil, scripted_server, authority, credentials):
    """A pooler may do so, and a server that has crashed."""

    def script(peer):
        peer.accept_tls(credentials)
        peer.receive_startup_packet()
        socket.socket(fileno=peer.socket.detach()).close()

    proxy = pgveil(scripted_server(script).upstream(sslrootcert=str(authority.file)))
    with proxy.connect() as canceller:
        canceller.send(wire.cancel_request(7, b"1234"))
        assert canceller.receive_to_end() == b""
    line = proxy.end_of_session()
    assert "reason=cancel_forwarded" in line and "without close_notify" in line


def test_it_may_come_behind_a_declined_request_for_tls(proxy, postgres):
    with proxy.connect() as client:
        client.log_in(user="trusted", database="ledger")
        client.send(wire.query("SELECT pg_sleep(600)"))
        with proxy.connect() as canceller:
            canceller.send(wire.SSL_REQUEST)
            assert canceller.receive(1) == b"N"
            asleep = f"SELECT wait_event FROM pg_stat_activity WHERE pid = {client.process_id}"
            eventually(lambda: postgres.admin(asleep) == "PgSleep")
            canceller.send(wire.cancel_request(client.process_id, client.key))
            assert canceller.receive_to_end() == b""
        assert b"E" in [kind for kind, _ in client.receive_until(b"Z")]


def test_it_is_served_where_there_is_no_room_for_a_session(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), limits={"max_sessions": 1})
    with proxy.connect() as client:
        client.log_in(user="trusted", database="ledger")
        client.send(wire.query("SELECT pg_sleep(600)"))
        asleep = f"SELECT wait_event FROM pg_stat_activity WHERE pid = {client.process_id}"
        eventually(lambda: postgres.admin(asleep) == "PgSleep")
        with proxy.connect() as canceller:
            canceller.send(wire.cancel_request(client.process_id, client.key))
            assert canceller.receive_to_end() == b""
        assert b"E" in [kind for kind, _ in client.receive_until(b"Z")]


def test_there_are_never_more_than_256_under_way(pgveil, scripted_server, folder):
    """Each holds a connection to the server until that has closed it. One more is not forwarded."""
    may_close = threading.Event()

    def script(peer):
        peer.receive_startup_packet()
        may_close.wait(60)
        peer.close()

    server = scripted_server(script, family=socket.AF_UNIX, address=str(folder / ".s.PGSQL.5432"))
    proxy = pgveil({"host": str(folder)})
    cancellers = [proxy.connect() for _ in range(256)]
    for count, canceller in enumerate(cancellers, start=1):
        canceller.send(wire.cancel_request(1, b"abcd"))
        if count % 32 == 0:  # less than the backlog of the server
            eventually(lambda: len(server.peers) == count)
    with proxy.connect() as one_more:
        one_more.send(wire.cancel_request(1, b"abcd"))
        assert one_more.receive_to_end() == b""
    assert "reason=too_many_cancels" in proxy.end_of_session()
    may_close.set()
    for canceller in cancellers:
        assert canceller.receive_to_end() == b""
        canceller.close()
    with proxy.connect() as later:
        later.send(wire.cancel_request(1, b"abcd"))
        assert later.receive_to_end() == b""
    proxy.wait_for_lines("reason=cancel_forwarded", 257)
    assert len(server.peers) == 257


def test_a_server_that_does_not_close_it_is_named_after_ten_seconds(pgveil, scripted_server, folder):
    """The request has been sent: it is the end of the connection that did not come."""
    may_close = threading.Event()

    def script(peer):
        peer.receive_startup_packet()
        may_close.wait(60)

    server = scripted_server(script, family=socket.AF_UNIX, address=str(folder / ".s.PGSQL.5432"))
    proxy = pgveil({"host": str(folder)})
    with proxy.connect() as canceller:
        canceller.send(wire.cancel_request(4711, b"abcd"))
        assert canceller.receive_to_end() == b""
    may_close.set()
    line = proxy.end_of_session()
    assert "reason=upstream_timed_out phase=forward_cancel" in line
    assert f"server=unix:{folder}/.s.PGSQL.5432" in line
    assert (
        f'Connection to server on socket \\"{folder}/.s.PGSQL.5432\\" failed: the server did not close the '
        "connection after the cancel request in time."
    ) in line
    assert len(server.peers) == 1


def test_a_server_that_is_not_verified_does_not_get_the_key(pgveil, scripted_server, authority, credentials):
    """Someone else has taken the place of the server since the login."""
    stranger_came = []

    def script(peer):
        if not stranger_came:
            stranger_came.append(True)
            verified_session(credentials)(peer)
        else:
            peer.receive_ssl_request()
            peer.send(b"N")

    server = scripted_server(script)
    proxy = pgveil(server.upstream(sslrootcert=str(authority.file)))
    with proxy.connect() as client:
        client.log_in(user="app")
        with proxy.connect() as canceller:
            canceller.send(wire.cancel_request(client.process_id, client.key))
            assert canceller.receive_to_end() == b""
    assert server.finished_peer(1).rest == b""
