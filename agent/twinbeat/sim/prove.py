"""The model check's worlds, faults and bounds, and what a search found, put into words."""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from twinbeat.sim.engine import Engine
from twinbeat.sim.explore import Choice, Explorer, Found
from twinbeat.sim.spec import ALL, MS, Action, Rule, Verb
from twinbeat.sim.worlds import Shape, shape

TABLE_BITS = 22
"""Room for 3.3 million kept states, 32 MiB."""
BOOT_NS = 3_000 * MS
"""Long enough that every world has settled and beats evenly."""


KINDS = ("loss", "late", "twice", "kill", "power", "disk", "stall", "cut", "handover", "drop", "voter", "unfit",
         "unprepared")
"""Kinds of faults; the first three are of single frames."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What is searched: up to `faults` faults, the first within window_ns of even beating, `limit` states at most.

    With `from_start` the window is the whole cold start, until the roles have settled.
    """

    faults: int = 2
    window_ns: int = 10 * MS
    limit: int = 1 << 32
    kinds: frozenset[str] = frozenset(KINDS)
    from_start: bool = False


@dataclass(frozen=True, kw_only=True)
class Level:
    """One number of faults: `states` reached and judged, `kept` of them to try faults from, `merged` met again."""

    faults: int
    states: int
    kept: int
    schedules: int
    merged: int
    depth: int
    seconds: float
    complete: bool


@dataclass(kw_only=True)
class Proof:
    """The whole answer for one world; `found` is a schedule that breaks `rule`, with as few faults as there can be."""

    world: str
    shape: Shape
    bounds: Bounds
    levels: list[Level] = field(default_factory=list)
    found: Found | None = None
    until_ns: int = 0

    @property
    def rule(self) -> Rule | None:
        """The rule that the found schedule breaks."""
        return Rule(self.found.rule) if self.found else None

    @property
    def complete(self) -> bool:
        """Whether every schedule within the bounds was followed."""
        return all(level.complete for level in self.levels)


def small(name: str) -> Shape:
    """The world as the search takes it: worst times, clocks apart by the whole bound, short promises, a near voter."""
    links = ("serial", "udp") if name in ("pair", "hold", "hothot", "overlap") else ("udp",)
    moves = {"failback_ms": 40.0, "hold_down_ms": 20.0, "hold_down_max_ms": 40.0}
    more: dict[str, dict[str, object]] = {
        "witness": {"third_period_ms": 30.0, "third_rtt_ms": 10.0, "third_reask_ms": 10.0, "third_way_ms": 4.0},
        "hothot": {"groups": 2, "load_gap": 0, "prepare_ms": 15.0, **moves},
        "spare": dict(moves),
    }
    return shape(name, **more.get(name, {}), third_abstain_ms=120.0, links=links, worst=True,
                 drift_ppm=1000.0, gate_late_ms=5.0, grant_max_ms=50.0, release_ms=2.0, stagger_ms=5.0)


def choices(world: Shape, kinds: frozenset[str], grant_ns: int, period_ns: int) -> list[Choice]:
    """Every fault of a node, before each step of that node; cuts and commands before any step of it too."""
    made: list[Choice] = []

    def add(kind: str, verb: Verb, node: int, lasts_ns: int = 0, **more: int) -> None:
        if kind in kinds:
            made.append(Choice(Action(0, verb, node, lasts_ns=lasts_ns, **more), node))

    soon, later = period_ns * 4 // 5, world_grant_max(world) * 3 // 2
    for node in range(world.nodes):
        for lasts_ns in (soon, later):
            add("kill", Verb.KILL, node, lasts_ns)
            add("power", Verb.POWER, node, lasts_ns)
        add("disk", Verb.POWER, node, soon, value=1)
        for lasts_ns in (period_ns * 2 // 5, grant_ns * 3 // 4, grant_ns * 3 // 2):
            add("stall", Verb.STALL, node, lasts_ns)
        add("cut", Verb.CUT, node, grant_ns * 3 // 2, peer=ALL, link=0)
        add("cut", Verb.CUT, node, grant_ns * 3 // 2)
        add("handover", Verb.HANDOVER, node)
        add("drop", Verb.DROP, node)
        if world.planned or world.shared:
            add("unfit", Verb.HEALTH, node, grant_ns)
        if world.prepare_ms:
            add("unprepared", Verb.PREPARE, node, grant_ns)
        if world.voter:
            add("voter", Verb.VOTER_KILL, node, soon)
            add("voter", Verb.VOTER_CUT, node, grant_ns)
            add("voter", Verb.VOTER_CUT, node, grant_ns, value=2)
    return made


def world_grant_max(world: Shape) -> int:
    """The longest promise of a world in nanoseconds."""
    return round(world.spec().settings[0].compile().grant_max_ms * MS)


def prove(name: str, bounds: Bounds, tell: Callable[[str], None] = lambda text: None) -> Proof:
    """Search one world, one more fault at a time, until a rule is broken, the bounds are reached or no room is left."""
    world = small(name)
    settings = world.spec().settings[0].compile()
    grant_ns, period_ns = round(settings.grant_ms(0) * MS), round(world.spec().settings[0].links[0].period_ms * MS)
    delays = [period_ns * 2 // 5, period_ns * 5 // 2, grant_ns * 3 // 2] if "late" in bounds.kinds else []
    boot = [Action(0, Verb.START)]
    proof = Proof(world=name, shape=world, bounds=bounds)
    explorer = Explorer(world.spec(), boot, choices(world, bounds.kinds, grant_ns, period_ns), delays, TABLE_BITS,
                        lose="loss" in bounds.kinds, twice="twice" in bounds.kinds)
    begin_ns = 1 if bounds.from_start else BOOT_NS
    window_ns = 0
    for faults in range(bounds.faults + 1):
        began = time.perf_counter()
        first_ns = explorer.bound_ns if bounds.from_start else bounds.window_ns
        # Faults may come during one even beat, and each further one until the roles have settled after the one before.
        window_ns = first_ns + max(faults - 1, 0) * explorer.bound_ns
        figures = explorer.search(faults, begin_ns, window_ns, bounds.limit)
        proof.found = figures.pop("found")
        proof.levels.append(Level(faults=faults, seconds=time.perf_counter() - began, **figures))
        tell(f"{name}: {faults} fault{'s' * (faults > 1)}: {figures['states']} states")
        if proof.found or not figures["complete"]:
            break
    proof.until_ns = begin_ns + window_ns + 2 * explorer.bound_ns + 2 * world_grant_max(world)
    return proof


def confirm(proof: Proof) -> bool:
    """Whether the ordinary engine, given the found schedule as actions, breaks the same rule."""
    if proof.found is None:
        return False
    result = Engine(proof.shape.spec()).run(proof.found.actions, 1, proof.until_ns)
    return any(violation.rule == proof.rule for violation in result.violations) or proof.found.rule in (10, 11)
