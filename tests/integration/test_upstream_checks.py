"""Whether an upstream can be reached and verified, as the admin address tells it: /readyz?upstream=1, /status, /metrics."""

import calendar
import json
import socket
import time

import pytest

from harness import wire
from harness.admin import Admin
from harness.certificates import DAY, Authority
from harness.pgveil import BINARY, EX_UNAVAILABLE, toml
from harness.processes import eventually, run
from harness.reloadable import Reloadable

READY = "/readyz?upstream=1"
TRUST = {"hba": "host all all all trust\n"}


@pytest.fixture
def start(pgveil):
    """pgveil that checks `upstream` every 300 ms, unless `admin` says otherwise."""

    def start(upstream, admin=None, **sections):
        proxy = pgveil(upstream, admin={"address": "127.0.0.1:0", "upstream_check_interval": "300ms", **(admin or {})}, **sections)
        return proxy, Admin(proxy)

    return start


def upstream_status(admin) -> dict:
    (upstream,) = json.loads(admin.get("/status")[1])["upstreams"]
    return upstream


def answers_greeting(credentials, count: list):
    """The script of a server that counts who has come through its TLS handshake."""

    def script(peer):
        peer.accept_tls(credentials)
        count.append(peer)

    return script


class TestReadiness:
    def test_of_a_server_that_is_verified(self, start, postgres):
        _, admin = start(postgres.upstream())
        eventually(lambda: admin.get(READY) == (200, "ready\n"))
        assert admin.probe("ready", "--upstream").returncode == 0
        status = upstream_status(admin)
        assert (status["name"], status["verdict"], status["problem"]) == ("primary", "verified", None)
        assert (status["server"], status["tls"]) == (f"127.0.0.1:{postgres.port}", "TLSv1.3")
        assert status["last_connected"] and status["last_failed"] is None

    def test_of_a_server_that_is_down_and_comes_back(self, start, scripted_server, credentials, authority):
        server = scripted_server(answers_greeting(credentials, []))
        proxy, admin = start(server.upstream(sslrootcert=str(authority.file)))
        eventually(lambda: admin.status(READY) == 200)
        server.stop()
        eventually(lambda: admin.status(READY) == 503)
        assert "upstream primary: " in admin.get(READY)[1] and "Connection refused" in admin.get(READY)[1]
        done = admin.probe("ready", "--upstream")
        assert done.returncode == EX_UNAVAILABLE and "Connection refused" in done.stderr
        assert admin.get("/readyz") == (200, "ready\n")  # only who asks for it is told
        assert admin.metrics()['pgveil_upstream_up{upstream="primary"}'] == 0
        proxy.wait_for_line("upstream_check_failed upstream=primary reason=upstream_unreachable .*refused")
        scripted_server(answers_greeting(credentials, []), address=("127.0.0.1", server.port))
        eventually(lambda: admin.status(READY) == 200)
        proxy.wait_for_line("upstream_check_recovered upstream=primary")
        assert proxy.log.count("upstream_check_failed") == 1  # not one for each check
        assert admin.metrics()['pgveil_upstream_up{upstream="primary"}'] == 1

    def test_of_a_server_that_is_not_verified(self, start, postgres, folder):
        other = folder / "other"
        other.mkdir()
        _, admin = start(postgres.upstream(sslrootcert=str(Authority(other, "somebody else").file)))
        eventually(lambda: upstream_status(admin)["verdict"] == "failed")
        status, text = admin.get(READY)
        assert status == 503 and "primary" in text and "certificate" in text
        assert upstream_status(admin)["last_connected"] is None

    def test_of_a_server_that_accepts_and_says_nothing(self, start, scripted_server, authority):
        server = scripted_server(lambda peer: peer.receive_to_end())
        _, admin = start(server.upstream(sslrootcert=str(authority.file)), limits={"startup_timeout": "1s"})
        assert admin.get(READY)[1] == "upstream primary: no connection has been made yet\n"
        eventually(lambda: "did not answer the request for TLS in time" in admin.get(READY)[1])

    def test_of_one_upstream_among_two(self, pgveil, postgres, folder):
        good, bad = {"upstream": "good"}, {"upstream": "bad"}
        listener = {"address": "127.0.0.1:0", **TRUST}
        file = folder / "two.toml"
        file.write_text(toml({
            "listener": [{**listener, **good}, {**listener, **bad}],
            "upstream": {"good": postgres.unix_upstream(), "bad": {"host": str(folder)},
                         "unused": {"host": str(folder / "unused")}},
            "admin": {"address": "127.0.0.1:0", "upstream_check_interval": "300ms"},
        }), encoding="utf-8")  # fmt: skip
        admin = Admin(pgveil(flags=["--config", file]))
        eventually(lambda: admin.get(READY)[1] == (
            f'upstream bad: Connection to server on socket "{folder}/.s.PGSQL.5432" failed: No such file or directory.\n'))  # fmt: skip
        verdicts = {each["name"]: each["verdict"] for each in json.loads(admin.get("/status")[1])["upstreams"]}
        assert verdicts == {"good": "unencrypted", "bad": "failed"}

    def test_is_kept_over_a_reload_and_checked_anew(self, start, postgres):
        proxy, admin = start(postgres.upstream(), {"upstream_check_interval": "1h"})
        eventually(lambda: admin.status(READY) == 200)
        before = upstream_status(admin)["last_connected"]
        time.sleep(1)
        proxy.reload()
        assert admin.status(READY) == 200
        eventually(lambda: upstream_status(admin)["last_connected"] != before)

    def test_ends_with_the_drain(self, start, postgres):
        proxy, admin = start(postgres.upstream())
        eventually(lambda: admin.status(READY) == 200)
        proxy.stop()
        assert "abandoned_sessions=0" in proxy.log


