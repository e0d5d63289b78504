"""Fixtures: every test asks for the servers and the pgveil it needs, and nothing outlives it."""

import itertools
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from harness.certificates import Authority
from harness.io_uring import why_not
from harness.network import ONE_WAY, AddressedNamespace, Names, SlowLine
from harness.network import Unavailable as NoLine
from harness.pgveil import BINARY, EX_CONFIG, RELAY, Pgveil, toml
from harness.postgres import Cluster
from harness.processes import POSTGRES_VERSION, POSTGRES_VERSIONS, environment, run
from harness.scripted_server import ScriptedServer
from harness.tree import Tree, Unavailable

# psycopg2's libpq reads the environment of this process.
os.environ.update(environment())
for name in [name for name in os.environ if name.startswith("PG") and name not in environment()]:
    if not name.startswith("PGVEIL"):
        del os.environ[name]


@pytest.fixture(scope="session")
def workplace():
    """A directory that PostgreSQL's account may enter, with a path short enough for Unix sockets."""
    directory = Path(tempfile.mkdtemp(prefix="pgveil-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def authority(workplace):
    """The root CA that the tests trust."""
    (workplace / "ca").mkdir()
    return Authority(workplace / "ca", "test root")


@pytest.fixture(scope="session")
def credentials(authority):
    """A good certificate for `localhost`."""
    return authority.issue("localhost", dns=["localhost"])


@pytest.fixture(scope="session")
def postgres(workplace, authority):
    """The real server; see harness/postgres.py for its roles."""
    cluster = Cluster(workplace / "pg", authority)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def newer_tree(workplace):
    """PostgreSQL 18 with its libpq; see harness/tree.py."""
    try:
        return Tree(workplace)
    except Unavailable as reason:
        pytest.skip(f"PostgreSQL 18 is not tested: {reason}")


@pytest.fixture(scope="session")
def newer_postgres(workplace, authority, newer_tree):
    """As `postgres`, of version 18."""
    cluster = Cluster(workplace / "pg18", authority, newer_tree)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session", params=POSTGRES_VERSIONS, ids=lambda version: f"PostgreSQL {version}")
def each_postgres(request, workplace, authority, postgres):
    """As `postgres`, of each release that the machine has. Debian 12 has only 15."""
    if request.param == POSTGRES_VERSION:
        yield postgres
        return
    cluster = Cluster(workplace / f"pg{request.param}", authority, binaries=f"/usr/lib/postgresql/{request.param}/bin")
    yield cluster
    cluster.stop()


@pytest.fixture
def folder(workplace):
    """A directory of this test's own. Its path is short, unlike tmp_path's."""
    directory = Path(tempfile.mkdtemp(dir=workplace))
    directory.chmod(0o755)
    return directory


@pytest.fixture
def pgveil(folder):
    """Starts pgveil: pgveil(UPSTREAM, ...) for one listener on a free port of 127.0.0.1.

    `listener`, `limits`, `log` and further keywords add settings to these sections and to the upstream;
    `flags` replaces the file by flags. After the test, each one must end with exit code 0 on SIGTERM."""
    running = []
    numbers = itertools.count()

    def start(upstream=None, *, listener=None, configuration=None, flags=None, prefix=(), listeners=1,
              variables=None, pass_fds=(), **sections):
        if flags is None:
            configuration = configuration or {
                "listener": [{"address": "127.0.0.1:0", "upstream": "primary", **(listener or {})}],
                "upstream": {"primary": upstream},
                **sections,
            }
            listeners = len(configuration["listener"])
            file = folder / f"pgveil-{next(numbers)}.toml"
            file.write_text(toml(configuration), encoding="utf-8")
            if "sslpassword" in toml(configuration):
                file.chmod(0o600)
            flags = ["--config", file]
        proxy = Pgveil(*flags, listeners=listeners, prefix=prefix, pass_fds=pass_fds, **(variables or {}))
        running.append(proxy)
        return proxy

    yield start
    # All are ended before any is judged.
    codes = [proxy.stop() for proxy in running]
    for proxy, code in zip(running, codes):
        assert code == 0, f"exit code {code}:\n{proxy.log}"


@pytest.fixture
def refusal(folder):
    """Runs pgveil with a configuration that it must refuse, and returns its output. `check` must report the same errors."""

    def start(upstream, exit_code=EX_CONFIG, *, address="127.0.0.1:0", **listener):
        file = folder / "refused.toml"
        listener = {"address": address, "upstream": "primary", **listener}
        file.write_text(toml({"listener": [listener], "upstream": {"primary": upstream}}), encoding="utf-8")
        done = run(BINARY, "run", "--config", file)
        if exit_code == EX_CONFIG:
            checked = run(BINARY, "check", "--config", file)
            assert (checked.returncode, checked.stderr) == (done.returncode, done.stderr)
        assert done.returncode == exit_code, done.stderr
        return done.stderr

    return start


@pytest.fixture
def scripted_server():
    """Starts a server that follows a script; see harness/scripted_server.py."""
    running = []

    def start(script, **settings):
        running.append(ScriptedServer(script, **settings))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def slow_line():
    """A line with a delay; see harness/network.py."""
    try:
        line = SlowLine(ONE_WAY)
    except NoLine as reason:
        pytest.skip(str(reason))
    yield line
    line.remove()


@pytest.fixture
def namespace():
    """A network namespace with addresses that are not loopback; see harness/network.py."""
    try:
        made = AddressedNamespace()
    except NoLine as reason:
        pytest.skip(str(reason))
    yield made
    made.remove()


@pytest.fixture
def names(folder):
    """Starts a network with a name server: names(hosts=..., options=...); see harness/network.py."""
    running = []

    def start(**settings):
        try:
            running.append(Names(folder, **settings))
        except NoLine as reason:
            pytest.skip(str(reason))
        return running[-1]

    yield start
    for network in running:
        network.remove()


def pytest_sessionstart(session):
    if not BINARY.exists():
        sys.exit(f"{BINARY} does not exist; build it, or set PGVEIL")


def pytest_collection_modifyitems(items):
    if RELAY.get("PGVEIL_RELAY") == "io_uring" and why_not():
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"io_uring: {why_not()}"))
