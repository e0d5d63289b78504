"""Each event changes the metrics that are about it, and no others: what docs/metrics.md says, tried out."""

import re
import time

import pytest

from harness import wire
from harness.admin import Admin, labels
from harness.certificates import DAY, Authority
from harness.processes import eventually

TRUST = "host all all all trust\n"
# What every session changes, and what changes by itself.
OF_SESSIONS = re.compile(
    r"pgveil_(connections_accepted|sessions_ended|bytes|messages|logins|worker_|.*_duration_seconds|.*_timestamp_seconds|sessions\{"
    r"|established_sessions|upstream_connect_seconds|login_seconds|session_start_seconds|dns_|relay_paused)"
)


def changed(before: dict, after: dict, ignored=OF_SESSIONS) -> dict[str, float]:
    return {name: value - before.get(name, 0) for name, value in after.items()
            if name.startswith("pgveil_") and not re.match(ignored, name) and not re.search(r"_(bucket|sum)\b", name)
            and value != before.get(name, 0)}  # fmt: skip


def value(metrics: dict, name: str, **wanted: str) -> float:
    """The sum of the series of a metric that have these labels."""
    return sum(number for series, number in metrics.items()
               if series.split("{")[0] == name and wanted.items() <= labels(series).items())  # fmt: skip


@pytest.fixture
def start(pgveil):
    def start(upstream, listener=None, **sections):
        proxy = pgveil(upstream, listener={"hba": TRUST, **(listener or {})},
                       admin={"address": "127.0.0.1:0", "upstream_check_interval": "0s"}, **sections)  # fmt: skip
        return proxy, Admin(proxy)

    return start


@pytest.fixture
def tls_listener(credentials, authority):
    return {"ssl_cert_file": str(credentials.certificate), "ssl_key_file": str(credentials.key),
            "ssl_ca_file": str(authority.file)}  # fmt: skip


class TestFailedHandshakes:
    """(failure, alert of the peer), by what the client does."""

    def counted(self, proxy, admin, act, reason) -> dict:
        before = admin.metrics()
        act()
        proxy.wait_for_line(f"session_closed .*reason={reason}")
        (series,) = [name for name in changed(before, admin.metrics()) if name.startswith("pgveil_failed_handshakes_total")]
        return {key: text for key, text in labels(series).items() if key != "listener"}

    def psql(self, proxy, authority, **more):
        return lambda: proxy.psql("SELECT 1", host="localhost", hostaddr="127.0.0.1",
                                  **{"sslmode": "verify-full", "sslrootcert": authority.file, **more})  # fmt: skip

    def test_of_a_client_that_does_not_trust_pgveil(self, start, postgres, tls_listener, folder):
        proxy, admin = start(postgres.unix_upstream(), tls_listener)
        act = self.psql(proxy, Authority(folder, "another"))
        assert self.counted(proxy, admin, act, "client_rejected_certificate") == {
            "side": "client", "failure": "rejected_by_peer", "alert": "unknown ca"}  # fmt: skip

    def test_of_a_client_whose_certificate_has_expired(self, start, postgres, tls_listener, authority):
        proxy, admin = start(postgres.unix_upstream(), tls_listener)
        old = authority.issue_to_client("ann", lifetime=2 * DAY, age=3 * DAY)
        act = self.psql(proxy, authority, sslcert=old.certificate, sslkey=old.key)
        assert self.counted(proxy, admin, act, "client_certificate_invalid") == {
            "side": "client", "failure": "expired", "alert": ""}  # fmt: skip

    def test_of_a_client_without_a_common_version(self, start, postgres, tls_listener, authority):
        proxy, admin = start(postgres.unix_upstream(), {**tls_listener, "ssl_min_protocol_version": "TLSv1.3"})
        act = self.psql(proxy, authority, ssl_max_protocol_version="TLSv1.2")
        assert self.counted(proxy, admin, act, "tls_failed") == {
            "side": "client", "failure": "no_common_version", "alert": ""}  # fmt: skip

    def test_of_a_server_that_is_not_trusted(self, start, postgres, folder):
        proxy, admin = start(postgres.upstream(sslrootcert=str(Authority(folder, "another").file)))
        assert self.counted(proxy, admin, lambda: proxy.psql("SELECT 1"), "upstream_certificate_untrusted") == {
            "side": "server", "failure": "untrusted_issuer", "alert": ""}  # fmt: skip

    def test_of_a_server_that_wants_a_certificate(self, start, scripted_server, credentials, authority):
        """TLS 1.3: the alert comes after the handshake, in the place of an answer."""

        def script(peer):
            peer.accept_tls(credentials, verify_mode=2)  # ssl.CERT_REQUIRED

        proxy, admin = start(scripted_server(script).upstream(sslrootcert=str(authority.file)))
        before = admin.metrics()
        proxy.psql("SELECT 1")
        proxy.end_of_session()
        after = admin.metrics()
        assert value(after, "pgveil_failed_handshakes_total", side="server", failure="rejected_by_peer") == 1
        assert value(before, "pgveil_failed_handshakes_total") == 0


