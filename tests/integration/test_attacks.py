"""Clients that attack, or that are not clients: what PostgreSQL answers (backend_startup.c), pgveil answers."""

import struct
import time

import pytest

from harness import wire
from harness.processes import eventually


@pytest.fixture
def proxy(pgveil, postgres):
    return pgveil(postgres.upstream())


STARTUP = wire.startup_message(user="trusted", database="ledger")


def assert_alive(proxy):
    assert proxy.query("SELECT 1") == "1"


def test_a_request_for_encryption_is_declined_and_the_session_goes_on(proxy):
    with proxy.connect() as client:
        for request in (wire.GSSENC_REQUEST, wire.SSL_REQUEST):
            client.send(request)
            assert client.receive(1) == b"N"
        client.log_in(user="trusted", database="ledger")


@pytest.mark.parametrize("request_", [wire.SSL_REQUEST, wire.GSSENC_REQUEST], ids=["ssl", "gss"])
def test_a_request_for_encryption_is_declined_once(proxy, request_):
    with proxy.connect() as client:
        client.send(request_)
        assert client.receive(1) == b"N"
        client.send(request_)
        error = client.receive_error()
        assert client.receive_to_end() == b""
    assert error["C"] == "0A000"
    assert error["M"].startswith("pgveil: unsupported frontend protocol 1234.56")


@pytest.mark.parametrize("request_", [wire.SSL_REQUEST, wire.GSSENC_REQUEST], ids=["ssl", "gss"])
def test_bytes_behind_a_request_for_encryption_are_never_read(proxy, request_):
    """CVE-2021-23214."""
    with proxy.connect() as client:
        client.send(request_ + STARTUP)
        assert client.receive(1) == b"N"
        error = client.receive_error()
        assert client.receive_to_end() == b""
    assert error["C"] == "08P01"
    assert error["M"].startswith("pgveil: received unencrypted data after")


NO_STARTUP_PACKET = {
    "http": b"GET / HTTP/1.1\r\nHost: db\r\n\r\n",
    "a length below the least": struct.pack("!II", 7, 0x30000),
    "a length above the most": struct.pack("!II", 10_005, 0x30000),
    "a length of four gigabytes": struct.pack("!II", 0xFFFFFFFF, 0x30000),
    "a cancel request without a key": wire.cancel_request(1, b""),
    "a cancel request with a key too long": wire.cancel_request(1, bytes(257)),
}


@pytest.mark.parametrize("sent", NO_STARTUP_PACKET.values(), ids=[n.replace(" ", "-") for n in NO_STARTUP_PACKET])
def test_what_is_no_startup_packet_is_closed_without_a_word(proxy, sent):
    with proxy.connect() as client:
        client.send(sent)
        assert client.receive_to_end() == b""
    proxy.wait_for_line("session_closed.*reason=malformed_startup ")
    assert_alive(proxy)


WRONG_STARTUP = {
    "no user": (wire.startup_message(database="ledger"), "28000"),
    "an empty user": (wire.startup_message(user=""), "28000"),
    "two users": (wire.startup_message(("user", "app"), ("user", "trusted")), "08P01"),
    "two databases": (wire.startup_message(("database", "a"), ("database", "b"), user="trusted"), "08P01"),
    "a user of 64 bytes": (wire.startup_message(user="u" * 64), "08P01"),
    "a database of 64 bytes": (wire.startup_message(user="u", database="d" * 64), "08P01"),
    "no terminator": (wire.startup_packet(struct.pack("!I", 0x30000) + b"user\0trusted\0"), "08P01"),
    "an early terminator": (wire.startup_packet(struct.pack("!I", 0x30000) + b"user\0a\0\0b\0"), "08P01"),
    "replication that is neither": (wire.startup_message(user="u", replication="perhaps"), "22023"),
    "protocol 4": (wire.startup_message(version=0x40000, user="trusted"), "0A000"),
}


@pytest.mark.parametrize("sent, sqlstate", WRONG_STARTUP.values(), ids=[n.replace(" ", "-") for n in WRONG_STARTUP])
def test_a_startup_packet_that_may_mean_two_things_is_refused(proxy, sent, sqlstate):
    with proxy.connect() as client:
        client.send(sent)
        error = client.receive_error()
        assert client.receive_to_end() == b""
    assert (error["S"], error["C"]) == ("FATAL", sqlstate)


