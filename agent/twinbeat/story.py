"""Role changes as stories: both nodes' records of one change joined, and what one cause moved told once.

The two nodes' clocks are never compared. Records belong together by group and epoch: an epoch is unique for its
group and only rises, so who let go at the highest epoch below another's is who drove before it. Several groups are
one story where one node moved them for one cause within `TOGETHER_NS` of its own clock.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from twinbeat.group_names import compact

Record = dict[str, Any]

TOGETHER_NS = 2_000_000_000

HEADS = {
    "SILENCE": "{giver} fell silent",
    "DEATH_NOTICE": "{giver} died",
    "RELEASED": "{giver} let go",
    "HANDOVER": "planned handover",
    "FAILBACK": "back to the better ranked node",
    "LOAD": "moved for load",
    "WARNING": "moved on an early warning",
    "UNFIT": "{giver} was not fit",
    "OPERATOR": "an operator took it out of service on {giver}",
    "OUTPUT_FAULT": "an output of {giver} failed",
    "STOP": "{giver} was stopped as planned",
    "LAPSED": "{giver} lost its majority",
    "YIELD": "{giver} gave way",
    "HIGHER_EPOCH": "{giver} gave way",
    "THIRD_LOST": "the arbiter no longer heard {giver}",
    "SELF_LATE": "{giver} stood still",
    "COLD_START": "nobody drove",
    "LISTEN_OVER": "an agent started",
    "MAJORITY": "nobody drove",
    "ALONE": "nobody else answered",
}
"""What happened, by the cause that started it."""
UNDRIVEN = ("COLD_START", "LISTEN_OVER", "MAJORITY")
"""Causes of a node that takes what nobody let go of."""


@dataclass
class Change:
    """One group's move: who let go and who took it, as far as there are records; or a step in or out of service.

    `nobody`: who drove next found that nobody did, so nobody took over at once.
    """

    group: str
    let: Record | None = None
    take: Record | None = None
    service: Record | None = None
    nobody: bool = False

    @property
    def anchor(self) -> Record:
        """The record that the change is told by."""
        return self.take or self.let or self.service or {}

    @property
    def cause(self) -> str:
        """What started it: the giver knows better than the taker, who may only have seen it let go."""
        return str((self.let or self.anchor).get("cause", ""))

    @property
    def giver(self) -> str | None:
        """Who drove before, as far as the records say."""
        if self.let is not None:
            return str(self.let.get("node"))
        return giver_of(self.take) if self.take is not None else None


@dataclass
class Story:
    """Changes of one cause. `changes` are in the order of the groups' names as they came."""

    changes: list[Change] = field(default_factory=list)

    @property
    def anchor(self) -> Record:
        """The record of the first change."""
        return self.changes[0].anchor

    @property
    def groups(self) -> list[str]:
        """What moved."""
        return [change.group for change in self.changes]

    @property
    def giver(self) -> str | None:
        """Who drove before; None where nobody did, or it is not known."""
        return self.changes[0].giver

    @property
    def taker(self) -> str | None:
        """Who drives since; None where no record says so."""
        take = self.changes[0].take
        return None if take is None else str(take.get("node"))

    @property
    def overlap(self) -> bool:
        """Whether these are groups that every node drives: there is one half only."""
        return bool(self.anchor.get("overlap"))

    @property
    def nobody(self) -> bool:
        """Whether it is known that nobody took over."""
        return self.changes[0].nobody

    @property
    def lets(self) -> list[Record]:
        """The giver's half."""
        return [change.let for change in self.changes if change.let is not None]

    @property
    def takes(self) -> list[Record]:
        """The taker's half."""
        return [change.take for change in self.changes if change.take is not None]

    @property
    def cause(self) -> str:
        """What started it."""
        return self.changes[0].cause

    def headline(self) -> str:
        """The story in one line."""
        first = self.changes[0]
        if first.service is not None:
            word = "taken out of service" if first.service.get("to") == "OUT" else "put back into service"
            return f"{compact(self.groups)} {word} on {first.service.get('node')}"
        if self.overlap:
            nodes = self.taker or self.giver
            return f"{nodes} {'drives' if self.takes else 'no longer drives'} {compact(self.groups)}, as every node may"
        head = HEADS.get(self.cause, self.cause.lower().replace("_", " ") or "no cause given")
        head = head.format(giver=self.giver or "the other node")
        if self.taker is None:
            return f"{head}: {self.giver} let go of {compact(self.groups)}"
        if self.taker == self.giver:
            return f"{head}: {self.giver} let go of {compact(self.groups)} and took it again"
        return f"{head}: {compact(self.groups)} -> {self.taker}"

    def as_data(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "headline": self.headline(),
            "time": self.anchor.get("time"),
            "cause": self.cause,
            "giver": self.giver,
            "taker": self.taker,
            "groups": self.groups,
            "epochs": {
                change.group: [half and half.get("epoch") for half in (change.let, change.take or change.service)]
                for change in self.changes
            },
        }


