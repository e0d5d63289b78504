"""The admin database: `psql dbname=pgveil`, SHOW and orders, for the users of admin_users."""

import contextlib
import re
import signal
import socket
import struct
from pathlib import Path

import psycopg2
import pytest

from harness import wire
from harness.admin import Admin
from harness.java import JDBC_DRIVER, compiled, newest_java
from harness.pgveil import BINARY, EX_CONFIG, toml
from harness.postgres import PASSWORD
from harness.processes import eventually, run
from harness.reloadable import Reloadable
from harness.secrets import secret_file
from harness.tls_clients import certificate, run_psql, shown, tls_client

RULES = """
host pgveil operator,billing all trust
host all all all relay
"""
CONSOLE = {"admin_database": "pgveil", "admin_users": "operator", "hba": RULES}
OPERATOR = {"user": "operator", "dbname": "pgveil"}


@pytest.fixture
def proxy(pgveil, postgres):
    return pgveil(postgres.upstream(), listener=CONSOLE)


@contextlib.contextmanager
def connected(proxy, **parameters):
    """psycopg2, as a tool that people write."""
    connection = psycopg2.connect(proxy.connection_string(**{**OPERATOR, **parameters}))
    connection.autocommit = True
    with contextlib.closing(connection):
        yield connection


def rows(proxy, statement: str, **parameters) -> list[dict]:
    with connected(proxy, **parameters) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]


class TestShow:
    def test_sessions(self, proxy):
        with proxy.connect() as client:
            client.log_in(user="trusted", database="ledger")
            client.rows("BEGIN")
            session, own = rows(proxy, "SHOW SESSIONS")
        assert (session["user"], session["database"], session["upstream"]) == ("trusted", "ledger", "primary")
        assert (session["phase"], session["state"], session["client_tls"]) == ("relay", "in_transaction", None)
        assert session["server_tls"] == "TLSv1.3" and session["bytes_to_client"] > 0 and session["age_seconds"] >= 0
        assert (own["user"], own["database"], own["upstream"], own["server"]) == ("operator", "pgveil", "(pgveil)", "unix")

    def test_upstreams_and_certificates(self, proxy):
        assert proxy.query("SELECT 1") == "1"
        (upstream,) = rows(proxy, "SHOW UPSTREAMS")
        assert (upstream["upstream"], upstream["verdict"], upstream["sslmode"]) == ("primary", "verified", "verify-full")
        assert upstream["certificate"] and upstream["days_left"] >= 0
        certificates = rows(proxy, "SHOW CERTIFICATES")
        assert certificates and all(each["file"] and each["not_after"] for each in certificates)

    def test_stats(self, proxy):
        assert proxy.query("SELECT 1") == "1"
        (listener,) = rows(proxy, "SHOW STATS")
        assert (listener["logins_accepted"], listener["logins_refused"], listener["sessions"]) == (2, 0, 1)
        # The workers are asked for these, and one that is busy is not waited for.
        assert eventually(lambda: rows(proxy, "SHOW STATS")[0]["bytes_to_client"] > 0)
        assert eventually(lambda: rows(proxy, "SHOW STATS")[0]["start_p50"] > 0)

    def test_the_same_as_the_page(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream(), listener=CONSOLE, admin={"address": "127.0.0.1:0"})
        version = rows(proxy, "SHOW VERSION")[0]
        page = Admin(proxy).state()
        assert version == {name: page["version" if name == "pgveil" else name] for name in version}

    def test_config_without_secrets(self, pgveil, postgres, tmp_path):
        upstream = postgres.upstream() | {"password_command": ["/bin/echo", "hunter2"]}
        rules = RULES + "host ledger trusted all trust\n"
        proxy = pgveil(upstream, listener={**CONSOLE, "hba": rules}, limits={"idle_timeout": "7s"})
        settings = {(row["section"], row["key"]): row for row in rows(proxy, "SHOW CONFIG")}
        assert settings["limits", "idle_timeout"]["value"] == "7s"
        assert settings["limits", "idle_timeout"]["default"] == "0s"
        assert settings["limits", "workers"]["changed_by"] == "restart"
        assert settings["listener[0]", "admin_users"]["value"] == "operator"
        assert settings["listener[0]", "hba"]["value"].strip() == rules.strip()
        assert settings["upstream.primary", "host"]["value"] == upstream["host"]
        assert settings["upstream.primary", "password_command"]["value"] == '["/bin/echo", ...]'
        assert not any("hunter2" in str(row) for row in settings.values())

    def test_help_names_every_statement(self, proxy):
        statements = [row["statement"] for row in rows(proxy, "SHOW HELP")]
        assert len(statements) == 10
        for statement in statements:
            if statement.startswith("SHOW"):
                assert rows(proxy, statement) or statement == "SHOW CERTIFICATES"

    def test_in_psql(self, proxy):
        done = proxy.psql("show version;", "SHOW  sessions", **OPERATOR)
        assert done.returncode == 0 and "|operator|pgveil|" in done.stdout, done
        failed = proxy.psql("SELECT 1", **OPERATOR)
        assert "ERROR:  pgveil: this is not a statement of the admin database" in failed.stderr
        assert "SHOW HELP" in failed.stderr

    def test_many_sessions(self, proxy):
        """The answer is larger than what the kernel takes at once, and the client reads slowly."""
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(console(proxy)) for _ in range(300)]
            client = clients[0]
            for _ in range(5):
                client.send(wire.query("SHOW SESSIONS; " * 20))
                messages = client.receive_until(b"Z")
                assert sum(kind == b"D" for kind, _ in messages) == 300 * 20


