"""SIGTERM: sessions finish their transactions, and no work is lost."""

import re
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from harness import wire
from harness.cancelling import cancel_a_sleeping_query
from harness.java import JDBC_DRIVER, compiled, newest_java
from harness.postgres import PASSWORD
from harness.processes import PATIENCE, POSTGRES_BIN, Daemon, environment, eventually, run_or_fail

FATAL_57P01 = ("FATAL", "57P01", "pgveil: terminating connection due to administrator command")


def error_of(client) -> tuple[str, str, str]:
    """The FATAL error with which a session ends, and nothing after it."""
    error = client.receive_error()
    assert client.receive_to_end() == b""
    return error["S"], error["C"], error["M"]


@pytest.fixture
def proxy(pgveil, postgres):
    return pgveil(postgres.upstream(), limits={"drain_timeout": "1h"})


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

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_client_in_its_login_is_told_to_come_back(self, pgveil, postgres, number):
        """At the end of drain_timeout, and at once with SIGINT."""
        proxy = pgveil(postgres.upstream(), limits={"drain_timeout": "0s"})
        with proxy.connect() as client:
            client.send(wire.startup_message(user="app", database="ledger"))
            client.receive_until(b"R")
            proxy.send_signal(number)
            assert error_of(client)[:2] == ("FATAL", "57P03")
        assert proxy.wait() == 0

    def test_a_client_that_was_not_accepted_yet_is_told_to_come_back(self, pgveil, postgres):
        """The kernel would reset its connection if the listening socket were closed."""
        proxy = pgveil(postgres.upstream(), limits={"max_unauthenticated_clients": 1, "drain_timeout": "1h"})
        with proxy.connect() as first, proxy.connect() as second:
            first.send(wire.SSL_REQUEST)
            first.receive(1)
            second.send(wire.startup_message(user="trusted", database="ledger"))
            proxy.wait_for_line(r" W accept_paused ")
            proxy.send_signal(signal.SIGINT)
            assert error_of(second)[:2] == ("FATAL", "57P03")
        assert proxy.wait() == 0

    def test_a_second_signal_ends_the_process(self, proxy, log_in):
        log_in().rows("BEGIN")
        drain(proxy)
        proxy.send_signal(signal.SIGTERM)
        assert proxy.wait() == 0


def test_pgbench_loses_no_transaction(pgveil, postgres):
    """Each transaction that was begun is committed; its client then gets 57P01."""
    postgres.admin("CREATE TABLE IF NOT EXISTS counted (n int); TRUNCATE counted", "ledger")
    proxy = pgveil(postgres.upstream(), limits={"drain_timeout": "1h"})
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


def test_psql_finishes_its_transaction(proxy, postgres, folder):
    """It has a statement after COMMIT, which the server never gets."""
    postgres.admin("DROP TABLE IF EXISTS typed; CREATE TABLE typed (n int)", "ledger")
    out = folder / "out"
    with open(out, "w", encoding="ascii") as file:
        psql = subprocess.Popen(
            [f"{POSTGRES_BIN}/psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", proxy.connection_string()],
            stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT, text=True, env=environment(),
        )  # fmt: skip
    psql.stdin.write("BEGIN;\nINSERT INTO typed VALUES (1);\nSELECT 'inserted';\n")
    psql.stdin.flush()
    eventually(lambda: "inserted" in out.read_text(encoding="ascii"))
    drain(proxy)
    psql.stdin.write("INSERT INTO typed VALUES (2);\nCOMMIT;\n")
    psql.stdin.flush()
    assert proxy.wait() == 0
    psql.communicate("INSERT INTO typed VALUES (3);\n", timeout=20)
    said = out.read_text(encoding="ascii")
    assert psql.returncode == 2 and "terminating connection due to administrator command" in said, said
    assert postgres.admin("SELECT n FROM typed ORDER BY n", "ledger").split() == ["1", "2"]


def test_pg_recvlogical_continues_with_the_next_process(pgveil, postgres, folder):
    """It is not idle, so it ends after drain_timeout. It connects again by itself, and misses no row."""
    postgres.admin("DROP TABLE IF EXISTS streamed; CREATE TABLE streamed (n int)", "ledger")
    listener = {"reuse_port": True}
    first = pgveil(postgres.upstream(), listener=listener, limits={"drain_timeout": "1s"})
    out = folder / "out"
    slot = ("--dbname", first.connection_string(), "--slot", "drained_logical")
    receiver = [f"{POSTGRES_BIN}/pg_recvlogical", *slot]
    run_or_fail(*receiver, "--create-slot", "--plugin", "test_decoding")
    stream = Daemon(*receiver, "--start", "--fsync-interval=1", "--status-interval=1", "--file", out)

    def rows() -> set[str]:
        return set(re.findall(r"n\[integer\]:(\d+)", out.read_text(encoding="ascii") if out.exists() else ""))

    def insert(number: int) -> None:
        postgres.admin(f"INSERT INTO streamed VALUES ({number})", "ledger")

    insert(1)
    eventually(lambda: rows() == {"1"})
    pgveil(postgres.upstream(), listener={**listener, "address": f"127.0.0.1:{first.address[1]}"})
    drain(first)
    insert(2)
    assert first.wait() == 0
    insert(3)
    eventually(lambda: rows() == {"1", "2", "3"})
    assert "terminating connection due to administrator command" in stream.log
    stream.stop(signal.SIGINT)
    postgres.admin("SELECT pg_drop_replication_slot('drained_logical')", "ledger")


