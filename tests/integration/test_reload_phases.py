"""A reload that changes everything, while a session is in each of its phases. The session continues under the configuration under
which it began."""

import base64
import contextlib
import re
import socket
import ssl
import struct
import threading

import pytest

from harness import wire
from harness.audit import to_file
from harness.audit_pipe import Fifo, fill_audit
from harness.certificates import Authority
from harness.network import Names
from harness.pgveil import parse_address, toml
from harness.processes import PATIENCE, eventually
from harness.raw_tls import RawTls
from harness.reloadable import Reloadable
from harness.scram import Exchange, Keys, attributes
from harness.scripted_server import verified_session
from harness.secrets import secret_file

START = wire.startup_message(user="billing", database="ledger")
ASK = wire.query("SELECT current_user")
READY = wire.message(b"Z", b"I")
VERIFIED = struct.pack("!HI", 1, 8) + b"verified"  # the row of a scripted server


class Changing:
    """A pgveil, and a reload that changes its listener, its upstream, its limits, and the content of every file."""

    def __init__(self, folder, pgveil, authority, postgres, upstream=None, *, host="all", method="relay", network=None,
                 connect_early=False, **sections):
        self.folder, self.authority, self.postgres, self.network = folder, authority, postgres, network
        (folder / "other-ca").mkdir()
        self.other_authority = Authority(folder / "other-ca", "another root")
        self._place_files(authority, f"host all billing {host} {method}\nhost all all all reject\n", "old secret")
        self.configuration = {
            "listener": [{
                "address": "127.0.0.1:0", "upstream": "old", "tls": "optional", "hba_file": f"{folder}/hba",
                "ssl_cert_file": f"{folder}/server.crt", "ssl_key_file": f"{folder}/server.key", "ssl_ca_file": f"{folder}/ca.crt",
                **({"connect_early": True} if connect_early else {}),
            }],
            "upstream": {"old": upstream or postgres.unix_upstream()},
            "reload": {"watch": False},
            **sections,
        }  # fmt: skip
        self._file = folder / "changing.toml"
        self._write()
        self.proxy = pgveil(flags=["--config", self._file], prefix=network.prefix if network else ())
        self.sockets = self.proxy.sockets()

    def entered(self):
        """Where clients find pgveil."""
        return self.network.entered() if self.network else contextlib.nullcontext()

    def connect(self) -> wire.Client:
        """Returns once pgveil has accepted the client."""
        before = self.proxy.sockets()
        with self.entered():
            client = self.proxy.connect()
        eventually(lambda: self.proxy.sockets() > before)
        return client

    def change_everything(self) -> None:
        self._place_files(self.other_authority, "host all orders all relay\n", "new secret")
        listener = self.configuration["listener"][0]
        listener.update(address="127.0.0.2:0", upstream="new", database="ledger")
        listener.pop("connect_early", None)
        self.configuration["upstream"] = {"new": self.postgres.unix_upstream()}
        self.configuration["limits"] = {"max_sessions": 1, "max_unauthenticated_clients": 1, "startup_timeout": "2s",
                                        "idle_timeout": "1s"}  # fmt: skip
        self._write()
        lines = "\n".join(self.proxy.reload())
        assert " I reloaded trigger=SIGHUP " in lines and " I not_listening address=127.0.0.1:" in lines, lines
        self.proxy.address = parse_address(re.search(r" I listening address=(\S+)", lines)[1])

    def check(self) -> None:
        """The sessions have left nothing, and new clients have the new configuration."""
        eventually(lambda: self.proxy.sockets() == self.sockets)
        with self.connect() as client:
            client.send(START)
            assert 'user "billing"' in client.receive_error()["M"]
        eventually(lambda: self.proxy.sockets() == self.sockets)
        with self.connect() as client:
            client.log_in(user="orders", database="ledger")
        eventually(lambda: self.proxy.sockets() == self.sockets)

    def _place_files(self, authority, hba: str, secret: str) -> None:
        credentials = authority.issue("localhost", dns=["localhost"])
        for name, content in (
            ("server.crt", credentials.certificate.read_bytes()), ("server.key", credentials.key.read_bytes()),
            ("ca.crt", authority.file.read_bytes()), ("hba", hba.encode()),
        ):  # fmt: skip
            path = self.folder / name
            path.touch(0o600)
            path.write_bytes(content)
        secret_file(self.folder / "passfile", f"*:*:*:billing:{secret}\n")

    def _write(self) -> None:
        self._file.write_text(toml(self.configuration), encoding="utf-8")


