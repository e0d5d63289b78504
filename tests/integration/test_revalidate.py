"""`[reload] sessions = "revalidate"`: a reload ends the sessions that it would not admit, and no others."""

import contextlib
import datetime
import re
import select
import shutil
import threading

import psycopg2
import pytest

from harness.certificates import DAY, Authority
from harness.postgres import PASSWORD
from harness.processes import PATIENCE, eventually
from harness.reloadable import Reloadable
from harness.secrets import secret_file
from harness.wire import message, query, startup_message

ENDED = "pgveil: terminating connection because it is no longer admitted"
TRUST = "host all billing,orders 127.0.0.1/32 trust"


class Revalidating(Reloadable):
    """With one worker, so that one line of the log counts all sessions."""

    def counts(self) -> dict[str, int]:
        """Reloads, and returns what the pass over the sessions has found."""
        before = len(self.proxy.lines)
        self.reload_successfully()
        line = self.proxy.wait_for_line(r" I sessions_revalidated .*", after=before).string
        return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", line.split("sessions_revalidated")[1])}

    def revalidate(self, *, checked: int, ended: int) -> None:
        counts = self.counts()
        assert (counts["checked"], counts["ended"], counts["without_data"]) == (checked, ended, 0), self.proxy.log


@pytest.fixture
def revalidating(folder, pgveil, postgres):
    """Starts a Revalidating with these listeners, by default for PostgreSQL at its Unix socket."""

    def start(*listeners: dict, upstreams=None, sessions="revalidate", **sections):
        return Revalidating(folder, pgveil, {
            "listener": [{"address": "127.0.0.1:0", "upstream": "primary", **listener} for listener in listeners],
            "upstream": upstreams or {"primary": postgres.unix_upstream()},
            "reload": {"watch": False, "sessions": sessions},
            "limits": {"workers": 1},
            **sections,
        })  # fmt: skip

    return start


@pytest.fixture
def certificates(authority, credentials, folder):
    """A listener that lets clients in by certificate. Its files are the test's own."""
    file = folder / "clients-ca.crt"
    shutil.copy(authority.file, file)
    return {
        "ssl_cert_file": str(credentials.certificate),
        "ssl_key_file": str(credentials.key),
        "ssl_ca_file": str(file),
        "hba": "hostssl all all all cert",
    }


@pytest.fixture
def connect(authority):
    """Opens sessions; each is closed after the test."""
    opened = []

    def open_session(proxy, user, client=None, address=None, **parameters):
        if client:
            parameters.update(sslrootcert=authority.file, sslcert=client.certificate, sslkey=client.key)
            text = proxy.tls_string(user=user, **parameters)
        else:
            text = proxy.connection_string(user=user, **parameters)
        if address:
            text += f" port='{address[1]}'"
        session = psycopg2.connect(text)
        opened.append(session)
        session.autocommit = True
        return session

    yield open_session
    for session in opened:
        session.close()


def rows(session, sql: str = "SELECT 1") -> list[tuple]:
    with session.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def assert_works(*sessions) -> None:
    for session in sessions:
        assert rows(session) == [(1,)]


def assert_ended(session, detail: str) -> None:
    """libpq treats an error that is not the answer of a statement as a notice."""
    select.select([session], [], [], PATIENCE)
    with contextlib.suppress(psycopg2.OperationalError):
        session.poll()
    said = "".join(session.notices)
    assert ENDED in said and detail in said, said
    with pytest.raises((psycopg2.OperationalError, psycopg2.InterfaceError)):
        rows(session)
    assert session.closed


