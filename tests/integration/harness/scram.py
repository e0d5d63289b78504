"""SCRAM-SHA-256 by hand, for peers that keep to it and for those that do not (RFC 5802, RFC 7677)."""

import base64
import hashlib
import hmac
import os
import struct

from harness import wire

SALT, ITERATIONS = b"0123456789abcdef", 4096


def b64(data: bytes) -> bytes:
    return base64.b64encode(data)


def mac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


class Keys:
    def __init__(self, password: str, salt: bytes = SALT, iterations: int = ITERATIONS):
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
        self.client = mac(salted, b"Client Key")
        self.stored = hashlib.sha256(self.client).digest()
        self.server = mac(salted, b"Server Key")

    def proof(self, message: bytes) -> bytes:
        return bytes(a ^ b for a, b in zip(self.client, mac(self.stored, message)))

    def secret(self, salt: bytes = SALT, iterations: int = ITERATIONS) -> str:
        """As pg_authid has it."""
        return (f"SCRAM-SHA-256${iterations}:{b64(salt).decode()}"
                f"${b64(self.stored).decode()}:{b64(self.server).decode()}")  # fmt: skip


def attributes(message: bytes) -> dict[str, bytes]:
    return {part[:1].decode(): part[2:] for part in message.split(b",")}


def authentication(code: int, data: bytes = b"") -> bytes:
    return wire.message(b"R", struct.pack("!I", code) + data)


def mechanisms(*names: bytes) -> bytes:
    return authentication(10, b"".join(name + b"\0" for name in names) + b"\0")


BOTH = (b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-256")


def serve(peer, keys: Keys, *, offered=BOTH, iterations: int = ITERATIONS, nonce: bytes | None = None,
          signature: bytes | None = None, final: bool = True, error: bytes = b"") -> dict:  # fmt: skip
    """The server's side up to AuthenticationOk, which is not sent. Answers what the client said. `nonce` and
    `signature` are lies; without `final` the server proves nothing; with `error` it refuses by SCRAM's own word."""
    peer.send(mechanisms(*offered))
    _, body = peer.receive_message()
    mechanism, rest = body.split(b"\0", 1)
    first = rest[4:]
    flag, _, bare = first.split(b",", 2)
    whole = nonce if nonce is not None else attributes(bare)["r"] + b64(os.urandom(18))
    server_first = b"r=" + whole + b",s=" + b64(SALT) + b",i=" + str(iterations).encode()
    peer.send(authentication(11, server_first))
    _, client_final = peer.receive_message()
    without_proof = client_final[: client_final.rindex(b",p=")]
    message = b",".join([bare, server_first, without_proof])
    assert attributes(client_final)["p"] == b64(keys.proof(message)), "the client's proof is wrong"
    if error:
        peer.send(authentication(12, b"e=" + error))
    elif final:
        peer.send(authentication(12, b"v=" + b64(signature or mac(keys.server, message))))
    return {"mechanism": mechanism, "flag": flag, "binding": base64.b64decode(attributes(client_final)["c"])}


class Exchange:
    """The client's side, message by message; each may be replaced by something else before it is sent."""

    def __init__(self, keys: Keys, gs2: bytes = b"n,,", binding: bytes = b"", nonce: bytes = b"abcdefghijklmnopqrstuvwx"):
        self.keys, self.gs2, self.binding = keys, gs2, binding
        self.bare = b"n=,r=" + nonce

    def initial_response(self, mechanism: bytes = b"SCRAM-SHA-256") -> bytes:
        first = self.gs2 + self.bare
        return wire.message(b"p", mechanism + b"\0" + struct.pack("!I", len(first)) + first)

    def response(self, server_first: bytes, *, nonce: bytes | None = None) -> bytes:
        whole = nonce if nonce is not None else attributes(server_first)["r"]
        without_proof = b"c=" + b64(self.gs2 + self.binding) + b",r=" + whole
        message = b",".join([self.bare, server_first, without_proof])
        return wire.message(b"p", without_proof + b",p=" + b64(self.keys.proof(message)))
