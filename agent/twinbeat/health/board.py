"""All checks of a node, and what they come to: fit or not, a score, a load. No clock and no I/O of its own."""
from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from twinbeat.config_check import CheckTable
from twinbeat.health.probe import Measured
from twinbeat.health.state import QUIET_NS, Change, CheckState, Rules
from twinbeat_core.events import Health

REPEAT_NS = 3 * 10**9
"""The core is told again after so long, whatever happened: an event that was lost must not last."""
LOAD_STEP = 5
SPREAD_NS = 20_000_000
REASONS_MAX = 3
NS_PER_MS = 1_000_000

Tell = Callable[[str, str, int], None]


class Entry:
    """One check: its table, its state, and what its probe said last."""

    def __init__(self, check: CheckTable, number: int, now_ns: int) -> None:
        rules = Rules(
            every_ns=check.every_ms * NS_PER_MS,
            deadline_ns=check.answer_ms * NS_PER_MS,
            rise=check.rise,
            fall=check.fall,
            flaps_per_min=check.flaps_per_min,
            bad_start=check.initial == "bad",
        )
        self.check = check
        # Not all in the same instant: one thread then serves them all.
        self.state = CheckState(rules, now_ns + number * SPREAD_NS, now_ns)
        self.last: Measured | None = None
        self.last_error = ""

    def note(self, measured: Measured) -> None:
        """Keep what was measured for status and sentences."""
        self.last = measured
        if measured.error:
            self.last_error = measured.error

    def because(self) -> str:
        """Why it is not good, for a sentence."""
        if self.state.hung:
            return f"no answer within {self.check.answer_ms} ms"
        return self.last.text() if self.last is not None else "no result yet"


class HealthBoard:
    """The checks of one node.

    `load` is in percent, None where it is not known: the core is told 0 then.
    `post(event)` sends an event to the core and says whether it was taken; `tell(code, text, level)` notes an event
    for people. The score is 100 less the points of what fails; a check with effect "unfit" takes all of them. At 0
    the node is not fit to drive.
    """

    def __init__(self, checks: Sequence[CheckTable], post: Callable[[Health], bool], tell: Tell, now_ns: int) -> None:
        self.entries = [Entry(check, number, now_ns) for number, check in enumerate(checks)]
        self.load: int | None = None
        self._post = post
        self._tell = tell
        self._posted: Health | None = None

    @property
    def score(self) -> int:
        """From 100 to 0."""
        return max(0, 100 - sum(entry.check.taken for entry in self.entries if not entry.state.good))

    @property
    def fit(self) -> bool:
        """Whether this node may be asked to drive."""
        return self.score > 0

    def due_ns(self) -> int:
        """When the next check is due or over its deadline."""
        return min(entry.state.due_ns for entry in self.entries)

    def excuse(self, now_ns: int) -> None:
        """This process stood still: no check is to blame for that."""
        for entry in self.entries:
            entry.state.excuse(now_ns)

    def overdue(self, entry: Entry, now_ns: int) -> None:
        """See whether a check is over its deadline."""
        change = entry.state.overdue(now_ns)
        if entry.state.hung:
            entry.last_error = entry.because()
        self._changed(entry, change)

    def answer(self, entry: Entry, token: int, measured: Measured, now_ns: int) -> None:
        """A probe has looked."""
        entry.note(measured)
        self._changed(entry, entry.state.answer(token, measured.ok, now_ns))

    def publish(self, now_ns: int) -> None:
        """Tell the core what has changed, and the same again now and then."""
        last, event = self._posted, Health(now_ns, self.fit, self.score, self.load or 0)
        if last is not None and (last.fit, last.score) == (event.fit, event.score):
            if abs(last.load - event.load) < LOAD_STEP and now_ns - last.now_ns < REPEAT_NS:
                return
        if self._post(event):
            self._posted = event

    def reasons(self) -> list[str]:
        """What makes this node unfit, or takes points off; empty when nothing does."""
        bad = [entry for entry in self.entries if not entry.state.good and entry.check.taken]
        bad.sort(key=lambda entry: -entry.check.taken)
        texts = [f"check {entry.check.name}: {entry.because()}" for entry in bad[:REASONS_MAX]]
        return texts + ([f"and {len(bad) - REASONS_MAX} more"] if len(bad) > REASONS_MAX else [])

    def describe(self, now_ns: int) -> dict[str, Any]:
        """What status shows."""
        return {
            "fit": self.fit,
            "score": self.score,
            "load": self.load,
            "checks": [describe(entry, now_ns) for entry in self.entries],
        }

    def _changed(self, entry: Entry, change: Change | None) -> None:
        if change is None:
            return
        name, why = entry.check.name, entry.because()
        if change is Change.OK:
            self._tell("CHECK_OK", f"check {name} is good again: {why}{self._outcome()}", logging.INFO)
        elif change is Change.FAILED:
            level = logging.WARNING if entry.check.taken < 100 else logging.ERROR
            self._tell("CHECK_FAILED", f"check {name} failed: {why}{self._outcome()}", level)
        else:
            times = f"more than {entry.check.flaps_per_min} times a minute"
            quiet = f"it stays failed until nothing was bad for {QUIET_NS // 10**9} s"
            self._tell("CHECK_FLAPPING", f"check {name} failed {times}: {why}; {quiet}{self._outcome()}", logging.ERROR)

    def _outcome(self) -> str:
        return f"; score {self.score}" if self.fit else "; this node is not fit to drive"


def describe(entry: Entry, now_ns: int) -> dict[str, Any]:
    """One check for status."""
    state, last = entry.state, entry.last
    word = "good" if state.good else "flapping" if state.flapping else "failed"
    return {
        "name": entry.check.name,
        "type": getattr(entry.check, "type", "?"),
        "state": word,
        "effect": entry.check.effect,
        "points": entry.check.taken,
        "value": last.value if last else None,
        "figure": last.figure if last else None,
        "limit": last.limit if last else None,
        "since_ms": round((now_ns - state.since_ns) / NS_PER_MS, 1),
        "known": state.known,
        "hung": state.hung,
        "hangs": state.hangs,
        "last_error": entry.last_error or None,
    }
