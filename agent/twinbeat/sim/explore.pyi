from collections.abc import Sequence
from typing import Any, NamedTuple

from twinbeat.sim.spec import Action, WorldSpec

class Choice(NamedTuple):
    """One fault that the search may insert: an Action without its time, before a step of node `before` (ALL: any)."""

    action: Action
    before: int

class Found(NamedTuple):
    """A schedule that breaks a rule: what was done when, from the start of the run."""

    actions: list[Action]
    rule: int
    at_ns: int

class Explorer:
    """A search over the schedules of one world: `spec.worst`, links without `fifo`, or what is found is no scenario."""

    def __init__(self, spec: WorldSpec, boot: Sequence[Action], choices: Sequence[Choice], delays_ns: Sequence[int],
                 room_bits: int = 24, *, lose: bool = True, twice: bool = True) -> None: ...
    @property
    def bound_ns(self) -> int: ...
    def search(
        self, faults: int, begin_ns: int, window_ns: int, limit: int, liveness: bool = True
    ) -> dict[str, Any]: ...
    def found(self) -> Found: ...
