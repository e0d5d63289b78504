"""A reload: everything is read again, and nobody who is connected notices; what is wrong changes nothing."""

import os
import re
import shutil
import signal
import socket
import ssl
import stat
import struct
import time

import psycopg2
import pytest

from harness.audit import to_file
from harness.certificates import rehashed
from harness.pgveil import RELAY, psql
from harness.postgres import PASSWORD
from harness.processes import eventually, run
from harness.reloadable import Reloadable, replace_file
from harness.secrets import secret_file


@pytest.fixture
def reloadable(folder, pgveil, postgres):
    """Starts a Reloadable with one listener for `upstream`, or for the PostgreSQL server at its Unix socket."""

    def start(upstream=None, listener=None, **sections):
        configuration = {
            "listener": [{"address": "127.0.0.1:0", "upstream": "primary", **(listener or {})}],
            "upstream": {"primary": upstream or postgres.unix_upstream()},
            # Most tests want to know which reload a line of the log is about.
            "reload": {"watch": False},
            **sections,
        }
        return Reloadable(folder, pgveil, configuration)

    return start


def data_row(value: bytes) -> bytes:
    """The body of a DataRow with one column."""
    return struct.pack("!HI", 1, len(value)) + value


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class TestReload:
    def test_uses_the_new_rules_for_new_clients_only(self, reloadable):
        running = reloadable(listener={"hba": "host all billing 127.0.0.1/32 trust"})
        proxy = running.proxy
        with proxy.connect() as before:
            before.log_in(user="billing", database="ledger")
            running.configuration["listener"][0]["hba"] = "host all orders 127.0.0.1/32 trust"
            running.reload_successfully()
            refused = proxy.psql("SELECT 1", user="billing")
            assert 'no pg_hba.conf entry for host "127.0.0.1", user "billing"' in refused.stderr
            assert proxy.query("SELECT current_user", user="orders") == "orders"
            assert before.rows("SELECT current_user") == [data_row(b"billing")]

    def test_changes_nothing_if_there_is_an_error(self, reloadable):
        running = reloadable(listener={"hba": "host all billing 127.0.0.1/32 trust"})
        listener = running.configuration["listener"][0]
        listener["hba"] = "host all billing 127.0.0.1/32 turst"
        listener["database"] = ""
        running.configuration["limits"] = {"idle_timeout": "5 parsecs"}
        lines = running.reload_in_vain()
        said = "\n".join(lines)
        errors = [line for line in lines if " E configuration error=" in line]
        assert len(errors) == int(re.search(r"errors=(\d+)", lines[-1])[1]) >= 2, said
        assert "limits.idle_timeout" in said and 'hint="' in errors[0]
        assert f"{running.file}:" in errors[0]
        assert running.proxy.query("SELECT current_user", user="billing") == "billing"

    def test_reports_a_file_that_is_gone(self, reloadable):
        running = reloadable()
        running.file.unlink()
        lines = running.proxy.reload()
        assert f"cannot read the configuration file \\\"{running.file}\\\": No such file or directory" in lines[-2]
        assert "reload_failed" in lines[-1] and "errors=1" in lines[-1]
        assert running.proxy.query("SELECT 1", user="billing") == "1"

    def test_can_follow_one_that_failed(self, reloadable):
        running = reloadable()
        running.configuration["listener"][0]["hba"] = "nonsense"
        running.reload_in_vain()
        running.configuration["listener"][0]["hba"] = "host all orders 127.0.0.1/32 trust"
        running.reload_successfully()
        assert running.proxy.query("SELECT current_user", user="orders") == "orders"

    def test_logs_the_warnings_of_the_new_configuration(self, reloadable, credentials, postgres):
        running = reloadable(
            postgres.upstream(),
            {"ssl_cert_file": str(credentials.certificate), "ssl_key_file": str(credentials.key)},
        )
        running.configuration["listener"][0]["tls"] = "optional"
        lines = running.reload_successfully()
        assert any(" W configuration warning=" in line and "silently use plaintext" in line for line in lines)

    def test_changes_the_level_of_the_log(self, reloadable):
        running = reloadable(log={"level": "info"})
        running.configuration["log"] = {"level": "debug", "session_start": False}
        running.reload_successfully()
        running.proxy.query("SELECT 1", user="billing")
        running.proxy.wait_for_line("session_record")
        assert "session_started" not in running.proxy.log

    def test_says_which_settings_need_a_restart(self, reloadable, folder):
        running = reloadable(limits={"workers": 1})
        running.configuration["limits"] = {"workers": 2, "relay": "epoll", "core_dumps": True, "idle_timeout": "1h"}
        running.configuration["log"] = {"format": "json"}
        running.configuration["audit"] = to_file(folder / "audit.json", fail="open")
        lines = running.reload_successfully()
        found = [line for line in lines if " W restart_needed " in line]
        assert len(found) == 1
        # A variable wins over the file.
        relay = "" if "PGVEIL_RELAY" in RELAY else "limits.relay, "
        assert (f'settings="limits.core_dumps, limits.workers, {relay}log.format, audit.target, audit.file" '
                'hint="Restart pgveil') in found[0]  # fmt: skip
        assert not (folder / "audit.json").exists()

    def test_compares_these_settings_with_those_of_the_start(self, reloadable):
        running = reloadable(limits={"workers": 1})
        for workers, needs_restart in ((2, True), (2, True), (1, False)):
            running.configuration["limits"] = {"workers": workers}
            assert ("restart_needed" in "\n".join(running.reload_successfully())) == needs_restart

    def test_is_carried_out_once_more_if_it_is_asked_for_while_it_runs(self, reloadable, folder):
        running = reloadable(listener={"hba": "host all billing 127.0.0.1/32 trust"})
        before = len(running.proxy.lines)
        for _ in range(20):
            running.proxy.send_signal(1)
        running.configuration["listener"][0]["hba"] = "host all orders 127.0.0.1/32 trust"
        running.write()
        running.proxy.send_signal(1)
        eventually(lambda: running.proxy.psql("SELECT 1", user="orders").returncode == 0)
        running.proxy.wait_for_line(" I reloaded trigger=SIGHUP ", after=before)
        assert running.proxy.log.count(" reloaded ") <= 21

    def test_does_not_delay_the_end(self, reloadable, folder, authority):
        """A passphrase command that takes ten seconds runs when pgveil is to end."""
        encrypted = authority.issue("localhost", dns=["localhost"], passphrase="open sesame")
        wait = folder / "wait"
        running = reloadable(listener={
            "ssl_cert_file": str(encrypted.certificate),
            "ssl_key_file": str(encrypted.key),
            "ssl_passphrase_command": f"test -e {wait} && touch {wait}.now && sleep 10; echo open sesame",
        })  # fmt: skip
        wait.touch()
        running.proxy.send_signal(1)
        eventually(lambda: (folder / "wait.now").exists())
        running.proxy.send_signal(15)
        eventually(lambda: not running.proxy.is_running(), 5)


