"""The command `maintenance`: what it asks before it begins, and its steps."""
from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from typing import Any

from twinbeat.control import Reply, RequestError, Verb
from twinbeat.errors import RefusedError
from twinbeat.maintenance import REASON_MAX, span_text
from twinbeat.run_commands import TURN_MARGIN_S, flag
from twinbeat.run_course import Course, Courses, Until
from twinbeat.run_loop import boottime_ns
from twinbeat.run_maintenance import DISK_LIMIT_S, Maintenance
from twinbeat.run_moves import RING_FULL, Moved, Moves, listed, names_of, refused, since_ms
from twinbeat.run_node import NodeAgent
from twinbeat.run_turn import CommandTurn, who_asks
from twinbeat.run_units import Unit
from twinbeat.run_view import group_state
from twinbeat_core.events import Command
from twinbeat_core.model import CommandCode

BAR_OPERATOR = 1
"""The core's bar of a group that an operator took out of service."""


class MaintenanceVerb:
    """Shows, begins, changes and ends the maintenance of this node."""

    def __init__(
        self, agent: NodeAgent, moves: Moves, courses: Courses, turn: CommandTurn, service: Maintenance
    ) -> None:
        self._agent = agent
        self._moves = moves
        self._courses = courses
        self._turn = turn
        self._service = service

    def table(self) -> dict[str, Verb]:
        """The verb by name."""
        return {"maintenance": self._asked}

    def _mine(self) -> list[Unit]:
        """What this node may drive."""
        return [unit for unit in self._moves.units.items if self._agent.names.node in unit.drivers]

    def _asked(self, request: dict[str, Any], reply: Reply) -> None:
        action = request.get("action", "show")
        if action == "show":
            reply(self._shown() | {"others": self._others()})
        elif action == "on":
            self._asked_on(request, reply)
        elif action == "off":
            if self._service.record is None:
                raise RefusedError("maintenance is not on here; twinbeat in GROUP puts a group back into service")
            release = self._turn.take("maintenance off", who_asks(request), self._moves.limit_s() + TURN_MARGIN_S)
            self._courses.start(self._off(), reply, release)
        else:
            raise RequestError(f'action = "{action}" is unknown; it takes "on", "off" or "show"')

    def _shown(self) -> dict[str, Any]:
        return {"ok": True, "node": self._agent.names.node, "maintenance": self._service.describe()}

    def _others(self) -> dict[str, str]:
        """What the other nodes say of themselves."""
        assessor = self._moves.assessor()
        nodes = [node for node in self._agent.names.nodes if node != self._agent.names.node]
        return {node: "all out of service" for node in nodes if assessor.in_maintenance(node)}

    def _asked_on(self, request: dict[str, Any], reply: Reply) -> None:
        for_s, reason, force = request.get("for_s"), request.get("reason", ""), flag(request, "force")
        low, high = self._service.limits.shortest_s, self._service.limits.longest_s
        if isinstance(for_s, bool) or not isinstance(for_s, (int, float)) or not low <= for_s <= high:
            raise RequestError(
                f"maintenance takes a time from {span_text(low)} to {span_text(high)}, not {for_s} s: "
                "twinbeat maintenance on --for 2h"
            )
        if not isinstance(reason, str) or len(reason) > REASON_MAX or not reason.isprintable():
            raise RequestError(f"reason takes a line of at most {REASON_MAX} characters")
        if not self._mine():
            raise RefusedError(f"{self._agent.names.node} drives nothing at any time, it only votes: just work on it")
        who = who_asks(request)
        if self._service.record is not None:
            release = self._turn.take("maintenance", who, DISK_LIMIT_S + TURN_MARGIN_S)
            self._courses.start(self._longer(float(for_s), reason), reply, release)
            return
        limit_s = self._moves.limit_s(self._moves.driven()) + 2 * self._moves.limit_s() + DISK_LIMIT_S
        release = self._turn.take("maintenance", who, limit_s + TURN_MARGIN_S)
        self._courses.start(self._on(float(for_s), reason, who, force), reply, release)

    def _on(self, for_s: float, reason: str, who: str, force: bool) -> Course:
        """Look, hand over, write down, leave service, look again."""
        lacking = self._lacking()
        if lacking and not force:
            raise refused_on(lacking)
        moved = yield from self._hand_over_all()
        stuck = {item.unit.name: [item.trouble] for item in moved if item.trouble}
        if stuck and not force:
            raise refused_on(stuck)
        view = self._agent.core_view()
        mine = [unit for unit in self._mine() if not view["groups"][unit.number]["bars"] & BAR_OPERATOR]
        record = self._service.new(for_s, reason, who, mine)
        yield from self._service.written(record)
        self._service.take_effect(record)
        begun_ns = boottime_ns()
        for unit in mine:
            if not self._agent.post(Command(boottime_ns(), CommandCode.CMD_OUT, unit.number)):
                self._service.put_back()
                return {"ok": False, "error": RING_FULL, "exit_code": 6}
        out = yield Until(lambda: self._all_out(mine), self._moves.limit_s())
        if not force and not (yield Until(lambda: not self._moves.undriven(self._mine()), self._moves.limit_s())):
            nobody = names_of(self._moves.undriven(self._mine()))
            self._service.put_back()
            raise RefusedError(
                f"maintenance called off: nobody drove {nobody} once this node had left service; it is back in "
                "service. Was the other node taken out at the same moment? See twinbeat status"
            )
        return self._is_on(out, begun_ns)

    def _is_on(self, out: bool, begun_ns: int) -> dict[str, Any]:
        undriven = self._moves.undriven(self._mine())
        record, held = self._service.record, names_of(self._service.held()) or "nothing more"
        text = f"maintenance for {span_text(self._service.left_s())}: {held} out of service here"
        text += f" ({record.reason})" if record is not None and record.reason else ""
        text += f"; nobody drives {names_of(undriven)}" if undriven else ""
        self._service.tell("MAINTENANCE", text, logging.WARNING if undriven else logging.INFO)
        answer = self._shown() | {"undriven": [unit.name for unit in undriven], "took_ms": since_ms(begun_ns)}
        late = [] if out else [unit.name for unit in self._service.held() if not self._all_out([unit])]
        return answer | ({"note": f"still leaving service: {', '.join(late)}"} if late else {})

    def _lacking(self) -> dict[str, list[str]]:
        """The units that would have no driver without this node, each with the reasons."""
        assessor = self._moves.assessor()
        found: dict[str, list[str]] = {}
        for unit in self._mine():
            if self._moves.driven_elsewhere(unit) or assessor.best(unit) is not None:
                continue
            others = [node for node in unit.drivers if node != self._agent.names.node]
            reasons = [text for node in others for text in assessor.obstacles(unit, node)]
            found[unit.name] = reasons or ["no other node may drive it"]
        return found

    def _hand_over_all(self) -> Generator[Until, bool, list[Moved]]:
        """Everything driven here that another can take now."""
        assessor = self._moves.assessor()
        plans = [assessor.plan(unit, None) for unit in self._moves.driven() if not unit.overlap]
        return (yield from self._moves.hand_over([plan for plan in plans if plan.would], False))

    def _all_out(self, units: Sequence[Unit]) -> bool:
        view = self._agent.core_view()
        return all(group_state(view, unit.number) == "OUT" for unit in units)

    def _longer(self, for_s: float, reason: str) -> Course:
        """It is on already: another end, another reason."""
        before = self._service.record
        assert before is not None
        record = self._service.new(for_s, reason or before.reason, before.by, self._service.held())
        yield from self._service.written(record)
        self._service.take_effect(record)
        self._service.tell("MAINTENANCE", f"maintenance now lasts {span_text(for_s)} from here")
        return self._shown() | {"undriven": []}

    def _off(self) -> Course:
        """Back into service by command."""
        begun_ns = boottime_ns()
        units = self._service.held()
        if not self._service.end("maintenance is over by command"):
            return {"ok": False, "error": RING_FULL, "exit_code": 6}

        def back() -> bool:
            view = self._agent.core_view()
            own = [view["groups"][unit.number] for unit in units]
            return all(group["state"] != "OUT" or group["bars"] & ~BAR_OPERATOR for group in own)

        if not (yield Until(back, self._moves.limit_s())):
            raise RefusedError(f"not back in service within {self._moves.limit_s():g} s; twinbeat events shows why")
        still = [unit for unit in units if self._all_out([unit])]
        answer = self._shown() | {"took_ms": since_ms(begun_ns)}
        note = f"still out of service for another reason: {names_of(still)}; see twinbeat status" if still else ""
        return answer | ({"note": note} if note else {})


def refused_on(lacking: dict[str, list[str]]) -> RefusedError:
    """Nobody would drive these."""
    names = listed(list(lacking))
    reasons = [text for texts in lacking.values() for text in texts]
    text = str(refused("maintenance", [f"nobody else could drive {names}", *reasons]))
    return RefusedError(f"{text}; with --force nobody drives {names} until it is over")
