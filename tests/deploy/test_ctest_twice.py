"""tests/ctest_twice, in a project that has nothing but tests: what passes, what fails, and what it says."""

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
def run_tests(tmp_path):
    """Runs tests, each a name and a command of the shell."""

    def run(**commands: str) -> subprocess.CompletedProcess:
        (tmp_path / "tests").mkdir()
        shutil.copy(ROOT / "tests/ctest_twice", tmp_path / "tests")
        (tmp_path / "CMakePresets.json").write_text(PRESETS, encoding="ascii")
        lines = ["cmake_minimum_required(VERSION 3.23)", "project(trial NONE)", "enable_testing()"]
        for name, command in commands.items():
            lines += [f"add_test(NAME {name} COMMAND sh -c [==[NAME={name}; {command}]==])"]
        (tmp_path / "CMakeLists.txt").write_text("\n".join(lines), encoding="ascii")
        subprocess.run(["cmake", "--preset", "trial"], cwd=tmp_path, check=True, capture_output=True)
        return subprocess.run([tmp_path / "tests/ctest_twice", "trial", "--parallel", "2", "--no-tests=error"],
                              capture_output=True, text=True, check=False)  # fmt: skip

    return run


def test_one_try_is_enough_if_all_tests_pass(run_tests):
    result = run_tests(a=PASSES, b=PASSES)
    assert result.returncode == 0, result
    assert "100% tests passed, 0 tests failed out of 2" in result.stdout
    assert "Once more" not in result.stdout and "UNSTABLE" not in result.stdout


def test_names_a_test_that_passed_at_the_second_try(run_tests):
    result = run_tests(a=PASSES, b=FAILS_ONCE)
    assert result.returncode == 0, result
    assert "too late" in result.stdout  # what it printed when it failed
    assert "=== Once more, alone: b\n" in result.stdout
    assert result.stdout.endswith("=== UNSTABLE, passed only at the second try: b\n")
    assert "tests failed out of 1\n" in result.stdout  # the second try was of this test only


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
