"""The command line of the demo: options, one run, its report and its exit code."""
from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinbeat.demo import explain
from twinbeat.demo.agents import PairSettings
from twinbeat.demo.faults import FAULTS, Fault
from twinbeat.demo.helper import RigError
from twinbeat.demo.measure import summary
from twinbeat.demo.rig import Rig
from twinbeat.demo.trial import TrialRecord, Trials
from twinbeat.demo.view import LineView, LiveView, View
from twinbeat.demo.voters import KINDS
from twinbeat_core.errors import TwinbeatError

EXIT_OK, EXIT_BROKEN, EXIT_NOT_SET_UP, EXIT_INTERRUPTED = 0, 1, 5, 130


@dataclass(frozen=True)
class Options:
    """The command line, checked. `trials` and `seconds` hold the fault's own defaults where nothing was asked."""

    fault: Fault
    trials: int
    seconds: float
    loss_percent: float
    settings: PairSettings
    load: bool
    as_json: bool
    seed: int
    keep: Path | None


def parse(argv: list[str] | None) -> Options:
    """Options from words; a wrong one ends with a message and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="twinbeat demo",
        description="Runs two agents on this machine, injects a fault, and shows what two relay boards saw of it, or "
                    "the contacts of an arbiter. With --third-voter the pair has a vote that neither node casts: every "
                    "link between the nodes may then be cut, and one of them goes on driving.")
    parser.add_argument("--fault", choices=list(FAULTS), default="kill", help="what happens (default: kill)")
    parser.add_argument("--trials", type=_number(int, 1, 100_000), help="how often (default: by fault, 1 to 5)")
    parser.add_argument("--seconds", type=_number(float, 0, 86_400), help="how long a cut, loss or calm lasts")
    parser.add_argument("--loss", type=_number(float, 0, 100), metavar="PERCENT",
                        help="random loss of frames on both links, with any fault (default with --fault loss: 10)")
    parser.add_argument("--period-ms", type=_number(float, 1, 1000), default=10.0,
                        help="serial heartbeat (default: 10)")
    parser.add_argument("--release-ms", type=_number(float, 0, 60_000), default=0.0,
                        help="release time of the relay boards, in the configuration and in judging overlaps")
    parser.add_argument("--lone", choices=["takeover", "hold"], default="takeover",
                        help="what a node does that hears nothing any more (default: takeover)")
    parser.add_argument("--third-voter", choices=KINDS, help="give the pair a third vote (default: none)")
    parser.add_argument("--gated", action="store_true",
                        help="the arbiter's contacts are the outputs, and its contact log tells who drives")
    parser.add_argument("--load", action="store_true", help="busy interpreter in both agents, and every core busy")
    parser.add_argument("--seed", type=int, help="seed of everything random (default: a new one each time)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep configuration, logs and changes in DIR")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of words")
    given = parser.parse_args(argv)
    fault = FAULTS[given.fault]
    if fault.needs and given.third_voter not in fault.needs:
        parser.error(f"--fault {fault.name} needs --third-voter {' or '.join(fault.needs)}")
    if given.gated and given.third_voter != "arbiter":
        parser.error("--gated needs --third-voter arbiter: its contacts are then the outputs")
    loss = given.loss if given.loss is not None else 10.0 if fault.name == "loss" else 0.0
    return Options(
        fault=fault,
        trials=given.trials or fault.default_trials,
        seconds=fault.default_seconds if given.seconds is None else given.seconds,
        loss_percent=loss,
        settings=PairSettings(given.period_ms, given.lone, given.release_ms, given.load,
                              third_voter=given.third_voter, gated=given.gated),
        load=given.load,
        as_json=given.json,
        seed=random.SystemRandom().randrange(1 << 31) if given.seed is None else given.seed,
        keep=given.keep,
    )


def _number(kind: type[int] | type[float], low: float, high: float) -> Any:
    def convert(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is outside of {low:g} to {high:g}")
        return value

    convert.__name__ = "whole number" if kind is int else "number"
    return convert


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
    with _directory(options.keep) as directory:
        rig = Rig(directory, options.settings, options.seed, options.load)
        view = _view(options, rig)
        records: list[TrialRecord] = []
        try:
            view.say(f"starting two agents: heartbeats every {options.settings.period_ms:g} ms, "
                     f"broker {rig.broker.version()}{_voter_words(options.settings)}")
            with rig:
                trials = Trials(rig, options.fault, options.trials, options.seconds, options.loss_percent,
                                options.seed, view.begin)
                for record in trials.records():
                    records.append(record)
                    view.record(record)
                machine = trials.machine()
        finally:
            view.close()
            if options.keep is not None:
                _write_changes(directory / "changes.json", records)
        report = make_report(options, records, machine, trials.use)
    if options.as_json:
        print(json.dumps(report))
    else:
        print("\n".join(_closing(options, report)))
    return exit_code(options, report)


def _voter_words(settings: PairSettings) -> str:
    if settings.third_voter is None:
        return ""
    return f", third voter {settings.third_voter}{' with the outputs on its contacts' if settings.gated else ''}"


def make_report(options: Options, records: list[TrialRecord], machine: dict[str, Any],
                use: dict[str, dict[str, float | None]]) -> dict[str, Any]:
    """The JSON answer."""
    return {
        "fault": options.fault.name,
        "trials": len(records),
        "period_ms": options.settings.period_ms,
        **summary([record.figures for record in records]),
        "machine": {**machine, "seed": options.seed, "loss_percent": options.loss_percent, "seconds": options.seconds,
                    "release_ms": options.settings.release_ms, "lone": options.settings.lone,
                    "gated": options.settings.gated},
        "agents": use,
    }


def exit_code(options: Options, report: dict[str, Any]) -> int:
    """1 when two drove at once, or nobody did, where twinbeat promises that this does not happen."""
    double = report["double_driver_trials"] > 0 and not options.fault.double_allowed(options.settings)
    nobody = report["no_driver_trials"] > 0 and not options.fault.undriven_allowed(options.settings)
    return EXIT_BROKEN if double or nobody else EXIT_OK


def _closing(options: Options, report: dict[str, Any]) -> list[str]:
    machine = report["machine"]
    fifo = "SCHED_FIFO permitted" if machine["sched_fifo"] else "SCHED_FIFO not permitted: expect worse figures"
    seen = "by the arbiter's contact log" if options.settings.gated else "as the relay boards saw it"
    lines = [f"{options.fault.name}, {seen}:", *explain.table(report),
             f"  {machine['cpus']} x {machine['model']}, Linux {machine['kernel']}, Python {machine['python']}, "
             f"{fifo}, machine busy {machine['busy_percent']:.0f} %, seed {machine['seed']}"]
    if exit_code(options, report) == EXIT_BROKEN:
        lines.append("  A PROMISE WAS BROKEN: see the counts; run again with --keep DIR for everything that was seen")
    return lines


def _view(options: Options, rig: Rig) -> View:
    if options.as_json:
        return View()
    if sys.stdout.isatty():
        return LiveView(options.trials, rig.timeline)
    return LineView(options.trials)


def _write_changes(path: Path, records: list[TrialRecord]) -> None:
    path.write_text(json.dumps([
        {"trial": record.number, "driver": record.driver, "fault_ns": record.fault_ns, "end_ns": record.end_ns,
         "changes": [[change.at_ns - record.fault_ns, change.node, change.on, change.cause]
                     for change in record.changes], "why": record.why}
        for record in records], indent=1) + "\n")


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
