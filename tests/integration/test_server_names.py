"""Several certificates by server name, and the TLS settings of a listener: each shows its effect."""

import re
import ssl

import pytest

from harness.certificates import Authority
from harness.processes import run
from harness.tls_clients import certificate, tls_socket


def for_names(credentials, names: str) -> dict:
    return {"server_names": names, "ssl_cert_file": str(credentials.certificate), "ssl_key_file": str(credentials.key)}


@pytest.fixture
def names(authority):
    return [
        for_names(authority.issue("db", dns=["db.example.com"]), "db.example.com"),
        for_names(authority.issue("any", dns=["*.example.org"]), "*.example.org"),
    ]


def common_name(proxy, authority, name: str, **more) -> str:
    with tls_socket(proxy, authority, name=name, check_hostname=False, **more) as tls:
        return tls.getpeercert()["subject"][0][0][1]


@pytest.mark.parametrize(
    "name, shown",
    [("db.example.com", "db"), ("DB.Example.COM", "db"), ("db.example.com.", "db"), ("x.example.org.", "any"),
     ("x.example.org", "any"), ("a.b.example.org", "localhost"),
     ("elsewhere.example", "localhost")],
)  # fmt: skip
def test_the_name_chooses_the_certificate(pgveil, postgres, authority, credentials, names, name, shown):
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials, certificate=names))
    assert common_name(proxy, authority, name) == shown


def test_without_a_default_unknown_names_are_refused(pgveil, postgres, authority, names):
    proxy = pgveil(postgres.unix_upstream(), listener={"certificate": names})
    assert common_name(proxy, authority, "db.example.com") == "db"
    with pytest.raises(ssl.SSLError, match="unrecognized name"):
        tls_socket(proxy, authority, name="elsewhere.example")


def test_no_name_is_a_way_round_the_check_of_client_certificates(pgveil, postgres, authority, credentials, names,
                                                                 folder):  # fmt: skip
    listener = certificate(credentials, certificate=names, ssl_ca_file=str(authority.file))
    proxy = pgveil(postgres.unix_upstream(), listener=listener)
    stranger = Authority(folder, "stranger").issue_to_client("billing")
    for name in "localhost", "db.example.com", "x.example.org":
        with pytest.raises(ssl.SSLError, match="unknown ca"):
            with tls_socket(proxy, authority, name=name, check_hostname=False, credentials=stranger) as tls:
                tls.recv(1)  # with TLS 1.3 the verdict comes after the handshake
    assert "reason=client_certificate_invalid" in proxy.end_of_session()


def s_client(proxy, *arguments) -> str:
    host, port = proxy.address
    done = run("openssl", "s_client", "-connect", f"{host}:{port}", "-starttls", "postgres", *arguments, input="",
               stdin=None)  # fmt: skip
    return done.stdout + done.stderr


SETTINGS = {
    "ssl_min_protocol_version": ("TLSv1.3", ["-tls1_2"], "alert protocol version"),
    "ssl_max_protocol_version": ("TLSv1.2", ["-tls1_3"], "alert protocol version"),
    "ssl_ciphers": ("ECDHE-ECDSA-CHACHA20-POLY1305", ["-tls1_2"], "Cipher is ECDHE-ECDSA-CHACHA20-POLY1305"),
    "ssl_tls13_ciphers": ("TLS_AES_128_GCM_SHA256", ["-tls1_3"], "Cipher is TLS_AES_128_GCM_SHA256"),
    "ssl_groups": ("P-384", ["-groups", "X25519:P-384"], "ECDH, secp384r1, 384 bits"),
    "ssl_prefer_server_ciphers": (
        False,
        ["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384"],
        "Cipher is ECDHE-ECDSA-CHACHA20-POLY1305",
    ),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_has_its_effect(setting, pgveil, postgres, credentials):
    value, arguments, sign = SETTINGS[setting]
    without = pgveil(postgres.unix_upstream(), listener=certificate(credentials))
    assert sign not in s_client(without, *arguments)
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials, **{setting: value}))
    assert sign in s_client(proxy, *arguments)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_nothing_can_be_resumed_renegotiated_or_compressed(pgveil, postgres, credentials, version):
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials))
    said = s_client(proxy, version)
    assert "Compression: NONE" in said
    # In TLS 1.2 what could be resumed stands in the handshake, in TLS 1.3 it would come behind it.
    assert "TLS session ticket:" not in said and "Post-Handshake New Session Ticket" not in said
    if version == "-tls1_2":
        assert re.search(r"Session-ID: *\n", said)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_client_that_keeps_its_session_cannot_resume_it(pgveil, postgres, credentials, folder, version):
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials))
    session = folder / "session.pem"
    assert "New, TLS" in s_client(proxy, version, "-sess_out", session)
    said = s_client(proxy, version, *(["-sess_in", session] if session.exists() else []))
    assert "New, TLS" in said and "Reused, TLS" not in said


@pytest.mark.parametrize("cipher", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA256"])
def test_no_cipher_without_forward_secrecy_or_authenticated_encryption(pgveil, postgres, credentials, cipher):
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials))
    assert "alert handshake failure" in s_client(proxy, "-tls1_2", "-cipher", cipher)
