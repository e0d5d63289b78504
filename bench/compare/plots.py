"""A picture of a run: one SVG a family of figures, with a panel for each workload and mode, and a bar for each
contender. A bar is the median of the ratios to pgveil in the same round, a whisker goes from the lowest to the highest
of them; the figure itself stands beside it. Needs python3-matplotlib."""

import textwrap
from pathlib import Path

import measure
from goals import values
from report import FIGURES

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
_PANEL = 3.6  # inches
_LEAST_WIDTH = 5.5  # of a sheet, for its heading
_LETTERS_PER_INCH = 12.0  # of the heading
# What is to the right of the longest bar, as a share of the panel: the words beside it.
_ROOM_FOR_WORDS = 0.48


def draw(document, directory):
    """Writes NAME.svg for every family that was measured; returns the files."""
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
    results = document["results"]
    bars = {(mode, key): bars_of(results[mode].get(key, {}), figure) for mode in results for key in workloads}
    return draw_family(heading, figure, bars, path)


def draw_family(heading, figure, bars, path):
    """`bars`: what bars_of() returns, by mode and workload. Returns the file; None if there is nothing to draw."""
    import matplotlib.pyplot as plt

    sheet = sheet_of(heading, figure, bars)
    if sheet is None:
        return None
    sheet.savefig(path, metadata={"Date": None})
    plt.close(sheet)
    return path


def sheet_of(heading, figure, bars):
    import matplotlib.pyplot as plt

    modes = list(dict.fromkeys(mode for (mode, _), some in bars.items() if some))
    workloads = list(dict.fromkeys(key for (_, key), some in bars.items() if some))
    if not modes:
        return None
    rows = max(len(some) for some in bars.values())
    width = max(1.0 + _PANEL * len(workloads), _LEAST_WIDTH)
    size = (width, 1.1 + (0.6 + 0.24 * rows) * len(modes))
    sheet, panels = plt.subplots(len(modes), len(workloads), figsize=size, squeeze=False, layout="constrained")
    sheet.suptitle(heading_of(heading, figure, bars, width), fontsize=9)
    for line, mode in zip(panels, modes):
        for panel, key in zip(line, workloads):
            _panel(panel, f"{mode}: {key}", bars.get((mode, key), []), FIGURES[figure][1])
    return sheet


def heading_of(heading, figure, bars, width):
    """In lines that fit the sheet."""
    rounds = rounds_in(bars)
    spread = "" if rounds == "one round" else "median, lowest and highest "
    text = f"Ratio to pgveil in the same round: {spread}of {rounds}. Beside it: {FIGURES[figure][0]}, median."
    return "\n".join([heading, *textwrap.wrap(text, int(width * _LETTERS_PER_INCH))])


def rounds_in(bars):
    """How many rounds there are in a picture, in words: not all of a run's figures come from all of its rounds."""
    numbers = sorted({bar["rounds"] for some in bars.values() for bar in some})
    if numbers == [1]:
        return "one round"
    return f"{numbers[0]} rounds" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]} rounds"


def bars_of(by_contender, figure):
    """Of each contender that can be compared with pgveil: its name, the ratio to pgveil, the figure itself and the
    number of rounds that both have."""
    ours = values(by_contender.get("pgveil", {}), figure)
    bars = []
    for name, rounds in by_contender.items():
        own = values(rounds, figure)
        ratios = measure.ratios(own, ours)
        if ratios:
            bars.append({"name": name, "ratio": measure.summary(ratios), "median": measure.summary(list(own.values()))["median"],
                         "rounds": len(ratios)})  # fmt: skip
    return bars


def _panel(panel, title, bars, digits):
    from matplotlib.ticker import MaxNLocator

    panel.set_title(title, fontsize=9, loc="left")
    if not bars:
        panel.set_axis_off()
        return
    ratios = [bar["ratio"] for bar in bars]
    medians = [ratio["median"] for ratio in ratios]
    highest = max(ratio["max"] for ratio in ratios)
    whiskers = [[ratio["median"] - ratio["min"] for ratio in ratios], [ratio["max"] - ratio["median"] for ratio in ratios]]
    colours = [_COLOURS.get(bar["name"], _PEERS) for bar in bars]
    places = range(len(bars))
    panel.barh(places, medians, color=colours, xerr=whiskers, error_kw={"elinewidth": 1, "capsize": 2})
    panel.set_yticks(places, [bar["name"] for bar in bars])
    panel.invert_yaxis()
    panel.set_xlim(0, highest / (1 - _ROOM_FOR_WORDS))
    panel.xaxis.set_major_locator(MaxNLocator(nbins=4))
    panel.axvline(1, color="#404040", linewidth=0.6, linestyle=":", zorder=0)
    panel.spines[["top", "right"]].set_visible(False)
    beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 8,
              "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.5}}  # fmt: skip
    for place, bar in zip(places, bars):
        words = f"{bar['median']:,.{digits}f}"
        if bar["name"] != "pgveil":
            words = f"{bar['ratio']['median']:.2f} ×  ({words})"
        panel.annotate(words, (bar["ratio"]["max"], place), **beside)