@contextlib.contextmanager
def console(proxy, user="operator"):
    with proxy.connect() as client:
        client.send(wire.startup_message(user=user, database="pgveil"))
        messages = dict(client.receive_until(b"Z"))
        assert messages[b"R"] == struct.pack("!I", 0)
        yield client


class TestOrders:
    def test_reload(self, proxy):
        before = len(proxy.lines)
        assert proxy.psql("RELOAD", **OPERATOR).returncode == 0
        line = proxy.wait_for_line(r" admin_statement session=\S+ user=operator statement=RELOAD", after=before)
        assert line
        proxy.wait_for_line(" reloaded trigger=RELOAD ", after=before)

    def test_terminate(self, proxy):
        with proxy.connect() as client:
            client.log_in(user="trusted", database="ledger")
            session = next(row["session"] for row in rows(proxy, "SHOW SESSIONS") if row["user"] == "trusted")
            assert proxy.psql(f"TERMINATE '{session}'", **OPERATOR).returncode == 0
            assert client.receive_error()["C"] == "57P01"
        message = f"there is no session {session}"  # once the list of sessions, which is up to 200 ms old, is made anew
        eventually(lambda: message in proxy.psql(f"TERMINATE {session}", **OPERATOR).stderr)

    def test_shutdown_lets_transactions_end(self, proxy):
        with proxy.connect() as client, console(proxy) as operator:
            client.log_in(user="trusted", database="ledger")
            client.rows("BEGIN")
            operator.send(wire.query("SHUTDOWN"))
            assert (b"C", b"SHUTDOWN\0") in operator.receive_until(b"Z")
            assert operator.receive_error()["C"] == "57P01"
            proxy.wait_for_line(" stopping signal=SHUTDOWN")
            client.send(wire.query("COMMIT"))
            client.receive_until(b"Z")
            assert client.receive_error()["C"] == "57P01"
        assert proxy.wait() == 0

    def test_a_reload_is_refused_while_pgveil_drains(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream(), listener=CONSOLE, limits={"drain_delay": "60s"})
        with console(proxy) as operator:
            proxy.send_signal(signal.SIGTERM)
            proxy.wait_for_line(" stopping ")
            operator.send(wire.query("RELOAD"))
            error = operator.receive_error()
            assert (error["C"], error["M"]) == ("55000", "pgveil: pgveil is shutting down")
            assert "another pgveil" in error["H"]