class TestClientCertificate:
    @pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
    def test_that_is_revoked(self, revalidating, certificates, authority, connect, folder, version):
        billing, orders = (authority.issue_to_client(user) for user in ("billing", "orders"))
        crl = folder / "clients.crl"
        shutil.copy(authority.revoke(), crl)
        running = revalidating({**certificates, "ssl_crl_file": str(crl), "ssl_max_protocol_version": version})
        ends, stays = connect(running.proxy, "billing", billing), connect(running.proxy, "orders", orders)
        shutil.copy(authority.revoke(billing), crl)
        running.revalidate(checked=2, ended=1)
        line = running.proxy.wait_for_line(r" I session_closed .*reason=no_longer_admitted.*").string
        assert 'user=billing' in line and "sqlstate=57P01" in line
        assert 'detail="The certificate of the client is no longer accepted: certificate revoked.' in line
        assert_ended(ends, 'The certificate of "CN=billing" was revoked by its issuer "CN=test root".')
        assert_works(stays)
        running.revalidate(checked=1, ended=0)

    def test_that_has_expired(self, revalidating, certificates, authority, connect):
        billing = authority.issue_to_client("billing", lifetime=DAY + datetime.timedelta(seconds=5))
        orders = authority.issue_to_client("orders")
        running = revalidating(certificates)
        ends, stays = connect(running.proxy, "billing", billing), connect(running.proxy, "orders", orders)
        eventually(lambda: running.counts()["ended"] == 1)
        assert_ended(ends, 'The certificate of "CN=billing" expired on ')
        assert_works(stays)

    def test_whose_authority_is_gone(self, revalidating, certificates, authority, connect, folder):
        other = Authority(folder, "other root")
        both = certificates["ssl_ca_file"]
        with open(both, "ab") as file:
            file.write(other.file.read_bytes())
        running = revalidating(certificates)
        ends = connect(running.proxy, "billing", authority.issue_to_client("billing"))
        stays = connect(running.proxy, "orders", other.issue_to_client("orders"))
        shutil.copy(other.file, both)
        running.revalidate(checked=2, ended=1)
        assert_ended(ends, "leads to no trusted authority")
        assert_works(stays)

    def test_that_the_listener_does_not_ask_for_any_more(self, revalidating, certificates, authority, connect):
        running = revalidating({**certificates, "hba": "hostssl all all all trust clientcert=verify-ca"})
        ends = connect(running.proxy, "billing", authority.issue_to_client("billing"))
        listener = running.configuration["listener"][0]
        del listener["ssl_ca_file"]
        listener["hba"] = "hostssl all all 127.0.0.0/8 trust"
        running.revalidate(checked=1, ended=0)
        assert_works(ends)

    def test_that_is_missing(self, revalidating, certificates, authority, connect):
        """It came without a certificate, which the rules did not ask for."""
        running = revalidating({**certificates, "hba": "hostssl all all 127.0.0.0/8 trust"})
        listener = running.configuration["listener"][0]
        ends = connect(running.proxy, "billing", sslmode="require")
        listener["hba"] = "hostssl all all 127.0.0.0/8 trust clientcert=verify-ca"
        running.revalidate(checked=1, ended=1)
        assert_ended(ends, "A new login would be refused: connection requires a valid client certificate.")


class TestUser:
    def test_whom_no_rule_admits(self, revalidating, connect):
        running = revalidating({"hba": TRUST})
        ends, stays = connect(running.proxy, "billing"), connect(running.proxy, "orders")
        running.configuration["listener"][0]["hba"] = "host all orders 127.0.0.1/32 trust"
        running.revalidate(checked=2, ended=1)
        assert_ended(ends, 'A new login would be refused: no pg_hba.conf entry for host "127.0.0.1", user "billing"')
        assert_works(stays)

    def test_who_is_removed_from_the_map(self, revalidating, certificates, authority, connect):
        running = revalidating({**certificates, "hba": "hostssl all all all cert map=people",
                                "ident": "people anne billing\npeople anne orders"})  # fmt: skip
        anne = authority.issue_to_client("anne")
        ends, stays = connect(running.proxy, "billing", anne), connect(running.proxy, "orders", anne)
        running.configuration["listener"][0]["ident"] = "people anne orders"
        running.revalidate(checked=2, ended=1)
        assert_ended(ends, 'The client certificate has the name "anne"')
        assert_works(stays)

    def test_to_whom_another_user_is_assigned(self, revalidating, certificates, authority, connect):
        """Both have asked for the same user."""
        running = revalidating({**certificates, "hba": "hostssl all all all cert map=people assign=1",
                                "ident": "people anne billing\npeople bert orders"})  # fmt: skip
        anne, bert = (connect(running.proxy, "somebody", authority.issue_to_client(name), dbname="ledger")
                      for name in ("anne", "bert"))  # fmt: skip
        assert rows(anne, "SELECT current_user") == [("billing",)]
        running.configuration["listener"][0]["ident"] = "people anne orders\npeople bert orders"
        running.revalidate(checked=2, ended=1)
        assert_ended(anne, 'The rules assign the database user "orders" now, in place of "billing".')
        assert_works(bert)

    def test_who_has_to_log_in_by_another_method(self, revalidating, connect, folder):
        running = revalidating({"hba": "host all all 127.0.0.1/32 trust"})
        ends = connect(running.proxy, "billing")
        running.configuration["listener"][0]["hba"] = "host all all 127.0.0.1/32 relay"
        running.revalidate(checked=1, ended=1)
        assert_ended(ends, "requires method relay now, in place of trust.")

    @pytest.mark.parametrize("form", ["passwords", "verifiers"])
    def test_who_is_in_the_auth_file_with_another_secret_or_not_at_all(self, revalidating, postgres, connect, folder,
                                                                       form):  # fmt: skip
        """The salts of plain passwords depend on the whole file: another line of it must make no difference."""
        verifier = postgres.admin("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")
        app = f'"app" "{PASSWORD if form == "passwords" else verifier}"\n'
        file = secret_file(folder / "users.txt", app + '"other" "x"\n')
        running = revalidating({"hba": "host all app 127.0.0.1/32 scram-sha-256", "auth_file": file})
        session = connect(running.proxy, "app", password=PASSWORD)
        secret_file(file, '"another" "y"\n' + app)
        running.revalidate(checked=1, ended=0)
        assert_works(session)
        secret_file(file, '"app" "another password"\n')
        running.revalidate(checked=1, ended=1)
        assert_ended(session, 'auth_file has another secret for user "app" now.')
        secret_file(file, app)
        running.reload_successfully()
        session = connect(running.proxy, "app", password=PASSWORD)
        secret_file(file, '"other" "x"\n')
        running.revalidate(checked=1, ended=1)
        assert_ended(session, 'User "app" is not in auth_file any more.')


