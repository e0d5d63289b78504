"""The audit records: who came, by which rule and map line, became whom, and how it ended. Where they are written is in
test_audit_targets.py."""

import json
import re
import socket
import struct

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from harness import wire
from harness.admin import Admin
from harness.audit import logins, parse, records, to_file, wait_for_records
from harness.certificates import DAY, Authority
from harness.pgveil import BINARY, EX_CONFIG, toml
from harness.postgres import PASSWORD
from harness.processes import run
from harness.reloadable import Reloadable
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
    def start(audit=None, listener=None, **log):
        (folder / "pg_hba.conf").write_text("# rules\nhostssl all all all cert map=workloads clientname=URI\n")
        (folder / "pg_ident.conf").write_text("workloads /^spiffe://prod/ns/ledger/sa/([a-z]+)$ \\1\n")
        files = {"hba_file": str(folder / "pg_hba.conf"), "ident_file": str(folder / "pg_ident.conf")}
        listener = certificate(credentials, ssl_ca_file=str(authority.file), **files, **(listener or {}))
        return pgveil(postgres.unix_upstream(), listener=listener, log=log, audit=audit or {})

    return start


def expected(folder, authority) -> dict:
    return {
        "outcome": "accepted",
        "subject": "CN=workload",
        "issuer": "CN=test root",
        "certificate_verified": True,
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
    proxy = start(to_file(file))
    assert answer(run_psql(proxy, authority, "SELECT 1", user="billing", **shown(workload))) == "1"
    run_psql(proxy, authority, "SELECT 1", user="orders", **shown(workload))
    assert proxy.stop() == 0
    accepted, refused = logins(file)
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
    assert "outcome=abandoned reason=client_closed" in record and "requested_user=app" in record
    assert "sqlstate=" not in record and "detail=" not in record


def test_a_client_that_pgveil_asks_for_a_password_may_leave_too(pgveil, postgres, folder):
    users = secret_file(folder / "users", '"app" "secret"\n')
    proxy = pgveil(postgres.upstream(), listener={"hba": "host all all all scram-sha-256", "auth_file": users})
    assert "no password supplied" in proxy.psql("SELECT 1", user="app").stderr
    assert "outcome=abandoned reason=client_closed" in proxy.wait_for_line(" audit .*").string


def test_a_client_that_leaves_inside_its_answer_is_not_refused(pgveil, postgres, folder):
    users = secret_file(folder / "users", '"app" "secret"\n')
    proxy = pgveil(postgres.upstream(), listener={"hba": "host all all all scram-sha-256", "auth_file": users})
    with proxy.connect() as client:
        client.send(wire.startup_message(user="app", database="ledger"))
        client.receive_message()
        client.send(b"p\0\0\0\x36SCRAM-SHA-256\0")
    assert "outcome=abandoned reason=client_closed_in_message" in proxy.wait_for_line(" audit .*").string


def test_a_login_that_the_end_of_pgveil_interrupts_is_not_refused(pgveil, postgres):
    proxy = pgveil(postgres.upstream())
    with proxy.connect() as client:
        client.send(wire.startup_message(user="app", database="ledger"))
        client.receive_until(b"R")
        assert proxy.stop() == 0
        client.receive_to_end()
    assert "outcome=abandoned reason=draining" in next(line for line in proxy.lines if " audit " in line)


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
    assert record["certificate_verified"] is False
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
                          "audit": to_file("/dev/null/audit.json")}))  # fmt: skip
    done = run(BINARY, "run", "--config", file)
    assert done.returncode == EX_CONFIG and "/dev/null/audit.json" in done.stderr


def test_the_log_tells_how_many_records_a_full_disk_took(start, authority, workload):
    proxy = start(to_file("/dev/full", fail="open"))
    assert answer(run_psql(proxy, authority, "SELECT 1", user="billing", **shown(workload))) == "1"
    proxy.wait_for_line(r' E audit_records_lost lines=[12] detail="No space left on device"')


def test_a_record_in_a_json_log_has_the_same_keys(start, authority, workload, folder):
    proxy = start(to_file(folder / "audit.json"), format="json")
    assert answer(run_psql(proxy, authority, "SELECT 1", user="billing", **shown(workload))) == "1"
    in_log = json.loads(proxy.wait_for_line('.*"event":"audit".*').string)
    (in_file,) = wait_for_records(folder / "audit.json", 1, "accepted")
    assert in_log.pop("level") == "info"
    assert {**in_log, "time": ""} == {**in_file, "time": ""}