def giver_of(take: Record) -> str | None:
    """Who drove before, by what the taker had heard."""
    if take.get("cause") in UNDRIVEN:
        return None
    evidence = take.get("evidence")
    peers = evidence.get("peers") if isinstance(evidence, dict) else None
    heard = [peer for peer in peers if isinstance(peer, dict)] if isinstance(peers, list) else []
    drove = [peer for peer in heard if peer.get("gate_said_dead") or peer.get("said_state") in ("ACTIVE", "RELEASING")]
    found = drove or (heard if len(heard) == 1 else [])
    best = max(found, key=lambda peer: peer.get("said_epoch") or 0, default=None)
    return None if best is None else str(best.get("node"))


def joined(records: Iterable[Record]) -> list[Change]:
    """The changes of every group, the halves joined by epoch."""
    by_group: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_group[str(record.get("group"))].append(record)
    return [change for group, found in by_group.items() for change in joined_group(group, found)]


def joined_group(group: str, records: list[Record]) -> list[Change]:
    """The changes of one group. Where every node drives it, nothing is joined: nobody takes over from anybody."""
    takes = sorted((record for record in records if record.get("to") == "ACTIVE"), key=epoch_of)
    lets = [record for record in records if record.get("from") == "ACTIVE"]
    steps = [record for record in records if record.get("to") != "ACTIVE" != record.get("from")]
    changes = [Change(group, service=record) for record in steps]
    if any(record.get("overlap") for record in records):
        return [*changes, *(Change(group, let) for let in lets), *(Change(group, take=take) for take in takes)]
    before = 0
    for take in takes:
        near = [let for let in lets if before <= epoch_of(let) < epoch_of(take) and agrees(let, take)]
        let = max(near, key=epoch_of, default=None)
        lets = [other for other in lets if other is not let]
        if let is not None and take.get("cause") in UNDRIVEN:
            changes.append(Change(group, let, nobody=True))
            let = None
        changes.append(Change(group, let, take))
        before = epoch_of(take)
    return changes + [Change(group, let) for let in lets]


def agrees(let: Record, take: Record) -> bool:
    """Whether the taker's evidence does not speak against this having been who let go before it.

    Only who drives tells its own epoch; others tell the highest that they have seen.
    """
    evidence = take.get("evidence")
    peers = evidence.get("peers") if isinstance(evidence, dict) else None
    for peer in peers if isinstance(peers, list) else []:
        if isinstance(peer, dict) and peer.get("node") == let.get("node"):
            said = peer.get("said_epoch")
            drove = peer.get("said_state") in ("ACTIVE", "RELEASING")
            return not drove or not isinstance(said, int) or said <= epoch_of(let)
    return True


def stories(records: Iterable[Record]) -> list[Story]:
    """All stories, oldest first by the wall clocks, which is an order for readers and no more."""
    found: list[Story] = []
    last: dict[tuple[Any, ...], Story] = {}
    for change in sorted(joined(records), key=lambda change: str(change.anchor.get("time", ""))):
        anchor = change.anchor
        kind = anchor.get("to"), bool(anchor.get("overlap")), change.nobody, change.take is None, change.let is None
        key = (anchor.get("node"), change.cause, change.giver, kind)
        story = last.get(key)
        if story is None or change.group in story.groups or not together(story.changes[-1].anchor, anchor):
            story = last[key] = Story()
            found.append(story)
        story.changes.append(change)
    return found


def together(one: Record, other: Record) -> bool:
    """Whether two records of one node are of one moment."""
    first, second = one.get("boottime_ns"), other.get("boottime_ns")
    return isinstance(first, int) and isinstance(second, int) and abs(first - second) <= TOGETHER_NS


def epoch_of(record: Record) -> int:
    """The epoch of a record."""
    epoch = record.get("epoch")
    return epoch if isinstance(epoch, int) else 0
