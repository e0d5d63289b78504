"""Passwords beyond ASCII: pgveil hashes the same characters as PostgreSQL, which has made the verifiers here."""

import stringprep

import pytest

from harness import wire
from harness.secrets import secret_file

CHARACTERS_OF_A_PASSWORD = 300

# What SASLprep refuses (RFC 4013): such a password is hashed as it is.
REFUSED = [
    stringprep.in_table_a1, stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3,
    stringprep.in_table_c4, stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7,
    stringprep.in_table_c8, stringprep.in_table_c9, stringprep.in_table_b1,
]  # fmt: skip

# Each for itself. An U+00AA becomes an `a` unless the password is refused.
SINGLE = {
    "of Corrigendum 4": "\U0002f868\U0002f874\U0002f91f\U0002f95f\U0002f9bf",
    "of Corrigendum 5, Bengali": "\u09c7\u0301\u09be",
    "of Corrigendum 5, Oriya": "\u0b47\u0323\u0301\u0b3e",
    "of Corrigendum 5, Burmese": "\u1025\u1037\u102e",
    "of Corrigendum 5, Hangul": "\u1100\u0300\u1161\u11a8",
    "of Corrigendum 5, syllable": "\uac00\u0300\u11a8",
    "of Corrigendum 5, compatibility": "\u1100\u0300\u314f\uac00\u0345\uffa3",
    "with vowel signs": "\u09c7\u09be\u0b47\u0b56\u1025\u102e\u1100\u1161\u11a8",
    "mapped to nothing": "\u00aa\u00ad\u200c\ufeff",
    "of nothing that is left": "\u00ad\u200d",
    "with spaces": "\u00aa\u00a0\u1680\u200b\u3000",
    "assigned since Unicode 3.2": "\u00aa\u0221",
    "assigned last": "\u00aa\U0001f600",
    "with a control character": "\u00aa\u0007",
    "for private use": "\u00aa\ue000",
    "that is no character": "\u00aa\ufdd0",
    "deprecated": "\u00aa\u0340",
    "of a tag": "\u00aa\U000e0041",
    "ideographic description": "\u00aa\u2ff0",
    "Arabic": "\u0627\u00ad\ufe8e",
    "Arabic and Latin": "\u0627\u00aa\u0627",
    "Arabic at one end": "\u0627\u00bd",
    "Arabic around a letter that is none yet": "\u0627\u2121\u0627",
}


@pytest.fixture(scope="module")
def passwords(postgres) -> dict[str, str]:
    """By role. All characters that a password may have and that are hashed as others, many at a time, and the above."""
    changed = postgres.admin(
        "SELECT i FROM generate_series(128, 1114111) i WHERE i NOT BETWEEN 55296 AND 57343"
        " AND normalize(chr(i), NFKC) <> chr(i)"
    )
    characters = [chr(int(code)) for code in changed.split()]
    characters = [each for each in characters if not any(is_in_table(each) for is_in_table in REFUSED)]
    right_to_left = [each for each in characters if stringprep.in_table_d1(each)]
    others = [each for each in characters if not stringprep.in_table_d1(each)]
    words = ["-".join(part) for part in parts(others)]
    words += ["-".join(("\u0627", *part, "\u0627")) for part in parts(right_to_left)]
    assert len(characters) > 4000
    words += SINGLE.values()
    roles = {f"prepared{number}": word for number, word in enumerate(words)}
    postgres.admin("".join(f"CREATE ROLE {role} LOGIN PASSWORD '{word}';\n" for role, word in roles.items()))
    yield roles
    postgres.admin("".join(f"DROP ROLE {role};\n" for role in roles))


def parts(characters: list) -> list:
    size = CHARACTERS_OF_A_PASSWORD
    return [characters[begin : begin + size] for begin in range(0, len(characters), size)]


def test_are_the_same_to_pgveil_and_to_postgres(pgveil, postgres, passwords, folder):
    lines = "".join(f"*:*:*:{role}:{word}\n" for role, word in passwords.items())
    upstream = postgres.upstream(passfile=secret_file(folder / "pgpass", lines))
    proxy = pgveil(upstream, listener={"hba": "host all all 127.0.0.1/32 trust"})
    refused = []
    for role, word in passwords.items():
        with proxy.connect() as client:
            client.send(wire.startup_message(user=role, database="ledger"))
            kind, body = client.receive_message()
            if kind != b"R":
                refused.append((word.encode("unicode_escape"), wire.error_fields(body)))
    assert not refused
