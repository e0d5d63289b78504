"""docs/troubleshooting.md: each row of its tables is produced, and its words are those that a user sees."""

import asyncio
import re
import shutil
import socket
import ssl
from pathlib import Path

import pytest

from harness import guide
from harness.certificates import DAY
from harness.java import JDBC_DRIVER, compiled, newest_java
from harness.pgveil import BINARY, EX_CONFIG, psql, toml
from harness.postgres import PASSWORD
from harness.processes import run
from harness.secrets import secret_file
from harness.tls_clients import certificate, run_psql, shown

PAGE = "troubleshooting.md"
CERT = "hostssl all all all cert"
RELAY = "hostssl all all all relay"
SCRAM = "host all all all scram-sha-256"
ON_BEHALF = "host all all 127.0.0.1/32 trust"


def unquoted(cell: str) -> str:
    return cell.strip("`")


class Trial:
    """Ways to set up pgveil and a client. Each client returns the pgveil that it used and what psql said."""

    def __init__(self, pgveil, postgres, authority, credentials, folder, scripted_server):
        self.pgveil, self.postgres, self.authority, self.credentials = pgveil, postgres, authority, credentials
        self.folder, self.scripted_server = folder, scripted_server
        self.unrelated = authority.self_signed("unrelated")

    def egress(self, rules=RELAY.replace("hostssl", "host"), listener=None, limits=None, **upstream):
        """pgveil beside the application."""
        return self.pgveil(self.postgres.upstream(**upstream), listener={"hba": rules, **(listener or {})},
                           **({"limits": limits} if limits else {}))  # fmt: skip

    def ingress(self, rules, upstream=None, **listener):
        """pgveil beside the server, with TLS for clients."""
        asks = certificate(self.credentials, ssl_ca_file=str(self.authority.file), hba=rules, **listener)
        return self.pgveil(upstream or self.postgres.unix_upstream(), listener=asks)

    def plain(self, proxy, **parameters):
        return proxy, proxy.psql("SELECT 1", **{"user": "app", "password": PASSWORD, **parameters})

    def tls(self, proxy, credentials=None, **parameters):
        return proxy, run_psql(proxy, self.authority, "SELECT 1", **{**shown(credentials), **parameters})

    def to_nobody(self):
        proxy = self.egress()
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))  # does not listen, and nobody else can have it
            return proxy, psql(f"host=127.0.0.1 port={held.getsockname()[1]} user=app dbname=ledger", "SELECT 1")

    def from_nobody(self):
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            return self.plain(self.egress(port=held.getsockname()[1]))

    def to(self, script, **upstream):
        """Through pgveil to a server that follows a script."""
        return self.plain(self.egress(port=self.scripted_server(script).port, **upstream))

    def client_certificate(self, name: str = "app", **options):
        return self.authority.issue_to_client(name, **options)

    def readable_key(self):
        mine = self.client_certificate()
        mine.key.chmod(0o644)
        return mine

    def expired(self):
        made = self.authority.issue("localhost", dns=["localhost"], age=3 * DAY, lifetime=DAY)
        return self.to(lambda peer: peer.accept_tls(made))

    def second_session(self):
        proxy = self.egress(limits={"max_sessions": 1})
        with proxy.connect() as first:
            first.log_in(user="trusted", database="ledger")
            return self.plain(proxy)

    def auth_file(self, secret: str) -> dict:
        return {"auth_file": secret_file(self.folder / "userlist.txt", f'"app" "{secret}"\n')}

    def passfile(self, line: str) -> str:
        return secret_file(self.folder / "pgpass", line)

    def unlisted(self):
        """The server has no line for the client's database."""
        with self.postgres.reconfigured(hba="hostssl postgres all 127.0.0.1/32 scram-sha-256"):
            return self.plain(self.egress())


