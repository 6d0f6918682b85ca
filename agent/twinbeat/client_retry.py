"""When a client that has lost its agent, or was sent away, tries again."""
from __future__ import annotations

from twinbeat.errors import AccessRefused, ControlError, RefusedError

RETRY_MIN_S, RETRY_MAX_S = 0.02, 0.1
"""An attempt at a local socket costs microseconds, and a key that is given to this node meanwhile waits for it."""
REFUSED_MAX_S = 2.0
"""After a refusal in words: it would be the same at once."""
STABLE_S = 1.0
"""A connection that lasted so long was a good one: its end is no repetition of earlier trouble."""


class Retry:
    """The growing distance of attempts."""

    def __init__(self) -> None:
        self._delay_s = 0.0

    def after(self, heard_s: float, problem: Exception | None) -> float:
        """Seconds to wait after an attempt in which the agent was heard for `heard_s` and that ended with `problem`."""
        most_s = REFUSED_MAX_S if refused(problem) else RETRY_MAX_S
        first = heard_s >= STABLE_S or self._delay_s == 0.0
        self._delay_s = RETRY_MIN_S if first else min(2 * self._delay_s, most_s)
        return self._delay_s


def refused(problem: Exception | None) -> bool:
    """Whether somebody has to change something first: the answer was no, not understood, or the socket is closed to
    this user. An agent that is not there, or goes, may be there again at any moment."""
    return problem is not None and (
        isinstance(problem, AccessRefused | RefusedError) or not isinstance(problem, ControlError)
    )
