"""What a run's log says, as spans of time: roles, contacts, links, faults. Nothing here knows how it is drawn."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from twinbeat.sim.scenario_actions import action_text
from twinbeat.sim.scenario_words import Names
from twinbeat.sim.spec import ALL, Action, LogEntry, LogKind, RunResult, Verb, WorldSpec
from twinbeat_core.model import ReportCode, State

DOWN = -1
"""A role's place for a node that does not run."""
STILL = frozenset({Verb.STALL, Verb.FREEZE, Verb.SUSPEND})
CONDITIONS = frozenset({Verb.LOSS, Verb.DELAY, Verb.JITTER, Verb.DUPLICATE, Verb.REORDER, Verb.CORRUPT, Verb.CLOG})
OF_LINKS = frozenset({Verb.CUT, *CONDITIONS})
ENDED_BY = {
    Verb.KILL: Verb.RESTART, Verb.POWER: Verb.RESTART, Verb.STOP: Verb.RESTART, Verb.STICK: Verb.UNSTICK,
    Verb.OUT: Verb.IN, Verb.FAIL: Verb.CLEAR, Verb.VOTER_KILL: Verb.VOTER_RESTART, Verb.VOTER_CUT: Verb.VOTER_HEAL,
    Verb.VOTER_DELAY: Verb.VOTER_HEAL, **dict.fromkeys(STILL, Verb.RESUME), **dict.fromkeys(OF_LINKS, Verb.HEAL),
}
"""Which other action ends a fault that does not end by itself."""
UNTIL_HEALED = frozenset({*ENDED_BY, Verb.CLOCK, Verb.DISK})
NO_FAULTS = frozenset({Verb.START, *ENDED_BY.values()})
SENT_ARRIVES, SENT_CUT = 0, 1
ALIVE_REPORTS = {ReportCode.RP_LINK_UP: True, ReportCode.RP_LINK_DOWN: False}

Path = tuple[int, int, int]
"""A link in one direction: link, from node, to node."""


class Span(NamedTuple):
    """From `begin` to `end` (ns) something was as `value` says; what that means depends on the lane."""

    begin: int
    end: int
    value: int = 0


class Fault(NamedTuple):
    """An action in words; `end` is `begin` for what happens at once. `node` ALL where it is about no single node."""

    begin: int
    end: int
    text: str
    verb: Verb
    node: int


class Frame(NamedTuple):
    """One frame on its way; `arrives` is 0 for a lost one."""

    sent: int
    arrives: int
    link: int
    source: int
    target: int


class Lane:
    """One thing whose value changes over time."""

    def __init__(self, value: int = 0) -> None:
        self.value = value
        self.since = 0
        self.spans: list[Span] = []

    def set(self, at: int, value: int) -> None:
        """From now on it is so."""
        if value != self.value:
            if at > self.since:
                self.spans.append(Span(self.since, at, self.value))
            self.value, self.since = value, at

    def close(self, at: int) -> list[Span]:
        """All spans up to the end of the run."""
        if at > self.since:
            self.spans.append(Span(self.since, at, self.value))
        self.since = at
        return self.spans


