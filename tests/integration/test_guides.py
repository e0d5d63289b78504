"""The guides in docs/ are followed as they are printed: files, commands, and what they show."""

import http.server
import re
import shutil
import threading
import urllib.parse
from pathlib import Path

import pytest

from harness.guide import DOCS, Block, Terminal, sections, table
from harness.network import DebianServer, Unavailable
from harness.pgveil import BINARY, toml
from harness.processes import POSTGRES_VERSION, run, run_or_fail
from harness.secrets import secret_file
from harness.tls_clients import certificate

EGRESS = "A legacy application and a server that requires TLS"
INGRESS = "TLS and client certificates in front of a server without TLS"
MIGRATION = "The server of the trials"
DEBIAN = "The second recipe on a Debian server"
# Parts of what each section is followed after or before; and DEBIAN, which has a test of its own.
SHARED = {"getting-started.md": ["Preparation", "The trial server", "Clean up", DEBIAN], "migrating.md": [MIGRATION]}

# The sections with commands, and the section that each says to follow before it. Each has a trial folder of its own.
GUIDES = {
    "getting-started.md": {EGRESS: None, INGRESS: None, "SCRAM with TLS on both sides": None},
    "what-postgresql-sees.md": {"Egress: seen by the server": EGRESS, "Ingress: seen by the server": INGRESS},
    "self-signed-servers.md": {"Pin a certificate": None},
    "from-pg-hba.md": {"Try your file": None},
    "secure-a-server.md": {
        "Checklist for pgveil in front of the server": INGRESS,
        "Checklist for pgveil beside the application": EGRESS,
    },
    "migrating.md": {
        "From stunnel": MIGRATION,
        "From stunnel in front of a server": MIGRATION,
        "From PgBouncer, used for TLS": MIGRATION,
        "From HAProxy": MIGRATION,
    },
    "managed-servers.md": {"A token, tried without a cloud": None},
}

# What the sections about other programs need.
PROGRAMS = {
    "From stunnel": "/usr/bin/stunnel",
    "From stunnel in front of a server": "/usr/bin/stunnel",
    "From PgBouncer, used for TLS": "/usr/sbin/pgbouncer",
    "From HAProxy": "/usr/sbin/haproxy",
}


@pytest.fixture(scope="session")
def program(workplace):
    """A copy of pgveil that PostgreSQL's account may run; the checkout may be where it cannot enter."""
    (workplace / "bin").mkdir()
    return shutil.copy(BINARY, workplace / "bin/pgveil")


@pytest.fixture
def new_terminal(folder, program):
    """Opens a terminal in an empty folder, if need be in a network of its own."""
    opened = []

    def start(namespace=None, **settings):
        opened.append(Terminal(folder, program, namespace, **settings))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.stop()


@pytest.fixture
def terminal(new_terminal):
    return new_terminal()


@pytest.fixture
def debian_server(folder):
    """A Debian server with nothing but its cluster `main`; see harness/network.py."""
    try:
        server = DebianServer(folder, POSTGRES_VERSION)
    except Unavailable as reason:
        pytest.skip(str(reason))
    yield server
    server.remove()


@pytest.mark.parametrize("page, section", [(page, section) for page in GUIDES for section in GUIDES[page]])
def test_a_section_can_be_followed(terminal, page, section):
    recipes = sections("getting-started.md")
    before = GUIDES[page][section]
    if section in PROGRAMS and not Path(PROGRAMS[section]).exists():
        pytest.skip(f"{PROGRAMS[section]} is not installed")
    terminal.follow(recipes["Preparation"] + recipes["The trial server"])
    if before:
        terminal.follow((recipes | sections(page))[before])
    terminal.follow(sections(page)[section])
    if page == "getting-started.md":
        terminal.follow(recipes["Clean up"])


@pytest.mark.parametrize("page, section, relayed", [
    ("getting-started.md", INGRESS, False),
    ("migrating.md", "From stunnel in front of a server", True),
    ("migrating.md", "From HAProxy", True),
])  # fmt: skip
def test_a_network_client_does_not_become_superuser_without_a_password(terminal, page, section, relayed):
    """pgveil runs as the system user of the superuser here, whom `peer` lets in on the Unix socket of the server."""
    if section in PROGRAMS and not Path(PROGRAMS[section]).exists():
        pytest.skip(f"{PROGRAMS[section]} is not installed")
    recipes = sections("getting-started.md")
    before = [] if page == "getting-started.md" else sections(page)[MIGRATION]
    terminal.follow(recipes["Preparation"] + recipes["The trial server"] + before + sections(page)[section])
    issue = '$new -keyout superuser.key -out superuser.crt -subj "/CN=$(id -un)" $no_ca -addext extendedKeyUsage=clientAuth'
    assert terminal.run(f"{issue} 2>>openssl.log")[0] == 0
    assert terminal.run(terminal.translated('psql "host=/tmp/pgveil-trial port=5432 dbname=postgres" -c "SELECT 1"'))[0] == 0
    database = "postgres" if relayed else "ledger"
    code, said = terminal.run(terminal.translated(
        f'psql "host=localhost port=6432 user=$(id -un) dbname={database} sslmode=require sslcert=superuser.crt'
        ' sslkey=superuser.key" --command "SHOW is_superuser"'))  # fmt: skip
    assert code == 2, said
    refusal = "pgveil: the server's way of authentication is not allowed" if relayed else "pg_hba.conf rejects connection"
    assert refusal in said


