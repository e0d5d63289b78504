"""bench/scrapes/run: a run of the smallest kind."""

import re
import subprocess
import sys

import pytest

from harness.pgveil import BINARY
from project import ROOT


def called(*words):
    return subprocess.run([sys.executable, "-B", ROOT / "bench/scrapes/run", *map(str, words)], env={"PATH": "/usr/bin:/bin"},
                          capture_output=True, text=True, check=False, timeout=300)  # fmt: skip


@pytest.mark.parametrize("options, connections", [
    ([], "each with one connection"),
    (["--new-connections"], "a new connection for each scrape"),
])  # fmt: skip
def test_it_scrapes_at_the_rate_and_reports_ratios(options, connections):
    done = called("--pgveil", BINARY, "--rounds", 1, "--seconds", 2, "--clients", 2, "--scrapers", 3, "--rate", 30, "--tps", 200,
                  *options)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"200 transactions per second; 3 scrapers, {connections}." in done.stdout
    medians = dict(re.findall(r"(?m)^\| ([^|]+) \| ([\d.]+) \|", done.stdout))
    assert float(medians["CPU of pgveil for each transaction: scraped / not scraped"]) > 0
    assert float(medians["p99 of pgbench: scraped / another pgveil is scraped"]) > 0
    assert 0 < float(medians["scrapes per second"]) < 40
    assert float(medians["transactions per second, not scraped"]) > 0


def test_what_cannot_be_measured_is_told():
    done = called("--rate", 0)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--rate: must be above 0" in done.stderr
    done = called("--pgveil", "/nonexistent/pgveil")
    assert (done.returncode, done.stdout) == (2, "")
    assert "/nonexistent/pgveil is missing" in done.stderr and "Traceback" not in done.stderr
