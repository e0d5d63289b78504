"""bench/compare: what it makes of its figures, and a run of the smallest kind."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from project import ROOT

sys.path.append(str(ROOT / "bench"))

import goals  # noqa: E402
import report  # noqa: E402

MACHINE = {"processors": 2, "processor": "Test", "memory_gib": 4, "system": "Debian", "kernel": "6", "virtual": "none",
           "others": [{"busy": 0.25, "stolen": 0.0}]}  # fmt: skip


def rounds(figure, *values):
    return {str(turn): {figure: value} for turn, value in enumerate(values)}


def judged(goal, **contenders):
    """The verdict on one workload of one mode, whose contenders have these rounds."""
    rows = goals.judge({goal.modes[0]: {goal.workloads[0]: contenders}}, [goal])
    return [(row["verdict"], round(row["median"], 3)) for row in rows]


AT_MOST_HALF = goals.Goal(("egress",), ("copy-out",), "cpu", "≤", 0.5, "haproxy")
BEST = goals.Goal(("egress",), ("copy-out",), "tps", "≥", 1.0, goals.BEST)


@pytest.mark.parametrize(
    "ours, verdict",
    [
        ((4, 4, 4), "met"),
        ((4, 4, 6), "met, except in some rounds"),
        ((4, 6, 6), "missed, except in some rounds"),
        ((6, 6, 6), "missed"),
    ],
)
def test_a_goal_is_judged_by_the_median_and_by_every_round(ours, verdict):
    found = judged(AT_MOST_HALF, pgveil=rounds("cpu", *ours), haproxy=rounds("cpu", 10, 10, 10))
    assert [verdict_found for verdict_found, _ in found] == [verdict]


def test_a_ratio_is_of_the_same_round():
    found = judged(AT_MOST_HALF, pgveil=rounds("cpu", 4, 40, 400), haproxy=rounds("cpu", 10, 100, 1000))
    assert found == [("met", 0.4)]


def test_the_best_peer_is_no_direct_connection_and_none_of_ours():
    others = {"direct": rounds("tps", 900), "pgveil-epoll": rounds("tps", 800)}
    peers = {"pgbouncer": rounds("tps", 50), "stunnel": rounds("tps", 80)}
    assert judged(BEST, pgveil=rounds("tps", 100), **others, **peers) == [("met", 1.25)]


def test_what_was_not_measured_is_not_judged():
    assert judged(AT_MOST_HALF, pgveil=rounds("cpu", 4)) == []


def document(**results):
    return {
        "commit": "abc", "command": "bench/compare", "versions": {"pgveil": "1", "haproxy": "2"}, "machine": MACHINE,
        "settings": "--quick", "remarks": ["A remark."], "rounds": 2, "minutes": 1,
        "workloads": {"copy-out": "`COPY … TO STDOUT`"}, "results": {"egress": {"copy-out": results}},
        "goals": [],
    }  # fmt: skip


def test_the_report_shows_each_contender_and_its_ratio_to_pgveil():
    text = report.markdown(document(pgveil=rounds("cpu_s_per_gib", 1, 3), haproxy=rounds("cpu_s_per_gib", 2, 3)))
    assert "| pgveil | 2.00 [1.00..3.00] |" in text
    assert "| haproxy | 2.50 [2.00..3.00] = 1.50 [1.00..2.00] × |" in text
    assert "up to 25% of the processors' time" in text
    assert "- A remark." in text


def test_goals_that_are_missed_come_first():
    other = goals.Goal(("egress",), ("copy-out",), "cpu", "≤", 5)
    rows = goals.judge(
        {"egress": {"copy-out": {"pgveil": rounds("cpu", 4), "haproxy": rounds("cpu", 4)}}}, [other, AT_MOST_HALF]
    )
    assert [row["verdict"] for row in rows] == ["missed", "met"]


def test_runs_of_the_same_program_are_taken_together():
    other = document()
    other["results"] = {"egress": {"connect": {"pgveil": rounds("cpu_us_per_connection", 5)}}, "both": {}}
    together = report.taken_together([document(pgveil=rounds("tps", 7)), other])
    assert sorted(together["results"]["egress"]) == ["connect", "copy-out"]
    assert (together["minutes"], together["rounds"]) == (2, 2)
    assert together["remarks"] == ["A remark."]


def test_runs_of_different_programs_are_not():
    for change in ({"commit": "def"}, {"versions": {"pgveil": "1", "haproxy": "3"}}):
        with pytest.raises(ValueError, match="different programs"):
            report.taken_together([document(), {**document(), **change}])


@pytest.fixture
def scratch():
    """Where PostgreSQL's account may enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_a_run_measures_pgveil_and_leaves_nothing_behind(scratch):
    """The two fastest workloads, with the programs of this build."""
    programs = ROOT / "build/release"
    if os.environ["PGVEIL"] != str(programs / "pgveil") or not (programs / "bench/pump").exists():
        pytest.skip("bench/compare measures the release build")
    file = scratch / "figures.json"
    command = [ROOT / "bench/compare", "--no-install", "--no-build", "--quick", "--rounds", "1", "--mode", "egress,both",
               "--only", "connect,pump-out", "--contenders", "pgveil", "--beside", programs / "pgveil", "--json", file]  # fmt: skip
    environment = {**os.environ, "TMPDIR": str(scratch)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(file.read_text(encoding="utf-8"))["results"]
    for mode in ("egress", "both"):
        assert results[mode]["connect"]["pgveil"]["0"]["connections_per_second"] > 0
        assert results[mode]["pump-out"]["pgveil"]["0"]["gib_per_second"] > 0
        assert results[mode]["connect"]["pgveil-beside"]["0"]["connections_per_second"] > 0
    assert "failed" not in done.stdout
    assert [path.name for path in scratch.iterdir()] == ["figures.json"]
