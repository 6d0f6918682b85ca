"""The command line of the benchmark: runs everything, prints one Markdown table."""
from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twinbeat.bench import arbiter_trip, keepalived, many_groups, rolling, shards, witness_load
from twinbeat.bench.runs import Results, Row
from twinbeat.bench.simulated import MEASURES, SimulatedError
from twinbeat.bench.steps import step_ns
from twinbeat.bench.table import NAMES, ROWS, RUNS, SETS
from twinbeat.demo import procs
from twinbeat.demo.broker import find_broker
from twinbeat.version import __version__
from twinbeat_core.errors import TwinbeatError

KEEPALIVED_TRIALS = (20, 3)
KEEPALIVED_SECONDS = (60, 5)
WITNESS_LOAD = ((5000, 20.0), (500, 3.0))     # pairs, seconds: full, quick
TRIAL_LIMIT_S = 20
START_LIMIT_S = 120


def main(argv: list[str] | None) -> int:
    """Runs what is asked for; 0 whenever it ran, whatever the figures are."""
    words = sys.argv[1:] if argv is None else argv
    options = _parser().parse_args(words)
    wanted = {*(options.only or []), *(name for rows in options.rows or [] for name in SETS[rows])} or set(NAMES)
    failures: dict[str, str] = {}
    results = _measure(wanted, options.quick, failures)
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["twinbeat", "bench", *words]),
        "machine": machine(),
        "results": results,
        "failures": failures,
        "rows": [_row(row, results, failures) for row in ROWS if wanted & set(row.needs)],
    }
    print("\n".join(markdown(report)))
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="twinbeat bench",
        description="Measures takeover, loss and cost on this machine, beside keepalived where that is installed "
                    "(in network namespaces of its own, as root). The full run takes about an hour.")
    parser.add_argument("--quick", action="store_true", help="few trials: a look, not a measurement")
    parser.add_argument("--only", choices=NAMES, action="append", metavar="NAME",
                        help=f"only this; may be given again. One of {', '.join(NAMES)}")
    parser.add_argument("--rows", choices=list(SETS), action="append",
                        help="only the rows about these; may be given again, and together with --only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured to FILE")
    return parser


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {"cpus": procs.cpu_count(), "model": procs.cpu_model(), "arch": platform.machine(),
            "kernel": platform.release(), "python": platform.python_version(), "twinbeat": __version__,
            "sched_fifo": procs.fifo_permitted(), "root": os.geteuid() == 0, "broker": find_broker()}


def _measure(wanted: set[str], quick: bool, failures: dict[str, str]) -> Results:
    results: Results = {}
    runs = [run for run in RUNS if run.name in wanted]
    for number, run in enumerate(runs, 1):
        _say(f"[{number}/{len(runs)}] {shlex.join(['twinbeat', 'demo', *run.words(quick)])}")
        answer = _demo(run.words(quick), run.trials[quick], run.seconds[quick])
        if isinstance(answer, str):
            failures[run.name] = answer
            _say(f"  failed: {answer}")
        else:
            results[run.name] = answer
    if "core" in wanted:
        _say("core step")
        nogil_ns, python_ns = step_ns()
        results["core"] = {"nogil_ns": nogil_ns, "python_ns": python_ns}
    for name, measure in MEASURES.items():
        if name in wanted:
            _say(f"simulator: {name}")
            try:
                results[name] = measure(quick)
            except SimulatedError as error:
                failures[name] = str(error)
    results.update(_by_themselves(wanted, quick, failures))
    if "keepalived" in wanted:
        results.update(_keepalived(quick, failures))
    return results


def _by_themselves(wanted: set[str], quick: bool, failures: dict[str, str]) -> Results:
    """What no single run of the demo can tell."""
    asks: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
        "arbiter-trip": ("third voter", lambda: arbiter_trip.measure(quick)),
        "witness": ("third voter", lambda: _witness(quick)),
        "many-groups": ("hot-hot", lambda: many_groups.measure(quick, _demo, _say)),
        "upgrade": ("rolling", lambda: rolling.measure(quick, _say)),
        "shards": ("hot-hot", lambda: shards.measure(quick)),
    }
    found: Results = {}
    for name, (what, ask) in asks.items():
        if name in wanted:
            _say(f"{what}: {name}")
            try:
                found[name] = ask()
            except (TwinbeatError, OSError) as error:
                failures[name] = str(error)
    return found


