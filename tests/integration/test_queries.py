"""What applications do all day, from a client that has no TLS to a server that wants nothing else."""

import os
import signal
import subprocess

import psycopg2
import psycopg2.extensions
import pytest

from harness import wire
from harness.pgveil import psql
from harness.processes import POSTGRES_BIN, environment, run, run_or_fail

MEBIBYTE = 1 << 20


@pytest.fixture
def proxy(pgveil, postgres):
    return pgveil(postgres.upstream())


def test_a_client_without_tls_gets_an_answer_over_tls(proxy):
    answer = proxy.query("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert answer == "t|TLSv1.3"


def test_the_same_client_is_refused_by_the_server_itself(postgres):
    direct = f"host=127.0.0.1 port={postgres.port} user=trusted dbname=ledger sslmode=disable"
    done = psql(direct, "SELECT 1")
    assert done.returncode != 0
    assert "no encryption" in done.stderr


def test_everything_can_be_said_in_flags(pgveil, postgres):
    proxy = pgveil(
        flags=["--listen", "127.0.0.1:0", "--upstream", f"localhost:{postgres.port}",
               "--hostaddr", "127.0.0.1", "--sslrootcert", postgres.authority.file],
    )  # fmt: skip
    assert proxy.query("SELECT 1") == "1"


def test_everything_can_be_said_in_the_environment(pgveil, postgres):
    proxy = pgveil(
        flags=[],
        variables={
            "PGVEIL_LISTEN": "127.0.0.1:0",
            "PGVEIL_UPSTREAM": f"localhost:{postgres.port}",
            "PGVEIL_HOSTADDR": "127.0.0.1",
            "PGVEIL_SSLROOTCERT": str(postgres.authority.file),
        },
    )
    assert proxy.query("SELECT 1") == "1"


def test_an_error_of_the_server_comes_as_it_was_said(proxy):
    done = proxy.psql("SELECT 1/0", "\\echo unreached")
    assert done.stderr == "ERROR:  division by zero\n"
    assert done.returncode == 1


def test_copy_goes_both_ways(proxy, folder):
    numbers = folder / "numbers"
    numbers.write_text("".join(f"{n}\t{'x' * (n % 97)}\n" for n in range(100_000)), encoding="ascii")
    back = folder / "back"
    done = proxy.psql(
        "CREATE TEMP TABLE numbers (n int, filling text)",
        f"\\copy numbers FROM '{numbers}'",
        f"\\copy (SELECT * FROM numbers ORDER BY n) TO '{back}'",
    )
    assert done.returncode == 0, done.stderr
    assert back.read_bytes() == numbers.read_bytes()


def test_fifty_megabytes_go_up_and_come_back_unchanged(proxy):
    sent = os.urandom(50 * MEBIBYTE)
    with psycopg2.connect(proxy.connection_string()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT %s::bytea", (psycopg2.Binary(sent),))
        assert bytes(cursor.fetchone()[0]) == sent
    connection.close()


def test_large_objects_are_imported_and_exported(proxy, folder):
    original, copy = folder / "original", folder / "copy"
    original.write_bytes(os.urandom(3 * MEBIBYTE + 1))
    done = proxy.psql(
        f"\\lo_import '{original}'", f"\\lo_export :LASTOID '{copy}'", "\\lo_unlink :LASTOID"
    )  # the variable of a \lo_import holds for the -c after it
    assert done.returncode == 0, done.stderr
    assert copy.read_bytes() == original.read_bytes()


def test_a_listening_session_is_notified(proxy):
    listening = psycopg2.connect(proxy.connection_string())
    listening.set_isolation_level(psycopg2.extensions.ISOLATION_LEVEL_AUTOCOMMIT)
    listening.cursor().execute("LISTEN news")
    proxy.query("NOTIFY news, 'rain'")

    wire.wait_readable(listening.fileno())
    listening.poll()
    assert [(notice.channel, notice.payload) for notice in listening.notifies] == [("news", "rain")]
    listening.close()


def test_pipelined_statements_are_answered_in_order(proxy):
    statements = 5_000
    with proxy.connect() as client:
        client.log_in(user="trusted", database="ledger")
        # Nothing is read until everything is sent.
        for number in range(statements):
            client.send(wire.parse(f"SELECT {number}"), wire.BIND, wire.EXECUTE)
        client.send(wire.SYNC)
        rows = [body for kind, body in client.receive_until(b"Z") if kind == b"D"]
    assert rows == [b"\0\1" + len(str(n)).to_bytes(4, "big") + str(n).encode() for n in range(statements)]


def test_pgbench_runs_with_sixteen_clients(proxy):
    def pgbench(*arguments: str) -> str:
        return run_or_fail(f"{POSTGRES_BIN}/pgbench", *arguments, proxy.connection_string())

    pgbench("--initialize", "--quiet", "--scale=2")
    for workload in (["--select-only"], ["--builtin=tpcb-like"]):
        output = pgbench("--client=16", "--jobs=2", "--transactions=100", "--protocol=prepared", *workload)
        assert "number of transactions actually processed: 1600/1600" in output


def test_pgbench_runs_pipelines(proxy, folder):
    script = folder / "pipeline.sql"
    script.write_text(
        "\\startpipeline\n" + "".join(f"SELECT {n};\n" for n in range(20)) + "\\endpipeline\n",
        encoding="ascii",
    )
    output = run_or_fail(
        f"{POSTGRES_BIN}/pgbench", "--no-vacuum", "--client=4", "--transactions=50", "--protocol=extended",
        f"--file={script}", proxy.connection_string(),
    )  # fmt: skip
    assert "number of transactions actually processed: 200/200" in output


def test_a_base_backup_can_be_taken_and_verified(pgveil, postgres, folder):
    proxy = pgveil(postgres.upstream())
    backup = folder / "backup"
    done = run(
        f"{POSTGRES_BIN}/pg_basebackup", "--checkpoint=fast", "--wal-method=stream", "--no-sync",
        f"--pgdata={backup}", f"--dbname={proxy.connection_string(user='replicator', password='correct horse')}",
        env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run_or_fail(f"{POSTGRES_BIN}/pg_verifybackup", backup)


def test_a_logical_replication_stream_follows_the_changes(proxy, postgres):
    connection_string = proxy.connection_string()
    pg_recvlogical = [f"{POSTGRES_BIN}/pg_recvlogical", "--slot=changes", f"--dbname={connection_string}"]
    run_or_fail(*pg_recvlogical, "--create-slot", "--plugin=test_decoding")
    stream = subprocess.Popen(
        [*pg_recvlogical, "--start", "--no-loop", "--status-interval=1", "--file=-"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        proxy.query("CREATE TABLE followed (n int); INSERT INTO followed VALUES (42)")
        seen = []
        for line in stream.stdout:
            seen.append(line.strip())
            if "INSERT" in line:
                break
        assert seen[-1] == "table public.followed: INSERT: n[integer]:42"
    finally:
        stream.send_signal(signal.SIGINT)
        stream.wait(20)
        stream.stdout.close()
        proxy.query("DROP TABLE followed")
        run_or_fail(*pg_recvlogical, "--drop-slot")