class TestChecks:
    def test_are_not_made_while_sessions_connect(self, start, scripted_server, credentials, authority):
        def script(peer):
            peer.accept_tls(credentials)
            peer.log_in()
            peer.serve()

        server = scripted_server(script)
        proxy, _ = start(server.upstream(sslrootcert=str(authority.file)), {"upstream_check_interval": "3s"}, listener=TRUST)
        eventually(lambda: len(server.peers) == 1)
        begin, logins = time.monotonic(), 0
        while time.monotonic() < begin + 4:
            with proxy.connect() as client:
                client.log_in(user="ann")
            logins += 1
            time.sleep(0.2)
        assert len(server.peers) == 1 + logins

    def test_are_repeated_at_the_interval(self, start, scripted_server, credentials, authority):
        came = []
        start(scripted_server(answers_greeting(credentials, came)).upstream(sslrootcert=str(authority.file)),
              {"upstream_check_interval": "200ms"})  # fmt: skip
        eventually(lambda: len(came) >= 4)
        assert all(peer.rest in (None, b"") for peer in came)  # never a StartupMessage

    def test_are_made_by_one_worker(self, start, scripted_server, credentials, authority):
        came = []
        start(scripted_server(answers_greeting(credentials, came)).upstream(sslrootcert=str(authority.file)),
              {"upstream_check_interval": "1h"}, limits={"workers": 4})  # fmt: skip
        eventually(lambda: came)
        time.sleep(0.5)
        assert len(came) == 1

    def test_may_be_turned_off(self, start, postgres, pgveil):
        proxy, admin = start(postgres.unix_upstream(), {"upstream_check_interval": "0s"}, listener=TRUST)
        time.sleep(0.5)
        assert admin.get(READY) == (503, "upstream primary: no connection has been made yet\n")
        assert proxy.query("SELECT 1", user="billing") == "1"
        assert admin.get(READY) == (200, "ready\n")  # sessions tell it, too

    def test_are_not_made_without_an_admin_address(self, pgveil, scripted_server, credentials, authority):
        came = []
        pgveil(scripted_server(answers_greeting(credentials, came)).upstream(sslrootcert=str(authority.file)))
        time.sleep(0.5)
        assert not came

    def test_write_nothing_to_the_log_of_postgresql(self, start, postgres):
        before = len(postgres.lines)
        _, admin = start(postgres.upstream(), {"upstream_check_interval": "100ms"})
        eventually(lambda: admin.status(READY) == 200)
        time.sleep(0.5)
        assert postgres.lines[before:] == []

    def test_begin_with_a_proxy_header_if_the_upstream_wants_one(self, start, scripted_server):
        heads = []
        server = scripted_server(lambda peer: heads.append(peer.receive(16)))
        start(server.upstream(sslmode="disable", send_proxy_protocol=True))
        eventually(lambda: heads)
        assert heads[0] == b"\r\n\r\n\0\r\nQUIT\n" + b"\x20\x00\x00\x00"  # version 2, LOCAL, no addresses

    def test_see_the_next_host_if_the_first_is_down(self, start, scripted_server, credentials, authority):
        down = scripted_server(lambda peer: None)
        down.stop()
        server = scripted_server(answers_greeting(credentials, []))
        _, admin = start({"host": "localhost,localhost", "hostaddr": "127.0.0.1,127.0.0.1",
                          "port": f"{down.port},{server.port}", "sslrootcert": str(authority.file)})  # fmt: skip
        eventually(lambda: admin.status(READY) == 200)
        assert upstream_status(admin)["server"] == f"127.0.0.1:{server.port}"


