"""The commands of the control socket that change who drives: handover, failback, drain, out, in.

Each has the turn while it is under way, so that two operators cannot pull at a role at once, and answers when its
outcome is there. A rehearsal (`dry_run`) needs no turn: it changes nothing.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from twinbeat.control import Reply, RequestError, Verb
from twinbeat.errors import RefusedError
from twinbeat.run_assess import Plan
from twinbeat.run_course import Course, Courses, Until
from twinbeat.run_loop import boottime_ns
from twinbeat.run_moves import RING_FULL, Moves, names_of, outcome, refused, since_ms
from twinbeat.run_node import NodeAgent
from twinbeat.run_turn import CommandTurn, who_asks
from twinbeat.run_units import Unit
from twinbeat.run_view import bars_text, driver_of, group_state
from twinbeat_core.events import Command
from twinbeat_core.model import CommandCode

TURN_MARGIN_S = 1.0
"""A command's own limit is always the shorter one."""
COUNT_MAX = 64


class Service(Protocol):
    """Who must know that an operator took single units out of service or put them back (`run_maintenance`)."""

    def settled_by_hand(self, units: Sequence[Unit], into: bool) -> str:
        """`into` service or out of it; returns what follows from that, in words, empty: nothing."""


class Commands:
    """The commands of one agent."""

    def __init__(self, agent: NodeAgent, moves: Moves, courses: Courses, turn: CommandTurn, service: Service) -> None:
        self._agent = agent
        self._moves = moves
        self._units = moves.units
        self._courses = courses
        self._turn = turn
        self._service = service
        self._node = agent.names.node

    def table(self) -> dict[str, Verb]:
        """The verbs by name."""
        return {
            "handover": self._handover,
            "handover-plan": lambda request, reply: self._handover({**request, "dry_run": True}, reply),
            "failback": self._failback,
            "drain": self._drain,
            "out": lambda request, reply: self._serve(request, reply, into=False),
            "in": lambda request, reply: self._serve(request, reply, into=True),
        }

    def _begin(self, what: str, limit_s: float, request: dict[str, Any], course: Course, reply: Reply) -> None:
        """Take the turn and go. Raises RefusedError while somebody else has it."""
        release = self._turn.take(what, who_asks(request), limit_s + TURN_MARGIN_S)
        self._courses.start(course, reply, release)

    # ------------------------------------------------------------ handover

    def _handover(self, request: dict[str, Any], reply: Reply) -> None:
        taker = self._taker(request)
        units = self._driven_units(request)
        assessor = self._moves.assessor()
        plans = [assessor.plan(unit, taker) for unit in units]
        what = f"handover of {names_of(units)}"
        limit_s = self._moves.limit_s(units)
        if flag(request, "dry_run"):
            reply(self._rehearsed(plans, limit_s))
            return
        reasons = [reason for plan in plans for reason in plan.reasons]
        if reasons:
            not_here = [text for unit in units for text in assessor.not_here(unit)]
            raise refused(what, not_here or reasons)
        self._begin(what, limit_s, request, self._hand_over(what, plans, taker is not None), reply)

    def _hand_over(self, what: str, plans: list[Plan], named: bool) -> Course:
        begun_ns = boottime_ns()
        moved = yield from self._moves.hand_over(plans, named)
        answer = outcome(what, self._node, moved) | {"took_ms": since_ms(begun_ns)}
        return answer | (moved[0].described(self._node) if len(moved) == 1 and answer["ok"] else {})

    def _rehearsed(self, plans: list[Plan], limit_s: float) -> dict[str, Any]:
        """The answer of a dry run."""
        return {
            "ok": True,
            "dry_run": True,
            "node": self._node,
            "would": all(plan.would for plan in plans),
            "plans": [plan.described(self._node) for plan in plans],
            "answer_within_s": round(limit_s, 3),
        }

    def _driven_units(self, request: dict[str, Any]) -> list[Unit]:
        """What a handover is about: the unit named, or every unit driven here of the family or of all."""
        name, everything, count = request.get("group"), flag(request, "all"), request.get("count")
        if count is not None and (type(count) is not int or not 1 <= count <= COUNT_MAX):
            raise RequestError(f"count = {count} is out of range: 1 to {COUNT_MAX}")
        if everything and name is not None:
            raise RequestError("name a group or take all of them, not both")
        units = self._units.named(name)
        if len(units) == 1 and not everything:
            return units
        if name is None and not everything:
            raise RequestError(f"name the group ({self._units.known()}), or hand over all of them with --all")
        driven = self._moves.driven([unit for unit in units if not unit.overlap])
        if len(driven) < (count or 1):
            raise self._too_few(units, driven, count)
        return driven[:count]

    def _too_few(self, units: Sequence[Unit], driven: Sequence[Unit], count: int | None) -> Exception:
        what = "anything that could be handed over" if len(units) == len(self._units.items) else names_of(units)
        if driven:
            return refused(f"handover of {count}", [f"{self._node} drives only {len(driven)}: {names_of(driven)}"])
        view = self._agent.core_view()
        drivers = {driver_of(view, self._agent.names, unit.number) for unit in units} - {None, self._node}
        who = f"; {', '.join(sorted(map(str, drivers)))} does: ask the agent there" if drivers else "; nobody does"
        return refused("handover", [f"{self._node} does not drive {what}{who}"])

    def _taker(self, request: dict[str, Any]) -> str | None:
        node = request.get("node")
        nodes = self._agent.names.nodes
        if node is None:
            return None
        if not isinstance(node, str) or node not in nodes:
            raise RequestError(f'there is no node "{node}"; the nodes are {", ".join(nodes)}')
        if node == self._node:
            raise RequestError(f"{node} is this node: name the one that shall drive")
        return node

    # ------------------------------------------------------------ failback

    def _failback(self, request: dict[str, Any], reply: Reply) -> None:
        named = request.get("group") is not None
        units = self._units.named(request.get("group"))
        allowed = [unit for unit in units if unit.failback != "never"]
        if not allowed:
            raise refused(
                "failback",
                [f'failback = "never" is set for {names_of(units)}: nothing goes back; to move it all the same: '
                 "twinbeat handover"],
            )
        driven = self._moves.driven([unit for unit in allowed if not unit.overlap])
        if named and not driven:
            raise refused("failback", self._moves.assessor().not_here(allowed[0]))
        away, left = [], []
        for unit in driven:
            better = [node for node in unit.drivers if unit.ranks_before(node, self._node)]
            if not better:
                continue
            assessor = self._moves.assessor()
            home = assessor.home(unit)
            if home != self._node:
                away.append((unit, home))
            else:
                reasons = [text for node in better for text in assessor.obstacles(unit, node)]
                left.append({"group": unit.name, "reasons": reasons})
        if left and not away and named:
            raise refused(f"failback of {names_of(driven)}", [text for item in left for text in item["reasons"]])
        what = f"failback of {names_of([unit for unit, _ in away])}" if away else "failback"
        limit_s = sum(self._moves.limit_s([unit]) for unit, _ in away)
        self._begin(what, limit_s, request, self._go_home(what, away, left), reply)

    def _go_home(self, what: str, away: list[tuple[Unit, str]], left: list[dict[str, Any]]) -> Course:
        """One after the other: a second unit goes only once the first one is driven there."""
        moved = []
        for unit, home in away:
            moved += yield from self._moves.hand_over([self._moves.assessor().plan(unit, home)], True)
            if moved[-1].trouble:
                break
        return outcome(what, self._node, moved) | {"left": left}

    # ------------------------------------------------------------ drain

    def _drain(self, request: dict[str, Any], reply: Reply) -> None:
        units = self._moves.driven()
        self._begin("drain", self._moves.limit_s(units), request, self._drain_once(), reply)

    def _drain_once(self) -> Course:
        """Hand over what can be handed over now, and say what remains and why."""
        assessor = self._moves.assessor()
        plans = [assessor.plan(unit, None) for unit in self._moves.driven() if not unit.overlap]
        moved = yield from self._moves.hand_over([plan for plan in plans if plan.would], False)
        trouble = {item.unit.number: item.trouble for item in moved if item.trouble}
        reasons = {plan.unit.number: list(plan.reasons) for plan in plans}
        remaining = []
        for unit in self._moves.still_here():
            why = [trouble[unit.number]] if unit.number in trouble else reasons.get(unit.number, [])
            if unit.overlap and not why:
                why = ["no other node drives it, so this one goes on: see there what keeps it from driving"]
            remaining.append({"group": unit.name, "reasons": why})
        return {
            "ok": True,
            "node": self._node,
            "drained": not remaining,
            "moved": [item.described(self._node) for item in moved if not item.trouble],
            "remaining": remaining,
            "shared": [unit.name for unit in self._moves.driven() if unit.overlap],
            "answer_within_s": round(self._moves.limit_s([plan.unit for plan in plans]), 3),
        }

    # ------------------------------------------------------------ out, in

    def _serve(self, request: dict[str, Any], reply: Reply, *, into: bool) -> None:
        """Take units out of service here, or put them back; answer when that is so."""
        units = self._units.named(request.get("group"))
        what = f"{'in' if into else 'out'} {names_of(units)}"
        self._begin(what, self._moves.limit_s(), request, self._service_course(units, into), reply)

    def _service_course(self, units: list[Unit], into: bool) -> Course:
        codes = (CommandCode.CMD_CLEAR, CommandCode.CMD_IN) if into else (CommandCode.CMD_OUT,)
        begun_ns = boottime_ns()
        for unit in units:
            for code in codes:
                if not self._agent.post(Command(boottime_ns(), code, unit.number)):
                    return {"ok": False, "error": RING_FULL, "exit_code": 6}
        note = self._service.settled_by_hand(units, into)

        def there() -> bool:
            view = self._agent.core_view()
            return all((group_state(view, unit.number) == "OUT") != into for unit in units)

        done = yield Until(there, self._moves.limit_s())
        found = self.service_shown(units)
        if not done:
            states = ", ".join(f"{item['name']} is {item['state']}" for item in found)
            raise RefusedError(f"not done within {self._moves.limit_s():g} s: {states}; twinbeat events shows why")
        answer: dict[str, Any] = {"ok": True, "node": self._node, "groups": found, "took_ms": since_ms(begun_ns)}
        return answer | ({"note": note} if note else {})

    def service_shown(self, units: Sequence[Unit]) -> list[dict[str, Any]]:
        """How the units stand here."""
        view = self._agent.core_view()
        return [
            {
                "name": unit.name,
                "state": group_state(view, unit.number),
                "driver": driver_of(view, self._agent.names, unit.number),
                "barred_by": bars_text(view["groups"][unit.number]["bars"]),
            }
            for unit in units
        ]


def flag(request: dict[str, Any], key: str) -> bool:
    """A yes or no of a request. Raises RequestError."""
    value = request.get(key, False)
    if type(value) is not bool:
        raise RequestError(f"{key} takes true or false, not {value}")
    return value
