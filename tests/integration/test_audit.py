"""The audit record: who came, by which rule and map line, and became whom."""

import json
import re

import pytest

from harness.pgveil import BINARY, EX_CONFIG, toml
from harness.postgres import PASSWORD
from harness.processes import run
from harness.tls_clients import answer, certificate, run_psql, shown

URI = "spiffe://prod/ns/ledger/sa/billing"


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
        "server_tls": "-",
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
    records = [line for line in proxy.lines if re.search(r"Z I audit |\"event\":\"audit\"", line)]
    assert len(records) == 1
    assert URI in records[0] and "pg_ident.conf:1" in records[0]


def test_says_that_a_relayed_login_was_refused_by_the_server(pgveil, postgres):
    proxy = pgveil(postgres.upstream())
    proxy.psql("SELECT 1", user="app", password="wrong " + PASSWORD)
    proxy.end_of_session()
    record = next(line for line in proxy.lines if " audit " in line)
    assert "outcome=refused reason=login_failed" in record and "rule=built-in:1 method=relay" in record
    assert PASSWORD not in proxy.log


def test_a_file_that_cannot_be_written_is_a_mistake(folder):
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
