"""One run of `twinbeat verify`: its actions drawn from its seed, and what is read out of its result.

A run starts the nodes, waits until all groups have a driver, hands over until one node drives all of them, in half of
the runs another one than prefers to, then makes the fault at a random moment of the heartbeat, waits until everything
that follows from it is over, heals, and waits as long as settling may take.
"""
from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from twinbeat.sim.spec import ALL, MS, Action, Excuse, Gap, Rule, RunResult, Verb, WorldSpec
from twinbeat.sim.verify_faults import Chance, Fault, Scene
from twinbeat.sim.verify_world import Subject, variants

if TYPE_CHECKING:
    from twinbeat.sim.engine import Rng

SETTLING = frozenset({Rule.NO_DRIVER, Rule.TWO_AT_END, Rule.NOT_SETTLED})
START_SPREAD = 2
"""All start within the stagger divided by this, so that the preferred node is first."""
HANDOVER_SETTLES_NS = 100 * MS
SLACK_NS = 1 * MS
MASK = (1 << 64) - 1
WORST_EVERY = 3
HALVES = 2


class Runs(Protocol):
    """What of the engine is used."""

    bound_ns: int

    def run(self, actions: Sequence[Action], seed: int, until_ns: int, *, log: bool = False) -> RunResult:
        """One run."""


class Tools(NamedTuple):
    """The engine and the generator; tests bring their own."""

    engine: Callable[[WorldSpec], Runs]
    rng: Callable[[int], Chance]


class Case(NamedTuple):
    """One fault, or two of which the second comes while the first lasts."""

    faults: tuple[Fault, ...]

    @property
    def key(self) -> str:
        """Its name in JSON."""
        return "+".join(fault.key for fault in self.faults)

    @property
    def text(self) -> str:
        """Its name for people."""
        return ", then ".join(fault.text for fault in self.faults)


class Plan(NamedTuple):
    """A run before it is run. `driver` drives when the fault comes; `over_ns`: what passes by itself has passed."""

    actions: list[Action]
    seed: int
    variant: int
    driver: int
    fault_ns: int
    over_ns: int
    heal_ns: int
    until_ns: int


class Outcome(NamedTuple):
    """What one run showed; times in ns.

    gap_ns     the longest time without a driver that ended before healing, or that healing itself caused
    open_ns    nobody drove until healing: how long after healing somebody did; -1: somebody drove before
    through    nobody drove for long, and until after the fault had passed by itself
    moves      how often the driver became another one
    drop_outs  how often the same one fell off and came back
    two_ns     the longest time with two drivers; 0: never
    excused    rules that were broken where nothing is promised, and why nothing is
    broken     rules that are promised and were broken
    settled    one driver within the bound after healing
    void       the fault found another world than it was made for: nobody, or somebody else, drove
    limited    a limit of the simulator was reached: the run proves nothing
    """

    gap_ns: int
    open_ns: int
    through: bool
    moves: int
    drop_outs: int
    two_ns: int
    excused: tuple[tuple[Rule, Excuse], ...]
    broken: tuple[Rule, ...]
    settled: bool
    void: bool
    limited: bool

    @property
    def grave(self) -> tuple[bool, bool, bool, int, int]:
        """By this the worst run is found."""
        return bool(self.broken), not self.settled, self.two_ns > 0, self.open_ns, self.gap_ns