def _witness(quick: bool) -> dict[str, Any]:
    return witness_load.measure(*WITNESS_LOAD[quick])


def _demo(options: list[str], trials: int, seconds: float) -> dict[str, Any] | str:
    """The JSON answer of one demo, or why there is none."""
    words = [sys.executable, "-m", "twinbeat.demo", *options, "--json"]
    limit_s = START_LIMIT_S + trials * (TRIAL_LIMIT_S + seconds)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, err = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            return f"no end within {limit_s} s"
        finally:
            if process.poll() is None:
                process.terminate()    # it cleans up and ends
                process.communicate()
    try:
        answer = json.loads(out)
    except ValueError:
        return err.strip().splitlines()[-1] if err.strip() else f"it ended with code {process.returncode}"
    return answer if isinstance(answer, dict) else "no figures in its answer"


def _keepalived(quick: bool, failures: dict[str, str]) -> Results:
    reason = keepalived.unavailable()
    if reason is not None:
        failures["keepalived"] = reason
        _say(f"keepalived: not measured, {reason}")
        return {}
    try:
        with tempfile.TemporaryDirectory(prefix="twinbeat-bench-") as directory:
            found = keepalived.measure(Path(directory), KEEPALIVED_TRIALS[quick], KEEPALIVED_SECONDS[quick], _say)
    except (TwinbeatError, OSError, subprocess.TimeoutExpired) as error:
        failures["keepalived"] = str(error)
        _say(f"keepalived: not measured, {error}")
        return {}
    return {f"keepalived/{name}": result for name, result in found.items()}


def _row(row: Row, results: Results, failures: dict[str, str]) -> dict[str, Any]:
    missing = [name for name in row.needs if name not in results]
    if missing:
        reasons = "; ".join(f"{name}: {failures.get(name, 'not asked for')}" for name in missing)
        return {"what": row.what, "target": row.target, "reached": f"not measured ({reasons})", "met": None,
                "keepalived": "–"}
    return {"what": row.what, "target": row.target, "reached": row.reached(results), "met": row.met(results),
            "keepalived": row.keepalived(results)}


def markdown(report: dict[str, Any]) -> list[str]:
    """The table with what one has to know to read it."""
    facts = report["machine"]
    fifo = "SCHED_FIFO permitted" if facts["sched_fifo"] else "SCHED_FIFO not permitted"
    machines = [result.get("machine", {}) for result in report["results"].values()]
    busy = [machine["busy_percent"] for machine in machines if "busy_percent" in machine]
    measured = f", busy {min(busy):.0f} to {max(busy):.0f} % during the runs" if busy else ""
    lines = [
        "| what | target | reached | keepalived here |",
        "|---|---|---|---|",
    ]
    for row in report["rows"]:
        mark = {True: "", False: " (target missed)", None: ""}[row["met"]]
        lines.append(f"| {row['what']} | {row['target']} | {row['reached']}{mark} | {row['keepalived']} |")
    trials = ", ".join(f"{name} {result['trials']}" for name, result in report["results"].items() if "trials" in result)
    lines += [
        "",
        f"Measured {report['date']} with `{report['command']}`, twinbeat {facts['twinbeat']}: {facts['cpus']} x "
        f"{facts['model']} ({facts['arch']}), Linux {facts['kernel']}, Python {facts['python']}, {fifo}{measured}.",
        "Both agents, the wire, the broker and the boards share this machine; the wire is a pty and has no baud rate. "
        "Figures are taken from what the relay boards received (keepalived: from its address coming and going; "
        "where the arbiter gates the outputs: from the log of its emulated contacts, 3 ms to close and 4 ms to open); "
        "with up to 100 trials the p99 is one of the two largest samples. Every shard and group has a relay board "
        "of its own; figures of lost shards and of handovers are of each by itself.",
    ]
    if trials:
        lines.append(f"Trials: {trials}.")
    lines += [f"Not measured: {name}: {reason}." for name, reason in report["failures"].items()]
    return lines


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
