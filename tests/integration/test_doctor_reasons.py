"""For each reason of docs/reasons.md that a server can cause before a session is established: what `pgveil doctor` says is
what ends a session with the same server. The reasons of the verdict are also in test_doctor.py and test_doctor_servers.py."""

import itertools
import json
import re
import ssl
from pathlib import Path

import pytest

from harness import scram
from harness.certificates import CLIENT
from harness.pgveil import BINARY, EX_UNAVAILABLE, toml
from harness.postgres import PASSWORD
from harness.processes import environment, run
from harness.scram import authentication, mechanisms
from harness.secrets import secret_file

HERE = Path(__file__).resolve().parent

# What doctor does not meet, and why.
NOT_MET = {
    "upstream_requires_channel_binding": "of connections without TLS, over which doctor sends no password",
    "upstream_certificate_not_shared": "of a setting of a listener: a session compares the two certificates",
}


def examine(folder, upstream: dict, *words, **variables):
    """Exit code, the report of the server, and its steps by name, with the settings of `upstream` in a file."""
    path = folder / "pgveil.toml"
    listener = {"address": "127.0.0.1:0", "upstream": "primary", "hba": "host all all 127.0.0.1/32 trust\n"}
    path.write_text(toml({"listener": [listener], "upstream": {"primary": upstream}}), encoding="utf-8")
    done = run(BINARY, "doctor", "--json", "--config", path, *words, env=environment(**variables))
    assert done.stderr == "" or done.stderr.startswith("warning: "), done.stderr
    (report,) = json.loads(done.stdout)["servers"]
    return done.returncode, report, {step["name"]: step for step in report["steps"]}


def end_of_session(pgveil, upstream: dict) -> str:
    """How a session ends whose login pgveil completes, as user `app`."""
    proxy = pgveil(upstream, listener={"hba": "host all all all trust\n"})
    assert proxy.psql("SELECT 1", user="app").returncode != 0
    return proxy.end_of_session()


def accept(peer, credentials):
    """Without TLS 1.0 and 1.1, which are faults."""
    peer.accept_tls(credentials, minimum_version=ssl.TLSVersion.TLSv1_2)


# --- the verdict ---


@pytest.mark.parametrize("kind", ["purpose", "weak key"])
def test_a_certificate_that_is_not_valid(folder, pgveil, scripted_server, authority, kind):
    options = {"usage": CLIENT} if kind == "purpose" else {"kind": "rsa1024"}
    credentials = authority.issue("localhost", dns=["localhost"], **options)
    server = scripted_server(lambda peer: accept(peer, credentials))
    upstream = server.upstream(sslrootcert=str(authority.file))
    code, report, steps = examine(folder, upstream)
    assert code == EX_UNAVAILABLE and report["verdict"]["reason"] == "upstream_certificate_invalid"
    assert "reason=upstream_certificate_invalid " in end_of_session(pgveil, upstream)
    assert steps["verdict"]["finding"]["side"] == "server"


def test_a_process_of_another_user(folder, pgveil, postgres):
    upstream = postgres.unix_upstream(requirepeer="somebody")
    code, report, steps = examine(folder, upstream)
    assert code == EX_UNAVAILABLE and report["verdict"]["reason"] == "upstream_wrong_peer"
    assert "reason=upstream_wrong_peer " in end_of_session(pgveil, upstream)
    assert 'requirepeer is "somebody"' in steps["verdict"]["finding"]["cause"]


# --- the login, after a positive verdict ---


def asks(*messages):
    """A server that follows the StartupMessage with each message, and reads one answer to each."""

    def script(peer):
        peer.receive_startup_packet()
        for message in messages:
            peer.send(message)
            peer.receive_message()

    return script


def proves_nothing(peer):
    peer.receive_startup_packet()
    scram.serve(peer, scram.Keys(PASSWORD), signature=b"x" * 32)


LOGINS = [
    ("upstream_auth_unsupported", asks(authentication(7))),
    ("upstream_auth_unsupported", asks(mechanisms(b"SCRAM-SHA-512"))),
    ("upstream_signature_wrong", proves_nothing),
    ("upstream_protocol_violation", asks(mechanisms(*scram.BOTH), authentication(11, b"nonsense"))),
]


