"""`pgveil certs`: what it makes is accepted by psql, PostgreSQL, OpenSSL and GnuTLS, and what it revokes is refused."""

import datetime
import fcntl
import json
import os
import re
import shutil
import stat
import subprocess
import types

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from harness.certificates import Credentials
from harness.pgveil import BINARY, EX_USAGE, psql
from harness.postgres import PASSWORD
from harness.processes import environment, run, run_or_fail
from harness.tls_clients import answer, certificate, run_psql, shown

EX_NOINPUT = 66
EX_CANTCREAT = 73

KEYS = {
    "p256": lambda key: isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1",
    "rsa:2048": lambda key: isinstance(key, rsa.RSAPrivateKey) and key.key_size == 2048,
    "rsa:3072": lambda key: isinstance(key, rsa.RSAPrivateKey) and key.key_size == 3072,
    "ed25519": lambda key: isinstance(key, ed25519.Ed25519PrivateKey),
}
SPIFFE = "spiffe://prod.example.com/ns/ledger/sa/billing"

# Over TCP only who has a certificate; pgveil comes through the Unix socket.
SERVER_HBA = """
local    all  all  trust
hostssl  all  all  127.0.0.1/32  cert
"""
RULES = "hostssl all all 127.0.0.0/8 cert"


class Directory:
    """A directory in which `pgveil certs` works; the authority is in `certs` below it."""

    def __init__(self, path):
        self.path = path
        self.certs = path / "certs"
        # What run_psql() trusts.
        self.authority = types.SimpleNamespace(file=self.certs / "ca.crt")

    def run(self, *words, **settings):
        return run(BINARY, "certs", *words, cwd=self.path, **settings)

    def make(self, *words) -> str:
        done = self.run(*words)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def refuse(self, exit_code: int, *words) -> str:
        done = self.run(*words)
        assert (done.returncode, done.stdout) == (exit_code, ""), done.stdout
        return done.stderr

    def credentials(self, name: str) -> Credentials:
        return Credentials(self.certs / f"{name}.crt", self.certs / f"{name}.key")

    def content(self) -> dict:
        return {path.name: path.read_bytes() for path in sorted(self.certs.iterdir())}


def load(path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def load_key(path):
    return serialization.load_pem_private_key(path.read_bytes(), None)


def extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind)


def public_bytes(key) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def directory(folder):
    """An authority, a server for localhost, a client for billing with all names, and a client `plain` with none but its CN."""
    made = Directory(folder)
    make_all(made)
    return made


def make_all(made: Directory, *key) -> None:
    made.make("ca", *key)
    made.make("server", "--host", "localhost", "--ip", "127.0.0.1", "--ip", "::1", *key)
    made.make("client", "--user", "billing", "--spiffe", SPIFFE, "--email", "billing@example.com", *key)
    made.make("client", "--user", "plain", *key)


def reconfigured(postgres, made: Directory, hba: str = SERVER_HBA, **settings):
    """PostgreSQL with the certificate of the server and the authority, which its own account must be able to read."""
    for name in "ca.crt", "localhost.crt", "localhost.key":
        postgres._place(f"made-{name}", (made.certs / name).read_bytes())
    return postgres.reconfigured(hba=hba, ssl_ca_file="made-ca.crt", ssl_cert_file="made-localhost.crt",
                               ssl_key_file="made-localhost.key", **settings)  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_psql_postgres_and_pgveil_accept_the_certificates(key, folder, postgres, pgveil):
    made = Directory(folder)
    make_all(made, "--key", key)
    made.make("client", "--user", "billing", "--out", "second", "--key", key)
    client = {"user": "billing", **shown(made.credentials("billing"))}
    listener = certificate(made.credentials("localhost"), ssl_ca_file=str(made.authority.file), hba=RULES)
    with reconfigured(postgres, made):
        proxy = pgveil(postgres.unix_upstream(), listener=listener)
        # pgveil shows the certificate of the client to the server, and checks that of the server.
        to_tls = pgveil(postgres.upstream(sslrootcert=str(made.authority.file), sslcert=str(made.certs / "billing.crt"),
                                        sslkey=str(made.certs / "billing.key")), listener=listener)  # fmt: skip
        for to in postgres, proxy, to_tls:
            assert answer(run_psql(to, made.authority, "SELECT current_user", **client)) == "billing"
            assert answer(run_psql(to, made.authority, "SELECT 1", **{**client, "host": "127.0.0.1"})) == "1"
            assert answer(run_psql(to, made.authority, "SELECT 1", user="billing", **shown(made.credentials("second")))) == "1"
            for wrong in {"host": "db01.example.com"}, {"user": "orders"}, shown(None):
                assert run_psql(to, made.authority, "SELECT 1", **{**client, **wrong}).returncode == 2