class Bench:
    """A subject with engines for its variants: runs cases and judges them."""

    def __init__(self, subject: Subject, seed: int, tools: Tools | None = None) -> None:
        self.subject = subject
        self.seed = seed
        self.tools = tools or real_tools()
        self.specs = variants(subject.spec)
        self.engines: dict[int, Runs] = {}
        self.settle_ns = self.rehearse()

    def engine(self, variant: int) -> Runs:
        """The engine of a variant, made once."""
        if variant not in self.engines:
            self.engines[variant] = self.tools.engine(self.specs[variant])
        return self.engines[variant]

    def rehearse(self) -> int:
        """How long a start takes until every group has its driver, with some to spare."""
        subject, limit_ns = self.subject, self.subject.listen_ns
        longest_ns = 60 * subject.listen_ns + self.engine(0).bound_ns + lonely_ns(subject)
        while limit_ns < longest_ns:
            results = [self.engine(variant).run(self.starts(self.tools.rng(variant)), variant, limit_ns)
                       for variant in range(len(self.specs))]
            if all(drivers for result in results for drivers in result.drivers):
                return limit_ns + limit_ns // HALVES + HANDOVER_SETTLES_NS
            limit_ns += limit_ns // HALVES
        return longest_ns

    def starts(self, rng: Chance) -> list[Action]:
        """All nodes start within a moment."""
        spread_ns = round(self.subject.spec.settings[0].stagger_ms * MS) // START_SPREAD
        return [Action(rng.below(spread_ns + 1), Verb.START, node=node) for node in range(self.subject.nodes)]

    def plan(self, case: Case, number: int) -> Plan:
        """Run `number` of a case; the same seed, case and number give the same run anywhere."""
        seed = run_seed(self.seed, case, number)
        rng = self.tools.rng(seed)
        worst = rng.below(WORST_EVERY) == 0
        variant = number % HALVES + 2 * worst
        if not case.faults[0].settles:
            return self.cold_plan(case, rng, seed, variant)
        driver, standby = self.roles(rng.below(HALVES) == 1 and self.subject.nodes > 1)
        actions, now_ns = self.starts(rng), self.settle_ns
        givers = sorted({self.subject.order(group)[0] for group in range(len(self.subject.late_make_ms))} - {driver})
        if givers:
            actions += [Action(now_ns, Verb.HANDOVER, node=giver, peer=driver) for giver in givers]
            now_ns += 2 * self.subject.listen_ns + HANDOVER_SETTLES_NS
        fault_ns = now_ns = now_ns + rng.below(2 * self.slowest_beat_ns())
        for fault in case.faults:
            actions += fault.acts(Scene(driver, standby, now_ns, rng))
            now_ns += self.pause_ns(rng)
        return self.finish(actions, seed, variant, driver, fault_ns)

    def cold_plan(self, case: Case, rng: Chance, seed: int, variant: int) -> Plan:
        """The start is the fault."""
        driver, standby = self.roles(False)
        actions = [action for fault in case.faults for action in fault.acts(Scene(driver, standby, 0, rng))]
        return self.finish(actions, seed, variant, driver, 0, more_ns=lonely_ns(self.subject))

    def finish(self, actions: list[Action], seed: int, variant: int, driver: int, fault_ns: int,
               more_ns: int = 0) -> Plan:
        """Healing once all is over and a restarted node has had time, and then the bound."""
        over_ns = max(action.at_ns + action.lasts_ns for action in actions)
        heal_ns = over_ns + 3 * self.subject.listen_ns + HANDOVER_SETTLES_NS + more_ns
        until_ns = heal_ns + self.engine(variant).bound_ns + SLACK_NS
        return Plan([*actions, Action(heal_ns, Verb.HEAL_ALL)], seed, variant, driver, fault_ns, over_ns, heal_ns,
                    until_ns)

    def roles(self, handed: bool) -> tuple[int, int]:
        """Who drives and who is next: the preferred node of the first group and the one after it, or turned round."""
        first, *rest = self.subject.order(self.subject.groups[0])
        second = rest[0] if rest else first
        return (second, first) if handed else (first, second)

    def pause_ns(self, rng: Chance) -> int:
        """From the first fault to the second: before it is noticed, while it is judged, once it was answered, later."""
        return (
            lambda: rng.below(self.slowest_beat_ns()),
            lambda: rng.below(self.subject.grant_ns),
            lambda: self.subject.grant_ns + rng.below(self.subject.grant_ns),
            lambda: rng.below(3 * self.subject.listen_ns),
        )[rng.below(4)]()

    def slowest_beat_ns(self) -> int:
        """The longest period among the links and the third voter's renewals."""
        settings = self.subject.spec.settings[0]
        third_ms = settings.third_period_ms if settings.third_voter else 0.0
        return round(max(third_ms, *(link.period_ms for link in settings.links)) * MS)

    def run(self, plan: Plan, *, log: bool = False) -> RunResult:
        """The run itself."""
        return self.engine(plan.variant).run(plan.actions, plan.seed, plan.until_ns, log=log)

    def outcome(self, plan: Plan) -> Outcome:
        """Run and judge."""
        return judge(self.subject, plan, self.run(plan))