class TestLimits:
    def test_of_unauthenticated_clients_can_be_raised(self, reloadable):
        running = reloadable(limits={"max_unauthenticated_clients": 1})
        with running.proxy.connect():
            running.configuration["limits"] = {"max_unauthenticated_clients": 10}
            with running.proxy.connect() as waiting:
                running.proxy.wait_for_line("accept_paused")
                running.reload_successfully()
                waiting.log_in(user="billing", database="ledger")

    def test_of_sessions_can_be_raised(self, reloadable):
        running = reloadable(limits={"max_sessions": 1})
        with running.proxy.connect() as first:
            first.log_in(user="billing", database="ledger")
            assert "too many clients already" in running.proxy.psql("SELECT 1", user="billing").stderr
            running.configuration["limits"] = {"max_sessions": 2}
            running.reload_successfully()
            assert running.proxy.query("SELECT 1", user="billing") == "1"


class TestListeners:
    def test_are_added_and_removed(self, reloadable, folder):
        ports = [free_port() for _ in range(3)]
        running = reloadable(listener={"address": f"127.0.0.1:{ports[0]}"})
        listener = running.configuration["listener"][0]
        with running.proxy.connect() as before:
            before.log_in(user="billing", database="ledger")
            running.configuration["listener"] = [
                {**listener, "address": f"127.0.0.1:{ports[1]}"},
                {**listener, "address": f"unix:{folder}/.s.PGSQL.{ports[2]}"},
            ]
            lines = "\n".join(running.reload_successfully())
            assert f" I listening address=127.0.0.1:{ports[1]} upstream=primary" in lines
            assert f" I listening address=unix:{folder}/.s.PGSQL.{ports[2]} upstream=primary" in lines
            assert f" I not_listening address=127.0.0.1:{ports[0]}" in lines
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", ports[0]))
            for host, port in (("127.0.0.1", ports[1]), (folder, ports[2])):
                done = psql(f"host={host} port={port} user=billing dbname=ledger sslmode=disable", "SELECT 1")
                assert done.stdout == "1\n", done.stderr
            assert before.rows("SELECT 1") == [data_row(b"1")]
        running.configuration["listener"] = [listener]
        running.reload_successfully()
        assert running.proxy.query("SELECT 1", user="billing") == "1"
        assert not (folder / f".s.PGSQL.{ports[2]}").exists()

    def test_keep_their_socket_and_port(self, reloadable):
        running = reloadable()
        listener = running.configuration["listener"][0]
        running.configuration["listener"] = [{**listener, "hba": "host all orders 127.0.0.1/32 trust"}, listener]
        lines = "\n".join(running.reload_successfully())
        assert lines.count(" I listening ") == 1 and " not_listening " not in lines
        assert running.proxy.query("SELECT current_user", user="orders") == "orders"

    def test_can_be_exchanged_for_one_of_all_addresses(self, reloadable):
        """The kernel permits 0.0.0.0 and 127.0.0.1 with one port only one after the other."""
        port = free_port()
        running = reloadable(listener={"address": f"127.0.0.1:{port}"})
        listener = running.configuration["listener"][0]
        listener.update(address=f"0.0.0.0:{port}", allow_plaintext_from_network=True)
        lines = "\n".join(running.reload_successfully())
        assert f" I listening address=0.0.0.0:{port}" in lines and f" not_listening address=127.0.0.1:{port}" in lines
        assert running.proxy.query("SELECT 1", user="billing") == "1"
        listener.update(address=f"127.0.0.1:{port}")
        del listener["allow_plaintext_from_network"]
        running.reload_successfully()
        assert running.proxy.query("SELECT 1", user="billing") == "1"

    def test_stay_if_another_process_has_the_new_address(self, reloadable):
        port = free_port()
        running = reloadable(listener={"address": f"127.0.0.1:{port}"})
        listener = running.configuration["listener"][0]
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = other.getsockname()[1]
            running.configuration["listener"] = [
                {**listener, "address": f"127.0.0.1:{taken}"},
                {**listener, "address": f"127.0.0.1:{free_port()}"},
            ]
            lines = running.reload_in_vain()
        assert f"cannot listen on 127.0.0.1:{taken}: bind: Address already in use" in "\n".join(lines)
        assert running.proxy.query("SELECT 1", user="billing") == "1"
        assert len(sockets_of(running.proxy)) == 1

    def test_are_opened_again_if_their_successor_cannot_be(self, reloadable):
        """127.0.0.1 is given up for 0.0.0.0, and then 127.0.0.2 is found to be in use."""
        port = free_port()
        running = reloadable(listener={"address": f"127.0.0.1:{port}"})
        listener = running.configuration["listener"][0]
        with socket.create_server(("127.0.0.2", port)):
            listener.update(address=f"0.0.0.0:{port}", allow_plaintext_from_network=True)
            running.reload_in_vain()
        assert running.proxy.query("SELECT 1", user="billing") == "1"

    def test_of_unix_sockets_get_their_new_mode(self, reloadable, folder):
        path = folder / ".s.PGSQL.5432"
        running = reloadable(listener={"address": f"unix:{path}"})
        running.configuration["listener"][0]["unix_socket_permissions"] = "0700"
        running.reload_successfully()
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert running.proxy.query("SELECT 1", user="billing") == "1"


