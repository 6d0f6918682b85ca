"""Whether a unit could be handed to another node now, and if not, what would have to change.

Made from what the core shows at this moment, in the core's own words: the rehearsal of a handover and its refusal
say the same.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twinbeat.run_loads import Loads
from twinbeat.run_units import Unit, Units
from twinbeat.run_view import driver_of, group_state, path_state
from twinbeat.run_words import Names
from twinbeat_core.model import FrameFlag

View = Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """A handover as it would go. `taker` None: nobody can take it. `reasons` say why not, each with its remedy."""

    unit: Unit
    taker: str | None
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    facts: tuple[dict[str, Any], ...] = ()
    gap: dict[str, float] = field(default_factory=dict)

    @property
    def would(self) -> bool:
        """Whether it would succeed."""
        return self.taker is not None and not self.reasons

    def described(self, node: str) -> dict[str, Any]:
        """For an answer."""
        return {
            "group": self.unit.name,
            "from": node,
            "to": self.taker,
            "would": self.would,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "expected_gap_ms": self.gap.get("all_ms"),
            "gap": {key: value for key, value in self.gap.items() if key != "all_ms"},
            "prepare_hooks": self.unit.hooks,
            "prepare_limit_ms": self.unit.prepare_ms,
            "takers": list(self.facts),
        }


class Assessor:
    """Looks at one view of the core. `view` is `NodeAgent.core_view()`; `loads` tell what a load of 0 means."""

    def __init__(self, view: View, names: Names, units: Units, loads: Loads | None = None) -> None:
        self._view = view
        self._names = names
        self._units = units
        self._loads = loads or Loads()
        self._peers = {names.node_name(peer["node"]): peer for peer in view["peers"]}

    def plan(self, unit: Unit, taker: str | None) -> Plan:
        """The handover of a unit driven here to `taker`, or to the best ranked node that is ready."""
        reasons = self.not_here(unit)
        others = [name for name in unit.drivers if name != self._names.node] if taker is None else [taker]
        chosen = (self.best(unit) or "") if taker is None else taker
        if taker is not None or not chosen:
            reasons += [text for name in others for text in self.obstacles(unit, name)]
            reasons += [] if others else [f"no other node may drive {unit.name}"]
        known = chosen in self._peers and chosen in unit.drivers
        return Plan(
            unit=unit,
            taker=chosen or None,
            reasons=tuple(reasons),
            notes=tuple(self.notes(unit, chosen)) if known else (),
            facts=tuple(self.facts(unit, name) for name in others),
            gap=self.gap(unit, chosen) if known else {},
        )

    def not_here(self, unit: Unit) -> list[str]:
        """Why this node has nothing to hand over; empty where it drives the unit."""
        me = self._names.node
        if unit.overlap:
            return [
                f"every node that may drives {unit.name} at the same time (overlap): there is nothing to hand over; "
                f"take it out of service on the node that shall not drive: twinbeat out {unit.name}"
            ]
        if group_state(self._view, unit.number) == "ACTIVE":
            return []
        driver = driver_of(self._view, self._names, unit.number)
        who = f"{driver} does: ask the agent there" if driver else "nobody does"
        return [f"{me} does not drive {unit.name}; {who}"]

    def best(self, unit: Unit) -> str | None:
        """The best ranked other node that could take the unit now."""
        others = (name for name in unit.drivers if name != self._names.node)
        return next((name for name in others if not self.obstacles(unit, name)), None)

    def home(self, unit: Unit) -> str:
        """The best ranked node that is ready, this one included."""
        me = self._names.node
        ready = (name for name in unit.drivers if name == me or not self.obstacles(unit, name))
        return next(ready, me)

    def in_maintenance(self, node: str) -> bool:
        """Whether a node that is heard has everything it may drive out of service."""
        peer = self._peers.get(node)
        rows = [unit.number for unit in self._units.items if node in unit.drivers]
        return peer is not None and alive(peer) and bool(rows) and all(
            peer["rows"][number]["state"] == "OUT" for number in rows
        )

    def obstacles(self, unit: Unit, node: str) -> list[str]:
        """Why `node` cannot take the unit now, each with what would have to change. Empty: it can."""
        if node not in unit.drivers:
            return [f"{node} may not drive {unit.name}, it only votes; name one of {', '.join(unit.drivers)}"]
        peer = self._peers.get(node)
        if peer is None:
            return [f"{node} is not known to the core"]
        unheard = self._unheard(node, peer)
        if unheard:
            return [unheard]
        found = []
        if not peer["grant_ms"]:
            found.append(f"{node} does not answer this node: see its links in twinbeat status")
        if peer["flags"] & FrameFlag.FLAG_STOPPING:
            found.append(f"{node} is stopping: wait until its agent runs again")
        if peer["flags"] & FrameFlag.FLAG_UNFIT:
            found.append(f"{node} is not fit (health {peer['health']}): twinbeat status there names the failed check")
        if peer["flags"] & FrameFlag.FLAG_BEHIND:
            found.append(f"{node} is behind with its copy of the data: wait until it is in step")
        return found + self._out_of_step(unit, node, str(peer["rows"][unit.number]["state"]))

    def _unheard(self, node: str, peer: Mapping[str, Any]) -> str:
        if peer["config_mismatch"]:
            return f"{node} runs another configuration: make the files equal and restart the agent whose file was wrong"
        if peer["version_mismatch"]:
            return f"{node} speaks another protocol version: twinbeat upgrade-check tells which work together"
        if peer["dead"]:
            return f"the agent of {node} died, says its gate: start it again there (systemctl status twinbeat)"
        if not peer["heard"]:
            return f"{node} has not been heard since this agent started: look at that gateway and at the links to it"
        if not peer["known"]:
            return f"{node} is heard but does not hear this node: see its links in twinbeat status"
        if peer["silent"]:
            ago = peer["silent_ms"]
            return f"{node} is silent, last heard {ago:.0f} ms ago: look at that gateway and at the links to it"
        return ""

    def _out_of_step(self, unit: Unit, node: str, state: str) -> list[str]:
        """What the node says of the unit itself."""
        if state == "STANDBY":
            return []
        if state == "OUT" and self.in_maintenance(node):
            return [f"{node} is in maintenance: end it there with twinbeat maintenance off (or twinbeat in)"]
        if state == "OUT":
            return [f"{node} has {unit.name} out of service: put it back there with twinbeat in {unit.name}"]
        if state == "LISTEN":
            return [f"{node} still abstains after its start: ask again in a few seconds"]
        return [f"{node} is {state} itself: the role moves now; ask again"]

    def facts(self, unit: Unit, node: str) -> dict[str, Any]:
        """What is known of a node as a taker of the unit."""
        peer = self._peers.get(node)
        obstacles = self.obstacles(unit, node)
        if peer is None:
            return {"node": node, "ready": False, "reasons": obstacles}
        state = str(peer["rows"][unit.number]["state"])
        return {
            "node": node,
            "ready": not obstacles,
            "reasons": obstacles,
            "may_drive": node in unit.drivers,
            "heard": alive(peer),
            "heard_ms_ago": peer["silent_ms"] if peer["heard"] else None,
            "links": {self._names.link_name(path["link"]): path_state(path) for path in peer["paths"]},
            "fit": not peer["flags"] & FrameFlag.FLAG_UNFIT,
            "health": peer["health"],
            "load": self._loads.of(node, peer["load"], peer["heard"]),
            "in_step": not peer["flags"] & FrameFlag.FLAG_BEHIND,
            "state": state,
            "in_service": state != "OUT",
            "in_maintenance": self.in_maintenance(node),
            "stopping": bool(peer["flags"] & FrameFlag.FLAG_STOPPING),
            "reaches_third_voter": bool(peer["flags"] & FrameFlag.FLAG_THIRD) if unit.gated else None,
        }

    def notes(self, unit: Unit, taker: str) -> list[str]:
        """What does not keep the handover from being done, but should be known before."""
        found = []
        own = self._view["groups"][unit.number]
        held_ms = own.get("hold_down_ms") or 0
        if held_ms:
            found.append(
                f"moves of {unit.name} are held down for {held_ms / 1000:.1f} s after {own.get('changes', 0)} changes; "
                "an operator's handover is not"
            )
        if unit.gated and not self._peers[taker]["flags"] & FrameFlag.FLAG_THIRD:
            found.append(f"{taker} does not reach the arbiter: what it drives would not reach the load")
        if unit.hooks:
            found.append(
                f"{taker} first runs {unit.hooks} prepare hook{'s' if unit.hooks > 1 else ''}, for at most "
                f"{unit.prepare_ms:g} ms; if one fails, nothing moves"
            )
        if unit.failback == "after" and unit.ranks_before(self._names.node, taker):
            found.append(f'it comes back by itself: failback = "after", and {self._names.node} ranks before {taker}')
        return found

    def gap(self, unit: Unit, taker: str) -> dict[str, float]:
        """How long nobody would drive: the release here, two hops on the fastest link that is up, the make there."""
        paths = self._peers[taker]["paths"] if taker in self._peers else ()
        up = [self._units.round_trips_ms[path["link"]] for path in paths if path_state(path) == "UP"]
        hops_ms = min(up, default=0.0)
        all_ms = unit.release_ms + unit.make_ms + hops_ms
        return {
            "release_ms": round(unit.release_ms, 3),
            "make_ms": round(unit.make_ms, 3),
            "two_hops_ms": round(hops_ms, 3),
            "all_ms": round(all_ms, 3),
        }


def alive(peer: Mapping[str, Any]) -> bool:
    """Whether another node is heard."""
    return bool(peer["known"] and not peer["dead"] and not peer["silent"])