FAILURES = {
    "Connection refused": Trial.to_nobody,
    "server does not support SSL, but SSL was required": lambda t: t.plain(t.egress(), sslmode="require"),
    "pgveil: connection requires TLS": lambda t: t.plain(t.ingress(RELAY)),
    'root certificate file "..." does not exist': lambda t: t.tls(t.ingress(RELAY), sslrootcert="/nonexistent/root.crt"),
    "SSL error: certificate verify failed": lambda t: t.tls(t.ingress(RELAY), sslrootcert=t.unrelated.certificate),
    'server certificate for ... does not match host name "..."': lambda t: t.tls(t.ingress(RELAY), host="127.0.0.1"),
    'private key file "..." has group or world access': lambda t: t.tls(t.ingress(CERT), t.readable_key()),
    "SSL error: tlsv1 alert unknown ca": lambda t: t.tls(t.ingress(CERT), t.authority.self_signed("app")),
    "SSL error: ... alert certificate expired":
        lambda t: t.tls(t.ingress(CERT), t.client_certificate(age=3 * DAY, lifetime=DAY)),
    "pgveil: connection requires a valid client certificate": lambda t: t.tls(t.ingress(CERT)),
    "pgveil: the client certificate may not log in as this user": lambda t: t.tls(t.ingress(CERT), t.client_certificate("other")),
    'pgveil: no pg_hba.conf entry for host "...", user "...", database "...", SSL encryption':
        lambda t: t.tls(t.ingress("hostssl postgres all all relay")),
    'pgveil: pg_hba.conf rejects connection for host "...", user "...", database "...", SSL encryption':
        lambda t: t.tls(t.ingress("hostssl ledger app all reject\nhostssl all all all relay")),
    'pgveil: startup parameter "..." is not allowed here':
        lambda t: t.tls(t.ingress(CERT), t.client_certificate("billing"), user="billing", options="-cwork_mem=1MB"),
    "pgveil: sorry, too many clients already": Trial.second_session,
    'FATAL:  password authentication failed for user "..."': lambda t: t.plain(t.egress(), password="wrong"),
    'pgveil: password authentication failed for user "..."':
        lambda t: t.plain(t.egress(SCRAM, t.auth_file(PASSWORD)), password="wrong"),
    "pgveil: the proxy's secret for this user is not the server's":
        lambda t: t.plain(t.egress(SCRAM, t.auth_file("battery staple")), password="battery staple"),
    "pgveil: the proxy terminates TLS, so channel binding cannot be relayed; set channel_binding=disable":
        lambda t: t.tls(t.ingress(RELAY, t.postgres.upstream())),
    "channel binding required, but SSL not in use": lambda t: t.plain(t.egress(), channel_binding="require"),
    "channel binding is required, but server did not offer an authentication method that supports channel binding":
        lambda t: t.tls(t.ingress(RELAY), channel_binding="require"),
    'FATAL:  no pg_hba.conf entry for host "...", user "...", database "...", SSL encryption': Trial.unlisted,
    'FATAL:  database "..." does not exist': lambda t: t.plain(t.egress(), dbname="nothing"),
    "pgveil: the server asks for a password, and the proxy has none for this user": lambda t: t.plain(t.egress(ON_BEHALF)),
    "pgveil: the server refused the proxy's password for this user":
        lambda t: t.plain(t.egress(ON_BEHALF, passfile=t.passfile("*:*:*:app:wrong\n"))),
    "pgveil: the server does not let the proxy log in as this user": lambda t: t.plain(t.egress(ON_BEHALF), user="certified"),
    "pgveil: the server's way of authentication is not allowed":
        lambda t: t.plain(t.egress(ON_BEHALF, passfile=t.passfile("*:*:*:trusted:secret\n")), user="trusted"),
    "pgveil: the proxy could not obtain the password for this user":
        lambda t: t.plain(t.egress(ON_BEHALF, password_command=["/bin/false"])),
    "pgveil: could not connect to the server: its host name could not be resolved":
        lambda t: t.plain(t.pgveil({"host": "db.invalid", "sslrootcert": str(t.authority.file)})),
    "pgveil: could not connect to the server": Trial.from_nobody,
    "pgveil: could not connect to the server in time": lambda t: t.to(lambda peer: peer.receive_to_end(), connect_timeout="100ms"),
    "pgveil: the server does not support TLS, which is required":
        lambda t: t.to(lambda peer: (peer.receive_ssl_request(), peer.send(b"N"))),
    "pgveil: the server did not answer as a PostgreSQL server":
        lambda t: t.to(lambda peer: (peer.receive_ssl_request(), peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))),
    "pgveil: the server's certificate is not from a trusted authority":
        lambda t: t.plain(t.egress(sslrootcert=str(t.unrelated.certificate))),
    "pgveil: the server's certificate is not for the host that was asked": lambda t: t.plain(t.egress(host="db.example.com")),
    "pgveil: the server's certificate has expired": Trial.expired,
    "pgveil: the process behind the server's Unix socket runs as another user":
        lambda t: t.plain(t.pgveil(t.postgres.unix_upstream(requirepeer="nobody"))),
}  # fmt: skip

