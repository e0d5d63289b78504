#!/usr/bin/python3
"""Makes the table of docs/performance.md from the tables in docs/performance/appendix.md, and puts it into the page:

    bench/compare/overview.py            writes it
    bench/compare/overview.py --check    only says whether the page has it (exit code 1: no)

A cell is pgveil's figure divided by the other's, the lowest and the highest of the modes. The tables of the appendix, which
`run` and `run --redraw` print, have the other's figure divided by pgveil's: the median of the rounds. The text around the
table is written by hand."""

import re
import sys
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/performance.md"
APPENDIX = ROOT / "docs/performance/appendix.md"

# Words, and the workload and the column of its table.
ROWS = [
    ("CPU per GiB, COPY out", "copy-out", "CPU s/GiB"),
    ("CPU per GiB, COPY in", "copy-in", "CPU s/GiB"),
    ("GiB/s, COPY out", "copy-out", "GiB/s"),
    ("GiB/s, COPY in", "copy-in", "GiB/s"),
    ("CPU per transaction, 1 client", "pgbench-1", "CPU µs/transaction"),
    ("CPU per transaction, 16 clients", "pgbench-16", "CPU µs/transaction"),
    ("CPU per transaction, 64 clients", "pgbench-64", "CPU µs/transaction"),
    ("transactions/s, 1 client", "pgbench-1", "transactions/s"),
    ("transactions/s, 16 clients", "pgbench-16", "transactions/s"),
    ("transactions/s, 64 clients", "pgbench-64", "transactions/s"),
    ("p50 of a transaction, 1 client", "pgbench-1", "p50, µs"),
    ("p50 of a transaction, 16 clients", "pgbench-16", "p50, µs"),
    ("CPU per new connection", "connect", "CPU µs/connection"),
    ("memory of an idle session", "idle", "PSS KiB/session"),
]
UNITS = {"CPU s/GiB": "s", "CPU µs/transaction": "µs", "CPU µs/connection": "µs", "p50, µs": "µs", "PSS KiB/session": "KiB"}
OTHERS = {"direct-tls": "direct TLS", "pgbouncer": "PgBouncer", "odyssey": "Odyssey", "haproxy": "HAProxy",
          "nginx": "nginx", "hitch": "hitch", "stunnel": "stunnel"}  # fmt: skip
BEGIN = "<!-- bench/compare/overview.py -->\n"
END = "<!-- Made by bench/compare/overview.py"


def tables_of(appendix):
    """The report's tables: {mode: {workload: {contender: {column: cell}}}}."""
    modes, mode, workload, columns = {}, None, None, None
    for line in appendix.split("\n## All figures\n", 1)[1].splitlines():
        if found := re.match(r"#{2,3} (\w+): ", line):
            mode = modes.setdefault(found[1], {})
        elif found := re.match(r"#{3,4} `([\w-]+)`", line):
            workload, columns = mode.setdefault(found[1], {}), None
        elif line.startswith("| "):
            name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            if columns is None:
                columns = cells
            else:
                workload[name] = dict(zip(columns, cells, strict=True))
    return modes


def number(text):
    return float(text.replace(",", ""))


def own_figure(cell):
    return re.match(r"[\d,.]+", cell)[0]


def ratio(cell):
    """pgveil's figure divided by that of the cell; None: there is none."""
    found = re.search(r"= ([\d,.]+)(?: \[.*\])? ×", cell)
    return 1 / number(found[1]) if found else None


def digits(value):
    return f"{value:.2f}" if value < 2 else f"{value:.1f}"


def span(texts):
    """The lowest and the highest of them, which are numbers in words."""
    lowest, highest = min(texts, key=number), max(texts, key=number)
    return lowest if lowest == highest else f"{lowest} to {highest}"


def row_of(modes, words, workload, column):
    tables = [mode[workload] for mode in modes.values() if workload in mode]
    own = [own_figure(table["pgveil"][column]) for table in tables]
    unit = f" {UNITS[column]}" if column in UNITS else ""
    cells = [span(own) + unit]
    for other in OTHERS:
        ratios = [ratio(table[other][column]) for table in tables if other in table]
        known = [digits(value) for value in ratios if value is not None]
        cells.append(span(known) + " ×" if known else "–")
    return f"| {words} | " + " | ".join(cells) + " |"


def table_of(modes):
    lines = ["| | pgveil | " + " | ".join(f"÷ {title}" for title in OTHERS.values()) + " |", "|---" * (len(OTHERS) + 2) + "|"]
    return "\n".join([*lines, *(row_of(modes, *row) for row in ROWS)]) + "\n"


def source_of():
    workloads = ", ".join(dict.fromkeys(workload for _, workload, _ in ROWS))
    return (f"{END} from the tables {workloads} of each mode in\nperformance/appendix.md, \"All figures\": "
            "1 / the median ratio that is\nafter \"=\" there. -->")  # fmt: skip


def with_table(page, appendix):
    """The page with the table of the appendix."""
    begin, rest = page.split(BEGIN)
    _, end = rest.split(END)
    return f"{begin}{BEGIN}{table_of(tables_of(appendix))}{source_of()}{end.split('-->', 1)[1]}"


def main():
    page, appendix = PAGE.read_text(encoding="utf-8"), APPENDIX.read_text(encoding="utf-8")
    made = with_table(page, appendix)
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    if not sys.argv[1:]:
        PAGE.write_text(made, encoding="utf-8")
    elif made != page:
        sys.exit(f"{PAGE} does not have the figures of {APPENDIX}; run bench/compare/overview.py")


if __name__ == "__main__":
    main()
