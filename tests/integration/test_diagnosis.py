"""Who is told what: DETAIL and HINT name hosts, files and settings, and are for clients on this machine only."""

import socket

import pytest

from harness import wire
from harness.network import LINK_LOCAL, NEAR
from harness.tls_clients import certificate, tls_socket

MESSAGE_ONLY = {"S", "V", "C", "M"}


@pytest.fixture
def closed_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # does not listen, and nobody else can have it
        yield held.getsockname()[1]


def error_for(namespace, proxy, host, startup, **tls) -> dict:
    with namespace.entered():
        if tls:
            proxy.address = (host, proxy.address[1])
            client = wire.Conversation(tls_socket(proxy, **tls))
        else:
            client = wire.Conversation(socket.create_connection((host, proxy.address[1]), timeout=20))
    with client:
        client.send(startup)
        return client.receive_error()


def address_of(host: str) -> str:
    return f"[{host}]:0" if ":" in host else f"{host}:0"


LOCAL = ["127.0.0.1", "127.8.9.10", "::1"]
NETWORK = [NEAR, f"{LINK_LOCAL}%lo"]


class TestTheDiagnosis:
    """Of a server that cannot be reached: DETAIL has its address."""

    STARTUP = wire.startup_message(user="app", database="ledger")

    def upstream(self, closed_port, authority):
        return {"host": "localhost", "hostaddr": "127.0.0.1", "port": closed_port, "sslrootcert": str(authority.file)}

    @pytest.mark.parametrize("host", LOCAL)
    def test_is_for_a_client_on_this_machine(self, namespace, pgveil, authority, closed_port, host):
        proxy = pgveil(self.upstream(closed_port, authority), listener={"address": address_of(host)},
                       prefix=namespace.prefix)  # fmt: skip
        error = error_for(namespace, proxy, host, self.STARTUP)
        assert str(closed_port) in error["D"] and error["H"]
        assert error["M"] == "pgveil: could not connect to the server"

    def test_is_for_a_client_at_a_unix_socket(self, pgveil, authority, closed_port, folder):
        proxy = pgveil(self.upstream(closed_port, authority), listener={"address": f"unix:{folder}/.s.PGSQL.5432"})
        with proxy.connect() as client:
            client.send(self.STARTUP)
            error = client.receive_error()
        assert str(closed_port) in error["D"] and error["H"]

    @pytest.mark.parametrize("listens_on", ["its address", "all addresses"])
    @pytest.mark.parametrize("host", NETWORK)
    def test_is_not_for_a_client_of_the_network(self, namespace, pgveil, authority, closed_port, host, listens_on):
        everywhere = "::" if ":" in host else "0.0.0.0"
        listener = {"address": address_of(host if listens_on == "its address" else everywhere),
                    "allow_plaintext_from_network": True}  # fmt: skip
        proxy = pgveil(self.upstream(closed_port, authority), listener=listener, prefix=namespace.prefix)
        error = error_for(namespace, proxy, host, self.STARTUP)
        assert set(error) == MESSAGE_ONLY
        assert error["M"] == "pgveil: could not connect to the server"
        assert str(closed_port) not in str(error) and "127.0.0.1" not in str(error)
        assert str(closed_port) in proxy.end_of_session()  # the log has it all

    def test_is_not_for_one_that_came_with_tls(self, namespace, pgveil, authority, credentials, closed_port):
        proxy = pgveil(self.upstream(closed_port, authority), prefix=namespace.prefix,
                       listener=certificate(credentials, address=f"{NEAR}:0"))  # fmt: skip
        error = error_for(namespace, proxy, NEAR, self.STARTUP, authority=authority)
        assert set(error) == MESSAGE_ONLY

    @pytest.mark.parametrize("host", ["127.0.0.1", NEAR])
    def test_of_the_clients_own_error_is_no_exception(self, namespace, pgveil, postgres, credentials, host):
        """A client without TLS, where it is required: the HINT names sslmode."""
        proxy = pgveil(postgres.unix_upstream(), prefix=namespace.prefix,
                       listener=certificate(credentials, address=f"{host}:0"))  # fmt: skip
        error = error_for(namespace, proxy, host, self.STARTUP)
        assert ("sslmode" in error.get("H", "")) == (host == "127.0.0.1")

    @pytest.mark.parametrize("host", ["127.0.0.1", NEAR])
    def test_of_a_limit_is_no_exception(self, namespace, pgveil, postgres, host):
        listener = {"address": f"{host}:0"}
        if host != "127.0.0.1":
            listener["allow_plaintext_from_network"] = True
        proxy = pgveil(postgres.unix_upstream(), listener=listener, limits={"max_sessions": 1}, prefix=namespace.prefix)
        with namespace.entered():
            first = proxy.connect()
        with first:
            first.log_in(user="billing", database="ledger")
            error = error_for(namespace, proxy, host, self.STARTUP)
        assert error["C"] == "53300"
        assert ("max_sessions" in error.get("H", "")) == (host == "127.0.0.1")
