"""The image: its Dockerfile is followed step by step in a folder with the Debian of the image, as root only. What
apt-get installs in the last stage is compared with what the program needs."""

import json
import os
import re
import shutil

import pytest

from dockerfile import DOCKERFILE, Stage, base_suite, stages
from harness.pgveil import TLS_TEST, tls_test_needs_openssl_3
from harness.processes import run, run_or_fail
from harness.tree import System, Unavailable
from project import ROOT, version

# What every Debian image has.
BASE_PACKAGES = {"libc6", "libgcc-s1"}
PACKAGES_WITHOUT_LIBRARY = {"ca-certificates"}


@pytest.fixture(scope="module")
def system():
    """The Debian of the image, in which the builder's stage is run."""
    try:
        return System(f"{base_suite()}-image", base_suite())
    except Unavailable as reason:
        pytest.skip(f"the image is not tested: {reason}")


@pytest.fixture(scope="module")
def image(system):
    """The folder that the last stage leaves."""
    shutil.rmtree(system.root / "out", ignore_errors=True)
    builder = Stage(system, system.root)
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
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
    shutil.rmtree(system.root / "image", ignore_errors=True)
    final = Stage(system, system.root / "image")
    for step in last:
        if step.name == "COPY":
            final.copy(step.text, {"builder": builder})
    return final


@pytest.fixture(scope="module")
def pgveil(system, image):
    """Runs the image's program in the image's Debian."""

    def start(*words):
        return run(*system.command("/image/usr/bin/pgveil", *words))

    return start


def text_of(name: str) -> str:
    """The only instruction of that name in the last stage."""
    (text,) = [step.text for step in stages()[-1] if step.name == name]
    return text


def installed_packages() -> set[str]:
    words = re.search(r"apt-get install (.*?) &&", text_of("RUN"))[1].split()
    return {word for word in words if not word.startswith("-")}


def package_of(library: str, system: System) -> str:
    """The package that owns a library of this machine's architecture."""
    found = run_or_fail(*system.command("dpkg", "--search", f"*/{library}"))
    architecture = run_or_fail("dpkg", "--print-architecture").strip()
    return re.search(rf"(?m)^(\S+):{architecture}: ", found)[1]


def test_its_program_is_the_version_of_this_checkout(pgveil):
    assert pgveil("--version").stdout.startswith(f"pgveil {version()} ")


def test_its_program_has_openssl_3_5_or_newer(pgveil):
    major, minor = re.search(r"OpenSSL (\d+)\.(\d+)", pgveil("--version").stdout).groups()
    assert (int(major), int(minor)) >= (3, 5)


@pytest.mark.parametrize("records", ["own", "openssl"])
def test_the_unit_tests_of_tls_pass_with_its_openssl(image, system, records):
    """Of its library, so that they need not be built once more. `tls_records = "auto"` counts on it."""
    if not tls_test_needs_openssl_3():
        pytest.skip("the tests were built with another major version of OpenSSL")
    shutil.copy(TLS_TEST, system.root / "tmp/tls_test")
    done = run(*system.command("env", f"PGVEIL_TEST_TLS_RECORDS={records}", "/tmp/tls_test", "--gtest_brief=1"), timeout=300)
    assert done.returncode == 0 and "PASSED" in done.stdout, done.stdout[-3000:]


def test_its_entry_point_serves(pgveil):
    name, *words = json.loads(text_of("ENTRYPOINT"))
    assert name == "pgveil"
    done = pgveil(*words, "--listen", "127.0.0.1:0")
    assert done.returncode == 78 and "--upstream" in done.stderr


def test_it_has_every_library_that_the_program_needs_and_no_other(image, system):
    # Those that it names itself. What they need comes with their packages.
    libraries = re.findall(r"\(NEEDED\).*\[(\S+)\]", run_or_fail("readelf", "--dynamic", image.path("/usr/bin/pgveil")))
    needed = {package_of(library, system) for library in libraries}
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