def sockets_of(proxy) -> list[str]:
    """The listening TCP sockets of a process, as lines of /proc/net/tcp."""
    inodes = re.findall(r"socket:\[(\d+)\]", "\n".join(proxy.open_files().values()))
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return [" ".join(row) for row in rows if row[3] == "0A" and row[9] in inodes]


def certificate_shown(address, authority) -> bytes:
    """To a client of TLS with ALPN, as PostgreSQL 17 introduced it."""
    context = ssl.create_default_context(cafile=str(authority.file))
    context.set_alpn_protocols(["postgresql"])
    with socket.create_connection(address) as tcp:
        with context.wrap_socket(tcp, server_hostname="localhost") as connection:
            return connection.getpeercert(binary_form=True)


class TestFiles:
    """Their names stay; their content is another one."""

    def test_certificate_and_key(self, reloadable, folder, authority):
        first, second = (authority.issue("localhost", dns=["localhost"]) for _ in range(2))
        certificate, key = folder / "server.crt", folder / "server.key"
        shutil.copy(first.certificate, certificate)
        shutil.copy(first.key, key)
        running = reloadable(listener={
            "ssl_cert_file": str(certificate), "ssl_key_file": str(key), "hba": "hostssl all billing all trust",
        })  # fmt: skip
        address = running.proxy.address
        assert certificate_shown(address, authority) == der(first)
        with psycopg2.connect(running.proxy.tls_string(user="billing", sslrootcert=authority.file)) as before:
            shutil.copy(second.certificate, certificate)
            lines = running.reload_in_vain()
            assert "does not match" in "\n".join(lines) or "do not match" in "\n".join(lines), "\n".join(lines)
            assert certificate_shown(address, authority) == der(first)
            shutil.copy(second.key, key)
            running.reload_successfully()
            assert certificate_shown(address, authority) == der(second)
            with before.cursor() as cursor:
                cursor.execute("SELECT 1")
                assert cursor.fetchone() == (1,)
        before.close()

    def test_certificate_whose_key_is_written_a_moment_later(self, reloadable, folder, authority):
        first, second = (authority.issue("localhost", dns=["localhost"]) for _ in range(2))
        certificate, key = folder / "server.crt", folder / "server.key"
        shutil.copy(first.certificate, certificate)
        shutil.copy(first.key, key)
        running = reloadable(listener={"ssl_cert_file": str(certificate), "ssl_key_file": str(key)})
        shutil.copy(second.certificate, certificate)
        before = len(running.proxy.lines)
        running.proxy.send_signal(1)
        time.sleep(0.3)  # most often after the first of three attempts in a second
        shutil.copy(second.key, key)
        running.proxy.wait_for_line(" I reloaded ", after=before)
        assert "reload_failed" not in running.proxy.log
        assert certificate_shown(running.proxy.address, authority) == der(second)

    def test_passwords_for_the_server(self, reloadable, folder, postgres):
        passfile = secret_file(folder / "passfile", "*:*:*:app:wrong\n")
        running = reloadable(postgres.upstream(passfile=passfile), {"hba": "host all app all trust"})
        assert "password authentication failed" in running.proxy.psql("SELECT 1", user="app").stderr
        secret_file(passfile, f"*:*:*:app:{PASSWORD}\n")
        running.reload_successfully()
        assert running.proxy.query("SELECT 1", user="app") == "1"

    def test_audit_file_that_was_renamed(self, reloadable, folder):
        audit = folder / "audit.json"
        running = reloadable(audit=to_file(audit))
        running.proxy.query("SELECT 1", user="billing")
        eventually(lambda: '"user":"billing"' in audit.read_text(encoding="utf-8"))
        audit.rename(folder / "audit.json.1")
        running.reload_successfully()
        running.proxy.query("SELECT 1", user="orders")
        eventually(lambda: audit.exists() and '"user":"orders"' in audit.read_text(encoding="utf-8"))
        assert "orders" not in (folder / "audit.json.1").read_text(encoding="utf-8")

    def test_audit_file_that_was_renamed_although_the_configuration_is_wrong(self, reloadable, folder):
        audit = folder / "audit.json"
        running = reloadable(audit=to_file(audit))
        audit.rename(folder / "audit.json.1")
        running.configuration["listener"][0]["hba"] = "nonsense"
        running.reload_in_vain()
        running.proxy.query("SELECT 1", user="orders")
        eventually(lambda: audit.exists() and '"user":"orders"' in audit.read_text(encoding="utf-8"))


