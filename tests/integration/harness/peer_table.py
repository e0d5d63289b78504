"""A plugin of pytest for tests/tls-peers: what each peer did, as a table."""

COLUMNS = ("peer", "version", "role", "records", "sent", "received")
rows = []


def pytest_runtest_logreport(report):
    if report.when != "call" and report.outcome == "passed":
        return
    properties = dict(report.user_properties)
    if "peer" not in properties:
        return
    cells = ["?" if properties.get(column, -1) == -1 else str(properties[column]) for column in COLUMNS]
    verdict = report.outcome
    if report.skipped:
        verdict = f"not run: {report.longrepr[2].removeprefix('Skipped: ')}"
    elif report.failed:
        verdict = "FAILED"
    elif "note" in properties:
        verdict += f"; {properties['note']}"
    rows.append([*cells, verdict])


def pytest_terminal_summary(terminalreporter):
    titles = [*COLUMNS[:4], "KeyUpdates sent", "received", "verdict"]
    widths = [max(len(row[column]) for row in [titles, *rows]) for column in range(len(titles))]
    terminalreporter.write_line("")
    for row in [titles, *sorted(rows)]:
        terminalreporter.write_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
