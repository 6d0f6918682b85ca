"""Whose turn it is: one command that changes roles at a time, whoever gave it and whichever way it came."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twinbeat.errors import RefusedError
from twinbeat.run_loop import boottime_ns

LOCAL = "somebody on this gateway"
WHO_KEY = "by"
"""Under this key of a request stands who asks: in words, for refusals and events."""

Release = Callable[[], None]


@dataclass
class Holder:
    """A command under way. `until_ns` (CLOCK_BOOTTIME): it is over then, whether or not it was given back."""

    what: str
    who: str
    until_ns: int


class CommandTurn:
    """Only for the loop's thread. A turn that nobody gives back ends by itself, so no command can lock out the rest."""

    def __init__(self, clock_ns: Callable[[], int] = boottime_ns) -> None:
        self._clock_ns = clock_ns
        self._holder: Holder | None = None

    @property
    def holder(self) -> Holder | None:
        """The command under way now."""
        if self._holder is not None and self._clock_ns() >= self._holder.until_ns:
            self._holder = None
        return self._holder

    def take(self, what: str, who: str, limit_s: float) -> Release:
        """Have the turn for at most `limit_s` seconds; returns what gives it back, once or more often.

        `what` is the command in words ("handover of pump"), `who` gave it. Raises RefusedError while another
        command has the turn, saying which, whose, and how long it lasts at most.
        """
        held = self.holder
        if held is not None:
            left_s = (held.until_ns - self._clock_ns()) / 1e9
            raise RefusedError(
                f"{what} refused: {held.what} by {held.who} is under way and over in {left_s:.1f} s at the latest; "
                "look at its outcome with twinbeat status, then ask again"
            )
        mine = self._holder = Holder(what, who, self._clock_ns() + int(limit_s * 1e9))

        def release() -> None:
            if self._holder is mine:
                self._holder = None

        return release


def who_asks(request: Mapping[str, Any]) -> str:
    """Who gave a request, in words; a request without a word about it came from the control socket."""
    who = request.get(WHO_KEY)
    return who if isinstance(who, str) and who else LOCAL
