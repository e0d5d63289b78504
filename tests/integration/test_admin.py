"""The admin address: health, metrics and orders over HTTP, and `pgveil probe`."""

import calendar
import contextlib
import http.server
import json
import re
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness import wire
from harness.admin import Admin, labels, series
from harness.audit import to_file
from harness.certificates import DAY, Authority
from harness.pgveil import BINARY, EX_UNAVAILABLE, toml
from harness.processes import Daemon, eventually, run, stopped_thread

DOCS = Path(__file__).resolve().parents[2] / "docs"
LOOPBACK = {"address": "127.0.0.1:0"}


@pytest.fixture
def start(pgveil, postgres):
    def start(admin=None, **sections):
        proxy = pgveil(postgres.unix_upstream(), admin={**LOOPBACK, **(admin or {})}, **sections)
        return proxy, Admin(proxy)

    return start


@contextlib.contextmanager
def session(proxy):
    with proxy.connect() as client:
        client.log_in(user="billing", database="ledger")
        yield client


class TestHealth:
    def test_of_a_pgveil_that_works(self, start):
        _, admin = start()
        assert admin.get("/livez") == (200, "all workers run\n")
        assert admin.get("/readyz") == (200, "ready\n")
        assert admin.get("/startupz") == (200, "started\n")
        for what in ("live", "ready", "startup"):
            done = admin.probe(what)
            assert (done.returncode, done.stderr) == (0, "")

    def test_of_a_pgveil_that_drains(self, start):
        proxy, admin = start(limits={"drain_timeout": "20s"})
        with session(proxy) as client:
            client.rows("BEGIN")
            proxy.send_signal(signal.SIGTERM)
            eventually(lambda: admin.status("/readyz") == 503)
            assert admin.get("/readyz")[1] == "pgveil drains: it stops\n"
            done = admin.probe("ready")
            assert (done.returncode, done.stdout, done.stderr) == (EX_UNAVAILABLE, "", "pgveil drains: it stops\n")
            assert admin.status("/livez") == 200
            assert admin.metrics()["pgveil_draining"] == 1
        assert proxy.wait() == 0
        assert admin.probe("live").returncode == EX_UNAVAILABLE

    def test_after_a_reload_that_failed_and_one_that_succeeded(self, pgveil, postgres, folder):
        file = folder / "changing.toml"
        good = toml({"listener": [{"address": "127.0.0.1:0", "upstream": "a"}], "upstream": {"a": postgres.unix_upstream()},
                     "admin": LOOPBACK, "reload": {"watch": False}})  # fmt: skip
        file.write_text(good, encoding="utf-8")
        proxy = pgveil(flags=["--config", file])
        admin = Admin(proxy)
        loaded = admin.metrics()["pgveil_configuration_loaded_timestamp_seconds"]
        file.write_text("bad = 1\n" + good, encoding="utf-8")
        assert "reload_failed" in proxy.reload()[-1]
        assert admin.get("/readyz") == (503, "the last reload failed; the log has the errors\n")
        assert admin.status("/livez") == 200
        failed = admin.metrics()
        assert failed["pgveil_last_reload_successful"] == 0
        assert failed['pgveil_reloads_total{outcome="failed"}'] == 1
        assert failed["pgveil_configuration_loaded_timestamp_seconds"] == loaded
        file.write_text(good, encoding="utf-8")
        assert admin.request("POST", "/reload") == (202, "a reload begins; /readyz and the log tell its result\n")
        proxy.wait_for_line(' reloaded trigger="POST /reload"')
        eventually(lambda: admin.status("/readyz") == 200)
        succeeded = admin.metrics()
        assert succeeded["pgveil_last_reload_successful"] == 1
        assert succeeded['pgveil_reloads_total{outcome="succeeded"}'] == 1
        assert succeeded["pgveil_configuration_loaded_timestamp_seconds"] > loaded

    def test_of_a_worker_that_does_not_turn(self, start):
        proxy, admin = start({"liveness_limit": "500ms"}, limits={"workers": 2, "core_dumps": True})
        with stopped_thread(proxy, "worker-2"):
            eventually(lambda: admin.status("/livez") == 503)
            assert re.fullmatch(r"worker 2 has not completed a turn of its loop for \d+\.\d s\n", admin.get("/livez")[1])
            assert admin.probe("live").returncode == EX_UNAVAILABLE
            assert admin.status("/readyz") == 200
        eventually(lambda: admin.status("/livez") == 200)
        metrics = admin.metrics()
        other, stopped = (metrics[f'pgveil_worker_loop_delay_seconds_sum{{worker="{number}"}}'] for number in (1, 2))
        assert stopped > 0.4 and stopped > other

    def test_needs_no_server(self, pgveil, folder):
        proxy = pgveil({"host": str(folder)}, admin=LOOPBACK)
        assert Admin(proxy).status("/readyz") == 200

    def test_does_not_need_a_free_descriptor(self, start):
        proxy, admin = start(limits={"workers": 1})
        with contextlib.ExitStack() as stack:
            limit = proxy.descriptors_at_rest() + 20
            subprocess.run(["prlimit", f"--pid={proxy.pid}", f"--nofile={limit}"], check=True)
            for _ in range(30):
                stack.enter_context(proxy.connect())
            proxy.wait_for_line(" accept_paused | no_descriptors | out_of_descriptors |accept_failed")
            assert admin.status("/livez") == 200
            assert admin.status("/metrics") == 200


