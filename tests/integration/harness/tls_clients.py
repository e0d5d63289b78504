"""Clients that come with TLS, with or without a certificate of their own: psql, and sockets that can say anything."""

import socket
import ssl

from harness import wire
from harness.certificates import Authority, Credentials
from harness.pgveil import Pgveil, psql
from harness.postgres import PASSWORD, Cluster


def certificate(credentials: Credentials, **more) -> dict:
    """The settings of a listener that shows `credentials`."""
    return {"ssl_cert_file": str(credentials.certificate), "ssl_key_file": str(credentials.key), **more}


def shown(credentials: Credentials | None) -> dict:
    """The parameters of a psql that shows `credentials`; of one that has none it must not look for, either."""
    if credentials is None:
        return {"sslcert": "/nonexistent/postgresql.crt", "sslkey": "/nonexistent/postgresql.key"}
    return {"sslcert": credentials.certificate, "sslkey": credentials.key}


def run_psql(server: Pgveil | Cluster, authority: Authority, *commands, **parameters):
    """A psql that trusts `authority`, and knows whom it talks to. As `app`, unless said otherwise."""
    host, port = server.address
    settings = {"host": "localhost", "hostaddr": host, "port": port, "sslmode": "verify-full",
                "sslrootcert": authority.file, "user": "app", "password": PASSWORD, "dbname": "ledger",
                **parameters}  # fmt: skip
    return psql(" ".join(f"{key}='{value}'" for key, value in settings.items()), *commands)


def answer(done) -> str:
    """The rows of a psql that must have succeeded."""
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def tls_socket(proxy: Pgveil, authority: Authority, *, alpn=("postgresql",), direct: bool = False,
               credentials: Credentials | None = None, name: str = "localhost", **settings) -> ssl.SSLSocket:
    """`settings` are attributes of the SSLContext; `name` is sent as SNI, and what the certificate must be for."""
    context = ssl.create_default_context(cafile=str(authority.file))
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if credentials:
        context.load_cert_chain(credentials.certificate, credentials.key)
    for setting, value in settings.items():
        setattr(context, setting, value)
    raw = socket.create_connection(proxy.address, timeout=20)
    try:
        if not direct:
            raw.sendall(wire.SSL_REQUEST)
            assert raw.recv(1) == b"S"
        return context.wrap_socket(raw, server_hostname=name)
    except BaseException:
        raw.close()
        raise


def tls_client(proxy: Pgveil, authority: Authority, **settings) -> wire.Conversation:
    """tls_socket(), to speak PostgreSQL over."""
    return wire.Conversation(tls_socket(proxy, authority, **settings))