class TestTheEndOfASession:
    def test_has_a_record_with_its_bytes(self, pgveil, postgres, folder):
        file = folder / "audit.json"
        proxy = pgveil(postgres.unix_upstream(), listener={"hba": "host all all all trust"}, audit=to_file(file))
        startup, question = wire.startup_message(user="billing", database="ledger"), wire.query("SELECT 1")
        with proxy.connect() as client:
            client.send(startup)
            client.receive_until(b"Z")
            client.send(question)
            answer = b"".join(wire.message(kind, body) for kind, body in client.receive_until(b"Z"))
            client.send(wire.TERMINATE)
            client.receive_to_end()
        (end,) = wait_for_records(file, 1, "ended")
        (login,) = logins(file)
        assert end["received_bytes"] == len(startup) + len(question) + len(wire.TERMINATE)
        assert end["sent_bytes"] == len(answer)
        for key in "session", "client", "listener", "user", "database", "upstream", "server":
            assert end[key] == login[key], key
        assert (end["reason"], end["sqlstate"], end["detail"]) == ("client_closed", None, None)
        assert 0 <= end["duration_ms"] < 60_000

    def test_has_the_error_with_which_the_server_ended_it(self, pgveil, postgres, folder):
        file = folder / "audit.json"
        proxy = pgveil(postgres.unix_upstream(), listener={"hba": "host all all all trust"}, audit=to_file(file))
        with proxy.connect() as client:
            client.log_in(user="billing", database="ledger")
            postgres.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'billing'")
            client.receive_to_end()
        (end,) = wait_for_records(file, 1, "ended")
        assert (end["reason"], end["sqlstate"]) == ("server_closed", "57P01")

    def test_that_pgveil_ends_has_a_record(self, pgveil, postgres, folder):
        file = folder / "audit.json"
        proxy = pgveil(postgres.unix_upstream(), listener={"hba": "host all all all trust"}, audit=to_file(file))
        with proxy.connect() as client:
            client.log_in(user="billing", database="ledger")
            assert proxy.stop() == 0
        assert [(each["outcome"], each["reason"]) for each in records(file)] == [
            ("accepted", None), ("ended", "shutting_down")]  # fmt: skip

    def test_of_a_login_that_was_not_accepted_has_none(self, pgveil, postgres, folder):
        file = folder / "audit.json"
        proxy = pgveil(postgres.unix_upstream(), listener={"hba": "host all all all reject"}, audit=to_file(file))
        proxy.psql("SELECT 1", user="billing")
        proxy.end_of_session()
        assert proxy.stop() == 0
        assert [each["outcome"] for each in records(file)] == ["refused"]


def test_a_certificate_that_is_revoked_is_recorded(start, authority, workload, folder):
    file = folder / "audit.json"
    proxy = start(to_file(file), listener={"ssl_crl_file": str(authority.revoke(workload))})
    run_psql(proxy, authority, "SELECT 1", user="billing", **shown(workload))
    (record,) = wait_for_records(file, 1, "refused")
    assert (record["reason"], record["certificate_verified"]) == ("client_certificate_invalid", False)
    assert int(record["serial"], 16) == workload.serial_number and "revoked" in record["detail"]


def test_a_client_that_leaves_is_recorded_as_abandoned(pgveil, postgres, folder):
    file = folder / "audit.json"
    proxy = pgveil(postgres.upstream(), audit=to_file(file))
    with proxy.connect() as client:
        client.send(wire.startup_message(user="app", database="ledger"))
        client.receive_until(b"R")
    (record,) = wait_for_records(file, 1, "abandoned")
    assert (record["reason"], record["requested_user"]) == ("client_closed", "app")


@pytest.mark.parametrize("name", [b"a\xff\"\n\x1b[31m{}", b"\xc3(", b"\xed\xa0\x80", "\u202eadmin".encode(), b"\x7f\xc2\x85"])
def test_a_name_of_any_bytes_stays_in_its_record(pgveil, postgres, folder, name):
    file = folder / "audit.json"
    proxy = pgveil(postgres.unix_upstream(), listener={"hba": "host all all all reject"}, audit=to_file(file))
    with proxy.connect() as client:
        client.send(wire.startup_packet(struct.pack("!I", wire.PROTOCOL_3_0) + b"user\0" + name + b"\0\0"))
        client.receive_to_end()
    (record,) = wait_for_records(file, 1, "refused")
    assert not re.search("[\\x00-\\x1f\\x7f]", file.read_text().rstrip("\n"))
    assert record["requested_user"]


