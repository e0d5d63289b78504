"""Client certificates: for every kind of them, the verdict of PostgreSQL's own method `cert` with the same settings.

Each row is one client. Where the verdict is no, psql sees TLS's alert, or the sentence about a missing certificate, and
the log has the reason and the whole diagnosis."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from harness import wire
from harness.certificates import DAY, SERVER, Authority, rehashed
from harness.postgres import HBA
from harness.tls_clients import answer, certificate, run_psql, shown, tls_client

IN = "in"
# Reasons, as the log has them.
INVALID = "client_certificate_invalid"
REQUIRED = "client_certificate_required"
NOT_MAPPED = "identity_not_mapped"

# Over TCP only with a certificate; pgveil comes through the Unix socket.
SERVER_HBA = """
local    all  all  trust
hostssl  all  all  127.0.0.1/32  {}
"""


class Authorities:
    """`root` is the session's, which issues the servers' certificates too."""

    def __init__(self, directory, root):
        self.directory = directory
        self.root = root
        self.stranger = Authority(directory, "stranger")
        self.namesake = Authority(directory, root.name)  # another key under the trusted name
        self.intermediate = Authority(directory, "intermediate", issuer=root)
        self.expired = Authority(directory, "expired", issuer=root, age=3 * DAY)
        self.revoked = Authority(directory, "revoked", issuer=root)
        self.revoked_client = root.issue_to_client("billing")
        # A certificate that signs another, as if it were a CA.
        self.no_authority = Authority(directory, "no authority", issuer=root)
        self.no_authority.certificate = root._sign(self.no_authority.subject, self.no_authority.key, ca=False)

    def bundle(self, name: str, *files):
        path = self.directory / name
        path.write_bytes(b"".join(file.read_bytes() for file in files))
        return path

    def crl_directory(self, name: str, *crls):
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        return rehashed(directory, *crls)


@pytest.fixture(scope="module")
def ca(workplace, authority):
    directory = workplace / "client-kinds"
    directory.mkdir()
    return Authorities(directory, authority)


@pytest.fixture(scope="module")
def server(postgres):
    """PostgreSQL with method `cert`, where a role needs the certificate of its name."""
    with postgres.reconfigured(hba=SERVER_HBA.format("cert")):
        yield postgres


@dataclass(frozen=True)
class Case:
    name: str
    verdict: str  # IN, or the reason in the log
    issue: object  # (Authorities) -> Credentials of the client, or None
    words: str = ""  # of psql
    diagnosis: str = ""  # words of detail= in the log
    settings: object = field(default=lambda ca: {})  # (Authorities) -> settings of both, beside ssl_ca_file

    def __str__(self):
        return self.name.replace(" ", "-")


def of(authority: str, *common_names, **options):
    return lambda ca: getattr(ca, authority).issue_to_client(*(common_names or ["billing"]), **options)


def revoked_client(ca):
    return ca.revoked_client


CASES = [
    Case("good", IN, of("root")),
    Case("none", REQUIRED, lambda ca: None, "FATAL:  pgveil: connection requires a valid client certificate",
         "requires a client certificate"),
    Case("of somebody else", NOT_MAPPED, of("root", "orders"), "FATAL:  ", 'has the name "orders"'),
    # The chain.
    Case("of another CA", INVALID, of("stranger"), "alert unknown ca", "stranger"),
    Case("of another key under the name of the CA", INVALID, of("namesake"), "SSL error", "test root"),
    Case("signed by itself", INVALID, lambda ca: ca.root.self_signed("billing"), "alert unknown ca", "billing"),
    Case("through an intermediate that is sent along", IN, of("intermediate")),
    Case("through an intermediate that is not", INVALID, of("intermediate", chain=False), "alert unknown ca",
         "intermediate"),
    Case("through an intermediate that only ssl_ca_file has", IN, of("intermediate", chain=False),
         settings=lambda ca: {"ssl_ca_file": ca.bundle("both.crt", ca.root.file, ca.intermediate.file)}),
    Case("with an intermediate to trust and no root", INVALID, of("intermediate"), "alert unknown ca", "test root",
         settings=lambda ca: {"ssl_ca_file": ca.intermediate.file}),
    Case("of the second of two CAs", IN, of("stranger"),
         settings=lambda ca: {"ssl_ca_file": ca.bundle("two.crt", ca.root.file, ca.stranger.file)}),
    Case("through an intermediate that has expired", INVALID, of("expired"), "alert certificate expired", "expired"),
    Case("of an issuer that is no authority", INVALID, of("no_authority"), "SSL error", "no authority"),
    # The time.
    Case("expired", INVALID, of("root", age=3 * DAY), "alert certificate expired", "expired on 20"),
    Case("expired a minute ago", INVALID, of("root", lifetime=DAY - timedelta(minutes=1)),
         "alert certificate expired", "expired on 20"),
    Case("not yet valid", INVALID, of("root", age=-DAY), "alert bad certificate", "not valid before 20"),
    # What it is for.
    Case("for servers", INVALID, of("root", usage=SERVER), "alert unsupported certificate", "purpose"),
    Case("for clients, though nothing says so", IN, of("root", usage=None)),
    # Revocation: a list for every authority of the chain.
    Case("on no list", IN, of("root"), settings=lambda ca: {"ssl_crl_file": ca.root.revoke(ca.revoked_client)}),
    Case("revoked", INVALID, revoked_client, "alert certificate revoked", "was revoked by its issuer",
         settings=lambda ca: {"ssl_crl_file": ca.root.revoke(ca.revoked_client)}),
    Case("revoked by a list in a directory", INVALID, revoked_client, "alert certificate revoked",
         "was revoked by its issuer",
         settings=lambda ca: {"ssl_crl_dir": ca.crl_directory("crls", ca.root.revoke(ca.revoked_client))}),
    Case("on no list in a directory", IN, of("root"),
         settings=lambda ca: {"ssl_crl_dir": ca.crl_directory("crls", ca.root.revoke(ca.revoked_client))}),
    Case("of an intermediate that was revoked", INVALID, of("revoked"), "alert certificate revoked",
         '"CN=revoked',
         settings=lambda ca: {"ssl_crl_file": ca.bundle("all.crl", ca.root.revoke(ca.revoked), ca.revoked.revoke())}),
    Case("with lists of all authorities", IN, of("intermediate"),
         settings=lambda ca: {"ssl_crl_file": ca.bundle("all.crl", ca.root.revoke(), ca.intermediate.revoke())}),
    Case("without a list of the intermediate", INVALID, of("intermediate"), "SSL error", "CRL",
         settings=lambda ca: {"ssl_crl_file": ca.root.revoke()}),
    Case("with a list of another authority", INVALID, of("root"), "SSL error", "CRL",
         settings=lambda ca: {"ssl_crl_file": ca.stranger.revoke()}),
    Case("with a list that is out of date", INVALID, of("root"), "SSL error", "CRL",
         settings=lambda ca: {"ssl_crl_file": ca.root.revoke(age=3 * DAY)}),
    Case("with a list that the named authority has not signed", INVALID, of("root"), "SSL error", "CRL",
         settings=lambda ca: {"ssl_crl_file": ca.namesake.revoke()}),
]  # fmt: skip


@pytest.mark.parametrize("tls_version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_verdict_is_that_of_postgres(case, tls_version, ca, pgveil, server, credentials):
    settings = {"ssl_ca_file": ca.root.file, **case.settings(ca)}
    settings = {key: str(value) for key, value in settings.items()}
    listener = certificate(credentials, hba="hostssl all all all cert", **settings)
    proxy = pgveil(server.unix_upstream(), listener=listener)
    client = {"user": "billing", "ssl_max_protocol_version": tls_version, **shown(case.issue(ca))}

    with server.reconfigured(**settings):
        of_postgres = run_psql(server, ca.root, "SELECT current_user", **client)
    done = run_psql(proxy, ca.root, "SELECT current_user", **client)

    if case.verdict == IN:
        assert answer(of_postgres) == answer(done) == "billing"
        assert 'identity="CN=billing"' in proxy.end_of_session()
        return
    assert of_postgres.returncode != 0
    assert done.returncode != 0
    assert case.words in done.stderr
    line = proxy.end_of_session()
    assert f"reason={case.verdict} " in line
    assert case.diagnosis in line.split(" detail=")[1].replace('\\"', '"')
    assert " server=" not in line, "the server was asked"


# What a rule asks of a certificate of CN=billing: (method with options, user, whether PostgreSQL lets it in).
CLIENTCERT = [
    ("trust clientcert=verify-ca", "billing", True),
    ("trust clientcert=verify-ca", "orders", True),
    ("trust clientcert=verify-full", "billing", True),
    ("trust clientcert=verify-full", "orders", False),
    ("cert clientcert=verify-full", "billing", True),
    ("cert clientcert=verify-full", "orders", False),
    ("cert clientname=CN", "billing", True),
    ("cert clientname=DN", "billing", False),
    ("cert", "Billing", False),
]


@pytest.mark.parametrize("method, user, comes_in", CLIENTCERT)
def test_a_rule_asks_what_it_asks_in_postgres(method, user, comes_in, ca, pgveil, postgres, credentials):
    client = {"user": user, **shown(ca.root.issue_to_client("billing"))}
    listener = certificate(credentials, ssl_ca_file=str(ca.root.file), hba=f"hostssl all all all {method}")
    with postgres.reconfigured(hba=SERVER_HBA.format(method)):
        proxy = pgveil(postgres.unix_upstream(), listener=listener)
        of_postgres = run_psql(postgres, ca.root, "SELECT current_user", **client)
        done = run_psql(proxy, ca.root, "SELECT current_user", **client)
    assert (of_postgres.returncode == 0, done.returncode == 0) == (comes_in, comes_in), done.stderr


def test_a_certificate_that_nobody_needs_has_to_be_good(pgveil, postgres, credentials, ca):
    """As in PostgreSQL: be-secure-openssl.c has no way to let a bad one pass."""
    rules = "hostssl all all 127.0.0.1/32 trust"
    asking = pgveil(postgres.unix_upstream(),
                    listener=certificate(credentials, ssl_ca_file=str(ca.root.file), hba=rules))  # fmt: skip
    assert answer(run_psql(asking, ca.root, "SELECT 1", user="billing", **shown(None))) == "1"
    expired = ca.root.issue_to_client("billing", age=3 * DAY)
    assert run_psql(asking, ca.root, "SELECT 1", user="billing", **shown(expired)).returncode != 0
    asking.wait_for_line(f"session_closed.*reason={INVALID} ")


def test_without_ssl_ca_file_nobody_is_asked(pgveil, postgres, credentials, ca):
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials))
    stranger = ca.stranger.issue_to_client("billing")
    assert answer(run_psql(proxy, ca.root, "SELECT 1", **shown(stranger))) == "1"
    assert " identity=" not in proxy.end_of_session()


def test_with_ssl_ca_file_and_no_rules_a_certificate_is_required(pgveil, postgres, credentials, ca):
    """And the server still asks for the password."""
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials, ssl_ca_file=str(ca.root.file)))
    anybody = shown(ca.root.issue_to_client("somebody"))
    with postgres.reconfigured(hba=HBA):
        done = run_psql(proxy, ca.root, "SELECT 1", **shown(None))
        assert "FATAL:  pgveil: connection requires a valid client certificate" in done.stderr
        assert answer(run_psql(proxy, ca.root, "SELECT current_user", **anybody)) == "app"
        done = run_psql(proxy, ca.root, "SELECT 1", password="wrong", **anybody)
    assert "FATAL:  password authentication failed" in done.stderr


def test_a_missing_certificate_is_told_inside_tls_with_its_sqlstate(pgveil, postgres, credentials, ca):
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials, ssl_ca_file=str(ca.root.file)))
    with tls_client(proxy, ca.root) as client:
        client.send(wire.startup_message(user="billing", database="ledger"))
        error = client.receive_error()
        assert client.receive_to_end() == b""
    assert (error["S"], error["C"]) == ("FATAL", "28000")
    assert error["M"] == "pgveil: connection requires a valid client certificate"
    assert " sqlstate=28000 " in proxy.end_of_session()


@pytest.mark.parametrize("direct", [False, True])
def test_a_certificate_comes_with_direct_tls_too(direct, pgveil, server, credentials, ca):
    listener = certificate(credentials, ssl_ca_file=str(ca.root.file), hba="hostssl all all all cert")
    proxy = pgveil(server.unix_upstream(), listener=listener)
    good = ca.root.issue_to_client("billing")
    with tls_client(proxy, ca.root, direct=direct, credentials=good) as client:
        client.send(wire.startup_message(user="billing", database="ledger"))
        client.receive_until(b"Z")


def test_plaintext_is_no_way_round_a_certificate(pgveil, server, credentials, ca):
    """libpq's sslmode=prefer comes back in plaintext, whatever went wrong inside TLS."""
    listener = certificate(credentials, ssl_ca_file=str(ca.root.file), tls="optional", hba="hostssl all all all cert")
    proxy = pgveil(server.unix_upstream(), listener=listener)
    for sslmode in "prefer", "disable":
        done = run_psql(proxy, ca.root, "SELECT 1", user="billing", sslmode=sslmode, **shown(None))
        assert "FATAL:  pgveil: no pg_hba.conf entry" in done.stderr
        assert "no encryption" in done.stderr


