"""The limits of one listener: each has an effect on those whom it is for, and on nobody else."""

import contextlib
import re
import resource
import select
import socket
import time

import pytest

from harness import wire
from harness.haproxy import header
from harness.network import port_in_use_at
from harness.pgveil import toml
from harness.processes import PATIENCE, eventually
from harness.tls_clients import certificate, run_psql

LEDGER = {"database": "ledger"}


def client_from(address: str, proxy) -> wire.Client:
    """With a source address of its own: all of 127.0.0.0/8 is this machine."""
    return wire.Client(proxy.address, source=address)


@contextlib.contextmanager
def client_behind_a_proxy(address: str, proxy):
    """With this address in the PROXY header."""
    with proxy.connect() as client:
        client.send(header(address, "2001:db8::9" if ":" in address else "198.51.100.9"))
        yield client


def refusal_of(client, **parameters) -> dict[str, str]:
    client.send(wire.startup_message(**parameters))
    error = client.receive_error()
    assert client.receive_to_end() == b""
    return error


def test_a_listener_has_sessions_of_its_own(pgveil, postgres):
    listener = {"address": "127.0.0.1:0", "upstream": "primary"}
    proxy = pgveil(
        configuration={
            "listener": [{**listener, "max_sessions": 1}, listener],
            "upstream": {"primary": postgres.unix_upstream()},
        }
    )
    limited, free = proxy.addresses
    with wire.Client(limited) as first, wire.Client(limited) as second, wire.Client(free) as third:
        first.log_in(user="billing", **LEDGER)
        error = refusal_of(second, user="billing", **LEDGER)
        third.log_in(user="billing", **LEDGER)
    assert (error["C"], error["M"]) == ("53300", "pgveil: sorry, too many clients already")
    assert error["D"] == "All 1 sessions of this listener are in use."


def test_a_session_that_has_ended_makes_room(pgveil, postgres):
    limits = {"max_sessions": 1, "max_sessions_per_user": 1, "max_sessions_per_address": 1}
    proxy = pgveil(postgres.unix_upstream(), listener=limits)
    for _ in range(3):
        ended = len(proxy.lines)
        with proxy.connect() as client:
            client.log_in(user="billing", **LEDGER)
            client.send(wire.TERMINATE)
            client.receive_to_end()
        proxy.end_of_session(after=ended)


def test_a_user_has_a_number_of_sessions(pgveil, postgres):
    proxy = pgveil(postgres.unix_upstream(), listener={"max_sessions_per_user": 1})
    with proxy.connect() as first, proxy.connect() as second, proxy.connect() as third:
        first.log_in(user="billing", **LEDGER)
        error = refusal_of(second, user="billing", **LEDGER)
        third.log_in(user="orders", **LEDGER)
    assert (error["C"], error["M"]) == ("53300", "pgveil: too many sessions of this user")
    assert error["D"] == 'User "billing" has 1 sessions already.'
    proxy.wait_for_line("reason=too_many_sessions_of_user")


def test_an_address_has_a_number_of_sessions(pgveil, postgres):
    proxy = pgveil(postgres.unix_upstream(), listener={"max_sessions_per_address": 1})
    with (
        client_from("127.0.0.2", proxy) as first,
        client_from("127.0.0.2", proxy) as second,
        client_from("127.0.0.3", proxy) as third,
    ):
        first.log_in(user="billing", **LEDGER)
        error = refusal_of(second, user="billing", **LEDGER)
        third.log_in(user="billing", **LEDGER)
    assert (error["C"], error["M"]) == ("53300", "pgveil: too many sessions of this client address")
    assert error["D"] == "127.0.0.2 has 1 sessions already."
    proxy.wait_for_line("reason=too_many_sessions_of_address")


def test_the_address_in_a_proxy_header_counts(pgveil, postgres):
    limits = {"max_sessions_per_address": 1, "proxy_protocol_from": ["127.0.0.0/8"]}
    proxy = pgveil(postgres.unix_upstream(), listener=limits)
    with proxy.connect() as first, proxy.connect() as second, proxy.connect() as third:
        first.send(header("192.0.2.7"))
        first.log_in(user="billing", **LEDGER)
        second.send(header("192.0.2.7"))
        assert refusal_of(second, user="billing", **LEDGER)["C"] == "53300"
        third.send(header("192.0.2.8"))
        third.log_in(user="billing", **LEDGER)


