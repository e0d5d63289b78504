"""`pgveil sessions` and `pgveil terminate`, and the pages behind them: /sessions, /terminate."""

import contextlib
import json
import re
import time

import psycopg2
import pytest

from harness import wire
from harness.admin import Admin
from harness.pgveil import BINARY, EX_UNAVAILABLE, EX_USAGE
from harness.processes import Daemon, eventually, run, stopped_thread

HBA = "host all all all trust\n"
ONE = b"\0\1\0\0\0\x011"  # the row of SELECT 1
ENDED = "terminating connection due to administrator command"


@pytest.fixture
def start(pgveil, postgres):
    def start(admin=None, upstream=None, **sections):
        proxy = pgveil(upstream or postgres.unix_upstream(), admin={"address": "127.0.0.1:0", **(admin or {})},
                       **{"listener": {"hba": HBA}, **sections})  # fmt: skip
        return proxy, Admin(proxy)

    return start


@contextlib.contextmanager
def session(proxy, user="billing", database="ledger"):
    with proxy.connect() as client:
        client.log_in(user=user, database=database)
        yield client


def listed(admin) -> list[dict]:
    time.sleep(0.21)  # then the list is made anew
    status, text = admin.get("/sessions")
    assert status == 200
    page = json.loads(text)
    assert page["schema"] == 1
    return page["sessions"]


def only(admin) -> dict:
    (session,) = listed(admin)
    return session


def shown(admin, *options: str) -> str:
    time.sleep(0.21)
    done = run(BINARY, "sessions", "--admin", admin.text, *options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def rows(text: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line) for line in text.splitlines()[1:]]


