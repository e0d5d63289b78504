"""Where pgveil listens and where it connects: TCP of both kinds, Unix sockets, several servers."""

import grp
import os
import socket
import stat

import pytest

from harness import wire
from harness.network import NEAR
from harness.pgveil import EX_UNAVAILABLE, psql
from harness.scripted_server import verified_session


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        return True
    except OSError:
        return False


@pytest.fixture
def socket_file(folder):
    return folder / ".s.PGSQL.5432"


class TestUnixSocket:
    def test_psql_comes_through_it(self, pgveil, postgres, socket_file):
        proxy = pgveil(postgres.upstream(), listener={"address": f"unix:{socket_file}"})
        assert proxy.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == "t"

    @pytest.mark.parametrize("by_number", [False, True], ids=["by-name", "by-number"])
    def test_it_has_the_mode_and_group_that_are_asked(self, pgveil, postgres, socket_file, by_number):
        number = os.getgroups()[-1] if os.getgroups() else os.getgid()
        group = grp.getgrgid(number).gr_name
        pgveil(
            postgres.upstream(),
            listener={
                "address": f"unix:{socket_file}",
                "unix_socket_permissions": "0660",
                "unix_socket_group": str(number) if by_number else group,
            },
        )
        status = socket_file.stat()
        assert stat.S_IMODE(status.st_mode) == 0o660
        assert grp.getgrgid(status.st_gid).gr_name == group

    def test_it_is_gone_when_pgveil_is(self, pgveil, postgres, socket_file):
        proxy = pgveil(postgres.upstream(), listener={"address": f"unix:{socket_file}"})
        assert socket_file.exists()
        assert proxy.stop() == 0
        assert not socket_file.exists()

    def test_one_that_a_dead_process_left_is_replaced(self, pgveil, postgres, socket_file):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(socket_file))
        proxy = pgveil(postgres.upstream(), listener={"address": f"unix:{socket_file}"})
        assert proxy.query("SELECT 1") == "1"

    def test_one_that_is_in_use_is_left_alone(self, pgveil, postgres, socket_file, refusal):
        address = f"unix:{socket_file}"
        proxy = pgveil(postgres.upstream(), listener={"address": address})
        said = refusal(postgres.upstream(), EX_UNAVAILABLE, address=address)
        assert f"cannot listen on {address}" in said and "another process listens there" in said
        assert f"Process {proxy.pid} (pgveil) listens there. Stop it, or use another path." in said
        assert proxy.query("SELECT 1") == "1"

    def test_a_file_that_is_no_socket_is_left_alone(self, postgres, socket_file, refusal):
        socket_file.write_text("dear diary", encoding="ascii")
        refusal(postgres.upstream(), EX_UNAVAILABLE, address=f"unix:{socket_file}")
        assert socket_file.read_text(encoding="ascii") == "dear diary"


def test_a_port_in_use_is_told_before_anything_else_happens(postgres, refusal):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert address in refusal(postgres.upstream(), EX_UNAVAILABLE, address=address)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_it_listens_on_ipv6(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), listener={"address": "[::1]:0"})
    assert proxy.address[0] == "::1"
    assert proxy.query("SELECT 1") == "1"


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_a_name_with_two_addresses_is_tried_at_both(pgveil, postgres):
    """`localhost` is ::1 and 127.0.0.1; the server is on the latter alone."""
    upstream = postgres.upstream()
    del upstream["hostaddr"]
    assert pgveil(upstream).query("SELECT 1") == "1"


def test_several_listeners_lead_to_their_own_servers(pgveil, postgres, scripted_server, authority, credentials):
    server = scripted_server(verified_session(credentials))
    proxy = pgveil(
        configuration={
            "listener": [
                {"address": "127.0.0.1:0", "upstream": "real"},
                {"address": "127.0.0.1:0", "upstream": "scripted"},
            ],
            "upstream": {
                "real": postgres.upstream(),
                "scripted": server.upstream(sslrootcert=str(authority.file)),
            },
        }
    )
    answers = []
    for host, port in proxy.addresses:
        done = psql(f"host={host} port={port} user=trusted dbname=ledger sslmode=disable", "SELECT 1")
        answers.append(done.stdout)
    assert answers == ["1\n", "verified\n"]