def der(credentials) -> bytes:
    return ssl.PEM_cert_to_DER_cert(credentials.certificate.read_text(encoding="ascii").split("-----END", 1)[0]
                                    + "-----END CERTIFICATE-----\n")  # fmt: skip


class TestPreEstablishedConnections:
    def test_are_made_anew(self, reloadable, scripted_server, credentials, authority):
        server = scripted_server(lambda peer: peer.accept_tls(credentials))
        running = reloadable(server.upstream(sslrootcert=str(authority.file), preconnect=2))
        server.wait_for_encrypted(2)  # one that is still in its handshake would end without close_notify
        running.reload_successfully()
        eventually(lambda: len(server.peers) == 4)
        assert server.finished_peer(0).rest == server.finished_peer(1).rest == b""


class TestWatch:
    """Nobody sends a signal: pgveil notices that files have changed."""

    WATCH = {"watch": True}

    @staticmethod
    def wait_for_reload(proxy, before: int) -> None:
        proxy.wait_for_line(" I reloaded trigger=file_watch ", after=before)

    def test_is_on_by_default(self, folder, pgveil, postgres):
        rules = folder / "pg_hba.conf"
        replace_file(rules, "host all billing all trust\n")
        proxy = pgveil(postgres.unix_upstream(), listener={"hba_file": str(rules)})
        replace_file(rules, "host all orders all trust\n")
        proxy.wait_for_line(" I reloaded trigger=file_watch ")
        assert proxy.query("SELECT current_user", user="orders") == "orders"

    def test_notices_a_file_that_is_written_in_place(self, folder, pgveil, postgres):
        rules = folder / "pg_hba.conf"
        rules.write_text("host all billing all trust\n", encoding="utf-8")
        proxy = pgveil(postgres.unix_upstream(), listener={"hba_file": str(rules)})
        rules.write_text("host all orders all trust\n", encoding="utf-8")
        proxy.wait_for_line(" I reloaded trigger=file_watch ")
        # The file may have been read while it was empty. It is read once more then.
        eventually(lambda: proxy.psql("SELECT current_user", user="orders").stdout == "orders\n")

    def test_can_be_switched_off_and_on_again(self, reloadable):
        running = reloadable(reload={"watch": True})
        running.configuration["reload"] = {"watch": False}
        before = len(running.proxy.lines)
        running.write()
        self.wait_for_reload(running.proxy, before)
        running.configuration["listener"][0]["hba"] = "host all orders 127.0.0.1/32 trust"
        running.write()
        running.configuration["reload"] = {"watch": True}
        before = len(running.proxy.lines)
        running.reload_successfully()  # by SIGHUP
        assert [line for line in running.proxy.lines[before:] if "file_watch" in line] == []
        before = len(running.proxy.lines)
        running.configuration["listener"][0]["hba"] = "host all billing 127.0.0.1/32 trust"
        running.write()
        self.wait_for_reload(running.proxy, before)

    def test_ignores_a_file_whose_content_stays(self, reloadable):
        running = reloadable(reload=self.WATCH)
        for _ in range(3):
            running.write()
            os.utime(running.file)
        running.configuration["listener"][0]["hba"] = "host all orders 127.0.0.1/32 trust"
        running.write()
        self.wait_for_reload(running.proxy, 0)
        assert running.proxy.log.count(" reloaded ") == 1

    def test_reports_an_error_once_and_the_correction_at_once(self, reloadable):
        running = reloadable(reload=self.WATCH)
        rules = running.configuration["listener"][0]
        rules["hba"] = "host all billing 127.0.0.1/32 turst"
        running.write()
        running.proxy.wait_for_line(" E reload_failed trigger=file_watch errors=1 ")
        rules["hba"] = "host all orders 127.0.0.1/32 trust"
        running.write()
        self.wait_for_reload(running.proxy, 0)
        assert running.proxy.log.count("reload_failed") == 1
        assert running.proxy.query("SELECT current_user", user="orders") == "orders"

    def test_notices_the_update_of_a_kubernetes_volume(self, reloadable, folder, authority):
        """As kubelet makes it (pkg/volume/util/atomic_writer.go)."""
        volume = folder / "tls"
        volume.mkdir()
        certificates = [authority.issue("localhost", dns=["localhost"]) for _ in range(3)]

        def publish(number: int) -> None:
            version = volume / f"..2026_11_{number:02}"
            version.mkdir()
            shutil.copy(certificates[number].certificate, version / "tls.crt")
            shutil.copy(certificates[number].key, version / "tls.key")
            (volume / "..data_tmp").symlink_to(version.name)
            (volume / "..data_tmp").rename(volume / "..data")
            if number > 0:
                shutil.rmtree(volume / f"..2026_11_{number - 1:02}")

        publish(0)
        for name in ("tls.crt", "tls.key"):
            (volume / name).symlink_to(f"..data/{name}")
        running = reloadable(
            listener={"ssl_cert_file": str(volume / "tls.crt"), "ssl_key_file": str(volume / "tls.key")},
            reload=self.WATCH,
        )
        for number in (1, 2):
            before = len(running.proxy.lines)
            publish(number)
            self.wait_for_reload(running.proxy, before)
            assert certificate_shown(running.proxy.address, authority) == der(certificates[number])
        assert "reload_failed" not in running.proxy.log

    def test_notices_a_directory_that_disappears_and_returns(self, reloadable, folder, authority):
        directory = folder / "certs"
        first, second = (authority.issue("localhost", dns=["localhost"]) for _ in range(2))

        def place(credentials) -> None:
            directory.mkdir()
            shutil.copy(credentials.certificate, directory / "server.crt")
            shutil.copy(credentials.key, directory / "server.key")

        place(first)
        running = reloadable(
            listener={"ssl_cert_file": str(directory / "server.crt"), "ssl_key_file": str(directory / "server.key")},
            reload=self.WATCH,
        )
        shutil.rmtree(directory)
        running.proxy.wait_for_line(" E reload_failed ")
        assert certificate_shown(running.proxy.address, authority) == der(first)
        place(second)
        self.wait_for_reload(running.proxy, 0)
        assert certificate_shown(running.proxy.address, authority) == der(second)

    def test_notices_a_file_that_a_failed_reload_has_missed(self, reloadable, folder):
        """The configuration names a file that is written later."""
        running = reloadable(reload=self.WATCH)
        rules = folder / "later.conf"
        running.configuration["listener"][0]["hba_file"] = str(rules)
        running.write()
        running.proxy.wait_for_line(" E reload_failed ")
        replace_file(rules, "host all orders all trust\n")
        self.wait_for_reload(running.proxy, 0)
        assert running.proxy.query("SELECT current_user", user="orders") == "orders"

    def test_notices_files_that_rules_include(self, reloadable, folder):
        included = folder / "rules.d"
        included.mkdir()
        replace_file(included / "10-first.conf", "host all billing all trust\n")
        running = reloadable(listener={"hba": f"include_dir {included}"}, reload=self.WATCH)
        replace_file(included / "20-second.conf", "host all orders all trust\n")
        self.wait_for_reload(running.proxy, 0)
        assert running.proxy.query("SELECT current_user", user="orders") == "orders"
        before = len(running.proxy.lines)
        replace_file(included / "10-first.conf", "host all billing all reject\n")
        self.wait_for_reload(running.proxy, before)
        assert "pg_hba.conf rejects connection" in running.proxy.psql("SELECT 1", user="billing").stderr

    def test_notices_the_correction_of_an_included_file(self, reloadable, folder):
        included = folder / "extra.conf"
        running = reloadable(reload=self.WATCH)
        replace_file(included, "nonsense\n")
        running.configuration["listener"][0]["hba"] = f"include {included}"
        running.write()
        running.proxy.wait_for_line(" E reload_failed ")
        replace_file(included, "host all orders all trust\n")
        self.wait_for_reload(running.proxy, 0)
        assert running.proxy.query("SELECT current_user", user="orders") == "orders"

    def test_reports_an_error_while_other_files_change_all_the_time(self, reloadable, folder):
        included = folder / "rules.d"
        included.mkdir()
        replace_file(included / "10.conf", "nonsense\n")
        running = reloadable(reload=self.WATCH)
        running.configuration["listener"][0]["hba"] = f"include_dir {included}"
        running.write()
        for number in range(200):
            replace_file(included / "20.conf", f"# {number}\n")
            if " E reload_failed " in running.proxy.log:
                return
            time.sleep(0.05)
        pytest.fail("the error was not reported")

    def test_notices_a_new_revocation_list_in_a_directory(self, reloadable, folder, authority):
        server = authority.issue("localhost", dns=["localhost"])
        client = authority.issue_to_client("billing")
        for name in ("crl", "newer"):
            (folder / name).mkdir()
        lists = rehashed(folder / "crl", authority.revoke())
        running = reloadable(
            listener={
                "ssl_cert_file": str(server.certificate), "ssl_key_file": str(server.key),
                "ssl_ca_file": str(authority.file), "ssl_crl_dir": str(lists), "hba": "hostssl all all all cert",
            },
            reload=self.WATCH,
        )  # fmt: skip
        shown = {"user": "billing", "sslrootcert": authority.file, "sslcert": client.certificate, "sslkey": client.key}
        psycopg2.connect(running.proxy.tls_string(**shown)).close()
        rehashed(folder / "newer", authority.revoke(client))
        for file in (folder / "newer").iterdir():
            shutil.copy(file, lists / file.name)
        self.wait_for_reload(running.proxy, 0)
        with pytest.raises(psycopg2.OperationalError, match="certificate revoked"):
            psycopg2.connect(running.proxy.tls_string(**shown))

    def test_says_that_it_cannot_watch(self, folder, pgveil, postgres):
        """In a user namespace that has no inotify instance (user_namespaces(7))."""
        limit = "echo 0 > /proc/sys/user/max_inotify_instances"
        namespace = ("unshare", "--user", "--map-root-user", "sh", "-c")
        if run(*namespace, limit).returncode != 0:
            pytest.skip("no user namespaces are permitted here")
        proxy = pgveil(postgres.unix_upstream(), prefix=(*namespace, limit + ' && exec "$@"', "sh"))
        line = proxy.wait_for_line(" W watch_failed ").string
        assert 'error="inotify_init1: Too many open files"' in line and "send SIGHUP after a change" in line
        assert " I reloaded trigger=SIGHUP " in proxy.reload()[-1]