class TestEncryptedKeys:
    @pytest.fixture
    def encrypted(self, authority):
        return authority.issue("localhost", dns=["localhost"], passphrase="open sesame")

    @pytest.mark.parametrize("command", [
        "echo open sesame",
        "printf 'open sesame\\r\\nand another line\\n'",
        "test '%p %%' = 'Enter PEM pass phrase: %' && echo open sesame",
    ])  # fmt: skip
    def test_a_command_opens_that_of_the_listener(self, pgveil, postgres, encrypted, authority, command):
        proxy = pgveil(postgres.unix_upstream(), listener=certificate(encrypted, ssl_passphrase_command=command))
        assert answer(run_psql(proxy, authority, "SELECT 1")) == "1"
        assert "open sesame" not in proxy.log

    @pytest.mark.parametrize("command, words", [
        ("echo open barley", "ssl_passphrase_command does not open it"),
        ("echo open sesame; exit 3", "ended with exit code 3"),
        ("kill -9 $$", "was ended by signal 9"),
        ("true", "printed no passphrase"),
        ("/nonexistent/command", "ended with exit code 127"),
        (None, "is encrypted, and no ssl_passphrase_command is set"),
    ])  # fmt: skip
    def test_a_key_that_stays_closed_is_refused_at_the_start(self, refusal, postgres, encrypted, command, words):
        settings = {} if command is None else {"ssl_passphrase_command": command}
        said = refusal(postgres.unix_upstream(), **certificate(encrypted, **settings))
        assert words in said
        assert "listener[0].ssl_" in said


@pytest.mark.parametrize("setting, content, words", [
    ("ssl_ca_file", "", "cannot be loaded"),
    ("ssl_ca_file", "no PEM", "cannot be loaded"),
    ("ssl_ca_file", None, "cannot be loaded"),
    ("ssl_crl_file", "", "cannot be loaded"),
    ("ssl_crl_file", None, "cannot be loaded"),
    ("ssl_crl_dir", None, "cannot be read: No such file or directory"),
])  # fmt: skip
def test_files_that_cannot_be_used_are_refused_at_the_start(
    refusal, postgres, credentials, ca, folder, setting, content, words
):
    file = folder / "file.pem"
    if content is not None:
        file.write_text(content, encoding="ascii")
    settings = {"ssl_ca_file": str(ca.root.file), setting: str(file)}
    said = refusal(postgres.unix_upstream(), **certificate(credentials, **settings))
    assert words in said and f"listener[0].{setting}" in said


def test_revocation_lists_without_a_ca_are_refused(refusal, postgres, credentials, ca):
    said = refusal(postgres.unix_upstream(), **certificate(credentials, ssl_crl_file=str(ca.root.revoke())))
    assert "ssl_crl_file: is set without ssl_ca_file" in said