def test_protocol_2_gets_an_error_that_it_can_read(proxy):
    with proxy.connect() as client:
        client.send(wire.startup_message(version=0x20000, user="trusted"))
        answer = client.receive_to_end()
    assert answer.startswith(b"EFATAL:  pgveil: unsupported frontend protocol 2.0")
    assert answer.endswith(b"\n\0")


@pytest.mark.parametrize(
    "major, minor",
    [(0, 0), (0, 1), (0, 65535), (1, 0), (2, 0), (2, 65535), (4, 0), (255, 0), (1234, 5677), (1234, 5681), (65535, 65535)],
)
def test_an_unsupported_version_gets_the_error_that_postgresql_sends(proxy, postgres, major, minor):
    """After pgveil's name. PostgreSQL is asked. Only the versions that it supports itself differ, and the fields F, L and R of its source."""

    def error(address):
        with wire.Client(address) as client:
            client.send(wire.startup_message(version=major << 16 | minor, user="billing"))
            answer = client.receive_to_end()
        if not answer.endswith(b"\0\0"):
            text = answer.replace(wire.OWN.encode(), b"", 1)
            return "old format", text.partition(b":  ")[0], text.partition(b": server")[0]
        fields = wire.error_fields(answer[5:])
        return "new format", fields["S"], fields["V"], fields["C"], fields["M"].removeprefix(wire.OWN).partition(": server")[0]

    assert error(proxy.address) == error(f"{postgres.directory}/.s.PGSQL.{postgres.port}")


def test_a_name_of_63_bytes_is_not_too_long(proxy):
    with proxy.connect() as client:
        client.send(wire.startup_message(user="u" * 63))
        assert client.receive_message()[0] == b"R"


def test_a_packet_that_comes_byte_by_byte_is_understood(proxy):
    with proxy.connect() as client:
        client.socket.setsockopt(6, 1, 1)  # TCP_NODELAY
        for number in range(len(STARTUP)):
            client.send(STARTUP[number : number + 1])
        assert client.receive_until(b"Z")


def test_the_password_may_come_with_the_startup_message(proxy):
    """Allowed to whoever knows what will be asked; the server gets both in their order."""
    with proxy.connect() as client:
        client.send(STARTUP + wire.query("SELECT 42"))
        client.receive_until(b"Z")
        assert (b"D", b"\0\1\0\0\0\x0242") in client.receive_until(b"Z")


def test_a_client_that_says_nothing_is_closed_in_time(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), limits={"startup_timeout": "1s"})
    with proxy.connect() as client:
        assert 0.9 < client.seconds_until_closed() < 5
    proxy.wait_for_line("session_closed.*reason=startup_timeout ")


def test_a_byte_now_and_then_buys_no_time(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), limits={"startup_timeout": "1s"})
    with proxy.connect() as client:
        started = time.monotonic()
        client.socket.settimeout(0.2)
        for number in range(len(STARTUP) - 1):
            try:
                client.send(STARTUP[number : number + 1])
                if client.socket.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        assert 0.9 < time.monotonic() - started < 5


def test_a_client_that_does_not_answer_for_its_password_is_ended(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), limits={"startup_timeout": "1s"})
    with proxy.connect() as client:
        client.send(wire.startup_message(user="app", database="ledger"))
        assert client.receive_message()[0] == b"R"
        assert client.receive_error()["C"] == "57014"
        assert client.receive_to_end() == b""


def test_whoever_comes_and_goes_leaves_nothing_behind(proxy, postgres):
    with proxy.connect() as client:
        client.log_in(user="trusted", database="ledger")
    proxy.end_of_session()
    before = eventually(lambda: count if (count := proxy.sockets()) else 0)

    for number in range(2_000):
        with proxy.connect() as client:
            if number % 4 == 1:
                client.send(wire.SSL_REQUEST)
            elif number % 4 == 2:
                client.send(STARTUP[: number % len(STARTUP)])
            elif number % 100 == 3:
                client.send(STARTUP)
    eventually(lambda: proxy.sockets() <= before)
    eventually(lambda: postgres.admin("SELECT count(*) FROM pg_stat_activity WHERE usename = 'trusted'") == "0")
    assert_alive(proxy)