TABLES_OF_CLIENTS = [
    "The client cannot reach pgveil, or does not agree on TLS with it",
    "pgveil does not let the client in",
    "The login fails",
    "pgveil does not reach the server",
]
ROWS = {unquoted(row[0]): row[1:] for heading in TABLES_OF_CLIENTS for row in guide.table(PAGE, heading)}


class TestWhatToRunFirst:
    """Each command of the first table finds the fault of a client, a server or a configuration."""

    SERVER, LOGIN, LISTENER, CLIENT, START = [re.findall(r"`(pgveil .*?)`", row[1])[0] for row in guide.table(PAGE, "What to run first")]

    def file(self, trial, listener=None, upstream=None):
        file = trial.folder / "pgveil.toml"
        file.write_text(toml({
            "listener": [{"address": "127.0.0.1:0", "upstream": "primary", **(listener or {})}],
            "upstream": {"primary": {**trial.postgres.upstream(), **(upstream or {})}},
        }))  # fmt: skip
        return file

    def run(self, command: str, **replaced):
        """The command as it is printed, but for these words of it."""
        for word, value in replaced.items():
            printed = {"file": "pgveil.toml", "server": "db.example.com:6432", "root": "root.crt", "cert": "app.crt"}[word]
            assert printed in command
            command = command.replace(printed, str(value))
        return run(BINARY, *command.split()[1:])

    def test_a_server_that_cannot_be_verified(self, trial):
        done = self.run(self.SERVER, file=self.file(trial, upstream={"host": "db.example.com"}))
        assert "(reason upstream_certificate_wrong_name)" in done.stdout and "remedy:" in done.stdout

    def test_a_login_that_the_server_refuses(self, trial):
        passfile = secret_file(trial.folder / "wrong", "*:*:*:*:wrong\n")
        done = self.run(self.LOGIN, file=self.file(trial, {"hba": "host all all all trust"}, {"passfile": str(passfile)}))
        assert "✓ verdict" in done.stdout and "SQLSTATE 28P01" in done.stdout and "remedy:" in done.stdout

    def test_a_login_without_a_password(self, trial):
        done = self.run(self.LOGIN, file=self.file(trial))
        assert re.search("✓ login .*SCRAM-SHA-256", done.stdout) and "no password is known" in done.stdout

    def test_a_listener_that_a_client_cannot_verify(self, trial):
        proxy = trial.ingress(RELAY)
        server = f"localhost:{proxy.address[1]}"
        done = self.run(self.LISTENER, server=server, root=trial.unrelated.certificate)
        assert "(reason upstream_certificate_untrusted)" in done.stdout and "remedy:" in done.stdout
        assert self.run(self.LISTENER, server=server, root=trial.authority.file).returncode == 0

    def test_a_client_that_is_not_let_in(self, trial):
        listener = certificate(trial.credentials, ssl_ca_file=str(trial.authority.file), hba=CERT)
        mine = trial.client_certificate("other")
        done = self.run(self.CLIENT, file=self.file(trial, listener), cert=mine.certificate)
        assert "(reason identity_not_mapped)" in done.stdout and f"({CERT}) matches" in done.stdout

    def test_a_start_that_fails(self, trial):
        done = self.run(self.START, file=self.file(trial, {"tsl": "off"}, {"sslmode": "require"}))
        assert done.returncode == EX_CONFIG and len(re.findall("(?m)^error: ", done.stderr)) == 2


