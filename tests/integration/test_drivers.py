"""Drivers that speak the protocol by themselves, each through TLS that it verifies: logins and a query."""

import asyncio
import os
import shutil
import ssl
from pathlib import Path

import pytest

from harness.postgres import PASSWORD
from harness.processes import run
from harness.secrets import secret_file
from harness.tls_clients import certificate, shown
from harness.tree import CACHE

PROGRAMS = Path(__file__).parent / "drivers"
METHODS = ["scram-sha-256", "password", "cert"]


@pytest.fixture(params=METHODS)
def front(request, pgveil, postgres, authority, credentials, folder):
    """pgveil with TLS on both sides, for a client that logs in by `method`, and the client's certificate for it."""
    method = request.param
    verifier = postgres.admin("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")
    rule = f"hostssl all all all {method}" + (" map=m" if method == "cert" else "")
    names = {"ident": "m workload app"} if "map=m" in rule else {}
    listener = certificate(credentials, ssl_ca_file=str(authority.file), hba=rule, **names)
    upstream = postgres.upstream()
    if method == "scram-sha-256":
        listener["auth_file"] = secret_file(folder / "userlist.txt", f'"app" "{verifier}"\n')
    if method == "cert":
        upstream["passfile"] = secret_file(folder / "pgpass", f"*:*:*:app:{PASSWORD}\n")
    return pgveil(upstream, listener=listener), authority.issue_to_client("workload")


def test_psycopg(front, authority):
    psycopg2 = pytest.importorskip("psycopg2")
    proxy, mine = front
    files = {name: str(path) for name, path in shown(mine).items()}
    connection = psycopg2.connect(proxy.tls_string(user="app", password=PASSWORD, sslrootcert=authority.file, **files))
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user, %s::int", (7,))
        assert cursor.fetchone() == ("app", 7)
    connection.close()


def test_asyncpg(front, authority):
    asyncpg = pytest.importorskip("asyncpg")
    proxy, mine = front
    context = ssl.create_default_context(cafile=str(authority.file))
    context.load_cert_chain(mine.certificate, mine.key)

    async def ask():
        connection = await asyncpg.connect(host="localhost", port=proxy.address[1], user="app", password=PASSWORD,
                                           database="ledger", ssl=context)  # fmt: skip
        try:
            return await connection.fetchrow("SELECT current_user AS who, $1::int AS number", 7)
        finally:
            await connection.close()

    row = asyncio.run(ask())
    assert (row["who"], row["number"]) == ("app", 7)


def node_modules() -> str:
    """Where `pg` is: Debian's package, or npm's on a machine that has a Node.js of its own."""
    if Path("/usr/share/nodejs/pg").exists():
        return "/usr/share/nodejs"
    folder = CACHE / "node"
    if not (folder / "node_modules/pg").exists():
        if not shutil.which("npm"):
            pytest.skip("neither node-pg nor npm is installed")
        folder.mkdir(parents=True, exist_ok=True)
        # With the environment of this user, whose registry it is.
        done = run("npm", "install", "--no-audit", "--no-fund", "--prefix", folder, "pg@8", timeout=300, env=os.environ)
        if done.returncode != 0:
            pytest.skip(f"npm cannot install pg: {done.stderr.strip()[-200:]}")
    return str(folder / "node_modules")


def test_node_postgres(front, authority):
    proxy, mine = front
    modules = node_modules()
    done = run("node", PROGRAMS / "ask.js", modules, proxy.address[1], authority.file, mine.certificate, mine.key,
               PASSWORD)  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "app 7"), done.stderr


@pytest.fixture(scope="session")
def jdbc(workplace):
    """The class path of a compiled Ask.java."""
    driver = Path("/usr/share/java/postgresql.jar")
    if not driver.exists() or not shutil.which("javac"):
        pytest.skip("libpostgresql-jdbc-java or a JDK is not installed")
    folder = workplace / "jdbc"
    done = run("javac", "-d", folder, PROGRAMS / "Ask.java", timeout=120)
    assert done.returncode == 0, done.stderr
    return f"{folder}:{driver}"


def test_jdbc(front, authority, jdbc, folder):
    proxy, mine = front
    # JDBC wants the key in DER.
    key = folder / "client.pk8"
    converted = run("openssl", "pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in", mine.key, "-out", key)
    assert converted.returncode == 0, converted.stderr
    url = (f"jdbc:postgresql://localhost:{proxy.address[1]}/ledger?sslmode=verify-full&sslrootcert={authority.file}"
           f"&sslcert={mine.certificate}&sslkey={key}")  # fmt: skip
    done = run("java", "-cp", jdbc, "Ask", url, PASSWORD, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "app 7"), done.stderr
