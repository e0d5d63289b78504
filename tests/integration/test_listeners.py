"""Addresses that stand for several sockets, for an interface, or for no file; and how dead clients are noticed."""

import ctypes
import errno
import fcntl
import os
import pwd
import re
import socket
import sys
import termios
import uuid

import pytest

from harness import wire
from harness.network import FAR, LINK_LOCAL, NEAR, port_in_use_at
from harness.pgveil import BINARY, EX_UNAVAILABLE, parse_address, psql
from harness.processes import eventually, run
from harness.scripted_server import verified_session

PIDFD_GETFD = 438


def both_ports(proxy) -> list:
    """Of a listener with two addresses."""
    found = proxy.wait_for_lines(r" listening address=(\S+)", 2)
    return [parse_address(match[1]) for match in found]


class TestLocalhost:
    def test_is_listened_on_with_both_families_at_one_port(self, pgveil, postgres):
        proxy = pgveil(postgres.unix_upstream(), listener={"address": "localhost:0"})
        (first, port), (second, same) = both_ports(proxy)
        assert (first, second) == ("127.0.0.1", "::1") and port == same != 0
        for host in (first, second):
            done = psql(f"host={host} port={port} user=billing dbname=ledger sslmode=disable", "SELECT 1")
            assert done.stdout == "1\n", done.stderr

    def test_is_closed_with_both(self, pgveil, postgres):
        proxy = pgveil(postgres.unix_upstream(), listener={"address": "localhost:0"})
        addresses = both_ports(proxy)
        assert proxy.stop() == 0
        for address in addresses:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address)

    def test_takes_no_port_that_one_family_has_in_use(self, postgres, refusal):
        with port_in_use_at("::1") as port:
            said = refusal(postgres.unix_upstream(), EX_UNAVAILABLE, address=f"localhost:{port}")
        assert f"cannot listen on [::1]:{port}: bind: Address already in use" in said
        assert f"Process {os.getpid()} (" in said and "listens there. Stop it, or use another port." in said

    @pytest.mark.parametrize("family, left", [("inet6", "127.0.0.1"), ("inet", "::1")])
    def test_is_enough_with_one_family_where_the_other_is_missing(self, namespace, pgveil, postgres, family, left):
        address = {"inet": "127.0.0.1/8", "inet6": "::1/128"}[family]
        namespace.ip(f"-family {family} addr del {address} dev lo")
        proxy = pgveil(postgres.unix_upstream(), listener={"address": "localhost:0"}, prefix=namespace.prefix)
        assert proxy.address[0] == left
        assert re.search(r" I address_left_out .*Cannot assign requested address", proxy.log)
        with namespace.entered(), proxy.connect() as client:
            client.log_in(user="billing", database="ledger")

    def test_gets_a_port_that_is_free_in_both_families(self, namespace, pgveil, postgres):
        """Of four ports that the system may give for 127.0.0.1, two are in use at ::1."""
        namespace.set("net.ipv4.ip_local_port_range", "40000 40003")
        with namespace.entered():
            taken = [socket.create_server(("::1", port), family=socket.AF_INET6) for port in (40000, 40001)]
        for _ in range(4):
            proxy = pgveil(postgres.unix_upstream(), listener={"address": "localhost:0"}, prefix=namespace.prefix)
            (_, port), (_, same) = both_ports(proxy)
            assert port == same and port in (40002, 40003)
            assert proxy.stop() == 0
        for each in taken:
            each.close()

    def test_fails_where_both_are_missing(self, namespace, postgres, folder):
        namespace.ip("addr del 127.0.0.1/8 dev lo", "-6 addr del ::1/128 dev lo")
        done = run(*namespace.prefix, BINARY, "run", "--listen", "localhost:0", "--upstream", folder)
        assert done.returncode == EX_UNAVAILABLE and "localhost:0 cannot be listened on" in done.stderr

    def test_takes_no_client_of_the_network(self, namespace, pgveil, postgres):
        proxy = pgveil(postgres.unix_upstream(), listener={"address": "localhost:0"}, prefix=namespace.prefix)
        with namespace.entered(), pytest.raises(ConnectionRefusedError):
            socket.create_connection((NEAR, proxy.address[1]))


