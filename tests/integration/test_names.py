"""Host names: those of upstreams, and those of clients for rules that go by them. One that nobody answers for delays nothing
but its own sessions."""

import contextlib
import time

import pytest

from harness import wire
from harness.network import Names
from harness.processes import PATIENCE, eventually
from harness.scripted_server import verified_session
from harness.wire import Client


@pytest.fixture
def there(scripted_server, authority):
    """Starts a server in the network of `names` whose certificate is for all names of the test."""
    certificate = authority.issue("db.test", dns=["db.test", "db.first.test", "localhost", "db"])

    def start(network, script=None):
        with network.entered():
            return scripted_server(script or verified_session(certificate))

    return start


@pytest.fixture
def start(pgveil, authority, folder):
    """pgveil in the network, with a listener on a Unix socket for each upstream."""

    def start(network, *hosts, limits=None, **settings):
        configuration = {
            "listener": [{"address": f"unix:{folder}/.s.PGSQL.{7000 + number}", "upstream": f"u{number}"}
                         for number in range(len(hosts))],
            "upstream": {f"u{number}": {"host": host, "port": port, "sslrootcert": str(authority.file), **settings}
                         for number, (host, port) in enumerate(hosts)},
            "limits": {"workers": 1, **(limits or {})},
        }  # fmt: skip
        return pgveil(configuration=configuration, prefix=network.prefix)

    return start


def logs_in(address, patience: float = PATIENCE) -> float:
    began = time.monotonic()
    with Client(address, patience) as client:
        client.log_in(user="ann", database="ledger")
    return time.monotonic() - began


def ask(stack: contextlib.ExitStack, address) -> Client:
    client = stack.enter_context(Client(address))
    client.send(wire.startup_message(user="ann", database="ledger"))
    return client


def test_a_silent_zone_delays_no_other_name(names, there, start):
    network = names(hosts="127.0.0.1 localhost db\n")
    network.answers |= {"silent.test": Names.SILENT, "db.test": "127.0.0.1"}
    server = there(network)
    proxy = start(network, ("silent.test", 5432), ("db.test", server.port), ("db", server.port), ("localhost", server.port))
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            ask(stack, proxy.addresses[0])
        eventually(lambda: network.asked_for("silent.test"))
        for address in proxy.addresses[1:]:
            assert logs_in(address) < 5
    assert network.asked_for("db") == 0 and network.asked_for("localhost") == 0


def test_equal_names_are_looked_up_once_at_a_time(names, start):
    network = names(options="options timeout:5\n")
    network.answers["silent.test"] = Names.SILENT
    proxy = start(network, ("silent.test", 5432))
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            ask(stack, proxy.address)
        stack.enter_context(proxy.connect()).send(wire.startup_message(version=9 << 16, user="ann"))
        proxy.end_of_session()  # this one came after all others
    assert network.asked_for("silent.test") == 2  # for IPv4 and IPv6


def test_each_session_looks_the_name_up_again(names, there, start):
    network = names()
    network.answers["db.test"] = "127.0.0.1"
    server = there(network)
    proxy = start(network, ("db.test", server.port))
    logs_in(proxy.address)
    network.answers["db.test"] = "127.0.0.77"
    with proxy.connect() as client:
        client.send(wire.startup_message(user="ann", database="ledger"))
        assert "(127.0.0.77:" in client.receive_error()["D"]


def test_search_domains_are_tried(names, there, start):
    network = names(options="search second.test first.test\n")
    network.answers["db.first.test"] = "127.0.0.1"
    server = there(network)
    assert logs_in(start(network, ("db", server.port)).address) < 5


def test_a_lost_packet_costs_little(names, there, start):
    network = names(options="options timeout:1\n")
    network.answers["db.test"] = Names.SILENT
    server = there(network)
    proxy = start(network, ("db.test", server.port))
    with proxy.connect() as client:
        client.send(wire.startup_message(user="ann", database="ledger"))
        eventually(lambda: network.asked_for("db.test"))
        network.answers["db.test"] = "127.0.0.1"
        began = time.monotonic()
        client.receive_until(b"Z")
        assert time.monotonic() - began < 5