class TestTraffic:
    def test_counts_messages(self, start, postgres):
        proxy, admin = start(postgres.unix_upstream())
        with proxy.connect() as client:
            client.log_in(user="billing", database="ledger")
            before = admin.metrics()
            for _ in range(5):
                client.rows("SELECT 1")
            after = admin.metrics()
            assert value(after, "pgveil_messages_total", direction="to_server") - value(before, "pgveil_messages_total", direction="to_server") == 5
            # RowDescription, DataRow, CommandComplete, ReadyForQuery
            assert value(after, "pgveil_messages_total", direction="to_client") - value(before, "pgveil_messages_total", direction="to_client") == 20
        proxy.end_of_session()
        assert value(admin.metrics(), "pgveil_messages_total", direction="to_client") >= value(after, "pgveil_messages_total", direction="to_client")

    def test_tells_which_side_is_slow(self, start, postgres):
        proxy, admin = start(postgres.unix_upstream())

        def paused(slow_side: str) -> float:
            return value(admin.metrics(), "pgveil_relay_paused_seconds_total", slow_side=slow_side)

        with proxy.connect() as client:
            client.log_in(user="billing", database="ledger")
            client.send(wire.query("SELECT repeat('x', 1000000) FROM generate_series(1, 60)"))
            begun = eventually(lambda: paused("client"))
            time.sleep(1)
            during = paused("client")
            client.receive_until(b"Z")
            after = paused("client")
        assert 0.9 < during - begun < 5
        assert after >= during
        assert paused("server") == 0


class TestConnections:
    def test_count_what_becomes_of_those_made_ahead(self, start, postgres):
        proxy, admin = start(postgres.upstream(preconnect=2), limits={"workers": 1})

        def events():
            metrics = admin.metrics()
            return {event: value(metrics, "pgveil_preconnect_events_total", event=event)
                    for event in ("made", "taken", "missed", "renewed", "failed")}  # fmt: skip

        eventually(lambda: events()["made"] == 2)
        assert proxy.query("SELECT 1") == "1"
        eventually(lambda: events() == {"made": 3, "taken": 1, "missed": 0, "renewed": 0, "failed": 0})
        proxy.reload()
        eventually(lambda: events()["made"] == 5)  # counted on over the reload
        assert events()["taken"] == 1

    def test_count_look_ups(self, start, postgres):
        upstream = postgres.upstream()
        del upstream["hostaddr"]
        proxy, admin = start(upstream)
        before = admin.metrics()
        assert proxy.query("SELECT 1") == "1"
        after = admin.metrics()
        assert value(after, "pgveil_dns_lookups_total", outcome="succeeded") - value(before, "pgveil_dns_lookups_total", outcome="succeeded") == 1
        assert value(after, "pgveil_dns_lookup_seconds_total") > value(before, "pgveil_dns_lookup_seconds_total")

    def test_count_look_ups_that_fail(self, start):
        proxy, admin = start({"host": "no-such-host.invalid", "sslmode": "disable"} | {"sslrootcert": "system", "sslmode": "verify-full"})
        proxy.psql("SELECT 1")
        proxy.wait_for_line("reason=upstream_not_resolved")
        assert value(admin.metrics(), "pgveil_dns_lookups_total", outcome="failed") == 1


class TestEvents:
    """What is not of sessions changes by its own event only."""

    def test_nothing_changes_without_an_event(self, start, postgres):
        _, admin = start(postgres.unix_upstream())
        before = admin.metrics()
        time.sleep(1)
        assert changed(before, admin.metrics(), r"pgveil_worker_") == {}

    def test_a_session_changes_only_what_is_of_sessions(self, start, postgres):
        proxy, admin = start(postgres.unix_upstream())
        proxy.query("SELECT 1", user="billing")
        eventually(lambda: value(admin.metrics(), "pgveil_sessions") == 0)
        before = admin.metrics()
        assert proxy.query("SELECT 1", user="billing") == "1"
        eventually(lambda: value(admin.metrics(), "pgveil_sessions") == 0)
        assert changed(before, admin.metrics()) == {}

    @pytest.mark.parametrize("event, expected", [
        ("a reload", {'pgveil_reloads_total{outcome="succeeded"}': 1}),
        ("a cancel request", {'pgveil_upstream_up{upstream="primary"}': 1}),
    ])  # fmt: skip
    def test_an_event_changes_its_metric(self, start, postgres, event, expected):
        proxy, admin = start(postgres.unix_upstream())
        before = admin.metrics()
        if event == "a reload":
            proxy.reload()
        else:
            with proxy.connect() as client:
                client.send(wire.cancel_request(1, b"\0\0\0\1"))
                client.receive_to_end()
            proxy.wait_for_line("reason=cancel_forwarded")
        after = admin.metrics()
        assert changed(before, after) == expected
        ended = changed({}, {name: number for name, number in after.items() if "ended_total" in name}, r"-")
        assert [labels(name)["reason"] for name in ended] == ([] if event == "a reload" else ["cancel_forwarded"])
