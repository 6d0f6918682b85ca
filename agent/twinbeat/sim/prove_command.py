"""`twinbeat prove`: the model check from the command line."""
from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from twinbeat.cli_options import Parser
from twinbeat.errors import UsageError
from twinbeat.sim.prove import KINDS, Bounds, Proof, confirm, prove
from twinbeat.sim.scenario import to_text
from twinbeat.sim.spec import MS, RULE_TEXT
from twinbeat.sim.worlds import shape

WORLDS = ("pair", "hold", "three", "voter", "gated", "witness", "hothot", "spare", "overlap")
EXIT_OK, EXIT_BROKEN = 0, 1
ABOUT = """\
Every schedule of up to so many faults is followed, with a fault tried before each step of the compiled core and
on each frame under way: lost, late, doubled; a worker killed or stalled, a node without power or without its disk,
back soon or late; a link or all of them cut; a handover asked for; an output dropped; a node unfit, or unable to
prepare for a handover; the third voter killed or cut off. Way, lateness and release take their longest time, the
clocks are as far apart as allowed. Fewer faults come first, so a counterexample has as few as there can be. It is
printed as a scenario that `twinbeat sim` plays.
"""


def main(words: list[str]) -> int:
    """Search; exit code 1 when a promise is broken."""
    given = build_parser().parse_args(words)
    bounds = Bounds(faults=given.faults, window_ns=round(given.window_ms * MS), limit=given.limit,
                    kinds=given.kinds, from_start=given.start)
    proofs = []
    for name in given.world or WORLDS:
        shape(name)                      # an unknown one is said before anything long begins
    for name in given.world or WORLDS:
        proof = prove(name, bounds, tell if sys.stderr.isatty() else lambda text: None)
        proofs.append(proof)
        if proof.found is not None and given.save:
            save(proof, Path(given.save))
    if given.json:
        print(json.dumps([as_json(proof) for proof in proofs], indent=2))
    else:
        print("\n".join(line for proof in proofs for line in text_of(proof)))
    return EXIT_BROKEN if any(proof.found for proof in proofs) else EXIT_OK


def build_parser() -> Parser:
    """The options of `twinbeat prove`."""
    parser = Parser(prog="twinbeat prove", description=ABOUT)
    parser.add_argument("--world", action="append", metavar="NAME",
                        help=f"one of {', '.join(WORLDS)}; more than once for several (default: all of them)")
    parser.add_argument("--faults", type=count(0, 6), default=2, metavar="N",
                        help="most faults in a schedule (default 2)")
    parser.add_argument("--window-ms", type=milliseconds, default=10.0, metavar="MS",
                        help="the first fault comes within this time of even beating (default 10, one beat)")
    parser.add_argument("--start", action="store_true", help="begin with the start of all nodes, not with even beating")
    parser.add_argument("--kinds", type=kinds, default=frozenset(KINDS), metavar="LIST",
                        help=f"only these faults, with commas between: {','.join(KINDS)}")
    parser.add_argument("--limit", type=count(1, 1 << 40), default=1 << 32, metavar="STATES",
                        help="stop each search after so many states (default 4294967296)")
    parser.add_argument("--save", metavar="DIR", help="write a counterexample as a scenario file there")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def count(low: int, high: int) -> Any:
    """A whole number within bounds."""
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise UsageError(f'"{text}" is no number from {low} to {high}')
        return int(text)
    return read


def milliseconds(text: str) -> float:
    """A time above 0 and up to a minute."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 60_000:
        raise UsageError(f'--window-ms: "{text}" is no time in ms above 0 and up to 60000')
    return value


def kinds(text: str) -> frozenset[str]:
    """Names of faults with commas between."""
    chosen = frozenset(part.strip() for part in text.split(","))
    unknown = sorted(chosen - set(KINDS))
    if unknown:
        raise UsageError(f'--kinds: "{unknown[0]}" is no kind of fault; kinds: {", ".join(KINDS)}')
    return chosen


def tell(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def text_of(proof: Proof) -> list[str]:
    """What a person reads about one world."""
    lines = [f"{proof.world}:"]
    for level in proof.levels:
        speed = level.states / level.seconds if level.seconds else 0.0
        lines.append(
            f"  {level.faults} fault{'s' if level.faults != 1 else ' '}: {level.schedules} schedules,"
            f" {level.states} states ({level.kept} kept, {level.merged} met again), up to {level.depth} steps,"
            f" {level.seconds:.1f} s, {speed:,.0f} states/s")
    if not proof.complete:
        lines.append("  the limit was reached: not every schedule was followed; none that was broke a promise")
    elif proof.found is None:
        lines.append("  every schedule within the bounds keeps the promises")
    if proof.found is not None:
        assert proof.rule is not None
        lines.append(f"  BROKEN: {RULE_TEXT[proof.rule]}"
                     + ("" if confirm(proof) else " (the simulator alone does not show it: please report this)"))
        lines += ["", scenario_of(proof)]
    return lines


def scenario_of(proof: Proof) -> str:
    """The counterexample as a scenario file."""
    assert proof.found is not None
    assert proof.rule is not None
    actions = proof.found.actions
    return to_text(proof.shape, actions, 1, f"counterexample in the world {proof.world}", RULE_TEXT[proof.rule],
                   proof.until_ns)


def save(proof: Proof, folder: Path) -> None:
    """Write the counterexample. UsageError where that is impossible."""
    path = folder / f"prove-{proof.world}-{os.getpid()}.scn"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(scenario_of(proof), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--save {folder}: {error.strerror}: give a folder that can be written") from None
    print(f"counterexample written to {path}", file=sys.stderr)


def as_json(proof: Proof) -> dict[str, Any]:
    """What a program reads about one world."""
    return {
        "world": proof.world,
        "faults": proof.bounds.faults,
        "window_ms": proof.bounds.window_ns / MS,
        "kinds": sorted(proof.bounds.kinds),
        "from_start": proof.bounds.from_start,
        "levels": [asdict(level) for level in proof.levels],
        "complete": proof.complete,
        "broken": proof.rule.name if proof.rule is not None else None,
        "scenario": scenario_of(proof) if proof.found is not None else None,
    }
