"""What the boards received, in order, for whoever wants to wait for it or evaluate it."""
from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable

from twinbeat.demo.measure import Change


def _at_ns(change: Change) -> int:
    return change.at_ns


class Timeline:
    """Changes of every board; written by the relay reader's thread, read by anyone.

    A node has a board for each of `units` units. What is asked without a unit is about the first one.
    """

    def __init__(self, nodes: list[str], units: int = 1) -> None:
        self.nodes = nodes
        self.units = units
        self._changes: list[Change] = []
        self._newest: dict[tuple[int, str], Change] = {}
        self._changed = threading.Condition()

    def add(self, *changes: Change) -> None:
        """Files changes, each at its place in time."""
        with self._changed:
            for change in changes:
                bisect.insort(self._changes, change, key=_at_ns)
                newest = self._newest.get((change.unit, change.node))
                if newest is None or newest.at_ns <= change.at_ns:
                    self._newest[change.unit, change.node] = change
            self._changed.notify_all()

    def levels(self, unit: int = 0) -> dict[str, bool]:
        """The levels now."""
        with self._changed:
            return self._levels(unit)

    def driver(self) -> str | None:
        """The one node whose output is on; None when there is none or more than one."""
        on = [node for node, level in self.levels().items() if level]
        return on[0] if len(on) == 1 else None

    def drivers(self) -> list[frozenset[str]]:
        """Of each unit: the nodes whose output is on."""
        with self._changed:
            return self._drivers()

    def since(self, at_ns: int) -> list[Change]:
        """Every change from `at_ns` on, after one earlier change of each board, so that its level is known."""
        with self._changed:
            return self._since(at_ns)

    def forget_before(self, at_ns: int) -> None:
        """Keeps long runs bounded: drops all but the last change of each board before `at_ns`."""
        with self._changed:
            self._changes = self._since(at_ns)

    def wait(self, wanted: Callable[[dict[str, bool]], bool], timeout_s: float) -> bool:
        """Until the levels are as wanted; False when the time ran out."""
        return self._wait(lambda: wanted(self._levels(0)), timeout_s)

    def wait_drivers(self, wanted: Callable[[list[frozenset[str]]], bool], timeout_s: float) -> bool:
        """Until the units are driven as wanted; False when the time ran out."""
        return self._wait(lambda: wanted(self._drivers()), timeout_s)

    def _wait(self, true: Callable[[], bool], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not true():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def _levels(self, unit: int) -> dict[str, bool]:
        newest = {node: self._newest.get((unit, node)) for node in self.nodes}
        return {node: change is not None and change.on for node, change in newest.items()}

    def _drivers(self) -> list[frozenset[str]]:
        return [frozenset(node for node, on in self._levels(unit).items() if on) for unit in range(self.units)]

    def _since(self, at_ns: int) -> list[Change]:
        first = bisect.bisect_left(self._changes, at_ns, key=_at_ns)
        before = {(change.unit, change.node): change for change in self._changes[:first]}
        return [*sorted(before.values(), key=_at_ns), *self._changes[first:]]