class TestList:
    def test_is_empty_without_sessions(self, start):
        _, admin = start()
        assert listed(admin) == []
        assert shown(admin).splitlines()[0].startswith("SESSION  AGE  STATE  USER  DATABASE  CLIENT  UPSTREAM")

    def test_has_what_is_known_of_a_session(self, start, postgres):
        proxy, admin = start()
        with session(proxy) as client:
            entry = only(admin)
            name = proxy.wait_for_line(r" session_started session=(\S+) ")[1]
            assert entry["session"] == name
            assert (entry["user"], entry["database"]) == ("billing", "ledger")
            assert entry["client"] == "127.0.0.1:%d" % client.socket.getsockname()[1]
            assert entry["listener"] == "127.0.0.1:%d" % proxy.address[1]
            assert (entry["upstream"], entry["server"]) == ("primary", f"unix:{postgres.directory}/.s.PGSQL.{postgres.port}")
            assert re.fullmatch(r"/.+:\d+", entry["rule"])
            assert (entry["client_tls"], entry["server_tls"], entry["identity"]) == (None, None, None)
            assert (entry["phase"], entry["state"], entry["worker"]) == ("relay", "idle", entry["worker"])
            assert 0 < entry["age_seconds"] < 60
        eventually(lambda: listed(admin) == [])

    def test_has_the_identity_and_the_tls_of_both_sides(self, pgveil, postgres, authority, credentials):
        proxy = pgveil(
            postgres.unix_upstream(),
            listener={"ssl_cert_file": str(credentials.certificate), "ssl_key_file": str(credentials.key),
                      "ssl_ca_file": str(authority.file), "hba": "hostssl all all all cert map=m\n", "ident": "m ann billing\n"},
            admin={"address": "127.0.0.1:0"},
        )  # fmt: skip
        admin = Admin(proxy)
        ann = authority.issue_to_client("ann")
        with contextlib.closing(psycopg2.connect(proxy.tls_string(
                user="billing", sslrootcert=authority.file, sslcert=ann.certificate, sslkey=ann.key))):  # fmt: skip
            entry = only(admin)
            assert (entry["identity"], entry["user"], entry["client_tls"]) == ("CN=ann", "billing", "TLSv1.3")

    def test_tells_what_a_session_does(self, start):
        proxy, admin = start()
        with session(proxy) as client:
            assert only(admin)["state"] == "idle"
            client.rows("BEGIN")
            assert only(admin)["state"] == "in_transaction"
            client.send(wire.query("SELECT pg_sleep(2)"))
            eventually(lambda: only(admin)["state"] == "active")
            client.receive_until(b"Z")
            before = only(admin)["bytes"]["to_client"]
            client.rows("SELECT repeat('x', 10000)")
            assert only(admin)["bytes"]["to_client"] - before > 10_000

    def test_has_clients_that_are_not_logged_in(self, start):
        proxy, admin = start()
        with proxy.connect():
            entry = only(admin)
            assert (entry["phase"], entry["state"], entry["user"], entry["rule"]) == ("negotiate", None, None, None)
            assert "negotiate" in shown(admin)

    def test_is_that_of_all_workers(self, start):
        proxy, admin = start(limits={"workers": 3})
        with contextlib.ExitStack() as stack:
            for _ in range(6):
                stack.enter_context(session(proxy))
            sessions = listed(admin)
            assert sorted(each["worker"] for each in sessions) == [1, 1, 2, 2, 3, 3]
            ages = [each["age_seconds"] for each in sessions]
            assert ages == sorted(ages, reverse=True)

    def test_is_sorted_and_filtered(self, start):
        proxy, admin = start()
        with session(proxy, "billing"), session(proxy, "orders") as talker, session(proxy, "billing", "postgres"):
            talker.rows("SELECT repeat('x', 50000)")
            assert [row[3] for row in rows(shown(admin))] == ["billing", "orders", "billing"]  # the oldest first
            assert [row[3] for row in rows(shown(admin, "--sort", "user"))] == ["billing", "billing", "orders"]
            assert rows(shown(admin, "--sort", "to_client"))[0][3] == "orders"
            assert len(rows(shown(admin, "--filter", "user=billing"))) == 2
            assert len(rows(shown(admin, "--filter", "user=billing", "--filter", "database=led*"))) == 1
            assert rows(shown(admin, "--filter", "state=active")) == []
            page = json.loads(shown(admin, "--json", "--filter", "user=orders"))
            assert [each["user"] for each in page["sessions"]] == ["orders"]

    @pytest.mark.parametrize(("options", "error"), [
        (["--sort", "size"], 'unknown column "size" in --sort'),
        (["--filter", "size=1"], 'unknown column "size" in --filter'),
        (["--filter", "user"], 'invalid value "user" of --filter'),
    ])  # fmt: skip
    def test_refuses_columns_that_do_not_exist(self, start, options, error):
        done = run(BINARY, "sessions", "--admin", "127.0.0.1:9", *options)
        assert (done.returncode, done.stdout) == (EX_USAGE, "")
        assert done.stderr.startswith(f"error: {error}\n")

    def test_is_shown_again_and_again(self, start):
        _, admin = start()
        watching = Daemon("bash", "-c", f"exec {BINARY} sessions --watch --admin {admin.text} >&2")
        try:
            watching.wait_for_lines("SESSION +AGE", 2)
        finally:
            watching.stop()

    def test_has_names_that_a_client_has_made_up(self, start, scripted_server):
        """The server takes its time, so that the session is there to be seen."""
        server = scripted_server(lambda peer: peer.receive_to_end())
        proxy, admin = start(upstream=server.upstream(sslmode="disable"), listener={"hba": "host all all all relay\n"})
        with proxy.connect() as client:
            client.send(wire.startup_message(user="<b>\x1b[31m\n", database="x"))
            eventually(lambda: only(admin)["phase"] == "log_in")
            assert only(admin)["user"] == "<b>\x1b[31m\n"
            for text in (shown(admin), shown(admin, "--json")):
                assert "\x1b" not in text and r"\u001b[31m" in text, text

    def test_and_ends_are_not_for_the_network(self, start):
        proxy, admin = start({"address": "0.0.0.0:0", "allow_from_network": True})
        refusal = "sessions are shown and ended only if the admin address is loopback or a Unix socket\n"
        port = int(admin.text.rsplit(":", 1)[1])
        admin.address = ("127.0.0.1", port)
        with session(proxy):
            assert admin.get("/sessions") == (403, refusal)
            assert admin.request("POST", "/terminate?session=1") == (403, refusal)
        assert admin.status("/status") == 200

    def test_of_many_sessions_does_not_delay_them_for_long(self, start):
        proxy, admin = start(limits={"workers": 1, "max_unauthenticated_clients": 2000})
        with contextlib.ExitStack() as stack, session(proxy) as client:
            for _ in range(500):
                stack.enter_context(proxy.connect())
            eventually(lambda: len(listed(admin)) == 501)
            assert client.rows("SELECT 1") == [ONE]


