"""Authorities and certificates of every kind, good and bad, made at run time."""

import datetime
import ipaddress
import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness.processes import run_or_fail

DAY = datetime.timedelta(days=1)
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
KEY_USES = [
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
]  # fmt: skip


@dataclass(frozen=True)
class Credentials:
    """PEM files: a certificate with the chain that its owner sends, and its key."""

    certificate: Path
    key: Path
    serial_number: int = 0


def new_key(kind: str = "ec"):
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("rsa"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(kind[3:] or 2048))
    return ec.generate_private_key(ec.SECP256R1())


def subject(*common_names: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names])


def pem(certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def rehashed(directory: Path, *crls: Path) -> Path:
    """The directory, with copies of revocation lists in it under the names that OpenSSL looks for."""
    for number, crl in enumerate(crls):
        (directory / f"{number}.crl").write_bytes(crl.read_bytes())
    run_or_fail("openssl", "rehash", directory)
    return directory


class Authority:
    """A CA: a root, or an intermediate where `issuer` is given."""

    _numbers = itertools.count()  # of all files, since authorities may share a directory

    def __init__(self, directory: Path, name: str, *, issuer: "Authority | None" = None, kind: str = "ec",
                 **options):
        self.directory = directory
        self.name = name
        self.key = new_key(kind)
        self._issuer = issuer
        signer = issuer or self
        self.subject = subject(name)
        self.certificate = signer._sign(self.subject, self.key, ca=True, **options)
        # What whoever trusts this authority is given.
        self.file = self._write("crt", pem(self.certificate))

    def issue(self, *common_names: str, dns=(), ips=(), uris=(), emails=(), kind: str = "ec", usage=SERVER,
              chain: bool = True, passphrase: str | None = None, name: x509.Name | None = None,
              **options) -> Credentials:
        """A certificate for a server or client; `name` is a subject of other attributes than CN. With `chain`, the
        intermediates are sent with it."""
        key = new_key(kind)
        names = [
            *map(x509.DNSName, dns),
            *(x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips),
            *map(x509.UniformResourceIdentifier, uris),
            *map(x509.RFC822Name, emails),
        ]
        certificate = self._sign(name or subject(*common_names), key, names=names, usage=usage, **options)
        sent = [certificate, *(self._intermediates() if chain else [])]
        return Credentials(
            self._write("crt", b"".join(map(pem, sent))),
            self._write_key(key, passphrase),
            certificate.serial_number,
        )

    def issue_to_client(self, *common_names: str, **options) -> Credentials:
        return self.issue(*common_names, **{"usage": CLIENT, **options})

    @property
    def serial_number(self) -> int:
        return self.certificate.serial_number

    def issue_with_pss(self, name: str) -> Credentials:
        """A certificate whose signature is RSA-PSS; of an authority with an RSA key."""
        own_key, key, certificate = self._write_key(self.key), self._path("key"), self._path("crt")
        run_or_fail(
            "openssl", "req", "-x509", "-CA", self.file, "-CAkey", own_key, "-days", "1",
            "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-subj", f"/CN={name}",
            "-addext", f"subjectAltName=DNS:{name}", "-addext", "basicConstraints=CA:FALSE",
            "-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:-1",
        )  # fmt: skip
        return Credentials(certificate, key)

    def self_signed(self, name: str) -> Credentials:
        """A certificate for a server that is its own issuer, and no CA."""
        key = new_key()
        certificate = self._sign(subject(name), key, names=[x509.DNSName(name)], signer=(subject(name), key))
        return Credentials(self._write("crt", pem(certificate)), self._write_key(key))

    def revoke(self, *credentials: "Credentials | Authority", age=DAY, lifetime=2 * DAY) -> Path:
        """A revocation list that names `credentials`; without any, an empty one."""
        now = datetime.datetime.utcnow()
        crl = x509.CertificateRevocationListBuilder().issuer_name(self.subject)
        crl = crl.last_update(now - age).next_update(now - age + lifetime)
        for each in credentials:
            entry = x509.RevokedCertificateBuilder().serial_number(each.serial_number)
            crl = crl.add_revoked_certificate(entry.revocation_date(now - age).build())
        return self._write("crl", pem(crl.sign(self.key, hashes.SHA256())))

    def _sign(self, name, key, *, names=(), usage=None, ca=False, age=DAY, lifetime=2 * DAY, signer=None):
        """`age`: how long ago it became valid; `lifetime`: for how long it is."""
        issuer_name, issuer_key = signer or (self.subject, self.key)
        now = datetime.datetime.utcnow()
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - age)
            .not_valid_after(now - age + lifetime)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
            )
        )
        if ca:
            # Python from 3.13 on wants it of an authority.
            uses = {"key_cert_sign", "crl_sign"}
            builder = builder.add_extension(x509.KeyUsage(**{use: use in uses for use in KEY_USES}), critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        signs_itself = isinstance(issuer_key, ed25519.Ed25519PrivateKey)
        return builder.sign(issuer_key, None if signs_itself else hashes.SHA256())

    def _intermediates(self) -> list:
        return [self.certificate, *self._issuer._intermediates()] if self._issuer else []

    def _write_key(self, key, passphrase: str | None = None) -> Path:
        encryption = (
            serialization.BestAvailableEncryption(passphrase.encode())
            if passphrase
            else serialization.NoEncryption()
        )
        return self._write(
            "key",
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption),
            mode=0o600,
        )

    def _write(self, kind: str, content: bytes, mode: int = 0o644) -> Path:
        path = self._path(kind)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
        return path

    def _path(self, kind: str) -> Path:
        return self.directory / f"{next(self._numbers):03}-{self.name.replace(' ', '-')}.{kind}"