class JdbcPool:
    """HikariCP with the JDBC driver, whose threads run short transactions; see drivers/Pool.java."""

    THREADS = 6
    CONNECTIONS = 8  # so that some are idle

    def __init__(self, class_path: str, folder, postgres, url: str):
        self._postgres = postgres
        self._end, self._committed = folder / "end", folder / "committed"
        postgres.admin(f"""
            DROP TABLE IF EXISTS pooled, pool_counters;
            CREATE TABLE pooled (thread int, number int);
            CREATE TABLE pool_counters (thread int, n int);
            INSERT INTO pool_counters SELECT i, 0 FROM generate_series(0, {self.THREADS - 1}) i;
            GRANT ALL ON pooled, pool_counters TO app;
        """, "ledger")  # fmt: skip
        self.program = Daemon(newest_java(), "-Xmx64m", "-cp", class_path, "Pool", url, PASSWORD, self.CONNECTIONS, self.THREADS,
                              self._end, self._committed)  # fmt: skip

    def counters(self) -> list[int]:
        """How many transactions of each thread are committed."""
        return list(map(int, self._postgres.admin("SELECT n FROM pool_counters ORDER BY thread", "ledger").split()))

    def wait_for_transactions(self) -> None:
        """Some of each thread."""
        before = self.counters()
        eventually(lambda: all(now >= then + 20 for now, then in zip(self.counters(), before)), 4 * PATIENCE)

    def stop(self) -> None:
        self._end.touch()
        assert self.program.wait() == 0, self.program.log

    def failures(self) -> set[tuple[str, str]]:
        """Steps of transactions and their SQLSTATEs."""
        return {(line.split()[1], line.split()[2]) for line in self.program.lines if line.startswith("failed ")}

    def refusals(self) -> set[str]:
        """The SQLSTATEs of connections that the pool did not get."""
        return {line.split()[1] for line in self.program.lines if line.startswith("refused ")}

    def check_that_each_commit_is_there_once(self) -> None:
        there = self._postgres.admin("SELECT thread, number FROM pooled", "ledger").split()
        assert sorted(there) == sorted(self._committed.read_text(encoding="ascii").split())
        counted = [sum(row.startswith(f"{thread}|") for row in there) for thread in range(self.THREADS)]
        assert self.counters() == counted


class TestAJdbcPool:
    @pytest.fixture(scope="class")
    def class_path(self, workplace):
        folder = workplace / "pool"
        folder.mkdir(exist_ok=True)
        jars = [Path("/usr/share/java") / f"{name}.jar" for name in ("HikariCP", "slf4j-api", "slf4j-simple")]
        found = compiled(Path(__file__).parent / "drivers/Pool.java", folder, JDBC_DRIVER, *jars)
        if not found:
            pytest.skip("libhikaricp-java, libpostgresql-jdbc-java or a JDK is not installed")
        return found

    def test_moves_to_a_second_process_without_a_refusal(self, pgveil, postgres, authority, credentials, folder, class_path):
        """With TLS. Both processes listen on one port for a moment."""
        listener = {
            "ssl_cert_file": str(credentials.certificate), "ssl_key_file": str(credentials.key), "reuse_port": True,
        }  # fmt: skip
        limits = {"drain_delay": "5s", "drain_timeout": "1h"}
        first = pgveil(postgres.upstream(), listener=listener, limits=limits)
        port = first.address[1]
        url = f"jdbc:postgresql://localhost:{port}/ledger?sslmode=verify-full&sslrootcert={authority.file}"
        pool = JdbcPool(class_path, folder, postgres, url)
        pool.wait_for_transactions()
        second = pgveil(postgres.upstream(), listener={**listener, "address": f"127.0.0.1:{port}"}, limits=limits)
        first.send_signal(signal.SIGTERM)
        assert first.wait() == 0
        pool.wait_for_transactions()
        pool.stop()
        assert "stopped abandoned_sessions=0" in first.log
        assert pool.failures() == {("first", "57P01")}, pool.program.log
        assert pool.refusals() == set(), pool.program.log
        pool.check_that_each_commit_is_there_once()
        assert "session_started" in second.log

    def test_waits_for_the_next_process(self, pgveil, postgres, folder, class_path):
        """Without TLS. One client keeps the old process in its drain until the pool has tried to connect."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            listener = {"address": f"127.0.0.1:{probe.getsockname()[1]}"}
        first = pgveil(postgres.upstream(), listener=listener, limits={"drain_timeout": "1h"})
        pool = JdbcPool(class_path, folder, postgres, f"jdbc:postgresql://127.0.0.1:{first.address[1]}/ledger?sslmode=disable")
        pool.wait_for_transactions()
        with first.connect() as last:
            last.log_in(user="trusted", database="ledger")
            last.rows("BEGIN")
            drain(first)
            pool.program.wait_for_line("^refused 57P03 ")
            last.send(wire.query("COMMIT"))
            last.receive_until(b"Z")
            assert error_of(last) == FATAL_57P01
        assert first.wait() == 0
        pool.program.wait_for_line("^refused 08001 ")
        pgveil(postgres.upstream(), listener=listener)
        pool.wait_for_transactions()
        pool.stop()
        assert "stopped abandoned_sessions=0" in first.log
        assert pool.failures() == {("first", "57P01")}, pool.program.log
        # The second is "Connection refused", while no process listens.
        assert pool.refusals() == {"57P03", "08001"}, pool.program.log
        pool.check_that_each_commit_is_there_once()
