"""`pgveil doctor`: for each kind of broken server its verdict is the reason with which a session to the same server ends."""

import json
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import wire
from harness.certificates import DAY, Authority, rehashed
from harness.pgveil import BINARY, EX_CONFIG, EX_UNAVAILABLE, EX_USAGE, toml
from harness.processes import environment, run
from harness.scripted_server import verified_session as session_with_any_version

HOST = "db01.example.com"
OLD = ssl.TLSVersion.TLSv1_1
TIMEOUT = "700ms"
EX_CANTCREAT = 73


def verified_session(credentials, *, minimum_version=ssl.TLSVersion.TLSv1_2, **settings):
    """Python's server also accepts older versions."""
    return session_with_any_version(credentials, minimum_version=minimum_version, **settings)


class Authorities:
    """Only what `root` has issued can be trusted."""

    def __init__(self, directory):
        self.root = Authority(directory, "root")
        self.stranger = Authority(directory, "stranger")
        self.intermediate = Authority(directory, "intermediate", issuer=self.root)
        self.expired = Authority(directory, "expired authority", issuer=self.root, age=3 * DAY, lifetime=2 * DAY)


@pytest.fixture(scope="module")
def ca(workplace):
    directory = workplace / "doctor"
    directory.mkdir()
    return Authorities(directory)


@pytest.fixture
def closed_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # does not listen, and nobody else can have it
        yield held.getsockname()[1]


def report_of(*arguments):
    """Exit code and the whole report."""
    done = run(BINARY, "doctor", "--json", *arguments)
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert document["schema"] == 1
    return done.returncode, document


def examine(*arguments):
    """Exit code and the reports of the servers."""
    code, document = report_of(*arguments)
    return code, document["servers"]


def options(upstream: dict) -> list:
    """The options that say what the settings of an upstream say."""
    words = [f"{upstream['host']}:{upstream['port']}"]
    names = {"hostaddr": "--hostaddr", "sslrootcert": "--sslrootcert", "connect_timeout": "--connect-timeout",
             "sslcert": "--sslcert", "sslkey": "--sslkey", "sslnegotiation": "--sslnegotiation"}  # fmt: skip
    for setting, option in names.items():
        if setting in upstream:
            words += [option, upstream[setting]]
    return words


def failed(report: dict) -> list:
    return [step["name"] for step in report["steps"] if step["outcome"] == "failed"]


def findings(report: dict) -> list:
    return [step["finding"] for step in report["steps"] if step["finding"]]


def answers(reply: bytes):
    def script(peer):
        peer.receive_ssl_request()
        peer.send(reply)

    return script


def sends(issue, **settings):
    """A server with a certificate that `issue` makes."""
    return lambda ca: verified_session(issue(ca), **settings)


@dataclass(frozen=True)
class Case:
    name: str
    reason: str
    script: object  # (Authorities) -> script of the server
    side: str
    remedy: str  # words of it
    failed: tuple  # steps before the verdict
    host: str = HOST

    def __str__(self):
        return self.name.replace(" ", "-")