class TestOrders:
    def test_to_quit_are_refused_by_default(self, start):
        proxy, admin = start()
        status, text = admin.request("POST", "/quitquitquit")
        assert (status, text) == (403, "not allowed; set allow_quit = true in [admin]\n")
        assert admin.status("/readyz") == 200

    def test_to_quit_drain(self, start):
        proxy, admin = start({"allow_quit": True})
        with session(proxy) as client:
            client.rows("BEGIN")
            assert admin.request("POST", "/quitquitquit") == (202, "pgveil stops\n")
            proxy.wait_for_line(' stopping signal="POST /quitquitquit"')
            client.send(wire.query("COMMIT"))
            client.receive_until(b"Z")
            assert client.receive_error()["C"] == "57P01"
        assert proxy.wait() == 0

    def test_of_web_pages_are_refused(self, start):
        proxy, admin = start({"allow_quit": True})
        for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            for order in ("/quitquitquit", "/reload"):
                assert admin.request("POST", order, headers=headers)[0] == 403
        assert "stopping" not in proxy.log and "reload" not in proxy.log.split("admin_listening")[1]

    def test_are_not_given_by_get(self, start):
        proxy, admin = start({"allow_quit": True})
        assert admin.status("/quitquitquit") == 405
        assert admin.status("/reload") == 405
        assert admin.status("/nothing") == 404


