"""The checkout under test, and what several tests read of it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

# The documents that operators and contributors read.
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md"),
     *(path for folder in ("bench", "protocol", "proxy", "tests", "tls") for path in (ROOT / folder).rglob("README.md")
       if ".pytest_cache" not in path.parts)]
)  # fmt: skip


def version() -> str:
    return re.search(r"project\(pgveil VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]


def code_blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of that language, without the indentation that a list gives them."""
    blocks = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", document.read_text(), re.MULTILINE | re.DOTALL)
    return [re.sub(f"^{indent}", "", text, flags=re.MULTILINE) for indent, text in blocks]


def complaints(done) -> str:
    """What `pgveil check` says, but for the limit of open files, which is this machine's, and the number of warnings."""
    return re.sub(r"(?m)^warning: the limit of open files is .*\n  hint: .*\n|^\d+ warnings?\n", "", done.stderr)