def as_shown(words: str) -> str:
    return re.escape(words).replace(r"\.\.\.", ".*?")


@pytest.fixture
def trial(pgveil, postgres, authority, credentials, folder, scripted_server):
    return Trial(pgveil, postgres, authority, credentials, folder, scripted_server)


@pytest.mark.parametrize("words", ROWS)
def test_a_failure_has_the_words_and_the_reason_of_the_page(trial, words):
    sqlstate, reason = ROWS[words][:2]
    proxy, done = FAILURES[words](trial)
    assert done.returncode != 0
    # After the address in front of it, to the end of the line or the names of files and rights.
    assert re.search(rf"failed: (FATAL:  )?{as_shown(words)}(;|$)", done.stderr, re.MULTILINE), done.stderr
    if reason == "-":
        assert "session_closed" not in proxy.log
        return
    end = proxy.wait_for_line(rf"session_closed.* reason={unquoted(reason)} .*").string
    if words.startswith("pgveil: "):
        # What the client is told, which is not always what the server has said.
        assert re.search(rf"`{unquoted(reason)}` \| {sqlstate} ", (guide.DOCS / "reasons.md").read_text())
    else:
        assert re.search(r" sqlstate=(\w+)|$", end)[1] == (None if sqlstate == "-" else sqlstate)


def test_each_failure_is_on_the_page():
    assert set(FAILURES) == set(ROWS)


class TestOtherDrivers:
    """The same faults, in the words of a driver."""

    ROWS = {unquoted(row[0]): [unquoted(cell) for cell in row[1:]] for row in guide.table(PAGE, "Other drivers")}

    def fault(self, trial, words: str):
        """A pgveil, a host to connect to, and the authority that the client trusts."""
        if "does not support SSL" in words:
            return trial.egress(), "localhost", trial.authority.file
        if "verify failed" in words:
            return trial.ingress(RELAY), "localhost", trial.unrelated.certificate
        return trial.ingress(RELAY), "127.0.0.1", trial.authority.file

    @pytest.mark.parametrize("words", ROWS)
    def test_pgjdbc(self, trial, words, workplace):
        class_path = compiled(Path(__file__).parent / "drivers/Ask.java", workplace / "ask", JDBC_DRIVER)
        if class_path is None:
            pytest.skip("libpostgresql-jdbc-java or a JDK is not installed")
        proxy, host, trusted = self.fault(trial, words)
        url = f"jdbc:postgresql://{host}:{proxy.address[1]}/ledger?sslmode=verify-full&sslrootcert={trusted}"
        done = run(newest_java(), "-cp", class_path, "Ask", url, PASSWORD, timeout=120)
        assert done.returncode != 0
        assert self.ROWS[words][0] in done.stderr

    @pytest.mark.parametrize("words", ROWS)
    def test_asyncpg(self, trial, words):
        asyncpg = pytest.importorskip("asyncpg")
        proxy, host, trusted = self.fault(trial, words)
        context = ssl.create_default_context(cafile=str(trusted))
        with pytest.raises((ConnectionError, ssl.SSLError), match=re.escape(self.ROWS[words][1])):
            asyncio.run(asyncpg.connect(host=host, port=proxy.address[1], user="app", password=PASSWORD, database="ledger",
                                        ssl=context))  # fmt: skip

    @pytest.mark.parametrize("words", ROWS)
    def test_psycopg(self, trial, words):
        psycopg2 = pytest.importorskip("psycopg2")
        proxy, host, trusted = self.fault(trial, words)
        with pytest.raises(psycopg2.OperationalError, match=as_shown(words)):
            psycopg2.connect(host=host, port=proxy.address[1], user="app", password=PASSWORD, dbname="ledger",
                             sslmode="verify-full", sslrootcert=str(trusted))  # fmt: skip


