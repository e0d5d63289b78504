"""The figures of bench/guard/run: what they are called, the file that holds them, and the verdict on new ones."""

import json

MOST_GROWTH = 0.05

INSTRUCTIONS = {
    "instructions.mebibyte_to_client": "MiB from a server with TLS, in records of 8 KiB",
    "instructions.mebibyte_to_server": "MiB to a server with TLS",
    "instructions.small_message": "small message, to or from a server with TLS",
    "instructions.session": "session without TLS: log in by `relay`, leave",
    "instructions.handshake_with_server": "the same with TLS to the server",
    "instructions.handshake_with_client": "the same with TLS to the client",
    "instructions.login": "login by certificate, and by SCRAM-SHA-256-PLUS",
}
SYSTEM_CALLS = {
    "system_calls.mebibyte_to_client": "MiB from a server with TLS, 128 KiB at a time",
    "system_calls.mebibyte_to_server": "MiB to a server with TLS, 128 KiB at a time",
    "system_calls.transaction": "transaction of one client, epoll",
    "system_calls.transaction_by_io_uring": "transaction of one client, io_uring",
    "system_calls.session": "session without TLS: log in by `relay`, leave",
    "system_calls.handshake_with_server": "the same with TLS to the server",
    "system_calls.handshake_with_client": "the same with TLS to the client",
    "system_calls.login": "login by certificate, and by SCRAM-SHA-256-PLUS",
}
WORDS = INSTRUCTIONS | SYSTEM_CALLS


def read(path):
    """Returns the recorded {"conditions": {...}, "figures": {...}}; empty if the file does not exist."""
    if not path.exists():
        return {"conditions": {}, "figures": {}}
    return json.loads(path.read_text(encoding="utf-8"))


def write(path, conditions, figures, recorded):
    """Records what was measured. What could not be measured here stays as it is."""
    known = {key: value for key, value in recorded["figures"].items() if key in WORDS}
    known |= {key: round(value, 2) if key in SYSTEM_CALLS else round(value) for key, value in figures.items()}
    document = {"conditions": conditions, "figures": {key: known[key] for key in WORDS if key in known}}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


class Verdict:
    """The verdict on new figures, compared with the recorded ones."""

    def __init__(self, recorded, conditions, figures):
        self.rows = []  # key, recorded, measured, growth or None, remark
        self.grown = []
        self.shrunk = []
        self.missing = []  # nothing is recorded
        self.differences = [
            f"{name}: {recorded['conditions'].get(name, 'nothing')} recorded, {value} here"
            for name, value in conditions.items()
            if recorded["conditions"].get(name) != value
        ]
        for key in WORDS:
            self._judge(key, recorded["figures"].get(key), figures.get(key))

    def _judge(self, key, before, now):
        growth, remark = None, ""
        if now is None:
            remark = "cannot be measured here"
        elif before is None:
            remark = "not recorded"
            self.missing.append(key)
        elif key in INSTRUCTIONS and self.differences:
            remark = "not compared"
        else:
            growth = now / before - 1
            if now > before * (1 + MOST_GROWTH):
                self.grown.append(key)
                remark = "GROWN"
            elif now < before * (1 - MOST_GROWTH):
                self.shrunk.append(key)
                remark = "shrunk"
        self.rows.append((key, before, now, growth, remark))

    @property
    def is_good(self):
        return not self.grown and not self.missing

    def text(self):
        """The table, and what to do."""
        lines = []
        for title, keys in (("Instructions outside libcrypto", INSTRUCTIONS), ("System calls", SYSTEM_CALLS)):
            lines.append(f"{title + ' per':<56}{'recorded':>12}{'measured':>12}{'growth':>9}")
            for key, before, now, growth, remark in self.rows:
                if key in keys:
                    places = 2 if key in SYSTEM_CALLS else 0
                    change = "" if growth is None else f"{100 * growth:+.1f} %"
                    row = f"  {WORDS[key]:<54}{_number(before, places):>12}{_number(now, places):>12}{change:>9}"
                    lines.append(f"{row}  {remark}".rstrip())
            lines.append("")
        if self.differences:
            lines.append("Instructions are not compared, since they were counted under other conditions:")
            lines += [f"  {difference}" for difference in self.differences]
        if self.grown:
            lines.append(f"FAILED: more than {100 * MOST_GROWTH:.0f} % above what is recorded:")
            for key, before, now, growth, _ in self.rows:
                if key in self.grown:
                    lines.append(f"  {key}: {before:,} -> {now:,.2f} ({100 * growth:+.1f} %)")
            lines.append("If the change is worth it: bench/guard/run --update, and a commit of its own that says why.")
        if self.missing:
            lines.append(f"FAILED: not recorded: {', '.join(self.missing)}. Record it: bench/guard/run --update")
        if self.shrunk:
            lines.append(f"Better than recorded: {', '.join(self.shrunk)}.")
            lines.append("Keep it: bench/guard/run --update, and a commit of its own.")
        if self.is_good:
            lines.append("PASSED")
        return "\n".join(lines)


def _number(value, places):
    return "-" if value is None else f"{value:,.{places}f}"
