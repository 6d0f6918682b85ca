"""One check without its probe: when it is due, what its answers come to. No clock, no I/O; times are nanoseconds."""
from __future__ import annotations

import enum
from collections import deque
from typing import NamedTuple

MINUTE_NS = 60 * 10**9
QUIET_NS = MINUTE_NS
"""A check that flapped is believed again when nothing was bad for so long."""


class Change(enum.Enum):
    """What a result changed."""

    FAILED = "failed"
    OK = "ok"
    FLAPPING = "flapping"


class Rules(NamedTuple):
    """How one check is looked at. `rise` and `fall` are results in a row; more failures a minute than
    `flaps_per_min` are flapping; a `bad_start` is failed until it has proven itself."""

    every_ns: int
    deadline_ns: int
    rise: int = 2
    fall: int = 3
    flaps_per_min: int = 3
    bad_start: bool = False


class CheckState:
    """Good or failed, and since when.

    A look that has not ended by its deadline counts as failed, once for every interval that it goes on; it is
    never begun a second time before it has ended, and what it says in the end is too late to count.
    """

    def __init__(self, rules: Rules, first_ns: int, now_ns: int) -> None:
        self.rules = rules
        self.good = not rules.bad_start
        self.since_ns = now_ns
        self.known = False
        self.running = False
        self.hung = False
        self.flapping = False
        self.hangs = 0
        self._next_ns = first_ns
        self._deadline_ns = 0
        self._excused = False
        self._token = 0
        self._good_run = 0
        self._bad_run = 0
        self._bad_ns = now_ns
        self._failures: deque[int] = deque()

    @property
    def due_ns(self) -> int:
        """When `overdue` or `start` is to be called next."""
        return self._deadline_ns if self.running else self._next_ns

    def due(self, now_ns: int) -> bool:
        """Whether a look shall begin."""
        return not self.running and now_ns >= self._next_ns

    def start(self, now_ns: int) -> int:
        """A look begins. Returns its number, which its answer must name. Missed looks are not made up for."""
        self.running = True
        self._excused = False
        self._token += 1
        self._deadline_ns = now_ns + self.rules.deadline_ns
        missed = (now_ns - self._next_ns) // self.rules.every_ns
        self._next_ns += (missed + 1) * self.rules.every_ns
        return self._token

    def overdue(self, now_ns: int) -> Change | None:
        """Count a look that has not ended by its deadline; nothing where there is none."""
        if not self.running or now_ns < self._deadline_ns:
            return None
        self.hangs += not self.hung
        self.hung = True
        self._deadline_ns = now_ns + self.rules.every_ns
        return self._count(False, now_ns)

    def answer(self, token: int, ok: bool | None, now_ns: int) -> Change | None:
        """A look ended. `ok` None: it could say nothing yet. A late answer, or one of an older look, does not count."""
        if not self.running or token != self._token:
            return None
        self.running = False
        if self.hung:
            self.hung = False
            return None
        return None if ok is None else self._count(ok, now_ns)

    def excuse(self, now_ns: int) -> None:
        """This process itself did not run: a look that is under way gets its whole time anew, once."""
        if self.running and not self.hung and not self._excused:
            self._excused = True
            self._deadline_ns = now_ns + self.rules.deadline_ns

    def _count(self, ok: bool, now_ns: int) -> Change | None:
        self.known = True
        self._good_run = self._good_run + 1 if ok else 0
        self._bad_run = 0 if ok else self._bad_run + 1
        if not ok:
            self._bad_ns = now_ns
        if self.good:
            return self._fail(now_ns) if self._bad_run >= self.rules.fall else None
        if self._good_run < self.rules.rise or (self.flapping and now_ns - self._bad_ns < QUIET_NS):
            return None
        self.good, self.flapping, self.since_ns = True, False, now_ns
        return Change.OK

    def _fail(self, now_ns: int) -> Change:
        self.good, self.since_ns = False, now_ns
        self._failures.append(now_ns)
        while now_ns - self._failures[0] >= MINUTE_NS:
            self._failures.popleft()
        if len(self._failures) <= self.rules.flaps_per_min:
            return Change.FAILED
        self.flapping = True
        self._failures.clear()
        return Change.FLAPPING