class Lanes:
    """A run in spans. ValueError for a result whose run kept no log."""

    def __init__(self, spec: WorldSpec, result: RunResult, actions: Sequence[Action]) -> None:
        if not result.log:
            raise ValueError("the run kept no log; run it with log=True")
        self.spec = spec
        self.end = result.end_ns
        nodes, groups = len(spec.settings), len(spec.groups_named)
        self._roles = {(node, group): Lane(DOWN) for node in range(nodes) for group in range(groups)}
        self._contacts = {place: Lane() for place in self._roles}
        paths = [(link, a, b) for link in range(len(spec.links)) for a in range(nodes) for b in range(nodes) if a != b]
        self._up = {path: Lane() for path in paths}
        self._cut = {path: Lane() for path in paths}
        self._impaired = {path: Lane() for path in paths}
        self._conditions: dict[Path, set[Verb]] = {path: set() for path in paths}
        self._voter = Lane(1)
        self._ends: dict[int, int] = {}
        self.frames: list[Frame] = []
        self.restarts: list[tuple[int, int]] = []
        self.healed = result.healed_ns
        for entry in result.log:
            self._take(entry, actions)
        self.faults = self._faults(actions)
        self.roles = {place: lane.close(self.end) for place, lane in self._roles.items()}
        self.contacts = {place: [span for span in lane.close(self.end) if span.value]
                         for place, lane in self._contacts.items()}
        self.up = {path: [span for span in lane.close(self.end) if span.value] for path, lane in self._up.items()}
        self.cut = {path: [span for span in lane.close(self.end) if span.value] for path, lane in self._cut.items()}
        self.impaired = {path: [span for span in lane.close(self.end) if span.value]
                         for path, lane in self._impaired.items()}
        self.voter = self._voter.close(self.end)
        self.overlaps = {group: self._overlaps(group) for group in range(groups)}

    # ------------------------------------------------------------ the log
    def _take(self, entry: LogEntry, actions: Sequence[Action]) -> None:
        if entry.kind == LogKind.SENT:
            lost = entry.b != SENT_ARRIVES
            self.frames.append(Frame(entry.at_ns, 0 if lost else entry.d, entry.link, entry.node, entry.a))
        elif entry.kind == LogKind.STATE:
            self._roles[entry.node, entry.group].set(entry.at_ns, entry.b)
        elif entry.kind == LogKind.OUTPUT:
            self._contacts[entry.node, entry.group].set(entry.at_ns, entry.a)
        elif entry.kind == LogKind.REPORT and entry.a in ALIVE_REPORTS:
            path = (entry.link, entry.d, entry.node)
            if path in self._up:
                self._up[path].set(entry.at_ns, int(entry.a == ReportCode.RP_LINK_UP))
        elif entry.kind in (LogKind.DIED, LogKind.STARTED):
            self._life(entry)
        elif entry.kind == LogKind.ACTION:
            self._act(entry.at_ns, entry.a, actions[entry.a], undone=entry.b == 2)

    def _life(self, entry: LogEntry) -> None:
        begins = entry.kind == LogKind.STARTED
        if entry.node >= len(self.spec.settings):
            self._voter.set(entry.at_ns, int(begins))
            return
        if begins:
            self.restarts.append((entry.at_ns, entry.node))
        for (node, _), lane in self._roles.items():
            if node == entry.node:
                lane.set(entry.at_ns, State.LISTEN if begins else DOWN)
        for (_, _, node), lane in self._up.items():
            if node == entry.node:
                lane.set(entry.at_ns, 0)

    def _act(self, at: int, number: int, action: Action, *, undone: bool) -> None:
        if undone:
            self._ends[number] = at
        if action.verb == Verb.HEAL_ALL:
            self._voter.set(at, 1)
            for path in self._cut:
                self._heal(at, path)
        elif action.verb in (Verb.VOTER_KILL, Verb.VOTER_RESTART):
            self._voter.set(at, int(undone or action.verb == Verb.VOTER_RESTART))
        elif action.verb in OF_LINKS or action.verb == Verb.HEAL:
            for path in self._cut:
                if action.link in (ALL, path[0]) and action.node in (ALL, path[1]) and action.peer in (ALL, path[2]):
                    self._condition(at, path, action, undone)

    def _condition(self, at: int, path: Path, action: Action, undone: bool) -> None:
        if action.verb == Verb.HEAL:
            self._heal(at, path)
        elif action.verb == Verb.CUT:
            self._cut[path].set(at, int(not undone))
        else:
            bad = self._conditions[path]
            worse = not undone and (action.value > 0 or action.verb == Verb.CLOG)
            bad.add(action.verb) if worse else bad.discard(action.verb)
            self._impaired[path].set(at, int(bool(bad)))

    def _heal(self, at: int, path: Path) -> None:
        self._cut[path].set(at, 0)
        self._conditions[path].clear()
        self._impaired[path].set(at, 0)

    # ------------------------------------------------------------ what follows
    def _faults(self, actions: Sequence[Action]) -> list[Fault]:
        names = Names.of(self.spec)
        ordered = sorted(enumerate(actions), key=lambda item: item[1].at_ns)
        found = []
        for place, (number, action) in enumerate(ordered):
            before = ordered[:place]
            if action.verb in NO_FAULTS and not (action.verb == Verb.RESTART and self._ends_nothing(action, before)):
                continue
            end = self._ends.get(number)
            if end is None:
                later = [other for _, other in ordered[place + 1:]]
                end = self._end_of(action, later) if action.verb in UNTIL_HEALED else action.at_ns
            if action.at_ns < self.end:
                found.append(Fault(action.at_ns, min(end, self.end), action_text(action, names), action.verb,
                                   action.node))
        return found

    def _ends_nothing(self, restart: Action, before: Sequence[tuple[int, Action]]) -> bool:
        """A restart of a node that runs is a fault of its own."""
        ended = [action for _, action in before
                 if ENDED_BY.get(action.verb) == Verb.RESTART and action.node in (restart.node, ALL)]
        return not ended or ended[-1].lasts_ns > 0

    def _end_of(self, action: Action, later: Sequence[Action]) -> int:
        by = ENDED_BY.get(action.verb)
        for other in later:
            if other.verb == Verb.HEAL_ALL:
                return other.at_ns
            same = other.node in (action.node, ALL) and other.link in (action.link, ALL)
            if (other.verb == by and same) or (other.verb == action.verb == Verb.DISK and same):
                return other.at_ns
        return self.end

    def _overlaps(self, group: int) -> list[Span]:
        """When more than one contact was closed."""
        edges = sorted((edge, step) for (_, of), spans in self.contacts.items() if of == group
                       for begin, end, _ in spans for edge, step in ((begin, 1), (end, -1)))
        found, closed, since = [], 0, 0
        for at, step in edges:
            closed += step
            if step == 1 and closed == 2:
                since = at
            elif step == -1 and closed == 1 and at > since:
                found.append(Span(since, at))
        return found
