"""The last things that happened, in order, for `twinbeat events`, the log and telemetry."""
from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from twinbeat.run_loop import boottime_ns
from twinbeat.run_words import Reported
from twinbeat.verdict import utc_now
from twinbeat_core.model import State

log = logging.getLogger("twinbeat")

KEPT = 512
LOGGED_PER_S = 20.0
LOGGED_BURST = 100.0
VAIN_SHOWN = 6
VAIN_PAUSE_NS = 10_000_000_000


class EventLog:
    """A ring of events. `publish(code, text, at_ns)` is told of each one that is worth telling outside.

    A link that flaps must not fill a disk: the ring takes everything, the log a bounded number a second.
    """

    def __init__(self, publish: Callable[[str, str, int], None], clock_ns: Callable[[], int] = boottime_ns) -> None:
        self.unlogged = 0
        self._publish = publish
        self._clock_ns = clock_ns
        self._ring: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._next = 1
        self._tokens = LOGGED_BURST
        self._filled_ns = clock_ns()

    def add(
        self, code: str, text: str, level: int = logging.INFO, at_ns: int | None = None, group: str | None = None
    ) -> None:
        """Note an event; `at_ns` is when it happened (CLOCK_BOOTTIME), `group` what it is about if it is about one."""
        at_ns = self._clock_ns() if at_ns is None else at_ns
        event = {
            "seq": self._next,
            "time": utc_now(),
            "boottime_ns": at_ns,
            "level": logging.getLevelName(level).lower(),
            "code": code,
            "text": text,
        }
        self._ring.append(event if group is None else event | {"group": group})
        self._next += 1
        if level <= logging.DEBUG:
            return
        self._log(level, text)
        self._publish(code, text, at_ns)

    def last(self, count: int, after: int = 0) -> list[dict[str, Any]]:
        """The newest `count` events with a sequence number above `after`, oldest first."""
        fitting = [event for event in self._ring if event["seq"] > after]
        return fitting[-count:] if count > 0 else []

    def _log(self, level: int, text: str) -> None:
        now_ns = self._clock_ns()
        self._tokens = min(LOGGED_BURST, self._tokens + (now_ns - self._filled_ns) / 1e9 * LOGGED_PER_S)
        self._filled_ns = now_ns
        if self._tokens < 1.0:
            self.unlogged += 1
            return
        self._tokens -= 1.0
        log.log(level, "%s", text)


class VainClaims:
    """Claims that come to nothing, again and again: cut off from its peer, a standby is refused five times a second.

    The first few are told one by one, the rest as a number once something else happens to the group.
    """

    def __init__(self) -> None:
        self._count: dict[int, int] = {}
        self._last_ns: dict[int, int] = {}

    def take(self, report: Reported) -> tuple[bool, int]:
        """(whether to tell this change of state, how many changes before it were not told)."""
        group, at_ns = report.group, report.at_ns
        back_and_forth = {report.node, report.value} == {State.STANDBY, State.CLAIMING}
        quiet = at_ns - self._last_ns.get(group, at_ns) > VAIN_PAUSE_NS
        untold = 0
        if not back_and_forth or quiet:
            untold = max(0, self._count.pop(group, 0) - VAIN_SHOWN)
        if not back_and_forth:
            return True, untold
        self._last_ns[group] = at_ns
        self._count[group] = self._count.get(group, 0) + 1
        return self._count[group] <= VAIN_SHOWN, untold