def test_all_ipv6_addresses_are_not_those_of_ipv4(pgveil, postgres):
    """A client of IPv4 would come under a mapped address, which no rule for IPv4 matches."""
    proxy = pgveil(postgres.unix_upstream(), listener={"address": "[::]:0", "allow_plaintext_from_network": True})
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", proxy.address[1])) == errno.ECONNREFUSED


def test_a_port_can_be_listened_on_again_at_once(namespace, pgveil, postgres):
    """Where connections of the process before are still in TIME_WAIT, since it closed them first."""
    listener = {"address": "127.0.0.1:5432"}  # of the namespace
    proxy = pgveil(postgres.unix_upstream(), listener=listener, prefix=namespace.prefix)
    with namespace.entered():
        client = proxy.connect()
    client.send(b"GET / HTTP/1.1\r\n")
    assert client.receive_to_end() == b""
    client.close()
    assert proxy.stop() == 0
    waiting = run(*namespace.prefix, "ss", "--no-header", "--tcp", "--numeric", "state", "time-wait").stdout
    assert "127.0.0.1:5432" in waiting
    pgveil(postgres.unix_upstream(), listener=listener, prefix=namespace.prefix)


class TestAZone:
    """`lo` of the namespace has a link-local address. It is not loopback for that."""

    LISTENER = {"address": f"[{LINK_LOCAL}%lo]:0", "allow_plaintext_from_network": True}

    def connect(self, namespace, proxy):
        with namespace.entered():
            connection = socket.create_connection((f"{LINK_LOCAL}%lo", proxy.address[1]), timeout=20)
        return wire.Conversation(connection)

    def test_is_where_pgveil_listens(self, namespace, pgveil, postgres):
        proxy = pgveil(postgres.unix_upstream(), listener=self.LISTENER, prefix=namespace.prefix)
        assert f"listening address=[{LINK_LOCAL}%lo]:" in proxy.log
        with self.connect(namespace, proxy) as client:
            client.send(wire.startup_message(user="billing", database="ledger"))
            client.receive_until(b"Z")
        assert f"client=[{LINK_LOCAL}%lo]:" in proxy.end_of_session()

    def test_may_be_a_number(self, namespace, pgveil, postgres):
        listener = {**self.LISTENER, "address": f"[{LINK_LOCAL}%1]:0"}
        proxy = pgveil(postgres.unix_upstream(), listener=listener, prefix=namespace.prefix)
        assert f"listening address=[{LINK_LOCAL}%lo]:" in proxy.log

    def test_that_this_machine_does_not_have_is_told(self, postgres, refusal):
        said = refusal(postgres.unix_upstream(), EX_UNAVAILABLE,
                       **{**self.LISTENER, "address": "[fe80::1%nosuchif0]:5432"})  # fmt: skip
        assert "[fe80::1%nosuchif0]:5432 cannot be listened on: this machine has no such network interface" in said

    @pytest.mark.parametrize("address, method", [(f"{LINK_LOCAL}/128", "relay"), ("fe80::/10", "relay"),
                                                 ("::1/128", "reject")])  # fmt: skip
    def test_does_not_count_in_rules(self, namespace, pgveil, postgres, address, method):
        rules = f"host all all {address} {method}\n"
        proxy = pgveil(postgres.unix_upstream(), listener={**self.LISTENER, "hba": rules}, prefix=namespace.prefix)
        with self.connect(namespace, proxy) as client:
            client.send(wire.startup_message(user="billing", database="ledger"))
            if method == "relay":
                client.receive_until(b"Z")
            else:
                # As PostgreSQL names such a host.
                assert f'no pg_hba.conf entry for host "{LINK_LOCAL}%lo"' in client.receive_error()["M"]

    def test_is_where_a_server_is(self, namespace, pgveil, scripted_server, authority, credentials):
        with namespace.entered():
            address = (LINK_LOCAL, 0, 0, socket.if_nametoindex("lo"))
            server = scripted_server(verified_session(credentials), family=socket.AF_INET6, address=address)
        proxy = pgveil(
            server.upstream(hostaddr=f"{LINK_LOCAL}%lo", sslrootcert=str(authority.file)), prefix=namespace.prefix
        )
        with namespace.entered():
            client = proxy.connect()
        with client:
            client.log_in(user="app")
            assert client.rows("SELECT 1")
        assert f"server=[{LINK_LOCAL}%lo]:{server.port}" in proxy.end_of_session()


