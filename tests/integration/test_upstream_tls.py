"""The TLS settings of an upstream, towards a real server: each shows its effect."""

import ssl

import pytest

from harness.audit import logins, to_file
from harness.tls_clients import certificate, tls_socket

HAS_ML_KEM = ssl.OPENSSL_VERSION_INFO >= (3, 5)


def tls12(**settings) -> dict:
    return {"ssl_max_protocol_version": "TLSv1.2", **settings}


SETTINGS = {
    "ssl_ciphers": (tls12(ssl_ciphers="ECDHE+CHACHA20"), "cipher=ECDHE-ECDSA-CHACHA20-POLY1305"),
    "ssl_tls13_ciphers": ({"ssl_tls13_ciphers": "TLS_AES_128_GCM_SHA256"}, "cipher=TLS_AES_128_GCM_SHA256"),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_has_its_effect(setting, pgveil, postgres):
    settings, sign = SETTINGS[setting]
    proxy = pgveil(postgres.upstream(**settings), log={"level": "debug"})
    assert proxy.query("SELECT 1") == "1"
    assert f" {sign} " in proxy.record_of_session()


def test_the_group_is_one_of_those_that_are_set(pgveil, postgres):
    with postgres.reconfigured(ssl_ecdh_curve="secp384r1"):
        assert pgveil(postgres.upstream(ssl_groups="X25519:P-384")).query("SELECT 1") == "1"
        proxy = pgveil(postgres.upstream(ssl_groups="X25519"))
        done = proxy.psql("SELECT 1")
        assert done.returncode != 0 and "Check ssl_ciphers, ssl_tls13_ciphers, ssl_groups" in done.stderr
        assert "reason=upstream_tls_failed" in proxy.end_of_session()


def test_a_server_that_signs_with_nothing_that_is_set_is_refused(pgveil, postgres):
    assert pgveil(postgres.upstream(ssl_signature_algorithms="ecdsa_secp256r1_sha256")).query("SELECT 1") == "1"
    proxy = pgveil(postgres.upstream(ssl_signature_algorithms="rsa_pss_rsae_sha256"))
    assert "ssl_signature_algorithms" in proxy.psql("SELECT 1").stderr
    assert "reason=upstream_tls_failed" in proxy.end_of_session()


def test_a_server_of_old_ciphers_alone_needs_a_setting(pgveil, postgres):
    with postgres.reconfigured(ssl_ciphers="ECDHE-ECDSA-AES256-SHA384", ssl_max_protocol_version="TLSv1.2"):
        assert "Check ssl_ciphers" in pgveil(postgres.upstream()).psql("SELECT 1").stderr
        proxy = pgveil(postgres.upstream(ssl_ciphers="ECDHE-ECDSA-AES256-SHA384"))
        assert "without forward secrecy or authenticated encryption" in proxy.wait_for_line(".*ssl_ciphers.*").string
        assert proxy.query("SELECT 1") == "1"


# --- post-quantum key exchange ---


def test_log_and_audit_say_whether_the_key_exchange_is_post_quantum(pgveil, postgres, authority, credentials, folder):
    audit = folder / "audit.json"
    proxy = pgveil(postgres.upstream(), listener=certificate(credentials), audit=to_file(audit), log={"level": "debug"})
    with tls_socket(proxy, authority, name="localhost"):
        pass
    line = proxy.record_of_session()
    word = "yes" if HAS_ML_KEM else "no"
    assert f" client_post_quantum={word} " in line and " client_group=" in line
    assert proxy.psql("SELECT 1", sslmode="require", user="trusted").returncode == 0
    assert proxy.stop() == 0
    record = logins(audit)[-1]
    assert record["client_post_quantum"] is HAS_ML_KEM
    assert record["server_post_quantum"] in (True, False) and record["server_group"]


@pytest.mark.parametrize("side", ["listener", "upstream.primary"])
def test_required_post_quantum_key_exchange(side, pgveil, refusal, postgres, credentials):
    required = {"post_quantum": "require"}
    upstream = postgres.upstream(**(required if side != "listener" else {}))
    listener = certificate(credentials, **(required if side == "listener" else {}))
    if not HAS_ML_KEM:
        said = refusal(upstream, **listener)
        assert f"{side}.post_quantum: " in said.replace("listener[0]", "listener") and "has none" in said
        return
    # psql and PostgreSQL have the same OpenSSL as pgveil.
    proxy = pgveil(upstream, listener=listener, log={"level": "debug"})
    done = proxy.psql("SELECT 1", sslmode="require", user="trusted")
    line = proxy.record_of_session()
    if done.returncode == 0:
        assert f" {'client_' if side == 'listener' else ''}post_quantum=yes " in line
    else:
        assert "hybrid group of ML-KEM" in line


@pytest.mark.parametrize("settings, word", [({"ssl_max_protocol_version": "TLSv1.2"}, "ssl_max_protocol_version"),
                                            ({"ssl_groups": "X25519:P-256"}, "has none")])  # fmt: skip
def test_what_excludes_a_required_post_quantum_key_exchange_is_an_error(settings, word, refusal, postgres):
    said = refusal(postgres.upstream(post_quantum="require", **settings))
    assert "upstream.primary.post_quantum: " in said and word in said
