"""Client certificates: for every kind of them the verdict of PostgreSQL's own method `cert`, and a reason in the log."""

import pytest

from harness.certificates import DAY, SERVER, Authority
from harness.pgveil import EX_CONFIG
from harness.tls_clients import answer, certificate, run_psql, shown

# Over TCP only who has a certificate of CN=billing; pgveil comes through the Unix socket.
SERVER_HBA = """
local    all  all  trust
hostssl  all  all  127.0.0.1/32  cert
"""
RULES = "hostssl all all 127.0.0.0/8 cert"
INVALID = "client_certificate_invalid"


@pytest.fixture(scope="module")
def server(postgres):
    with postgres.reconfigured(hba=SERVER_HBA):
        yield postgres


class Authorities:
    """`root` is the one that listeners and servers here trust."""

    def __init__(self, directory, root):
        self.root = root
        self.stranger = Authority(directory, "stranger")
        self.intermediate = Authority(directory, "intermediate", issuer=root)


@pytest.fixture(scope="module")
def ca(workplace, authority):
    directory = workplace / "clients"
    directory.mkdir()
    return Authorities(directory, authority)


CLIENTS = {
    "good": ("", lambda ca: ca.root.issue_to_client("billing"), "", ""),
    "through an intermediate": ("", lambda ca: ca.intermediate.issue_to_client("billing"), "", ""),
    "without its intermediate": (
        INVALID, lambda ca: ca.intermediate.issue_to_client("billing", chain=False), "unknown ca", "intermediate"),
    "of another authority": (INVALID, lambda ca: ca.stranger.issue_to_client("billing"), "unknown ca", "stranger"),
    "expired": (INVALID, lambda ca: ca.root.issue_to_client("billing", age=3 * DAY), "certificate expired", "expired on"),
    "not yet valid": (
        INVALID, lambda ca: ca.root.issue_to_client("billing", age=-DAY), "bad certificate", "not valid before"),
    "for servers": (
        INVALID, lambda ca: ca.root.issue("billing", usage=SERVER), "unsupported certificate", "certificate purpose"),
    "missing": (
        "client_certificate_required", lambda ca: None, "FATAL:  pgveil: connection requires a valid client certificate", ""),
    "of another user": (
        "identity_not_mapped", lambda ca: ca.root.issue_to_client("orders"),
        "FATAL:  pgveil: the client certificate may not log in as this user", ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: kind.replace(" ", "-"))
def test_the_verdict_is_that_of_postgres(kind, ca, pgveil, server, credentials):
    reason, issue, words, diagnosis = CLIENTS[kind]
    proxy = pgveil(server.unix_upstream(), listener=certificate(credentials, ssl_ca_file=str(ca.root.file), hba=RULES))
    client = {"user": "billing", **shown(issue(ca))}
    by_postgres = run_psql(server, ca.root, "SELECT current_user", **client)
    by_pgveil = run_psql(proxy, ca.root, "SELECT current_user", **client)
    assert by_pgveil.returncode == by_postgres.returncode == (2 if reason else 0), by_postgres.stderr
    line = proxy.end_of_session()
    if not reason:
        assert answer(by_pgveil) == "billing"
        assert "identity=CN\\=billing" in line or 'identity="CN=billing"' in line
        return
    assert words in by_pgveil.stderr
    assert f"reason={reason}" in line and diagnosis in line


@pytest.mark.parametrize("setting", ["ssl_crl_file", "ssl_crl_dir"])
def test_a_revoked_certificate_is_refused_as_postgres_does(setting, ca, pgveil, server, credentials, folder):
    good, revoked = ca.root.issue_to_client("billing"), ca.root.issue_to_client("billing")
    crl = ca.root.revoke(revoked)
    crl.chmod(0o644)
    value = crl if setting == "ssl_crl_file" else hashed_directory(folder / "crls", crl)
    listener = certificate(credentials, ssl_ca_file=str(ca.root.file), hba=RULES, **{setting: str(value)})
    proxy = pgveil(server.unix_upstream(), listener=listener)
    with server.reconfigured(hba=SERVER_HBA, **{setting: value}):
        for to in server, proxy:
            assert answer(run_psql(to, ca.root, "SELECT 1", user="billing", **shown(good))) == "1"
            done = run_psql(to, ca.root, "SELECT 1", user="billing", **shown(revoked))
            assert "certificate revoked" in done.stderr
    # The module's own rules again.
    server._reconfigure(SERVER_HBA, "", [])
    proxy.wait_for_line(r"session_closed.*reason=client_certificate_invalid.*was revoked")


def hashed_directory(directory, crl):
    from harness.processes import run_or_fail

    directory.mkdir()
    name = run_or_fail("openssl", "crl", "-hash", "-noout", "-in", crl).strip()
    (directory / f"{name}.r0").write_bytes(crl.read_bytes())
    return directory


def test_a_client_key_may_be_encrypted(ca, pgveil, server, credentials):
    proxy = pgveil(server.unix_upstream(), listener=certificate(credentials, ssl_ca_file=str(ca.root.file), hba=RULES))
    client = ca.root.issue_to_client("billing", passphrase="open sesame")
    done = run_psql(proxy, ca.root, "SELECT 1", user="billing", sslpassword="open sesame", **shown(client))
    assert answer(done) == "1"


def test_the_key_of_the_listener_may_be_encrypted(ca, pgveil, server, refusal, credentials):
    encrypted = ca.root.issue("localhost", dns=["localhost"], passphrase="open sesame")
    listener = certificate(encrypted, ssl_passphrase_command="echo open sesame")
    proxy = pgveil(server.unix_upstream(), listener=listener)
    assert answer(run_psql(proxy, ca.root, "SELECT 1", user="billing")) == "1"
    for command in "echo wrong", "exit 3":
        listener["ssl_passphrase_command"] = command
        complaint = refusal(server.unix_upstream(), EX_CONFIG, **listener)
        assert "refused.toml:" in complaint and "open sesame" not in complaint and "wrong" not in complaint.replace(
            "echo wrong", "")  # fmt: skip
