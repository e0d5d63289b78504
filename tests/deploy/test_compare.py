"""bench/compare/run: what it makes of its figures, and a run of the smallest kind."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from harness.pgveil import BINARY
from project import ROOT

sys.path += [str(ROOT / "bench"), str(ROOT / "bench/compare")]

import goals  # noqa: E402
import installation  # noqa: E402
import overview  # noqa: E402
import plots  # noqa: E402
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
        "commit": "abc", "command": "bench/compare/run", "versions": {"pgveil": "1", "haproxy": "2"}, "machine": MACHINE,
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


# --- the page


def test_the_page_has_the_figures_of_its_appendix():
    page, appendix = overview.PAGE.read_text(), overview.APPENDIX.read_text()
    assert overview.with_table(page, appendix) == page
    verdicts = [len(re.findall(rf"(?m) (?:\*\*)?{verdict}(?:\*\*)? \|$", appendix)) for verdict in reversed(goals.VERDICTS)]
    met, mostly_met, mostly_missed, missed = verdicts
    assert (f"Of {sum(verdicts)} goals, {met} are met in every round, {mostly_met} in the median, {mostly_missed} are missed in the "
            f"median and {missed} in every round.") in page  # fmt: skip


def test_a_cell_of_the_page_is_the_ratio_of_the_report():
    cells = document(pgveil=rounds("cpu_s_per_gib", 1, 1, 2), haproxy=rounds("cpu_s_per_gib", 2, 2, 5))
    other = document(pgveil=rounds("cpu_s_per_gib", 3), haproxy=rounds("cpu_s_per_gib", 12))
    reports = [report.markdown(one).split("## egress", 1)[1].replace("###", "####") for one in (cells, other)]
    modes = overview.tables_of(f"\n## All figures\n### egress{reports[0]}\n### both{reports[1]}")
    row = overview.row_of(modes, "CPU", "copy-out", "CPU s/GiB")
    assert row == "| CPU | 1.00 to 3.00 s | – | – | – | 0.25 to 0.50 × | – | – | – |"


# --- errors on the command line


def called(*words, **variables):
    """bench/compare/run, which must neither install nor build nor measure anything with these words."""
    # Not even a program to install with is found.
    environment = {"PATH": "/nonexistent", "HOME": "/nonexistent", **variables}
    return subprocess.run([sys.executable, "-B", ROOT / "bench/compare/run", *map(str, words)], env=environment,
                          capture_output=True, text=True, check=False, timeout=60)  # fmt: skip


@pytest.mark.parametrize(
    "words, complaint",
    [
        (["--mode", "egres"], "unknown mode egres; choose from egress, ingress, both"),
        (["--only", "pgbench-16,pgbnch-64"], "unknown workload pgbnch-64; choose from pgbench-1,"),
        (["--contenders", "pgbouncre"], "unknown contender pgbouncre; choose from direct,"),
        (["--contenders", "pgveil-beside"], "unknown contender pgveil-beside"),
        (["--only", "login", "--mode", "egress"], "login: not measured in egress"),
        (["--quick", "--full"], "--quick and --full exclude each other"),
        (["--rounds", "-1"], "--rounds"),
        (["--flags", "--relay 'epoll"], "--flags: No closing quotation"),
        (["--pgveil", "/nonexistent/pgveil"], "--pgveil: /nonexistent/pgveil is not a program"),
        (["--beside", "/etc/passwd"], "--beside: /etc/passwd is not a program"),
        (["--json", "/nonexistent/figures.json"], "--json: nothing can be written"),
        (["--plots", "/etc/passwd"], "--plots: /etc/passwd is not a folder"),
    ],
)
def test_a_wrong_word_is_told_before_anything_is_installed(words, complaint):
    done = called(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "content, complaint",
    [(None, "No such file"), ("{", "Expecting"), ("[]", "not a file of --json"), ("{}", "not a file of --json")],
)
def test_what_cannot_be_redrawn_is_told_in_a_sentence(tmp_path, content, complaint):
    file = tmp_path / "figures.json"
    if content is not None:
        file.write_text(content)
    done = called("--redraw", file)
    assert done.returncode == 1
    assert complaint in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [[], ["--no-install"]])
def test_a_program_that_is_missing_is_told_in_a_sentence(words, tmp_path):
    if not words and os.geteuid() != 0:
        pytest.skip("only root is asked to install something")
    done = called(*words, "--pgveil", "/bin/true", TMPDIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("bench/compare/run: ") and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


# --- services


@pytest.mark.parametrize(
    "before, after, asked",
    [
        (("", "inactive"), ("enabled", "inactive"), ["disable"]),  # a new package
        (("", "inactive"), ("enabled", "active"), ["disable", "stop"]),  # and a policy of somebody else's
        (("enabled", "active"), ("enabled", "active"), []),  # the operator's own
        (("disabled", "inactive"), ("enabled", "inactive"), ["disable"]),
        (("enabled", "active"), ("disabled", "inactive"), ["enable", "start"]),
        (("masked", "inactive"), ("masked", "inactive"), []),
    ],
)
def test_services_stay_as_they_were(monkeypatch, before, after, asked):
    done = []
    monkeypatch.setattr(installation, "services_now", lambda: {"nginx": after})
    monkeypatch.setattr(installation, "_systemctl", lambda verb, name: done.append((verb, name)))
    installation.restore_services({"nginx": before})
    assert done == [(verb, "nginx") for verb in asked]


# --- pictures


def bars(**contenders):
    return plots.bars_of(contenders, "tps")


def test_a_bar_is_the_ratio_to_pgveil_in_the_same_round():
    (_, other) = bars(pgveil=rounds("tps", 10, 100, 1000), haproxy=rounds("tps", 20, 100, 500))
    assert other["ratio"] == {"median": 1.0, "min": 0.5, "max": 2.0}
    assert (other["median"], other["rounds"]) == (100, 3)


def test_what_cannot_be_compared_with_pgveil_has_no_bar():
    assert bars(haproxy=rounds("tps", 20)) == []
    assert [bar["name"] for bar in bars(pgveil=rounds("tps", 1), haproxy={}, nginx={"1": {"tps": 4}})] == ["pgveil"]


@pytest.mark.parametrize(
    "counts, words", [([3, 3], "3 rounds"), ([1], "one round"), ([1, 3], "1 to 3 rounds"), ([2], "2 rounds")]
)
def test_a_heading_counts_the_rounds_of_its_picture(counts, words):
    of_all = {("egress", str(place)): bars(pgveil=rounds("tps", *range(1, count + 1))) for place, count in enumerate(counts)}
    assert plots.rounds_in(of_all) == words
    assert f"of {words}." in plots.heading_of("A heading", "tps", of_all, 20)


def test_a_heading_fits_its_sheet():
    of_all = {("egress", "connect"): bars(pgveil=rounds("tps", 1, 2, 3))}
    for width in (5.5, 12):
        lines = plots.heading_of("A heading", "tps", of_all, width).splitlines()
        assert max(map(len, lines)) <= 12 * width


def test_labels_are_inside_of_their_picture_and_apart():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    long = {"pgveil": rounds("tps", 6.4, 6.5), "pgveil-epoll": rounds("tps", 6.4, 6.5),
            "odyssey": rounds("tps", 96_543.2, 150_000)}  # fmt: skip
    for keys in (["idle"], ["pgbench-1", "pgbench-16", "pgbench-64"]):
        of_all = {(mode, key): bars(**long) for mode in ("egress", "both") for key in keys}
        sheet = plots.sheet_of("The proxy's CPU per connection: less is better", "tps", of_all)
        sheet.canvas.draw()
        texts = [text for text in sheet.findobj(matplotlib.text.Text) if text.get_visible() and text.get_text()]
        # A tick beyond the end of its axis is not drawn.
        ends = {panel.xaxis: panel.get_xlim()[1] for panel in sheet.axes}
        beyond = {tick.label1 for axis, end in ends.items() for tick in axis.get_major_ticks() if tick.get_loc() > end}
        boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text not in beyond]
        assert {"pgveil-epoll", "both: " + keys[-1]} <= {words for words, _ in boxes}
        for words, box in boxes:
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= sheet.bbox.x1 and box.y1 <= sheet.bbox.y1, words
        for (words, box), (others, other) in itertools.combinations(boxes, 2):
            assert not box.overlaps(other), (words, others)


@pytest.fixture
def scratch():
    """Where PostgreSQL's account may enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_a_run_measures_pgveil_and_leaves_nothing_behind(scratch):
    """The two fastest workloads, with the programs of this build."""
    programs = ROOT / "build/release"
    if BINARY != programs / "pgveil" or not (programs / "bench/pump").exists():
        pytest.skip("bench/compare/run measures the release build")
    file = scratch / "figures.json"
    command = [ROOT / "bench/compare/run", "--no-install", "--no-build", "--quick", "--rounds", "1", "--mode", "egress,both",
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


def test_ctrl_c_keeps_what_has_been_measured(scratch):
    programs = ROOT / "build/release"
    if BINARY != programs / "pgveil" or not (programs / "bench/pump").exists():
        pytest.skip("bench/compare/run measures the release build")
    file = scratch / "figures.json"
    command = [ROOT / "bench/compare/run", "--no-install", "--no-build", "--quick", "--rounds", "50", "--mode", "egress",
               "--only", "connect", "--contenders", "pgveil", "--json", file]  # fmt: skip
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(scratch)}, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:  # fmt: skip
        for line in process.stderr:
            if "round 3/50" in line:
                break
        process.send_signal(signal.SIGINT)
        report_text, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    whole = json.loads(file.read_text(encoding="utf-8"))
    assert sorted(whole["results"]["egress"]["connect"]["pgveil"])[:2] == ["0", "1"]
    assert (whole["interrupted"], whole["rounds"]) == (True, 2)
    assert "Interrupted in round 3 of 50." in report_text
    assert [path.name for path in scratch.iterdir()] == ["figures.json"]
