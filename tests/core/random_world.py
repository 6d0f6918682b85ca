"""A world whose cores are watched step by step, and schedules of random faults for it."""
from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from world import World

from twinbeat_core import events as ev
from twinbeat_core.failover import Failover
from twinbeat_core.model import CommandCode, LateCode
from twinbeat_core.settings import CoreSettings


class Watched:
    """A core that checks every step and hands it to whoever listens."""

    def __init__(self, core: Failover) -> None:
        self.core = core
        self.settings: CoreSettings = core.settings
        self.log: list[tuple[ev.Event, list[ev.Effect]]] = []
        self.listeners: list[Callable[[ev.Event, list[ev.Effect]], None]] = []

    def step(self, event: ev.Event) -> list[ev.Effect]:
        effects = self.core.step(event)
        deadline = self.core.deadline_ns
        assert deadline is None or deadline > event.now_ns, f"deadline passed before {event}"
        self.log.append((event, effects))
        for listen in self.listeners:
            listen(event, effects)
        return effects

    @property
    def deadline_ns(self) -> int | None:
        return self.core.deadline_ns

    def view(self) -> dict[str, Any]:
        return self.core.view()

    def snapshot(self) -> bytes:
        return self.core.snapshot()


class RandomWorld(World):
    """Every core watched; `cores` keeps those of past lives too; `on_core` sees each before its first step."""

    def __init__(self, *, on_core: Callable[[Watched], None] = lambda core: None, **config: Any) -> None:
        self.cores: list[Watched] = []
        self.orders: list[tuple[int, int, ev.Drive]] = []    # (world time, node, order to the outputs)
        self.on_core = on_core
        super().__init__(**config)

    def _new_node(self, i: int, ceiling: int) -> Any:
        node = super()._new_node(i, ceiling)
        watched = Watched(node.core)
        node.core = watched  # type: ignore[assignment]
        self.cores.append(watched)
        self.on_core(watched)
        return node

    def perform(self, i: int, effect: object) -> None:
        if isinstance(effect, ev.Drive):
            self.orders.append((self.now, i, effect))
        super().perform(i, effect)

    def say(self, i: int, make: Callable[[int], ev.Event]) -> None:
        self.deliver(i, make)


def act(world: RandomWorld, choose: random.Random, *, operator: bool = True) -> None:
    """One random fault, recovery, command or input, on one node or between two."""
    count = len(world.nodes)
    i = choose.randrange(count)
    j = choose.choice([n for n in range(count) if n != i])
    node = world.nodes[i]
    kinds = ["cut", "heal", "loss", "freeze", "thaw", "die", "restart", "restart", "handover", "hint", "late"]
    kind = choose.choice(kinds + ["out", "in", "in", "health", "sync"] * operator)
    links = choose.choice([(0,), (1,), (0, 1)])
    if kind == "cut":
        world.cut_all(links, choose.choice([((i, j),), ((i, j), (j, i))]))
    elif kind == "heal":
        world.heal()
    elif kind == "loss":
        world.loss = choose.choice([0.0, 0.0, 0.05, 0.2, 0.5])
    elif kind == "freeze":
        world.freeze(i)
    elif kind == "thaw":
        for n in range(count):
            world.thaw(n)
    elif kind == "die" and node.alive:
        world.kill(i) if choose.random() < 0.5 else world.power(i)
    elif kind == "restart" and not node.alive:
        world.restart(i, lost=choose.random() < 0.1)
    elif kind == "handover":
        world.handover(i, node=choose.choice([15, j]))
    elif kind == "hint":
        world.say(i, lambda now: ev.LinkChange(now, links[0], choose.random() < 0.5))
    elif kind == "late":
        world.say(i, lambda now: ev.Late(now, choose.choice(list(LateCode)), 20_000_000))
    elif kind in ("out", "in"):
        code = CommandCode.CMD_OUT if kind == "out" else CommandCode.CMD_IN
        world.say(i, lambda now: ev.Command(now, code))
    elif kind == "health":
        world.say(i, lambda now: ev.Health(now, choose.random() < 0.7, 50, 50))
    elif kind == "sync":
        world.say(i, lambda now: ev.Sync(now, choose.randrange(1 << 32), choose.random() < 0.7))


def random_run(world: RandomWorld, seed: int, actions: int, *, operator: bool = True) -> None:
    """Start all, then `actions` random acts with random pauses."""
    choose = random.Random(seed)
    for i, node in enumerate(world.nodes):
        node.drift = choose.uniform(-0.0009, 0.0009)
        if choose.random() < 0.9:
            world.start(i)
        else:
            node.alive = False
    world.run_ms(choose.choice([0, 50, 1500]))
    for _ in range(actions):
        act(world, choose, operator=operator)
        world.run_ms(choose.choice([0.1, 1, 7, 30, 120, 700]))


def recover(world: RandomWorld) -> None:
    """End every fault and wait until any configuration of world.py has settled."""
    world.heal()
    world.loss = 0.0
    for i, node in enumerate(world.nodes):
        world.thaw(i)
        if not node.alive:
            world.restart(i)
        world.say(i, lambda now: ev.Command(now, CommandCode.CMD_IN))
        world.say(i, lambda now: ev.Health(now, True))
        world.say(i, lambda now: ev.Sync(now, 1, True))
    world.run_ms(6000)
