"""The schedule of one run while it is drawn: actions, and for each the fault that it belongs to."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from twinbeat.sim.engine import Rng
from twinbeat.sim.spec import ALL, Action, Verb
from twinbeat.sim.worlds import Shape

T = TypeVar("T")
ALONE, UNPROMISED, BESIDE = range(3)
CIRCUMSTANCES = ("alone", "not promised", "with others")
"""How a fault came: alone in a settled world; alone, but where this world promises no driver; beside other faults."""
SMALL_LOSS = 102                # ten percent
UNDONE_OTHERWISE = 4            # of 16 faults: by an action of its own, or not before all is healed
Row = tuple[int, int, Action, str, int, bool]

UNDO = {
    Verb.KILL: Verb.RESTART, Verb.POWER: Verb.RESTART, Verb.STOP: Verb.RESTART,
    Verb.STALL: Verb.RESUME, Verb.FREEZE: Verb.RESUME, Verb.SUSPEND: Verb.RESUME,
    Verb.STICK: Verb.UNSTICK, Verb.OUT: Verb.IN,
    Verb.VOTER_KILL: Verb.VOTER_RESTART, Verb.VOTER_CUT: Verb.VOTER_HEAL,
}
"""How a fault is ended by an action of its own, where it does not end by itself."""


class Draw:
    """What has been drawn so far. `exact`: every fault ends when it says, as the ordered profiles need."""

    __slots__ = ("circumstances", "exact", "groups", "links", "name", "nodes", "rng", "rows", "unpromised")

    def __init__(self, rng: Rng, shape: Shape, *, exact: bool) -> None:
        self.rng = rng
        self.nodes = shape.nodes
        self.links = len(shape.links)
        self.groups = shape.groups
        self.exact = exact
        self.circumstances = ALONE
        self.name = "start"
        self.unpromised = False
        self.rows: list[Row] = []

    def add(self, at: int, verb: Verb, node: int = ALL, peer: int = ALL, link: int = ALL, group: int = ALL,
            value: int = 0, lasts: int = 0, begins: bool = True) -> None:
        """One action of the fault that is being drawn."""
        share = self.circumstances
        if share == ALONE and self.unpromised:
            share = UNPROMISED
        self.rows.append((at, len(self.rows), Action(at, verb, node, peer, link, group, value, lasts), self.name,
                          share, begins))

    def fault(self, fault: Fault, at: int, lasts: int) -> int:
        """Draw what this fault does from `at` on; when it is over."""
        self.name = fault.name
        self.unpromised = fault.unpromised
        return fault.draw(self, at, lasts)

    def lasting(self, at: int, lasts: int, verb: Verb, node: int = ALL, peer: int = ALL, link: int = ALL,
                group: int = ALL, value: int = 0) -> int:
        """A fault that ends by itself, or in some runs by an action of its own, or not before everything is healed."""
        how = 0 if self.exact else self.rng.below(16)
        if how < 16 - UNDONE_OTHERWISE or (how < 15 and verb not in UNDO):
            self.add(at, verb, node, peer, link, group, value, lasts)
        else:
            self.add(at, verb, node, peer, link, group, value)
            if how < 15:
                self.add(at + lasts, UNDO[verb], node, peer, link, group, begins=False)
        return at + lasts

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices."""
        return choices[self.rng.below(len(choices))]

    def node(self) -> int:
        """Any node."""
        return self.rng.below(self.nodes)

    def other(self, node: int) -> int:
        """Any other node."""
        return (node + 1 + self.rng.below(self.nodes - 1)) % self.nodes if self.nodes > 1 else node

    def link(self) -> int:
        """Any link."""
        return self.rng.below(self.links)

    def group(self) -> int:
        """Any group; sometimes all of them."""
        return ALL if self.groups > 1 and self.rng.below(3) == 0 else self.rng.below(self.groups)

    def start_all(self, within: int) -> None:
        """Every node starts, the first at once, the others a little later."""
        first = self.node()
        for node in range(self.nodes):
            self.add(0 if node == first else self.rng.below(within), Verb.START, node, begins=node == first)

    def start_some(self, within: int) -> None:
        """Most nodes start, one perhaps much later or not before all is healed; now and then a disk is empty."""
        rng = self.rng
        for node in range(self.nodes):
            late = rng.below(16)
            lost = int(rng.below(24) == 0)
            at = rng.below(within) if late > 1 else rng.below(within * 6)
            if late:
                self.add(at, Verb.START, node, value=lost, begins=node == 0)

    def background_loss(self, at: int) -> None:
        """A few frames lost on every link and in both directions for the rest of the run."""
        self.circumstances = BESIDE
        self.name, self.unpromised = "loss", False
        self.add(at, Verb.LOSS, value=1 + self.rng.below(SMALL_LOSS))


class Fault(NamedTuple):
    """A kind of fault by its name in the summary, and how it is drawn. `unpromised`: nobody need drive meanwhile."""

    name: str
    draw: Callable[[Draw, int, int], int]
    unpromised: bool = False
