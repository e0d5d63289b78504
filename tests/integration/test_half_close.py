"""A client that ends its side gets its answers all the same, from whatever moment on: what PostgreSQL answers to the
same bytes, pgveil's client gets. Not what libpq does, but `printf ... | nc` does."""

import re
import socket
import ssl
import struct
import threading
import time

import pytest

from harness import wire
from harness.postgres import PASSWORD
from harness.processes import eventually
from harness.raw_tls import RawTls
from harness.secrets import secret_file
from harness.tls_clients import certificate, tls_client

TRUST = "local all all trust\nhost all all 127.0.0.1/32 trust\n"
ON_BEHALF = "host all all 127.0.0.1/32 trust\n"

START = wire.startup_message(user="billing", database="ledger")
INPUTS = {
    "a startup message": START,
    "a query": START + wire.query("SELECT 42"),
    "two queries and terminate": START + wire.query("SELECT 1") + wire.query("SELECT 2") + wire.TERMINATE,
    "a query with an error": START + wire.query("SELECT nothing"),
    "extended queries": START + wire.parse("SELECT 7") + wire.BIND + wire.EXECUTE + wire.SYNC,
    "half a query": START + wire.query("SELECT 1") + wire.query("SELECT 2")[:-3],
    "a large result": START + wire.query("SELECT repeat('x', 1000000) FROM generate_series(1, 8)"),
    "a statement that takes its time": START + wire.query("SELECT pg_sleep(0.4), 42"),
    "an unknown database": wire.startup_message(user="billing", database="nowhere") + wire.query("SELECT 1"),
    "an unknown user": wire.startup_message(user="nobody", database="ledger") + wire.query("SELECT 1"),
    "an unsupported version": wire.startup_message(version=0x40000, user="billing"),
}


def messages_of(answer: bytes) -> list[tuple[bytes, bytes]]:
    """Without what differs from session to session, and from server to server."""
    messages = []
    while answer:
        kind, length = struct.unpack("!cI", answer[:5])
        body, answer = answer[5 : length + 1], answer[length + 1 :]
        if kind == b"E":
            fields = wire.error_fields(body)
            body = (fields["S"], fields["C"], fields["M"].removeprefix(wire.OWN).partition(": server supports")[0])
        messages.append((kind, b"" if kind == b"K" else body))
    return messages


def answer_to(connection: socket.socket, sent: bytes) -> bytes:
    with wire.Conversation(connection) as client:
        client.send(sent)
        connection.shutdown(socket.SHUT_WR)
        return client.receive_to_end()


