"""What pgveil wants to reach, and how far a run says that it is."""

from typing import NamedTuple

import measure

VERDICTS = ["missed", "missed, except in some rounds", "met, except in some rounds", "met"]
BEST = "the best peer"
IO_URING = "pgveil"  # by default, where the kernel allows it
EPOLL = "pgveil-epoll"
_OURS = (IO_URING, EPOLL)
_NO_PEERS = (*_OURS, "direct", "direct-tls")
_ALL = ("egress", "ingress", "both")


class Goal(NamedTuple):
    """`sign` says whether pgveil may have at most or must have at least `limit`: times the peer's, or, without a
    peer, as it is."""

    modes: tuple
    workloads: tuple
    figure: str
    sign: str
    limit: float
    peer: str | None = None
    ours: str = IO_URING


# Against the newest peers, with OpenSSL 3.5 or newer.
NEWEST = [
    Goal(_ALL, ("copy-out", "copy-in"), "cpu_s_per_gib", "≤", 0.5, "haproxy"),
    Goal(_ALL, ("copy-out", "copy-in"), "cpu_s_per_gib", "≤", 0.35, "pgbouncer"),
    Goal(("ingress",), ("copy-out", "copy-in"), "cpu_s_per_gib", "≤", 0.75, "nginx"),
    Goal(_ALL, ("copy-out", "copy-in"), "calls_per_mib", "≤", 40),
    # 1.25 times what copying and encrypting cost on a processor with AVX-512; others encrypt more slowly.
    Goal(("egress", "ingress"), ("pump-out", "pump-in"), "cpu_s_per_gib", "≤", 1.25 * 0.66),
    Goal(("both",), ("pump-out", "pump-in"), "cpu_s_per_gib", "≤", 1.25 * 0.72),
    Goal(_ALL, ("copy-out",), "gib_per_second", "≥", 1.05, BEST),
    Goal(_ALL, ("copy-in",), "gib_per_second", "≥", 1.0, BEST),
    Goal(_ALL, ("copy-out", "copy-in"), "gib_per_second", "≥", 0.85, "direct-tls"),
    Goal(_ALL, ("pgbench-16", "pgbench-64"), "cpu_us_per_txn", "≤", 0.6, "pgbouncer"),
    Goal(_ALL, ("pgbench-16", "pgbench-64"), "cpu_us_per_txn", "≤", 0.9, "pgbouncer", EPOLL),
    Goal(_ALL, ("pgbench-16", "pgbench-64"), "calls_per_txn", "≤", 0.6),
    Goal(_ALL, ("pgbench-16", "pgbench-64"), "calls_per_txn", "≤", 4.4, None, EPOLL),
    Goal(_ALL, ("pgbench-16", "pgbench-64"), "tps", "≥", 1.2, "pgbouncer"),
    Goal(_ALL, ("pgbench-16", "pgbench-64"), "tps", "≥", 1.0, "pgbouncer", EPOLL),
    *(
        goal
        for ours in _OURS
        for goal in [
            Goal(_ALL, ("pgbench-1",), "cpu_us_per_txn", "≤", 0.85, BEST, ours),
            Goal(_ALL, ("pgbench-1",), "added_p50_us", "≤", 1.0, BEST, ours),
            Goal(_ALL, ("pgbench-1",), "calls_per_txn", "≤", 6.1, None, ours),
        ]
    ),
    Goal(("ingress",), ("connect",), "cpu_us_per_connection", "≤", 0.85, "nginx"),
    Goal(("egress", "both"), ("connect",), "cpu_us_per_connection", "≤", 0.7, "haproxy"),
    Goal(("both",), ("login",), "cpu_us_per_login", "≤", 1.1, "haproxy"),
    Goal(("egress",), ("idle", "idle-10000"), "kib_per_session", "≤", 26),
    Goal(("ingress",), ("idle", "idle-10000"), "kib_per_session", "≤", 20),
    Goal(("both",), ("idle", "idle-10000"), "kib_per_session", "≤", 42),
    Goal(_ALL, ("idle",), "kib_without_sessions", "≤", 12 * 1024),
    Goal(_ALL, ("idle-10000",), "busy_beside_idle", "≥", 0.95),
]

# Against what Debian 12 ships, with OpenSSL 3.0: PostgreSQL there knows no direct TLS, so that HAProxy is met at the
# pump only, and the limits of the processor are those of another OpenSSL.
DEBIAN_12 = [
    Goal(_ALL, ("copy-out", "copy-in", "pump-out", "pump-in"), "cpu_s_per_gib", "≤", 0.4, "pgbouncer"),
    Goal(_ALL, ("pump-out", "pump-in"), "cpu_s_per_gib", "≤", 0.5, "haproxy"),
    *(goal for goal in NEWEST if goal.figure in ("gib_per_second", "calls_per_mib") and goal.peer != BEST),
    *(goal for goal in NEWEST if goal.figure in ("tps", "cpu_us_per_txn", "calls_per_txn", "added_p50_us")),
    *(goal for goal in NEWEST if goal.workloads in (("connect",), ("login",))),
    Goal(("egress",), ("idle", "idle-10000"), "kib_per_session", "≤", 18),
    Goal(("ingress",), ("idle", "idle-10000"), "kib_per_session", "≤", 14),
    *(goal for goal in NEWEST if goal.figure in ("kib_without_sessions", "busy_beside_idle")),
]


def judge(results, goals):
    """Each goal that was measured, in every mode and workload; the missed ones first."""
    rows = []
    for goal in goals:
        for mode in goal.modes:
            for workload in goal.workloads:
                found = _measured(results.get(mode, {}).get(workload, {}), goal)
                if found:
                    rows.append(_row(goal, mode, workload, found))
    return sorted(rows, key=lambda row: VERDICTS.index(row["verdict"]))


def _measured(by_contender, goal):
    """What is compared with the limit: a value for each round."""
    ours = values(by_contender.get(goal.ours, {}), goal.figure)
    if goal.peer is None:
        return list(ours.values())
    if goal.peer != BEST:
        return measure.ratios(ours, values(by_contender.get(goal.peer, {}), goal.figure))
    best = min if goal.sign == "≤" else max
    peers = [values(rounds, goal.figure) for name, rounds in by_contender.items() if name not in _NO_PEERS]
    theirs = {turn: [peer[turn] for peer in peers if turn in peer] for turn in ours}
    return measure.ratios(ours, {turn: best(figures) for turn, figures in theirs.items() if figures})


def _row(goal, mode, workload, found):
    value = measure.summary(found)
    score = sum(_holds(goal, value[which]) for which in ("median", "min", "max"))
    return {
        "mode": mode, "workload": workload, "figure": goal.figure, "contender": goal.ours, "peer": goal.peer,
        "sign": goal.sign, "limit": goal.limit, "verdict": VERDICTS[score], **value,
    }  # fmt: skip


def _holds(goal, value):
    return value <= goal.limit if goal.sign == "≤" else value >= goal.limit


def values(rounds, figure):
    return {turn: figures[figure] for turn, figures in rounds.items() if figure in figures}
