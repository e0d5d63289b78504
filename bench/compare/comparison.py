"""Who is measured with what, in which order, and that they do the same job."""

import re
import subprocess
import sys
import time

import measure
import peers
from common import Failure
from modes import MODES
from progress import Progress


class Comparison:
    """A step is one workload for one contender in one mode. `document` takes what comes out."""

    def __init__(self, place, chosen, contenders, document):
        self._place = place
        self._workloads = chosen
        self._contenders = contenders
        self._document = document
        self._running = {}  # by mode, contender, and the two things that _ends() returns

    def start(self, modes):
        """One of each contender for each server and kind of clients that its workloads need."""
        self._steps = [
            (MODES[name], workload) for name in modes for workload in self._workloads if name in workload.modes
        ]
        for mode, workload in self._steps:
            for contender in self._entrants(mode, workload):
                key = (mode.name, contender.name, *_ends(workload))
                if workload.repeats and key not in self._running:
                    self._start(key, contender, mode, workload)
        seen = {}
        for key, running in self._running.items():
            mode, name, pump, _ = key
            if running is None or pump:
                continue
            try:
                words = check_encryption(self._place, running, MODES[mode])
                seen.setdefault((mode, words), []).append(name)
            except Failure as failure:
                self._running[key] = None  # what it does is not the job
                self._fails(f"{mode}: {name}", failure, running)
        self._document["remarks"] += [f"{mode}: {', '.join(names)}: {words}." for (mode, words), names in seen.items()]
        self._document["remarks"] += self._engines()

    def _engines(self):
        """With what each pgveil moves the bytes."""
        ours = {contender.name: contender for contender in self._contenders if isinstance(contender, peers.Pgveil)}
        running = {key[1]: one for key, one in self._running.items() if one and key[1] in ours}
        return [f"{name} moved sessions with {ours[name].engine(one)}." for name, one in running.items()]

    def measure(self, rounds, deadline):
        """A B C A B C: neighbours in time are compared with each other."""
        progress = Progress(
            ((mode.name, workload.key, contender.name), workload.seconds_expected)
            for turn in range(rounds)
            for mode, workload in self._steps
            if turn == 0 or workload.repeats
            for contender in self._entrants(mode, workload)
        )
        self._document["rounds"] = 0
        round_seconds = 0.0
        for turn in range(rounds):
            begin = time.monotonic()
            if turn > 0 and begin + round_seconds > deadline:
                self._document["remarks"].append(f"There was time for {turn} of {rounds} rounds.")
                return
            self._document["machine"]["others"].append(measure.busy_share())
            for mode, workload in self._steps:
                if turn > 0 and not workload.repeats:
                    continue
                if not self._measure_one(turn, mode, workload, progress, f"round {turn + 1}/{rounds}", deadline):
                    self._document["remarks"].append(f"The time was up in round {turn + 1} of {rounds}.")
                    return
            self._document["rounds"] = turn + 1
            # Only the first counts system calls and memory: the second may be tried if it takes two thirds of that.
            round_seconds = (time.monotonic() - begin) * (2 / 3 if turn == 0 else 1)

    def _measure_one(self, turn, mode, workload, progress, words, deadline):
        """Measures all contenders; returns False if the time is up."""
        entrants = self._entrants(mode, workload)
        if not entrants:
            return True
        rows = self._document["results"].setdefault(mode.name, {}).setdefault(
            workload.key, {entrant.name: {} for entrant in entrants}
        )
        first = turn % len(entrants)  # nobody always comes first
        try:
            for contender in entrants[first:] + entrants[:first]:
                if time.monotonic() > deadline:
                    return False
                text = f"{words}: {mode.name}: {workload.key}: {contender.name}"
                key = (mode.name, workload.key, contender.name)
                figures = progress.step(key, text, lambda: self._figures(turn, contender, mode, workload))
                if figures:
                    rows[contender.name][str(turn)] = figures
        finally:
            _add_differences(rows, str(turn))
        return True

    def _figures(self, turn, contender, mode, workload):
        """Returns the figures of one contender; if it fails, none and a remark: the others can still be measured."""
        if not workload.repeats:
            return self._figures_of_fresh_ones(contender, mode, workload)
        at = self._running[mode.name, contender.name, *_ends(workload)]
        if at is None:
            return {}
        try:
            figures = workload.measure(at)
            if turn == 0 and at.pid and measure.counting_tool():
                figures |= workload.system_calls(at)
            return figures
        except (Failure, OSError, subprocess.SubprocessError) as failure:
            self._fails(f"{mode.name}: {workload.key}: {contender.name}", failure, at)
            return {}

    def _figures_of_fresh_ones(self, contender, mode, workload):
        """Memory that earlier sessions left behind would flatter; and two, so that one can be compared with the other."""
        fresh = []
        try:
            while len(fresh) < 2:
                fresh.append(contender.start(mode, self._place.pump_server))
            return workload.measure(*fresh)
        except (Failure, OSError, subprocess.SubprocessError) as failure:
            self._fails(f"{mode.name}: {workload.key}: {contender.name}", failure, fresh[0] if fresh else None)
            return {}
        finally:
            for at in fresh:
                self._place.stop(at.process)

    def _start(self, key, contender, mode, workload):
        server = self._place.pump_server if workload.pump else self._place.postgres
        try:
            self._running[key] = contender.start(mode, server, workload.checks_clients)
        except Failure as failure:
            self._running[key] = None
            self._fails(f"{mode.name}: {contender.name}", failure)

    def _fails(self, what, failure, running=None):
        log = "".join(self._place.log_of(running.log).splitlines(True)[-20:]) if running and running.pid else ""
        print(f"bench: {what}: {failure}\n{log}", file=sys.stderr)
        self._document["remarks"].append(f"**{what} failed**: {str(failure).strip().splitlines()[-1]}")

    def _entrants(self, mode, workload):
        return [contender for contender in self._contenders if self._takes_part(contender, mode, workload)]

    def _takes_part(self, contender, mode, workload):
        if mode.name not in contender.modes or (workload.checks_clients and not contender.checks_clients):
            return False
        if not contender.is_proxy:
            return workload.with_direct
        if not workload.with_peers and not isinstance(contender, peers.Pgveil):
            return False
        return workload.pump or contender.knows(mode, self._place.postgres_major)


