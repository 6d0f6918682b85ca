"""One run of the demo from the command line to its report and its exit code."""
from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twinbeat.demo import explain, unit_report, unit_view
from twinbeat.demo.agents import PairSettings
from twinbeat.demo.helper import RigError
from twinbeat.demo.measure import Change, summary
from twinbeat.demo.options import Options, parse
from twinbeat.demo.rig import Rig
from twinbeat.demo.trial import TrialRecord, Trials
from twinbeat.demo.unit_trial import UnitRecord, UnitTrials
from twinbeat.demo.view import LineView, LiveView, View, trial_lines
from twinbeat_core.errors import TwinbeatError

EXIT_OK, EXIT_BROKEN, EXIT_NOT_SET_UP, EXIT_INTERRUPTED = 0, 1, 5, 130


def run(argv: list[str] | None) -> int:
    """One demo from the command line to its exit code."""
    options = parse(argv)
    try:
        with _termination_as_interrupt():
            return _run(options)
    except KeyboardInterrupt:
        print("twinbeat demo: interrupted; everything was ended", file=sys.stderr)
        return EXIT_INTERRUPTED
    except TwinbeatError as error:
        print(f"twinbeat demo: {error}", file=sys.stderr)
        return EXIT_NOT_SET_UP


def _run(options: Options) -> int:
    settings = options.settings
    with _directory(options.keep) as directory:
        rig = Rig(directory, settings, options.seed, options.load)
        view = _view(options, rig)
        records: list[TrialRecord] = []
        unit_records: list[UnitRecord] = []
        arguments = (options.fault, options.trials, options.seconds, options.loss_percent, options.seed, view.begin)
        try:
            count = "two" if len(rig.nodes) == 2 else "three"
            view.say(f"starting {count} agents: {_mode_words(settings)}heartbeats every {settings.period_ms:g} ms, "
                     f"broker {rig.broker.version()}{_voter_words(settings)}")
            with rig:
                trials = Trials(rig, *arguments) if settings.single else UnitTrials(rig, *arguments)
                for record in trials.records():
                    if isinstance(record, UnitRecord):
                        unit_records.append(record)
                        view.record(unit_view.trial_lines(record, options.trials))
                    else:
                        records.append(record)
                        view.record(trial_lines(record, options.trials))
                machine = trials.machine()
        finally:
            view.close()
            if options.keep is not None:
                _write_changes(directory / "changes.json", records, unit_records)
        report = make_report(options, records, machine, trials.use, unit_records)
    if options.as_json:
        print(json.dumps(report))
    else:
        print("\n".join(_closing(options, report)))
    return exit_code(options, report)


def _mode_words(settings: PairSettings) -> str:
    units = len(settings.layout.units)
    words = {"hot-hot": f"hot-hot with {units} shards, ", "overlap": "hot-hot, both drive, ",
             "hot-spare": "two groups and a spare for both, "}
    return words.get(settings.mode, "" if units == 1 else f"{units} groups, ")


def _voter_words(settings: PairSettings) -> str:
    if settings.third_voter is None:
        return ""
    return f", third voter {settings.third_voter}{' with the outputs on its contacts' if settings.gated else ''}"


def make_report(options: Options, records: list[TrialRecord], machine: dict[str, Any],
                use: dict[str, dict[str, float | None]],
                unit_records: list[UnitRecord] | None = None) -> dict[str, Any]:
    """The JSON answer."""
    settings = options.settings
    figures = {
        "fault": options.fault.name,
        "trials": len(records),
        "period_ms": settings.period_ms,
        **summary([record.figures for record in records]),
    } if settings.single else unit_report.make_report(options.fault, settings, unit_records or [])
    return {
        **figures,
        "machine": {**machine, "seed": options.seed, "loss_percent": options.loss_percent, "seconds": options.seconds,
                    "release_ms": settings.release_ms, "lone": settings.lone, "gated": settings.gated},
        "agents": use,
    }


def exit_code(options: Options, report: dict[str, Any]) -> int:
    """1 when two drove at once, or nobody did, where twinbeat promises that this does not happen."""
    return EXIT_BROKEN if unit_report.broken(options.fault, options.settings, report) else EXIT_OK


def _closing(options: Options, report: dict[str, Any]) -> list[str]:
    machine = report["machine"]
    fifo = "SCHED_FIFO permitted" if machine["sched_fifo"] else "SCHED_FIFO not permitted: expect worse figures"
    seen = "by the arbiter's contact log" if options.settings.gated else "as the relay boards saw it"
    table = explain.table(report) if options.settings.single else unit_report.table(report)
    lines = [f"{options.fault.name}, {seen}:", *table,
             f"  {machine['cpus']} x {machine['model']}, Linux {machine['kernel']}, Python {machine['python']}, "
             f"{fifo}, machine busy {machine['busy_percent']:.0f} %, seed {machine['seed']}"]
    if exit_code(options, report) == EXIT_BROKEN:
        lines.append("  A PROMISE WAS BROKEN: see the counts; run again with --keep DIR for everything that was seen")
    return lines


def _view(options: Options, rig: Rig) -> View:
    if options.as_json:
        return View()
    if sys.stdout.isatty() and not options.settings.single:
        return unit_view.UnitView(options.trials, rig.timeline, rig.layout)
    if sys.stdout.isatty():
        return LiveView(options.trials, rig.timeline)
    return LineView(options.trials)


def _write_changes(path: Path, records: list[TrialRecord], unit_records: list[UnitRecord]) -> None:
    written: list[dict[str, Any]] = [
        {"trial": record.number, "driver": record.driver, "fault_ns": record.fault_ns, "end_ns": record.end_ns,
         "changes": _changes(record.changes, record.fault_ns), "why": record.why} for record in records]
    written += [
        {"trial": record.number, "struck": record.struck, "fault_ns": record.at.fault_ns,
         "observed_ns": record.at.observed_ns, "end_ns": record.at.end_ns, "units": record.layout.units,
         "changes": [[*change, one.unit] for change, one in
                     zip(_changes(record.changes, record.at.fault_ns), record.changes, strict=True)],
         "why": record.why} for record in unit_records]
    path.write_text(json.dumps(written, indent=1) + "\n")


def _changes(changes: list[Change], fault_ns: int) -> list[list[Any]]:
    return [[change.at_ns - fault_ns, change.node, change.on, change.cause] for change in changes]


@contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        made = Path(tempfile.mkdtemp(prefix="twinbeat-demo-"))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RigError(f"--keep {keep}: the directory cannot be made: {error.strerror}") from error
    yield keep.resolve()


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP clean up just as Ctrl-C does."""
    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