class TestServerCertificate:
    @pytest.fixture
    def upstreams(self, postgres, folder):
        """Two names of one server, each with a root file of its own."""
        files = {name: folder / f"{name}.crt" for name in ("primary", "other")}
        for file in files.values():
            shutil.copy(postgres.authority.file, file)
        return {name: postgres.upstream(sslrootcert=str(file)) for name, file in files.items()}

    def test_whose_authority_is_gone(self, revalidating, upstreams, connect, folder):
        hba = "host all trusted 127.0.0.1/32 relay"
        running = revalidating({"hba": hba}, {"hba": hba, "upstream": "other"}, upstreams=upstreams)
        ends, stays = (connect(running.proxy, "trusted", address=address) for address in running.proxy.addresses)
        shutil.copy(Authority(folder, "other root").file, upstreams["primary"]["sslrootcert"])
        running.revalidate(checked=2, ended=1)
        assert_ended(ends, "The certificate of the server is no longer accepted")
        assert_works(stays)

    def test_that_is_revoked(self, revalidating, postgres, upstreams, connect, folder, authority):
        crl = folder / "servers.crl"
        shutil.copy(authority.revoke(), crl)
        upstreams["primary"]["sslcrl"] = str(crl)
        running = revalidating({"hba": "host all trusted 127.0.0.1/32 relay"}, upstreams=upstreams)
        session = connect(running.proxy, "trusted")
        running.revalidate(checked=1, ended=0)
        # A list that has expired refuses new connections, and says nothing about this certificate.
        shutil.copy(authority.revoke(age=2 * DAY, lifetime=DAY), crl)
        running.revalidate(checked=1, ended=0)
        assert_works(session)
        shutil.copy(authority.revoke(postgres.credentials), crl)
        running.revalidate(checked=1, ended=1)
        assert re.search(r" W session_not_admitted session=\S+ detail=", running.proxy.log)
        assert_ended(session, "The certificate of the server is no longer accepted")

    def test_of_a_server_that_is_not_configured_any_more(self, revalidating, scripted_server, upstreams, connect):
        """Only trust counts: its certificate is still good for the name that was verified."""
        running = revalidating({"hba": "host all trusted 127.0.0.1/32 relay"}, upstreams=upstreams)
        session = connect(running.proxy, "trusted")
        upstreams["primary"].update(host="db.example.com")
        running.revalidate(checked=1, ended=0)
        assert_works(session)


class TestListener:
    def test_that_is_gone(self, revalidating, connect, folder):
        running = revalidating({"hba": TRUST}, {"hba": "local all all trust", "address": f"unix:{folder}/.s.PGSQL.5432"})
        ends = connect(running.proxy, "billing")
        stays = psycopg2.connect(f"host={folder} port=5432 user=orders dbname=ledger")
        del running.configuration["listener"][0]
        running.revalidate(checked=2, ended=1)
        assert_ended(ends, "The configuration has no listener 127.0.0.1:0 any more.")
        assert_works(stays)
        stays.close()

    def test_that_requires_tls_now(self, revalidating, certificates, authority, connect):
        rules = "host all all 127.0.0.1/32 trust"
        running = revalidating({**certificates, "hba": rules, "tls": "optional"})
        ends = connect(running.proxy, "billing")
        stays = connect(running.proxy, "orders", authority.issue_to_client("orders"))
        running.configuration["listener"][0]["tls"] = "require"
        running.revalidate(checked=2, ended=1)
        assert_ended(ends, "The listener requires TLS now, and the session does not use it.")
        assert_works(stays)


