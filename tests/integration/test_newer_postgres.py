"""PostgreSQL 18 on both sides: direct TLS and protocol 3.2, which Debian's own 15 does not know. And OpenSSL as new as
that."""

import shutil

import pytest

from harness import wire
from harness.cancelling import cancel_a_sleeping_query
from harness.pgveil import TLS_TEST, tls_test_needs_openssl_3
from harness.postgres import PASSWORD
from harness.processes import run


@pytest.fixture
def psql18(newer_tree):
    def start(connection_string: str, *commands: str):
        words = [word for command in commands for word in ("-c", command)]
        return run(*newer_tree.command("psql", "--no-psqlrc", "-tAq", "-v", "ON_ERROR_STOP=1", *words, connection_string))

    return start


@pytest.fixture
def front(pgveil, newer_postgres, credentials):
    """TLS in front of the Unix socket."""
    listener = {"ssl_cert_file": str(credentials.certificate), "ssl_key_file": str(credentials.key)}
    return pgveil(newer_postgres.unix_upstream(), listener=listener)


def answer(done) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("sslnegotiation", ["postgres", "direct"])
def test_a_plaintext_client_reaches_it_over_tls(pgveil, newer_postgres, sslnegotiation):
    proxy = pgveil(newer_postgres.upstream(sslnegotiation=sslnegotiation))
    assert proxy.query("SHOW server_version_num", user="app", password=PASSWORD).startswith("18")
    assert proxy.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == "t"


# libpq itself refuses direct TLS with sslmode=prefer.
@pytest.mark.parametrize(
    "sslnegotiation, sslmode",
    [
        *(("postgres", mode) for mode in ["prefer", "require", "verify-ca", "verify-full"]),
        *(("direct", mode) for mode in ["require", "verify-ca", "verify-full"]),
    ],
)
def test_its_psql_comes_in_over_tls(psql18, front, authority, sslmode, sslnegotiation):
    string = front.tls_string(user="app", password=PASSWORD, sslrootcert=authority.file, sslmode=sslmode,
                              sslnegotiation=sslnegotiation)  # fmt: skip
    assert answer(psql18(string, "SELECT current_user")) == "app"
    assert "client_tls=TLSv1.3" in front.end_of_session()


def test_its_psql_is_refused_in_plaintext(psql18, front):
    done = psql18(front.connection_string(user="app"), "SELECT 1")
    assert "FATAL:  pgveil: connection requires TLS" in done.stderr


def test_protocol_3_2_passes_with_its_long_key(psql18, front, authority):
    string = front.tls_string(user="app", password=PASSWORD, sslrootcert=authority.file,
                              min_protocol_version="3.2", max_protocol_version="3.2")  # fmt: skip
    assert answer(psql18(string, "SELECT 1")) == "1"


def test_a_long_key_cancels(pgveil, newer_postgres):
    proxy = pgveil(newer_postgres.upstream())
    with proxy.connect() as client:
        client.log_in(version=wire.PROTOCOL_3_2, user="trusted", database="ledger")
        assert len(client.key) == 32
        cancel_a_sleeping_query(proxy, client, newer_postgres)


def test_a_certificate_becomes_the_user_of_a_server_that_trusts_the_proxy(psql18, pgveil, newer_postgres, credentials,
                                                                       authority):  # fmt: skip
    proxys, clients = authority.issue_to_client("pgveil"), authority.issue_to_client("workload")
    proxy = pgveil(
        newer_postgres.upstream(sslcert=str(proxys.certificate), sslkey=str(proxys.key)),
        listener={
            "ssl_cert_file": str(credentials.certificate),
            "ssl_key_file": str(credentials.key),
            "ssl_ca_file": str(authority.file),
            "hba": "hostssl all all all cert map=workloads",
            "ident": "workloads workload billing",
        },
    )
    string = proxy.tls_string(user="billing", sslrootcert=authority.file, sslcert=clients.certificate, sslkey=clients.key)
    assert answer(psql18(string, "SELECT current_user")) == "billing"


@pytest.mark.parametrize("records", ["own", "openssl"])
def test_the_unit_tests_of_tls_pass_with_its_openssl(newer_tree, records):
    if not tls_test_needs_openssl_3():
        pytest.skip("the tests were built with another major version of OpenSSL")
    binary = newer_tree.shared / "tls_test"
    shutil.copy(TLS_TEST, binary)
    done = run(*newer_tree.command("env", f"PGVEIL_TEST_TLS_RECORDS={records}", binary, "--gtest_brief=1"), timeout=300)
    assert done.returncode == 0 and "PASSED" in done.stdout, done.stdout[-3000:]