def test_an_ipv6_address_in_a_proxy_header_counts_by_its_first_64_bits(pgveil, postgres):
    limits = {"max_sessions_per_address": 1, "proxy_protocol_from": ["127.0.0.0/8"]}
    proxy = pgveil(postgres.unix_upstream(), listener=limits)
    with (
        client_behind_a_proxy("2001:db8:0:1::7", proxy) as first,
        client_behind_a_proxy("2001:db8:0:1::8", proxy) as neighbour,
        client_behind_a_proxy("2001:db8:0:2::7", proxy) as another,
    ):
        first.log_in(user="billing", **LEDGER)
        error = refusal_of(neighbour, user="billing", **LEDGER)
        another.log_in(user="billing", **LEDGER)
    assert (error["C"], error["M"]) == ("53300", "pgveil: too many sessions of this client address")
    assert "client=[2001:db8:0:1::8]:56324" in proxy.wait_for_line(".*reason=too_many_sessions_of_address.*").string


def test_some_sessions_are_for_some_users(pgveil, postgres):
    limits = {"max_sessions": 2, "reserved_sessions": 1, "reserved_sessions_for": "orders, postgres"}
    proxy = pgveil(postgres.unix_upstream(), listener=limits)
    with proxy.connect() as first, proxy.connect() as second, proxy.connect() as third, proxy.connect() as fourth:
        first.log_in(user="billing", **LEDGER)
        error = refusal_of(second, user="billing", **LEDGER)
        third.log_in(user="orders", **LEDGER)
        full = refusal_of(fourth, user="orders", **LEDGER)
    assert (error["C"], error["M"]) == ("53300", "pgveil: remaining sessions are reserved for other users")
    assert full["M"] == "pgveil: sorry, too many clients already"
    proxy.wait_for_line("reason=sessions_reserved")


def test_sessions_of_the_process_can_be_reserved(pgveil, postgres):
    proxy = pgveil(
        postgres.unix_upstream(),
        listener={"reserved_sessions": 1, "reserved_sessions_for": "orders"},
        limits={"max_sessions": 1 + 1},
    )
    with proxy.connect() as first, proxy.connect() as second, proxy.connect() as third:
        first.log_in(user="billing", **LEDGER)
        assert refusal_of(second, user="billing", **LEDGER)["C"] == "53300"
        third.log_in(user="orders", **LEDGER)


def test_an_address_has_a_rate_of_logins(pgveil, postgres):
    proxy = pgveil(postgres.unix_upstream(), listener={"login_rate": "3/h"})
    for _ in range(3):
        with client_from("127.0.0.2", proxy) as client:
            client.log_in(user="billing", **LEDGER)
    with client_from("127.0.0.2", proxy) as fourth, client_from("127.0.0.3", proxy) as another:
        error = refusal_of(fourth, user="billing", **LEDGER)
        another.log_in(user="billing", **LEDGER)
    assert (error["C"], error["M"]) == ("53300", "pgveil: too many logins of this client address")
    assert error["D"] == '127.0.0.2 has had more logins than login_rate = "3/h" allows.'
    proxy.wait_for_line("reason=login_rate_exceeded")


def test_a_rate_of_logins_is_of_the_address_in_a_proxy_header(pgveil, postgres):
    limits = {"login_rate": "2/h", "proxy_protocol_from": ["127.0.0.0/8"]}
    proxy = pgveil(postgres.unix_upstream(), listener=limits)
    for address in ("192.0.2.7", "192.0.2.7", "192.0.2.8", "2001:db8:0:1::7", "2001:db8:0:1::8", "2001:db8:0:2::7"):
        with client_behind_a_proxy(address, proxy) as client:
            client.log_in(user="billing", **LEDGER)
    for address in ("192.0.2.7", "2001:db8:0:1::9"):
        with client_behind_a_proxy(address, proxy) as client:
            assert refusal_of(client, user="billing", **LEDGER)["M"] == "pgveil: too many logins of this client address"


