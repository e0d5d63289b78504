"""What `pgveil doctor` does with servers that are slow, that send without end, or that leave out a part of the protocol."""

import contextlib
import json
import os
import socket
import ssl
import time

import pytest

from harness import wire
from harness.certificates import Authority
from harness.pgveil import BINARY, EX_UNAVAILABLE
from harness.processes import environment, run

PASSWORD = "hunter2 of app"
OK = wire.message(b"R", b"\0\0\0\0")
READY = wire.message(b"Z", b"I")
NOTICE = wire.message(b"N", b"SNOTICE\0C00000\0Mwait\0\0")
SCRAM = wire.message(b"R", b"\0\0\0\x0aSCRAM-SHA-256\0\0")


def examine(server, authority, *words, timeout="1s", **variables):
    """Exit code, the report, its steps by name, and the seconds that it took."""
    begin = time.monotonic()
    done = run(BINARY, "doctor", "--json", f"localhost:{server.port}", "--hostaddr", "127.0.0.1", "--sslrootcert",
               authority.file, "--connect-timeout", timeout, *words, env=environment(**variables))  # fmt: skip
    seconds = time.monotonic() - begin
    assert done.returncode in (0, EX_UNAVAILABLE), done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    (report,) = json.loads(done.stdout)["servers"]
    return done.returncode, report, {step["name"]: step for step in report["steps"]}, seconds


def log_in(server, authority, **settings):
    return examine(server, authority, "--user", "app", PGPASSWORD=PASSWORD, **settings)


def repeat(send, pause: float):
    """Calls `send` until the other end is gone."""
    with contextlib.suppress(OSError):
        while True:
            send()
            time.sleep(pause)


def after_tls(credentials, continue_with):
    """The script of a server that follows `continue_with` once it has a StartupMessage over TLS."""

    def script(peer):
        peer.accept_tls(credentials)
        peer.startup = peer.receive_startup_packet()
        continue_with(peer)

    return script


# --- without end ---


def test_a_record_that_comes_byte_by_byte_after_the_handshake(scripted_server, credentials, authority):
    """Nobody has verified who sends it."""

    def script(peer):
        peer.accept_tls(credentials)
        raw = peer.socket.fileno()
        os.write(raw, b"\x17\x03\x03\x40\x00")  # the beginning of a record of 16 KiB
        repeat(lambda: os.write(raw, b"x"), 0.02)

    _, report, _, seconds = examine(scripted_server(script), authority)
    assert report["verdict"]["verified"] and seconds < 15


@pytest.mark.parametrize("before", [b"", OK], ids=["before the first answer", "before ReadyForQuery"])
def test_notices_do_not_prolong_a_login(scripted_server, credentials, authority, before):
    def dawdle(peer):
        if before:
            peer.send(before)
        repeat(lambda: peer.send(NOTICE), 0.3)

    server = scripted_server(after_tls(credentials, dawdle))
    _, _, steps, seconds = log_in(server, authority)
    step = steps["session"] if before else steps["login"]
    assert "no answer in time" in step["text"] and step["duration_us"] < 3_000_000 and seconds < 20


def test_parameters_without_end_are_refused(scripted_server, credentials, authority):
    def flood(peer):
        peer.send(OK)
        many = b"".join(wire.message(b"S", b"name%d\0" % number + b"x" * 1000 + b"\0") for number in range(64))
        repeat(lambda: peer.send(many), 0)

    code, _, steps, _ = log_in(scripted_server(after_tls(credentials, flood)), authority, timeout="20s")
    assert code == EX_UNAVAILABLE and steps["session"]["text"] == "the answer is too large"


# --- versions and ciphers that are not known ---


def after_the_verdict(server, credentials, then):
    """The script of a server that behaves for two connections, which are the survey and the session, and then does `then`."""

    def script(peer):
        if server and peer in server[0].peers[:2]:
            peer.accept_tls(credentials, minimum_version=ssl.TLSVersion.TLSv1_2)
            peer.receive_to_end()
        else:
            then(peer)

    return script


@pytest.mark.parametrize("end, words", [("stalls", "no answer in time"), ("closes", "the server closed the connection"),
                                        ("closes in TLS", "not known: ")])  # fmt: skip
def test_what_a_server_accepts_is_not_known_without_its_answer(scripted_server, credentials, authority, end, words):
    """Neither "no old versions" nor "no broken ciphers"."""

    def then(peer):
        peer.receive(8)
        if end == "closes":
            return peer.close()
        peer.send(b"S")
        if end == "stalls":
            return peer.receive_to_end()
        peer.receive(5)  # the beginning of the ClientHello
        return peer.close()

    server = []
    server.append(scripted_server(after_the_verdict(server, credentials, then)))
    _, report, steps, seconds = examine(server[0], authority, timeout="10s")
    assert report["verdict"]["verified"] and not report["tls"]["complete"]
    for name in ("versions", "ciphers"):
        assert steps[name]["outcome"] == "noted" and steps[name]["text"].startswith("not known: ")
        assert words in steps[name]["text"]
    assert seconds < 20


