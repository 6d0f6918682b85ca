"""What both boards received, in order, for whoever wants to wait for it or evaluate it."""
from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable

from twinbeat.demo.measure import Change


def _at_ns(change: Change) -> int:
    return change.at_ns


class Timeline:
    """Changes of both boards; written by the relay reader's thread, read by anyone."""

    def __init__(self, nodes: list[str]) -> None:
        self.nodes = nodes
        self._changes: list[Change] = []
        self._changed = threading.Condition()

    def add(self, change: Change) -> None:
        """Files a change at its place in time."""
        with self._changed:
            bisect.insort(self._changes, change, key=_at_ns)
            self._changed.notify_all()

    def levels(self) -> dict[str, bool]:
        """The levels now."""
        with self._changed:
            return self._levels()

    def driver(self) -> str | None:
        """The one node whose output is on; None when there is none or more than one."""
        on = [node for node, level in self.levels().items() if level]
        return on[0] if len(on) == 1 else None

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
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not wanted(self._levels()):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def _levels(self) -> dict[str, bool]:
        levels = dict.fromkeys(self.nodes, False)
        for change in self._changes:
            levels[change.node] = change.on
        return levels

    def _since(self, at_ns: int) -> list[Change]:
        first = bisect.bisect_left(self._changes, at_ns, key=_at_ns)
        before = {change.node: change for change in self._changes[:first]}
        return [*sorted(before.values(), key=_at_ns), *self._changes[first:]]
