"""The guides in docs/ are followed as they are printed: files, commands, and what they show."""

import shutil

import pytest

from harness.guide import DOCS, Terminal, sections
from harness.pgveil import BINARY

# The sections with commands, each followed in a trial folder of its own.
GUIDES = {
    "getting-started.md": [
        "A legacy application and a server that requires TLS",
        "TLS and client certificates in front of a server without TLS",
        "SCRAM with TLS on both sides",
    ],
}


@pytest.fixture(scope="session")
def program(workplace):
    """A copy of pgveil that PostgreSQL's account may run; the checkout may be where it cannot enter."""
    (workplace / "bin").mkdir()
    return shutil.copy(BINARY, workplace / "bin/pgveil")


@pytest.fixture
def terminal(folder, program):
    made = Terminal(folder, program)
    yield made
    made.stop()


@pytest.mark.parametrize("page, section", [(page, section) for page in GUIDES for section in GUIDES[page]])
def test_a_section_can_be_followed(terminal, page, section):
    trial = sections("getting-started.md")
    terminal.follow(trial["Preparation"])
    terminal.follow(sections(page)[section])
    if page == "getting-started.md":
        terminal.follow(trial["Clean up"])


def test_every_section_with_commands_is_followed():
    found = {
        page.name: [heading for heading, blocks in sections(page.name).items() if any(block.language == "console" for block in blocks)]
        for page in sorted(DOCS.glob("*.md"))
    }
    found["getting-started.md"] = [name for name in found["getting-started.md"] if name not in ("Preparation", "Clean up")]
    assert {page: names for page, names in found.items() if names} == GUIDES
