"""Identity: every kind of name that a certificate has, the maps, and what the server is told."""

import getpass
import pwd

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from harness import wire
from harness.tls_clients import answer, certificate, run_psql, shown, tls_client


@pytest.fixture
def start(pgveil, postgres, authority, credentials):
    def start(rule: str, ident: str = "", upstream=None, **listener):
        listener = {"ssl_ca_file": str(authority.file), "hba": rule, **({"ident": ident} if ident else {}), **listener}
        return pgveil(upstream or postgres.unix_upstream(), listener=certificate(credentials, **listener))

    return start


def name(*attributes) -> x509.Name:
    return x509.Name([x509.NameAttribute(*attribute) for attribute in attributes])


ORGANIZATION = (NameOID.ORGANIZATION_NAME, "Acme, Inc.")
PEOPLE = {
    "CN": ("CN", {}, "m workload billing"),
    "CN with a group": ("CN", {"name": name((NameOID.COMMON_NAME, "app-billing"))}, r"m /^app-(.*)$ \1"),
    "DN with commas": (
        "DN", {"name": name((NameOID.COUNTRY_NAME, "DE"), ORGANIZATION, (NameOID.COMMON_NAME, "alice"))},
        r'm "CN=alice,O=Acme\, Inc.,C=DE" billing'),
    "DN with UTF-8": ("DN", {"name": name((NameOID.COMMON_NAME, "Jürgen"))}, r"m CN=J\C3\BCrgen billing"),
    "URI": ("URI", {"uris": ["spiffe://prod/sa/billing"]}, r"m /^spiffe://prod/sa/(.*)$ \1"),
    "the second URI": ("URI", {"uris": ["https://a.example", "spiffe://prod/sa/b"]}, "m spiffe://prod/sa/b billing"),
    "DNS": ("DNS", {"dns": ["w1.example.com"]}, "m w1.example.com billing"),
    "EMAIL": ("EMAIL", {"emails": ["billing@example.com"]}, r"m /^([^@]*)@example\.com$ \1"),
    "all": ("CN", {}, "m workload all"),
    "a regular expression of users": ("CN", {}, "m workload /^bill"),
}  # fmt: skip


@pytest.mark.parametrize("person", PEOPLE, ids=lambda person: person.replace(" ", "-"))
def test_a_name_of_the_certificate_becomes_the_user(person, start, authority):
    clientname, options, ident = PEOPLE[person]
    client = authority.issue_to_client("workload", **options)
    proxy = start(f"hostssl all all all cert map=m clientname={clientname}", ident)
    done = run_psql(proxy, authority, "SELECT current_user", user="billing", **shown(client))
    assert answer(done) == "billing"
    done = run_psql(proxy, authority, "SELECT 1", user="orders", **shown(authority.issue_to_client("nobody")))
    assert "FATAL:  pgveil: the client certificate may not log in as this user" in done.stderr


def test_the_fingerprint_of_the_certificate_becomes_the_user(start, authority):
    client = authority.issue_to_client("whoever")
    fingerprint = x509.load_pem_x509_certificate(client.certificate.read_bytes()).fingerprint(
        x509.load_pem_x509_certificate(client.certificate.read_bytes()).signature_hash_algorithm
    )
    proxy = start("hostssl all all all cert map=m clientname=FINGERPRINT", f"m {fingerprint.hex()} billing")
    assert answer(run_psql(proxy, authority, "SELECT current_user", user="billing", **shown(client))) == "billing"


UNCERTAIN = {
    "two common names": {"name": name((NameOID.COMMON_NAME, "billing"), (NameOID.COMMON_NAME, "orders"))},
    "a NUL": {"name": name((NameOID.COMMON_NAME, "billing\0.example.com"))},
    "16-bit letters": {
        "name": x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "billing", _type=_ASN1Type.BMPString)])
    },
}


@pytest.mark.parametrize("kind", UNCERTAIN, ids=lambda kind: kind.replace(" ", "-"))
def test_a_name_that_can_be_read_in_two_ways_is_none(kind, start, authority):
    client = authority.issue_to_client(**UNCERTAIN[kind])
    proxy = start("hostssl all all all cert")
    done = run_psql(proxy, authority, "SELECT 1", user="billing", **shown(client))
    assert "FATAL:  pgveil: the client certificate may not log in as this user" in done.stderr
    assert "has no name for the rule" in proxy.end_of_session()


class TestAssign:
    @pytest.fixture
    def client(self, authority):
        return authority.issue_to_client("workload")

    @pytest.fixture
    def proxy(self, start):
        return start("hostssl all all all cert map=m assign=1", "m workload billing")

    def test_the_certificate_decides_whoever_is_asked_for(self, proxy, authority, client):
        assert answer(run_psql(proxy, authority, "SELECT current_user", user="app", **shown(client))) == "billing"
        assert "user=billing" in proxy.end_of_session()

    def test_nobody_need_be_asked_for(self, proxy, postgres, authority, client):
        with tls_client(proxy, authority, credentials=client) as session:
            session.send(wire.startup_message(database="ledger"))
            session.receive_until(b"Z")
            session.send(wire.query("SELECT current_user"))
            rows = [body for kind, body in session.receive_until(b"Z") if kind == b"D"]
        assert rows == [b"\0\1\0\0\0\7billing"]

    def test_somebody_must_be_found(self, proxy, authority):
        done = run_psql(proxy, authority, "SELECT 1", user="billing", **shown(authority.issue_to_client("other")))
        assert "FATAL:  pgveil: the client certificate may not log in as this user" in done.stderr


