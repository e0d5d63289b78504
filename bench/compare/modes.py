"""Which side of the proxy has TLS."""

from typing import NamedTuple


class Mode(NamedTuple):
    name: str
    title: str
    tls_clients: bool  # who check that the certificate is for localhost; else plaintext on 127.0.0.1
    tls_server: bool  # whose certificate the proxy checks, with its name; else the server's Unix socket


MODES = {
    mode.name: mode
    for mode in [
        Mode("egress", "plaintext clients, TLS with verify-full to the server", False, True),
        Mode("ingress", "TLS clients, the server's Unix socket", True, False),
        Mode("both", "TLS clients, TLS with verify-full to the server", True, True),
    ]
}
