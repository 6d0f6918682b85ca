"""Handing units over: all that are asked for at once, each with its outcome."""
from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from twinbeat.control import failure
from twinbeat.errors import RefusedError
from twinbeat.run_assess import Assessor, Plan
from twinbeat.run_course import Until
from twinbeat.run_loop import boottime_ns
from twinbeat.run_node import NodeAgent
from twinbeat.run_units import Unit, Units
from twinbeat.run_view import OWNING, driver_of, drivers_of, group_state
from twinbeat.run_words import REFUSALS
from twinbeat_core.events import Command
from twinbeat_core.model import CommandCode

OUTCOME_LIMIT_S = 2.0
NOBODY = 15
TOLD_MAX = 4
"""More units or reasons than that are not told one by one in a sentence; the answer's lists have all of them."""
RING_FULL = "the decider takes no commands now; look at twinbeat status"


@dataclass
class Moved:
    """What became of one unit. `trouble` is empty where `driver` drives it now."""

    unit: Unit
    driver: str | None = None
    took_ms: float | None = None
    trouble: str = ""

    def described(self, node: str) -> dict[str, Any]:
        """For an answer."""
        found: dict[str, Any] = {"group": self.unit.name, "from": node, "driver": self.driver, "took_ms": self.took_ms}
        return found | ({"error": self.trouble} if self.trouble else {})


class Moves:
    """Begins handovers and sees how they end."""

    def __init__(self, agent: NodeAgent, units: Units) -> None:
        self._agent = agent
        self.units = units
        self.node = agent.names.node

    def assessor(self) -> Assessor:
        """How things are at this moment."""
        return Assessor(self._agent.core_view(), self._agent.names, self.units, self._agent.loads)

    def limit_s(self, units: Sequence[Unit] = ()) -> float:
        """The longest that handing these over may take until its outcome is told; of none: that any command takes."""
        return OUTCOME_LIMIT_S + self.units.longest_prepare_ms(units) / 1000

    def driven(self, units: Sequence[Unit] | None = None) -> list[Unit]:
        """Those of the units that this node drives."""
        view = self._agent.core_view()
        chosen = self.units.items if units is None else units
        return [unit for unit in chosen if group_state(view, unit.number) == "ACTIVE"]

    def still_here(self) -> list[Unit]:
        """What this node drives or still switches off, but for what another drives too (overlap)."""
        view = self._agent.core_view()
        here = [unit for unit in self.units.items if group_state(view, unit.number) in OWNING]
        return [unit for unit in here if not (unit.overlap and self.driven_elsewhere(unit))]

    def driven_elsewhere(self, unit: Unit) -> bool:
        """Whether another node drives it."""
        drivers = drivers_of(self._agent.core_view(), self._agent.names, unit.number)
        return any(node != self.node for node in drivers)

    def undriven(self, units: Sequence[Unit]) -> list[Unit]:
        """Those of the units that nobody drives as far as this node knows."""
        view = self._agent.core_view()
        return [unit for unit in units if driver_of(view, self._agent.names, unit.number) is None]

    def hand_over(self, plans: Sequence[Plan], named: bool) -> Generator[Until, bool, list[Moved]]:
        """Hand over every unit of `plans`; `named`: to the taker of the plan, else to whom the core finds best.

        Returns what became of each, in the same order.
        """
        agent, names = self._agent, self._agent.names
        begun_ns = boottime_ns()
        moved = [Moved(plan.unit) for plan in plans]
        for plan, item in zip(plans, moved, strict=True):
            agent.refusals.pop(plan.unit.number, None)
            taker = list(names.nodes).index(plan.taker) if named and plan.taker else NOBODY
            if not agent.post(Command(boottime_ns(), CommandCode.CMD_HANDOVER, plan.unit.number, taker)):
                item.trouble = f"refused: {RING_FULL}"

        def all_told() -> bool:
            open_items = [item for item in moved if item.driver is None and not item.trouble]
            if open_items:
                view = agent.core_view()
                for item in open_items:
                    self._look(item, view, begun_ns)
            return all(item.driver is not None or item.trouble for item in moved)

        limit_s = self.limit_s([plan.unit for plan in plans])
        if not (yield Until(all_told, limit_s)):
            view = agent.core_view()
            for item in moved:
                if item.driver is None and not item.trouble:
                    driver = driver_of(view, names, item.unit.number) or "nobody"
                    item.trouble = (
                        f"had no outcome within {limit_s:g} s; {names.node} is {group_state(view, item.unit.number)}, "
                        f"{driver} drives; twinbeat why shows what happened"
                    )
        return moved

    def _look(self, item: Moved, view: dict[str, Any], begun_ns: int) -> None:
        """Note the outcome of one handover if there is one."""
        number = item.unit.number
        refused = self._agent.refusals.pop(number, None)
        if refused is not None:
            why = REFUSALS.get(refused.value, "no reason given")
            more = [] if refused.value == 1 else self._reasons(item.unit, refused.node)
            item.trouble = f"refused: {'; '.join([why, *more])}"
            return
        driver = driver_of(view, self._agent.names, number)
        if group_state(view, number) not in OWNING and driver is not None:
            item.driver, item.took_ms = driver, since_ms(begun_ns)

    def _reasons(self, unit: Unit, node: int) -> list[str]:
        """What is known about why the core refused."""
        names = self._agent.names
        taker = names.nodes[node] if node < len(names.nodes) and names.nodes[node] != names.node else None
        return list(self.assessor().plan(unit, taker).reasons)


def names_of(units: Sequence[Unit]) -> str:
    """Units in words."""
    return listed([unit.name for unit in units])


def listed(names: Sequence[str]) -> str:
    """Names in words: all of them, or how many, the first and the last."""
    if len(names) <= TOLD_MAX:
        return ", ".join(names)
    return f"{len(names)} groups ({names[0]} to {names[-1]})"


def refused(what: str, reasons: Sequence[str]) -> RefusedError:
    """A refusal with its reasons; of very many the first ones."""
    different = list(dict.fromkeys(reasons))
    more = [f"and {len(different) - TOLD_MAX} reasons more"] if len(different) > TOLD_MAX else []
    return RefusedError(f"{what} refused: {'; '.join(different[:TOLD_MAX] + more)}")


def outcome(what: str, node: str, moved: Sequence[Moved]) -> dict[str, Any]:
    """The answer of a command that handed units over."""
    shown = [item.described(node) for item in moved]
    troubled = [item for item in moved if item.trouble]
    if not troubled:
        return {"ok": True, "node": node, "groups": shown}
    done = [item.unit.name for item in moved if not item.trouble]
    if len(moved) == 1:
        return failure(f"{what} {troubled[0].trouble}", 1) | {"groups": shown}
    text = "; ".join(f"{item.unit.name} {item.trouble}" for item in troubled[:TOLD_MAX])
    text += f"; and {len(troubled) - TOLD_MAX} more" if len(troubled) > TOLD_MAX else ""
    more = f"; handed over: {listed(done)}" if done else ""
    return failure(f"{what} is not complete: {text}{more}", 1) | {"groups": shown}


def since_ms(begun_ns: int) -> float:
    """Milliseconds since a moment."""
    return round((boottime_ns() - begun_ns) / 1e6, 1)