def test_a_server_that_stalls_after_its_server_hello_is_waited_for_once(scripted_server, credentials, authority):
    """It has chosen version and cipher, but each further connection would wait as long."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.certificate, credentials.key)

    def then(peer):
        if peer.receive(8) != wire.SSL_REQUEST:
            return peer.close()
        peer.send(b"S")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        incoming.write(peer.socket.recv(4096))
        with contextlib.suppress(ssl.SSLError):
            context.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
        records = outgoing.read()
        peer.send(records[: 5 + int.from_bytes(records[3:5], "big")])
        return peer.receive_to_end()

    server = []
    server.append(scripted_server(after_the_verdict(server, credentials, then)))
    _, report, steps, seconds = examine(server[0], authority, timeout="10s")
    assert report["verdict"]["verified"] and not report["tls"]["complete"]
    assert report["tls"]["versions"] == ["TLSv1.3"] and "no answer in time" in steps["versions"]["text"]
    assert seconds < 15


def test_versions_that_are_refused_in_the_handshake_are_known(scripted_server, credentials, authority):
    server = scripted_server(lambda peer: peer.accept_tls(credentials, minimum_version=ssl.TLSVersion.TLSv1_3))
    _, report, steps, _ = examine(server, authority)
    assert steps["versions"]["text"] == "lowest TLSv1.3, highest TLSv1.3" and report["tls"]["complete"]
    assert steps["versions"]["outcome"] == steps["ciphers"]["outcome"] == "passed"


def test_alerts_and_text_that_are_no_refusal_leave_it_unknown(scripted_server, credentials, authority):
    """A server that is busy has said nothing of versions and ciphers."""
    replies = {"text": b"busy, try later", "error": wire.error_response("FATAL", "53300", "too many"),
               "internal_error": b"\x15\x03\x03\0\x02\x02\x50"}  # fmt: skip
    for reply in replies.values():

        def then(peer, reply=reply):
            peer.receive(8)
            peer.send(b"S")
            peer.receive(5)
            peer.send(reply)
            peer.close()

        server = []
        server.append(scripted_server(after_the_verdict(server, credentials, then)))
        _, report, steps, _ = examine(server[0], authority)
        assert report["verdict"]["verified"] and not report["tls"]["complete"]
        assert [steps[name]["text"][:9] for name in ("versions", "ciphers")] == ["not known"] * 2


def test_old_versions_without_an_answer_leave_the_others_known(scripted_server, credentials, authority):
    """Something between here and the server drops a ClientHello whose version is old."""

    def script(peer):
        peer.receive_ssl_request()
        peer.send(b"S")
        hello = peer.socket.recv(4096, socket.MSG_PEEK)
        if hello[9:11] < b"\x03\x03":  # its legacy_version
            return peer.receive_to_end()
        peer.start_tls(credentials, minimum_version=ssl.TLSVersion.TLSv1_2)
        return peer.receive_to_end()

    _, report, steps, _ = examine(scripted_server(script), authority)
    assert report["tls"]["versions"] == ["TLSv1.2", "TLSv1.3"] and not report["tls"]["complete"]
    assert steps["versions"]["text"] == "not known: TLSv1, TLSv1.1 (no answer in time); accepted: TLSv1.2, TLSv1.3"
    assert "no broken ones" in steps["ciphers"]["text"]


# --- servers that require a certificate ---


@pytest.fixture
def demanding(credentials, authority):
    """The script of a server that requires a certificate, and accepts old versions and broken ciphers."""

    def make(**settings):
        def script(peer):
            with contextlib.suppress(OSError):
                peer.accept_tls(credentials, ciphers="ALL:COMPLEMENTOFALL:@SECLEVEL=0", clients_of=authority.file, **settings)
                peer.receive_to_end()

        return script

    return make


def test_what_a_server_accepts_is_known_also_if_it_requires_a_certificate(scripted_server, demanding, authority):
    """Up to TLS 1.2 it ends the handshake without one, and has agreed on version and cipher before."""
    mine = authority.issue_to_client("app")
    words = ["--sslcert", mine.certificate, "--sslkey", mine.key]
    server = scripted_server(demanding(minimum_version=ssl.TLSVersion.TLSv1))
    code, report, steps, _ = examine(server, authority, *words)
    assert code == EX_UNAVAILABLE and report["verdict"]["verified"]
    assert steps["versions"]["text"] == "lowest TLSv1, highest TLSv1.3" and report["tls"]["broken_ciphers"]


def test_a_server_with_tls_1_2_that_requires_a_certificate_is_described(scripted_server, demanding, authority):
    mine = authority.issue_to_client("app")
    server = scripted_server(demanding(maximum_version=ssl.TLSVersion.TLSv1_2))
    _, report, steps, _ = examine(server, authority, "--sslmode", "all", "--sslcert", mine.certificate, "--sslkey", mine.key)
    assert report["verdict"]["verified"] and steps["TLS"]["outcome"] == "passed"
    assert report["certificates"] and steps["accepted"]["outcome"] == "passed"
    assert "it ends the handshake if none is sent" in steps["client cert"]["text"]
    assert {mode["mode"]: mode["result"] for mode in report["sslmodes"]}["verify-full"] == "tls"
    code, report, steps, _ = examine(server, authority, "--sslmode", "require")
    assert code == EX_UNAVAILABLE and not report["verdict"]["verified"]
    finding = steps["verdict"]["finding"]
    assert finding["side"] == "client" and "sslcert" in finding["remedy"]
    assert report["sslmodes"][0]["text"] == "does not connect: the server requires a client certificate"


def test_a_server_with_tls_1_3_that_requires_a_certificate_is_not_good_without_one(scripted_server, demanding, authority):
    """It says so after the handshake, as to a session."""
    server = scripted_server(demanding())
    code, report, steps, _ = examine(server, authority, "--sslmode", "verify-full")
    assert code == EX_UNAVAILABLE and report["verdict"]["reason"] == "upstream_rejected_certificate"
    assert "it ends the handshake" not in steps["client cert"]["text"]
    assert report["sslmodes"][0]["result"] == "fails"


def test_a_rejected_certificate_is_found_also_if_the_first_connection_fails(scripted_server, demanding, authority, workplace):
    """With TLS 1.3 the rejection comes after the handshake, and has to be waited for."""
    stranger = Authority(workplace, "a stranger").issue_to_client("app")
    server = with_a_first_connection(scripted_server, lambda peer: peer.close(), demanding())
    code, report, steps, _ = examine(server, authority, "--sslcert", stranger.certificate, "--sslkey", stranger.key)
    assert code == EX_UNAVAILABLE and "accepted" not in steps
    assert report["verdict"]["reason"] == "upstream_rejected_certificate"


# --- faults of one connection ---


def with_a_first_connection(scripted_server, then, others):
    """A server whose first connection does `then`, and each other one `others`."""
    server = []

    def script(peer):
        then(peer) if peer is server[0].peers[0] else others(peer)

    server.append(scripted_server(script))
    return server[0]


FIRST = {
    "closed": ("SSLRequest", lambda peer: peer.receive(8)),
    "no TLS": ("SSLRequest", lambda peer: (peer.receive(8), peer.send(b"N"))),
    "no handshake": ("TLS", lambda peer: (peer.receive(8), peer.send(b"S"), peer.receive(5))),
}


@pytest.mark.parametrize("step, then", FIRST.values(), ids=FIRST)
def test_a_fault_that_has_passed_before_the_verdict_is_noted(scripted_server, credentials, authority, step, then):
    """Nothing is to be changed, so it must not decide about the exit code."""

    def close_after(peer):
        then(peer)
        peer.close()

    def good(peer):
        peer.accept_tls(credentials, minimum_version=ssl.TLSVersion.TLSv1_2)

    server = with_a_first_connection(scripted_server, close_after, good)
    code, report, steps, _ = examine(server, authority, "--sslmode", "verify-full", timeout="10s")
    assert report["verdict"]["verified"] and code == 0
    assert steps[step]["outcome"] == "noted" and "had no such fault" in steps[step]["text"]
    assert report["sslmodes"][0]["text"] == "connects over TLS"


def test_a_fault_that_the_verdict_does_not_name_is_explained(scripted_server, authority):
    """The first connection is closed, and the next ones have a certificate that is not trusted."""

    def bad(peer):
        peer.accept_tls(authority.self_signed("localhost"))

    server = with_a_first_connection(scripted_server, lambda peer: (peer.receive(8), peer.close()), bad)
    code, report, steps, _ = examine(server, authority, timeout="10s")
    assert code == EX_UNAVAILABLE and report["verdict"]["reason"] == "upstream_certificate_untrusted"
    finding = steps["SSLRequest"]["finding"]
    assert steps["SSLRequest"]["outcome"] == "failed" and finding["cause"] == "The server closed the connection."
    assert finding["side"] == "server" and finding["remedy"].endswith(".")


def test_the_cause_of_a_login_whose_connection_fails_is_one_sentence(scripted_server, credentials, authority):
    """The first connection of the login, after those of a run without one, is refused."""
    count = []

    def script(peer):
        if count and peer not in server.peers[: 2 * count[0]]:
            peer.receive(8)
            peer.send(b"N")
            return peer.close()
        return peer.accept_tls(credentials, minimum_version=ssl.TLSVersion.TLSv1_2)

    server = scripted_server(script)
    examine(server, authority)
    count.append(len(server.peers))
    code, report, steps, _ = examine(server, authority, "--user", "app")
    assert code == EX_UNAVAILABLE and report["verdict"]["verified"] and steps["login"]["outcome"] == "failed"
    cause = steps["login"]["finding"]["cause"]
    assert cause.startswith("The server ") and "TLS" in cause and cause.endswith(".") and not cause.endswith("..")


# --- late answers ---


def test_a_late_answer_is_not_taken_for_that_to_the_next_question(scripted_server, credentials, authority):
    """One question is waited for, and no other is asked."""
    asked = []

    def answer_late(peer):
        peer.send(OK, READY)
        asked.append(peer.receive_message())
        time.sleep(2.5)
        column = b"\0\1a\0" + b"\0" * 18
        peer.send(wire.message(b"T", column), wire.message(b"D", b"\0\1\0\0\0\2on"), wire.message(b"C", b"SHOW\0"), READY)
        peer.receive_to_end()

    _, _, steps, seconds = log_in(scripted_server(after_tls(credentials, answer_late)), authority)
    for name in ("SHOW ssl", "pg_stat_ssl", "passwords", "pg_hba", "clock"):
        assert steps[name]["outcome"] == "noted" and "no answer in time" in steps[name]["text"]
    assert [kind for kind, _ in asked].count(b"Q") == 1 and seconds < 15


def test_a_clock_that_is_no_number_is_not_known(scripted_server, credentials, authority):
    def script(peer):
        peer.accept_tls(credentials)
        peer.log_in()
        peer.serve()  # the answer to each question is "verified"

    _, _, steps, _ = examine(scripted_server(script), authority, "--user", "app")
    assert steps["clock"]["text"] == "not known: the server has sent no number" and steps["clock"]["outcome"] == "noted"


# --- the admin console of PgBouncer ---


def test_the_admin_console_of_pgbouncer_is_asked_nothing(scripted_server, credentials, authority):
    """It has none of what is asked of PostgreSQL."""
    received = []

    def script(peer):
        peer.send(OK, wire.message(b"S", b"server_version\x001.18.0/bouncer\0"), READY)
        received.append(peer.receive_message()[0])
        peer.receive_to_end()

    _, report, steps, _ = log_in(scripted_server(after_tls(credentials, script)), authority)
    assert report["session"]["server_version"] == "1.18.0/bouncer" and "admin console" in steps["version"]["text"]
    assert "SHOW ssl" not in steps and len(received) >= 2 and set(received) == {b"X"}


# --- logins that leave something out ---

LEFT_OUT = {
    "ReadyForQuery only": ([READY], "upstream_protocol_violation"),
    "AuthenticationOk without SCRAM's proof": ([OK, READY], "upstream_signature_wrong"),
    "parameters without AuthenticationOk": ([wire.message(b"S", b"server_version\x0018\0"), READY], "upstream_protocol_violation"),
    "a second request": ([SCRAM], "upstream_protocol_violation"),
}


@pytest.mark.parametrize("messages, reason", LEFT_OUT.values(), ids=LEFT_OUT)
def test_no_login_succeeds_without_the_proof_of_the_server(scripted_server, credentials, authority, messages, reason):
    """After the first message of SCRAM."""

    def cheat(peer):
        peer.send(SCRAM)
        peer.receive_message()
        peer.send(*messages)
        peer.receive_to_end()

    code, report, steps, _ = log_in(scripted_server(after_tls(credentials, cheat)), authority)
    assert code == EX_UNAVAILABLE and report["session"] is None
    assert steps["session"]["outcome"] == "failed" and reason in steps["session"]["text"]
    assert steps["session"]["finding"]["cause"].endswith(".") and steps["session"]["finding"]["remedy"].endswith(".")
    assert "SHOW ssl" not in steps


# --- text of a server that nobody has verified ---


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_no_text_of_an_unverified_server_is_shown(scripted_server, authority, form):
    """In none of the fields of an error, before and after SSLRequest."""
    credentials = authority.self_signed("localhost")
    lie = wire.error_response("call", "call us", "call")

    def script(peer):
        if peer.receive(8) != wire.SSL_REQUEST:
            return peer.send(lie)
        peer.send(b"S")
        peer.start_tls(credentials, alpn=["postgresql"])
        peer.send(lie)

    done = run(BINARY, "doctor", f"localhost:{scripted_server(script).port}", "--hostaddr", "127.0.0.1", "--sslrootcert",
               authority.file, "--user", "app", "--sslmode", "all", *form)  # fmt: skip
    assert done.returncode == EX_UNAVAILABLE and "SQLSTATE unknown" in done.stdout
    assert "call" not in done.stdout + done.stderr
