"""From a failing run to the shortest schedule that still breaks the same rule, in the simplest world that still does.

Delta debugging (Zeller, Hildebrandt: Simplifying and isolating failure-inducing input, IEEE TSE 28(2), 2002) over the
actions; then shorter faults, earlier times, plainer world. A candidate is accepted when one of a few seeds breaks the
rule, because a change of the schedule shifts every later draw of chance.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, replace
from typing import NamedTuple

from twinbeat.sim.engine import Engine
from twinbeat.sim.spec import ALL, MS, SAFETY, Action, Rule, Verb, Violation
from twinbeat.sim.worlds import Shape
from twinbeat_core.errors import SettingsError

MORE_SEEDS = (1, 2, 3)
BUDGET = 3000
AFTER_NS = 300 * MS
"""How much longer than to the violation a shortened run may last, so that a changed one still reaches it."""
TIMED_VALUES = frozenset({Verb.LATE, Verb.DISK, Verb.DELAY, Verb.JITTER, Verb.VOTER_DELAY})
PLAIN_FIELDS = ("worst", "groups", "links", "make_ms", "hold_ms", "drift_ppm", "lonely_ms", "grant_max_ms",
                "gate_late_ms", "release_ms")
PLAIN_LINKS = (("serial",), ("serial", "mqtt"), ("serial", "udp"), ("mqtt",))


class Case(NamedTuple):
    """A run. `run_ns` is its virtual length; None: until settled after HEAL_ALL."""

    shape: Shape
    actions: tuple[Action, ...]
    seed: int
    run_ns: int | None = None


class Shrunk(NamedTuple):
    """What is left of a failing run. `runs` were needed; `complete` says that nothing more could be taken away."""

    case: Case
    violation: Violation
    runs: int
    complete: bool


Judge = Callable[[Case], Violation | None]


class Bench:
    """Runs cases; keeps the engine of the last few shapes."""

    def __init__(self) -> None:
        self.engines: dict[Shape, Engine] = {}

    def engine(self, shape: Shape) -> Engine:
        """The engine of a shape. SettingsError where the shape contradicts itself."""
        found = self.engines.get(shape)
        if found is None:
            if len(self.engines) >= 4:
                self.engines.pop(next(iter(self.engines)))
            found = self.engines[shape] = Engine(shape.spec())
        return found

    def until_ns(self, case: Case) -> int:
        """How long the case runs."""
        if case.run_ns is not None:
            return case.run_ns
        healed = [action.at_ns for action in case.actions if action.verb == Verb.HEAL_ALL]
        last = max((action.at_ns for action in case.actions), default=0)
        return (healed[-1] if healed else last) + self.engine(case.shape).bound_ns + 1

    def judge(self, rule: Rule, *, excused: bool = False) -> Judge:
        """Whether a case breaks the rule; with `excused` where that is not promised to be excluded as well."""
        def broken(case: Case) -> Violation | None:
            result = self.engine(case.shape).run(case.actions, case.seed, self.until_ns(case))
            found = result.violations + result.excused if excused else result.violations
            return next((violation for violation in found if violation.rule == rule), None)
        return broken


class Shrinker:
    """The search. `best` always breaks the rule."""

    def __init__(self, case: Case, judge: Judge, *, budget: int = BUDGET) -> None:
        self.judge = judge
        self.left = budget
        self.runs = 0
        found = judge(case)
        if found is None:
            raise ValueError("a run that breaks nothing cannot be shortened")
        self.best = case
        self.violation = found

    def accepts(self, case: Case) -> bool:
        """Whether the case breaks the rule with its own seed or one of a few others; then it is the best."""
        for seed in (case.seed, *MORE_SEEDS):
            if self.left <= 0:
                return False
            self.left -= 1
            self.runs += 1
            try:
                found = self.judge(case._replace(seed=seed))
            except SettingsError:
                return False
            if found is not None:
                self.best, self.violation = case._replace(seed=seed), found
                return True
        return False

    def run(self) -> Shrunk:
        """All passes again and again until none takes anything away, or the budget is spent."""
        self.end_early()
        while self.left > 0:
            before = self._size()
            self.start_together()
            self.drop()
            self.plainer()
            self.shorten()
            self.earlier()
            self.round()
            if self._size() == before:
                break
        complete = self.left > 0
        self.end_early(slack_ns=20 * MS)
        return Shrunk(self.best, self.violation, self.runs, complete)

    def _size(self) -> tuple[Shape, tuple[Action, ...]]:
        return self.best.shape, self.best.actions

    # ------------------------------------------------------------ actions
    def end_early(self, slack_ns: int = AFTER_NS) -> None:
        """A safety rule is broken before the end: nothing later matters, healing neither."""
        if self.violation.rule not in SAFETY:
            return
        at = self.violation.at_ns
        kept = tuple(action for action in self.best.actions if action.at_ns <= at)
        ends = -(-(at + self.violation.length_ns + slack_ns) // MS) * MS
        run_ns = ends if self.best.run_ns is None else min(ends, self.best.run_ns)
        self.left += 1                      # this one is tried even when the budget is spent
        self.accepts(self.best._replace(actions=kept, run_ns=run_ns))
        self.left = max(self.left, 0)

    def start_together(self) -> None:
        """One line that starts all nodes at 0, instead of one for each."""
        starts = [action for action in self.best.actions if action.verb == Verb.START]
        if starts == [Action(0, Verb.START)]:
            return
        rest = tuple(action for action in self.best.actions if action.verb != Verb.START)
        self.accepts(self.best._replace(actions=(Action(0, Verb.START), *rest)))

    def drop(self) -> None:
        """Leave out chunks of actions, the halves first, single ones last."""
        size = max(1, len(self.best.actions) // 2)
        while True:
            at = 0
            while at < len(self.best.actions):
                chunk = self.best.actions[at:at + size]
                kept = [action for action in chunk if self._needed(action)]
                rest = (*self.best.actions[:at], *kept, *self.best.actions[at + size:])
                if len(kept) == len(chunk) or not self.accepts(self.best._replace(actions=rest)):
                    at += size
            if size == 1:
                return
            size = max(1, size // 2)

    def _needed(self, action: Action) -> bool:
        """Liveness is judged from HEAL_ALL on."""
        return action.verb == Verb.HEAL_ALL and self.violation.rule not in SAFETY

    def shorten(self) -> None:
        """Shorter faults and smaller times, whole milliseconds."""
        for number in range(len(self.best.actions)):
            for name in ("lasts_ns", "value"):
                if name == "lasts_ns" or self.best.actions[number].verb in TIMED_VALUES:
                    self._less(number, name)

    def _less(self, number: int, name: str) -> None:
        step = abs(getattr(self.best.actions[number], name)) // 2
        while step >= MS // 2:
            now = getattr(self.best.actions[number], name)
            less = (now - step) // MS * MS
            if not (0 < less < now and self._with(number, name, less)):
                step //= 2

    def _with(self, number: int, name: str, to: int) -> bool:
        actions = list(self.best.actions)
        now = actions[number]
        actions[number] = (now._replace(at_ns=to) if name == "at_ns" else now._replace(value=to) if name == "value"
                           else now._replace(lasts_ns=to))
        return self.accepts(self.best._replace(actions=tuple(actions)))

    def earlier(self) -> None:
        """Move an action and all after it closer to the one before; times in whole milliseconds."""
        for number in range(len(self.best.actions)):
            before = self.best.actions[number - 1].at_ns if number else 0
            step = self.best.actions[number].at_ns - before
            while step >= MS // 2:
                at = self.best.actions[number].at_ns
                to = max(before, (at - step) // MS * MS)
                if not (to < at and self._shifted(number, at - to)):
                    step //= 2

    def _shifted(self, number: int, by_ns: int) -> bool:
        actions = self.best.actions
        moved = tuple(action._replace(at_ns=max(0, action.at_ns - by_ns)) for action in actions[number:])
        return self.accepts(self.best._replace(actions=actions[:number] + moved))

    def round(self) -> None:
        """Whole milliseconds, else tenths, where nothing hangs on the rest."""
        for number in range(len(self.best.actions)):
            for name in ("at_ns", "lasts_ns", "value"):
                if name != "value" or self.best.actions[number].verb in TIMED_VALUES:
                    self._round(number, name)

    def _round(self, number: int, name: str) -> None:
        exact = getattr(self.best.actions[number], name)
        earliest = self.best.actions[number - 1].at_ns if number and name == "at_ns" else 0
        for grid in (MS, MS // 10, MS // 100):
            if exact % grid == 0:
                return
            for rounded in (exact // grid * grid, exact // grid * grid + grid):
                if rounded >= earliest and rounded > 0 and self._rounded(number, name, rounded):
                    return

    def _rounded(self, number: int, name: str, to: int) -> bool:
        later = self.best.actions[number + 1:number + 2]
        if name == "at_ns" and later and later[0].at_ns < to:
            return self._shifted(number, self.best.actions[number].at_ns - to)
        return self._with(number, name, to)

    # ------------------------------------------------------------ world
    def plainer(self) -> None:
        """A world with fewer peculiarities."""
        for name in PLAIN_FIELDS:
            for candidate in plainer_cases(self.best, name):
                if self.accepts(candidate):
                    break


def plainer_cases(case: Case, name: str) -> Iterator[Case]:
    """Cases in which one field of the world is as a world has it that says nothing of it."""
    if name == "links":
        yield from fewer_links(case)
        return
    plain = DEFAULTS[name]
    if name == "groups":
        for groups in range(1, case.shape.groups):
            if all(action.group < groups or action.verb == Verb.LATE for action in case.actions):
                yield case._replace(shape=replace(case.shape, groups=groups))
    elif getattr(case.shape, name) != plain:
        yield case._replace(shape=replace(case.shape, **{name: plain}))


def fewer_links(case: Case) -> Iterator[Case]:
    """Cases with one link less, without what was done to that link alone; or with the usual links."""
    links = case.shape.links
    for gone in range(len(links) if len(links) > 1 else 0):
        actions = tuple(action._replace(link=action.link - 1) if action.link > gone else action
                        for action in case.actions if action.link != gone)
        yield case._replace(shape=replace(case.shape, links=links[:gone] + links[gone + 1:]), actions=actions)
    if len(links) > 1 and links != DEFAULTS["links"] and len(links) == len(DEFAULTS["links"]):
        yield case._replace(shape=replace(case.shape, links=DEFAULTS["links"]))


DEFAULTS = {field.name: field.default for field in fields(Shape) if field.default is not MISSING}


def shrink(case: Case, judge: Judge, *, budget: int = BUDGET) -> Shrunk:
    """The smallest case found that `judge` still finds broken. ValueError when `case` itself is not."""
    return Shrinker(case, judge, budget=budget).run()


__all__ = ["ALL", "Bench", "Case", "Judge", "Shrunk", "shrink"]
