"""The checks that a mutant must not pass: campaign, model check; and what the golden scenarios say of it."""
from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

from workshop import Workshop

HERE = Path(__file__).resolve().parent
SCENARIOS = "tests/sim/scenarios"
SEARCHES = (("--faults", "1"), ("--faults", "1", "--start"))
DEEP_WORLDS = ("pair", "hold", "three", "voter", "gated", "witness")
"""With two faults these are searched to the end in minutes; the worlds with several groups in no useful time."""
DEEP = (("--faults", "2", *(word for world in DEEP_WORLDS for word in ("--world", world))),)
PROVE_LIMIT_S = 3600.0
SCENARIOS_LIMIT_S = 120.0
# A core that asks to be woken for ever fills the log of a scenario.
LITTLE_ROOM = """import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
from twinbeat.cli import main
sys.exit(main(sys.argv[1:]))"""
TELL = 1500


class CheckError(Exception):
    """A check did not do its work: neither passed nor found anything."""


class Found(NamedTuple):
    """What a check says. `words`: what it found, the same on every machine; "" where it found nothing."""

    words: str
    seconds: float
    data: dict[str, Any]

    @property
    def caught(self) -> bool:
        """Whether it found anything."""
        return bool(self.words)


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    """The JSON that a check printed. CheckError when it printed none."""
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        raise CheckError(f"exit code {done.returncode}, no JSON: {(done.stdout + done.stderr)[-TELL:]}")


def campaign(shop: Workshop, first: int, runs: int) -> Found:
    """Random runs until one breaks what is promised, at most `runs`."""
    try:
        # The slowest machines do a hundred runs a second; a mutant that never ends a run is caught by that.
        data = answer(shop.run([str(HERE / "hunt.py"), str(first), str(runs)], 120 + runs / 100))
    except subprocess.TimeoutExpired as late:
        return Found("a run without an end", float(late.timeout), {"rule": "TIMEOUT"})
    if data["rule"] is None:
        return Found("", data["seconds"], data)
    words = f"run {data['runs']}: {data['rule']} ({data['world']}, {data['profile']}, seed {data['seed']})"
    return Found(words, data["seconds"], data)


def prove(shop: Workshop, deep: bool) -> Found:
    """The model check of every world: one fault, from even beating and from the start; `deep`: two in DEEP_WORLDS."""
    spent = 0.0
    told: list[Any] = []
    for words in SEARCHES + (DEEP if deep else ()):
        try:
            done = shop.run(["-m", "twinbeat", "prove", "--json", *words], PROVE_LIMIT_S)
        except subprocess.TimeoutExpired:
            return Found("a search without an end", spent + PROVE_LIMIT_S, {"worlds": told})
        worlds = answer(done)
        told += [{key: value for key, value in world.items() if key != "kinds"} for world in worlds]
        spent += sum(level["seconds"] for world in worlds for level in world["levels"])
        for world in worlds:
            if world["broken"]:
                return Found(counterexample(world), spent, {"worlds": told})
        if done.returncode:
            raise CheckError(f"prove {' '.join(words)}: exit code {done.returncode}: {done.stderr[-TELL:]}")
    return Found("", spent, {"worlds": told})


def counterexample(world: dict[str, Any]) -> str:
    """A counterexample in few words."""
    faults = world["levels"][-1]["faults"]
    deep = "no fault" if faults == 0 else "1 fault" if faults == 1 else f"{faults} faults"
    return f"{deep}: {world['broken']} ({world['world']}{', cold start' if world['from_start'] else ''})"


def scenarios(shop: Workshop) -> Found:
    """How many golden scenarios come out otherwise than written."""
    files = sorted(str(path.relative_to(shop.folder)) for path in (shop.folder / SCENARIOS).glob("*.scn"))
    began = time.monotonic()
    try:
        rows = answer(shop.run(["-c", LITTLE_ROOM, "sim", "--json", *files], SCENARIOS_LIMIT_S))
    except (subprocess.TimeoutExpired, CheckError):
        return Found("a run without an end", time.monotonic() - began, {})
    other = [f"{Path(row['file']).stem}: {row['title']}" for row in rows if not row["passes"]]
    words = f"{len(other)} of {len(rows)}" if other else ""
    return Found(words, time.monotonic() - began, {"all": len(rows), "otherwise": other})
