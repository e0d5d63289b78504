"""The log: what an operator reads first as text, every key as JSON, and nothing that is a secret."""

import json
import re

import pytest

from harness.postgres import PASSWORD

# As text, of a session that was established over TCP without TLS of the client.
KEYS_OF_TEXT = ["session", "reason", "client", "user", "database", "server", "tls", "duration_ms", "sent", "received"]

# As JSON, and at level debug in session_record. Those of the audit record are in test_audit.py.
KEYS_OF_SESSION_CLOSED = [
    "session", "reason", "phase", "client", "listener", "worker", "identity", "user", "database", "upstream", "server", "preconnected",
    "client_tls", "client_group", "client_post_quantum", "tls", "cipher", "group", "post_quantum", "server_fingerprint",
    "server_not_after", "sent_bytes", "received_bytes", "duration_ms", "sqlstate", "message", "detail", "hint", "earlier_attempts",
]  # fmt: skip
ONLY_AT_THE_END = {"reason", "phase", "sent_bytes", "received_bytes", "duration_ms", "sqlstate", "message", "detail", "hint"}
HEAD_OF_JSON = ["time", "level", "event"]


def fields(line: str) -> dict[str, str]:
    return {key: quoted or bare for key, quoted, bare in re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S+))', line)}


def refused_session(proxy) -> None:
    with proxy.connect() as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        client.receive_to_end()


@pytest.fixture
def proxy(pgveil, postgres):
    return pgveil(postgres.upstream())


def test_a_session_leaves_a_line_at_its_begin_and_one_at_its_end(proxy):
    proxy.query("SELECT 1", user="app", password=PASSWORD)
    closed = fields(proxy.end_of_session())
    started = fields(proxy.wait_for_line("session_started.*").string)

    assert list(closed) == KEYS_OF_TEXT
    assert list(started) == ["session", "client", "user", "database", "server", "tls", "upstream", "rule"]
    assert started["session"] == closed["session"]
    assert closed["reason"] == "client_closed"
    assert (closed["user"], closed["database"], started["upstream"]) == ("app", "ledger", "primary")
    assert closed["client"].startswith("127.0.0.1:")
    assert closed["tls"] == "TLSv1.3"
    assert started["rule"] == "built-in:1"
    assert int(closed["sent"]) > 0 and int(closed["received"]) > 0


def test_a_line_of_a_session_fits_a_wide_terminal(proxy):
    proxy.query("SELECT 1", user="app", password=PASSWORD)
    proxy.end_of_session()
    assert [line for line in proxy.lines if " session_" in line and len(line) > 200] == []


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("session_start", [True, False])
def test_the_line_at_the_start_of_a_session_can_be_switched_off(pgveil, postgres, session_start, log_format):
    proxy = pgveil(postgres.upstream(), log={"session_start": session_start, "format": log_format})
    proxy.query("SELECT 1")
    proxy.end_of_session()
    lines = [event for line in proxy.lines for event in re.findall(r"session_\w+", line)]
    assert lines == (["session_started"] if session_start else []) + ["session_closed"]


def test_by_default_the_line_at_the_start_is_written(proxy):
    proxy.query("SELECT 1")
    proxy.end_of_session()
    assert proxy.log.count(" session_started ") == 1


def test_without_it_text_has_one_line_for_each_session(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), log={"session_start": False})
    before = len(proxy.lines)
    for _ in range(3):
        proxy.query("SELECT 1")
    proxy.wait_for_lines("session_closed", 3)
    assert len(proxy.lines) - before == 3


def test_lines_begin_with_a_time_and_a_level(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), log={"level": "debug"})
    proxy.query("SELECT 1")
    refused_session(proxy)
    proxy.wait_for_lines("session_record", 2)
    head = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [DIWE] \w+"
    pair = r' \w+=("([^"\\]|\\.)*"|\S+)'
    for line in proxy.lines:
        assert re.fullmatch(f"{head}({pair})*", line), line
        assert not re.search(r'=(-|"-"|"")( |$)', line), line


def test_a_session_that_never_was_says_why_and_where(proxy):
    refused_session(proxy)
    closed = fields(proxy.end_of_session())
    assert list(closed) == ["session", "reason", "phase", "client", "upstream", "duration_ms", "message", "detail"]
    assert (closed["reason"], closed["phase"]) == ("malformed_startup", "negotiate")