class TestAccess:
    def test_only_for_users_of_admin_users(self, proxy):
        failed = proxy.psql("SHOW VERSION", user="billing", dbname="pgveil")
        assert 'User "billing" is not in admin_users' in failed.stderr
        proxy.wait_for_line("reason=admin_database_denied .*sqlstate=42501")

    @pytest.mark.parametrize("method", ["relay", "password"])
    def test_not_with_a_method_by_which_the_server_authenticates(self, pgveil, postgres, authority, credentials, method):
        """Nobody would have authenticated the client."""
        rules = f"hostssl pgveil all all {method}\nhostssl all all all trust\n"
        proxy = pgveil(postgres.upstream(), listener=certificate(credentials, **{**CONSOLE, "hba": rules}))
        with tls_client(proxy, authority) as client:
            client.send(wire.startup_message(user="operator", database="pgveil"))
            assert client.receive_error()["C"] == "42501"

    def test_with_scram(self, pgveil, postgres, folder):
        users = secret_file(folder / "users.txt", f'"operator" "{PASSWORD}"\n')
        rules = "host pgveil all all scram-sha-256\nhost all all all relay\n"
        proxy = pgveil(postgres.upstream(), listener={**CONSOLE, "hba": rules, "auth_file": str(users)})
        assert len(rows(proxy, "SHOW VERSION", password=PASSWORD)) == 1
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            rows(proxy, "SHOW VERSION", password="wrong")

    def test_only_a_user_who_has_logged_in_learns_who_may(self, pgveil, postgres, folder):
        """With SCRAM. Otherwise the names of admin_users could be tried out without a password."""
        users = secret_file(folder / "users.txt", f'"operator" "{PASSWORD}"\n"billing" "{PASSWORD}"\n')
        rules = "host pgveil all all scram-sha-256\nhost all all all relay\n"
        proxy = pgveil(postgres.upstream(), listener={**CONSOLE, "hba": rules, "auth_file": str(users)})
        for user in ("operator", "billing", "nobody"):
            with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
                rows(proxy, "SHOW VERSION", user=user, password="wrong")
        with pytest.raises(psycopg2.OperationalError, match="permission denied for the admin database"):
            rows(proxy, "SHOW VERSION", user="billing", password=PASSWORD)
        proxy.wait_for_line(r" session_closed .*reason=admin_database_denied .*user=billing .*sqlstate=42501")

    def test_by_certificate(self, pgveil, postgres, authority, credentials):
        rules = "hostssl pgveil all all cert map=operators\nhostssl all all all relay\n"
        client = authority.issue_to_client("alice@example.com")
        proxy = pgveil(postgres.upstream(), listener=certificate(credentials, **{
            **CONSOLE, "hba": rules, "ident": "operators alice@example.com operator", "ssl_ca_file": str(authority.file)}))  # fmt: skip
        done = run_psql(proxy, authority, "SHOW SESSIONS", user="operator", dbname="pgveil", **shown(client))
        assert done.returncode == 0 and "CN=alice@example.com" in done.stdout, done

    def test_replication_goes_to_the_server(self, pgveil, postgres):
        """The rules are asked for `replication`, and not for this database."""
        rules = "host replication operator all trust\nhost pgveil operator all reject\nhost all all all relay\n"
        proxy = pgveil(postgres.unix_upstream(), listener={**CONSOLE, "hba": rules})
        with proxy.connect() as client:
            client.send(wire.startup_message(user="operator", database="pgveil", replication="true"))
            assert client.receive_error()["M"] == "pgveil: the server does not let the proxy log in as this user"

    @pytest.mark.parametrize("setting", ["database", "default_database"])
    def test_its_name_is_no_default(self, folder, postgres, setting):
        file = folder / "pgveil.toml"
        file.write_text(toml({
            "listener": [{"address": "127.0.0.1:0", "upstream": "primary", **CONSOLE, setting: "pgveil"}],
            "upstream": {"primary": postgres.unix_upstream()},
        }), encoding="utf-8")  # fmt: skip
        done = run(BINARY, "check", "--config", file)
        assert done.returncode == EX_CONFIG and "is the admin database, so that clients would not reach the server" in done.stderr

    def test_other_databases_are_the_servers(self, proxy):
        failed = proxy.psql("SHOW VERSION", user="trusted", dbname="ledger")
        assert "unrecognized configuration parameter" in failed.stderr

    def test_a_fixed_database_does_not_hide_it(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream(), listener={**CONSOLE, "database": "ledger"})
        assert len(rows(proxy, "SHOW VERSION")) == 1
        assert proxy.query("SELECT current_database()", dbname="other") == "ledger"

    def test_the_server_is_not_needed(self, pgveil):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        proxy = pgveil({"host": "127.0.0.1", "port": port, "sslmode": "disable"}, listener=CONSOLE)
        (upstream,) = rows(proxy, "SHOW UPSTREAMS")
        assert upstream["verdict"] == "unknown"