CASES = [
    Case("unknown authority", "upstream_certificate_untrusted",
         sends(lambda ca: ca.stranger.issue(HOST, dns=[HOST])), "server", '"CN=stranger"', ("chain",)),
    Case("missing intermediate", "upstream_certificate_untrusted",
         sends(lambda ca: ca.intermediate.issue(HOST, dns=[HOST], chain=False)), "server",
         'Append the certificate of "CN=intermediate"', ("chain",)),
    Case("self-signed", "upstream_certificate_untrusted",
         sends(lambda ca: ca.root.self_signed(HOST)), "client", "SHA-256 fingerprint", ("chain",)),
    Case("expired", "upstream_certificate_expired",
         sends(lambda ca: ca.root.issue(HOST, dns=[HOST], age=3 * DAY)), "server", "pg_reload_conf()",
         ("certificate",)),
    Case("expired authority", "upstream_certificate_expired",
         sends(lambda ca: ca.expired.issue(HOST, dns=[HOST])), "CA", '"CN=expired authority"', ("certificate",)),
    Case("not yet valid", "upstream_certificate_not_yet_valid",
         sends(lambda ca: ca.root.issue(HOST, dns=[HOST], age=-DAY)), "client", "clock", ("certificate",)),
    Case("wrong name", "upstream_certificate_wrong_name",
         sends(lambda ca: ca.root.issue("x", dns=["db02.example.com"])), "client",
         'Set host to "db02.example.com" and hostaddr to 127.0.0.1', ("name",)),
    Case("name for an address", "upstream_certificate_wrong_name",
         sends(lambda ca: ca.root.issue(HOST, dns=[HOST])), "client", f'Set host to "{HOST}"', ("name",),
         host="127.0.0.1"),
    Case("no TLS", "upstream_refused_tls", lambda ca: answers(b"N"), "server", "ssl = on", ("SSLRequest",)),
    Case("an error", "upstream_protocol_violation", lambda ca: answers(b"E\0\0\0\x0eSFATAL\0\0"), "server",
         "max_connections", ("SSLRequest",)),
    Case("HTTP server", "upstream_protocol_violation", lambda ca: answers(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
         "client", "HTTP server", ("SSLRequest",)),
    Case("bytes before the handshake", "upstream_protocol_violation", lambda ca: answers(b"Sx"), "network",
         "intercepts", ("SSLRequest",)),
    Case("silent port", "upstream_timed_out", lambda ca: lambda peer: peer.receive_ssl_request(), "server",
         "listens on this port", ("SSLRequest",)),
    Case("an end instead of an answer", "upstream_unreachable", lambda ca: lambda peer: peer.close(), "server",
         "load balancer", ("SSLRequest",)),
    Case("no common version", "upstream_tls_failed",
         sends(lambda ca: ca.root.issue(HOST, dns=[HOST]), minimum_version=OLD, maximum_version=OLD), "server",
         "ssl_min_protocol_version", ("versions",)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_verdict_is_that_of_a_session(case, ca, scripted_server, pgveil):
    server = scripted_server(case.script(ca))
    timeout = TIMEOUT if case.reason == "upstream_timed_out" else "20s"
    upstream = server.upstream(host=case.host, sslrootcert=str(ca.root.file), connect_timeout=timeout)
    code, (report,) = examine(*options(upstream))
    proxy = pgveil(upstream)
    assert proxy.psql("SELECT 1").returncode != 0
    assert report["verdict"]["reason"] == case.reason
    assert f"reason={case.reason} " in proxy.end_of_session()
    assert code == EX_UNAVAILABLE
    assert tuple(failed(report)) == (*case.failed, "verdict")
    *others, finding = findings(report)
    assert len(others) == case.failed.count("versions")
    assert finding["side"] == case.side and case.remedy in finding["remedy"]
    assert finding["cause"].endswith(".") and finding["remedy"].endswith(".")


def test_a_closed_port(ca, closed_port, pgveil):
    upstream = {"host": "localhost", "port": closed_port, "sslrootcert": str(ca.root.file)}
    code, (report,) = examine(*options(upstream))
    proxy = pgveil(upstream)
    proxy.psql("SELECT 1")
    assert report["verdict"]["reason"] == "upstream_unreachable" and code == EX_UNAVAILABLE
    assert "reason=upstream_unreachable " in proxy.end_of_session()
    assert "listen_addresses" in findings(report)[0]["remedy"]


def test_an_unknown_host(ca, pgveil):
    upstream = {"host": "nosuch.invalid", "port": 5432, "sslrootcert": str(ca.root.file)}
    code, (report,) = examine(*options(upstream))
    proxy = pgveil(upstream)
    proxy.psql("SELECT 1")
    assert report["verdict"]["reason"] == "upstream_not_resolved" and code == EX_UNAVAILABLE
    assert "reason=upstream_not_resolved " in proxy.end_of_session()
    assert failed(report) == ["dns", "verdict"]


def test_two_faults_are_both_explained(ca, scripted_server):
    """A session tells the first one only."""
    server = scripted_server(verified_session(ca.root.issue("x", dns=["db02.example.com"], age=3 * DAY)))
    _, (report,) = examine(*options(server.upstream(host=HOST, sslrootcert=str(ca.root.file))))
    assert report["verdict"]["reason"] == "upstream_certificate_expired"
    assert failed(report) == ["certificate", "name", "verdict"]
    assert ["db02.example.com" in finding["remedy"] for finding in findings(report)] == [True, False]


def test_a_real_server_is_verified(postgres, pgveil):
    upstream = postgres.upstream()
    code, (report,) = examine(*options(upstream))
    assert code == 0, report
    assert report["verdict"]["verified"] and report["verdict"]["reason"] is None
    assert pgveil(upstream).query("SELECT 1") == "1"
    text = {step["name"]: step["text"] for step in report["steps"]}
    assert text["SSLRequest"].startswith("S:") and text["TLS"].startswith("TLSv1.3, TLS_")
    assert text["name"] == '"localhost" is a name in the certificate'
    assert report["certificates"][0]["days_left"] >= 0


def test_a_server_without_tls(postgres, pgveil):
    upstream = postgres.upstream()
    with postgres.reconfigured(ssl="off"):
        code, (report,) = examine(*options(upstream))
        proxy = pgveil(upstream)
        proxy.psql("SELECT 1")
        assert code == EX_UNAVAILABLE
        assert f"reason={report['verdict']['reason']} " in proxy.end_of_session()


def test_a_server_that_does_not_know_direct_tls(postgres, pgveil):
    """PostgreSQL 15."""
    upstream = postgres.upstream(sslnegotiation="direct")
    code, (report,) = examine(*options(upstream))
    proxy = pgveil(upstream)
    proxy.psql("SELECT 1")
    assert report["verdict"]["reason"] == "upstream_tls_failed" and code == EX_UNAVAILABLE
    assert "reason=upstream_tls_failed " in proxy.end_of_session()
    assert "PostgreSQL 17" in findings(report)[0]["remedy"]


def test_a_server_at_a_unix_socket(postgres, folder):
    path = folder / "pgveil.toml"
    path.write_text(toml({"listener": [{"address": "127.0.0.1:0", "upstream": "local"}],
                          "upstream": {"local": postgres.unix_upstream()}}), encoding="utf-8")  # fmt: skip
    code, (report,) = examine("--config", path)
    assert code == 0 and [step["name"] for step in report["steps"]] == ["verdict"]


def test_a_server_behind_the_proxy_protocol(ca, scripted_server, folder):
    """The header comes first on each connection."""
    credentials, headers = ca.root.issue("localhost", dns=["localhost"]), []

    def script(peer):
        headers.append(peer.receive(16))
        peer.accept_tls(credentials, minimum_version=ssl.TLSVersion.TLSv1_2)

    server = scripted_server(script)
    upstream = server.upstream(sslrootcert=str(ca.root.file), send_proxy_protocol=True)
    path = folder / "pgveil.toml"
    path.write_text(toml({"listener": [{"address": "127.0.0.1:0", "upstream": "primary"}],
                          "upstream": {"primary": upstream}}), encoding="utf-8")  # fmt: skip
    code, _ = examine("--config", path)
    assert code == 0 and all(header.startswith(b"\r\n\r\n\0\r\nQUIT\n") for header in headers)


def test_every_host_of_a_configuration_is_examined(folder, ca, scripted_server):
    good = scripted_server(verified_session(ca.root.issue("localhost", dns=["localhost"])))
    bad = scripted_server(answers(b"N"))
    settings = {"sslrootcert": str(ca.root.file)}
    path = folder / "pgveil.toml"
    path.write_text(toml({
        "listener": [{"address": "127.0.0.1:0", "upstream": "primary"}],
        "upstream": {"primary": {**settings, "host": "localhost,localhost", "port": f"{good.port},{bad.port}"},
                     "other": good.upstream(**settings)},
    }), encoding="utf-8")  # fmt: skip
    code, reports = examine("--config", path)
    assert code == EX_UNAVAILABLE
    assert [(report["upstream"], report["verdict"]["reason"]) for report in reports] == [
        ("other", None), ("primary", None), ("primary", "upstream_refused_tls")]  # fmt: skip


@pytest.mark.parametrize("age, code", [(DAY, 0), (3 * DAY, EX_UNAVAILABLE)], ids=["valid", "expired"])
def test_the_certificates_of_listeners_are_examined(folder, ca, scripted_server, age, code):
    good = scripted_server(verified_session(ca.root.issue("localhost", dns=["localhost"])))
    own = ca.root.issue("proxy", dns=["proxy"], age=age)
    path = folder / "pgveil.toml"
    path.write_text(toml({
        "listener": [{"address": "127.0.0.1:6432", "upstream": "primary", "ssl_cert_file": str(own.certificate),
                      "ssl_key_file": str(own.key), "ssl_ca_file": str(ca.root.file)}],
        "upstream": {"primary": good.upstream(sslrootcert=str(ca.root.file))},
    }), encoding="utf-8")  # fmt: skip
    done, document = report_of("--config", path)
    (listener,) = document["listeners"]
    assert done == code and listener["listener"] == "127.0.0.1:6432"
    certificate, key, authority = listener["steps"]
    assert str(own.certificate) in certificate["text"] and authority["outcome"] == "passed"
    assert key["name"] == "key" and f"{own.key}: mode 0600, owner {own.key.owner()}, not encrypted" in key["text"]
    assert (certificate["finding"] is None) == (code == 0)


@pytest.mark.parametrize("kind", ["file", "directory"])
@pytest.mark.parametrize("ages, code", [
    ([DAY], 0), ([3 * DAY], EX_UNAVAILABLE), ([3 * DAY, DAY], 0), ([DAY, -DAY], 0), ([-DAY, DAY], 0),
    ([3 * DAY, -DAY], EX_UNAVAILABLE),
], ids=["current", "expired", "old and new", "current and next", "next and current", "expired and next"])  # fmt: skip
def test_the_crls_of_listeners_are_examined(folder, ca, scripted_server, kind, ages, code):
    """Of each authority the current CRL that expires last: OpenSSL does not need the others."""
    good = scripted_server(verified_session(ca.root.issue("localhost", dns=["localhost"])))
    own = ca.root.issue("proxy", dns=["proxy"])
    crls = [ca.root.revoke(age=age) for age in ages]
    (folder / "root.crl").write_bytes(b"".join(crl.read_bytes() for crl in crls))
    (folder / "crls").mkdir()
    setting = {"file": {"ssl_crl_file": str(folder / "root.crl")},
               "directory": {"ssl_crl_dir": str(rehashed(folder / "crls", *crls))}}[kind]  # fmt: skip
    path = folder / "pgveil.toml"
    path.write_text(toml({
        "listener": [{"address": "127.0.0.1:6432", "upstream": "primary", "ssl_cert_file": str(own.certificate),
                      "ssl_key_file": str(own.key), "ssl_ca_file": str(ca.root.file), **setting}],
        "upstream": {"primary": good.upstream(sslrootcert=str(ca.root.file))},
    }), encoding="utf-8")  # fmt: skip
    done, document = report_of("--config", path)
    (crl,) = (step for step in document["listeners"][0]["steps"] if step["name"] == "crl")
    assert done == code and '"CN=root"' in crl["text"] and (crl["finding"] is None) == (code == 0)
    if code:
        assert "Put a current CRL" in crl["finding"]["remedy"] and str(folder) in crl["finding"]["remedy"]


def test_an_error_in_the_configuration_is_reported_as_by_check(folder):
    path = folder / "pgveil.toml"
    path.write_text('[[listener]]\naddress = "nowhere"\n', encoding="utf-8")
    done = run(BINARY, "doctor", "--config", path)
    assert done.returncode == EX_CONFIG
    assert done.stderr == run(BINARY, "check", "--config", path).stderr


def test_a_root_that_cannot_be_read_is_an_error(folder):
    done = run(BINARY, "doctor", "localhost", "--sslrootcert", folder / "missing.crt")
    assert done.returncode == EX_CONFIG
    assert "--sslrootcert" in done.stderr and "missing.crt" in done.stderr


@pytest.mark.parametrize("words, message", [
    ((), "doctor requires a server or a configuration"),
    (("db01:99999",), 'invalid port "99999"'),
    (("db01", "--connect-timeout", "soon"), "--connect-timeout"),
    (("db01", "--sslrotcert", "x"), 'Did you mean "--sslrootcert"?'),
    (("db01", "db02"), 'unexpected argument "db02"'),
    (("db01", "--bogus"), "pgveil doctor --help"),
    (("db01", "--hostaddr", "10.0.0.1,10.0.0.2"), "one address for each server"),
    (("db01", "--config", "pgveil.toml"), "cannot be combined with --config"),
    (("db01,db02", "--save-chain", "x"), "a single server"),
    (("--config", "pgveil.toml", "--save-chain", "x"), "a single server"),
])  # fmt: skip
def test_an_invalid_command_line(words, message):
    done = run(BINARY, "doctor", *words)
    assert done.returncode == EX_USAGE and message in done.stderr


@pytest.mark.parametrize("form", [
    "host=localhost hostaddr=127.0.0.1 port={port} sslrootcert={root} sslmode=require user=ann password='hunter 2' connect_timeout=5",
    "postgresql://ann:hunter%202@localhost:{port}/ledger?hostaddr=127.0.0.1&sslrootcert={root}&sslmode=require",
])  # fmt: skip
def test_a_connection_string_is_understood_and_its_password_never_shown(form, ca, scripted_server):
    credentials = ca.root.issue("localhost", dns=["localhost"])

    def script(peer):
        if peer.receive(8) != wire.SSL_REQUEST:
            return peer.close()
        peer.send(b"S")
        peer.start_tls(credentials, minimum_version=ssl.TLSVersion.TLSv1_2)
        peer.log_in()

    server = scripted_server(script)
    text = form.format(port=server.port, root=ca.root.file)
    _, (report,) = examine(text)
    assert report["verdict"]["verified"]
    assert [peer.startup for peer in server.peers if peer.startup and b"ann" in peer.startup]
    notes = [step["text"] for step in report["steps"] if step["name"] == "options"]
    assert not notes and [each["mode"] for each in report["sslmodes"]] == ["require"]
    for words in ((text,), (text, "--json"), (text.replace("localhost", ""),), (text + "'",), (text, text), (text, "--bogus")):
        done = run(BINARY, "doctor", *words)
        assert "hunter" not in done.stdout + done.stderr


def test_an_option_overrides_a_connection_string(ca, scripted_server):
    server = scripted_server(verified_session(ca.root.issue("localhost", dns=["localhost"])))
    text = f"host=localhost hostaddr=127.0.0.1 port={server.port} sslrootcert={ca.stranger.file}"
    assert examine(text)[0] == EX_UNAVAILABLE
    assert examine(text, "--sslrootcert", ca.root.file)[0] == 0


def test_what_a_server_sends_does_not_reach_the_terminal(ca, scripted_server):
    evil = ca.root.issue("\x1b]0;owned\x07", dns=[HOST])
    server = scripted_server(verified_session(evil))
    words = options(server.upstream(host=HOST, sslrootcert=str(ca.root.file)))
    for flag in ((), ("--json",)):
        shown = run(BINARY, "doctor", *words, *flag).stdout
        assert "owned" in shown and "\x1b" not in shown and "\x07" not in shown


def test_no_client_certificate_is_sent_to_a_server_that_is_not_verified(ca, scripted_server):
    """The survey of the server must not give away who we are."""
    credentials, sent = ca.stranger.issue(HOST, dns=[HOST]), []

    def script(peer):
        peer.accept_tls(credentials, verify_mode=ssl.CERT_OPTIONAL)
        sent.append(peer.socket.getpeercert(binary_form=True))

    server = scripted_server(script)
    mine = ca.root.issue_to_client("doctor")
    upstream = server.upstream(host=HOST, sslrootcert=str(ca.root.file), sslcert=str(mine.certificate),
                               sslkey=str(mine.key))  # fmt: skip
    _, (report,) = examine(*options(upstream))
    assert "asks for a certificate" in {step["name"]: step["text"] for step in report["steps"]}["client cert"]
    assert set(sent) == {None}


def test_a_client_certificate_that_the_server_rejects(ca, scripted_server, pgveil):
    """With TLS 1.3 the rejection comes after the handshake."""
    credentials = ca.root.issue(HOST, dns=[HOST])
    server = scripted_server(verified_session(credentials, verify_mode=ssl.CERT_OPTIONAL))
    mine = ca.stranger.issue_to_client("doctor")
    upstream = server.upstream(host=HOST, sslrootcert=str(ca.root.file), sslcert=str(mine.certificate),
                               sslkey=str(mine.key))  # fmt: skip
    code, (report,) = examine(*options(upstream))
    proxy = pgveil(upstream)
    proxy.psql("SELECT 1")
    assert report["verdict"]["reason"] == "upstream_rejected_certificate" and code == EX_UNAVAILABLE
    assert "reason=upstream_rejected_certificate " in proxy.end_of_session()


# --- logins and versions ---


def steps_for(postgres, user, *words, **settings):
    code, (report,) = examine(*options(postgres.upstream(**settings)), "--user", user, *words)
    assert report["verdict"]["verified"]
    return code, {step["name"]: step for step in report["steps"]}


LOGINS = [
    ("app", "passed", "SASL: SCRAM-SHA-256-PLUS, SCRAM-SHA-256", ""),
    ("old", "failed", "an MD5 hash", "password_encryption = 'scram-sha-256'"),
    ("trusted", "failed", "trust", "Replace the method trust"),
    ("certified", "failed", "SQLSTATE 28000", "--sslcert"),
]


@pytest.mark.parametrize("user, outcome, text, remedy", LOGINS, ids=[login[0] for login in LOGINS])
def test_what_the_server_asks_for_at_a_login(postgres, user, outcome, text, remedy):
    code, steps = steps_for(postgres, user, "--dbname", "ledger")
    assert steps["login"]["outcome"] == outcome and text in steps["login"]["text"]
    assert steps["plaintext"]["outcome"] == "passed" and "28000" in steps["plaintext"]["text"]
    assert code == (0 if outcome == "passed" else EX_UNAVAILABLE)
    assert remedy in (steps["login"]["finding"] or {"remedy": ""})["remedy"]


def test_a_certificate_that_is_enough_for_a_login(postgres, authority):
    mine = authority.issue_to_client("certified")
    code, steps = steps_for(postgres, "certified", "--dbname", "ledger", sslcert=str(mine.certificate), sslkey=str(mine.key))
    assert code == 0 and "certificate is enough" in steps["login"]["text"]


def test_the_passphrase_of_a_key_is_a_variable_or_a_parameter(postgres, authority):
    mine = authority.issue_to_client("certified", passphrase="open sesame")
    upstream = postgres.upstream()
    words = [*options(upstream), "--sslcert", mine.certificate, "--sslkey", mine.key, "--user", "certified", "--dbname", "ledger"]
    string = " ".join(f"{key}={value}" for key, value in upstream.items()) + " sslpassword='open sesame'"
    for arguments, variables in ((words, {"PGVEIL_SSLPASSWORD": "open sesame"}), ([string, *words[1:]], {})):
        done = run(BINARY, "doctor", *arguments, env=environment(**variables))
        assert done.returncode == 0 and "certificate is enough" in done.stdout, done.stderr
        assert "sesame" not in done.stdout
    done = run(BINARY, "doctor", *words, env=environment(PGVEIL_SSLPASSWORD="wrong"))
    assert done.returncode == EX_CONFIG and "--sslkey" in done.stderr


def test_a_server_that_asks_for_the_password_itself(postgres):
    with postgres.reconfigured(hba="hostssl all all 127.0.0.1/32 password\n"):
        _, steps = steps_for(postgres, "app")
        assert steps["login"]["outcome"] == "failed" and "scram-sha-256" in steps["login"]["finding"]["remedy"]


@pytest.mark.parametrize("method", ["scram-sha-256", "trust"])
def test_a_host_rule_that_admits_plaintext(postgres, method):
    with postgres.reconfigured(hba=f"host all app 127.0.0.1/32 {method}\nhostssl all all 127.0.0.1/32 scram-sha-256\n"):
        code, steps = steps_for(postgres, "app")
        assert code == EX_UNAVAILABLE
        assert "host record" in steps["plaintext"]["finding"]["cause"]
        assert "pg_hba_file_rules" in steps["plaintext"]["finding"]["remedy"]
        assert steps_for(postgres, "old")[1]["plaintext"]["outcome"] == "passed"


def test_no_login_is_begun_with_a_server_that_is_not_verified(ca, scripted_server):
    server = scripted_server(verified_session(ca.stranger.issue(HOST, dns=[HOST])))
    upstream = server.upstream(host=HOST, sslrootcert=str(ca.root.file))
    _, (report,) = examine(*options(upstream), "--user", "app")
    assert report["steps"][-1]["name"] == "verdict"
    assert all(peer.startup is None for peer in server.peers)


def test_without_a_user_no_login_is_begun(ca, scripted_server):
    server = scripted_server(verified_session(ca.root.issue(HOST, dns=[HOST])))
    examine(*options(server.upstream(host=HOST, sslrootcert=str(ca.root.file))))
    assert server.peers and all(peer.startup is None for peer in server.peers)


def test_an_old_version_that_is_accepted_is_a_fault(ca, scripted_server):
    server = scripted_server(verified_session(ca.root.issue(HOST, dns=[HOST]), minimum_version=OLD))
    code, (report,) = examine(*options(server.upstream(host=HOST, sslrootcert=str(ca.root.file))))
    assert report["verdict"]["verified"] and code == EX_UNAVAILABLE
    assert failed(report) == ["versions"] and "TLSv1.1" in findings(report)[0]["cause"]


# --- the chain as a file ---


def test_the_chain_is_saved_and_can_be_trusted_after_a_comparison(ca, folder, scripted_server):
    server = scripted_server(verified_session(ca.root.self_signed(HOST)))
    upstream = server.upstream(host=HOST, sslrootcert=str(ca.root.file))
    file = folder / "chain.crt"
    code, (report,) = examine(*options(upstream), "--save-chain", file)
    assert code == EX_UNAVAILABLE
    assert report["certificates"][0]["sha256_fingerprint"] in file.read_text() and "NOT VERIFIED" in file.read_text()
    assert examine(*options({**upstream, "sslrootcert": str(file)}))[0] == 0


def test_no_file_is_overwritten(ca, folder, scripted_server):
    server = scripted_server(verified_session(ca.root.issue(HOST, dns=[HOST])))
    file = folder / "mine.crt"
    file.write_text("mine")
    words = options(server.upstream(host=HOST, sslrootcert=str(ca.root.file)))
    done = run(BINARY, "doctor", *words, "--save-chain", file)
    assert done.returncode == EX_CANTCREAT and "File exists" in done.stderr
    assert file.read_text() == "mine"


# --- the document ---

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")


def test_the_page_has_every_option_and_no_other():
    table = PAGE.split("| Option |")[1].split("\n\n")[0]
    documented = {option for row in re.findall(r"(?m)^\|([^|]*)\|", table) for option in re.findall(r"--\w[\w-]+", row)}
    offered = set(re.findall(r"(?m)^  (--[\w-]+)", run(BINARY, "doctor", "--help").stdout))
    assert documented == offered


def test_the_page_has_every_key_of_the_json(ca, scripted_server):
    server = scripted_server(verified_session(ca.root.issue(HOST, dns=[HOST])))
    words = options(server.upstream(host=HOST, sslrootcert=str(ca.root.file)))
    done = run(BINARY, "doctor", "--json", *words, "--user", "app", "--sslmode", "all")
    keys = set(re.findall(r'"(\w+)":', done.stdout))
    assert {"unprotected", "server_version", "tickets", "issuer_url", "family"} <= keys
    table = PAGE.split("| Key |")[1].split("\n\n")[0]
    assert keys <= set(re.findall(r"\w+", table))
