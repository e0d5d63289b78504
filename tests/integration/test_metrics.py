"""Each event changes the metrics that are about it, and no others: what docs/metrics.md says, tried out."""

import contextlib
import re
import time
from pathlib import Path
from typing import Callable, NamedTuple

import pytest

from harness import metric_events as events
from harness import wire
from harness.admin import Admin, labels
from harness.certificates import Authority
from harness.metric_events import Site, World, canonical
from harness.pgveil import BINARY, Pgveil, toml
from harness.processes import PATIENCE, eventually, run

PAGE = Path(__file__).resolve().parents[2] / "docs/metrics.md"


class Increase:
    """Equals every number above zero: of times, and of bytes that need not be known."""

    def __eq__(self, other):
        return other > 0

    def __repr__(self):
        return "SOME"


SOME = Increase()


class Row(NamedTuple):
    """`changes`: what the metrics say that are about the event. `also`: consequences that other metrics count. The series
    are without the label of their listener, and a histogram is represented by its count. Nothing else may change."""

    event: Callable
    changes: dict
    also: dict = {}


def ended(reason: str) -> dict:
    return {f'pgveil_sessions_ended_total{{reason="{reason}"}}': 1, "pgveil_session_duration_seconds_count": 1}


def login(method: str, outcome: str) -> dict:
    return {f'pgveil_logins_total{{method="{method}",outcome="{outcome}"}}': 1}


def connected(upstream: str, verification: str) -> dict:
    return {f'pgveil_upstream_last_connected_timestamp_seconds{{upstream="{upstream}",verification="{verification}"}}': SOME}


def handshakes(side: str, version: str, cipher: str) -> dict:
    return {f'pgveil_{side}_handshakes_total{{cipher="{cipher}",group="secp256r1",post_quantum="no",version="{version}"}}': 1}


def handshake(side: str, version: str, cipher: str) -> dict:
    return handshakes(side, version, cipher) | {f"pgveil_{side}_handshake_seconds_count": 1}


def failed_handshake(side: str, failure: str, alert: str = "") -> dict:
    return {f'pgveil_failed_handshakes_total{{alert="{alert}",failure="{failure}",side="{side}"}}': 1}


def preconnect(**counts: int) -> dict:
    return {events.EVENTS.format(event): count for event, count in counts.items()}


def legs(direction: str, count=SOME) -> dict:
    """On both legs."""
    return {f'pgveil_wire_bytes_total{{direction="{direction}",leg="{leg}"}}': count for leg in ("client", "server")}


ACCEPTED = {"pgveil_connections_accepted_total": 1}
FROM_CLIENT = {'pgveil_bytes_total{direction="to_server"}': SOME}
MESSAGES_FROM_CLIENT = FROM_CLIENT | {'pgveil_messages_total{direction="to_server"}': SOME} | legs("to_server")
MESSAGES_TO_CLIENT = {'pgveil_bytes_total{direction="to_client"}': SOME, 'pgveil_messages_total{direction="to_client"}': SOME,
                      **legs("to_client")}  # fmt: skip
NOW_ACTIVE = {'pgveil_established_sessions{state="idle"}': -1, 'pgveil_established_sessions{state="active"}': 1}
CLIENT_HANDSHAKE = {"pgveil_client_handshake_seconds_count": 1}
CONNECT = {"pgveil_upstream_connect_seconds_count": 1}
UPSTREAM_HANDSHAKE = {"pgveil_upstream_handshake_seconds_count": 1}
SERVER_LOGIN = {"pgveil_login_seconds_count": 1}
START = {"pgveil_session_start_seconds_count": 1}
UP = {'pgveil_upstream_up{upstream="own"}': 1}
SERVER_HANDSHAKE = handshake("upstream", "TLSv1.3", "TLS_AES_128_GCM_SHA256")
# Of a session at a listener that lets its user in by `trust`.
SESSION = ACCEPTED | MESSAGES_FROM_CLIENT | legs("to_client") | ended("client_closed") | login("trust", "accepted") | CONNECT | SERVER_LOGIN | START
FIRST_SESSION = SESSION | UP | connected("own", "none")
NOT_CONNECTED = ACCEPTED | FROM_CLIENT | login("trust", "refused") | CONNECT