@pytest.mark.parametrize("reason, script", LOGINS, ids=[f"{reason}-{i}" for i, (reason, _) in enumerate(LOGINS)])
def test_a_login_that_fails(folder, pgveil, scripted_server, credentials, authority, reason, script):
    def whole(peer):
        accept(peer, credentials)
        script(peer)

    passfile = secret_file(folder / "pgpass", f"*:*:*:app:{PASSWORD}\n")
    upstream = scripted_server(whole).upstream(sslrootcert=str(authority.file), passfile=passfile)
    code, report, steps = examine(folder, upstream, "--user", "app", "--dbname", "ledger")
    assert report["verdict"]["verified"] and code == EX_UNAVAILABLE
    assert f"(reason {reason})" in steps["session"]["text"]
    assert f"reason={reason} " in end_of_session(pgveil, upstream)


@pytest.mark.parametrize("last, step, reason", [(b"", "login", "upstream_unreachable"),
                                                (mechanisms(*scram.BOTH), "session", "upstream_lost")],
                         ids=["before a request", "after one"])  # fmt: skip
def test_a_server_that_leaves_during_the_login(folder, pgveil, scripted_server, credentials, authority, last, step, reason):
    """Doctor has no reason for it, only the words."""

    def script(peer):
        accept(peer, credentials)
        peer.receive_startup_packet()
        if last:
            peer.send(last)
            peer.receive_message()
        peer.socket = peer.socket.unwrap()

    passfile = secret_file(folder / "pgpass", f"*:*:*:app:{PASSWORD}\n")
    upstream = scripted_server(script).upstream(sslrootcert=str(authority.file), passfile=passfile)
    code, report, steps = examine(folder, upstream, "--user", "app", "--dbname", "ledger")
    assert code == EX_UNAVAILABLE and report["verdict"]["verified"]
    assert steps[step]["outcome"] == "failed" and "the server closed the connection" in steps[step]["text"]
    assert f"reason={reason} " in end_of_session(pgveil, upstream)


def test_a_wrong_password(folder, pgveil, postgres):
    """Doctor says the SQLSTATE of the server."""
    passfile = secret_file(folder / "pgpass", "*:*:*:app:wrong\n")
    upstream = postgres.upstream(passfile=passfile)
    code, _, steps = examine(folder, upstream, "--user", "app", "--dbname", "ledger")
    assert code == EX_UNAVAILABLE and steps["session"]["text"] == "refused with SQLSTATE 28P01"
    end = end_of_session(pgveil, upstream)
    assert "reason=upstream_refused_password " in end and "sqlstate=28P01" in end


def test_a_user_who_may_not_log_in(folder, pgveil, postgres):
    passfile = secret_file(folder / "pgpass", f"*:*:*:app:{PASSWORD}\n")
    upstream = postgres.upstream(passfile=passfile)
    with postgres.reconfigured(hba="hostssl all app 127.0.0.1/32 reject\n"):
        code, _, steps = examine(folder, upstream, "--user", "app", "--dbname", "ledger")
        end = end_of_session(pgveil, upstream)
    assert code == EX_UNAVAILABLE and steps["login"]["text"] == "refused with SQLSTATE 28000"
    assert "reason=upstream_refused_login " in end and "sqlstate=28000" in end


def test_a_password_that_is_not_known(folder, pgveil, postgres):
    """Doctor does not try such a login, unless the server asks for a password only the next time."""
    upstream = postgres.upstream()
    _, _, steps = examine(folder, upstream, "--user", "app", "--dbname", "ledger")
    assert steps["session"]["text"] == "not tried: no password is known (--passfile)"
    assert "reason=upstream_asks_for_password " in end_of_session(pgveil, upstream)


def test_a_password_that_is_asked_for_the_next_time(folder, scripted_server, credentials, authority):
    logins = itertools.count()

    def script(peer):
        accept(peer, credentials)
        peer.receive_startup_packet()
        peer.send(authentication(0 if next(logins) < 2 else 3))

    upstream = scripted_server(script).upstream(sslrootcert=str(authority.file))
    code, _, steps = examine(folder, upstream, "--user", "app", "--dbname", "ledger")
    assert code == EX_UNAVAILABLE and "(reason upstream_asks_for_password)" in steps["session"]["text"]


# --- the table ---


def test_each_reason_of_a_server_is_compared_or_cannot_be_met():
    page = (HERE.parents[1] / "docs/reasons.md").read_text(encoding="utf-8")
    reasons = set(re.findall(r"(?m)^\| `(upstream_\w+)` \| \d", page))  # those with an SQLSTATE are ends of sessions
    files = [file.read_text(encoding="utf-8") for file in HERE.glob("test_doctor*.py")]
    tests = "".join(re.sub(r"(?s)\nNOT_MET = \{.*?\n\}\n", "", text) for text in files)
    assert len(reasons) > 20
    assert {reason for reason in reasons if not re.search(rf"\b{reason}\b", tests)} == set(NOT_MET)