@pytest.fixture
def name():
    return f"@pgveil-test-{uuid.uuid4()}"


class TestTheAbstractNamespace:
    @pytest.mark.parametrize("suffix, port", [("", 5432), ("/.s.PGSQL.6432", 6432)])
    def test_is_where_psql_finds_pgveil(self, pgveil, postgres, name, suffix, port, folder):
        proxy = pgveil(
            postgres.unix_upstream(), listener={"address": f"unix:{name}{suffix}"}, log={"level": "debug"}
        )
        assert f"listening address=unix:{name}/.s.PGSQL.{port} " in proxy.log
        done = psql(f"host={name} port={port} user=billing dbname=ledger", "SELECT 1")
        assert done.stdout == "1\n", done.stderr
        assert f"listener=unix:{name}/.s.PGSQL.{port}" in proxy.record_of_session()

    def test_is_where_pgveil_finds_a_server(self, pgveil, scripted_server, name):
        def script(peer):
            peer.log_in()
            peer.serve()

        scripted_server(script, family=socket.AF_UNIX, address=f"\0{name[1:]}/.s.PGSQL.5433")
        proxy = pgveil({"host": name, "port": 5433}, log={"level": "debug"})
        with proxy.connect() as client:
            client.log_in(user="app")
        assert f"server=unix:{name}/.s.PGSQL.5433" in proxy.record_of_session()

    def test_joins_two_pgveils(self, pgveil, postgres, name):
        pgveil(postgres.unix_upstream(), listener={"address": f"unix:{name}"})
        assert pgveil({"host": name}).query("SELECT 1", user="billing") == "1"

    def test_says_who_is_at_the_other_end(self, pgveil, postgres, name):
        mine = pwd.getpwuid(os.geteuid()).pw_name
        pgveil(postgres.unix_upstream(), listener={"address": f"unix:{name}", "hba": "local all all peer map=m",
                                                   "ident": f"m {mine} billing"})  # fmt: skip
        done = psql(f"host={name} user=billing dbname=ledger", "SELECT 1")
        assert done.stdout == "1\n", done.stderr
        done = psql(f"host={name} user=app dbname=ledger", "SELECT 1")
        assert 'Peer authentication failed for user "app"' in done.stderr

    def test_knows_when_a_name_is_taken_and_when_it_is_free(self, pgveil, postgres, refusal, name):
        address = f"unix:{name}"
        proxy = pgveil(postgres.unix_upstream(), listener={"address": address})
        said = refusal(postgres.unix_upstream(), EX_UNAVAILABLE, address=address)
        assert f"cannot listen on {address}/.s.PGSQL.5432: bind: Address already in use" in said
        assert f"Process {proxy.pid} (pgveil) listens there. Stop it, or use another name." in said
        assert proxy.stop() == 0
        pgveil(postgres.unix_upstream(), listener={"address": address})

    def test_touches_no_file_of_that_name(self, pgveil, postgres, name, folder, monkeypatch):
        """A relative path `@NAME/.s.PGSQL.5432` is another thing."""
        monkeypatch.chdir(folder)
        (folder / name).mkdir()
        file = folder / name / ".s.PGSQL.5432"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(os.path.relpath(file))
        proxy = pgveil(postgres.unix_upstream(), listener={"address": f"unix:{name}"})
        assert proxy.stop() == 0
        assert file.exists()