@pytest.fixture
def changing(folder, pgveil, authority, postgres):
    return lambda *arguments, **settings: Changing(folder, pgveil, authority, postgres, *arguments, **settings)


class Gate:
    """Holds the script of a server until a test opens it."""

    def __init__(self):
        self._reached, self._opened = threading.Event(), threading.Event()

    def wait(self) -> None:
        self._reached.set()
        assert self._opened.wait(PATIENCE)

    def wait_until_reached(self) -> None:
        assert self._reached.wait(PATIENCE), "the server was not asked"

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open()


def wait_until_logged_in(client) -> None:
    while (message := client.receive_message())[0] != b"Z":
        assert message[0] != b"E", wire.error_fields(message[1])


def is_served(client) -> None:
    """By PostgreSQL, as billing: the new rules refuse this user."""
    wait_until_logged_in(client)
    assert client.rows("SELECT current_user") == [struct.pack("!HI", 1, 7) + b"billing"]
    client.send(wire.TERMINATE)
    assert client.receive_to_end() == b""
    client.close()


def is_served_over_tls(client: RawTls) -> None:
    client.socket.sendall(client.encrypt(START))
    client.receive_until(READY)
    is_asked_over_tls(client)


def is_asked_over_tls(client: RawTls) -> None:
    client.socket.sendall(client.encrypt(ASK))
    assert b"billing" in client.receive_until(READY)
    client.socket.sendall(client.encrypt(wire.TERMINATE) + client.close_notify())
    assert client.receive_to_end() == b""
    client.socket.close()


def is_served_after_a_reload(running: Changing, gate: Gate) -> None:
    """By the scripted server of the old upstream. The gate holds it until the reload is done."""
    client = running.connect()
    client.send(START)
    gate.wait_until_reached()
    running.change_everything()
    gate.open()
    wait_until_logged_in(client)
    assert client.rows("SELECT 1") == [VERIFIED]
    client.close()
    running.check()


class ChallengedClient(wire.Client):
    """A client that has got the challenge of SCRAM-SHA-256, and has not answered it."""

    def __init__(self, address):
        super().__init__(address)
        self.send(START)
        assert b"SCRAM-SHA-256" in self.receive_message()[1]
        self._exchange = Exchange(Keys(""))
        self.send(self._exchange.initial_response())
        kind, body = self.receive_message()
        assert (kind, body[:4]) == (b"R", struct.pack("!I", 11))
        self._challenge = body[4:]

    def prove(self, password: str) -> None:
        """Answers the challenge as one who knows this password."""
        asked = attributes(self._challenge)
        self._exchange.keys = Keys(password, base64.b64decode(asked["s"]), int(asked["i"]))
        self.send(self._exchange.response(self._challenge))


class BeforeTheNextBytes:
    """A socket that calls `action` once, before the next bytes that it has received are used."""

    def __init__(self, connection: socket.socket, action):
        self._connection, self._action = connection, action

    def recv(self, size: int) -> bytes:
        received = self._connection.recv(size)
        action, self._action = self._action, lambda: None
        action()
        return received

    def __getattr__(self, name: str):
        return getattr(self._connection, name)