class TestItsAddress:
    def test_may_be_a_unix_socket_with_permissions(self, pgveil, postgres, folder):
        path = folder / "admin.sock"
        proxy = pgveil(postgres.unix_upstream(), admin={"address": f"unix:{path}"})
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        admin = Admin(proxy)
        assert admin.status("/livez") == 200
        assert admin.probe("ready").returncode == 0
        proxy.stop()
        assert not path.exists()

    def test_has_the_permissions_that_are_set(self, pgveil, postgres, folder):
        path = folder / "admin.sock"
        pgveil(postgres.unix_upstream(), admin={"address": f"unix:{path}", "unix_socket_permissions": "0660"})
        assert stat.S_IMODE(path.stat().st_mode) == 0o660

    def test_may_be_localhost(self, pgveil, postgres):
        proxy = pgveil(postgres.unix_upstream(), admin={"address": "localhost:0"})
        assert len(re.findall("admin_listening", proxy.log)) in (1, 2)
        assert Admin(proxy).status("/livez") == 200

    @pytest.mark.parametrize("admin, error", [
        ({"address": "0.0.0.0:9187"}, "admin.address: 0.0.0.0:9187 can be reached from the network"),
        ({"address": "unix:@admin"}, "a Unix socket in the abstract namespace has no permissions"),
        ({"address": "unix:admin"}, "is not an absolute path"),
        ({"address": "127.0.0.1:5432"}, "is also the address of a listener"),
        ({"address": "127.0.0.1:9187", "unix_socket_group": "x"}, "127.0.0.1:9187 is not a Unix socket"),
        ({"address": "127.0.0.1:9187", "allow_from_network": True}, "cannot be reached from the network"),
        ({"allow_quit": True}, "admin.allow_quit: has no effect: there is no address"),
    ])  # fmt: skip
    def test_that_cannot_be_meant_is_refused(self, folder, admin, error):
        file = folder / "refused.toml"
        file.write_text(toml({"listener": [{"address": "127.0.0.1:5432", "upstream": "a"}], "upstream": {"a": {"host": "/run"}},
                              "admin": admin}), encoding="utf-8")  # fmt: skip
        for command in ("run", "check"):
            done = run(BINARY, command, "--config", file)
            assert done.returncode == 78 and error in done.stderr, done.stderr

    def test_from_the_network_may_be_allowed(self, start):
        _, admin = start({"address": "0.0.0.0:0", "allow_from_network": True})
        assert admin.status("/livez") == 200

    def test_reopens_the_audit_file_at_an_order_to_reload(self, start, folder):
        file = folder / "audit.json"
        proxy, admin = start(audit=to_file(file))
        file.rename(folder / "audit.json.1")
        assert admin.request("POST", "/reload")[0] == 202
        eventually(file.exists)

    def test_that_is_in_use_ends_the_start(self, folder):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            file = folder / "taken.toml"
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            file.write_text(toml({"listener": [{"address": "127.0.0.1:0", "upstream": "a"}], "upstream": {"a": {"host": "/run"}},
                                  "admin": {"address": address}}), encoding="utf-8")  # fmt: skip
            done = run(BINARY, "run", "--config", file)
            assert done.returncode == EX_UNAVAILABLE
            assert f"cannot listen on {address}" in done.stderr

    def test_needs_a_restart_to_change(self, pgveil, postgres, folder):
        file = folder / "changing.toml"
        content = {"listener": [{"address": "127.0.0.1:0", "upstream": "a"}], "upstream": {"a": postgres.unix_upstream()},
                   "admin": LOOPBACK, "reload": {"watch": False}}  # fmt: skip
        file.write_text(toml(content), encoding="utf-8")
        proxy = pgveil(flags=["--config", file])
        content["admin"] = {"address": f"unix:{folder}/admin.sock", "allow_quit": True}
        file.write_text(toml(content), encoding="utf-8")
        lines = "\n".join(proxy.reload())
        assert "restart_needed settings=admin.address" in lines
        assert Admin(proxy).request("POST", "/quitquitquit")[0] == 202  # this setting is changed by the reload
        assert proxy.wait() == 0