def refused(reason: str, method: str) -> dict:
    return ACCEPTED | FROM_CLIENT | ended(reason) | login(method, "refused")


def failed(upstream: str) -> dict:
    return {f'pgveil_upstream_last_failed_timestamp_seconds{{upstream="{upstream}"}}': SOME}


RELOADED = {'pgveil_reloads_total{outcome="succeeded"}': 1, "pgveil_configuration_loaded_timestamp_seconds": SOME}
OWN_CERTIFICATE = 'pgveil_certificate_not_after_seconds{file="own.crt",kind="certificate",subject="CN=localhost"}'
SERVER_CERTIFICATE = {'pgveil_upstream_certificate_not_after_seconds{subject="CN=localhost",upstream="own"}': SOME}

ROWS = [
    Row(events.nothing, {}),
    # sessions
    Row(events.silent_client, ACCEPTED | {'pgveil_sessions{phase="negotiate"}': 1, 'pgveil_worker_sessions{worker="1"}': 1}),
    Row(events.scanner, ended("malformed_startup"), ACCEPTED | FROM_CLIENT),
    Row(events.transaction_begun,
        {'pgveil_established_sessions{state="idle"}': -1, 'pgveil_established_sessions{state="in_transaction"}': 1},
        MESSAGES_FROM_CLIENT | MESSAGES_TO_CLIENT),
    # RowDescription, DataRow, CommandComplete, ReadyForQuery
    Row(events.query,
        {'pgveil_bytes_total{direction="to_server"}': 14, 'pgveil_messages_total{direction="to_server"}': 1,
         'pgveil_bytes_total{direction="to_client"}': 34 + 12 + 14 + 6, 'pgveil_messages_total{direction="to_client"}': 4,
         **legs("to_server", 14), **legs("to_client", 34 + 12 + 14 + 6)}),
    Row(events.slow_client, {'pgveil_relay_paused_seconds_total{slow_side="client"}': SOME},
        NOW_ACTIVE | MESSAGES_FROM_CLIENT | MESSAGES_TO_CLIENT),
    Row(events.slow_server, {'pgveil_relay_paused_seconds_total{slow_side="server"}': SOME}, NOW_ACTIVE | MESSAGES_FROM_CLIENT),
    Row(events.session_ended,
        ended("client_closed") | {'pgveil_sessions{phase="relay"}': -1, 'pgveil_worker_sessions{worker="1"}': -1,
                                  'pgveil_established_sessions{state="idle"}': -1},
        MESSAGES_FROM_CLIENT),
    Row(events.whole_session, login("trust", "accepted") | CONNECT | SERVER_LOGIN | START | connected("plain", "none"), SESSION),
    # It has not sent its Terminate, and its login counts at its end.
    Row(events.labelled_session,
        {'pgveil_client_sessions{database="ledger",user="billing"}': 1,
         'pgveil_client_logins_total{database="ledger",user="billing"}': 1},
        ACCEPTED | legs("to_server") | legs("to_client") | login("trust", "accepted") | CONNECT | SERVER_LOGIN | START
        | connected("own", "none") | {'pgveil_sessions{phase="relay"}': 1, 'pgveil_worker_sessions{worker="1"}': 1,
                                      'pgveil_established_sessions{state="idle"}': 1}),
    Row(events.labelled_session_ended,
        {'pgveil_client_sessions{database="ledger",user="billing"}': -1,
         'pgveil_client_bytes_total{database="ledger",direction="to_server",user="billing"}': SOME},
        ended("client_closed") | {'pgveil_sessions{phase="relay"}': -1, 'pgveil_worker_sessions{worker="1"}': -1,
                                  'pgveil_established_sessions{state="idle"}': -1}
        | MESSAGES_FROM_CLIENT),
    Row(events.cancel_request, ended("cancel_forwarded"), ACCEPTED | FROM_CLIENT | connected("plain", "none")),
    Row(events.rejected_user, login("reject", "refused"), refused("rejected_by_rule", "reject")),
    Row(events.user_without_rule, login("none", "refused"), refused("rejected_by_rule", "none")),
    Row(events.database_that_does_not_exist, login("trust", "refused") | SERVER_LOGIN,
        refused("login_failed", "trust") | CONNECT | connected("plain", "none")),
    # limits
    Row(events.one_session_too_many, ended("too_many_sessions"), refused("too_many_sessions", "trust")),
    Row(events.one_session_too_many_of_a_user, ended("too_many_sessions_of_user"), refused("too_many_sessions_of_user", "trust")),
    Row(events.one_session_too_many_of_an_address, ended("too_many_sessions_of_address"),
        refused("too_many_sessions_of_address", "trust")),
    Row(events.session_that_is_reserved_for_others, ended("sessions_reserved"), refused("sessions_reserved", "trust")),
    Row(events.login_over_the_rate, ended("login_rate_exceeded"), refused("login_rate_exceeded", "none")),
    Row(events.one_login_too_many_after_a_failed_one, ended("too_many_failed_logins"), refused("too_many_failed_logins", "none")),
    # The new client is where the old one was.
    Row(events.silent_client_in_the_place_of_another,
        ended("made_room") | {'pgveil_accept_pauses_total{cause="unauthenticated_clients"}': 1}, ACCEPTED),
    Row(events.session_over_its_lifetime,
        ended("session_lifetime") | {'pgveil_sessions{phase="relay"}': -1, 'pgveil_worker_sessions{worker="1"}': -1,
                                     'pgveil_established_sessions{state="in_transaction"}': -1},
        MESSAGES_FROM_CLIENT | MESSAGES_TO_CLIENT),
    Row(events.invalid_proxy_header, ended("proxy_header_invalid"), ACCEPTED | FROM_CLIENT),
    # TLS
    Row(events.client_with_tls, handshake("client", "TLSv1.3", "TLS_AES_128_GCM_SHA256"), refused("rejected_by_rule", "reject")),
    Row(events.client_that_does_not_trust, failed_handshake("client", "rejected_by_peer", "unknown ca") | CLIENT_HANDSHAKE,
        ACCEPTED | FROM_CLIENT | ended("client_rejected_certificate")),
    # The audit has a record of a certificate that is refused, so it is a login.
    Row(events.client_with_an_expired_certificate, failed_handshake("client", "expired") | CLIENT_HANDSHAKE,
        refused("client_certificate_invalid", "none")),
    Row(events.client_with_old_tls, failed_handshake("client", "no_common_version") | CLIENT_HANDSHAKE,
        ACCEPTED | FROM_CLIENT | ended("tls_failed")),
    Row(events.server_that_is_not_trusted,
        failed_handshake("server", "untrusted_issuer") | UPSTREAM_HANDSHAKE | failed("mistrusted"),
        NOT_CONNECTED | ended("upstream_certificate_untrusted")),
    Row(events.server_that_wants_a_certificate, failed_handshake("server", "rejected_by_peer", "certificate required"),
        NOT_CONNECTED | ended("upstream_rejected_certificate") | SERVER_LOGIN | UP | connected("own", "verify-full")
        | SERVER_CERTIFICATE | SERVER_HANDSHAKE),
    # upstreams
    Row(events.session_over_tls,
        handshake("upstream", "TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256") | connected("verified", "verify-full"), SESSION),
    Row(events.session_by_name, {'pgveil_dns_lookups_total{outcome="succeeded"}': 1, "pgveil_dns_lookup_seconds_total": SOME},
        SESSION | SERVER_HANDSHAKE | connected("named", "verify-full")),
    Row(events.name_that_does_not_exist,
        {'pgveil_dns_lookups_total{outcome="failed"}': 1, "pgveil_dns_lookup_seconds_total": SOME},
        NOT_CONNECTED | ended("upstream_not_resolved") | failed("unnamed")),
    Row(events.server_that_is_absent, CONNECT | failed("absent"), NOT_CONNECTED | ended("upstream_unreachable")),
    Row(events.first_connection, UP | connected("own", "verify-full") | SERVER_CERTIFICATE,
        SESSION | SERVER_HANDSHAKE),
    Row(events.server_that_goes_away, {'pgveil_upstream_up{upstream="own"}': -1} | failed("own"),
        NOT_CONNECTED | ended("upstream_unreachable")),
    # Its handshake was made before.
    Row(events.preconnected_session, preconnect(taken=1, made=1),
        SESSION | handshakes("upstream", "TLSv1.3", "TLS_AES_128_GCM_SHA256") | connected("own", "verify-full")),
    Row(events.session_without_a_preconnected_one, preconnect(missed=1),
        SESSION | SERVER_HANDSHAKE | connected("own", "verify-full")),
    Row(events.renewed_preconnection, preconnect(made=1, renewed=1), connected("own", "verify-full")),
    Row(events.failed_preconnection, preconnect(failed=1)),
    # configuration and process
    Row(events.reload, RELOADED),
    Row(events.failed_reload, {'pgveil_reloads_total{outcome="failed"}': 1, "pgveil_last_reload_successful": -1}),
    Row(events.renewed_certificate, {OWN_CERTIFICATE: SOME}, RELOADED),
    Row(events.stop, {"pgveil_draining": 1}),
    # The lines of its start and of its end.
    Row(events.log_without_a_reader, {"pgveil_log_lines_lost_total": 2}, FIRST_SESSION),
    # The records of its login and of its end.
    Row(events.audit_on_a_full_disk, {"pgveil_audit_records_lost_total": 2}, FIRST_SESSION),
    Row(events.audit_that_cannot_be_written, {"pgveil_audit_blocked": 1}, FIRST_SESSION),
    Row(events.stranger_over_the_rate, {"pgveil_audit_records_omitted_total": 1}, refused("rejected_by_rule", "reject")),
]  # fmt: skip