class TestStrangers:
    def come(self, proxy, count):
        for _ in range(count):
            with proxy.connect() as client:
                client.send(wire.startup_message(user="eve", database="ledger"))
                client.receive_to_end()

    def test_over_the_rate_are_counted(self, pgveil, postgres, folder):
        file = folder / "audit.json"
        proxy = pgveil(postgres.unix_upstream(), listener={"hba": "host all all all reject"},
                       audit=to_file(file, stranger_rate="5/h"), admin={"address": "127.0.0.1:0"})  # fmt: skip
        self.come(proxy, 40)
        assert Admin(proxy).metrics()["pgveil_audit_records_omitted_total"] == 35
        # Nothing else comes: the number is written within a second or two.
        (omitted,) = wait_for_records(file, 1, "omitted")
        assert [each["outcome"] for each in records(file)[:5]] == ["refused"] * 5
        self.come(proxy, 10)
        assert proxy.stop() == 0
        written = [each for each in records(file) if each["outcome"] == "refused"]
        assert len(written) == 5
        assert len(written) + sum(each.get("omitted", 0) for each in records(file)) == 50
        assert omitted["session"] is None

    def test_are_written_again_after_the_interval(self, pgveil, postgres, folder):
        file = folder / "audit.json"
        proxy = pgveil(postgres.unix_upstream(), listener={"hba": "host all all all reject"},
                       audit=to_file(file, stranger_rate="2/s"))  # fmt: skip
        self.come(proxy, 5)
        wait_for_records(file, 1, "omitted")
        self.come(proxy, 1)
        assert proxy.stop() == 0
        outcomes = [each["outcome"] for each in records(file)]
        assert outcomes.count("refused") + sum(each.get("omitted", 0) for each in records(file)) == 6
        assert outcomes[-1] == "refused" or outcomes.count("refused") > 2

    def test_do_not_include_clients_with_a_certificate_and_accepted_ones(self, start, authority, workload, folder):
        file = folder / "audit.json"
        proxy = start(to_file(file, stranger_rate="1/h"))
        for _ in range(3):
            assert answer(run_psql(proxy, authority, "SELECT 1", user="billing", **shown(workload))) == "1"
            run_psql(proxy, authority, "SELECT 1", user="orders", **shown(workload))
        assert proxy.stop() == 0
        outcomes = [each["outcome"] for each in records(file)]
        assert (outcomes.count("accepted"), outcomes.count("refused"), outcomes.count("omitted")) == (3, 3, 0)

    def test_have_no_limit_with_a_rate_of_zero(self, pgveil, postgres, folder):
        file = folder / "audit.json"
        proxy = pgveil(postgres.unix_upstream(), listener={"hba": "host all all all reject"},
                       audit=to_file(file, stranger_rate="0"))  # fmt: skip
        self.come(proxy, 40)
        assert proxy.stop() == 0
        assert [each["outcome"] for each in records(file)] == ["refused"] * 40

    def test_have_the_rate_of_a_reload(self, pgveil, postgres, folder):
        file = folder / "audit.json"
        configuration = {
            "listener": [{"address": "127.0.0.1:0", "upstream": "primary", "hba": "host all all all reject"}],
            "upstream": {"primary": postgres.unix_upstream()}, "reload": {"watch": False},
            "audit": to_file(file, stranger_rate="1/h"),
        }  # fmt: skip
        running = Reloadable(folder, pgveil, configuration)
        self.come(running.proxy, 3)
        configuration["audit"]["stranger_rate"] = "0"
        running.reload_successfully()
        self.come(running.proxy, 3)
        assert running.proxy.stop() == 0
        assert [each["outcome"] for each in records(file)].count("refused") == 4
        assert sum(each.get("omitted", 0) for each in records(file)) == 2


def test_the_schema_refuses_what_is_not_a_record(pgveil, postgres, folder):
    """Otherwise the tests above would show nothing."""
    file = folder / "audit.json"
    proxy = pgveil(postgres.unix_upstream(), listener={"hba": "host all all all trust"}, audit=to_file(file))
    assert proxy.query("SELECT 1", user="billing") == "1"
    assert proxy.stop() == 0
    for good in file.read_text().splitlines():
        record = parse(good)
        for bad in ({**record, "schema": 2}, {**record, "outcome": "incomplete"}, {**record, "user": 7}, {**record, "time": "now"},
                    {key: value for key, value in record.items() if key != "database"}, {**record, "more": 1}):  # fmt: skip
            with pytest.raises(AssertionError):
                parse(json.dumps(bad))