class TestMetrics:
    def test_are_those_that_the_page_describes(self, pgveil, postgres, authority, credentials, folder):
        listener = {"ssl_cert_file": str(credentials.certificate), "ssl_key_file": str(credentials.key)}
        admin = {**LOOPBACK, "labels": "user,database,address"}
        proxy = pgveil(postgres.upstream(preconnect=1), listener=listener, admin=admin)
        proxy.query("SELECT 1", **tls(proxy, authority))
        assert proxy.psql("SELECT 1", **tls(proxy, Authority(folder, "another"))).returncode != 0
        proxy.wait_for_line("reason=client_rejected_certificate")
        admin = Admin(proxy)
        described = {}
        for name, kind, names in re.findall(r"(?m)^\| `([a-z_]+)` \| (\w+) \| ([^|]*)\|", (DOCS / "metrics.md").read_text()):
            described[name] = (kind, sorted(re.findall("`(.*?)`", names)))
        text = admin.get("/metrics")[1]
        found = {}
        for name, kind in re.findall(r"(?m)^# TYPE (\S+) (\S+)$", text):
            mine = {key for each, _ in series(text) for key in labels(each)
                    if re.fullmatch(rf"{name}(_bucket|_sum|_count)?", each.split("{")[0])}  # fmt: skip
            found[name] = (kind, sorted(mine - {"le"}))
        assert found == described

    def test_satisfy_promtool(self, start):
        promtool = shutil.which("promtool")
        assert promtool, "promtool is missing: install the package prometheus"
        proxy, admin = start()
        with session(proxy):
            text = admin.get("/metrics")[1]
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_come_as_openmetrics_if_that_is_asked_for(self, start):
        _, admin = start()
        text = admin.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})[1]
        assert text.endswith("# EOF\n")
        assert "# TYPE pgveil_connections_accepted counter\n" in text
        assert "\npgveil_connections_accepted_total{" in text

    def test_count_one_session(self, start):
        proxy, admin = start()
        listener = f'listener="127.0.0.1:{proxy.address[1]}"'
        before = admin.metrics()
        with session(proxy) as client:
            client.rows("SELECT 1")
            during = admin.metrics()
        proxy.end_of_session()
        after = eventually(lambda: now if (now := admin.metrics())[f'pgveil_sessions{{{listener},phase="closing"}}'] == 0 else None)
        expected = {
            f"pgveil_connections_accepted_total{{{listener}}}": 1,
            f'pgveil_sessions_ended_total{{{listener},reason="client_closed"}}': 1,
            f'pgveil_logins_total{{{listener},method="relay",outcome="accepted"}}': 1,
            f"pgveil_session_duration_seconds_count{{{listener}}}": 1,
            f"pgveil_session_start_seconds_count{{{listener}}}": 1,
            f"pgveil_upstream_connect_seconds_count{{{listener}}}": 1,
            f"pgveil_login_seconds_count{{{listener}}}": 1,
        }
        moved = {name: value for name, value in changes(before, after).items() if re.match("pgveil_(bytes|messages|wire_bytes)_total", name)}
        assert {labels(name)["direction"] for name in moved} == {"to_client", "to_server"}
        assert changes(before, after) == expected | moved
        assert during[f'pgveil_sessions{{{listener},phase="relay"}}'] == 1
        assert sum(during[f'pgveil_worker_sessions{{worker="{n}"}}'] for n in workers(during)) == 1
        assert sum(after[f'pgveil_worker_sessions{{worker="{n}"}}'] for n in workers(after)) == 0
        assert 0 < after[f"pgveil_session_start_seconds_sum{{{listener}}}"] < 20

    def test_count_a_session_with_tls_on_both_sides(self, pgveil, postgres, authority, credentials):
        proxy = pgveil(
            postgres.upstream(),
            listener={"ssl_cert_file": str(credentials.certificate), "ssl_key_file": str(credentials.key)},
            admin=LOOPBACK,
        )
        admin = Admin(proxy)
        before = admin.metrics()
        assert proxy.query("SELECT 1", **tls(proxy, authority)) == "1"
        proxy.end_of_session()
        after = eventually(
            lambda: now if len(changes(before, now := admin.metrics())) >= 9 else None
        )
        changed = changes(before, after)
        assert {"pgveil_client_handshake_seconds_count", "pgveil_upstream_handshake_seconds_count"} <= {
            name.split("{")[0] for name in changed
        }
        for side in ("client", "upstream"):
            (kind,) = [labels(name) for name in changed if name.startswith(f"pgveil_{side}_handshakes_total")]
            assert kind["version"] == "TLSv1.3" and kind["cipher"].startswith("TLS_"), kind
            assert kind["post_quantum"] == ("yes" if "MLKEM" in kind["group"] else "no"), kind

    @pytest.mark.parametrize("method, hba, outcome", [
        ("reject", "host all all all reject", "refused"), ("none", "host other all all relay", "refused"),
        ("relay", "host all all all relay", "accepted"), ("trust", "host all all all trust", "accepted"),
    ])  # fmt: skip
    def test_count_logins_by_method_and_outcome(self, pgveil, postgres, method, hba, outcome):
        proxy = pgveil(postgres.unix_upstream(), listener={"hba": hba}, admin=LOOPBACK)
        admin = Admin(proxy)
        before = admin.metrics()
        with proxy.connect() as client:
            client.send(wire.startup_message(user="billing", database="ledger"))
            assert client.receive(1)
        proxy.end_of_session()
        found = {name: value for name, value in changes(before, admin.metrics()).items() if "logins_total" in name}
        assert [labels(name) | {"count": value} for name, value in found.items()] == [
            {"listener": f"127.0.0.1:{proxy.address[1]}", "method": method, "outcome": outcome, "count": 1}
        ]

    def test_tell_what_established_sessions_do(self, start):
        proxy, admin = start(limits={"workers": 2})
        listener = f'listener="127.0.0.1:{proxy.address[1]}"'

        def states() -> dict[str, float]:
            found = {name: value for name, value in admin.metrics().items() if name.startswith("pgveil_established_sessions")}
            return {labels(name)["state"]: value for name, value in found.items() if value}

        def bytes_to(direction: str) -> float:
            return admin.metrics()[f'pgveil_bytes_total{{{listener},direction="{direction}"}}']

        with session(proxy) as one, session(proxy) as two, session(proxy) as three:
            eventually(lambda: states() == {"idle": 3})
            one.rows("BEGIN")
            two.send(wire.query("SELECT pg_sleep(5)"))
            eventually(lambda: states() == {"idle": 1, "in_transaction": 1, "active": 1})
            before = bytes_to("to_client")
            three.rows("SELECT repeat('x', 1000000)")
            eventually(lambda: 1_000_000 <= bytes_to("to_client") - before < 1_001_000)
            one.rows("ROLLBACK")
            eventually(lambda: states() == {"idle": 2, "active": 1})
            last = bytes_to("to_client")
        # The sum never becomes smaller when sessions end.
        for _ in range(8):
            now = bytes_to("to_client")
            assert now >= last
            last = now
        eventually(lambda: states() == {})
        assert bytes_to("to_client") >= last

    def test_that_wait_for_a_worker_that_hangs_are_late_by_little(self, start):
        proxy, admin = start(limits={"workers": 2, "core_dumps": True})
        with session(proxy):
            eventually(lambda: sum(value for name, value in admin.metrics().items() if "established" in name) == 1)
            with stopped_thread(proxy, "worker-1"):
                began = time.monotonic()
                count = sum(value for name, value in admin.metrics().items() if "established" in name)
                assert time.monotonic() - began < 10
                assert count == 1

    def test_count_lost_audit_records(self, start):
        proxy, admin = start(audit=to_file("/dev/full", fail="open"))
        with session(proxy):
            pass
        proxy.wait_for_line(" audit_records_lost ")
        eventually(lambda: admin.metrics()["pgveil_audit_records_lost_total"] >= 1)

    def test_of_a_listener_go_on_after_a_reload(self, start):
        proxy, admin = start()
        with session(proxy):
            pass
        proxy.end_of_session()
        proxy.reload()
        assert sum(value for name, value in admin.metrics().items() if name.startswith("pgveil_logins_total")) == 1