def accepted_socket(proxy, client: socket.socket) -> socket.socket:
    """A duplicate of pgveil's end of the connection of `client`."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(proxy.pid)
    try:
        for number, target in proxy.open_files().items():
            if not target.startswith("socket:"):
                continue
            descriptor = libc.syscall(PIDFD_GETFD, pidfd, int(number), 0)
            if descriptor < 0 and ctypes.get_errno() == errno.EBADF:
                continue  # pgveil has closed it meanwhile
            assert descriptor >= 0, os.strerror(ctypes.get_errno())
            found = socket.socket(fileno=descriptor)
            try:
                # The line of some tests changes the address, and never the port.
                if found.getpeername()[1] == client.getsockname()[1]:
                    return found
            except (OSError, IndexError):
                pass  # does not belong to a TCP connection
            found.close()
    finally:
        os.close(pidfd)
    raise AssertionError("pgveil has no such connection")


def unacknowledged_bytes(connection: socket.socket) -> int:
    count = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(count, sys.byteorder)


OPTIONS = {
    "tcp_keepalives_idle": socket.TCP_KEEPIDLE,
    "tcp_keepalives_interval": socket.TCP_KEEPINTVL,
    "tcp_keepalives_count": socket.TCP_KEEPCNT,
    "tcp_user_timeout": socket.TCP_USER_TIMEOUT,
}


def options_of(pgveil, postgres, address="127.0.0.1:0", **settings) -> list[int]:
    # A process that allows core dumps can be looked into by its own user.
    proxy = pgveil(postgres.unix_upstream(), listener={"address": address, **settings}, limits={"core_dumps": True})
    with proxy.connect() as client:
        client.log_in(user="billing", database="ledger")
        with accepted_socket(proxy, client.socket) as accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            return [accepted.getsockopt(socket.IPPROTO_TCP, option) for option in OPTIONS.values()]


class TestADeadClient:
    @pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0"])
    def test_is_looked_for_after_a_minute_of_silence(self, pgveil, postgres, address):
        assert options_of(pgveil, postgres, address) == [60, 10, 6, 0]

    def test_is_looked_for_as_the_settings_say(self, pgveil, postgres):
        settings = {"tcp_keepalives_idle": "33s", "tcp_keepalives_interval": "5s", "tcp_keepalives_count": 4,
                    "tcp_user_timeout": "4500ms"}  # fmt: skip
        assert options_of(pgveil, postgres, **settings) == [33, 5, 4, 4500]

    def test_is_looked_for_as_the_system_says_where_a_setting_is_zero(self, pgveil, postgres):
        systems = [int(open(f"/proc/sys/net/ipv4/tcp_keepalive_{name}", encoding="ascii").read())
                   for name in ("time", "intvl", "probes")]  # fmt: skip
        settings = {"tcp_keepalives_idle": "0s", "tcp_keepalives_interval": "0s", "tcp_keepalives_count": 0}
        assert options_of(pgveil, postgres, **settings) == [*systems, 0]

    def session(self, slow_line, pgveil, postgres, **settings):
        listener = {"address": f"{NEAR}:0", "allow_plaintext_from_network": True, **settings}
        proxy = pgveil(postgres.unix_upstream(), listener=listener, limits={"core_dumps": True}, prefix=slow_line.prefix)
        proxy.address = (FAR, proxy.address[1])
        with slow_line.entered():
            client = proxy.connect()
        client.log_in(user="billing", database="ledger")
        return proxy, client

    def test_is_lost_while_it_is_idle(self, slow_line, pgveil, postgres):
        proxy, client = self.session(slow_line, pgveil, postgres, tcp_keepalives_idle="1s",
                                     tcp_keepalives_interval="1s", tcp_keepalives_count=1)  # fmt: skip
        with accepted_socket(proxy, client.socket) as accepted:
            eventually(lambda: unacknowledged_bytes(accepted) == 0)
        slow_line.cut()
        assert re.search("reason=client_lost .*Connection timed out", proxy.end_of_session())
        client.close()

    def test_is_lost_while_bytes_are_on_their_way_to_it(self, slow_line, pgveil, postgres):
        proxy, client = self.session(slow_line, pgveil, postgres, tcp_user_timeout="1s")
        client.send(wire.query("SELECT pg_sleep(2)"))
        active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(2)%' AND pid <> pg_backend_pid()"
        eventually(lambda: postgres.admin(active) != "0")
        slow_line.cut()
        assert re.search("reason=client_lost .*Connection timed out", proxy.end_of_session())
        client.close()