def judge(subject: Subject, plan: Plan, result: RunResult) -> Outcome:
    """What a result says about the fault; what came before the fault is no part of it."""
    cold = plan.fault_ns == 0
    late_ns = [round(ms * MS) for ms in subject.late_make_ms]
    gaps = [gap for gap in result.gaps if gap.at_ns >= plan.fault_ns and gap.group in subject.groups]
    waits = [gap for gap in gaps if waited(subject, plan, gap)]
    closed = [gap for gap in gaps if gap not in waits]
    violations = [found for found in result.violations if found.group in (ALL, *subject.groups)]
    excused = [found for found in result.excused if found.group in (ALL, *subject.groups)]
    two = [found for found in (*violations, *excused) if found.rule == Rule.TWO_DRIVERS]
    return Outcome(
        gap_ns=max((gap.length_ns + late_ns[gap.group] for gap in closed), default=0),
        open_ns=max((gap.at_ns + gap.length_ns + late_ns[gap.group] - plan.heal_ns for gap in waits), default=-1),
        through=any(gap.at_ns < plan.over_ns <= gap.at_ns + gap.length_ns and gap.length_ns > subject.grant_ns
                    for gap in closed) and plan.over_ns > plan.fault_ns,
        moves=sum(gap.before != gap.after and gap.before >= 0 and gap.after >= 0 for gap in gaps),
        drop_outs=sum(gap.before == gap.after for gap in gaps if gap.before >= 0),
        two_ns=max((found.length_ns for found in two), default=0),
        excused=tuple(sorted({(found.rule, found.excuse) for found in excused})),
        broken=tuple(sorted({found.rule for found in violations} - {Rule.LIMIT})),
        settled=not any(found.rule in SETTLING for found in (*violations, *excused)),
        void=not cold and not prepared(subject, plan, result.gaps),
        limited=any(found.rule == Rule.LIMIT for found in result.violations),
    )


def waited(subject: Subject, plan: Plan, gap: Gap) -> bool:
    """Whether nobody drove until healing: the gap spans it, and began long before."""
    begun_ns = plan.heal_ns - gap.at_ns
    return gap.at_ns + gap.length_ns >= plan.heal_ns and begun_ns > subject.listen_ns


def prepared(subject: Subject, plan: Plan, gaps: Sequence[Gap]) -> bool:
    """Whether the one for whom the fault was made drove the groups that are judged when it came."""
    last = {gap.group: gap for gap in gaps if gap.at_ns < plan.fault_ns}
    return all(group in last and (last[group].after == plan.driver or subject.all_drive)
               and last[group].at_ns + last[group].length_ns <= plan.fault_ns for group in subject.groups)


def lonely_ns(subject: Subject) -> int:
    """How much longer a node waits that never heard another."""
    return round(subject.spec.settings[0].lonely_start_ms * MS)


def run_seed(seed: int, case: Case, number: int) -> int:
    """A seed of its own for each run, whatever else is run beside it."""
    name = zlib.crc32(case.key.encode()) * 0x1_0000_0001
    return (seed * 0x9E3779B97F4A7C15 + name + number * 0xD1342543DE82EF95) & MASK


def real_tools() -> Tools:
    """The compiled engine."""
    from twinbeat.sim import engine

    def rng(seed: int) -> Rng:
        return engine.Rng(seed)

    return Tools(engine=engine.Engine, rng=rng)