def tls(proxy, authority) -> dict[str, str]:
    return {"host": "localhost", "hostaddr": proxy.address[0], "sslmode": "verify-full", "sslrootcert": str(authority.file)}


def workers(metrics) -> list[str]:
    return [labels(name)["worker"] for name in metrics if name.startswith("pgveil_worker_sessions")]


def changes(before, after) -> dict[str, float]:
    """What sessions have changed, without times and buckets."""
    return {
        name: value - before.get(name, 0)
        for name, value in after.items()
        if name.startswith("pgveil_") and not re.match(r"pgveil_worker_loop|.*(_bucket|_sum|_timestamp_seconds)\b", name)
        and value != before.get(name, 0)
    }  # fmt: skip


class TestExpiry:
    def test_is_a_metric_for_every_certificate_and_crl(self, pgveil, postgres, authority, credentials, folder):
        client_ca = Authority(folder, "clients")
        crl = client_ca.revoke()
        proxy = pgveil(
            postgres.upstream(),
            listener={"ssl_cert_file": str(credentials.certificate), "ssl_key_file": str(credentials.key),
                      "ssl_ca_file": str(client_ca.file), "ssl_crl_file": str(crl)},
            admin=LOOPBACK,
        )  # fmt: skip
        found = {}
        for name, value in Admin(proxy).metrics().items():
            if name.startswith("pgveil_certificate_not_after_seconds"):
                of = labels(name)
                found[of["kind"], of["subject"], of["file"]] = value
        assert set(found) == {
            ("certificate", "CN=localhost", str(credentials.certificate)),
            ("authority", "CN=clients", str(client_ca.file)),
            ("crl", "CN=clients", str(crl)),
            ("authority", "CN=test root", str(authority.file)),
        }
        end = run("openssl", "x509", "-noout", "-enddate", "-in", credentials.certificate).stdout
        end = time.strptime(end.strip().removeprefix("notAfter="), "%b %d %H:%M:%S %Y GMT")
        assert found["certificate", "CN=localhost", str(credentials.certificate)] == calendar.timegm(end)

    def test_is_reported_before_it_comes(self, pgveil, postgres, authority):
        short = authority.issue("localhost", dns=["localhost"], lifetime=10 * DAY, age=8 * DAY)
        listener = {"ssl_cert_file": str(short.certificate), "ssl_key_file": str(short.key)}
        proxy = pgveil(postgres.upstream(), listener=listener)
        line = proxy.wait_for_line(" W certificate_expires .*").string
        assert f"kind=certificate subject=CN=localhost file={short.certificate} " in line.replace('"', "")
        silent = pgveil(postgres.upstream(), listener=listener, log={"certificate_warning": "0s"})
        silent.psql("SELECT 1")
        assert "certificate_expires" not in silent.log


