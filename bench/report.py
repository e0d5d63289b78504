"""The figures as Markdown, with the goals they are judged by."""

import measure

# Figure: words, digits.
_FIGURES = {
    "tps": ("transactions/s", 0),
    "latency_us": ("mean latency, µs", 0),
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
}

# Workload, figure, peer (None: an absolute limit), the most that pgveil may have of it.
GOALS = [
    ("copy-out", "cpu_s_per_gib", "pgbouncer", 0.4),
    ("copy-in", "cpu_s_per_gib", "pgbouncer", 0.4),
    ("pump-out", "cpu_s_per_gib", "haproxy", 0.5),
    ("pump-in", "cpu_s_per_gib", "haproxy", 0.5),
    ("pump-out", "cpu_s_per_gib", "pgbouncer", 0.4),
    ("pump-in", "cpu_s_per_gib", "pgbouncer", 0.4),
    ("pgbench-16", "cpu_us_per_txn", "pgbouncer", 1.0),
    ("pgbench-16", "calls_per_txn", None, 4.4),
    ("copy-out", "calls_per_mib", None, 40),
    ("connect", "cpu_us_per_connection", "haproxy", 0.7),
    ("login", "cpu_us_per_login", "haproxy", 1.1),
    ("idle", "kib_per_session", None, 24),
]


_VERDICTS = ["missed", "missed, except in some rounds", "met, except in some rounds", "met"]


def judge(results):
    """Each goal that was measured, the missed ones first."""
    rows = []
    for workload, figure, peer, limit in GOALS:
        ours = _rounds(results, workload, "pgveil", figure)
        theirs = _rounds(results, workload, peer, figure) if peer else {turn: 1.0 for turn in ours}
        found = measure.ratios(ours, theirs)
        if not found:
            continue
        value = measure.summary(found)
        verdict = _VERDICTS[(value["median"] <= limit) + (value["min"] <= limit) + (value["max"] <= limit)]
        goal = {"workload": workload, "figure": figure, "peer": peer, "limit": limit}
        rows.append({**goal, **value, "verdict": verdict})
    return sorted(rows, key=lambda row: _VERDICTS.index(row["verdict"]))


def markdown(document):
    lines = _heading(document)
    goals = document["goals"]
    if goals:
        lines += ["## Goals", "", "| workload | figure | measured | goal | |", "|---|---|---|---|---|"]
        for goal in goals:
            unit = f"× {goal['peer']}" if goal["peer"] else ""
            lines.append(
                f"| {goal['workload']} | {_FIGURES[goal['figure']][0]} | {_spread(goal, 2)} {unit} "
                f"| ≤ {goal['limit']} {unit} | {goal['verdict']} |"
            )
        lines.append("")
    for workload in document["workloads"]:
        lines += _table(workload, document["results"].get(workload["key"], {}))
    return "\n".join(lines)


def _heading(document):
    machine = document["machine"]
    busiest = max(sample["busy"] for sample in machine["others"])
    stolen = max(sample["stolen"] for sample in machine["others"])
    shared = (
        f"Before each round, with nothing of this comparison at work, up to {busiest:.0%} of the processors' time "
        f"was in use, and up to {stolen:.0%} stolen by the hypervisor."
    )
    lines = [
        "# pgveil beside other proxies",
        "",
        f"- pgveil: {document['versions'].get('pgveil')}, commit {document['commit']}",
        *(f"- {name}: {version}" for name, version in document["versions"].items() if name != "pgveil"),
        f"- machine: {machine['processors']} × {machine['processor']}, {machine['memory_gib']:.0f} GiB, "
        f"{machine['system']}, Linux {machine['kernel']}, {machine['virtual']}",
        f"- {shared} Whether other guests share the machine cannot be seen from here: trust ratios, not figures.",
        f"- {document['rounds']} complete rounds ({document['settings']}), contenders interleaved in each; "
        "median [lowest..highest]; × is to pgveil in the same round.",
        *(f"- {remark}" for remark in document["remarks"]),
        "",
    ]
    return lines


def _table(workload, by_contender):
    names = list(by_contender)
    measured = {name for rounds in by_contender.values() for figures in rounds.values() for name in figures}
    figures = [name for name in _FIGURES if name in measured]
    if not figures:
        return []
    lines = [f"## {workload['title']}", "", "| | " + " | ".join(_FIGURES[name][0] for name in figures) + " |"]
    lines.append("|---" * (len(figures) + 1) + "|")
    for name in names:
        cells = [_cell(by_contender, name, figure) for figure in figures]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _cell(by_contender, name, figure):
    own = _values(by_contender.get(name, {}), figure)
    if not own:
        return "–"
    text = _spread(measure.summary(list(own.values())), _FIGURES[figure][1])
    if name == "pgveil":
        return text
    against = measure.ratios(own, _values(by_contender.get("pgveil", {}), figure))
    return f"{text} = {_spread(measure.summary(against), 2)} ×" if against else text


def _spread(value, digits):
    if value["min"] == value["max"]:
        return f"{value['median']:,.{digits}f}"
    return f"{value['median']:,.{digits}f} [{value['min']:,.{digits}f}..{value['max']:,.{digits}f}]"


def _rounds(results, workload, contender, figure):
    return _values(results.get(workload, {}).get(contender, {}), figure)


def _values(rounds, figure):
    return {turn: figures[figure] for turn, figures in rounds.items() if figure in figures}