def test_a_rate_of_logins_comes_back_with_time(pgveil, postgres):
    proxy = pgveil(postgres.unix_upstream(), listener={"login_rate": "1/s"})
    with proxy.connect() as client:
        client.log_in(user="billing", **LEDGER)

    def gets_in() -> bool:
        with proxy.connect() as client:
            client.send(wire.startup_message(user="billing", **LEDGER))
            return client.receive_message()[0] == b"R"

    started = time.monotonic()
    eventually(gets_in)
    assert time.monotonic() - started < 5


def seconds_for(log_in) -> float:
    started = time.monotonic()
    log_in()
    return time.monotonic() - started


def refused_login(proxy, address: str) -> None:
    """The server of `billing` does not know this database user."""
    with client_from(address, proxy) as client:
        client.send(wire.startup_message(user="nobody", **LEDGER))
        assert client.receive_error()["C"] == "28000"


def test_a_failed_login_delays_the_next_one_of_its_address(pgveil, postgres):
    delay = 7
    proxy = pgveil(postgres.unix_upstream(), listener={"failed_login_delay": f"{delay}s"}, limits={"startup_timeout": "1min"})

    def log_in(address: str) -> None:
        with client_from(address, proxy) as client:
            client.log_in(user="billing", **LEDGER)

    with postgres.reconfigured(hba="local all billing trust\nlocal all all reject\n"):
        started = time.monotonic()
        assert seconds_for(lambda: refused_login(proxy, "127.0.0.2")) < delay
        assert seconds_for(lambda: log_in("127.0.0.3")) < delay  # another address
        log_in("127.0.0.2")
        assert delay <= time.monotonic() - started < 5 * delay
        assert seconds_for(lambda: log_in("127.0.0.2")) < delay  # a login has succeeded


@pytest.mark.parametrize(
    "failing, delayed, other",
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("2001:db8:0:1::7", "2001:db8:0:1::8", "2001:db8:0:2::7"),
    ],
    ids=["IPv4", "IPv6"],
)
def test_a_failed_login_delays_the_address_in_its_proxy_header(pgveil, postgres, failing, delayed, other):
    """Of two logins, one waits. The other one would have to wait for longer than half of startup_timeout, and is refused."""
    limits = {"failed_login_delay": "6min", "proxy_protocol_from": ["127.0.0.0/8"], "hba": "host all billing all relay\n"}
    proxy = pgveil(postgres.unix_upstream(), listener=limits, limits={"startup_timeout": "20min"})
    with client_behind_a_proxy(failing, proxy) as client:
        assert refusal_of(client, user="nobody", **LEDGER)["C"] == "28000"
    with client_behind_a_proxy(delayed, proxy) as first, client_behind_a_proxy(delayed, proxy) as second:
        for client in (first, second):
            client.send(wire.startup_message(user="billing", **LEDGER))
        answered, _, _ = select.select([first.socket, second.socket], [], [], PATIENCE)
        assert len(answered) == 1
        refused = first if first.socket in answered else second
        assert refused.receive_error()["C"] == "53300"
        with client_behind_a_proxy(other, proxy) as client:
            client.log_in(user="billing", **LEDGER)
        proxy.wait_for_line("reason=too_many_failed_logins")


def test_logins_at_once_after_a_failed_one_wait_for_each_other(pgveil, postgres):
    """Otherwise many connections could try as many passwords at the same time."""
    proxy = pgveil(postgres.unix_upstream(), listener={"failed_login_delay": "1s"}, limits={"startup_timeout": "5s"})
    with postgres.reconfigured(hba="local all all reject\n"), contextlib.ExitStack() as stack:
        refused_login(proxy, "127.0.0.2")
        started = time.monotonic()
        clients = [stack.enter_context(client_from("127.0.0.2", proxy)) for _ in range(6)]
        for client in clients:
            client.send(wire.startup_message(user="nobody", **LEDGER))
        errors = []
        for client in clients:
            error = client.receive_error()
            errors.append((error["C"], time.monotonic() - started))
    # Those that would have to wait for longer than half of startup_timeout are refused at once.
    waited = [seconds for code, seconds in errors if code == "28000"]
    assert 1 <= len(waited) <= 3
    assert all(seconds > number - 0.5 for number, seconds in enumerate(waited, 1))
    assert [code for code, _ in errors].count("53300") == 6 - len(waited)
    proxy.wait_for_line("reason=too_many_failed_logins")