@pytest.mark.skipif(POSTGRES_VERSION != 15, reason="the recipe is for Debian 12, with PostgreSQL 15")
def test_the_recipe_for_a_debian_server_can_be_followed(new_terminal, debian_server):
    recipes = sections("getting-started.md")
    terminal = new_terminal(debian_server, account=None)
    terminal.follow(recipes["Preparation"] + recipes[DEBIAN])


def test_every_section_with_commands_is_followed():
    found = {
        (page.name, heading)
        for page in sorted(DOCS.glob("*.md"))
        for heading, blocks in sections(page.name).items()
        if any(block.language == "console" for block in blocks)
    }
    shared = {(page, section) for page in SHARED for section in SHARED[page]}
    assert found - shared == {(page, section) for page in GUIDES for section in GUIDES[page]}


class TestWhatIsFollowed:
    """Every difference from what a guide shows is a failure."""

    @pytest.mark.parametrize("shown", [
        "$ echo one\ntwo",
        "$ echo one",
        "$ true\none",
        "$ printf 'one\\ntwo\\n'\none",
        "$ false",
        "$ echo error: no; true\nerror: no",
        "$ echo port 5432\nport 6432",
    ])  # fmt: skip
    def test_must_print_what_is_shown(self, terminal, shown):
        with pytest.raises(AssertionError):
            terminal.follow([Block("console", shown, 1)])

    def test_may_print_anything_in_place_of_three_dots(self, terminal):
        terminal.follow([Block("console", "$ printf 'one\\ntwo\\nthree\\n'\no...e\n...\n$ echo done\ndone", 1)])

    def test_keeps_folder_and_variables(self, terminal):
        terminal.follow([Block("console", "$ mkdir here && cd here\n$ word=kept\n$ echo $word ${PWD##*/}\nkept here", 1)])

    def test_has_the_files_of_the_guide(self, terminal):
        terminal.follow([Block("conf", "# some.conf\none", 1), Block("conf", "# some.conf, at its end\ntwo", 5),
                         Block("console", "$ cat some.conf\n# some.conf\none\n# some.conf, at its end\ntwo", 9)])  # fmt: skip


class TestAnUnchangedApplication:
    """docs/self-signed-servers.md: the server's own name leads to pgveil by the hosts file, and pgveil has its address."""

    BLOCKS = sections("self-signed-servers.md")["An unchanged application"]
    NAME = "db01.internal.example.com"

    @pytest.fixture
    def terminal(self, new_terminal, names):
        """With the hosts file of the page, and a server at the address of the page."""
        (hosts,) = (block.text for block in self.BLOCKS if block.language == "")
        network = names(hosts=f"127.0.0.1 localhost\n{hosts}\n")
        run_or_fail(*network.prefix, "/usr/sbin/ip", "address", "add", "10.0.3.12/32", "dev", "lo")
        terminal = new_terminal(network)
        recipes = sections("getting-started.md")
        terminal.follow(recipes["Preparation"] + recipes["The trial server"])
        for command in (
            f'$new -keyout db01.key -out db01.crt -subj "/CN=db01" -addext subjectAltName=DNS:{self.NAME} $no_ca 2>>openssl.log',
            "printf '%s\\n' 'ssl = on' \"listen_addresses = '10.0.3.12'\" \"ssl_cert_file = '$PWD/db01.crt'\""
            " \"ssl_key_file = '$PWD/db01.key'\" >>data/postgresql.conf",
            "echo 'hostssl all all all trust' >data/pg_hba.conf",
            "pg_ctl --pgdata=data --log=server.log --silent start",
        ):
            assert terminal.run(command) == (0, "")
        return terminal

    def ask(self, terminal, settings: str) -> tuple[int, str]:
        """What psql prints, with its default for TLS, through a pgveil with these settings."""
        terminal.follow([Block("toml", f"# pgveil.toml\n{settings}", 0),
                         Block("console", "$ pgveil run --config pgveil.toml\n...\n... listening ...", 0)])  # fmt: skip
        sql = "SELECT ssl, inet_server_addr() FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        return terminal.run(terminal.translated(
            f'psql "host={self.NAME} port=5432 user=$(id -un) dbname=postgres" --no-align --tuples-only -c "{sql}"'))  # fmt: skip

    @property
    def settings(self) -> str:
        (settings,) = (block.text for block in self.BLOCKS if block.language == "toml")
        return settings.replace("/etc/pgveil/root.crt", "/tmp/pgveil-trial/ca.crt")

    def test_reaches_the_server_over_tls(self, terminal):
        assert self.ask(terminal, self.settings) == (0, "t|10.0.3.12\n")

    def test_does_not_without_hostaddr(self, terminal):
        code, said = self.ask(terminal, re.sub("(?m)^hostaddr.*\n", "", self.settings))
        assert code == 2
        assert "pgveil: the server does not support TLS, which is required" in said