class TestStatus:
    def test_is_that_of_the_process(self, start, folder):
        hba = "host all nobody all reject\nhost all all all relay"
        proxy, admin = start(limits={"workers": 2}, listener={"hba": hba})
        with session(proxy), session(proxy) as client:
            client.rows("BEGIN")
            with proxy.connect() as refused:
                refused.send(wire.startup_message(user="nobody", database="ledger"))
                refused.receive_error()
            proxy.wait_for_line(" session_closed .*reason=rejected_by_rule")
            status = admin.state()
        (listener,) = status["listeners"]
        assert listener["address"] == f"127.0.0.1:{proxy.address[1]}" and listener["upstream"] == "primary"
        assert listener["accepted"] == 3
        assert listener["sessions"]["established"] == {"idle": 1, "in_transaction": 1, "active": 0}
        assert listener["sessions"]["phases"]["relay"] == 2
        assert listener["logins"] == {"accepted": 2, "refused": 1}
        assert listener["ended"] == {"rejected_by_rule": 1}
        assert listener["bytes"]["to_client"] > 0 < listener["bytes"]["to_server"]
        assert (status["ready"], status["live"], status["problems"], status["workers"]) == (True, True, [], 2)
        assert status["uptime_seconds"] < 60

    def test_has_the_keys_that_the_page_describes(self, pgveil, postgres):
        status = Admin(pgveil(postgres.upstream(), admin=LOOPBACK)).state()
        page = (DOCS / "monitoring.md").read_text().split("The keys of `/status`:")[1].split("\n## ")[0]
        described = [key for row in re.findall(r"(?m)^\| (`.*?`) \|", page) for key in re.findall("`(.*?)`", row)]
        assert sorted(described) == sorted(status)
        for part in (status["listeners"][0], status["certificates"][0], status["configuration"], status["limits"],
                     status["memory"], status["worker_loops"][0], status["history"], status["history"]["samples"][0],
                     status["listeners"][0]["latencies"], status["listeners"][0]["limits"]):  # fmt: skip
            for inner in part:
                assert f"`{inner}`" in page, inner

    def test_has_a_history(self, start):
        proxy, admin = start(listener={"hba": "host all nobody all reject\nhost all all all relay"})
        (first,) = eventually(lambda: admin.state()["history"]["samples"])
        assert (first["idle"], first["logins_refused"], first["bytes_to_client"]) == (0, 0, 0)
        with session(proxy) as client:
            client.rows("BEGIN")
            with proxy.connect() as refused:
                refused.send(wire.startup_message(user="nobody", database="ledger"))
                refused.receive_error()
            second = eventually(lambda: samples[1] if len(samples := admin.state()["history"]["samples"]) > 1 else None)
        seconds = [calendar.timegm(time.strptime(each["time"], "%Y-%m-%dT%H:%M:%SZ")) for each in (first, second)]
        assert 4 <= seconds[1] - seconds[0] <= 7
        assert (second["idle"], second["in_transaction"], second["logging_in"], second["logins_refused"]) == (0, 1, 0, 1)
        assert second["bytes_to_client"] > 0 < second["bytes_to_server"]

    def test_has_the_use_of_limits(self, start):
        proxy, admin = start(limits={"max_sessions": 7}, listener={"max_sessions": 5})
        with session(proxy), session(proxy), proxy.connect() as silent:
            silent.send(b"\0")
            eventually(lambda: admin.state()["limits"]["unauthenticated_clients"]["used"] == 1)
            status = admin.state()
        assert status["limits"]["sessions"] == {"used": 2, "max": 7}
        assert status["limits"]["unauthenticated_clients"]["max"] == 1000
        assert status["listeners"][0]["limits"]["sessions"] == {"used": 2, "max": 5}
        assert status["listeners"][0]["limits"]["unauthenticated_clients"] == {"used": 1, "max": None}
        assert 10 < status["limits"]["descriptors"]["used"] < status["limits"]["descriptors"]["max"]
        assert status["memory"]["resident_bytes"] > 1_000_000

    def test_is_shown_in_a_terminal(self, start):
        proxy, admin = start()
        done = run(BINARY, "status", "--admin", admin.text)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.match(r"pgveil \S+: ready, up \d+ s\n", done.stdout)
        assert re.search(rf"(?m)^127.0.0.1:{proxy.address[1]} +primary +0 +0 ", done.stdout)
        done = run(BINARY, "status", "--json", "--admin", admin.text)
        assert json.loads(done.stdout)["schema"] == 1
        proxy.stop()
        assert run(BINARY, "status", "--admin", admin.text).returncode == EX_UNAVAILABLE

    def test_is_shown_again_and_again(self, start):
        _, admin = start()
        watching = Daemon("bash", "-c", f"exec {BINARY} status --watch --admin {admin.text} >&2")
        try:
            watching.wait_for_lines("pgveil .*: ready", 2)
        finally:
            watching.stop()

    def test_of_another_web_server_is_an_error(self):
        with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            address = f"127.0.0.1:{server.server_address[1]}"
            for more in ((), ("--json",)):
                done = run(BINARY, "status", "--admin", address, *more)
                assert (done.returncode, done.stdout) == (EX_UNAVAILABLE, "")
                assert done.stderr == f"error: {address} is not the admin address of a pgveil of this version\n"
            server.shutdown()

    def test_of_a_silent_server_is_an_error(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = f"127.0.0.1:{server.getsockname()[1]}"
            done = run(BINARY, "status", "--admin", address, "--timeout", "300ms")
            assert (done.returncode, done.stderr) == (EX_UNAVAILABLE, "error: no answer in time\n")
