"""Every cell of the table in docs/authentication.md: client, upstream, method, channel_binding and require_auth."""

import itertools

import pytest

from harness.pgveil import BINARY
from harness.postgres import PASSWORD
from harness.processes import run
from harness.secrets import secret_file
from harness.tls_clients import certificate, run_psql, shown

METHODS = ["relay", "scram-sha-256", "password", "cert"]
BINDINGS = ["disable", "prefer", "require"]
REQUIRED = [None, "scram-sha-256", "password", "none"]
# The server of the tests asks `app` for SCRAM over TLS; on its Unix socket it does so for this test.
HBA = "local all all scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n"


def expected(client: str, upstream: str, method: str, binding: str, require_auth: str | None = None) -> set[str]:
    """What stands in the error of a login, either of them where two things are wrong; empty: it works."""
    asked = {"relay": "scram-sha-256", "scram-sha-256": "scram-sha-256", "password": "password", "cert": "none"}[method]
    errors = {binding_error(client, upstream, method, binding)} - {None}
    if require_auth and require_auth != asked:
        errors.add(f'authentication method requirement "{require_auth}" failed')
    return errors


def binding_error(client: str, upstream: str, method: str, binding: str) -> str | None:
    if binding == "require" and client == "plain":
        return "channel binding required, but SSL not in use"
    if method == "relay" and client == "tls":
        if upstream == "tls" and binding != "disable":
            return "the proxy terminates TLS, so channel binding cannot be relayed"
        if binding == "require":
            return "channel binding is required, but server did not offer an authentication method"
    if binding == "require" and method == "password":
        return "channel binding required but not supported by server's authentication request"
    if binding == "require" and method == "cert":
        return "channel binding required, but server authenticated client without channel binding"
    return None


CELLS = [
    cell
    for cell in itertools.product(["plain", "tls"], ["unix", "tls"], METHODS)
    # Where there is no TLS, there are no certificates, and no password may be asked for.
    if not (cell[0] == "plain" and cell[2] in ("password", "cert"))
]


@pytest.fixture(scope="module")
def asking(postgres):
    with postgres.reconfigured(hba=HBA):
        yield postgres


@pytest.fixture(scope="module")
def asking18(newer_postgres):
    with newer_postgres.reconfigured(hba=HBA):
        yield newer_postgres


@pytest.fixture
def front(pgveil, authority, credentials, folder):
    """Starts pgveil before `cluster` for one cell of the table."""

    def start(cluster, client: str, upstream: str, method: str):
        verifier = cluster.admin("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")
        passfile = secret_file(folder / "pgpass", f"*:*:*:app:{PASSWORD}\n")
        record = "hostssl" if client == "tls" else "host"
        listener = {"hba": f"{record} all all all {method}{' map=m' if method == 'cert' else ''}\n"}
        if method == "cert":
            listener["ident"] = "m workload app\n"
        if method == "scram-sha-256":
            listener["auth_file"] = secret_file(folder / "userlist.txt", f'"app" "{verifier}"\n')
        if client == "tls":
            listener |= certificate(credentials, ssl_ca_file=str(authority.file))
        held = {"passfile": passfile} if method == "cert" else {}
        return pgveil(cluster.unix_upstream(**held) if upstream == "unix" else cluster.upstream(**held), listener=listener)

    return start


def judge(done, errors: set[str], cell) -> None:
    if errors:
        assert done.returncode != 0, (cell, done.stdout)
        assert any(error in done.stderr for error in errors), (cell, errors, done.stderr)
    else:
        assert (done.returncode, done.stdout.strip()) == (0, "app"), (cell, done.stderr)


@pytest.mark.parametrize(("client", "upstream", "method"), CELLS)
def test_libpq_15(front, asking, authority, client, upstream, method):
    proxy = front(asking, client, upstream, method)
    mine = shown(authority.issue_to_client("workload") if method == "cert" else None)
    mode = {"sslmode": "disable", "host": "127.0.0.1"} if client == "plain" else mine
    for binding in BINDINGS:
        done = run_psql(proxy, authority, "SELECT current_user", channel_binding=binding, **mode)
        judge(done, expected(client, upstream, method, binding), binding)


@pytest.mark.parametrize(("client", "upstream", "method"), CELLS)
def test_libpq_18(front, asking18, newer_tree, authority, client, upstream, method):
    proxy = front(asking18, client, upstream, method)
    mine = shown(authority.issue_to_client("workload") if method == "cert" else None)
    mode = {"sslmode": "disable", "host": "127.0.0.1"} if client == "plain" else {"sslrootcert": authority.file, **mine}
    for binding, require_auth in itertools.product(BINDINGS, REQUIRED):
        more = {"require_auth": require_auth} if require_auth else {}
        make = proxy.connection_string if client == "plain" else proxy.tls_string
        string = make(user="app", password=PASSWORD, channel_binding=binding, **mode, **more)
        done = run(*newer_tree.command("psql", "--no-psqlrc", "-tAqc", "SELECT current_user", string))
        judge(done, expected(client, upstream, method, binding, require_auth), (binding, require_auth))


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_shared_certificate_passes_everything_through(pgveil, asking, authority, binding):
    listener = certificate(asking.credentials, shared_certificate=True)
    proxy = pgveil(asking.upstream(), listener=listener)
    judge(run_psql(proxy, authority, "SELECT current_user", channel_binding=binding), set(), binding)


FORECASTS = {
    ("plain", "tls", "relay"): "channel_binding=require fails: without TLS there is no channel to bind.",
    ("tls", "unix", "relay"): "channel_binding=require fails: the server's connection has no TLS.",
    ("tls", "tls", "relay"): "SCRAM with channel_binding=prefer (the default) or require fails: TLS ends here",
    ("tls", "tls", "scram-sha-256"): "pgveil asks the users of auth_file (1)",
    ("plain", "tls", "scram-sha-256"): "channel_binding=require fails: without TLS there is no channel to bind.",
    ("tls", "tls", "password"): "channel_binding=require and require_auth without password fail",
    ("tls", "tls", "cert"): "pgveil logs in to the server with a password of passfile (scram-sha-256, bound to TLS",
}


@pytest.mark.parametrize("cell", FORECASTS, ids="-".join)
def test_check_says_which_logins_will_work(front, postgres, folder, cell):
    front(postgres, *cell)
    done = run(BINARY, "check", "--config", folder / "pgveil-0.toml")
    assert done.returncode == 0 and FORECASTS[cell] in done.stdout, done.stdout
