"""A picture of a run: one SVG a family of figures, with a panel for each workload and mode, a bar for each contender,
and a whisker from the lowest to the highest round. Needs python3-matplotlib."""

from pathlib import Path

import measure
from goals import values
from report import FIGURES, rounds_of

# File: heading, figure, workloads.
FAMILIES = {
    "throughput": ("Transactions per second: more is better", "tps", ["pgbench-1", "pgbench-16", "pgbench-64"]),
    "cpu-per-transaction": (
        "The proxy's CPU per transaction: less is better",
        "cpu_us_per_txn",
        ["pgbench-1", "pgbench-16", "pgbench-64"],
    ),
    "cpu-per-gib": (
        "The proxy's CPU per GiB: less is better",
        "cpu_s_per_gib",
        ["copy-out", "copy-in", "pump-out", "pump-in"],
    ),
    "copy-throughput": ("GiB per second: more is better", "gib_per_second", ["copy-out", "copy-in"]),
    "cpu-per-connection": ("The proxy's CPU per connection: less is better", "cpu_us_per_connection", ["connect"]),
    "memory-per-session": ("Memory of an idle session: less is better", "kib_per_session", ["idle", "idle-10000"]),
}
_COLOURS = {
    "direct": "#b8b8b8", "direct-tls": "#8c8c8c", "pgveil": "#1b5e9b", "pgveil-epoll": "#6aa5d8",
}  # fmt: skip
_PEERS = "#d99b4a"


def draw(document, directory):
    """Writes NAME.svg for every family that was measured; answers the files."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "pgveil", "font.size": 9})
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    return [
        path
        for name, (heading, figure, workloads) in FAMILIES.items()
        if (path := _family(document, heading, figure, workloads, directory / f"{name}.svg"))
    ]


def _family(document, heading, figure, workloads, path):
    import matplotlib.pyplot as plt

    results = document["results"]
    modes = [mode for mode in results if any(_bars(results[mode].get(key, {}), figure) for key in workloads)]
    workloads = [key for key in workloads if any(_bars(results[mode].get(key, {}), figure) for mode in modes)]
    if not modes:
        return None
    rows = max(len(_bars(results[mode].get(key, {}), figure)) for mode in modes for key in workloads)
    size = (1.0 + 3.4 * len(workloads), 0.8 + (0.6 + 0.24 * rows) * len(modes))
    sheet, panels = plt.subplots(len(modes), len(workloads), figsize=size, squeeze=False, layout="constrained")
    sheet.suptitle(f"{heading}\n{FIGURES[figure][0]}; median, lowest and highest of {rounds_of(document)}")
    for line, mode in zip(panels, modes):
        for panel, key in zip(line, workloads):
            _panel(panel, f"{mode}: {key}", _bars(results[mode].get(key, {}), figure), FIGURES[figure][1])
    sheet.savefig(path, metadata={"Date": None})
    plt.close(sheet)
    return path


def _bars(by_contender, figure):
    """A list of (contender, median, lowest, highest)."""
    found = [(name, list(values(rounds, figure).values())) for name, rounds in by_contender.items()]
    return [(name, *measure.summary(some).values()) for name, some in found if some]


def _panel(panel, title, bars, digits):
    panel.set_title(title, fontsize=9, loc="left")
    if not bars:
        panel.set_axis_off()
        return
    names, medians, lows, highs = zip(*bars)
    colours = [_COLOURS.get(name, _PEERS) for name in names]
    places = range(len(names))
    whiskers = [[m - low for m, low in zip(medians, lows)], [high - m for m, high in zip(medians, highs)]]
    panel.barh(places, medians, color=colours, xerr=whiskers, error_kw={"elinewidth": 1, "capsize": 2})
    panel.set_yticks(places, names)
    panel.invert_yaxis()
    panel.set_xlim(0, 1.25 * max(highs))
    panel.spines[["top", "right"]].set_visible(False)
    beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
    for place, median, high in zip(places, medians, highs):
        panel.annotate(f"{median:,.{digits}f}", (high, place), **beside)
