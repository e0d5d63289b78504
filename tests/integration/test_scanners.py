"""What the scanners that operators use say of a listener with nothing but a certificate and a key."""

import json
from xml.etree import ElementTree

import pytest

from harness.processes import environment, run, run_or_fail
from harness.tls_clients import certificate

# About the certificate, which was made for this test and for two days; about the name it was asked by: an address; and
# about what testssl's own openssl cannot do (GOST).
OF_THE_TEST = {
    "cert_trust", "cert_chain_of_trust", "cert_expirationStatus", "cert_notAfter", "cert_revocation", "DNS_CAArecord",
    "engine_problem",
}  # fmt: skip


@pytest.fixture
def target(pgveil, postgres, credentials):
    host, port = pgveil(postgres.unix_upstream(), listener=certificate(credentials)).address
    return f"{host}:{port}"


def test_sslscan_finds_nothing_to_complain_of(target):
    report = ElementTree.fromstring(run_or_fail("sslscan", "--starttls-psql", "--xml=-", target))
    enabled = {each.get("version") for each in report.iter("protocol") if each.get("enabled") == "1"}
    assert enabled == {"1.2", "1.3"}
    assert [each.get("supported") for each in report.iter("renegotiation")] == ["0"]
    assert {each.get("vulnerable") for each in report.iter("heartbleed")} == {"0"}
    ciphers = {each.get("cipher") for each in report.iter("cipher")}
    assert ciphers and all("GCM" in cipher or "CHACHA20" in cipher for cipher in ciphers)
    assert all(cipher.startswith(("TLS_", "ECDHE-")) for cipher in ciphers)


def test_testssl_finds_nothing_to_complain_of(target, folder):
    findings = folder / "findings.json"
    done = run("testssl", "--starttls", "postgres", "--quiet", "--color", "0", "--jsonfile", findings, "--protocols",
               "--std", "--fs", "--server-defaults", "--vulnerable", target,
               env=environment(HOME=str(folder)), timeout=300)  # fmt: skip
    found = json.loads(findings.read_text())
    assert len(found) > 50, done.stdout
    bad = [each for each in found if each["severity"] not in ("OK", "INFO") and each["id"] not in OF_THE_TEST]
    assert bad == []