class TestTheServiceManager:
    @pytest.fixture
    def told(self, folder):
        """The socket of the service manager, and a function that waits for its next message."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(folder / "notify"))
            manager.settimeout(20)
            yield lambda: dict(line.split("=", 1) for line in manager.recv(4096).decode().splitlines())

    def test_is_told_of_start_reload_and_end(self, folder, told, pgveil, postgres):
        rules = folder / "pg_hba.conf"
        rules.write_text("host all billing all trust\n", encoding="utf-8")
        proxy = pgveil(postgres.unix_upstream(), listener={"hba_file": str(rules)}, reload={"watch": False},
                       variables={"NOTIFY_SOCKET": str(folder / "notify")})  # fmt: skip
        assert told() == {"READY": "1", "STATUS": "serves clients"}
        before = time.clock_gettime(time.CLOCK_MONOTONIC)
        proxy.reload()
        reloading = told()
        assert reloading["RELOADING"] == "1"
        assert before <= int(reloading["MONOTONIC_USEC"]) / 1e6 <= time.clock_gettime(time.CLOCK_MONOTONIC)
        assert told() == {"READY": "1", "STATUS": "serves clients; the last reload succeeded"}
        rules.write_text("nonsense\n", encoding="utf-8")
        proxy.reload()
        assert told()["RELOADING"] == "1"
        assert told() == {"READY": "1", "STATUS": "serves clients; the last reload failed, see the log"}
        assert proxy.stop() == 0
        assert told() == {"STOPPING": "1", "STATUS": "finishes its sessions"}

    def test_is_told_of_the_end_of_a_reload_during_which_a_file_was_written(self, folder, told, pgveil, postgres):
        """As `systemctl reload` after a change that the watch notices, too."""
        rules = folder / "pg_hba.conf"
        rules.write_text("host all billing all trust\n", encoding="utf-8")
        proxy = pgveil(postgres.unix_upstream(), listener={"hba_file": str(rules)},
                       variables={"NOTIFY_SOCKET": str(folder / "notify")})  # fmt: skip
        assert "READY" in told()
        for number in range(20):
            rules.write_text(f"host all billing all trust # {number}\n", encoding="utf-8")
            time.sleep(0.24 + 0.001 * number)  # the watch looks after 250 ms
            proxy.send_signal(signal.SIGHUP)
            while "RELOADING" not in told():
                pass  # READY after a reload of the watch
            while "READY" not in told():
                pass
        assert proxy.stop() == 0