@pytest.mark.parametrize("key", KEYS)
def test_openssl_verifies_the_certificates_strictly(key, folder):
    made = Directory(folder)
    make_all(made, "--key", key)
    made.make("crl")
    assert all(KEYS[key](load_key(made.certs / f"{name}.key")) for name in ("ca", "localhost", "billing", "plain"))
    ca = made.certs / "ca.crt"
    strict = ("openssl", "verify", "-x509_strict", "-check_ss_sig", "-CAfile", ca)
    run_or_fail(*strict, ca)
    for name, purpose in ("localhost", "sslserver"), ("billing", "sslclient"), ("plain", "sslclient"):
        leaf = made.certs / f"{name}.crt"
        run_or_fail(*strict, "-purpose", purpose, leaf)
        run_or_fail(*strict, "-crl_check", "-CRLfile", made.certs / "ca.crl", leaf)
    # The other purpose is refused.
    assert run(*strict, "-purpose", "sslclient", made.certs / "localhost.crt").returncode != 0
    assert run(*strict, "-purpose", "sslserver", made.certs / "billing.crt").returncode != 0
    for host, exit_code in ("localhost", 0), ("example.com", 2):
        done = run(*strict, "-verify_hostname", host, made.certs / "localhost.crt")
        assert done.returncode == exit_code, done.stderr


@pytest.mark.skipif(not shutil.which("certtool"), reason="certtool (package gnutls-bin) is not installed")
@pytest.mark.parametrize("key", KEYS)
def test_gnutls_verifies_the_certificates(key, folder):
    made = Directory(folder)
    make_all(made, "--key", key)
    made.make("revoke", "certs/billing.crt")
    verify = ("certtool", "--verify", "--verify-profile", "medium", "--load-ca-certificate", made.authority.file)
    for name in "localhost", "billing", "plain":
        done = run(*verify, "--infile", made.certs / f"{name}.crt")
        assert "Verified. The certificate is trusted." in done.stdout, done.stdout
    for name, verdict in ("localhost", "The certificate is trusted."), ("billing", "revoked"):
        done = run(*verify, "--load-crl", made.certs / "ca.crl", "--infile", made.certs / f"{name}.crt")
        assert verdict in done.stdout, done.stdout


