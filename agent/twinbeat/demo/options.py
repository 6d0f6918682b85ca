"""The options of the demo: words, what goes with what, and defaults that come with the mode and the fault."""
from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinbeat.demo.agents import PairSettings
from twinbeat.demo.faults import FAULTS, Fault
from twinbeat.demo.layout import DEFAULT_UNITS, MODES, UNITS_MAX
from twinbeat.demo.voters import KINDS

FAILBACK_AFTER_S = 1.0
MOVE_GAP_S = 0.3
MANY = 16                 # more units than that go home without waiting for one another


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
    parser = _parser()
    given = parser.parse_args(argv)
    fault = FAULTS[given.fault]
    wrong = _why_not(given, fault)
    if wrong:
        parser.error(wrong)
    loss = given.loss if given.loss is not None else 10.0 if fault.name == "loss" else 0.0
    units = given.shards or given.groups or DEFAULT_UNITS[given.mode]
    return Options(
        fault=fault,
        trials=given.trials or fault.default_trials,
        seconds=fault.default_seconds if given.seconds is None else given.seconds,
        loss_percent=loss,
        settings=PairSettings(given.period_ms, given.lone, given.release_ms, given.load,
                              third_voter=given.third_voter, gated=given.gated, mode=given.mode, units=units,
                              failback_after_s=FAILBACK_AFTER_S, move_gap_s=MOVE_GAP_S if units <= MANY else 0.0),
        load=given.load,
        as_json=given.json,
        seed=random.SystemRandom().randrange(1 << 31) if given.seed is None else given.seed,
        keep=given.keep,
    )


def _why_not(given: argparse.Namespace, fault: Fault) -> str:
    """Why these options do not go together; empty: they do."""
    if given.mode not in fault.modes:
        why = fault.not_there or f"it is there with --mode {' or '.join(fault.modes)}"
        return f"--fault {fault.name} makes no sense with --mode {given.mode}: {why}"
    if given.shards and given.mode != "hot-hot":
        return f"--shards {given.shards} needs --mode hot-hot: only its groups are split"
    if given.groups and given.mode != "hot-warm":
        return f"--groups {given.groups} needs --mode hot-warm: the other modes have groups of their own"
    if given.third_voter and (given.mode != "hot-warm" or (given.groups or 1) > 1):
        more = "hot-spare has a third node that votes" if given.mode == "hot-spare" else "shown with one group"
        return f"--third-voter {given.third_voter} goes with --mode hot-warm and one group: {more}"
    if given.lone == "hold" and given.mode in ("overlap", "hot-spare"):
        return f"--lone hold means nothing with --mode {given.mode}: nobody drives there by being alone"
    if fault.needs and given.third_voter not in fault.needs:
        return f"--fault {fault.name} needs --third-voter {' or '.join(fault.needs)}"
    if given.gated and given.third_voter != "arbiter":
        return "--gated needs --third-voter arbiter: its contacts are then the outputs"
    return ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="twinbeat demo",
        description="Runs two agents on this machine, or three, injects a fault, and shows what relay boards saw of "
                    "it, or the contacts of an arbiter. With --third-voter the pair has a vote that neither node "
                    "casts: every link between the nodes may then be cut, and one of them goes on driving.")
    parser.add_argument("--mode", choices=MODES, default="hot-warm",
                        help="hot-warm: one drives, the other follows; hot-hot: both drive, each its shards; overlap: "
                             "both drive everything; hot-spare: a third node backs two (default: hot-warm)")
    parser.add_argument("--shards", type=_number(int, 1, UNITS_MAX), help="of the hot-hot group (default: 8)")
    parser.add_argument("--groups", type=_number(int, 1, UNITS_MAX), help="of the hot-warm pair (default: 1)")
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
    return parser


def _number(kind: type[int] | type[float], low: float, high: float) -> Any:
    def convert(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is outside of {low:g} to {high:g}")
        return value

    convert.__name__ = "whole number" if kind is int else "number"
    return convert
