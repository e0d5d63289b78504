"""tests/ctest_twice, in a project that has nothing but tests: what passes, what fails, and what it says."""

import os
import shutil
import subprocess

import pytest
from project import ROOT

PRESETS = """{
  "version": 4,
  "configurePresets": [{ "name": "trial", "generator": "Ninja", "binaryDir": "${sourceDir}/build/trial" }],
  "testPresets": [{ "name": "trial", "configurePreset": "trial", "output": { "outputOnFailure": true } }]
}
"""
PASSES = "true"
FAILS = "echo wrong >&2; false"
FAILS_ONCE = "[ -e tried-$NAME ] || { touch tried-$NAME; echo too late >&2; false; }"


@pytest.fixture
def make_tests(tmp_path):
    """Makes tests, each a name and a command of the shell."""

    def make(**commands: str) -> None:
        (tmp_path / "tests").mkdir()
        shutil.copy(ROOT / "tests/ctest_twice", tmp_path / "tests")
        (tmp_path / "CMakePresets.json").write_text(PRESETS, encoding="ascii")
        lines = ["cmake_minimum_required(VERSION 3.23)", "project(trial NONE)", "enable_testing()"]
        for name, command in commands.items():
            lines += [f"add_test(NAME {name} COMMAND sh -c [==[NAME={name}; {command}]==])"]
        (tmp_path / "CMakeLists.txt").write_text("\n".join(lines), encoding="ascii")
        subprocess.run(["cmake", "--preset", "trial"], cwd=tmp_path, check=True, capture_output=True)

    return make


@pytest.fixture
def ctest_twice(tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess:
        command = [tmp_path / "tests/ctest_twice", "trial", "--parallel", "2", "--no-tests=error", *arguments]
        unstable = os.environ | {"CTEST_UNSTABLE_LIST": str(tmp_path / "unstable")}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=unstable)

    return run


@pytest.fixture
def run_tests(make_tests, ctest_twice):
    def run(**commands: str) -> subprocess.CompletedProcess:
        make_tests(**commands)
        return ctest_twice()

    return run


def test_one_try_is_enough_if_all_tests_pass(run_tests):
    result = run_tests(a=PASSES, b=PASSES)
    assert result.returncode == 0, result
    assert "100% tests passed, 0 tests failed out of 2" in result.stdout
    assert "Once more" not in result.stdout and "UNSTABLE" not in result.stdout


def test_the_settings_of_the_callers_pgveil_are_not_those_of_the_tests(run_tests, monkeypatch):
    monkeypatch.setenv("PGVEIL_UPSTREAM", "db01:5432")
    assert run_tests(a='[ -z "$PGVEIL_UPSTREAM" ]').returncode == 0


def test_names_a_test_that_passed_at_the_second_try(run_tests, tmp_path):
    result = run_tests(a=PASSES, b=FAILS_ONCE)
    assert result.returncode == 0, result
    assert "too late" in result.stdout  # what it printed when it failed
    assert "=== Once more, alone: b\n" in result.stdout
    assert result.stdout.endswith("=== UNSTABLE, passed only at the second try: b\n")
    assert "tests failed out of 1\n" in result.stdout  # the second try was of this test only
    assert (tmp_path / "unstable").read_text(encoding="ascii") == "b\n"


def test_a_test_that_fails_twice_is_a_failure(run_tests):
    result = run_tests(a=FAILS_ONCE, b=FAILS)
    assert result.returncode == 1, result
    assert "=== Once more, alone: a b\n" in result.stdout and "UNSTABLE" not in result.stdout


def test_more_than_three_failures_get_no_second_try(run_tests):
    result = run_tests(**dict.fromkeys("abcd", FAILS_ONCE))
    assert result.returncode == 1, result
    assert "Once more" not in result.stdout


def test_no_test_at_all_is_a_failure(run_tests):
    result = run_tests()
    assert result.returncode != 0, result


def test_the_failures_of_an_earlier_run_are_forgotten(make_tests, ctest_twice, tmp_path):
    """A run of no test must not try those again, and pass."""
    make_tests(a=FAILS_ONCE, b=FAILS)
    assert ctest_twice().returncode == 1
    for selects_nothing in (("--tests-regex", "nonexistent"), ("--tests-regex", "(")):
        result = ctest_twice(*selects_nothing)
        assert result.returncode != 0 and "Once more" not in result.stdout, result


@pytest.mark.parametrize("crash", ["kill -SEGV $$", "kill -ABRT $$", "echo ERROR: AddressSanitizer: heap-use-after-free; exit 1"])
def test_a_crash_gets_no_second_try(run_tests, crash):
    result = run_tests(a=f"[ -e crashed ] || {{ touch crashed; {crash}; }}")
    assert result.returncode == 1 and "Once more" not in result.stdout, result


def test_needs_a_preset():
    result = subprocess.run([ROOT / "tests/ctest_twice"], capture_output=True, text=True, check=False)
    assert result.returncode == 64 and "tests/ctest_twice PRESET" in result.stderr