class TestTerminate:
    def test_ends_an_idle_session_with_57P01(self, start):
        proxy, admin = start()
        with session(proxy) as client, session(proxy) as other:
            name = listed(admin)[0]["session"]
            done = run(BINARY, "terminate", name, "--admin", admin.text)
            assert (done.returncode, done.stdout, done.stderr) == (0, f"session {name} ends\n", "")
            error = client.receive_error()
            assert (error["S"], error["C"], error["M"]) == ("FATAL", "57P01", "pgveil: " + ENDED)
            assert client.receive_to_end() == b""
            assert other.rows("SELECT 1") == [ONE]
        proxy.wait_for_line(f"session_closed session={name} .*reason=terminated")
        listener = f"127.0.0.1:{proxy.address[1]}"
        assert admin.metrics()[f'pgveil_sessions_ended_total{{listener="{listener}",reason="terminated"}}'] == 1

    def test_ends_a_session_inside_a_transaction(self, start, postgres):
        proxy, admin = start()
        with session(proxy) as client:
            client.rows("BEGIN")
            assert admin.request("POST", "/terminate?session=" + only(admin)["session"])[0] == 202
            assert client.receive_error()["C"] == "57P01"
        eventually(lambda: postgres.admin("SELECT count(*) FROM pg_stat_activity WHERE usename = 'billing'") == "0")

    def test_ends_a_session_that_waits_for_its_server(self, start):
        proxy, admin = start()
        with session(proxy) as client:
            client.send(wire.query("SELECT pg_sleep(30)"))
            eventually(lambda: only(admin)["state"] == "active")
            assert admin.request("POST", "/terminate?session=" + only(admin)["session"])[0] == 202
            assert client.receive_error()["C"] == "57P01"
            assert client.receive_to_end() == b""

    def test_ends_a_client_that_is_not_logged_in(self, start):
        proxy, admin = start()
        with proxy.connect() as client:
            assert admin.request("POST", "/terminate?session=" + only(admin)["session"])[0] == 202
            client.receive_to_end()
        proxy.wait_for_line("session_closed .*reason=terminated")

    def test_reaches_a_worker_that_does_not_answer_in_time(self, start):
        proxy, admin = start(limits={"workers": 1, "core_dumps": True})
        with session(proxy) as client:
            name = only(admin)["session"]
            with stopped_thread(proxy, "worker-1"):
                status, text = admin.request("POST", f"/terminate?session={name}")
                assert (status, text) == (202, f"session {name} ends, if there is one; a worker does not answer\n")
            assert client.receive_error()["C"] == "57P01"

    @pytest.mark.parametrize("name", ["7f3a-2b", "x y", "&session=1"])
    def test_of_a_session_that_does_not_exist(self, start, name):
        proxy, admin = start()
        with session(proxy) as client:
            done = run(BINARY, "terminate", name, "--admin", admin.text)
            assert (done.returncode, done.stdout) == (EX_UNAVAILABLE, "")
            assert done.stderr == f"error: there is no session {name}\n"
            assert client.rows("SELECT 1") == [ONE]

    def test_needs_the_name_of_a_session(self, start):
        _, admin = start()
        done = run(BINARY, "terminate", "--admin", admin.text)
        assert done.returncode == EX_USAGE and "terminate requires the name of a session" in done.stderr
        assert admin.request("POST", "/terminate") == (400, "use POST /terminate?session=SESSION\n")

    def test_is_not_an_order_of_a_web_page(self, start):
        proxy, admin = start()
        with session(proxy) as client:
            name = only(admin)["session"]
            assert admin.request("POST", f"/terminate?session={name}", headers={"Origin": "http://evil.example"})[0] == 403
            assert admin.get(f"/terminate?session={name}")[0] == 405
            assert client.rows("SELECT 1") == [ONE]