def test_a_failure_says_what_went_wrong_and_what_to_do(pgveil, postgres):
    proxy = pgveil(postgres.upstream(host="db.example.com"))
    proxy.psql("SELECT 1")
    closed = fields(proxy.end_of_session())
    assert closed["message"] and closed["detail"] and closed["hint"]
    assert (closed["upstream"], closed["rule"], closed["phase"]) == ("primary", "built-in:1", "verify_upstream")


def test_at_level_debug_a_second_line_has_every_key_with_a_value(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), log={"level": "debug"})
    proxy.query("SELECT 1", user="app", password=PASSWORD)
    line = proxy.record_of_session()
    assert " D session_record " in line
    record, closed = fields(line), fields(proxy.end_of_session())
    assert list(record) == [key for key in KEYS_OF_SESSION_CLOSED if key in record]
    assert {"listener", "worker", "cipher", "group", "server_fingerprint", "server_not_after"} < set(record)
    assert {key: closed[key] for key in closed if key in record and key != "duration_ms"}.items() <= record.items()
    assert (record["sent_bytes"], record["received_bytes"]) == (closed["sent"], closed["received"])


def test_passwords_and_queries_are_not_in_it(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), log={"level": "debug"})
    proxy.query("SELECT 'a secret of the application'", user="app", password=PASSWORD)
    proxy.psql("SELECT 1", user="old", password="a wrong guess")
    proxy.wait_for_line("session_closed.*sqlstate=28P01")
    for secret in (PASSWORD, "a wrong guess", "secret of the application"):
        assert secret not in proxy.log


def test_a_name_cannot_forge_a_line(proxy):
    forged = 'x" reason=none\n2026-11-24T00:00:00.000Z I s=0\u2028\u202e\x85'  # fits the server's 63 bytes
    proxy.psql("SELECT 1", user=forged)
    line = proxy.end_of_session()
    assert not any(line.startswith("2026-11-24T00:00:00.000Z") for line in proxy.lines)
    assert fields(line)["reason"] == "client_closed"  # to ask for a password
    assert r'user="x\" reason=none\u000a2026' in line and r's=0\u2028\u202e\u0085"' in line


def test_the_levels_tell_who_has_to_act(pgveil, postgres):
    wrong_name = pgveil(postgres.upstream(host="db.example.com"))
    wrong_name.psql("SELECT 1")
    assert wrong_name.end_of_session()[25] == "W"
    scanned = pgveil(postgres.upstream())
    refused_session(scanned)
    assert scanned.end_of_session()[25] == "I"


def json_lines(proxy, event) -> list[dict]:
    return [line for line in map(json.loads, proxy.lines) if line["event"] == event]


class TestJson:
    @pytest.fixture
    def proxy(self, pgveil, postgres):
        return pgveil(postgres.upstream(), log={"format": "json"})

    def test_has_the_same_keys_however_a_session_ends(self, proxy):
        proxy.query("SELECT 1")
        refused_session(proxy)
        proxy.wait_for_lines("session_closed", 2)
        assert [list(line) for line in json_lines(proxy, "session_closed")] == [HEAD_OF_JSON + KEYS_OF_SESSION_CLOSED] * 2
        started, = json_lines(proxy, "session_started")
        assert list(started) == HEAD_OF_JSON + [key for key in KEYS_OF_SESSION_CLOSED if key not in ONLY_AT_THE_END]

    def test_has_numbers_booleans_and_null(self, proxy):
        proxy.query("SELECT 1")
        proxy.end_of_session()  # the next one may be served by another worker
        refused_session(proxy)
        proxy.wait_for_lines("session_closed", 2)
        regular, refused = json_lines(proxy, "session_closed")
        for key in "worker", "sent_bytes", "received_bytes", "duration_ms":
            assert type(regular[key]) is type(refused[key]) is int
        assert regular["preconnected"] is refused["preconnected"] is False
        assert type(regular["post_quantum"]) is bool and refused["post_quantum"] is None
        for key in "user", "server", "tls", "cipher", "sqlstate", "hint":
            assert refused[key] is None
        assert regular["message"] is None and refused["message"]

    def test_has_the_audit_record_at_level_info_and_no_second_line(self, proxy):
        proxy.query("SELECT 1")
        proxy.end_of_session()
        record, = json_lines(proxy, "audit")
        assert record["level"] == "info" and record["sqlstate"] is None
        assert json_lines(proxy, "session_record") == []

    def test_knows_no_placeholder(self, proxy):
        proxy.query("SELECT 1")
        refused_session(proxy)
        proxy.wait_for_lines("session_closed", 2)
        for line in map(json.loads, proxy.lines):
            assert not {"-", ""} & {value for value in line.values() if isinstance(value, str)}, line
