"""Where audit records are written, and what happens if they cannot be: [audit] target, file, socket, syslog_facility, fail."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from harness import wire
from harness.admin import Admin
from harness.audit import LogSocket, logins, parse, parse_journal, parse_syslog, records, to_file, wait_for_records
from harness.audit_pipe import LONG_NAME, Fifo, fill_audit
from harness.pgveil import BINARY, EX_CONFIG, EX_UNAVAILABLE, RELAY, toml
from harness.processes import environment, eventually, run
from harness.reloadable import Reloadable

TRUST = {"hba": "host all billing all trust\nhost all orders all trust\n"}


@pytest.fixture
def start(pgveil, postgres):
    """With a listener that admits two users, and refuses others."""

    def start(audit, **sections):
        return pgveil(postgres.unix_upstream(), listener=TRUST, audit=audit, **sections)

    return start


def log_in(proxy, user="billing") -> None:
    with proxy.connect() as client:
        client.log_in(user=user, database="ledger")
        client.send(wire.TERMINATE)
        client.receive_to_end()


def begin_login(proxy) -> wire.Client:
    client = proxy.connect()
    client.send(wire.startup_message(user="billing", database="ledger"))
    return client


def is_answered(client, patience=0.5) -> bool:
    return bool(select.select([client.socket], [], [], patience)[0])


class TestAFileThatIsRemoved:
    def test_and_cannot_be_created_again_takes_no_records(self, start, folder):
        """The file that is open has no name any more: what is written to it would be lost."""
        place = folder / "place"
        place.mkdir()
        proxy = start(to_file(place / "audit.json", fail="closed"), limits={"startup_timeout": "20s"})
        log_in(proxy)
        wait_for_records(place / "audit.json", 1, "ended")
        (place / "audit.json").unlink()
        place.rmdir()
        with begin_login(proxy) as first:
            proxy.wait_for_line(' E audit_file_not_opened file=.* error="No such file or directory"')
            first.receive_until(b"Z")  # its record waits
            with begin_login(proxy) as second:
                assert not is_answered(second)
                place.mkdir()
                second.receive_until(b"Z")
        assert len(wait_for_records(place / "audit.json", 2, "accepted")) == 2


class TestTheEndOfAnAbandonedSession:
    def test_is_in_the_log_and_in_the_audit(self, start, folder):
        proxy = start(to_file(folder / "audit.json"), limits={"drain_timeout": "60s"})
        with proxy.connect() as client:
            client.log_in(user="billing", database="ledger")
            client.rows("BEGIN")
            proxy.send_signal(signal.SIGTERM)
            proxy.wait_for_line(" draining ")
            proxy.send_signal(signal.SIGTERM)
            assert proxy.wait() == 0
        assert "abandoned_sessions=1" in proxy.log
        assert "session_closed" in proxy.log and "reason=shutting_down" in proxy.log
        (end,) = wait_for_records(folder / "audit.json", 1, "ended")
        assert (end["user"], end["reason"]) == ("billing", "shutting_down")


class TestAFileThatIsRenamed:
    def test_without_a_signal_gets_no_more_records(self, start, folder):
        file, old = folder / "audit.json", folder / "audit.json.1"
        proxy = start(to_file(file))
        log_in(proxy)
        wait_for_records(file, 1, "ended")
        file.rename(old)
        log_in(proxy, "orders")
        wait_for_records(file, 1, "ended")
        assert [each["user"] for each in logins(file)] == ["orders"]
        assert [each["user"] for each in logins(old)] == ["billing"]

    def test_leaves_its_records_to_the_file_that_logrotate_creates(self, start, folder):
        file = folder / "audit.json"
        proxy = start(to_file(file))
        log_in(proxy)
        wait_for_records(file, 1, "ended")
        file.rename(folder / "audit.json.1")
        file.touch(mode=0o640)
        file.chmod(0o640)
        log_in(proxy, "orders")
        wait_for_records(file, 1, "ended")
        assert file.stat().st_mode & 0o777 == 0o640

    def test_is_created_at_sighup_before_there_is_a_record(self, folder, pgveil, postgres):
        file = folder / "audit.json"
        running = Reloadable(folder, pgveil, {
            "listener": [{"address": "127.0.0.1:0", "upstream": "primary", **TRUST}],
            "upstream": {"primary": postgres.unix_upstream()}, "reload": {"watch": False}, "audit": to_file(file),
        })  # fmt: skip
        file.rename(folder / "audit.json.1")
        running.reload_successfully()
        assert file.read_text() == ""

    def test_gets_the_records_if_no_other_can_be_opened(self, start, folder):
        (folder / "logs").mkdir()
        file = folder / "logs/audit.json"
        proxy = start(to_file(file))
        (folder / "logs").rename(folder / "old")
        log_in(proxy)
        wait_for_records(folder / "old/audit.json", 1, "ended")
        proxy.wait_for_line(r' E audit_file_not_opened file=\S+ error="No such file or directory"')
        log_in(proxy)
        wait_for_records(folder / "old/audit.json", 2, "ended")
        assert proxy.log.count(" audit_file_not_opened ") == 1  # once for an outage
        (folder / "logs").mkdir()
        log_in(proxy)
        wait_for_records(file, 1, "ended")


class TestSyslog:
    def to(self, path, **settings) -> dict:
        return {"target": "syslog", "socket": str(path), **settings}

    def test_has_each_record_in_a_datagram_of_rfc_5424(self, start, folder):
        with LogSocket(folder / "log") as daemon:
            proxy = start(self.to(folder / "log"))
            log_in(proxy)
            proxy.psql("SELECT 1", user="eve")
            accepted, ended, refused = (parse_syslog(daemon.receive()) for _ in range(3))
        for fields in accepted, ended, refused:
            assert (fields["facility"], fields["program"], fields["kind"], fields["version"]) == (10, "pgveil", "audit", "1")
            assert fields["process"] == str(proxy.pid) and fields["time"] == fields["record"]["time"]
        assert accepted["host"] == (os.uname().nodename or "-")
        assert [(each["record"]["outcome"], each["severity"]) for each in (accepted, ended, refused)] == [
            ("accepted", 6), ("ended", 6), ("refused", 4)]  # fmt: skip

    def test_has_the_facility_of_the_setting(self, start, folder):
        with LogSocket(folder / "log") as daemon:
            log_in(start(self.to(folder / "log", syslog_facility="local5")))
            assert parse_syslog(daemon.receive())["facility"] == 21

    def test_that_is_started_again_gets_the_records_of_its_absence(self, start, folder):
        daemon = LogSocket(folder / "log")
        proxy = start(self.to(folder / "log"))
        with proxy.connect() as established:
            established.log_in(user="billing", database="ledger")
            assert parse_syslog(daemon.receive())["record"]["outcome"] == "accepted"
            daemon.close()
            log_in(proxy, "orders")  # nobody knows yet that its record cannot be written
            proxy.wait_for_line(r" E audit_blocked detail=")
            with begin_login(proxy) as waiting:
                assert not is_answered(waiting)
                assert established.rows("SELECT 1")
                with LogSocket(folder / "log") as daemon:
                    waiting.receive_until(b"Z")
                    seen = [parse_syslog(daemon.receive())["record"] for _ in range(3)]
        assert [(each["outcome"], each["user"]) for each in seen] == [
            ("accepted", "orders"), ("ended", "orders"), ("accepted", "billing")]  # fmt: skip
        assert "audit_records_lost" not in proxy.log

    def test_that_does_not_read_has_logins_wait(self, start, folder):
        with LogSocket(folder / "log") as daemon:
            proxy = start(self.to(folder / "log", stranger_rate="0"))
            with fill_audit(proxy) as waiting:
                proxy.wait_for_line(r' E audit_blocked detail="The queue of records is full."')
                reader = threading.Thread(target=lambda: [daemon.receive() for _ in range(1000)])
                reader.start()
                waiting.receive_error()  # it is refused by the rules, now that it may be recorded
                reader.join()
                daemon.drain()

    def test_that_is_gone_does_not_hold_up_the_end(self, start, folder):
        daemon = LogSocket(folder / "log")
        proxy = start(self.to(folder / "log"))
        daemon.close()
        log_in(proxy)
        assert proxy.stop() == 0
        lost = re.findall(r"audit_records_lost lines=(\d+) ", proxy.log)
        assert sum(map(int, lost)) == 2


class TestTheJournal:
    def test_has_each_record_as_an_entry(self, start, folder):
        with LogSocket(folder / "journal") as daemon:
            proxy = start({"target": "journald", "socket": str(folder / "journal")})
            log_in(proxy)
            proxy.psql("SELECT 1", user="eve")
            entries = [parse_journal(daemon.receive()) for _ in range(3)]
        for entry in entries:
            assert (entry["SYSLOG_IDENTIFIER"], entry["SYSLOG_FACILITY"]) == ("pgveil", "10")
        assert [(each["record"]["outcome"], each["PRIORITY"]) for each in entries] == [
            ("accepted", "6"), ("ended", "6"), ("refused", "4")]  # fmt: skip

    def test_has_the_facility_of_the_setting(self, start, folder):
        with LogSocket(folder / "journal") as daemon:
            log_in(start({"target": "journald", "socket": str(folder / "journal"), "syslog_facility": "local0"}))
            assert parse_journal(daemon.receive())["SYSLOG_FACILITY"] == "16"


JOURNALD = Path("/lib/systemd/systemd-journald")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.skipif(not JOURNALD.exists() or not Path("/etc/machine-id").exists(), reason="there is no systemd-journald")
class TestARealJournal:
    """A journald with its sockets and its files in a folder of the test, and a /run of its own."""

    SCRIPT = """set -e
        mount -t tmpfs tmpfs /run
        mkdir -p /run/systemd/journal /run/log/journal
        mount --bind "$1" /run/systemd/journal
        mount --bind "$2" /run/log/journal
        exec "$3"
        """

    @pytest.fixture
    def journald(self, folder):
        sockets, files = folder / "sockets", folder / "files"
        sockets.mkdir()
        files.mkdir()
        running = []

        def start():
            running.append(subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount", "sh", "-c", self.SCRIPT, "sh", sockets, files, JOURNALD],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))  # fmt: skip
            eventually(lambda: not connect_error(sockets / "socket"))
            return running[-1]

        self.socket, self.files = sockets / "socket", files
        yield start
        for process in running:
            process.kill()
            process.wait()

    def entries(self) -> list[dict]:
        done = run("journalctl", "--directory", self.files, "--output", "json", "--identifier", "pgveil")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_has_the_records(self, start, journald):
        journald()
        proxy = start({"target": "journald", "socket": str(self.socket)})
        log_in(proxy)
        proxy.psql("SELECT 1", user="eve")
        entries = eventually(lambda: len(found := self.entries()) == 3 and found)
        assert [parse(each["MESSAGE"])["outcome"] for each in entries] == ["accepted", "ended", "refused"]
        assert [each["PRIORITY"] for each in entries] == ["6", "6", "4"]
        assert {(each["SYSLOG_FACILITY"], each["_PID"], each["_TRANSPORT"]) for each in entries} == {
            ("10", str(proxy.pid), "journal")}  # fmt: skip

    def test_has_those_too_that_came_while_it_was_restarted(self, start, journald):
        first = journald()
        proxy = start({"target": "journald", "socket": str(self.socket)})
        log_in(proxy)
        eventually(lambda: len(self.entries()) == 2)
        first.terminate()
        first.wait()
        log_in(proxy, "orders")
        proxy.wait_for_line(r' E audit_blocked detail="Connection refused"')
        journald()
        entries = eventually(lambda: len(found := self.entries()) == 4 and found)
        assert [parse(each["MESSAGE"])["user"] for each in entries] == ["billing"] * 2 + ["orders"] * 2


def connect_error(path) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(str(path))


@pytest.mark.parametrize("target, daemon", [("syslog", "a syslog daemon"), ("journald", "systemd-journald")])
class TestASocketWithoutADaemon:
    def errors_of(self, folder, **audit):
        file = folder / "pgveil.toml"
        file.write_text(toml({"listener": [{"address": "127.0.0.1:0", "upstream": "a"}], "upstream": {"a": {"host": "/run"}},
                              "audit": audit}), encoding="utf-8")  # fmt: skip
        said = set()
        for command in ("check", "run"):
            done = run(BINARY, command, "--config", file)
            assert done.returncode == EX_UNAVAILABLE, done.stderr
            said.add(done.stderr)
        assert len(said) == 1
        return said.pop()

    def test_is_an_error_at_the_start_and_in_a_check(self, folder, target, daemon):
        said = self.errors_of(folder, target=target, socket=f"{folder}/log")
        assert re.search(rf'pgveil\.toml:\d+: audit\.socket: nothing receives records at "{folder}/log": No such file', said)
        assert f"Start {daemon}, set audit.socket to where it listens" in said

    def test_is_none_if_records_may_be_lost(self, pgveil, postgres, folder, target, daemon):
        proxy = pgveil(postgres.upstream(), audit={"target": target, "socket": f"{folder}/log", "fail": "open"})
        proxy.wait_for_line(f' W audit_daemon_missing detail=.*nothing receives records at .*hint="Start {daemon}')
        assert proxy.query("SELECT 1") == "1"
        proxy.wait_for_line(" E audit_records_lost ")
        with LogSocket(folder / "log") as log:
            assert proxy.query("SELECT 1") == "1"
            # The record at the end of the first session may have waited for the daemon.
            assert any(b'"outcome":"accepted"' in log.receive() for _ in range(2))

    def test_that_has_died_is_an_error(self, folder, target, daemon):
        LogSocket(folder / "log").socket.close()
        assert "Connection refused" in self.errors_of(folder, target=target, socket=f"{folder}/log")

    def test_that_takes_streams_is_an_error(self, folder, target, daemon):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.bind(f"{folder}/log")
            stream.listen()
            said = self.errors_of(folder, target=target, socket=f"{folder}/log")
        assert "is a stream socket, and must take datagrams" in said

    def test_with_a_long_path_is_an_error(self, folder, target, daemon):
        said = self.errors_of(folder, target=target, socket="/" + "x" * 200)
        assert "File name too long" in said


class TestStandardOutput:
    @pytest.fixture
    def started(self, folder, postgres):
        processes = []

        def start(stdout, stderr):
            file = folder / "pgveil.toml"
            listens = folder / ".s.PGSQL.5432"
            file.write_text(toml({
                "listener": [{"address": f"unix:{listens}", "upstream": "a", "hba": "local all all trust"}],
                "upstream": {"a": postgres.unix_upstream()}, "audit": {"target": "stdout"},
            }), encoding="utf-8")  # fmt: skip
            processes.append(subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", BINARY, "run", "--config", file],
                env=environment(**RELAY), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr))  # fmt: skip
            return processes[-1], listens

        yield start
        for process in processes:
            process.kill()
            process.wait()

    def test_has_the_records_and_nothing_else(self, started, folder):
        with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
            process, listens = started(out, err)
        eventually(lambda: " listening " in (folder / "err").read_text())
        with wire.Client(str(listens)) as client:
            client.log_in(user="billing", database="ledger")
        eventually(lambda: "ended" in (folder / "out").read_text())
        process.terminate()
        assert process.wait(20) == 0
        assert [each["outcome"] for each in records(folder / "out")] == ["accepted", "ended"]
        log = (folder / "err").read_text()
        assert " session_closed " in log and '"event":"audit"' not in log

    def test_that_is_also_standard_error_is_an_error(self, started, folder):
        with open(folder / "both", "wb") as both:
            process, _ = started(both, both)
        assert process.wait(20) == EX_CONFIG
        said = (folder / "both").read_text()
        assert re.search(r"pgveil\.toml:\d+: audit\.target: standard output is also standard error", said)


class TestFail:
    """A FIFO that nobody reads takes no records."""

    @pytest.fixture
    def fifo(self, folder):
        fifo = Fifo(folder)
        yield fifo
        fifo.close()

    def come(self, proxy, count) -> None:
        """Refused clients, with names that make their records long."""
        for _ in range(count):
            with proxy.connect() as client:
                client.send(wire.startup_message(user=LONG_NAME, database=LONG_NAME))
                client.receive_error()

    def test_closed_has_logins_wait_and_then_refuses_them(self, start, fifo):
        proxy = start(to_file(fifo.path, fail="closed"), limits={"startup_timeout": "1500ms"}, admin={"address": "127.0.0.1:0"})
        admin = Admin(proxy)
        assert admin.metrics()["pgveil_audit_blocked"] == 0
        with fill_audit(proxy) as client:
            assert admin.metrics()["pgveil_audit_blocked"] == 1
            assert client.receive_error()["C"] == "57P03"

    def test_open_lets_logins_in_and_counts_the_lost_records(self, start, fifo):
        proxy = start(to_file(fifo.path, fail="open"), admin={"address": "127.0.0.1:0"})
        admin = Admin(proxy)
        for _ in range(20):
            self.come(proxy, 500)
            if admin.metrics()["pgveil_audit_records_lost_total"] > 100:
                break
        else:
            raise AssertionError("no record was lost")
        log_in(proxy)
        assert admin.metrics()["pgveil_audit_blocked"] == 0
        text = fifo.read()
        # The oldest are lost, so the last record is there.
        last = [parse(line) for line in text.splitlines()][-1]
        assert (last["outcome"], last["user"]) == ("ended", "billing")

    def test_goes_on_with_a_fifo_that_was_made_anew(self, start, fifo, folder):
        """Its reader has ended and was started again, as a program that makes its own FIFO."""
        proxy = start(to_file(fifo.path, fail="closed"), limits={"startup_timeout": "20s"})
        log_in(proxy)
        fifo.read_until('"outcome":"ended"')
        (folder / "audit").unlink()
        fifo.close()
        with begin_login(proxy) as first:
            proxy.wait_for_line(" E audit_blocked ")
            os.mkfifo(folder / "audit")
            fifo.reader = os.open(fifo.path, os.O_RDONLY | os.O_NONBLOCK)
            first.receive_until(b"Z")
        text = fifo.read_until('"outcome":"ended"')
        outcomes = [parse(line)["outcome"] for line in text.splitlines()]
        assert outcomes.count("accepted") == outcomes.count("ended") == 1, text

    def test_goes_on_with_another_fifo_of_the_same_name(self, start, fifo, folder):
        """The reader of the old one is still there."""
        proxy = start(to_file(fifo.path, fail="closed"))
        log_in(proxy)
        fifo.read_until('"outcome":"ended"')
        (folder / "audit").rename(folder / "audit.old")
        with contextlib.closing(Fifo(folder)) as other:
            log_in(proxy, "orders")
            other.read_until('"user":"orders"')
        assert fifo.read() == ""

    def test_changes_with_a_reload(self, folder, pgveil, postgres, fifo):
        configuration = {
            "listener": [{"address": "127.0.0.1:0", "upstream": "primary", **TRUST}],
            "upstream": {"primary": postgres.unix_upstream()}, "reload": {"watch": False}, "audit": to_file(fifo.path),
        }  # fmt: skip
        running = Reloadable(folder, pgveil, configuration)
        with fill_audit(running.proxy), begin_login(running.proxy) as waiting:
            assert not is_answered(waiting)
            configuration["audit"]["fail"] = "open"
            running.reload_successfully()
            waiting.receive_until(b"Z")