def ruined(t, **changes) -> dict:
    """A listener with files that do not fit."""
    return certificate(t.credentials, **changes)


def in_der(t) -> str:
    file = t.folder / "server.der"
    assert run("openssl", "x509", "-in", t.credentials.certificate, "-outform", "DER", "-out", file).returncode == 0
    return str(file)


def encrypted_key(t) -> dict:
    return certificate(t.authority.issue("localhost", dns=["localhost"], passphrase="a passphrase"))


def loose_key(t) -> str:
    file = shutil.copy(t.credentials.key, t.folder / "loose.key")
    file.chmod(0o644)
    return str(file)


# By what pgveil says: settings of the listener and of the upstream.
MISTAKES = {
    "plaintext on ... can be read and altered by everyone on the network path": lambda t: ({"address": "0.0.0.0:0"}, {}),
    "sslrootcert: is missing, and is required to verify the server": lambda t: ({}, {"sslrootcert": None}),
    '"require" is not supported: it does not verify the identity of the server': lambda t: ({}, {"sslmode": "require"}),
    'private key file "..." has group or world access': lambda t: (ruined(t, ssl_key_file=loose_key(t)), {}),
    'private key file "..." is encrypted, and no ssl_passphrase_command is set': lambda t: (encrypted_key(t), {}),
    'does not match private key file "..."': lambda t: (ruined(t, ssl_key_file=str(t.client_certificate().key)), {}),
    "it is in DER format, not PEM": lambda t: (ruined(t, ssl_cert_file=in_der(t)), {}),
    "cannot be read: No such file or directory": lambda t: (ruined(t, ssl_cert_file="nothing.crt"), {}),
    "unknown key": lambda t: ({"tsl": "off"}, {}),
}


def test_each_event_on_the_page_exists():
    events = guide.DOCS.joinpath("reasons.md").read_text().split("| Event |")[1].split("\n\n")[0]
    on_page = {row[0] for row in guide.table(PAGE, "It works, but the log has warnings")}
    assert on_page <= set(re.findall(r"`\w+`", " ".join(re.findall(r"(?m)^\| (`.*?) \|", events))))


class TestAStart:
    PORT_IN_USE, *ROWS = [unquoted(row[0]) for row in guide.table(PAGE, "pgveil does not start")]

    @pytest.mark.parametrize("words", MISTAKES)
    def test_fails_with_the_words_of_the_page(self, trial, words):
        listener, upstream = MISTAKES[words](trial)
        upstream = {**trial.postgres.upstream(), **upstream}
        file = trial.folder / "pgveil.toml"
        file.write_text(toml({
            "listener": [{"address": "127.0.0.1:0", "upstream": "primary", **listener}],
            "upstream": {"primary": {key: value for key, value in upstream.items() if value is not None}},
        }))  # fmt: skip
        done = run(BINARY, "check", "--config", file)
        assert done.returncode == EX_CONFIG
        assert re.search(rf"(?m)^error: .*{as_shown(words)}", done.stderr), done.stderr

    def test_on_a_port_in_use_names_the_process(self, trial):
        first = trial.egress()
        done = run(BINARY, "run", "--listen", f"127.0.0.1:{first.address[1]}", "--upstream", "localhost",
                   "--sslrootcert", trial.authority.file)  # fmt: skip
        assert re.search(as_shown(self.PORT_IN_USE), done.stderr) and f"Process {first.pid} " in done.stderr

    def test_has_a_test_for_each_row(self):
        assert set(MISTAKES) == set(self.ROWS)