def test_a_refused_certificate_and_a_rule_are_failed_logins(pgveil, postgres):
    proxy = pgveil(
        postgres.unix_upstream(),
        listener={"failed_login_delay": "2s", "hba": "host all billing all relay\nhost all all all reject"},
    )
    started = time.monotonic()
    with proxy.connect() as client:
        assert refusal_of(client, user="orders", **LEDGER)["C"] == "28000"
    with proxy.connect() as client:
        client.log_in(user="billing", **LEDGER)
    assert 2 <= time.monotonic() - started < 10


def test_a_session_ends_after_its_lifetime(pgveil, postgres):
    proxy = pgveil(postgres.unix_upstream(), listener={"session_lifetime": "1s"})
    with proxy.connect() as idle, proxy.connect() as busy:
        idle.log_in(user="billing", **LEDGER)
        busy.log_in(user="billing", **LEDGER)
        busy.send(wire.query("BEGIN"))
        busy.receive_until(b"Z")
        error = idle.receive_error()
        assert (error["S"], error["C"]) == ("FATAL", "57P01")
        assert error["M"] == "pgveil: terminating connection due to session_lifetime"
        assert idle.receive_to_end() == b""
        # A transaction goes on, and has its answer.
        assert busy.rows("SELECT 1")
        busy.send(wire.query("COMMIT"))
        assert busy.receive_until(b"Z")[-1] == (b"Z", b"I")
        assert busy.receive_error()["C"] == "57P01"
    assert "reason=session_lifetime" in proxy.end_of_session()


def test_a_reload_keeps_the_counts(pgveil, postgres, folder):
    def configuration(most: int) -> str:
        return toml(
            {
                "listener": [
                    {"address": "127.0.0.1:0", "upstream": "primary", "max_sessions": most, "max_sessions_per_user": most}
                ],
                "upstream": {"primary": postgres.unix_upstream()},
            }
        )

    file = folder / "limits.toml"
    file.write_text(configuration(1))
    proxy = pgveil(flags=["--config", file])
    with proxy.connect() as first, proxy.connect() as second, proxy.connect() as third:
        first.log_in(user="billing", **LEDGER)
        file.write_text(configuration(2))
        proxy.reload()
        with proxy.connect() as after, proxy.connect() as too_many:
            after.log_in(user="billing", **LEDGER)
            assert refusal_of(too_many, user="billing", **LEDGER)["C"] == "53300"
        # These were accepted before the reload: the limit of then counts for them.
        assert refusal_of(second, user="billing", **LEDGER)["C"] == "53300"
        assert refusal_of(third, user="billing", **LEDGER)["C"] == "53300"


def test_a_failed_reload_keeps_the_counts(pgveil, postgres, folder):
    """Also if it has closed the listener's socket to make place for 0.0.0.0, which then could not be opened."""
    file = folder / "limits.toml"

    def write(address: str, **more) -> None:
        listener = {"address": address, "upstream": "primary", "max_sessions": 1, **more}
        file.write_text(toml({"listener": [listener], "upstream": {"primary": postgres.unix_upstream()}}))

    with port_in_use_at("127.0.0.2") as port:
        write(f"127.0.0.1:{port}")
        proxy = pgveil(flags=["--config", file])
        with proxy.connect() as first:
            first.log_in(user="billing", **LEDGER)
            write(f"0.0.0.0:{port}", allow_plaintext_from_network=True)
            assert "reload_failed" in proxy.reload()[-1]
            with proxy.connect() as second:
                assert refusal_of(second, user="billing", **LEDGER)["C"] == "53300"


def test_the_oldest_silent_client_makes_room(pgveil, postgres):
    """With one worker: several do not compare the ages of their clients."""
    workers = 1
    listener = {"address": "127.0.0.1:0", "upstream": "primary"}
    proxy = pgveil(
        configuration={
            "listener": [{**listener, "max_unauthenticated_clients": 2}, listener],
            "upstream": {"primary": postgres.unix_upstream()},
            "limits": {"workers": workers},
        }
    )
    limited, free = proxy.addresses
    with wire.Client(free) as elsewhere, wire.Client(limited) as oldest, wire.Client(limited) as younger:
        started = time.monotonic()
        with wire.Client(limited) as client:
            client.log_in(user="billing", **LEDGER)
        assert time.monotonic() - started < 10
        assert oldest.receive_to_end() == b""
        assert "reason=made_room" in proxy.wait_for_line(r" session_closed .*reason=made_room.*").string
        for client in (younger, elsewhere):
            client.log_in(user="billing", **LEDGER)
    proxy.wait_for_line("accept_paused")


