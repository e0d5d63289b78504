"""bench/guard/run judges what it has measured: its verdict, how it reads callgrind, and the file that it compares with."""

import json
import sys

import pytest

from project import ROOT

sys.path.append(str(ROOT / "bench/guard"))

import guard_callgrind  # noqa: E402
import guard_figures  # noqa: E402

CONDITIONS = {"compiler": "GNU 12.2", "openssl": "3.0"}
INSTRUCTIONS = "instructions.small_message"
SYSTEM_CALLS = "system_calls.transaction"
RECORDED = {"conditions": CONDITIONS, "figures": dict.fromkeys(guard_figures.WORDS, 1000)}


def verdict(conditions=None, **changed):
    figures = RECORDED["figures"] | {name.replace("__", "."): value for name, value in changed.items()}
    return guard_figures.Verdict(RECORDED, CONDITIONS | (conditions or {}), figures)


def test_what_has_not_changed_passes():
    assert verdict().is_good
    assert verdict().text().endswith("PASSED")


@pytest.mark.parametrize("name", guard_figures.WORDS)
def test_growth_of_six_percent_fails_with_the_numbers(name):
    judged = verdict(**{name: 1060})
    assert not judged.is_good
    assert f"{name}: 1,000 -> 1,060.00 (+6.0 %)" in judged.text()
    assert "PASSED" not in judged.text()


def test_growth_of_five_percent_passes():
    assert verdict(**{INSTRUCTIONS: 1050}).is_good


def test_what_became_cheaper_passes_and_is_worth_recording():
    judged = verdict(**{INSTRUCTIONS: 900})
    assert judged.is_good
    assert f"Better than recorded: {INSTRUCTIONS}." in judged.text()


def test_instructions_under_other_conditions_are_not_compared():
    judged = verdict({"openssl": "3.5"}, **{INSTRUCTIONS: 2000})
    assert judged.is_good
    assert "openssl: 3.0 recorded, 3.5 here" in judged.text()


def test_system_calls_are_compared_under_all_conditions():
    assert verdict({"openssl": "3.5"}, **{SYSTEM_CALLS: 2000}).grown == [SYSTEM_CALLS]


def test_what_is_not_recorded_fails():
    recorded = {"conditions": CONDITIONS, "figures": {}}
    assert guard_figures.Verdict(recorded, CONDITIONS, {INSTRUCTIONS: 1}).missing == [INSTRUCTIONS]


def test_what_cannot_be_measured_here_stays_recorded(tmp_path):
    file = tmp_path / "guard.json"
    guard_figures.write(file, CONDITIONS, {INSTRUCTIONS: 7.6}, RECORDED)
    figures = guard_figures.read(file)["figures"]
    assert (figures[INSTRUCTIONS], figures[SYSTEM_CALLS]) == (8, 1000)
    assert guard_figures.Verdict(RECORDED, CONDITIONS, {}).is_good


def test_the_file_has_every_figure():
    recorded = json.loads((ROOT / "bench/guard/guard.json").read_text())
    assert list(recorded["figures"]) == list(guard_figures.WORDS)


# pgveil runs 100 of its own, and calls libcrypto (2,000), which calls malloc (300) and our BIO (40); libssl runs 7;
# malloc runs 50 more for pgveil itself, and libuv spins.
COUNTED = """events: Ir
ob=(1) /usr/bin/pgveil
fn=(1) handshake
10 60
cob=(2) /usr/lib/libcrypto.so.3
cfn=(2) ECDSA_verify
calls=3 0
* 2340
+1 40
cob=(3) /usr/lib/libc.so.6
cfn=(3) malloc
calls=1 0
* 50

fn=(4) read_from_caller
7 40

ob=(2)
fn=(2)
0 2000
cob=(3)
cfn=(3)
calls=9 0
* 300
cob=(1)
cfn=(4)
calls=1 0
* 40

ob=(3)
fn=(3)
0 350

ob=(4) /usr/lib/libssl.so.3
fn=(5) 0x0000000000052db0
0 7

ob=(5) /usr/lib/libuv.so.1.0.0
fn=(6) 0x000000000000f0e0
0 90000
"""


def test_instructions_of_libcrypto_and_what_it_calls_are_left_out(tmp_path):
    file = tmp_path / "callgrind.out"
    file.write_text(COUNTED)
    assert guard_callgrind.instructions_outside_libcrypto(file) == 100 + 40 + 50 + 7