def test_the_certificates_have_the_right_extensions(directory):
    now = datetime.datetime.utcnow()
    ca, server, client = (load(directory.certs / f"{name}.crt") for name in ("ca", "localhost", "billing"))
    for made in ca, server, client:
        assert 2**64 < made.serial_number < 2**127
        assert datetime.timedelta(0) < now - made.not_valid_before < datetime.timedelta(hours=2)
        basic, usage = extension(made, x509.BasicConstraints), extension(made, x509.KeyUsage)
        assert basic.critical and usage.critical
        assert (basic.value.ca, basic.value.path_length) == ((True, 0) if made is ca else (False, None))
        assert usage.value.key_cert_sign == usage.value.crl_sign == (made is ca)
        assert usage.value.digital_signature == (made is not ca)
        issuer = extension(ca, x509.SubjectKeyIdentifier).value.digest
        assert extension(made, x509.AuthorityKeyIdentifier).value.key_identifier == issuer
    names = extension(server, x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    names = extension(client, x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [SPIFFE]
    assert names.get_values_for_type(x509.RFC822Name) == ["billing@example.com"]
    assert [use._name for use in extension(server, x509.ExtendedKeyUsage).value] == ["serverAuth"]
    assert [use._name for use in extension(client, x509.ExtendedKeyUsage).value] == ["clientAuth"]
    assert client.subject.rfc4514_string() == "CN=billing"
    plain = load(directory.certs / "plain.crt")
    names = extension(plain, x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DirectoryName) == [plain.subject] and len(names) == 1


def test_what_is_printed_can_be_used_as_it_is(folder, postgres, pgveil):
    made = Directory(folder)
    said_of_ca = made.make("ca")
    said_of_server = made.make("server", "--host", "localhost")
    said_of_client = made.make("client", "--user", "billing")
    made_crl = made.make("crl")

    def settings(text: str, section: str) -> dict:
        block = text.split(f"{section}")[1].split(":\n", 1)[1]
        lines = re.match(r"(?:  .*\n)+", block)[0].splitlines()
        return {key: value[1:-1] for key, value in (line.strip().split(" = ") for line in lines)}

    listener = {**settings(said_of_ca, "[[listener]]"), **settings(said_of_server, "[[listener]]"),
                **settings(made_crl, "[[listener]]"), "hba": said_of_client.splitlines()[-1].strip()}  # fmt: skip
    assert set(listener) == {"ssl_ca_file", "ssl_cert_file", "ssl_key_file", "ssl_crl_file", "hba"}
    upstream = {**settings(said_of_ca, "[upstream.NAME]"), **settings(said_of_client, "[upstream.NAME]")}
    upstream.update(settings(made_crl, "[upstream.NAME]"))
    assert set(upstream) == {"sslrootcert", "sslcert", "sslkey", "sslcrl"}
    with reconfigured(postgres, made):
        proxy = pgveil(postgres.upstream(**upstream), listener=listener)
        words = re.search(r"libpq:\n  (.*)\n", said_of_client)[1]
        done = psql(f"{words} host=localhost hostaddr={proxy.address[0]} port={proxy.address[1]} dbname=ledger", "SELECT 1")
        assert answer(done) == "1"


@pytest.mark.parametrize("umask", [0, 0o777])
def test_the_modes_do_not_depend_on_the_umask(folder, umask):
    made = Directory(folder)
    made.certs.mkdir()
    made.certs.chmod(0o755)
    for words in ("ca",), ("server", "--host", "localhost"), ("client", "--user", "billing"), ("crl",):
        done = made.run(*words, umask=umask)
        assert done.returncode == 0, done.stderr
    made.run("renew", "certs/localhost.crt", umask=umask)
    modes = {path.name: mode(path) for path in made.certs.iterdir()}
    keys = {f"{name}.key": 0o600 for name in ("ca", "localhost", "billing")}
    others = ("ca.crt", "localhost.crt", "billing.crt", "ca.crl", "ca.revoked", "ca.issued")
    assert modes == {**keys, **dict.fromkeys(others, 0o644)}


# Others cannot look into the memory of pgveil.
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("strace"), reason="only root can trace pgveil, with strace")
def test_a_file_has_no_byte_that_others_can_read_before_it_has_its_mode(folder):
    made, trace = Directory(folder), folder / "trace"
    done = run("strace", "-f", "-e", "trace=open,openat,creat", "-o", trace, BINARY, "certs", "ca", cwd=folder, umask=0)
    assert done.returncode == 0, done.stderr
    created = re.findall(r'"([^"]*)", (\S*O_CREAT\S*), (\d+)', trace.read_text())
    assert len(created) == 2
    for path, flags, permissions in created:
        assert path.startswith("certs/.pgveil-") and "O_EXCL" in flags and permissions == "0600"
    assert mode(made.certs / "ca.key") == 0o600


def test_a_directory_that_is_made_is_not_writable_for_others(folder):
    made = Directory(folder)
    assert made.run("ca", umask=0).returncode == 0
    assert mode(made.certs) == 0o755


@pytest.mark.parametrize(
    "words",
    [("ca",), ("server", "--host", "localhost"), ("client", "--user", "billing"), ("client", "--user", "x", "--out", "billing")],
)
@pytest.mark.parametrize("missing", ["", ".crt", ".key"])
def test_nothing_is_overwritten(directory, words, missing):
    name = {"ca": "ca", "server": "localhost", "client": "billing"}[words[0]]
    if missing:
        (directory.certs / f"{name}{missing}").unlink()
    before = directory.content()
    assert "exists already" in directory.refuse(EX_CANTCREAT, *words)
    assert directory.content() == before


def test_a_link_to_nothing_is_not_followed(directory):
    (directory.certs / "orders.key").symlink_to(directory.path / "elsewhere.key")
    directory.refuse(EX_CANTCREAT, "client", "--user", "orders")
    assert not (directory.path / "elsewhere.key").exists() and not (directory.certs / "orders.crt").exists()


def test_a_directory_that_cannot_be_written_to_is_reported(folder):
    assert "cannot be written: No such file or directory" in Directory(folder).refuse(EX_CANTCREAT, "ca", "--dir", "a/b")


def test_a_renewed_certificate_has_the_same_names_and_key(directory, postgres, pgveil):
    path, key = directory.certs / "localhost.crt", directory.certs / "localhost.key"
    path.chmod(0o640)
    listener = certificate(directory.credentials("localhost"), ssl_ca_file=str(directory.authority.file), hba=RULES)
    proxy = pgveil(postgres.unix_upstream(), listener=listener)
    old, old_key = load(path), key.read_bytes()
    said = directory.make("renew", "certs/localhost.crt", "--days", "100")
    assert said.startswith("Renewed certs/localhost.crt: valid until ")
    new = load(path)
    assert mode(path) == 0o640 and key.read_bytes() == old_key
    assert new.serial_number != old.serial_number and new.subject == old.subject and new.issuer == old.issuer
    assert public_bytes(new.public_key()) == public_bytes(old.public_key())
    assert [each.value for each in new.extensions] == [each.value for each in old.extensions]
    days = (new.not_valid_after - datetime.datetime.utcnow()) / datetime.timedelta(days=1)
    assert 99 < days <= 100
    run_or_fail("openssl", "verify", "-x509_strict", "-CAfile", directory.authority.file, path)
    proxy.reload()
    client = {"user": "billing", **shown(directory.credentials("billing"))}
    assert answer(run_psql(proxy, directory.authority, "SELECT 1", **client)) == "1"
    # As long as before.
    directory.make("renew", "certs/localhost.crt")
    assert load(path).not_valid_after - load(path).not_valid_before == new.not_valid_after - new.not_valid_before


def test_a_certificate_is_renewed_where_a_link_leads(directory):
    (directory.path / "current.crt").symlink_to("certs/billing.crt")
    before = load(directory.certs / "billing.crt").serial_number
    directory.make("renew", "current.crt", "--dir", "certs")
    assert (directory.path / "current.crt").is_symlink()
    assert load(directory.certs / "billing.crt").serial_number != before


def test_certificates_stay_valid_when_their_authority_is_renewed(directory):
    old = directory.path / "old.crt"
    shutil.copy(directory.authority.file, old)
    directory.make("renew", "certs/ca.crt", "--days", "4000")
    directory.make("client", "--user", "orders", "--days", "3900")
    for ca in old, directory.authority.file:
        for name in "localhost", "billing", "orders":
            run_or_fail("openssl", "verify", "-x509_strict", "-CAfile", ca, directory.certs / f"{name}.crt")


def test_nothing_is_valid_for_longer_than_the_authority(folder):
    made = Directory(folder)
    made.make("ca", "--days", "20")
    made.make("server", "--host", "localhost")
    made.make("crl")
    end = load(made.certs / "ca.crt").not_valid_after
    assert load(made.certs / "localhost.crt").not_valid_after == end
    assert x509.load_pem_x509_crl((made.certs / "ca.crl").read_bytes()).next_update == end
    said = made.refuse(EX_USAGE, "client", "--user", "billing", "--days", "21")
    assert "--days goes beyond the authority" in said and "pgveil certs renew certs/ca.crt" in said
    made.make("client", "--user", "billing", "--days", "19")


def test_a_revoked_client_is_refused_by_pgveil_and_by_postgres(directory, postgres, pgveil):
    directory.make("client", "--user", "billing", "--out", "second")
    directory.make("crl")
    crl = directory.certs / "ca.crl"
    postgres._place("made-ca.crl", crl.read_bytes())
    listener = certificate(directory.credentials("localhost"), ssl_ca_file=str(directory.authority.file), hba=RULES,
                           ssl_crl_file=str(crl))  # fmt: skip
    first, second = ({"user": "billing", **shown(directory.credentials(name))} for name in ("billing", "second"))
    with reconfigured(postgres, directory, ssl_crl_file="made-ca.crl"):
        proxy = pgveil(postgres.unix_upstream(), listener=listener)
        for to in postgres, proxy:
            for client in first, second:
                assert answer(run_psql(to, directory.authority, "SELECT 1", **client)) == "1"
        said = directory.make("revoke", "certs/billing.crt")
        assert said.startswith("Revoked certs/billing.crt: CN=billing, serial ") and "ca.crl: 1 revoked" in said
        proxy.reload()
        postgres._place("made-ca.crl", crl.read_bytes())
        postgres._reconfigure(SERVER_HBA, "", [])
        for to in postgres, proxy:
            assert answer(run_psql(to, directory.authority, "SELECT 1", **second)) == "1"
            assert "certificate revoked" in run_psql(to, directory.authority, "SELECT 1", **first).stderr
    check = ("openssl", "verify", "-x509_strict", "-crl_check", "-CAfile", directory.authority.file, "-CRLfile", crl)
    assert "certificate revoked" in run(*check, directory.certs / "billing.crt").stderr
    run_or_fail(*check, directory.certs / "second.crt")
    assert "was revoked on" in directory.refuse(EX_NOINPUT, "renew", "certs/billing.crt")


def test_a_new_crl_has_the_next_number_and_the_same_entries(directory):
    def crl():
        return x509.load_pem_x509_crl((directory.certs / "ca.crl").read_bytes())

    serials = {load(directory.certs / f"{name}.crt").serial_number for name in ("billing", "localhost")}
    directory.make("revoke", "certs/billing.crt", "certs/localhost.crt", "--days", "3")
    assert {entry.serial_number for entry in crl()} == serials
    assert crl().next_update - datetime.datetime.utcnow() < datetime.timedelta(days=3)
    assert "certs/billing.crt was revoked before." in directory.make("revoke", "certs/billing.crt")
    directory.make("crl", "--days", "7")
    assert {entry.serial_number for entry in crl()} == serials
    assert crl().extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 3
    assert datetime.timedelta(days=6) < crl().next_update - datetime.datetime.utcnow() < datetime.timedelta(days=7)


@pytest.mark.parametrize("damage", ["remove", "cut", "line"])
def test_no_crl_is_made_from_a_list_that_is_damaged(directory, damage):
    directory.make("revoke", "certs/billing.crt")
    file, crl = directory.certs / "ca.revoked", directory.certs / "ca.crl"
    before = crl.read_bytes()
    if damage == "remove":
        file.unlink()
    else:
        file.write_text("" if damage == "cut" else file.read_text() + "not a serial\n")
    said = directory.refuse(EX_NOINPUT, "crl")
    assert ("does not exist, but" if damage == "remove" else "cannot be read") in said
    assert crl.read_bytes() == before


def test_what_another_authority_has_issued_is_neither_renewed_nor_revoked(directory):
    directory.make("ca", "--dir", "others")
    before = directory.content()
    for action in "renew", "revoke":
        said = directory.refuse(EX_NOINPUT, action, "certs/billing.crt", "--dir", "others")
        assert "was not issued by" in said
    assert directory.content() == before


def test_the_certificate_that_a_renewal_has_replaced_is_revoked_too(directory):
    old, new = directory.path / "old.crt", directory.certs / "billing.crt"
    shutil.copy(new, old)
    directory.make("renew", "certs/billing.crt")
    directory.make("revoke", "certs/billing.crt")
    check = ("openssl", "verify", "-crl_check", "-CAfile", directory.authority.file, "-CRLfile", directory.certs / "ca.crl")
    for file in old, new:
        assert "certificate revoked" in run(*check, file).stderr
    run_or_fail(*check, directory.certs / "plain.crt")


def test_a_certificate_whose_file_is_lost_is_revoked_by_its_serial(directory):
    lost = directory.path / "lost.crt"
    (directory.certs / "billing.crt").rename(lost)
    serial = run_or_fail("openssl", "x509", "-noout", "-serial", "-in", lost).strip().removeprefix("serial=")
    assert directory.make("revoke", "--serial", serial).startswith(f"Revoked serial {serial.lower()}: CN=billing, ")
    check = ("openssl", "verify", "-crl_check", "-CAfile", directory.authority.file, "-CRLfile", directory.certs / "ca.crl")
    assert "certificate revoked" in run(*check, lost).stderr


def test_a_certificate_with_a_negative_serial_is_neither_revoked_nor_renewed(directory):
    request, leaf = directory.path / "leaf.csr", directory.certs / "leaf.crt"
    run_or_fail("openssl", "req", "-new", "-key", directory.certs / "billing.key", "-subj", "/CN=leaf", "-out", request)
    run_or_fail("openssl", "x509", "-req", "-in", request, "-CA", directory.authority.file, "-CAkey",
                directory.certs / "ca.key", "-set_serial", "-10", "-out", leaf)  # fmt: skip
    for action in "revoke", "renew":
        assert "has the negative serial -0a" in directory.refuse(EX_NOINPUT, action, "certs/leaf.crt")
    assert not (directory.certs / "ca.crl").exists()


def test_a_process_says_that_it_waits_for_another_one(directory):
    lock = os.open(directory.certs, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    waiting = subprocess.Popen([BINARY, "certs", "crl"], cwd=directory.path, env=environment(), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip
    with waiting:
        assert waiting.stderr.readline() == 'waiting for another "pgveil certs" in "certs"\n'
        os.close(lock)
        assert waiting.wait(60) == 0


def together(made: Directory, *commands) -> list[int]:
    """Runs `pgveil certs` for all at the same time; their exit codes."""
    running = [subprocess.Popen([BINARY, "certs", *words], cwd=made.path, env=environment(), stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for words in commands]  # fmt: skip
    return [process.wait(60) for process in running]


def test_processes_that_revoke_at_the_same_time_lose_nothing(directory):
    names = [f"user{number}" for number in range(6)]
    for name in names:
        directory.make("client", "--user", name)
    assert together(directory, *(("revoke", f"certs/{name}.crt") for name in names)) == [0] * len(names)
    crl = x509.load_pem_x509_crl((directory.certs / "ca.crl").read_bytes())
    assert {entry.serial_number for entry in crl} == {load(directory.certs / f"{name}.crt").serial_number for name in names}
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == len(names)


def test_of_processes_that_make_the_same_files_one_succeeds(folder):
    made = Directory(folder)
    for words in ("ca",), ("client", "--user", "billing"):
        assert sorted(together(made, *[words] * 5)) == [0, *[EX_CANTCREAT] * 4]
        name = "ca" if words == ("ca",) else "billing"
        assert public_bytes(load(made.certs / f"{name}.crt").public_key()) == public_bytes(
            load_key(made.certs / f"{name}.key").public_key()
        )
    assert sorted(path.name for path in made.certs.iterdir()) == [
        "billing.crt",
        "billing.key",
        "ca.crt",
        "ca.issued",
        "ca.key",
    ]


@pytest.mark.parametrize("key", ["p256", "ed25519"])
def test_the_note_on_channel_binding_is_right(key, folder, postgres):
    made = Directory(folder)
    notes = ["channel_binding=disable" in made.make("ca", "--key", key),
             "channel_binding=disable" in made.make("server", "--host", "localhost")]  # fmt: skip
    assert notes == [key == "ed25519"] * 2
    hba = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256"
    with reconfigured(postgres, made, hba=hba):
        app = {"user": "app", "password": PASSWORD}
        done = run_psql(postgres, made.authority, "SELECT 1", **app)
        assert (done.returncode == 0) == (key == "p256"), done.stderr
        assert answer(run_psql(postgres, made.authority, "SELECT 1", channel_binding="disable", **app)) == "1"
    assert ("channel binding" in made.make("show", "certs/localhost.crt")) == (key == "ed25519")


def test_show_says_what_a_rule_can_map(directory, postgres, pgveil):
    said = directory.make("show", "certs/billing.crt")
    names = dict(re.findall(r"(?m)^  clientname=(\w+) +(.*)$", said))
    assert set(names) == {"CN", "DN", "URI", "EMAIL", "FINGERPRINT"}
    assert names["URI"] == SPIFFE and names["CN"] == "billing"
    client = shown(directory.credentials("billing"))
    for kind, name in names.items():
        listener = certificate(directory.credentials("localhost"), ssl_ca_file=str(directory.authority.file),
                               hba=f"hostssl all all all cert map=m clientname={kind}", ident=f'm "{name}" orders')  # fmt: skip
        proxy = pgveil(postgres.unix_upstream(), listener=listener)
        assert answer(run_psql(proxy, directory.authority, "SELECT current_user", user="orders", **client)) == "orders"


def test_show_describes_every_file_also_as_json(directory):
    directory.make("revoke", "certs/billing.crt")
    (directory.certs / "localhost.key").chmod(0o644)
    files = sorted(f"certs/{path.name}" for path in directory.certs.iterdir() if path.suffix not in (".issued", ".revoked"))
    said = directory.make("show", *files)
    assert [line for line in said.splitlines() if line.startswith("certs/")] == files
    # Only whole days are counted.
    assert re.search("36[45] days left", said) and "1 revoked" in said and "group or world access" in said
    shown_files = json.loads(directory.make("show", "--json", *files))["files"]
    assert [file["file"] for file in shown_files] == files
    kinds = {file["file"]: file["certificates"][0]["kind"] for file in shown_files if file["certificates"]}
    clients = dict.fromkeys(["certs/billing.crt", "certs/plain.crt"], "client")
    assert kinds == {"certs/ca.crt": "authority", "certs/localhost.crt": "server", **clients}


@pytest.mark.parametrize("version", [3, 1])
def test_show_tells_both_uses_of_a_self_signed_certificate(directory, version):
    file, key = directory.path / "self.crt", directory.path / "self.key"
    run_or_fail("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", key, "-out", file)
    if version == 1:
        request = directory.path / "self.csr"
        run_or_fail("openssl", "req", "-new", "-key", key, "-subj", "/CN=localhost", "-out", request)
        run_or_fail("openssl", "x509", "-req", "-in", request, "-signkey", key, "-out", file)
    assert load(file).version.name == f"v{version}"
    said = directory.make("show", "self.crt")
    assert re.search(r"(?m)^  certificate +authority, server and client$", said), said
    for use in "ssl_ca_file: accepts clients", "sslrootcert: trusts servers", "ssl_cert_file: a server for", "sslcert: a client":
        assert use in said
    assert re.search(r"(?m)^  issuer +itself$", said)


def test_show_refuses_what_it_cannot_read(directory):
    (directory.path / "note").write_text("dear diary\n")
    assert "it holds no PEM block of a certificate" in directory.refuse(EX_NOINPUT, "show", "note")
    assert "No such file" in directory.refuse(EX_NOINPUT, "show", "nothing")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_of_a_renewed_certificate_stays(directory):
    shutil.chown(directory.certs / "localhost.crt", "nobody", "nogroup")
    directory.make("renew", "certs/localhost.crt")
    assert (directory.certs / "localhost.crt").owner() == "nobody"


def test_a_key_that_others_can_read_is_not_used(directory):
    (directory.certs / "ca.key").chmod(0o644)
    assert "has group or world access" in directory.refuse(EX_NOINPUT, "client", "--user", "orders")
    (directory.certs / "ca.key").chmod(0o600)
    key, encrypted = directory.certs / "ca.key", directory.path / "encrypted.key"
    run_or_fail("openssl", "pkey", "-aes256", "-passout", "pass:x", "-in", key, "-out", encrypted)
    shutil.copy(encrypted, key)
    assert "is encrypted" in directory.refuse(EX_NOINPUT, "client", "--user", "orders")