class TestOutages:
    def test_are_logged_once_over_reloads(self, start, folder):
        proxy, admin = start({"host": str(folder)}, {"upstream_check_interval": "200ms"})
        proxy.wait_for_line("upstream_check_failed")
        for _ in range(2):
            proxy.reload()
        time.sleep(0.5)
        assert admin.status(READY) == 503
        assert proxy.log.count("upstream_check_failed") == 1

    def test_end_with_a_session_that_finds_the_server(self, start, scripted_server):
        """While sessions connect, there are no checks."""

        def script(peer):
            peer.log_in()
            peer.serve()

        gone = scripted_server(script)
        gone.stop()
        proxy, _ = start({**gone.upstream(), "sslmode": "disable"}, {"upstream_check_interval": "1s"}, listener=TRUST)
        proxy.wait_for_line("upstream_check_failed")
        server = scripted_server(script, address=("127.0.0.1", gone.port))
        logins, end = 0, time.monotonic() + 20
        while "upstream_check_recovered" not in proxy.log:
            assert time.monotonic() < end
            with proxy.connect() as client:
                client.log_in(user="ann")
            logins += 1
            time.sleep(0.1)
        assert len(server.peers) == logins  # no check has found it

    def test_are_not_made_by_a_client_whose_time_is_over(self, start, scripted_server):
        server = scripted_server(lambda peer: peer.receive_to_end(), family=socket.AF_INET)
        proxy, admin = start(server.upstream(sslrootcert="system"), {"upstream_check_interval": "0s"},
                             listener=TRUST, limits={"startup_timeout": "1s"})  # fmt: skip
        with proxy.connect() as client:
            client.send(wire.startup_message(user="ann"))
            client.receive_to_end()
        proxy.wait_for_line("reason=upstream_timed_out")
        assert upstream_status(admin)["verdict"] == "unknown"


class TestWhatWasSeen:
    def test_is_the_certificate_of_the_server(self, start, scripted_server, authority):
        credentials = authority.issue("localhost", dns=["localhost"], lifetime=12 * DAY + DAY / 2)  # from a day ago
        server = scripted_server(answers_greeting(credentials, []))
        _, admin = start(server.upstream(sslrootcert=str(authority.file)))
        eventually(lambda: admin.status(READY) == 200)
        certificate = upstream_status(admin)["certificate"]
        assert certificate["subject"] == "CN=localhost"
        assert certificate["days_left"] == 11
        metrics = admin.metrics()
        expiry = metrics['pgveil_upstream_certificate_not_after_seconds{upstream="primary",subject="CN=localhost"}']
        assert expiry == calendar.timegm(time.strptime(certificate["not_after"], "%Y-%m-%dT%H:%M:%SZ"))

    def test_are_the_times_and_the_verification(self, start, postgres):
        began = time.time()
        _, admin = start(postgres.upstream())
        eventually(lambda: admin.status(READY) == 200)
        metrics = admin.metrics()
        series = 'pgveil_upstream_last_connected_timestamp_seconds{upstream="primary",verification="verify-full"}'
        assert began - 1 < metrics[series] < time.time() + 1
        assert metrics['pgveil_upstream_up{upstream="primary"}'] == 1
        assert metrics['pgveil_upstream_last_failed_timestamp_seconds{upstream="primary"}'] == 0

    def test_is_shown_in_a_terminal(self, start, postgres):
        _, admin = start(postgres.upstream())
        eventually(lambda: admin.status(READY) == 200)
        done = run(BINARY, "status", "--admin", admin.text)
        assert f"primary   verified  127.0.0.1:{postgres.port}" in done.stdout


class TestProbe:
    def test_of_upstreams_is_only_of_readiness(self, start, postgres):
        _, admin = start(postgres.upstream())
        done = admin.probe("live", "--upstream")
        assert done.returncode == 64 and done.stderr.startswith("error: --upstream requires ready\n")


def test_checks_go_on_after_a_reload_without_the_section(pgveil, folder, scripted_server, credentials, authority):
    """The admin address serves until the end of the process, so what it says must not become old."""
    count = []
    server = scripted_server(answers_greeting(credentials, count))
    reloadable = Reloadable(folder, pgveil, {
        "listener": [{"address": "127.0.0.1:0", "upstream": "primary"}],
        "upstream": {"primary": server.upstream(sslrootcert=str(authority.file))},
        "reload": {"watch": False},
        "admin": {"address": "127.0.0.1:0", "upstream_check_interval": "60s"},
    })  # fmt: skip
    admin = Admin(reloadable.proxy)
    eventually(lambda: admin.status(READY) == 200)
    eventually(lambda: len(count) == 1)  # the server completes the handshake after pgveil
    del reloadable.configuration["admin"]
    reloadable.reload_successfully()
    eventually(lambda: len(count) == 2)
    eventually(lambda: admin.status(READY) == 200)
