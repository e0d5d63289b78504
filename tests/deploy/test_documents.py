"""The documents tell the truth: their configurations load, their command lines are understood, what they name exists."""

import re
import shlex

import pytest

from harness.pgveil import BINARY, EX_UNAVAILABLE
from harness.processes import run
from project import DOCUMENTS, ROOT, code_blocks, complaints, version


def named(path, number=None) -> str:
    return str(path.relative_to(ROOT)) + ("" if number is None else f"-{number}")


CONFIGURATIONS = {
    **{named(path): path.read_text() for path in sorted((ROOT / "deploy").rglob("*.toml"))},
    **{
        named(path, number): text
        for path in DOCUMENTS
        for number, text in enumerate(code_blocks(path, "toml"), 1)
    },
}


@pytest.mark.parametrize("text", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_a_configuration_is_accepted(assert_accepted, text):
    assert_accepted(text)


def test_the_readme_and_the_page_of_settings_show_configurations():
    shown_in = {name.rsplit("-", 1)[0] for name in CONFIGURATIONS}
    assert {"README.md", "docs/configuration.md"} <= shown_in


def command_lines(*commands: str) -> dict[str, list[str]]:
    """Every call of one of these commands of pgveil in a shell block, split into words."""
    found = {}
    for path in DOCUMENTS:
        for block in code_blocks(path, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if len(words) > 1 and words[0].endswith("pgveil") and words[1] in commands:
                    found[named(path, len(found))] = words[1:]
    return found


RUNS = command_lines("run", "check")
QUESTIONS = command_lines("probe", "status", "sessions", "terminate")


@pytest.mark.parametrize("words", RUNS.values(), ids=RUNS)
def test_a_command_line_is_understood(files, tmp_path, words):
    words = files.put_into_flags(["check", *words[1:]])
    if "--config" in words:
        file = tmp_path / "pgveil.toml"
        file.write_text(files.put_into((ROOT / "deploy/examples/egress.toml").read_text()))
        words[words.index("--config") + 1] = str(file)
    done = run(BINARY, *words)
    assert (done.returncode, complaints(done)) == (0, "")


@pytest.mark.parametrize("words", QUESTIONS.values(), ids=QUESTIONS)
def test_a_question_to_a_running_pgveil_is_understood(tmp_path, words):
    """Nobody answers at this address. A command that is not understood has another exit code."""
    words = list(words)
    words[words.index("--admin") + 1] = f"unix:{tmp_path}/nobody.sock"
    done = run(BINARY, *words)
    assert done.returncode == EX_UNAVAILABLE and "cannot connect" in done.stderr


CERTIFICATES = ROOT / "docs/certificates.md"


def test_the_page_of_certificates_shows_commands_that_work(tmp_path):
    """One after the other, in one directory, as a reader would enter them."""
    lines = [line for block in code_blocks(CERTIFICATES, "sh") for line in block.splitlines()]
    commands = [words[1:] for line in lines if (words := shlex.split(line, comments=True))[0] == "pgveil"]
    assert {words[1] for words in commands} == {"ca", "server", "client", "renew", "revoke", "crl", "show"}
    for words in commands:
        done = run(BINARY, *words, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), words


def test_the_page_of_certificates_has_every_option_and_no_other():
    text = CERTIFICATES.read_text()
    table = text.split("| Option | Of |")[1].split("\n\n")[0]
    documented = {option: set(re.findall(r"`(\w+)`", of.replace("all but `show`", "`ca` `server` `client` `renew` `revoke` `crl`")))
                  for option, of in re.findall(r"(?m)^\| `(--\w+)` \| ([^|]*) \|", table)}  # fmt: skip
    offered = {}
    for command in "ca", "server", "client", "renew", "revoke", "crl", "show":
        assert f"`certs {command}" in text
        for option in re.findall(r"(?m)^  (--\w+)", run(BINARY, "certs", command, "--help").stdout):
            offered.setdefault(option, set()).add(command)
    assert documented == offered


def slug(heading: str) -> str:
    """As GitHub makes the anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_what_is_linked_exists(document):
    broken = []
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", document.read_text()):
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists():
            broken.append(target)
        elif anchor and anchor not in map(slug, re.findall(r"(?m)^#+ (.*)$", file.read_text())):
            broken.append(target)
    assert broken == []


def test_the_index_has_every_page():
    index = (ROOT / "docs/README.md").read_text()
    pages = {str(page.relative_to(ROOT / "docs")) for page in DOCUMENTS if (ROOT / "docs") in page.parents}
    missing = {page for page in pages - {"README.md"} if f"]({page}" not in index and not page.startswith("decisions/")}
    assert missing == set()


def test_the_changelog_has_the_version_that_is_built():
    assert re.search(rf"(?m)^## {re.escape(version())}\b", (ROOT / "CHANGELOG.md").read_text())


def folders_of(*tops) -> list:
    """The folders of code in and below these, relative to the checkout."""
    kinds = {".h", ".cc", ".py", ".js"}
    return sorted({str(file.parent.relative_to(ROOT)) for top in tops for file in (ROOT / top).rglob("*")
                   if file.suffix in kinds and file.is_file()})  # fmt: skip


FOLDERS = folders_of("bench", "protocol", "proxy", "tests", "tls")
# In the others of tests/, the name of a file says what it tests.
FOLDERS_THAT_LIST_FILES = folders_of("bench", "protocol", "proxy", "tests/integration/harness", "tests/support", "tls")


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_has_a_readme_that_says_where_to_begin(folder):
    text = (ROOT / folder / "README.md").read_text()
    assert text.startswith(f"# {folder}\n\n")
    assert re.search(r"(?m)^Begin with ", text)
    files = re.findall(r"`([\w./-]+\.(?:h|c|cc|py|js|java|go|escript))`", text)
    places = (ROOT / folder, ROOT, ROOT / "tests")
    assert [file for file in files if not any((place / file).exists() for place in places)] == []


@pytest.mark.parametrize("folder", FOLDERS_THAT_LIST_FILES)
def test_the_readme_of_a_folder_lists_its_files(folder):
    listed = set(re.findall(r"`(\w+)`", (ROOT / folder / "README.md").read_text().split("| Files |")[1]))
    stems = {file.stem for kind in ("h", "cc", "py") for file in (ROOT / folder).glob(f"*.{kind}")}
    assert {stem for stem in stems if not stem.startswith("__")} - listed == set()


def test_every_event_of_the_log_is_documented():
    sources = "".join(file.read_text() for file in sorted((ROOT / "proxy").rglob("*.cc")))
    events = set(re.findall(r'(?:LogLine(?: line)?\([^";]*|kAuditEvent = )"(\w+)"', sources))
    assert {"session_closed", "listening"} <= events
    table = (ROOT / "docs/reasons.md").read_text().split("| Event |")[1].split("\n\n")[0]
    assert events == set(re.findall(r"`(\w+)`", re.sub(r"(?m)\|[^|]*\|$", "", table)))


TESTS_OF_SECURITY = re.findall(r"`([\w/]+\.(?:py|cc))::([\w.:]+)`", (ROOT / "docs/security.md").read_text())


def test_security_names_tests():
    assert len(TESTS_OF_SECURITY) > 20


@pytest.mark.parametrize("file, name", TESTS_OF_SECURITY, ids=lambda part: part)
def test_a_test_that_security_names_exists(file, name):
    text = (ROOT / "tests" / file).read_text()
    if file.endswith(".py"):
        *classes, test = name.split("::")
        for part in classes:
            text = re.search(rf"(?m)^class {part}\b.*(?:\n(?:| .*)$)*", text)[0]
        assert re.search(rf"(?m)^ *def {test}\(", text)
    else:
        suite, test = name.split(".")
        assert re.search(rf"TEST(?:_P|_F)?\({suite},\s*{test}\)", text)