# What no row can be about.
WITHOUT_EVENT = {
    "pgveil_build_info": "never changes; test_build_info_is_what_the_program_says",
    "pgveil_worker_loop_delay_seconds": "counts at least once a second; test_admin.py stops a worker",
    "process_cpu_seconds_total": "changes all the time",
    "process_open_fds": "is the kernel's number, which every connection changes, that of the scrape too",
    "process_max_fds": "is a limit of the process",
    "process_virtual_memory_bytes": "is the kernel's number",
    "process_resident_memory_bytes": "is the kernel's number",
    "process_threads": "is the kernel's number",
    "process_start_time_seconds": "never changes",
}
BY_ITSELF = "pgveil_worker_loop_delay_seconds"


def metric_of(series: str) -> str:
    return series.split("{")[0].removesuffix("_count")


def is_part_of_histogram(series: str) -> bool:
    return series.split("{")[0].endswith(("_bucket", "_sum"))


def changes(before: dict, after: dict) -> dict[str, float]:
    found = {series: value - before.get(series, 0) for series, value in after.items()
             if not series.startswith(BY_ITSELF) and not is_part_of_histogram(series)}  # fmt: skip
    return {series: change for series, change in found.items() if change}


def has_come(found: dict, expected: dict) -> bool:
    """All of it, and no session is left that is not expected."""

    def open_sessions(these):
        return {series: value for series, value in these.items() if series.startswith(events.OPEN_SESSIONS)}

    def is_enough(change, wanted):
        return change > 0 if wanted is SOME else change >= wanted > 0 or change <= wanted < 0

    return open_sessions(found) == open_sessions(expected) and all(
        is_enough(found.get(series, 0), wanted) for series, wanted in expected.items()
    )


