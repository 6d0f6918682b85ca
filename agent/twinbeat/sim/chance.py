"""Random worlds and random schedules of faults. Everything is drawn with `Rng` from one seed: the same on any machine.

The seed of a run names its world and its faults. The runs of one block of seeds share a world, so that a campaign
builds few engines; the faults are drawn anew for each seed.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from twinbeat.sim.chance_draw import ALONE, BESIDE, Draw, Fault
from twinbeat.sim.chance_faults import faults_of
from twinbeat.sim.engine import Rng
from twinbeat.sim.spec import MS, Action, Verb
from twinbeat.sim.worlds import Shape, shape

T = TypeVar("T")
BLOCK = 16
"""Runs whose seeds agree but for their last four bits share a world."""
WORLD_NAMES = ("pair", "hold", "three", "voter", "gated", "witness", "hothot", "spare", "overlap", "many")
PROFILES = {
    "single": "one fault after the other, each healed before the next",
    "double": "two documented faults at a time, then healed",
    "wild": "anything at any time, several at once",
}
SETTLED_NS = 900 * MS
"""When a world that started undisturbed is taken to have settled; a longer release time is added."""
MASK = (1 << 64) - 1
STRIDE = 0xD1342543DE82EF95
SALTED = (*WORLD_NAMES[:4], *PROFILES, *WORLD_NAMES[4:])
"""A world that came later stands at the end, so that the seeds of the others go on meaning the same runs."""
SALT = {name: 0xA0761D6478BD642F + 2 * number for number, name in enumerate(SALTED)}

LINKS = (("serial", "mqtt"), ("serial", "mqtt"), ("serial", "mqtt"), ("udp", "mqtt"), ("serial", "udp"),
         ("serial", "udp", "mqtt"), ("serial",), ("mqtt",))
RELEASE_MS = (0.0, 2.0, 2.0, 2.0, 12.0, 12.0, 40.0, 300.0)
MAKE_MS = (0.0, 0.0, 0.0, 1.0, 5.0, 12.0)
FALLS_AFTER_MS = (-1.0, -1.0, -1.0, 0.0, 2.0)
DRIFT_PPM = (0.0, 100.0, 500.0, 1000.0, 1000.0)
GATE_LATE_MS = (0.0, 0.5, 4.9, 4.9)
LONELY_MS = (300.0, 600.0, 2000.0, 2000.0)
MANY = 5
"""Groups at least in the world "many": above four changes of role are spaced (Q5)."""
SHARING = ("hothot", "spare", "overlap")
PREPARE_MS = (0.0, 20.0, 60.0)
LOAD_GAPS = (0, 30, 30)
LENGTHS_MS = (1, 2, 5, 5, 10, 20, 20, 40, 80, 80, 150, 200, 500, 500, 1500, 3000)
PAUSES_MS = (1, 5, 20, 60, 150, 400, 900)


class Schedule(NamedTuple):
    """The actions of a run, and for each the fault it belongs to, its circumstances and whether it began the fault."""

    actions: list[Action]
    faults: list[str]
    circumstances: list[int]
    begins: list[bool]


def chance(seed: int, purpose: str) -> Rng:
    """The generator for one purpose of one seed; that of the engine has the seed itself and so another sequence."""
    return Rng((seed * STRIDE + SALT[purpose]) & MASK)


def pick(rng: Rng, choices: Sequence[T]) -> T:
    """One of the choices."""
    return choices[rng.below(len(choices))]


def world_of(world: str, seed: int) -> str:
    """The name of a run's world: the one asked for; for "all" each has its turn, a block at a time."""
    return WORLD_NAMES[seed // BLOCK % len(WORLD_NAMES)] if world == "all" else world


def draw_shape(world: str, seed: int) -> Shape:
    """The fields of the world of this seed's block, all within what is promised: drift, lateness of the gate."""
    rng = chance(seed // BLOCK, world)
    groups = 1 + max(0, rng.below(5) - 2)
    more: dict[str, object] = {}
    if world in SHARING:
        groups += 1                      # one alone shares nothing
    if world == "many":
        groups += MANY
    if world == "hothot":
        more = {"prepare_ms": pick(rng, PREPARE_MS), "load_gap": pick(rng, LOAD_GAPS)}
    return shape(
        world,
        **more,
        links=pick(rng, LINKS),
        groups=groups,
        release_ms=pick(rng, RELEASE_MS),
        make_ms=pick(rng, MAKE_MS),
        hold_ms=pick(rng, FALLS_AFTER_MS),
        drift_ppm=pick(rng, DRIFT_PPM),
        gate_late_ms=pick(rng, GATE_LATE_MS),
        lonely_ms=pick(rng, LONELY_MS),
        worst=rng.below(12) == 0,
        nodes=pick(rng, (2, 2, 3)) if world == "hothot" else shape(world).nodes,
    )


class Ground:
    """What the drawing of schedules needs to know of a shape, and which faults each profile draws from."""

    def __init__(self, of: Shape, profile: str) -> None:
        self.shape = of
        self.profile = profile
        settings = of.spec().settings[0]
        core = settings.compile()
        longest_ms = max(core.grant_max_ms, core.third_grant_ms)
        planned_ms = of.failback_ms + of.hold_down_max_ms + of.groups * (of.move_gap_ms + of.prepare_ms)
        self.settle_ns = round((2 * longest_ms + of.release_ms + of.make_ms + 300) * MS)
        self.settle_ns += round(planned_ms * MS) if of.planned else 0
        self.faults: tuple[Fault, ...] = faults_of(of, profile)

    def draw(self, seed: int, heal_ns: int) -> Schedule:
        """The faults of one run, from the start of the nodes to HEAL_ALL at `heal_ns`."""
        draw = Draw(chance(seed, self.profile), self.shape, exact=self.profile != "wild")
        if self.profile == "wild":
            self._wild(draw, heal_ns)
        else:
            self._ordered(draw, heal_ns, 2 if self.profile == "double" else 1)
        rows = [row for row in draw.rows if row[0] < heal_ns]
        rows.sort()
        after = [Action(heal_ns, Verb.HEAL_ALL)]
        if self.shape.nodes > 2 and self.profile == "wild" and draw.rng.below(8) == 0:
            # One of three goes deaf for good: the others must have a driver among them all the same.
            after.append(Action(heal_ns + 1, Verb.CUT, peer=draw.rng.below(self.shape.nodes)))
        return Schedule(
            actions=[row[2] for row in rows] + after,
            faults=[row[3] for row in rows] + ["healing", "deaf for good"][:len(after)],
            circumstances=[row[4] for row in rows] + [BESIDE] * len(after),
            begins=[row[5] for row in rows] + [True] * len(after),
        )

    def _ordered(self, draw: Draw, heal_ns: int, at_once: int) -> None:
        """`at_once` faults that overlap, a pause in which the world settles, and so on."""
        rng, faults = draw.rng, self.faults
        draw.start_all(400 * MS)
        now = SETTLED_NS + self.settle_ns
        draw.circumstances = BESIDE if at_once > 1 else ALONE
        if rng.below(4) == 0:
            draw.background_loss(now)
        while now < heal_ns:
            now += rng.below(20 * MS)
            end = now
            for _ in range(at_once):
                at = now if end <= now else now + rng.below(end - now)
                lasts_ns = pick(rng, LENGTHS_MS) * (rng.between(700, 1500) * MS // 1000)
                end = max(end, draw.fault(pick(rng, faults), at, lasts_ns))
            now = end + self.settle_ns

    def _wild(self, draw: Draw, heal_ns: int) -> None:
        """Few kinds of faults in one run, many over all runs; their pace differs from run to run."""
        rng = draw.rng
        draw.circumstances = BESIDE
        draw.start_some(700 * MS)
        few = [pick(rng, self.faults) for _ in range(2 + rng.below(9))]
        pace_ms = pick(rng, PAUSES_MS)
        now = 0 if rng.below(4) == 0 else SETTLED_NS
        limit = 60
        while now < heal_ns and limit:
            limit -= 1
            lasts_ns = pick(rng, LENGTHS_MS) * (rng.between(300, 1500) * MS // 1000)
            draw.fault(pick(rng, few), now, lasts_ns)
            if rng.below(8):
                now += pace_ms * (rng.below(2500) * MS // 1000)
            if rng.below(16) == 0:
                now += self.settle_ns


def heal_at(seconds: float, rest_ns: int) -> int:
    """When a run of so many simulated seconds heals: what the settling leaves of it, at least a half."""
    total_ns = round(seconds * 1000 * MS)
    return max(total_ns - rest_ns, total_ns // 2)
