"""The audit record: who came, by which rule and map line, and became whom."""

import json
import re
import socket
import struct

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from harness import wire
from harness.certificates import DAY, Authority
from harness.pgveil import BINARY, EX_CONFIG, toml
from harness.postgres import PASSWORD
from harness.processes import run
from harness.secrets import secret_file
from harness.tls_clients import answer, certificate, run_psql, shown

URI = "spiffe://prod/ns/ledger/sa/billing"


@pytest.fixture
def pgveil(pgveil):
    """With the audit records in the log, whatever its format."""

    def start(*arguments, log=None, **sections):
        return pgveil(*arguments, log={"level": "debug", **(log or {})}, **sections)

    return start


@pytest.fixture
def workload(authority):
    return authority.issue_to_client("workload", uris=[URI], dns=["w1.example.com"], emails=["w@example.com"])


@pytest.fixture
def start(pgveil, postgres, authority, credentials, folder):
    def start(**log):
        (folder / "pg_hba.conf").write_text("# rules\nhostssl all all all cert map=workloads clientname=URI\n")
        (folder / "pg_ident.conf").write_text("workloads /^spiffe://prod/ns/ledger/sa/([a-z]+)$ \\1\n")
        files = {"hba_file": str(folder / "pg_hba.conf"), "ident_file": str(folder / "pg_ident.conf")}
        listener = certificate(credentials, ssl_ca_file=str(authority.file), **files)
        return pgveil(postgres.unix_upstream(), listener=listener, log=log)

    return start


def expected(folder, authority) -> dict:
    return {
        "outcome": "accepted",
        "subject": "CN=workload",
        "issuer": "CN=test root",
        "names": f"DNS:w1.example.com, URI:{URI}, email:w@example.com",
        "system_user": URI,
        "rule": f"{folder}/pg_hba.conf:2",
        "method": "cert",
        "map": f"{folder}/pg_ident.conf:1",
        "requested_user": "billing",
        "user": "billing",
        "database": "ledger",
        "upstream": "primary",
        "client_tls": "TLSv1.3",
        "client_server_name": "localhost",
        "server_tls": None,
        "server_post_quantum": None,
    }


def test_stands_in_the_file_as_json(start, authority, workload, folder):
    file = folder / "audit.json"
    proxy = start(audit_file=str(file))
    assert answer(run_psql(proxy, authority, "SELECT 1", user="billing", **shown(workload))) == "1"
    run_psql(proxy, authority, "SELECT 1", user="orders", **shown(workload))
    assert proxy.stop() == 0
    accepted, refused = map(json.loads, file.read_text().splitlines())
    assert {key: accepted[key] for key in expected(folder, authority)} == expected(folder, authority)
    assert int(accepted["serial"], 16) == workload.serial_number
    assert re.fullmatch("[0-9a-f]{64}", accepted["fingerprint"])
    assert (refused["outcome"], refused["reason"]) == ("refused", "identity_not_mapped")
    assert (refused["requested_user"], refused["subject"]) == ("orders", "CN=workload")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_stands_in_the_log(start, authority, workload, log_format):
    proxy = start(format=log_format)
    assert answer(run_psql(proxy, authority, "SELECT 1", user="billing", **shown(workload))) == "1"
    proxy.end_of_session()
    records = [line for line in proxy.lines if re.search(r"Z D audit |\"event\":\"audit\"", line)]
    assert len(records) == 1
    assert URI in records[0] and "pg_ident.conf:1" in records[0]


def test_says_that_a_relayed_login_was_refused_by_the_server(pgveil, postgres):
    proxy = pgveil(postgres.upstream())
    proxy.psql("SELECT 1", user="app", password="wrong " + PASSWORD)
    proxy.end_of_session()
    record = next(line for line in proxy.lines if " audit " in line)
    assert "outcome=refused reason=login_failed" in record and "rule=built-in:1 method=relay" in record
    for line in record, proxy.end_of_session():
        assert "sqlstate=28P01" in line
        assert r'The server refused the login: password authentication failed for user \"app\" (SQLSTATE 28P01).' in line
    assert PASSWORD not in proxy.log


def test_names_a_startup_parameter_that_the_server_refused(pgveil, postgres):
    proxy = pgveil(postgres.upstream())
    with proxy.connect() as client:
        client.send(wire.startup_message(("no_such_parameter", "1"), user="trusted", database="ledger"))
        client.receive_until(b"E")
    assert 'unrecognized configuration parameter \\"no_such_parameter\\"' in proxy.wait_for_line(" audit .*").string


def test_a_client_that_leaves_to_ask_for_a_password_is_not_refused(pgveil, postgres):
    proxy = pgveil(postgres.upstream())
    # psql would ask, and has no terminal for it.
    assert "no password supplied" in proxy.psql("SELECT 1", user="app").stderr
    record = proxy.wait_for_line(" audit .*").string
    assert "outcome=incomplete reason=client_closed" in record and "requested_user=app" in record
    assert "sqlstate=" not in record and "detail=" not in record