def wait_for_changes(site: Site, before: dict, expected: dict) -> tuple[dict, dict]:
    """The changes, and all series, once everything that is expected has come, or does not come."""
    deadline = time.monotonic() + PATIENCE
    while True:
        after = site.series()
        found = changes(before, after)
        if has_come(found, expected) or time.monotonic() > deadline:
            return found, after


def check_histograms(before: dict, after: dict) -> None:
    """The last bucket counts all, and the sum changes with the count only."""
    for series, count in after.items():
        name, _, own = series.rstrip("}").partition("{")
        if name.endswith("_count") and not name.startswith(BY_ITSELF):
            name = name.removesuffix("_count")
            assert after[canonical(f'{name}_bucket{{{own},le="+Inf"}}')] == count
            total = canonical(f"{name}_sum{{{own}}}")
            assert after[total] == before.get(total, 0) or count != before.get(series, 0)


@pytest.fixture(scope="module")
def shared(workplace, postgres, authority, credentials):
    folder = workplace / "metrics"
    folder.mkdir()
    configuration = events.shared_configuration(postgres, authority, Authority(folder, "another"), credentials)
    file = folder / "pgveil.toml"
    file.write_text(toml(configuration), encoding="utf-8")
    proxy = Pgveil("--config", file, listeners=len(configuration["listener"]))
    site = Site(proxy, configuration["upstream"])
    events.warm_up(site)
    yield site
    assert proxy.stop() == 0