def context_for(authority, **settings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    context.set_alpn_protocols(["postgresql"])
    for name, value in settings.items():
        setattr(context, name, value)
    return context


class TestNegotiate:
    @pytest.mark.parametrize("sent", [0, 5, len(START) - 1])
    def test_a_client_that_has_not_sent_all_of_its_startup_message(self, changing, sent):
        running = changing()
        client = running.connect()
        client.send(START[:sent])
        running.change_everything()
        client.send(START[sent:])
        is_served(client)
        running.check()

    def test_a_client_that_then_asks_for_tls(self, changing, authority):
        running = changing()
        client = running.connect()
        client.send(wire.SSL_REQUEST[:7])
        running.change_everything()
        client.send(wire.SSL_REQUEST[7:])
        assert client.receive(1) == b"S"
        is_served_over_tls(RawTls(client.socket, context_for(authority), server_side=False, name="localhost"))
        running.check()


class TestAcceptTls:
    def test_before_the_client_hello(self, changing, authority):
        running = changing()
        client = running.connect()
        client.send(wire.SSL_REQUEST)
        assert client.receive(1) == b"S"
        running.change_everything()
        is_served_over_tls(RawTls(client.socket, context_for(authority), server_side=False, name="localhost"))
        running.check()

    @pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
    def test_before_the_last_message_of_the_client(self, changing, authority, version):
        running = changing()
        client = running.connect()
        client.send(wire.SSL_REQUEST)
        assert client.receive(1) == b"S"
        connection = BeforeTheNextBytes(client.socket, running.change_everything)
        context = context_for(authority, maximum_version=ssl.TLSVersion[version])
        is_served_over_tls(RawTls(connection, context, server_side=False, name="localhost"))
        running.check()

    def test_with_a_connection_that_was_made_early(self, changing, authority, scripted_server, credentials, folder):
        server = scripted_server(verified_session(credentials))
        running = changing(server.upstream(sslrootcert=f"{folder}/ca.crt"), connect_early=True)
        client = running.connect()
        client.send(wire.SSL_REQUEST)
        assert client.receive(1) == b"S"
        server.peer()
        running.change_everything()
        tls = RawTls(client.socket, context_for(authority), server_side=False, name="localhost")
        client.socket.sendall(tls.encrypt(START, ASK))
        assert b"verified" in tls.receive_until(wire.message(b"C", b"SELECT 1\0") + READY)
        client.close()
        running.check()
        assert len(server.peers) == 1

    def test_a_client_that_fails(self, changing, authority):
        """It trusts the new authority only, and its session still has the certificate of the old one."""
        running = changing()
        client = running.connect()
        client.send(wire.SSL_REQUEST)
        assert client.receive(1) == b"S"
        running.change_everything()
        with pytest.raises(ssl.SSLCertVerificationError):
            RawTls(client.socket, context_for(running.other_authority), server_side=False, name="localhost")
        client.close()
        running.check()


class TestReadStartup:
    @pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
    def test_inside_tls(self, changing, authority, version):
        running = changing()
        client = running.connect()
        client.send(wire.SSL_REQUEST)
        assert client.receive(1) == b"S"
        context = context_for(authority, maximum_version=ssl.TLSVersion[version])
        tls = RawTls(client.socket, context, server_side=False, name="localhost")
        running.change_everything()
        is_served_over_tls(tls)
        running.check()


class TestAuthorize:
    def test_a_client_whose_host_name_is_looked_up(self, changing, names):
        network = names(hosts="", options="options timeout:1\n")
        network.answers |= {"1.0.0.127.in-addr.arpa": Names.SILENT, "client.friends.test": "127.0.0.1"}
        running = changing(host=".friends.test", network=network)
        client = running.connect()
        client.send(START)
        eventually(lambda: network.questions)
        running.change_everything()
        network.answers["1.0.0.127.in-addr.arpa"] = "client.friends.test"
        is_served(client)
        running.check()

    def test_a_client_that_waits_for_room_in_the_audit_file(self, changing, folder):
        audit = Fifo(folder)
        running = changing(audit=to_file(audit.path))
        with fill_audit(running.proxy) as refused, running.connect() as client:
            client.send(START)
            running.change_everything()
            audit.read()
            refused.receive_error()
            is_served(client)
            audit.read()
        running.check()
        audit.close()


class TestConnect:
    def test_to_a_server_that_does_not_answer_yet(self, changing, scripted_server, credentials, gate, folder):
        def script(peer):
            peer.receive_ssl_request()
            gate.wait()
            peer.send(b"S")
            peer.start_tls(credentials)
            peer.log_in()
            peer.serve()

        running = changing(scripted_server(script).upstream(sslrootcert=f"{folder}/ca.crt"))
        is_served_after_a_reload(running, gate)

    def test_to_the_next_host_of_the_upstream(self, changing, scripted_server, credentials, gate, folder):
        """The first host fails after the reload has removed the upstream."""

        def fail(peer):
            peer.receive_ssl_request()
            gate.wait()
            peer.socket.shutdown(socket.SHUT_RDWR)

        servers = [scripted_server(fail), scripted_server(verified_session(credentials))]
        running = changing({
            "host": "localhost,localhost", "hostaddr": "127.0.0.1,127.0.0.1",
            "port": ",".join(str(server.port) for server in servers), "sslrootcert": f"{folder}/ca.crt",
        })  # fmt: skip
        is_served_after_a_reload(running, gate)


class TestVerifyUpstream:
    def test_a_server_whose_certificate_comes_later(self, changing, scripted_server, credentials, gate, folder):
        """The authority that the session trusts is not in the file any more."""

        def script(peer):
            peer.receive_ssl_request()
            peer.send(b"S")
            peer.socket.recv(1, socket.MSG_PEEK)  # of the ClientHello
            gate.wait()
            peer.start_tls(credentials)
            peer.log_in()
            peer.serve()

        running = changing(scripted_server(script).upstream(sslrootcert=f"{folder}/ca.crt"))
        is_served_after_a_reload(running, gate)


class TestLogIn:
    def test_a_client_that_is_asked_for_its_password(self, changing, scripted_server, credentials, folder):
        def script(peer):
            peer.accept_tls(credentials)
            peer.receive_startup_packet()
            peer.send(wire.message(b"R", struct.pack("!I", 3)))
            assert peer.receive_message() == (b"p", b"secret\0")
            self.let_in(peer)

        running = changing(scripted_server(script).upstream(sslrootcert=f"{folder}/ca.crt", require_auth="password"))
        client = running.connect()
        client.send(START)
        assert client.receive_message() == (b"R", struct.pack("!I", 3))
        running.change_everything()
        client.send(wire.message(b"p", b"secret\0"))
        wait_until_logged_in(client)
        assert client.rows("SELECT 1") == [VERIFIED]
        client.close()
        running.check()

    def test_on_behalf_of_a_client_with_the_password_of_before(self, changing, scripted_server, credentials, gate, folder):
        def script(peer):
            peer.accept_tls(credentials)
            peer.receive_startup_packet()
            gate.wait()
            peer.send(wire.message(b"R", struct.pack("!I", 3)))
            assert peer.receive_message() == (b"p", b"old secret\0")
            self.let_in(peer)

        server = scripted_server(script)
        running = changing(
            server.upstream(sslrootcert=f"{folder}/ca.crt", require_auth="password", passfile=f"{folder}/passfile"),
            method="trust",
        )
        is_served_after_a_reload(running, gate)

    @pytest.mark.parametrize("form", ["passwords", "verifiers"])
    def test_between_the_challenge_of_scram_and_the_proof(self, pgveil, postgres, folder, form):
        """The secret of before counts for these logins, and the new one for the next."""
        users = folder / "users"

        def write(password: str) -> None:
            secret_file(users, f'"billing" "{password if form == "passwords" else Keys(password).secret()}"\n')

        write("old secret")
        running = Reloadable(folder, pgveil, {
            "listener": [{"address": "127.0.0.1:0", "upstream": "primary", "hba": "host all billing all scram-sha-256\n",
                          "auth_file": str(users)}],
            "upstream": {"primary": postgres.unix_upstream(require_auth="scram-sha-256,none")},
            "reload": {"watch": False},
        })  # fmt: skip
        with ChallengedClient(running.proxy.address) as client, ChallengedClient(running.proxy.address) as early:
            write("new secret")
            running.reload_successfully()
            early.prove("new secret")
            assert early.receive_error()["C"] == "28P01"
            client.prove("old secret")
            is_served(client)
        with ChallengedClient(running.proxy.address) as late, ChallengedClient(running.proxy.address) as client:
            late.prove("old secret")
            assert late.receive_error()["C"] == "28P01"
            client.prove("new secret")
            is_served(client)

    @staticmethod
    def let_in(peer) -> None:
        peer.send(wire.message(b"R", struct.pack("!I", 0)), wire.message(b"Z", b"I"))
        peer.serve()


class TestRelay:
    def test_in_a_transaction(self, changing):
        running = changing()
        client = running.connect()
        client.log_in(user="billing", database="ledger")
        client.rows("BEGIN")
        client.rows("CREATE TEMP TABLE kept (n int) ON COMMIT DROP")
        client.send(wire.query("INSERT INTO kept VALUES (7)")[:9])
        running.change_everything()
        client.send(wire.query("INSERT INTO kept VALUES (7)")[9:])
        client.receive_until(b"Z")
        assert client.rows("SELECT n FROM kept") == [struct.pack("!HI", 1, 1) + b"7"]
        client.rows("COMMIT")
        client.send(wire.query("SELECT current_user"))
        is_served(client)
        running.check()

    def test_with_tls_on_both_sides(self, changing, authority, postgres, folder):
        own = authority.issue_to_client("pgveil")
        running = changing(postgres.upstream(
            sslrootcert=f"{folder}/ca.crt", sslcert=str(own.certificate), sslkey=str(own.key), require_auth="none",
        ))  # fmt: skip
        client = running.connect()
        client.send(wire.SSL_REQUEST)
        assert client.receive(1) == b"S"
        tls = RawTls(client.socket, context_for(authority), server_side=False, name="localhost")
        client.socket.sendall(tls.encrypt(START))
        tls.receive_until(READY)
        running.change_everything()
        is_asked_over_tls(tls)
        running.check()


class TestForwardCancel:
    @pytest.fixture
    def server(self, scripted_server, credentials, gate):
        """Its first connection is a session; the gate holds the other ones, which are cancel requests."""
        session = verified_session(credentials)

        def script(peer):
            if peer is server.peers[0]:
                return session(peer)
            peer.accept_tls(credentials)
            peer.packet = peer.receive_startup_packet()
            gate.wait()

        server = scripted_server(script)
        yield server

    @pytest.fixture
    def session(self, changing, server, folder):
        """A pgveil with a session."""
        running = changing(server.upstream(sslrootcert=f"{folder}/ca.crt"))
        client = running.connect()
        client.log_in(user="billing", database="ledger")
        return running, client

    def test_until_the_server_has_closed(self, session, server, gate):
        running, client = session
        canceller = running.connect()
        canceller.send(wire.cancel_request(client.process_id, client.key))
        gate.wait_until_reached()
        running.change_everything()
        self.finish(running, client, canceller, server, gate)

    def test_that_comes_after_the_reload_reaches_the_server_of_its_session(self, session, server, gate):
        """Through the new listener, whose upstream is another one."""
        running, client = session
        running.change_everything()
        canceller = running.connect()
        canceller.send(wire.cancel_request(client.process_id, client.key))
        gate.wait_until_reached()
        self.finish(running, client, canceller, server, gate)

    @staticmethod
    def finish(running, client, canceller, server, gate) -> None:
        assert server.peer(1).packet == wire.cancel_request(client.process_id, client.key)[4:]
        gate.open()
        server.peer(1).close()
        assert canceller.receive_to_end() == b""
        canceller.close()
        assert client.rows("SELECT 1") == [VERIFIED]
        client.close()
        running.check()


class TestClosing:
    def test_a_client_that_was_refused_and_does_not_close(self, changing):
        running = changing()
        client = running.connect()
        client.send(wire.startup_message(user="orders", database="ledger"))
        assert "pg_hba.conf rejects connection" in client.receive_error()["M"]
        running.change_everything()
        assert client.receive_to_end() == b""
        client.close()
        running.check()

    def test_a_client_that_reads_its_last_bytes_later(self, changing, scripted_server, credentials, folder):
        """The session has ended by idle_timeout, and bytes wait for the client."""

        def script(peer):
            peer.accept_tls(credentials)
            peer.log_in()
            peer.receive_message()
            while True:
                peer.send(wire.message(b"d", bytes(60_000)))

        server = scripted_server(script)
        running = changing(server.upstream(sslrootcert=f"{folder}/ca.crt"), limits={"idle_timeout": "1s"})
        client = running.connect()
        client.log_in(user="billing", database="ledger")
        client.send(wire.query("COPY t TO STDOUT"))
        running.proxy.wait_for_line("session_closed.* reason=idle_timeout")
        running.change_everything()
        assert running.proxy.sockets() > running.sockets
        assert len(client.receive_to_end()) > 60_000
        client.close()
        running.check()