def test_a_look_up_is_given_up_at_connect_timeout(names, start):
    network = names()
    network.answers["silent.test"] = Names.SILENT
    proxy = start(network, ("silent.test", 5432), connect_timeout="500ms")
    with proxy.connect() as client:
        client.send(wire.startup_message(user="ann", database="ledger"))
        began = time.monotonic()
        assert "silent.test" in client.receive_error()["D"]
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("signals", [1, 2])
def test_sigterm_waits_for_no_look_up(names, start, signals):
    network = names()
    hosts = [f"silent{number}.test" for number in range(10)]
    network.answers |= dict.fromkeys(hosts, Names.SILENT)
    proxy = start(network, *((host, 5432) for host in hosts))
    with contextlib.ExitStack() as stack:
        for address in proxy.addresses:
            ask(stack, address)
        eventually(lambda: all(network.asked_for(host) for host in hosts))
        began = time.monotonic()
        if signals == 2:
            proxy.stop()
        assert proxy.stop() == 0
        assert time.monotonic() - began < 5


def test_sigterm_waits_for_no_look_up_for_connections_made_ahead(names, start):
    network = names()
    network.answers["silent.test"] = Names.SILENT
    proxy = start(network, ("silent.test", 5432), preconnect=2)
    eventually(lambda: network.asked_for("silent.test"))
    began = time.monotonic()
    assert proxy.stop() == 0
    assert time.monotonic() - began < 5


class TestOfClients:
    """Rules by host name."""

    HBA = "host all all .friends.test relay\n"

    @pytest.fixture
    def listen(self, pgveil, authority):
        def listen(network, port, **listener):
            listener = {"hba": self.HBA, **listener}
            upstream = {"host": "db.test", "port": port, "sslrootcert": str(authority.file)}
            return pgveil(upstream, listener=listener, limits={"workers": 1}, prefix=network.prefix)

        return listen

    def attempt(self, network, proxy):
        with network.entered(), proxy.connect() as client:
            client.send(wire.startup_message(user="ann", database="ledger"))
            return client.receive_message()[0]

    @pytest.mark.parametrize("leads_back", [True, False])
    def test_a_name_that_leads_back_lets_in(self, names, there, listen, leads_back):
        network = names(hosts="")
        network.answers |= {
            "db.test": "127.0.0.1", "1.0.0.127.in-addr.arpa": "client.friends.test",
            "client.friends.test": "127.0.0.1" if leads_back else "127.0.0.2",
        }  # fmt: skip
        server = there(network)
        kind = self.attempt(network, listen(network, server.port))
        assert kind == (b"R" if leads_back else b"E")

    def test_a_name_of_the_hosts_file_lets_in(self, names, there, listen):
        network = names(hosts="127.0.0.1 client.friends.test db.test\n")
        server = there(network)
        assert self.attempt(network, listen(network, server.port)) == b"R"
        assert network.questions == []

    def test_sigterm_waits_for_no_name_of_a_client(self, names, there, listen):
        network = names(hosts="")
        network.answers["1.0.0.127.in-addr.arpa"] = Names.SILENT
        proxy = listen(network, 5432)
        with network.entered(), proxy.connect() as client:
            client.send(wire.startup_message(user="ann", database="ledger"))
            eventually(lambda: network.questions)
            began = time.monotonic()
            assert proxy.stop() == 0
            assert time.monotonic() - began < 5

    def test_a_client_that_leaves_ends_its_look_up(self, names, there, listen):
        network = names(hosts="", options="options timeout:1\n")
        network.answers["1.0.0.127.in-addr.arpa"] = Names.SILENT
        proxy = listen(network, 5432)
        with network.entered(), proxy.connect() as client:
            client.send(wire.startup_message(user="ann", database="ledger"))
            eventually(lambda: network.questions)
        proxy.end_of_session()
        asked = len(network.questions)
        time.sleep(1.2)
        assert len(network.questions) == asked
