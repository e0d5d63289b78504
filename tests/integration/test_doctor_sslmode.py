"""`pgveil doctor --sslmode` against psql: what each sslmode of libpq really does with the same server."""

import contextlib
import json

import pytest

from harness.certificates import DAY, Authority
from harness.pgveil import BINARY, EX_UNAVAILABLE, EX_USAGE, toml
from harness.postgres import PASSWORD
from harness.processes import environment, run

MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
WITH_PLAINTEXT = "host all app 127.0.0.1/32 scram-sha-256\n"
WITHOUT = "hostssl all app 127.0.0.1/32 scram-sha-256\n"


@pytest.fixture(scope="session")
def stranger(workplace):
    directory = workplace / "sslmode"
    directory.mkdir()
    return Authority(directory, "stranger")


KINDS = {
    "good": lambda authority, stranger: authority.issue("localhost", dns=["localhost"]),
    "wrong name": lambda authority, stranger: authority.issue("x", dns=["db02.example.com"]),
    "untrusted": lambda authority, stranger: stranger.issue("localhost", dns=["localhost"]),
    "expired": lambda authority, stranger: authority.issue("localhost", dns=["localhost"], age=3 * DAY),
}


@contextlib.contextmanager
def server_of(kind: str, hba: str, postgres, authority, stranger):
    if kind == "no TLS":
        with postgres.reconfigured(hba=hba, ssl="off"):
            yield
    else:
        with postgres.presenting(KINDS[kind](authority, stranger), hba=hba):
            yield


def of_psql(postgres, mode: str, root) -> str:
    """What the psql of the same release as the server does."""
    string = (f"host=localhost hostaddr=127.0.0.1 port={postgres.port} user=app dbname=ledger sslmode={mode} "
              f"gssencmode=disable {f'sslrootcert={root}' if root else ''}")  # fmt: skip
    words = ["--no-psqlrc", "-tA", "-c", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", string]
    psql = postgres.tree.command("psql", *words) if postgres.tree else [f"{postgres.binaries}/psql", *words]
    done = run(*psql, env=environment(PGPASSWORD=PASSWORD))
    return {"t": "tls", "f": "plaintext"}[done.stdout.strip()] if done.returncode == 0 else "fails"


def forecasts(postgres, root, mode: str = "all", *words) -> dict:
    words = [f"localhost:{postgres.port}", "--hostaddr", "127.0.0.1", "--user", "app", "--dbname", "ledger", *words,
             "--sslmode", mode, *(["--sslrootcert", root] if root else [])]  # fmt: skip
    done = run(BINARY, "doctor", "--json", *words)
    assert done.returncode in (0, EX_UNAVAILABLE), done.stderr
    return {each["mode"]: each for each in json.loads(done.stdout)["servers"][0]["sslmodes"]}


def each_kind(test):
    test = pytest.mark.parametrize("has_root", [True, False], ids=["root", "no root"])(test)
    test = pytest.mark.parametrize("hba", [WITH_PLAINTEXT, WITHOUT], ids=["plaintext", "hostssl"])(test)
    return pytest.mark.parametrize("kind", ["no TLS", *KINDS])(test)


def compare(postgres, kind, hba, root, authority, stranger):
    with server_of(kind, hba, postgres, authority, stranger):
        foretold = {mode: each["result"] for mode, each in forecasts(postgres, root).items()}
        assert foretold == {mode: of_psql(postgres, mode, root) for mode in MODES}


@each_kind
def test_each_mode_does_what_is_foretold(kind, hba, has_root, each_postgres, authority, stranger):
    """With server and psql of each release that is installed below /usr/lib/postgresql; on Debian 12 that is 15 only."""
    compare(each_postgres, kind, hba, authority.file if has_root else None, authority, stranger)


@each_kind
def test_each_mode_of_postgresql_18_does_what_is_foretold(kind, hba, has_root, newer_postgres, authority, stranger):
    """Its libpq chooses what to try by another code than that of 16 and older."""
    compare(newer_postgres, kind, hba, authority.file if has_root else None, authority, stranger)


def test_only_verify_full_protects_against_everything(postgres, authority):
    found = forecasts(postgres, authority.file)
    assert [mode for mode, each in found.items() if each["result"] != "fails" and not each["unprotected"]] == ["verify-full"]
    assert [mode for mode, each in found.items() if each["verifies_chain"]] == MODES[1:]
    assert [mode for mode, each in found.items() if each["verifies_name"]] == ["verify-full"]
    assert "same authority" in found["verify-ca"]["unprotected"] and "TLS left out" in found["prefer"]["unprotected"]


def test_one_mode_may_be_named(postgres, authority):
    assert list(forecasts(postgres, authority.file, "require")) == ["require"]
    string = f"host=localhost hostaddr=127.0.0.1 port={postgres.port} sslrootcert={authority.file} sslmode=verify-ca"
    done = run(BINARY, "doctor", string)
    assert done.returncode == 0 and "  – verify-ca             connects over TLS; no protection against a false server" in done.stdout
    assert "prefer" not in done.stdout


def test_a_mode_is_not_a_fault(postgres, authority):
    words = [f"localhost:{postgres.port}", "--hostaddr", "127.0.0.1", "--sslrootcert", authority.file, "--user", "app",
             "--dbname", "ledger"]  # fmt: skip
    done = run(BINARY, "doctor", *words, "--sslmode", "disable")
    assert done.returncode == 0 and "  – disable               does not connect: " in done.stdout


def test_a_server_that_is_reached_without_tls_has_no_forecast(postgres, folder):
    path = folder / "pgveil.toml"
    plain = {"host": "localhost", "hostaddr": "127.0.0.1", "port": postgres.port, "sslmode": "disable"}
    path.write_text(toml({"listener": [{"address": "127.0.0.1:0", "upstream": "local"}],
                          "upstream": {"local": postgres.unix_upstream(), "plain": plain,
                                       "other": postgres.upstream()}}), encoding="utf-8")  # fmt: skip
    done = run(BINARY, "doctor", "--json", "--config", path, "--sslmode", "require")
    counts = {each["upstream"]: len(each["sslmodes"]) for each in json.loads(done.stdout)["servers"]}
    assert counts == {"local": 0, "plain": 0, "other": 1}


def test_an_unknown_mode_is_an_error():
    done = run(BINARY, "doctor", "db01", "--sslmode", "verify")
    assert done.returncode == EX_USAGE and "disable, allow, prefer, require, verify-ca, verify-full" in done.stderr