class TestSession:
    def test_ends_after_its_transaction(self, revalidating, postgres, connect):
        postgres.admin("CREATE TABLE IF NOT EXISTS outlasts (number int); GRANT ALL ON outlasts TO billing; TRUNCATE outlasts",
                       "ledger")  # fmt: skip
        running = revalidating({"hba": TRUST})
        busy, idle = connect(running.proxy, "billing"), connect(running.proxy, "billing")
        rows(busy, "BEGIN")
        rows(busy, "INSERT INTO outlasts VALUES (1)")
        running.configuration["listener"][0]["hba"] = "host all orders 127.0.0.1/32 trust"
        running.revalidate(checked=2, ended=2)
        assert_ended(idle, "no pg_hba.conf entry")
        rows(busy, "INSERT INTO outlasts VALUES (2)")
        # A later reload that would admit it does not help.
        running.configuration["listener"][0]["hba"] = TRUST
        running.reload_successfully()
        rows(busy, "COMMIT")
        assert_ended(busy, "no pg_hba.conf entry")
        assert postgres.admin("SELECT sum(number) FROM outlasts", "ledger") == "3"

    def test_ends_after_its_statement(self, revalidating):
        running = revalidating({"hba": TRUST})
        with running.proxy.connect() as client:
            client.log_in(user="billing", database="ledger")
            client.send(query("SELECT pg_sleep(1)"))
            running.configuration["listener"][0]["hba"] = "host all orders 127.0.0.1/32 trust"
            running.revalidate(checked=1, ended=1)
            kinds = [kind for kind, _ in client.receive_until(b"Z")]
            assert kinds == [b"T", b"D", b"C", b"Z"]
            error = client.receive_error()
            assert (error["S"], error["C"], error["M"]) == ("FATAL", "57P01", ENDED)
            assert client.receive_to_end() == b""

    def test_that_logs_in_during_the_reload(self, revalidating, scripted_server):
        """Its rules have admitted it; the server answers after the reload."""
        asked, released = threading.Event(), threading.Event()

        def script(peer):
            peer.receive_startup_packet()
            asked.set()
            released.wait(PATIENCE)
            peer.send(message(b"R", bytes(4)), message(b"Z", b"I"))

        server = scripted_server(script)
        running = revalidating({"hba": TRUST},
                               upstreams={"primary": {"host": "127.0.0.1", "port": server.port, "sslmode": "disable"}})  # fmt: skip
        with running.proxy.connect() as client:
            client.send(startup_message(user="billing", database="ledger"))
            assert asked.wait(PATIENCE)
            running.configuration["listener"][0]["hba"] = "host all orders 127.0.0.1/32 trust"
            running.reload_successfully()
            released.set()
            client.receive_until(b"Z")
            error = client.receive_error()
            assert (error["C"], error["M"]) == ("57P01", ENDED)
        running.proxy.wait_for_line("session_closed .*reason=no_longer_admitted")
        assert server.finished_peer().rest == b""


class TestNothing:
    """No session ends."""

    def test_ends_with_keep(self, revalidating, connect):
        running = revalidating({"hba": TRUST}, sessions="keep")
        session = connect(running.proxy, "billing")
        running.configuration["listener"][0]["hba"] = "host all orders 127.0.0.1/32 trust"
        running.reload_successfully()
        # The worker has passed this point: the new client is refused by it.
        assert "no pg_hba.conf entry" in running.proxy.psql("SELECT 1", user="billing").stderr
        assert_works(session)
        assert "sessions_revalidated" not in running.proxy.log

    def test_ends_if_the_reload_fails(self, revalidating, connect):
        running = revalidating({"hba": TRUST})
        session = connect(running.proxy, "billing")
        running.configuration["listener"][0]["hba"] = "host all orders 127.0.0.1/32 trust\nnonsense"
        running.reload_in_vain()
        assert_works(session)
        assert "sessions_revalidated" not in running.proxy.log

    def test_ends_if_nothing_has_changed(self, revalidating, certificates, authority, connect, upstreams_with_tls):
        running = revalidating(certificates, upstreams=upstreams_with_tls)
        session = connect(running.proxy, "certified", authority.issue_to_client("certified"))
        for _ in range(3):
            running.revalidate(checked=1, ended=0)
        assert_works(session)

    @pytest.fixture
    def upstreams_with_tls(self, postgres, authority):
        own = authority.issue_to_client("certified")
        return {"primary": postgres.upstream(sslcert=str(own.certificate), sslkey=str(own.key))}

    def test_ends_if_it_began_under_keep(self, revalidating, connect):
        running = revalidating({"hba": TRUST}, sessions="keep")
        before = connect(running.proxy, "billing")
        running.configuration["reload"]["sessions"] = "revalidate"
        assert running.counts()["without_data"] == 1
        after = connect(running.proxy, "billing")
        running.configuration["listener"][0]["hba"] = "host all orders 127.0.0.1/32 trust"
        counts = running.counts()
        assert (counts["checked"], counts["ended"], counts["without_data"]) == (1, 1, 1)
        assert_ended(after, "no pg_hba.conf entry")
        assert_works(before)
