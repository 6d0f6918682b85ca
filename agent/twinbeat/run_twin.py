"""Notices another agent that runs under this node's name on another machine.

On one machine the lock file refuses the second agent. Elsewhere only its frames tell: they carry the pair's key
and this node's name, but the number of another start.
"""
from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from twinbeat.run_events import EventLog
from twinbeat.run_loop import boottime_ns
from twinbeat.run_words import Names

LOOK_S = 1.0
FORGET_NS = 600 * 10**9
"""After so long without such frames the next one is news again."""


class TwinWatch:
    """Looks at the core's count of such frames; says once in plain words that they come, as long as they do."""

    def __init__(self, names: Names, pair: str, events: EventLog, warnings: list[str]) -> None:
        self._names = names
        self._pair = pair
        self._events = events
        self._warnings = warnings
        self._count = 0
        self._last_ns: int | None = None

    def look(self, core_view: Callable[[], dict[str, Any]]) -> None:
        """Call it every LOOK_S seconds."""
        count = int(core_view()["self_frames"])
        if count == self._count:
            return
        self._count = count
        now_ns = boottime_ns()
        news = self._last_ns is None or now_ns - self._last_ns > FORGET_NS
        self._last_ns = now_ns
        if news:
            text = twin_text(self._names, self._pair)
            if text not in self._warnings:
                self._warnings.append(text)
            self._events.add("SAME_NAME", text, logging.ERROR)


def twin_text(names: Names, pair: str) -> str:
    """What is wrong, and which name the other gateway should most likely have."""
    others = [name for name in names.nodes if name != names.node]
    return (
        f"{names.node}: a second agent of pair {pair} runs on another machine under this name, its frames arrive here; "
        f"start it there with its own name (--node {' or '.join(others)}, or TWINBEAT_NODE)"
    )
