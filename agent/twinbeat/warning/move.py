"""predict = "handover": which groups to propose to whom, when this node alone is going to be in trouble. Pure.

It proposes only (the core's CMD_MOVE: a planned handover that the core may refuse), and fences never. A node whose own
figures are going to matter takes POINTS off its score of health, and frames carry that score to the peer: so a proposal
goes only to a node whose score is higher than one's own, and two nodes in the same hot cabinet do not throw a role to
and fro.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from twinbeat.warning.figures import Warned
from twinbeat_core.model import FrameFlag

POINTS = 10
"""Taken off the score of health while a figure of this node alone matters or will within the horizon."""
SETTLE_S = 60.0
"""So long a warning must stand first: the peer may be about to see the same."""
SETTLE_SHARE = 0.25
"""But at most this share of the time that is left, and"""
SETTLE_LEAST_S = 5.0
"""at least so long, for the scores to be heard."""
NOT_READY = FrameFlag.FLAG_UNFIT | FrameFlag.FLAG_STOPPING | FrameFlag.FLAG_BEHIND
GAP_S = 10.0
"""Least distance of two proposals."""


def mattering(warnings: Sequence[Warned]) -> list[Warned]:
    """Those of this node alone that matter now or at a time in sight."""
    return [warned for warned in warnings if warned.own and warned.matters_in_s is not None]


class Mover:
    """Remembers what was proposed: each group once until no such warning stands any more."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._proposed: set[int] = set()
        self._last_s = float("-inf")

    def look(self, now_s: float, warnings: Sequence[Warned], core: Mapping[str, Any]) -> tuple[int, int, Warned] | None:
        """(group, node, why) to propose now; None: nothing. At most one at a time."""
        grave = mattering(warnings)
        if not grave:
            self._since_s = None
            self._proposed.clear()
            return None
        self._since_s = now_s if self._since_s is None else self._since_s
        worst = min(grave, key=lambda one: one.matters_in_s or 0.0)
        settle_s = min(SETTLE_S, max(SETTLE_LEAST_S, SETTLE_SHARE * (worst.matters_in_s or 0.0)))
        if now_s - self._since_s < settle_s or now_s - self._last_s < GAP_S:
            return None
        for group in core["groups"]:
            number = int(group["group"])
            if number in self._proposed or group["state"] != "ACTIVE":
                continue
            node = max(takers(core, number), default=None)
            if node is not None:
                self._proposed.add(number)
                self._last_s = now_s
                return number, -node[1], worst
        return None


def takers(core: Mapping[str, Any], group: int) -> Iterator[tuple[int, int]]:
    """(score, minus node) of every other node that stands by for a group and has a better score than this one."""
    for peer in core["peers"]:
        heard = peer["known"] and not peer["dead"] and not peer["silent"]
        fit = not peer["flags"] & NOT_READY
        if heard and fit and peer["rows"][group]["state"] == "STANDBY" and peer["health"] > core["health"]:
            yield peer["health"], -peer["node"]