class TestAReload:
    @pytest.fixture
    def reloadable(self, folder, pgveil, postgres):
        def start(**listener):
            return Reloadable(folder, pgveil, {
                "listener": [{"address": "127.0.0.1:0", "upstream": "primary", **listener}],
                "upstream": {"primary": postgres.unix_upstream()},
                "reload": {"watch": False, "sessions": "revalidate"},
            })  # fmt: skip

        return start

    def test_may_begin_it(self, reloadable):
        reloaded = reloadable(hba=RULES)
        reloaded.configuration["listener"][0].update(CONSOLE)
        reloaded.reload_successfully()
        assert len(rows(reloaded.proxy, "SHOW VERSION")) == 1

    def test_ends_the_session_of_a_user_who_is_removed(self, reloadable):
        reloaded = reloadable(**CONSOLE)
        with console(reloaded.proxy) as operator:
            reloaded.configuration["listener"][0]["admin_users"] = "billing"
            reloaded.reload_successfully()
            assert operator.receive_error()["C"] == "57P01"
        reloaded.proxy.wait_for_line("reason=no_longer_admitted .*A new login would be refused: .*is not in admin_users of the listener")

    def test_ends_the_sessions_of_a_database_that_is_served_otherwise_now(self, reloadable):
        reloaded = reloadable(**{**CONSOLE, "hba": RULES.replace("host pgveil", "host pgveil,ledger")})
        with console(reloaded.proxy) as operator, reloaded.proxy.connect() as client:
            client.log_in(user="billing", database="ledger")
            reloaded.configuration["listener"][0]["admin_database"] = "ledger"
            reloaded.reload_successfully()
            assert operator.receive_error()["C"] == client.receive_error()["C"] == "57P01"
        reloaded.proxy.wait_for_line("reason=no_longer_admitted .*is not the admin database any more")
        reloaded.proxy.wait_for_line("reason=no_longer_admitted .*is the admin database now")


class TestTheProtocol:
    def test_libpq_that_wants_a_primary(self, proxy):
        assert proxy.psql("SHOW VERSION", **OPERATOR, target_session_attrs="read-write").returncode == 0

    def test_one_byte_at_a_time(self, proxy):
        with console(proxy) as operator:
            for byte in wire.query("SHOW VERSION"):
                operator.send(bytes([byte]))
            assert [kind for kind, _ in operator.receive_until(b"Z")] == [b"T", b"D", b"C", b"Z"]

    def test_the_extended_protocol(self, proxy):
        with console(proxy) as operator:
            operator.send(wire.parse("SHOW VERSION"), wire.BIND, wire.message(b"D", b"P\0"), wire.EXECUTE, wire.SYNC)
            assert [kind for kind, _ in operator.receive_until(b"Z")] == [b"1", b"2", b"T", b"D", b"C", b"Z"]

    def test_the_jdbc_driver(self, proxy, folder):
        """It uses the extended protocol, and binary results after some executions."""
        program = compiled(Path(__file__).parent / "drivers/AdminDatabase.java", folder, JDBC_DRIVER)
        if not program:
            pytest.skip("libpostgresql-jdbc-java or a JDK is not installed")
        host, port = proxy.address
        done = run(newest_java(), "-Xmx64m", "-cp", program, "AdminDatabase",
                   f"jdbc:postgresql://{host}:{port}/pgveil?sslmode=disable&user=operator")  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "logins_accepted 1"

    def test_a_message_that_is_too_long_ends_the_session(self, proxy):
        with console(proxy) as operator:
            operator.send(b"Q" + struct.pack("!I", 100_000) + b"x" * 1_000)
            error = operator.receive_error()
            assert (error["S"], error["C"]) == ("FATAL", "08P01")
            operator.receive_to_end()
        assert len(rows(proxy, "SHOW VERSION")) == 1

    def test_a_client_that_does_not_read_delays_nobody(self, proxy):
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(console(proxy)) for _ in range(50)]
            for client in clients:
                for _ in range(50):
                    client.send(wire.query("SHOW CONFIG; " * 20))
            assert len(rows(proxy, "SHOW VERSION")) == 1
            assert proxy.query("SELECT 1") == "1"

    def test_a_client_that_leaves_is_forgotten(self, proxy):
        for _ in range(20):
            with console(proxy):
                pass
        eventually(lambda: len(rows(proxy, "SHOW SESSIONS")) == 1)


def test_a_listener_without_the_setting_has_none(pgveil, postgres):
    proxy = pgveil(postgres.upstream())
    failed = proxy.psql("SHOW VERSION", dbname="pgveil")
    assert re.search(r'database "pgveil" does not exist', failed.stderr)