@pytest.fixture
def world(postgres, authority, credentials, folder, shared, pgveil):
    world = World(postgres, authority, credentials, folder, shared, pgveil)
    yield world
    world.close()


class TestEachEvent:
    @pytest.mark.parametrize("row", ROWS, ids=lambda row: row.event.__name__)
    def test_changes_its_metrics_and_no_others(self, world, row):
        expected = row.also | row.changes
        with contextlib.closing(row.event(world)) as steps:
            site = next(steps)
            before = site.series()
            is_still_open = next(steps, None)
            found, after = wait_for_changes(site, before, expected)
        if is_still_open and site is world.shared:
            site.wait_for_rest()  # or its end would belong to the next event
        assert found == expected
        check_histograms(before, after)

    def test_has_a_row(self):
        """A metric that is added to the page needs an event in the table, or a reason why it has none."""
        described = re.findall(r"(?m)^\| `([a-z_]+)` \| (?:counter|gauge|histogram) \|", PAGE.read_text(encoding="utf-8"))
        with_row = {metric_of(series) for row in ROWS for series in row.changes}
        assert with_row | set(WITHOUT_EVENT) == set(described)
        assert not with_row & set(WITHOUT_EVENT)

    def test_has_one_row(self):
        found = [row.event for row in ROWS]
        assert len(found) == len(set(found))


def value(metrics: dict, name: str, **wanted: str) -> float:
    """The sum of the series of a metric that have these labels."""
    return sum(number for series, number in metrics.items()
               if series.split("{")[0] == name and wanted.items() <= labels(series).items())  # fmt: skip


def test_build_info_is_what_the_program_says(pgveil, postgres):
    proxy = pgveil(postgres.unix_upstream(), admin={"address": "127.0.0.1:0"})
    (info,) = (labels(series) for series in Admin(proxy).metrics() if series.startswith("pgveil_build_info{"))
    assert run(BINARY, "--version").stdout == f"pgveil {info['version']} ({info['openssl']}, libuv {info['libuv']})\n"
    assert f" I relay engine={info['relay']}" in proxy.log
    assert f" I tls_records engine={info['tls_records']} " in proxy.log


class TestOverTime:
    def test_nothing_changes_without_an_event(self, shared):
        before = shared.series()
        time.sleep(1)
        assert changes(before, shared.series()) == {}

    def test_pauses_are_those_of_the_slow_side(self, shared):
        site = shared.at("plain")

        def paused(slow_side: str) -> float:
            return site.series()[f'pgveil_relay_paused_seconds_total{{slow_side="{slow_side}"}}']

        of_client, of_server = paused("client"), paused("server")
        with site.session() as client:
            client.send(wire.query("SELECT repeat('x', 1000000) FROM generate_series(1, 60)"))
            begun = eventually(lambda: now if (now := paused("client")) > of_client else None)
            time.sleep(1)
            during = paused("client")
            client.receive_until(b"Z")
            after = paused("client")
        assert 0.9 < during - begun < 5
        assert after >= during
        assert paused("server") == of_server

    def test_connections_made_ahead_are_counted_on_over_a_reload(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream(preconnect=2), limits={"workers": 1}, listener={"hba": "host all all all trust\n"},
                       admin={"address": "127.0.0.1:0", "upstream_check_interval": "0s"})  # fmt: skip
        admin = Admin(proxy)

        def count(event: str) -> float:
            return value(admin.metrics(), "pgveil_preconnect_events_total", event=event)

        eventually(lambda: count("made") == 2)
        assert proxy.query("SELECT 1") == "1"
        eventually(lambda: count("made") == 3)
        proxy.reload()
        eventually(lambda: count("made") == 5)
        assert count("taken") == 1
