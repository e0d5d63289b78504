"""Records of TLS 1.3, made by other code than pgveil's: HKDF by hand (RFC 5869), the rest as RFC 8446 has it, 5.2, 5.3
and 7. Only the ciphers come from python3-cryptography. traffic_key_test.cc reads what this prints, one record a line:

    SUITE SECRET GENERATION NUMBER TYPE CONTENT PADDING RECORD

SUITE and TYPE are IANA's numbers, SECRET, CONTENT and RECORD hexadecimal, PADDING the number of zeros."""

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

SUITES = {0x1301: (AESGCM, 16, "sha256"), 0x1302: (AESGCM, 32, "sha384"), 0x1303: (ChaCha20Poly1305, 32, "sha256")}
DATA, HANDSHAKE, ALERT = 23, 22, 21


def expand(secret: bytes, info: bytes, size: int, hash_name: str) -> bytes:
    block, output, number = b"", b"", 1
    while len(output) < size:
        block = hmac.new(secret, block + info + bytes([number]), hash_name).digest()
        output += block
        number += 1
    return output[:size]


def expand_label(secret: bytes, label: bytes, size: int, hash_name: str) -> bytes:
    name = b"tls13 " + label
    return expand(secret, struct.pack("!HB", size, len(name)) + name + b"\0", size, hash_name)


def record(suite: int, secret: bytes, number: int, content_type: int, content: bytes, padding: int) -> bytes:
    cipher, key_size, hash_name = SUITES[suite]
    key = expand_label(secret, b"key", key_size, hash_name)
    base = int.from_bytes(expand_label(secret, b"iv", 12, hash_name), "big")
    inner = content + bytes([content_type]) + bytes(padding)
    header = struct.pack("!BHH", 23, 0x0303, len(inner) + 16)
    return header + cipher(key).encrypt((base ^ number).to_bytes(12, "big"), inner, header)


def main() -> None:
    # Small numbers, numbers around each further byte of the number, and the last one.
    numbers = [0, 1, 2, 254, 255, 256, 65_535, 65_536, 2**24, 2**32 - 1, 2**32, 2**32 + 1, 2**40, 2**56, 2**63, 2**64 - 2]
    contents = [(DATA, b"SELECT 1", 0), (DATA, b"", 0), (DATA, bytes(1_000), 0), (ALERT, b"\1\0", 0),
                (HANDSHAKE, b"\x18\0\0\1\1", 0), (DATA, b"padded", 77), (DATA, b"x" * 16_384, 0)]  # fmt: skip
    for suite, (_, _, hash_name) in SUITES.items():
        size = hashlib.new(hash_name).digest_size
        secret = hashlib.shake_256(b"pgveil %d" % suite).digest(size)
        lines = [(0, secret, number, *contents[i % len(contents)]) for i, number in enumerate(numbers)]
        later = secret
        for generation in range(1, 4):
            later = expand_label(later, b"traffic upd", size, hash_name)
            lines += [(generation, later, number, *content) for number, content in enumerate(contents)]
        for generation, current, number, content_type, content, padding in lines:
            sealed = record(suite, current, number, content_type, content, padding)
            print(suite, secret.hex(), generation, number, content_type, content.hex() or "-", padding, sealed.hex())


if __name__ == "__main__":
    main()