def test_a_client_that_pgveil_asks_for_a_password_may_leave_too(pgveil, postgres, folder):
    users = secret_file(folder / "users", '"app" "secret"\n')
    proxy = pgveil(postgres.upstream(), listener={"hba": "host all all all scram-sha-256", "auth_file": users})
    assert "no password supplied" in proxy.psql("SELECT 1", user="app").stderr
    assert "outcome=incomplete reason=client_closed" in proxy.wait_for_line(" audit .*").string


def test_a_client_that_leaves_inside_its_answer_is_not_refused(pgveil, postgres, folder):
    users = secret_file(folder / "users", '"app" "secret"\n')
    proxy = pgveil(postgres.upstream(), listener={"hba": "host all all all scram-sha-256", "auth_file": users})
    with proxy.connect() as client:
        client.send(wire.startup_message(user="app", database="ledger"))
        client.receive_message()
        client.send(b"p\0\0\0\x36SCRAM-SHA-256\0")
    assert "outcome=incomplete reason=client_closed_in_message" in proxy.wait_for_line(" audit .*").string


def test_a_login_that_the_end_of_pgveil_interrupts_is_not_refused(pgveil, postgres):
    proxy = pgveil(postgres.upstream())
    with proxy.connect() as client:
        client.send(wire.startup_message(user="app", database="ledger"))
        client.receive_until(b"R")
        assert proxy.stop() == 0
        client.receive_to_end()
    assert "outcome=incomplete reason=shutting_down" in next(line for line in proxy.lines if " audit " in line)


def test_a_client_that_resets_its_connection_after_a_refusal_was_refused(pgveil, postgres):
    proxy = pgveil(postgres.upstream())
    with proxy.connect() as client:
        client.send(wire.startup_message(user="nobody-knows-me", database="ledger"))
        client.receive_until(b"R")
        client.send(wire.message(b"p", b"x\0"))
        client.receive_until(b"E")
        reset(client)
    assert "outcome=refused reason=login_failed" in proxy.wait_for_line(" audit .*").string


def reset(client):
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


REFUSED = {
    "of another authority": (lambda ca, other: other.issue_to_client("eve", uris=[URI]), "CN=eve", "CN=other root"),
    "expired": (lambda ca, other: ca.issue_to_client("late", age=3 * DAY), "CN=late", "CN=test root"),
    "of an unknown intermediate": (
        lambda ca, other: Authority(other.directory, "between", issuer=other).issue_to_client("deep"), "CN=deep", "CN=between"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.replace(" ", "-"))
def test_names_a_certificate_that_was_refused(start, authority, folder, kind):
    (folder / "ca").mkdir()
    issue, subject, issuer = REFUSED[kind]
    client = issue(authority, Authority(folder / "ca", "other root"))
    proxy = start(format="json")
    run_psql(proxy, authority, "SELECT 1", user="billing", **shown(client))
    record = json.loads(proxy.wait_for_line('.*"event":"audit".*').string)
    assert (record["outcome"], record["reason"]) == ("refused", "client_certificate_invalid")
    assert (record["subject"], record["issuer"]) == (subject, issuer)
    certificate = x509.load_pem_x509_certificate(client.certificate.read_bytes())
    assert int(record["serial"], 16) == client.serial_number
    assert record["fingerprint"] == certificate.fingerprint(hashes.SHA256()).hex()
    assert record["not_after"].startswith(str(certificate.not_valid_after.year))
    assert record["user"] is None


def test_does_not_let_a_certificate_that_was_refused_fill_the_log(start, authority, folder):
    (folder / "ca").mkdir()
    client = Authority(folder / "ca", "other root").issue_to_client("eve", uris=["spiffe://" + "x" * 20_000])
    proxy = start()
    run_psql(proxy, authority, "SELECT 1", user="billing", **shown(client))
    record = proxy.wait_for_line(" audit .*reason=client_certificate_invalid.*").string
    assert "URI:spiffe://xxx" in record and len(record) < 3000


def test_a_file_that_cannot_be_written_is_an_error(folder):
    file = folder / "pgveil.toml"
    listener = [{"address": "127.0.0.1:0", "upstream": "a"}]
    file.write_text(toml({"listener": listener, "upstream": {"a": {"host": "/run"}},
                          "log": {"audit_file": "/dev/null/audit.json"}}))  # fmt: skip
    done = run(BINARY, "run", "--config", file)
    assert done.returncode == EX_CONFIG and "/dev/null/audit.json" in done.stderr


def test_the_log_tells_how_many_records_a_full_disk_took(start, authority, workload):
    proxy = start(audit_file="/dev/full")
    assert answer(run_psql(proxy, authority, "SELECT 1", user="billing", **shown(workload))) == "1"
    proxy.wait_for_line(r' E audit_records_lost lines=1 detail="No space left on device"')
