"""The figures as Markdown, with the goals they are judged by."""

import goals
import measure
from goals import values
from modes import MODES

# Figure: words, digits.
FIGURES = {
    "tps": ("transactions/s", 0),
    "p50_us": ("p50, µs", 0),
    "p99_us": ("p99, µs", 0),
    "added_p50_us": ("p50 above direct, µs", 0),
    "cpu_us_per_txn": ("CPU µs/transaction", 1),
    "calls_per_txn": ("system calls/transaction", 2),
    "gib_per_second": ("GiB/s", 2),
    "cpu_s_per_gib": ("CPU s/GiB", 2),
    "calls_per_mib": ("system calls/MiB", 0),
    "connections_per_second": ("connections/s", 0),
    "cpu_us_per_connection": ("CPU µs/connection", 0),
    "calls_per_connection": ("system calls/connection", 1),
    "logins_per_second": ("logins/s", 0),
    "cpu_us_per_login": ("CPU µs/login", 0),
    "calls_per_login": ("system calls/login", 1),
    "kib_per_session": ("PSS KiB/session", 1),
    "kib_without_sessions": ("PSS KiB without sessions", 0),
    "busy_beside_idle": ("a busy session beside them, × without them", 2),
}


def markdown(document):
    lines = _heading(document) + _goals(document["goals"])
    for mode, results in document["results"].items():
        lines += [f"## {mode}: {MODES[mode].title}", ""]
        for key, title in document["workloads"].items():
            lines += _table(key, title, results.get(key, {}))
    return "\n".join(lines)


def taken_together(documents):
    """The figures of several runs of the same program. Where two have the same workload, the later one counts."""
    together, *others = documents
    for other in others:
        differing = [name for name, version in other["versions"].items()
                     if together["versions"].setdefault(name, version) != version]  # fmt: skip
        if differing or other["commit"] != together["commit"]:
            raise ValueError(f"runs of different programs: {', '.join(differing) or 'commits of pgveil'}")
        together["command"] += f"`, `{other['command']}"
        together["settings"] += f", {other['settings']}"
        together["minutes"] += other["minutes"]
        together["rounds"] = min(together["rounds"], other["rounds"])
        together["interrupted"] = together.get("interrupted", False) or other.get("interrupted", False)
        together["workloads"] |= other["workloads"]
        together["remarks"] += [remark for remark in other["remarks"] if remark not in together["remarks"]]
        together["machine"]["others"] += other["machine"]["others"]
        for mode, results in other["results"].items():
            together["results"].setdefault(mode, {}).update(results)
    if others:
        newest = "--newest" in together["command"]
        together["goals"] = goals.judge(together["results"], goals.NEWEST if newest else goals.DEBIAN_12)
    return together


def rounds_of(document):
    """In words."""
    return "1 complete round" if document["rounds"] == 1 else f"{document['rounds']} complete rounds"


def _heading(document):
    machine = document["machine"]
    busiest = max((sample["busy"] for sample in machine["others"]), default=0)
    stolen = max((sample["stolen"] for sample in machine["others"]), default=0)
    shared = (
        f"Before each round, with nothing of this comparison at work, up to {busiest:.0%} of the processors' time "
        f"was in use, and up to {stolen:.0%} stolen by the hypervisor."
    )
    return [
        "# pgveil beside other proxies",
        "",
        f"- pgveil: {document['versions'].get('pgveil')}, commit {document['commit']}",
        *(f"- {name}: {version}" for name, version in document["versions"].items() if name != "pgveil"),
        f"- machine: {machine['processors']} × {machine['processor']}, {machine['memory_gib']:.0f} GiB, "
        f"{machine['system']}, Linux {machine['kernel']}, {machine['virtual']}",
        f"- {shared} Whether other guests share the machine cannot be seen from here: trust ratios, not figures.",
        f"- `{document['command']}`: {rounds_of(document)} ({document['settings']}) in "
        f"{document['minutes']:.0f} minutes, contenders interleaved in each; "
        "median [lowest..highest]; × is to pgveil in the same round.",
        *(f"- {remark}" for remark in document["remarks"]),
        "",
    ]


def _goals(rows):
    if not rows:
        return []
    lines = ["## Goals", "", "| mode | workload | figure | measured | goal | |", "|---|---|---|---|---|---|"]
    for goal in rows:
        words, digits = FIGURES[goal["figure"]]
        unit = f" × {goal['peer']}" if goal["peer"] else ""
        whose = "" if goal["contender"] == "pgveil" else f" of {goal['contender']}"
        verdict = goal["verdict"] if goal["verdict"] == "met" else f"**{goal['verdict']}**"
        measured = _spread(goal, 2 if unit else max(digits, 1)) + unit
        lines.append(
            f"| {goal['mode']} | {goal['workload']} | {words}{whose} | {measured} "
            f"| {goal['sign']} {goal['limit']:g}{unit} | {verdict} |"
        )
    return [*lines, ""]


def _table(key, title, by_contender):
    measured = {name for rounds in by_contender.values() for figures in rounds.values() for name in figures}
    figures = [name for name in FIGURES if name in measured]
    if not figures:
        return []
    lines = [f"### `{key}`: {title}", "", "| | " + " | ".join(FIGURES[name][0] for name in figures) + " |"]
    lines.append("|---" * (len(figures) + 1) + "|")
    for name, rounds in by_contender.items():
        if rounds:
            cells = [_cell(by_contender, name, figure) for figure in figures]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _cell(by_contender, name, figure):
    own = values(by_contender[name], figure)
    if not own:
        return "–"
    text = _spread(measure.summary(list(own.values())), FIGURES[figure][1])
    if name == "pgveil":
        return text
    against = measure.ratios(own, values(by_contender.get("pgveil", {}), figure))
    return f"{text} = {_spread(measure.summary(against), 2)} ×" if against else text


def _spread(value, digits):
    if value["min"] == value["max"]:
        return f"{value['median']:,.{digits}f}"
    return f"{value['median']:,.{digits}f} [{value['min']:,.{digits}f}..{value['max']:,.{digits}f}]"