@pytest.mark.parametrize("workers", [1, 3])
def test_one_client_makes_room_for_another_one(pgveil, postgres, workers):
    limits = {"workers": workers, "max_unauthenticated_clients": 3}
    proxy = pgveil(postgres.unix_upstream(), limits=limits)
    with proxy.connect(), proxy.connect(), proxy.connect(), proxy.connect() as client:
        client.log_in(user="billing", **LEDGER)
        proxy.wait_for_line("reason=made_room")
        proxy.wait_for_line("session_started")
        assert proxy.log.count("reason=made_room") == 1


def test_a_login_that_waits_after_a_failed_one_makes_room(pgveil, postgres):
    """Otherwise few addresses could keep all others out."""
    limits = {"workers": 1, "max_unauthenticated_clients": 2, "startup_timeout": "60s"}
    proxy = pgveil(
        postgres.unix_upstream(), listener={"failed_login_delay": "15s"}, limits=limits, log={"level": "debug"}
    )
    refusing = postgres.reconfigured(hba="local all billing trust\nlocal all all reject\n")
    with refusing, contextlib.ExitStack() as stack:
        refused_login(proxy, "127.0.0.2")
        proxy.wait_for_line(" session_closed .*reason=login_failed")
        with client_from("127.0.0.2", proxy) as first:
            first.send(wire.startup_message(user="billing", **LEDGER))
            # Once the only worker has served a whole session, it has also read the StartupMessage of the first client.
            with client_from("127.0.0.3", proxy) as client:
                client.log_in(user="billing", **LEDGER)
            proxy.wait_for_line(" session_closed .*reason=client_closed")
            second = stack.enter_context(client_from("127.0.0.2", proxy))
            second.send(wire.startup_message(user="billing", **LEDGER))
            with client_from("127.0.0.3", proxy) as client:
                assert seconds_for(lambda: client.log_in(user="billing", **LEDGER)) < 8
            assert first.receive_to_end() == b""
    assert re.search(" audit .*reason=made_room", proxy.log)


def test_sessions_that_are_reserved_in_the_process_are_not_for_other_listeners(pgveil, postgres):
    listener = {"address": "127.0.0.1:0", "upstream": "primary"}
    proxy = pgveil(
        configuration={
            "listener": [{**listener, "reserved_sessions": 1, "reserved_sessions_for": "orders"}, listener],
            "upstream": {"primary": postgres.unix_upstream()},
            "limits": {"max_sessions": 2},
        }
    )
    reserving, other = proxy.addresses
    with wire.Client(other) as first, wire.Client(other) as second, wire.Client(reserving) as third:
        first.log_in(user="billing", **LEDGER)
        assert refusal_of(second, user="billing", **LEDGER)["C"] == "53300"
        third.log_in(user="orders", **LEDGER)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "part of a ClientHello"])
def test_ten_thousand_half_open_connections_let_a_client_log_in(pgveil, postgres, authority, credentials, sent):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 10_000
    if hard != resource.RLIM_INFINITY and hard < wanted + 200:
        pytest.skip(f"the limit of open files is {hard}")
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials))
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    connections = []
    try:
        for _ in range(wanted):
            connection = socket.socket()
            connection.setblocking(False)
            connections.append(connection)
            with contextlib.suppress(BlockingIOError):
                connection.connect(proxy.address)
        if sent:
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.send(sent)
        proxy.wait_for_line(" accept_paused .*")
        started = time.monotonic()
        done = run_psql(proxy, authority, "SELECT 1", user="billing", dbname="ledger")
        assert done.stdout == "1\n", done.stderr
        assert time.monotonic() - started < 30
    finally:
        for connection in connections:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    proxy.wait_for_line("reason=made_room")