class TestSeveralHosts:
    """host = "a,b": the next one is tried where one cannot be reached, as in libpq."""

    def two(self, first_port, second_port, authority, **settings):
        return {"host": "localhost,localhost", "hostaddr": "127.0.0.1,127.0.0.1",
                "port": f"{first_port},{second_port}", "sslrootcert": str(authority.file), **settings}  # fmt: skip

    def closed_port(self) -> int:
        with socket.create_server(("127.0.0.1", 0)) as server:
            return server.getsockname()[1]

    def test_the_first_is_taken_where_it_answers(self, pgveil, postgres, scripted_server, authority, credentials):
        second = scripted_server(verified_session(credentials))
        proxy = pgveil(self.two(postgres.port, second.port, authority))
        assert proxy.query("SELECT 1") == "1"
        assert second.peers == []

    def test_the_second_is_taken_where_the_first_refuses(self, pgveil, postgres, authority):
        proxy = pgveil(self.two(self.closed_port(), postgres.port, authority))
        assert proxy.query("SELECT 1") == "1"

    def test_the_second_is_taken_where_the_first_is_silent(self, pgveil, postgres, scripted_server, authority):
        silent = scripted_server(lambda peer: peer.receive_ssl_request())
        proxy = pgveil(self.two(silent.port, postgres.port, authority, connect_timeout="1s"))
        assert proxy.query("SELECT 1") == "1"

    def test_all_of_them_are_named_where_none_answers(self, pgveil, authority):
        ports = self.closed_port(), self.closed_port()
        proxy = pgveil(self.two(*ports, authority))
        with proxy.connect() as client:
            client.send(wire.startup_message(user="app"))
            error = client.receive_error()
        assert error["C"] == "57P03"
        assert all(str(port) in error["D"] for port in ports)


class TestWithoutTls:
    """A server beside pgveil, for which `sslmode = disable` is written."""

    def test_a_unix_socket_leads_to_it(self, pgveil, postgres):
        proxy = pgveil({"host": str(postgres.directory), "port": postgres.port, "sslmode": "disable"})
        answer = proxy.query(
            "SELECT ssl, inet_server_addr() IS NULL FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            user="app",
            password="correct horse",
        )
        assert answer == "f|t"

    def test_a_resolver_cannot_lead_it_beyond_this_machine(self, namespace, pgveil, scripted_server, folder):
        """/etc/hosts says that `localhost` is another machine."""
        hosts = folder / "hosts"
        hosts.write_text(f"{NEAR} localhost\n", encoding="ascii")
        with namespace.entered():
            server = scripted_server(lambda peer: peer.log_in(), address=(NEAR, 0))
        own_hosts = ("unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh")
        proxy = pgveil({"host": "localhost", "port": server.port, "sslmode": "disable"},
                       prefix=(*namespace.prefix, *own_hosts))  # fmt: skip
        with namespace.entered():
            client = proxy.connect()
        with client:
            client.send(wire.startup_message(user="app"))
            assert client.receive_message()[0] == b"E"
        assert server.peers == []

    def test_it_is_not_allowed_beyond_this_machine(self, refusal):
        said = refusal({"host": "db.example.com", "hostaddr": "192.0.2.1", "sslmode": "disable"})
        assert "upstream.primary.sslmode" in said


def test_no_plaintext_listener_beyond_this_machine(postgres, refusal):
    assert "allow_plaintext_from_network" in refusal(postgres.upstream(), address="0.0.0.0:0")


def test_a_plaintext_listener_beyond_this_machine_is_possible_when_said(pgveil, postgres):
    listener = {"address": "0.0.0.0:0", "allow_plaintext_from_network": True}
    proxy = pgveil(postgres.upstream(), listener=listener)
    proxy.address = ("127.0.0.1", proxy.address[1])
    assert proxy.query("SELECT 1") == "1"
