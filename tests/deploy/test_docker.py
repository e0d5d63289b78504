"""The image: its Dockerfile is followed step by step in a folder, except for what only apt-get could do."""

import json
import os
import re

import pytest

from dockerfile import DOCKERFILE, Stage, stages
from harness.processes import run, run_or_fail
from project import ROOT, version

# What every Debian image has.
BASE_PACKAGES = {"libc6", "libgcc-s1"}
PACKAGES_WITHOUT_LIBRARY = {"ca-certificates"}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The folder that the last stage leaves."""
    builder = Stage(tmp_path_factory.mktemp("builder"))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "LC_ALL": "C.UTF-8",
        # So that ccache finds today's objects again tomorrow, in another folder.
        "CCACHE_BASEDIR": str(builder.root),
        "CCACHE_NOHASHDIR": "1",
        "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count()),
    }
    first, last = stages()
    for step in first:
        if step.name == "WORKDIR":
            builder.enter(step.text)
        elif step.name == "COPY":
            builder.copy(step.text, {})
        elif step.name == "RUN":
            builder.run(step.text, environment)
    final = Stage(tmp_path_factory.mktemp("image"))
    for step in last:
        if step.name == "COPY":
            final.copy(step.text, {"builder": builder})
    return final


@pytest.fixture(scope="module")
def program(image):
    return image.path("/usr/bin/pgveil")


def text_of(name: str) -> str:
    """The only instruction of that name in the last stage."""
    (text,) = [step.text for step in stages()[-1] if step.name == name]
    return text


def installed_packages() -> set[str]:
    words = re.search(r"apt-get install (.*?) &&", text_of("RUN"))[1].split()
    return {word for word in words if not word.startswith("-")}


def package_of(library: str) -> str:
    """The package that owns a library of this machine's architecture."""
    found = run_or_fail("dpkg", "--search", f"*/{library}")
    architecture = run_or_fail("dpkg", "--print-architecture").strip()
    return re.search(rf"(?m)^(\S+):{architecture}: ", found)[1]


def test_its_program_is_the_version_of_this_checkout(program):
    assert run_or_fail(program, "--version").startswith(f"pgveil {version()} ")


def test_its_entry_point_serves(program):
    name, *words = json.loads(text_of("ENTRYPOINT"))
    assert name == program.name
    done = run(program, *words, "--listen", "127.0.0.1:0")
    assert done.returncode == 78 and "--upstream" in done.stderr


def test_it_has_every_library_that_the_program_needs_and_no_other(program):
    libraries = re.findall(r"(?m)^\s*(\S+) => /", run_or_fail("ldd", program))
    needed = {package_of(library) for library in libraries}
    assert needed - BASE_PACKAGES == installed_packages() - PACKAGES_WITHOUT_LIBRARY


def test_it_trusts_the_authorities_of_the_system_where_that_is_asked():
    assert "ca-certificates" in installed_packages()


def test_it_is_not_run_as_root():
    user, group = map(int, text_of("USER").split(":"))
    assert user > 0 and group > 0


def test_it_holds_the_license(image):
    assert image.path("/usr/share/doc/pgveil/LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_what_is_copied_is_not_ignored():
    ignored = DOCKERFILE.with_suffix(".dockerignore")
    kept = {line[1:] for line in ignored.read_text().splitlines() if line.startswith("!")}
    copied = {
        source.split("/")[0]
        for stage in stages()
        for step in stage
        if step.name == "COPY" and not step.text.startswith("--from")
        for source in step.text.split()[:-1]
    }
    assert copied == kept