def test_the_server_may_know_pgveil_by_its_certificate(start, postgres, authority):
    own, client = authority.issue_to_client("pgveil"), authority.issue_to_client("billing")
    upstream = postgres.upstream(sslcert=str(own.certificate), sslkey=str(own.key))
    proxy = start("hostssl all all all cert", upstream=upstream)
    assert answer(run_psql(proxy, authority, "SELECT current_user", user="billing", **shown(client))) == "billing"


def test_trust_with_a_certificate_lets_it_be_anybody(start, authority):
    proxy = start("hostssl all all all trust clientcert=verify-ca")
    client = authority.issue_to_client("whoever")
    assert answer(run_psql(proxy, authority, "SELECT current_user", user="billing", **shown(client))) == "billing"
    assert "connection requires a valid client certificate" in run_psql(
        proxy, authority, "SELECT 1", user="billing", **shown(None)).stderr  # fmt: skip


def test_the_process_at_the_other_end_of_a_socket_is_the_user(pgveil, postgres, folder):
    socket = {"address": f"unix:{folder}/.s.PGSQL.5432"}
    rules = {"hba": "local all all peer map=m", "ident": f"m {getpass.getuser()} billing"}
    proxy = pgveil(postgres.unix_upstream(), listener={**socket, **rules})
    assert proxy.query("SELECT current_user", user="billing") == "billing"
    done = proxy.psql("SELECT 1", user="orders")
    assert 'FATAL:  pgveil: Peer authentication failed for user "orders"' in done.stderr


def test_the_server_must_run_as_requirepeer(pgveil, postgres):
    owner = pwd.getpwuid(postgres.directory.stat().st_uid).pw_name
    assert pgveil(postgres.unix_upstream(requirepeer=owner)).query("SELECT 1", user="billing") == "1"
    wrong = pgveil(postgres.unix_upstream(requirepeer="somebody"))
    done = wrong.psql("SELECT 1", user="billing")
    assert "FATAL:  pgveil: the process behind the server's Unix socket runs as another user" in done.stderr
    assert 'requirepeer is "somebody"' in done.stderr and owner in done.stderr


class TestTheServerIsTold:
    RULE = "hostssl all all all relay clientcert=verify-ca"

    @pytest.fixture
    def client(self, authority):
        return authority.issue_to_client(name=name(ORGANIZATION, (NameOID.COMMON_NAME, "back office")))

    def ask(self, proxy, authority, client, sql, **more):
        return answer(run_psql(proxy, authority, sql, user="billing", **shown(client), **more))

    def test_nothing_unless_asked(self, start, authority, client):
        assert self.ask(start(self.RULE), authority, client, "SHOW application_name") == "psql"

    def test_in_the_name_of_the_application(self, start, authority, client):
        proxy = start(self.RULE, log_client_identity=True)
        assert self.ask(proxy, authority, client, "SHOW application_name") == r"psql [CN=back office,O=Acme\, Inc.]"

    def test_of_the_user_at_the_other_end_of_a_socket(self, pgveil, postgres, folder):
        listener = {"address": f"unix:{folder}/.s.PGSQL.5432", "log_client_identity": True}
        proxy = pgveil(postgres.unix_upstream(), listener=listener)
        assert proxy.query("SHOW application_name", user="billing") == f"psql [{getpass.getuser()}]"

    def test_in_a_setting_that_the_client_cannot_give_itself(self, start, authority, client):
        proxy = start(self.RULE, log_client_identity=True, client_identity_in="options")
        identity = r"CN=back office,O=Acme\, Inc."
        assert self.ask(proxy, authority, client, "SHOW pgveil.client_dn") == identity
        assert self.ask(proxy, authority, client, "SELECT current_setting('pgveil.system_user')") == ""
        forged = {"options": "-c pgveil.client_dn=CN=admin"}
        assert self.ask(proxy, authority, client, "SHOW pgveil.client_dn", **forged) == identity
        with tls_client(proxy, authority, credentials=client) as session:
            session.send(wire.startup_message(("pgveil.Client_DN", "CN=admin"), user="billing", database="ledger"))
            session.receive_until(b"Z")
            session.send(wire.query("SHOW pgveil.client_dn"))
            rows = [body for kind, body in session.receive_until(b"Z") if kind == b"D"]
        assert rows[0].endswith(identity.encode())

    def test_by_which_name_a_rule_has_let_the_client_in(self, start, authority):
        client = authority.issue_to_client(name=name((NameOID.COMMON_NAME, "pod 7")), uris=["spiffe://prod/sa/billing"])
        for place, asked, told in (
            ("application_name", "application_name", "psql [spiffe://prod/sa/billing]"),
            ("options", "pgveil.system_user", "spiffe://prod/sa/billing"),
            ("options", "pgveil.client_dn", "CN=pod 7"),
        ):
            proxy = start("hostssl all all all cert map=m clientname=URI", "m /^spiffe://prod/sa/(.*)$ \\1",
                          log_client_identity=True, client_identity_in=place,
                          allowed_startup_parameters="application_name,options")  # fmt: skip
            forged = {"options": "-c pgveil.system_user=admin"}
            assert self.ask(proxy, authority, client, f"SELECT current_setting('{asked}')", **forged) == told

    def test_nothing_of_a_client_without_a_certificate(self, start, authority):
        proxy = start("hostssl all all all relay", log_client_identity=True, client_identity_in="options")
        forged = {"options": "-c pgveil.client_dn=CN=admin"}
        assert self.ask(proxy, authority, None, "SHOW pgveil.client_dn", **forged) == ""
