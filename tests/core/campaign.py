"""Random schedules of faults over the small world: one seed reproduces a run on any machine."""
from __future__ import annotations

import random
from collections.abc import Callable

from world import MS, World

from twinbeat_core.model import Lone

WILD = ("loss", "cut", "oneway", "freeze", "kill", "power", "handover", "delay", "quiet")
SINGLE = ("cut", "freeze", "kill", "power", "handover")


class Campaign:
    """One run: a world, a generator of its own, and the faults done so far for the message of a failing test."""

    def __init__(self, seed: int, *, nodes: int, lone: Lone, release_ms: float) -> None:
        self.random = random.Random(seed * 7 + 1)
        self.world = World(seed=seed, nodes=nodes, gate_late_ms=4.9, lone=lone, release_ms=release_ms)
        self.done: list[tuple[int, str, int]] = []
        for i, node in enumerate(self.world.nodes):
            node.drift = self.random.uniform(-0.0009, 0.0009)
            self.world.after_ms(self.random.uniform(0, 400), self._starter(i))
        self.world.run_ms(900)

    def _starter(self, i: int) -> Callable[[], None]:
        return lambda: self.world.start(i)

    def wild(self, seconds: float) -> None:
        """Any fault at any time, several at once."""
        end = self.world.now + int(seconds * 1000 * MS)
        while self.world.now < end:
            self._fault(self.random.choice(WILD), self.random.randrange(len(self.world.nodes)))
            self.world.run_ms(self.random.choice([1, 5, 20, 60, 150, 400]) * self.random.uniform(0.3, 1.5))
        self.world.loss = 0.0
        self.world.heal()
        self.world.latency_ms = (0.1, 1.5)
        self.world.run_ms(4000)

    def single(self, seconds: float) -> None:
        """One fault after the other, healed in between, with at most ten percent of the frames lost."""
        world, end = self.world, self.world.now + int(seconds * 1000 * MS)
        world.loss = self.random.choice([0.0, 0.0, 0.02, 0.1])
        while world.now < end:
            fault, i = self.random.choice(SINGLE), self.random.randrange(len(world.nodes))
            lasts_ms = self.random.choice([5, 20, 40, 80, 200, 500]) * self.random.uniform(0.5, 1.5)
            self._note(fault, i)
            if fault == "cut":
                world.cut_all((self.random.choice([0, 1]),))
                world.run_ms(lasts_ms)
                world.heal()
            elif fault == "handover":
                world.handover(i)
            elif fault == "freeze":
                world.freeze(i)
                world.run_ms(lasts_ms)
                world.thaw(i)
            else:
                (world.kill if fault == "kill" else world.power)(i)
                world.run_ms(lasts_ms)
                world.restart(i)
            world.run_ms(700)
        world.loss = 0.0
        world.run_ms(3000)

    def _note(self, fault: str, i: int) -> None:
        self.done.append((self.world.now // MS - 1000, fault, i))

    def _fault(self, fault: str, i: int) -> None:
        world, node = self.world, self.world.nodes[i]
        lasts_ms = self.random.choice([5, 20, 40, 80, 200, 500]) * self.random.uniform(0.5, 1.5)
        self._note(fault, i)
        if fault == "loss":
            world.loss = self.random.choice([0.05, 0.1, 0.3, 0.5, 0.8])
            world.after_ms(lasts_ms * 4, lambda: setattr(world, "loss", 0.0))
        elif fault in ("cut", "oneway"):
            self._cut(fault, i, lasts_ms * 2)
        elif fault == "freeze" and node.alive and not node.frozen:
            world.freeze(i)
            world.after_ms(lasts_ms, lambda: world.thaw(i) if world.nodes[i] is node and node.alive else None)
        elif fault in ("kill", "power") and node.alive:
            (world.kill if fault == "kill" else world.power)(i)
            lost = self.random.random() < 0.1
            world.after_ms(lasts_ms * self.random.choice([1, 3]), lambda: world.restart(i, lost=lost))
        elif fault == "handover" and node.alive:
            world.handover(i)
        elif fault == "delay":
            world.latency_ms = (self.random.choice([0.1, 5, 30, 100]), self.random.choice([1.5, 20, 150, 400]))
            world.after_ms(lasts_ms, lambda: setattr(world, "latency_ms", (0.1, 1.5)))

    def _cut(self, fault: str, i: int, lasts_ms: float) -> None:
        other = self.random.choice([n for n in range(len(self.world.nodes)) if n != i])
        links = self.random.choice([(0,), (1,), (0, 1)])
        pairs = ((i, other),) if fault == "oneway" else ((i, other), (other, i))
        cut = {(link, a, b) for link in links for a, b in pairs}
        self.world.cut |= cut
        self.world.after_ms(lasts_ms, lambda: self.world.cut.difference_update(cut))
