"""What must hold before a drill, and what it would do: read from the agents' answers and the configuration alone."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from twinbeat.config import Config
from twinbeat.drill.report import Condition, Expected, Mark
from twinbeat.screen import entries

Json = dict[str, Any]
SUPERVISORS = (b"INVOCATION_ID=", b"NOTIFY_SOCKET=")


class Figures(Struct, frozen=True, kw_only=True):
    """Computed from the configuration. switch_ms: outputs off and on, per group; worst_ms: the driver dies silently."""

    switch_ms: dict[str, float]
    worst_ms: float
    budget_ms: float | None


def figures_of(cfg: Config) -> Figures:
    """The figures that `twinbeat check` prints."""
    from twinbeat.check import build_report

    outage = build_report(cfg).outage
    switch_ms = {group.name: group.release_ms + group.make_ms for group in cfg.groups}
    return Figures(switch_ms=switch_ms, worst_ms=outage.fast_ms, budget_ms=outage.budget_ms)


def group_of(status: Json, name: str) -> Json:
    """One group of a status; empty where there is none."""
    return next((item for item in entries(status, "groups") if item.get("name") == name), {})


def overlapping(status: Json) -> set[str]:
    """The groups that every node drives at once: nothing of them is handed over."""
    families = entries(status, "families")
    return {str(unit) for family in families if family.get("overlap") for unit in family.get("units", [])}


def chosen_groups(status: Json, wanted: str | None) -> list[str]:
    """The groups of the drill: the one named (or all shards of it), else all that this node drives."""
    names = [str(item.get("name")) for item in entries(status, "groups")]
    apart = overlapping(status)
    if wanted is not None:
        units = {str(family.get("name")): [str(unit) for unit in family.get("units", [])]
                 for family in entries(status, "families")}
        asked = units.get(wanted, [wanted])
        return [name for name in names if name in asked and name not in apart]
    node = status.get("node")
    return [name for name in names if group_of(status, name).get("driver") == node and name not in apart]


class Look:
    """One look at the pair. `status` is this node's, `other` the other agent's where there is a way to it."""

    def __init__(self, status: Json, other: Json | None, plans: Sequence[Json], figures: Figures | None,
                 fault: str) -> None:
        self.status = status
        self.other = other
        self.node = str(status.get("node", "?"))
        self.plans = {str(plan.get("group")): plan for plan in plans}
        self.figures = figures
        self.fault = fault
        self.found: list[Condition] = []

    def add(self, mark: Mark, about: str, text: str) -> None:
        """Note a condition."""
        self.found.append(Condition(about=about, mark=mark, text=text))

    def conditions(self, groups: Sequence[str], wanted: str | None) -> list[Condition]:
        """Every condition, in the order in which people look."""
        self.found = []
        self.add("ok", "agent", f"{self.node} answers, version {self.status.get('version', '?')}")
        self._groups(groups, wanted)
        self._peers(groups)
        self._links()
        self._voter()
        self._self()
        self._way_back()
        self._budget(groups)
        return self.found

    def expected(self, groups: Sequence[str]) -> list[Expected]:
        """Who would drive, and for how long nobody."""
        return [
            Expected(
                group=name,
                driver=group_of(self.status, name).get("driver"),
                taker=self.taker(name),
                gap_ms=self.gap_ms(name),
                worst_ms=self.figures.worst_ms if self.figures else None,
            )
            for name in groups
        ]

    def taker(self, name: str) -> str | None:
        """Who would take a group: as the agent says, else the first node that stands by and is fit."""
        told = self.plans.get(name, {}).get("to")
        if isinstance(told, str):
            return told
        ready = [str(peer.get("name")) for peer in entries(self.status, "peers") if not self._against(peer, name)]
        return ready[0] if ready else None

    def _against(self, peer: Json, name: str) -> list[str]:
        """Why a node could not take a group; where there are three, one may only vote on it."""
        allowed = drivers_of(self.status, name)
        if allowed is not None and peer.get("name") not in allowed:
            return [f"only votes on {name}"]
        return obstacles(peer, name)

    def gap_ms(self, name: str) -> float | None:
        """The agent's own figure, else what the outputs need to switch."""
        told = self.plans.get(name, {}).get("expected_gap_ms")
        if isinstance(told, (int, float)):
            return float(told)
        return self.figures.switch_ms.get(name) if self.figures else None

    def _groups(self, groups: Sequence[str], wanted: str | None) -> None:
        if not groups:
            apart = overlapping(self.status)
            what = f'there is no group "{wanted}" to move' if wanted else f"{self.node} drives nothing that could move"
            hint = f"; {', '.join(sorted(apart))} is driven by every node at once" if apart else ""
            self.add("no", "groups", f"{what}{hint}: run the drill on the node that drives, or name another group")
            return
        for name in groups:
            group = group_of(self.status, name)
            driver, state = group.get("driver"), group.get("state")
            if driver is None:
                self.add("no", name, f"nobody drives it now, {self.node} is {state}: twinbeat why shows what happened")
            elif driver != self.node:
                self.add("no", name, f"{driver} drives it: run the drill there")
            elif group.get("alone"):
                self.add("no", name, f"{self.node} drives it alone, without an answer of the other node")
            else:
                self.add("ok", name, f"{driver} drives it, epoch {group.get('epoch', '?')}")
            self._course(name, group)
        if self.fault != "handover":
            driven = [name for name in chosen_groups(self.status, None) if name not in groups]
            if driven:
                self.add("no", "groups", f"{self.fault} takes every group of this node along, {', '.join(driven)} too: "
                                         "name no group")

    def _course(self, name: str, group: Json) -> None:
        held_ms = group.get("hold_down_ms")
        if isinstance(held_ms, (int, float)) and held_ms > 0:
            self.add("note", name, f"moves by itself are held down for {held_ms / 1000:.0f} s more; a drill's are not")
        if group.get("failback_in_ms") is not None:
            self.add("note", name, "a way back by itself is waiting: it may come in between")
        for reason in self.plans.get(name, {}).get("reasons", []):
            self.add("no", name, str(reason))

    def _peers(self, groups: Sequence[str]) -> None:
        peers = entries(self.status, "peers")
        for name in groups:
            if any(not self._against(peer, name) for peer in peers):
                self.add("ok", name, f"{self.taker(name)} stands by, fit and heard")
                continue
            why = "; ".join(f"{peer.get('name', '?')} {text}" for peer in peers for text in self._against(peer, name))
            self.add("no", name, f"nobody could take it: {why or 'no other node is known'}")

    def _links(self) -> None:
        down = [str(link.get("name")) for link in entries(self.status, "links") if not link.get("up")]
        if down:
            self.add("no", "links", f"{', '.join(down)} not up in both directions: what a drill measures on the "
                                    "rest is something else; mend that first (twinbeat status)")
        else:
            self.add("ok", "links", f"all {len(entries(self.status, 'links'))} up in both directions")

    def _voter(self) -> None:
        voter = self.status.get("third_voter")
        if not isinstance(voter, dict):
            return
        heard_ms = voter.get("heard_ago_ms")
        answers = bool(voter.get("connected")) if "connected" in voter else heard_ms is not None and heard_ms < 2000
        if answers:
            self.add("ok", "third voter", f"the {voter.get('type', 'third voter')} answers")
        else:
            self.add("no", "third voter", "it does not answer: after a fault nobody could take over; mend it first")

    def _self(self) -> None:
        if self.status.get("fit") is False:
            self.add("no", "health", f"{self.node} is not fit, so the roles could not come back: twinbeat status names "
                                     "the failed check")
        else:
            self.add("ok", "health", f"{self.node} is fit")
        if self.fault == "handover":
            return
        kept = supervised(self.status.get("pid"))
        if kept:
            self.add("ok", "restart", "a supervisor started the agent and will start it again")
        else:
            self.add("note", "restart", "nothing is seen that starts the agent again: be ready to do it by hand")

    def _way_back(self) -> None:
        if self.other is not None:
            self.add("ok", "way back", f"{self.other.get('node', '?')} can be asked to hand back")
        else:
            self.add("note", "way back", "the other agent cannot be asked from here: somebody must hand back there "
                                         "(twinbeat handover), or give its forwarded socket with --peer-socket")

    def _budget(self, groups: Sequence[str]) -> None:
        if self.figures is None:
            self.add("note", "budget", "the configuration cannot be read by this user: no computed figures")
            return
        budget_ms = self.figures.budget_ms
        if budget_ms is None:
            self.add("note", "budget", "no outage_budget_ms is set: measured gaps are judged against the worst outage "
                                       f"that twinbeat check computes, {self.figures.worst_ms:.1f} ms")
            return
        over = [name for name in groups if (self.gap_ms(name) or 0.0) > budget_ms]
        if over:
            self.add("no", "budget", f"{', '.join(over)} would be undriven for longer than outage_budget_ms = "
                                     f"{budget_ms:g}")
        else:
            self.add("ok", "budget", f"the expected gaps are within outage_budget_ms = {budget_ms:g}")


def drivers_of(status: Json, group: str) -> list[str] | None:
    """The nodes that may drive a group; None where the agent does not say."""
    for family in entries(status, "families"):
        units, drivers = family.get("units"), family.get("drivers")
        if isinstance(units, list) and isinstance(drivers, list) and group in units[: len(drivers)]:
            return [str(node) for node in drivers[units.index(group)]]
    return None


def obstacles(peer: Json, group: str) -> list[str]:
    """Why a node could not take a group."""
    if peer.get("config_mismatch"):
        return ["runs another configuration"]
    if peer.get("version_mismatch"):
        return ["speaks another protocol version"]
    if not peer.get("alive"):
        return ["is dead, says its gate" if peer.get("dead") else "is silent"]
    found = [] if peer.get("fit", True) else ["is not fit"]
    groups = peer.get("groups")
    state = groups.get(group) if isinstance(groups, dict) else None
    return found if state == "STANDBY" else [*found, f"is {state or 'unknown'} for {group}, not STANDBY"]


def supervised(pid: object) -> bool:
    """Whether a service manager started this process, as far as this user may see."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return any(entry.startswith(SUPERVISORS) for entry in environment.split(b"\0"))
