"""SIGTERM: sessions finish their transactions, and no work is lost."""

import select
import signal
import time

import pytest

from harness import wire
from harness.cancelling import cancel_a_sleeping_query
from harness.processes import POSTGRES_BIN, Daemon, eventually

FATAL_57P01 = ("FATAL", "57P01", "pgveil: terminating connection due to administrator command")


def error_of(client) -> tuple[str, str, str]:
    """The FATAL error with which a session ends, and nothing after it."""
    error = client.receive_error()
    assert client.receive_to_end() == b""
    return error["S"], error["C"], error["M"]


@pytest.fixture
def proxy(pgveil, postgres):
    return pgveil(postgres.upstream(), limits={"drain_timeout": "20s"})


@pytest.fixture
def log_in(proxy):
    """Logs one more client in."""
    clients = []

    def log_in(**parameters):
        client = proxy.connect()
        clients.append(client)
        client.log_in(**{"user": "trusted", "database": "ledger", **parameters})
        return client

    yield log_in
    for client in clients:
        client.close()


def drain(proxy) -> None:
    proxy.send_signal(signal.SIGTERM)
    proxy.wait_for_line(" I draining sessions=")


def is_silent(client, seconds: float = 0.3) -> bool:
    return not select.select([client.socket], [], [], seconds)[0]


class TestASession:
    def test_that_is_idle_ends_at_once(self, proxy, log_in):
        client = log_in()
        client.rows("SELECT 1")
        drain(proxy)
        assert error_of(client) == FATAL_57P01
        assert proxy.wait() == 0
        assert "stopped abandoned_sessions=0" in proxy.log

    def test_in_a_transaction_may_commit_it(self, proxy, log_in, postgres):
        postgres.admin("CREATE TABLE IF NOT EXISTS drained (n int); TRUNCATE drained", "ledger")
        client = log_in()
        client.rows("BEGIN")
        client.rows("INSERT INTO drained VALUES (1)")
        drain(proxy)
        assert is_silent(client)
        client.rows("INSERT INTO drained VALUES (2)")
        client.send(wire.query("COMMIT"))
        client.receive_until(b"Z")
        assert error_of(client) == FATAL_57P01
        assert proxy.wait() == 0
        assert postgres.admin("SELECT count(*) FROM drained", "ledger") == "2"

    def test_in_a_failed_transaction_may_roll_it_back(self, proxy, log_in):
        client = log_in()
        client.rows("BEGIN")
        client.send(wire.query("SELECT 1/0"))
        client.receive_until(b"Z")
        drain(proxy)
        assert is_silent(client)
        client.send(wire.query("ROLLBACK"))
        client.receive_until(b"Z")
        assert error_of(client) == FATAL_57P01

    def test_gets_the_answer_to_its_statement(self, proxy, log_in):
        client = log_in()
        client.send(wire.query("SELECT pg_sleep(1), 'done'"))
        drain(proxy)
        messages = client.receive_until(b"Z")
        assert any(b"done" in body for kind, body in messages if kind == b"D")
        assert error_of(client) == FATAL_57P01

    def test_gets_the_answers_to_its_pipeline(self, proxy, log_in):
        client = log_in()
        extended = wire.parse("SELECT pg_sleep(0.5)") + wire.message(b"B", b"\0\0" + b"\0" * 6) + wire.message(
            b"E", b"\0" + b"\0" * 4)  # fmt: skip
        client.send(extended, wire.message(b"S"), extended, wire.message(b"S"))
        drain(proxy)
        client.receive_until(b"Z")
        client.receive_until(b"Z")
        assert error_of(client) == FATAL_57P01

    def test_between_parse_and_sync_is_not_idle(self, proxy, log_in):
        client = log_in()
        client.send(wire.parse("SELECT 1"), wire.message(b"H"))
        assert client.receive_message()[0] == b"1"
        drain(proxy)
        assert is_silent(client)
        client.send(wire.message(b"S"))
        client.receive_until(b"Z")
        assert error_of(client) == FATAL_57P01

    def test_may_finish_a_copy(self, proxy, log_in, postgres):
        postgres.admin("CREATE TABLE IF NOT EXISTS copied (n int); TRUNCATE copied", "ledger")
        client = log_in()
        client.send(wire.query("COPY copied FROM STDIN"))
        assert client.receive_message()[0] == b"G"
        client.send(wire.message(b"d", b"1\n"))
        drain(proxy)
        assert is_silent(client)
        client.send(wire.message(b"d", b"2\n"), wire.message(b"c"))
        client.receive_until(b"Z")
        assert error_of(client) == FATAL_57P01
        assert postgres.admin("SELECT count(*) FROM copied", "ledger") == "2"

    def test_that_listens_ends_at_once(self, proxy, log_in):
        client = log_in()
        client.rows("LISTEN news")
        drain(proxy)
        assert error_of(client) == FATAL_57P01

    def test_that_replicates_ends_after_the_timeout(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream(), limits={"drain_timeout": "1s"})
        with proxy.connect() as client:
            client.log_in(user="trusted", database="ledger", replication="database")
            client.rows("CREATE_REPLICATION_SLOT drained TEMPORARY LOGICAL pgoutput")
            client.send(wire.query("START_REPLICATION SLOT drained LOGICAL 0/0 (proto_version '1', publication_names 'p')"))
            assert client.receive_message()[0] == b"W"
            drain(proxy)
            begin = time.monotonic()
            while (message := client.receive_message())[0] == b"d":
                pass
            assert message[0] == b"E" and b"C57P01" in message[1]
            assert time.monotonic() - begin > 0.5
        assert proxy.wait() == 0

    def test_that_goes_on_for_too_long_is_ended(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream(), limits={"drain_timeout": "1s"})
        with proxy.connect() as client:
            client.log_in(user="trusted", database="ledger")
            client.rows("BEGIN")
            drain(proxy)
            assert error_of(client) == FATAL_57P01
        assert proxy.wait() == 0

    def test_keeps_its_notices_and_notifications(self, proxy, log_in):
        client = log_in()
        client.rows("BEGIN")
        drain(proxy)
        client.send(wire.query("DO $$ BEGIN RAISE NOTICE 'still here'; END $$; COMMIT"))
        assert any(kind == b"N" and b"still here" in body for kind, body in client.receive_until(b"Z"))
        assert error_of(client) == FATAL_57P01