def answer_over_tls(connection: socket.socket, sent: bytes, version: ssl.TLSVersion, *, fin: bool) -> bytes:
    """All of it in one piece with close_notify, and with FIN or without."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    with connection:
        connection.sendall(wire.SSL_REQUEST)
        assert connection.recv(1) == b"S"
        client = RawTls(connection, context, server_side=False)
        records = client.encrypt(sent)
        connection.sendall(records + client.close_notify())
        if fin:
            connection.shutdown(socket.SHUT_WR)
        return client.receive_to_end()


def connected(address) -> socket.socket:
    if isinstance(address, str):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        connection.connect(address)
        return connection
    return socket.create_connection(address, timeout=20)


UPSTREAMS = {
    "tls": lambda postgres: postgres.upstream(),
    "unix": lambda postgres: postgres.unix_upstream(),
    "preconnected": lambda postgres: postgres.upstream(preconnect=2),
}


class TestInTheLogin:
    """Of a PostgreSQL that lets everybody in, with and without TLS."""

    @pytest.fixture(scope="class")
    def trusting(self, postgres):
        with postgres.reconfigured(hba=TRUST):
            yield postgres

    @pytest.fixture
    def check(self, trusting):
        def check(answer_of_pgveil, names=INPUTS):
            for name in names:
                answers = [messages_of(answer(INPUTS[name])) for answer in (answer_of_pgveil, from_postgres)]
                assert answers[0] == answers[1], name

        def from_postgres(sent):
            return answer_to(connected(f"{trusting.directory}/.s.PGSQL.{trusting.port}"), sent)

        return check

    @pytest.mark.parametrize("upstream", UPSTREAMS.values(), ids=UPSTREAMS)
    def test_the_answers_are_those_of_postgresql(self, pgveil, trusting, check, upstream):
        proxy = pgveil(upstream(trusting))
        check(lambda sent: answer_to(connected(proxy.address), sent))

    def test_and_where_pgveil_logs_in_itself(self, pgveil, trusting, check):
        proxy = pgveil(trusting.upstream(require_auth="none"), listener={"hba": ON_BEHALF})
        check(lambda sent: answer_to(connected(proxy.address), sent))

    def test_and_through_a_unix_socket(self, pgveil, trusting, check, folder):
        proxy = pgveil(trusting.upstream(), listener={"address": f"unix:{folder}/.s.PGSQL.5432"})
        check(lambda sent: answer_to(connected(proxy.address), sent))

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name)
    @pytest.mark.parametrize("fin", [True, False], ids=["with-fin", "with-close-notify-alone"])
    @pytest.mark.parametrize("early", [True, False], ids=["connect-early", "connect-late"])
    def test_and_through_tls(self, pgveil, trusting, check, credentials, version, fin, early):
        proxy = pgveil(trusting.upstream(), listener=certificate(credentials, connect_early=early))
        check(
            lambda sent: answer_over_tls(connected(proxy.address), sent, version, fin=fin),
            ("a query", "half a query", "an unknown database", "a large result"),
        )


class TestWithAPassword:
    """The password may come with the StartupMessage."""

    SENT = (wire.startup_message(user="app", database="ledger") + wire.message(b"p", PASSWORD.encode() + b"\0")
            + wire.query("SELECT 42"))  # fmt: skip

    def test_that_the_server_asks_for(self, pgveil, postgres):
        with postgres.reconfigured(hba="hostssl all all 127.0.0.1/32 password\n"):
            proxy = pgveil(postgres.upstream())
            answer = messages_of(answer_to(connected(proxy.address), self.SENT))
        assert (b"D", b"\0\1\0\0\0\x0242") in answer

    def test_that_pgveil_asks_for(self, pgveil, postgres, credentials):
        proxy = pgveil(postgres.upstream(), listener=certificate(credentials, hba="hostssl all all all password\n"))
        answer = answer_over_tls(connected(proxy.address), self.SENT, ssl.TLSVersion.TLSv1_3, fin=True)
        assert (b"D", b"\0\1\0\0\0\x0242") in messages_of(answer)

    def test_that_pgveil_holds(self, pgveil, postgres, folder):
        passfile = secret_file(folder / "pgpass", f"*:*:ledger:app:{PASSWORD}\n")
        proxy = pgveil(postgres.upstream(passfile=passfile), listener={"hba": ON_BEHALF})
        sent = wire.startup_message(user="app", database="ledger") + wire.query("SELECT 42")
        assert (b"D", b"\0\1\0\0\0\x0242") in messages_of(answer_to(connected(proxy.address), sent))

    @pytest.mark.parametrize("rule", [None, "hostssl all all all scram-sha-256\n"], ids=["relayed", "asked-by-pgveil"])
    def test_who_leaves_to_ask_for_it_ends_the_session_at_once(self, pgveil, postgres, credentials, folder, rule):
        secrets = secret_file(folder / "users", f'"app" "{PASSWORD}"\n')
        rules = {"hba": rule, "auth_file": secrets} if rule else {}
        proxy = pgveil(postgres.upstream(), listener=certificate(credentials, **rules))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = connected(proxy.address)
        connection.sendall(wire.SSL_REQUEST)
        assert connection.recv(1) == b"S"
        client = RawTls(connection, context, server_side=False)
        connection.sendall(client.encrypt(wire.startup_message(user="app", database="ledger")))
        assert client.receive()[:1] == b"R"
        started = time.monotonic()
        connection.sendall(client.close_notify())
        connection.close()
        line = proxy.end_of_session()
        assert time.monotonic() - started < 10
        assert "reason=client_closed " in line and "phase=log_in" in line

    def test_who_leaves_without_tls_ends_the_session_at_once(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream())
        with proxy.connect() as client:
            client.send(wire.startup_message(user="app", database="ledger"))
            assert client.receive_message()[0] == b"R"
        started = time.monotonic()
        assert "reason=client_closed " in proxy.end_of_session()
        assert time.monotonic() - started < 10


def test_an_answer_of_pgveil_itself_arrives(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), listener={"hba": "host all all all reject\n"})
    assert messages_of(answer_to(connected(proxy.address), START))[0][1][1] == "28000"


def test_that_the_server_is_away_arrives(pgveil):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    proxy = pgveil({"host": "localhost", "hostaddr": "127.0.0.1", "port": port, "sslmode": "disable"})
    assert messages_of(answer_to(connected(proxy.address), START))[0][0] == b"E"


@pytest.mark.parametrize("rule", [None, ON_BEHALF], ids=["relayed", "on-behalf"])
@pytest.mark.parametrize("has_tls", [True, False], ids=["tls", "without-tls"])
def test_that_the_server_closes_without_a_word_arrives(pgveil, scripted_server, authority, credentials, rule, has_tls):
    """As a server does that crashes, or a load balancer without servers."""

    def script(peer):
        if has_tls:
            peer.accept_tls(credentials)
        peer.receive_startup_packet()
        peer.close()

    tls = {"sslrootcert": str(authority.file)} if has_tls else {"sslmode": "disable"}
    server = scripted_server(script)
    proxy = pgveil(server.upstream(**tls), listener={"hba": rule} if rule else {})
    answer = messages_of(answer_to(connected(proxy.address), START))
    assert [fields[1] for kind, fields in answer if kind == b"E"] == ["57P03"]
    assert "reason=client_closed" not in proxy.end_of_session()


@pytest.mark.parametrize("resets", [False, True], ids=["without-close-notify", "reset"])
def test_that_the_server_is_cut_in_the_login_arrives(pgveil, scripted_server, authority, credentials, resets):
    def script(peer):
        peer.accept_tls(credentials)
        peer.receive_startup_packet()
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else a reset may come before it
        peer.send(wire.message(b"R", bytes(4)))
        assert peer.receive_to_end() == b""  # pgveil has passed on the end of the client
        with socket.socket(fileno=peer.socket.detach()) as tcp:
            if resets:
                tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    proxy = pgveil(scripted_server(script).upstream(sslrootcert=str(authority.file)))
    answer = messages_of(answer_to(connected(proxy.address), START))
    assert [kind for kind, _ in answer] == [b"R", b"E"] and answer[1][1][1] == "08006"
    assert "reason=upstream_lost" in proxy.end_of_session()


def test_a_cancel_request_is_forwarded(pgveil, scripted_server):
    def script(peer):
        peer.startup = peer.receive_startup_packet()
        peer.close()

    server = scripted_server(script)
    proxy = pgveil(server.upstream(sslmode="disable"))
    assert answer_to(connected(proxy.address), wire.cancel_request(7, b"1234")) == b""
    assert server.finished_peer().startup.endswith(b"1234")
    assert "reason=cancel_forwarded" in proxy.end_of_session()


def slow_login(seconds: float):
    """The script of a server that takes its time before each of its words."""

    def script(peer):
        peer.startup = peer.receive_startup_packet()
        for part in (wire.message(b"R", bytes(4)), wire.message(b"K", bytes(8)), wire.message(b"Z", b"I")):
            time.sleep(seconds)
            peer.send(part)
        peer.receive_message()
        peer.send(wire.message(b"C", b"SELECT 1\0"), wire.message(b"Z", b"I"))

    return script


@pytest.mark.parametrize("rule", [None, ON_BEHALF], ids=["relayed", "on-behalf"])
def test_waiting_for_a_slow_login_costs_no_processor(pgveil, scripted_server, rule):
    server = scripted_server(slow_login(0.4))
    proxy = pgveil(server.upstream(sslmode="disable", require_auth="none"), listener={"hba": rule} if rule else {})
    before = proxy.seconds_of_processor()
    answer = answer_to(connected(proxy.address), START + wire.query("SELECT 1"))
    assert [kind for kind, _ in messages_of(answer)] == [b"R", b"K", b"Z", b"C", b"Z"]
    assert proxy.seconds_of_processor() - before < 0.3


def test_a_client_that_waits_for_a_password_gets_its_answers(pgveil, postgres):
    """The command that prints it takes its time, and meanwhile the client ends its side."""
    with postgres.reconfigured(hba="hostssl all all 127.0.0.1/32 scram-sha-256\n"):
        slow = ["/bin/sh", "-c", f"sleep 0.5; echo '{PASSWORD}'"]
        proxy = pgveil(postgres.upstream(password_command=slow), listener={"hba": ON_BEHALF})
        sent = wire.startup_message(user="app", database="ledger") + wire.query("SELECT current_user")
        before = proxy.seconds_of_processor()
        answer = messages_of(answer_to(connected(proxy.address), sent))
        assert [kind for kind, _ in answer][-4:] == [b"T", b"D", b"C", b"Z"]
        assert proxy.seconds_of_processor() - before < 0.3


def test_a_client_that_waits_after_a_failed_login_gets_its_answers(pgveil, postgres):
    listener = {"hba": "host all billing all trust\n", "failed_login_delay": "1s"}
    proxy = pgveil(postgres.unix_upstream(), listener=listener)
    refused = messages_of(answer_to(connected(proxy.address), wire.startup_message(user="nobody", database="ledger")))
    assert refused[0][1][1] == "28000"
    started = time.monotonic()
    answer = messages_of(answer_to(connected(proxy.address), START + wire.query("SELECT 42")))
    assert [kind for kind, _ in answer][-4:] == [b"T", b"D", b"C", b"Z"]
    assert time.monotonic() - started > 0.8


def test_a_login_that_does_not_end_ends_with_its_time(pgveil, scripted_server):
    """The client has left, but this server does not look."""
    done = threading.Event()

    def script(peer):
        peer.receive_startup_packet()
        done.wait(20)

    server = scripted_server(script)
    proxy = pgveil(server.upstream(sslmode="disable"), limits={"startup_timeout": "1s"})
    started = time.monotonic()
    assert messages_of(answer_to(connected(proxy.address), START))[0][1][1] == "57P03"
    assert 0.8 < time.monotonic() - started < 10
    done.set()


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_a_client_that_is_gone_ends_a_session_that_waits_for_its_server(pgveil, scripted_server, folder, unix):
    """With RST, or by closing a Unix socket: then it is known that nobody reads any more."""
    done = threading.Event()
    server = scripted_server(lambda peer: done.wait(20))
    listener = {"hba": "local all all trust\nhost all all 127.0.0.1/32 trust\n"}
    if unix:
        listener["address"] = f"unix:{folder}/.s.PGSQL.5432"
    proxy = pgveil(server.upstream(sslmode="disable", require_auth="none"), listener=listener)
    connection = connected(proxy.address)
    connection.sendall(START)
    server.peer()
    if not unix:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
    started = time.monotonic()
    reason = "client_closed " if unix else 'client_lost .*detail="?Connection reset'
    assert re.search(f"reason={reason}", proxy.end_of_session())
    assert time.monotonic() - started < 10
    done.set()


def test_a_password_that_the_server_refuses_is_told(pgveil, postgres):
    """The login ends with an ErrorResponse."""
    with postgres.reconfigured(hba="hostssl all all 127.0.0.1/32 password\n"):
        proxy = pgveil(postgres.upstream())
        sent = wire.startup_message(user="app", database="ledger") + wire.message(b"p", b"wrong\0")
        answer = messages_of(answer_to(connected(proxy.address), sent))
    assert answer[-1][1][1] == "28P01"
    assert re.search("reason=login_failed .*sqlstate=28P01", proxy.end_of_session())


def test_a_slow_reader_is_not_hurried(pgveil, scripted_server):
    """Bytes that had to wait and are then written count as activity."""
    row = wire.message(b"d", bytes(60_000))
    rows = 200
    complete = wire.message(b"C", b"COPY 0\0") + wire.message(b"Z", b"I")

    def script(peer):
        peer.log_in()
        peer.receive_message()
        peer.send(row * rows, complete)

    server = scripted_server(script)
    proxy = pgveil(server.upstream(sslmode="disable"), limits={"idle_timeout": "1s"})
    with proxy.connect() as client:
        client.log_in(user="ann", database="ledger")
        client.send(wire.query("COPY t TO STDOUT"))
        client.socket.shutdown(socket.SHUT_WR)
        received = 0
        # A read now and then is activity; all of it takes longer than idle_timeout.
        while received < len(row) * rows:
            part = client.socket.recv(1 << 19)
            assert part, f"after {received} of {len(row) * rows} bytes"
            received += len(part)
            time.sleep(0.1)
    assert "reason=client_closed" in proxy.end_of_session()


def test_a_reader_that_never_reads_is_idle(pgveil, scripted_server):
    done = threading.Event()

    def script(peer):
        peer.log_in()
        peer.receive_message()
        peer.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            while not done.is_set():
                peer.socket.send(bytes(1 << 16))
                time.sleep(0.001)
        done.wait(20)

    server = scripted_server(script)
    proxy = pgveil(server.upstream(sslmode="disable"), limits={"idle_timeout": "1s"})
    with proxy.connect() as client:
        client.log_in(user="ann", database="ledger")
        client.send(wire.query("COPY t TO STDOUT"))
        client.socket.shutdown(socket.SHUT_WR)
        assert "reason=idle_timeout" in proxy.end_of_session()
    done.set()
    eventually(lambda: server.peer().finished.is_set())


def test_the_answer_to_a_long_statement_arrives(pgveil, scripted_server):
    """The time of the statement does not count, neither before nor after the client's end."""

    def script(peer):
        peer.log_in()
        peer.receive_message()
        time.sleep(32)
        peer.send(wire.message(b"C", b"SELECT 1\0"), wire.message(b"Z", b"I"))

    server = scripted_server(script)
    proxy = pgveil(server.upstream(sslmode="disable"))
    with proxy.connect(patience=60) as client:
        client.log_in(user="ann", database="ledger")
        client.send(wire.query("SELECT 1"))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.receive_to_end() == wire.message(b"C", b"SELECT 1\0") + wire.message(b"Z", b"I")
    assert "reason=client_closed" in proxy.end_of_session()