def _ends(workload):
    return workload.pump, workload.checks_clients


def _add_differences(rows, turn):
    """What each adds to the latency of the server alone."""
    alone = rows.get("direct", {}).get(turn, {}).get("p50_us")
    for name, rounds in rows.items():
        if alone is not None and name != "direct" and "p50_us" in rounds.get(turn, {}):
            rounds[turn]["added_p50_us"] = rounds[turn]["p50_us"] - alone


def check_encryption(place, running, mode):
    """Asks both ends how they see a contender's session: a proxy without TLS would win everything."""
    query = """SELECT coalesce(version || ' ' || cipher,
                               CASE WHEN client_addr IS NULL THEN 'a Unix socket' ELSE 'plaintext' END)
               FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE pid = pg_backend_pid()"""
    server = place.run("psql", "-XAtc", query, env=running.libpq).strip()
    client = place.run("psql", "-Xc", "\\conninfo", env=running.libpq)
    found = re.search(r"TLSv[\d.]+", client)
    client = found[0] if found else "plaintext"
    if running.pid is None:
        return f"without a proxy: {server}"
    wanted = ("TLS" if mode.tls_clients else "plaintext", "TLS" if mode.tls_server else "a Unix socket")
    if not (client.startswith(wanted[0]) and server.startswith(wanted[1])):
        raise Failure(f"{running.name}, {mode.name}: {client} from the client, {server} to the server")
    return f"{client} from the client, {server} to the server"