class TestOthers:
    def test_new_clients_are_told_to_come_back(self, proxy, log_in):
        log_in().rows("BEGIN")
        drain(proxy)
        done = proxy.psql("SELECT 1")
        assert "FATAL:  pgveil: the proxy is shutting down" in done.stderr
        with proxy.connect() as client:
            client.send(wire.startup_message(user="trusted", database="ledger"))
            assert error_of(client)[1] == "57P03"

    def test_a_cancel_request_reaches_its_session(self, proxy, log_in, postgres):
        client = log_in()
        client.rows("BEGIN")
        drain(proxy)
        cancel_a_sleeping_query(proxy, client, postgres)
        client.send(wire.query("ROLLBACK"))
        client.receive_until(b"Z")
        assert error_of(client) == FATAL_57P01

    def test_clients_that_say_nothing_do_not_delay_the_end(self, proxy):
        with proxy.connect(), proxy.connect():
            begin = time.monotonic()
            drain(proxy)
            assert proxy.wait() == 0
            assert time.monotonic() - begin < 5

    def test_refused_clients_that_stay_do_not_delay_the_end(self, proxy, log_in):
        client = log_in()
        client.rows("BEGIN")
        drain(proxy)
        refused = [proxy.connect() for _ in range(3)]
        for each in refused:
            each.send(wire.startup_message(user="trusted", database="ledger"))
            assert each.receive_error()["C"] == "57P03"
        begin = time.monotonic()
        client.send(wire.query("COMMIT"))
        client.receive_until(b"Z")
        assert error_of(client) == FATAL_57P01
        client.close()
        assert proxy.wait() == 0
        assert time.monotonic() - begin < 10
        for each in refused:
            each.close()

    def test_drain_delay_comes_first(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream(), limits={"drain_delay": "1500ms"})
        with proxy.connect() as client:
            client.log_in(user="trusted", database="ledger")
            begin = time.monotonic()
            proxy.send_signal(signal.SIGTERM)
            proxy.wait_for_line(" I stopping signal=SIGTERM")
            assert client.rows("SELECT 1") and proxy.query("SELECT 1") == "1"
            assert error_of(client) == FATAL_57P01
            assert time.monotonic() - begin >= 1.4
        assert proxy.wait() == 0

    def test_sigint_ends_all_at_once(self, proxy, log_in):
        client = log_in()
        client.rows("BEGIN")
        begin = time.monotonic()
        proxy.send_signal(signal.SIGINT)
        assert error_of(client) == FATAL_57P01
        assert proxy.wait() == 0
        assert time.monotonic() - begin < 5

    def test_a_second_signal_ends_the_process(self, proxy, log_in):
        log_in().rows("BEGIN")
        drain(proxy)
        proxy.send_signal(signal.SIGTERM)
        assert proxy.wait() == 0


def test_pgbench_loses_no_transaction(pgveil, postgres):
    """Each transaction that was begun is committed; its client then gets 57P01."""
    postgres.admin("CREATE TABLE IF NOT EXISTS counted (n int); TRUNCATE counted", "ledger")
    proxy = pgveil(postgres.upstream(), limits={"drain_timeout": "20s"})
    script = postgres.directory / "count.sql"
    script.write_text("BEGIN;\nINSERT INTO counted VALUES (1);\nINSERT INTO counted VALUES (1);\nCOMMIT;\n", encoding="ascii")
    bench = Daemon(f"{POSTGRES_BIN}/pgbench", "--no-vacuum", "--client=8", "--time=60", "--file", script,
                   proxy.connection_string())  # fmt: skip
    eventually(lambda: int(postgres.admin("SELECT count(*) FROM counted", "ledger")) > 50)
    proxy.send_signal(signal.SIGTERM)
    assert proxy.wait() == 0
    bench.wait()
    ends = [line for line in proxy.lines if "session_closed" in line]
    assert len(ends) == 9 and all("reason=shutting_down" in line or "reason=client_closed" in line for line in ends)
    assert postgres.admin("SELECT count(*) % 2 FROM counted", "ledger") == "0"
    assert bench.log.count("terminating connection due to administrator command") == 8, bench.log
