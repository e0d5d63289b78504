"""The examples of docs/doctor.md: what `pgveil doctor` prints in the situation of each of them, on PostgreSQL 15."""

import re

import pytest

from harness.certificates import DAY, Authority
from harness.guide import DOCS
from harness.pgveil import BINARY
from harness.postgres import HBA, PASSWORD
from harness.processes import environment, run

HOST = "db01.example.com"
EXAMPLES = re.findall(r"(?ms)^```\n(.*?)^```$", (DOCS / "doctor.md").read_text(encoding="utf-8"))


def compared(text: str, port: int | None = None) -> list[str]:
    """The lines without what differs each time: durations and their width, releases of PostgreSQL, and the port."""
    if port:
        text = text.replace(f":{port}", ":5432")
    text = re.sub(r" +\d+(\.\d)? m?s  ", "  # ms  ", text)
    text = re.sub(r"(server_version) \d.*", r"\1 #", text)
    return text.splitlines()


def printed(postgres, *words, root, **variables) -> list[str]:
    done = run(BINARY, "doctor", f"{HOST}:{postgres.port}", "--hostaddr", "127.0.0.1", "--sslrootcert", root, *words,
               env=environment(**variables))  # fmt: skip
    assert done.stderr == ""
    return compared(done.stdout, postgres.port)


def assert_shown(example: str, lines: list[str]) -> None:
    """Each example is a part of the output without a gap."""
    expected = compared(example)
    begin = lines.index(expected[0]) if expected[0] in lines else 0
    assert lines[begin : begin + len(expected)] == expected


@pytest.fixture(scope="module")
def issuing(workplace):
    """An intermediate authority, and the root that clients trust."""
    directory = workplace / "page"
    directory.mkdir()
    root = Authority(directory, "Example Root CA")
    return Authority(directory, "Example Issuing CA", issuer=root), root


def issue(authority, **options):
    return authority.issue("db01", dns=[HOST], age=DAY, lifetime=90.5 * DAY, **options)


def test_the_page_has_four_examples():
    assert len(EXAMPLES) == 4


def test_the_example_of_a_missing_intermediate(postgres, issuing):
    intermediate, root = issuing
    command, example = EXAMPLES[0].split("\n", 1)
    assert command == f"$ pgveil doctor {HOST} --hostaddr 127.0.0.1 --sslrootcert root.crt"
    hba = "hostssl all all 127.0.0.1/32 scram-sha-256\n"
    with postgres.presenting(issue(intermediate, chain=False), hba=hba, ssl_ca_file=""):
        lines = printed(postgres, root=root.file)
    assert lines == compared(example)


def test_the_example_of_a_user(postgres, issuing):
    _, root = issuing
    hba = f"host all app 127.0.0.1/32 scram-sha-256\n{HBA}"
    with postgres.presenting(issue(root), hba=hba):
        lines = printed(postgres, "--user", "app", "--dbname", "ledger", root=root.file)
    assert_shown(EXAMPLES[1], lines)


def test_the_example_of_a_password(postgres, issuing):
    _, root = issuing
    with postgres.presenting(issue(root)):
        lines = printed(postgres, "--user", "app", "--dbname", "ledger", root=root.file, PGPASSWORD=PASSWORD)
    assert_shown(EXAMPLES[2], lines)


def test_the_example_of_the_sslmodes(postgres, issuing):
    _, root = issuing
    with postgres.presenting(issue(root)):
        lines = printed(postgres, "--user", "app", "--dbname", "ledger", "--sslmode", "all", root=root.file)
    assert_shown(EXAMPLES[3], lines)
