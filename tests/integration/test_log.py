"""The log: the same keys always, everything an operator asks, and nothing that is a secret."""

import json
import re

import pytest

from harness.postgres import PASSWORD

KEYS_OF_SESSION_CLOSED = [
    "session", "reason", "phase", "client", "listener", "worker", "identity", "user", "database", "upstream", "server", "prewarmed",
    "client_tls", "client_group", "client_post_quantum", "tls", "cipher", "group", "post_quantum", "server_fingerprint",
    "server_not_after", "sent_bytes", "received_bytes", "duration_ms", "sqlstate", "detail", "earlier_attempts",
]  # fmt: skip


def fields(line: str) -> dict[str, str]:
    return {key: quoted or bare for key, quoted, bare in re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S+))', line)}


@pytest.fixture
def proxy(pgveil, postgres):
    return pgveil(postgres.upstream())


def test_a_session_leaves_a_line_at_its_begin_and_one_at_its_end(proxy):
    proxy.query("SELECT 1", user="app", password=PASSWORD)
    closed = fields(proxy.end_of_session())
    started = fields(proxy.wait_for_line("session_started.*").string)

    assert list(closed) == KEYS_OF_SESSION_CLOSED
    assert started["session"] == closed["session"]
    assert (closed["reason"], closed["phase"]) == ("client_closed", "relay")
    assert (closed["user"], closed["database"], closed["upstream"]) == ("app", "ledger", "primary")
    assert closed["client"].startswith("127.0.0.1:")
    assert closed["tls"] == "TLSv1.3"
    assert int(closed["sent_bytes"]) > 0 and int(closed["received_bytes"]) > 0


def test_lines_begin_with_a_time_and_a_level(proxy):
    proxy.query("SELECT 1")
    proxy.end_of_session()
    head = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [DIWE] \w+"
    pair = r' \w+=("([^"\\]|\\.)*"|\S+)'
    for line in proxy.lines:
        assert re.fullmatch(f"{head}({pair})*", line), line


def test_a_session_that_never_was_has_the_same_keys(proxy):
    with proxy.connect() as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        client.receive_to_end()
    line = proxy.end_of_session()
    assert list(fields(line)) == KEYS_OF_SESSION_CLOSED
    assert " user=- " in line


def test_passwords_and_queries_are_not_in_it(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), log={"level": "debug"})
    proxy.query("SELECT 'a secret of the application'", user="app", password=PASSWORD)
    proxy.psql("SELECT 1", user="old", password="a wrong guess")
    proxy.wait_for_line("session_closed.*sqlstate=28P01")
    for secret in (PASSWORD, "a wrong guess", "secret of the application"):
        assert secret not in proxy.log


def test_a_name_cannot_forge_a_line(proxy):
    forged = 'x" reason=none\n2026-11-24T00:00:00.000Z I session_closed session=0'
    proxy.psql("SELECT 1", user=forged.replace("'", ""))
    proxy.end_of_session()
    assert not any(line.startswith("2026-11-24T00:00:00.000Z") for line in proxy.lines)
    assert list(fields(proxy.end_of_session())) == KEYS_OF_SESSION_CLOSED


def test_the_levels_tell_who_has_to_act(pgveil, postgres):
    wrong_name = pgveil(postgres.upstream(host="db.example.com"))
    wrong_name.psql("SELECT 1")
    assert wrong_name.end_of_session()[25] == "W"
    scanned = pgveil(postgres.upstream())
    with scanned.connect() as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        client.receive_to_end()
    assert scanned.end_of_session()[25] == "I"


def test_json_lines_have_the_same_keys(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), log={"format": "json"})
    proxy.query("SELECT 1")
    proxy.end_of_session()
    lines = [json.loads(line) for line in proxy.lines]
    closed = next(line for line in lines if "session_closed" in line.values())
    assert [key for key in closed if key in KEYS_OF_SESSION_CLOSED] == KEYS_OF_SESSION_CLOSED
    assert isinstance(closed["sent_bytes"], int)