class MetadataService(http.server.BaseHTTPRequestHandler):
    """Answers the requests that the documentation of Azure and of Google Cloud describes, and no other."""

    def do_GET(self):
        address = urllib.parse.urlsplit(self.path)
        azure = {"api-version": "2018-02-01", "resource": "https://ossrdbms-aad.database.windows.net"}
        is_known = (self.headers["Metadata"], self.headers["Metadata-Flavor"], address.path,
                    dict(urllib.parse.parse_qsl(address.query))) in [
            ("true", None, "/metadata/identity/oauth2/token", azure),
            (None, "Google", "/computeMetadata/v1/instance/service-accounts/default/token", {}),
        ]  # fmt: skip
        body = b'{"access_token": "a-token", "expires_in": 3599}' if is_known else b'{"error": "no such request"}'
        self.send_response(200 if is_known else 400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


SCRIPTS = [block.text for block in sections("managed-servers.md")["gcloud and az with the unit for systemd"] if block.language == "sh"]


class TestATokenOfAMetadataService:
    """docs/managed-servers.md: the scripts, with a server of our own at the address of the service."""

    @pytest.fixture
    def service(self, namespace):
        if not (shutil.which("curl") and shutil.which("jq")):
            pytest.skip("curl or jq is not installed")
        namespace.ip("link set lo up", "address add 169.254.169.254/32 dev lo")
        with namespace.entered():
            server = http.server.HTTPServer(("169.254.169.254", 80), MetadataService)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield namespace
        server.shutdown()
        server.server_close()
        thread.join()

    @pytest.mark.parametrize("script", SCRIPTS, ids=["azure", "cloudsql"])
    def test_is_printed(self, service, script):
        done = run(*service.prefix, "sh", "-c", script)
        assert (done.returncode, done.stdout) == (0, "a-token\n"), done.stderr

    @pytest.mark.parametrize("script", SCRIPTS, ids=["azure", "cloudsql"])
    def test_is_not_printed_after_an_error(self, service, script):
        done = run(*service.prefix, "sh", "-c", script.replace("etadata", "nothing"))
        assert done.returncode != 0 and done.stdout == ""


LINES_OF_SERVERS = [[cell.strip("`") for cell in row] for row in table("from-pg-hba.md", "Word by word")]


class TestALineOfAServer:
    """docs/from-pg-hba.md, row by row."""

    @pytest.fixture
    def check(self, folder, credentials, authority):
        def complaints(line: str) -> str:
            listener = {"address": "0.0.0.0:0", "upstream": "primary", "hba": line,
                        **certificate(credentials, ssl_ca_file=str(authority.file))}  # fmt: skip
            if line.startswith("local"):
                listener = {"address": f"unix:{folder}/.s.PGSQL.1", "upstream": "primary", "hba": line}
            if "scram-sha-256" in line:
                listener["auth_file"] = secret_file(folder / "userlist.txt", '"app" "a password"\n')
            if "map=people" in line:
                listener["ident"] = "people  /^CN=([a-z]+)$  \\1"
            file = folder / "pgveil.toml"
            file.write_text(toml({"listener": [listener], "upstream": {"primary": {"host": "/run/postgresql"}}}))
            done = run(BINARY, "check", "--config", file)
            return "\n".join(line for line in done.stderr.splitlines() if line.startswith("error:"))

        return complaints

    @pytest.mark.parametrize("line, message, instead", [row[:3] for row in LINES_OF_SERVERS])
    def test_is_judged_as_the_page_says(self, check, line, message, instead):
        said = check(line)
        assert said == "" if message == "accepted" else message in said, said
        assert check(instead) == ""