@pytest.mark.parametrize("kind", ["tcp", "tls", "unix"])
def test_a_client_that_is_gone_is_noticed(pgveil, scripted_server, credentials, authority, folder, kind):
    """Over TCP by its keepalives: its kernel resets the connection of a socket that no process has."""
    done = threading.Event()

    def script(peer):
        peer.log_in()
        peer.receive_message()
        done.wait(60)

    server = scripted_server(script)
    listener = {"tcp_keepalives_idle": "1s", "tcp_keepalives_interval": "1s"}
    if kind == "tls":
        listener.update(certificate(credentials))
    elif kind == "unix":
        listener = {"address": f"unix:{folder}/.s.PGSQL.5432"}
    proxy = pgveil(server.upstream(sslmode="disable"), listener=listener)
    started = time.monotonic()
    with tls_client(proxy, authority) if kind == "tls" else proxy.connect() as client:
        client.send(wire.startup_message(user="ann", database="ledger"))
        client.receive_until(b"Z")
        client.send(wire.query("SELECT 1"))
        if kind != "unix":
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 1)
        # The end of the client's side comes first: pgveil then waits for the last answer.
        client.socket.shutdown(socket.SHUT_WR)
        time.sleep(1.5)
    assert "reason=client_closed" in proxy.end_of_session()
    assert time.monotonic() - started < 20
    done.set()
