"""Two real agents with a group of shards, the example poller beside each, and devices that both of them poll."""
from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from twinbeat.demo.agents import NODES, PAIR, Agent, write_key
from twinbeat.demo.setup import SetUp

POLLER = Path(__file__).parents[2] / "docs" / "examples" / "poller.py"
DEVICES = 24
PERIOD_MS = 20.0
WAIT_S = 20.0
LOOK_S = 0.02

CONFIG = """
[pair]
name = "{pair}"
key_file = "pair.key"
[node.gw-a]
udp.direct = "127.0.0.1:{port_a}"
[node.gw-b]
udp.direct = "127.0.0.1:{port_b}"
[[link]]
type = "udp"
address = "direct"
[[group]]
name = "lines"
mode = "hot-hot"
shards = 8
failback = "never"
lonely_start_ms = 300
[[group.output]]
type = "mock"
"""


class Item(NamedTuple):
    """One poll that was kept: who, when."""

    device: str
    node: str
    unit: str
    epoch: int
    begin_ns: int
    end_ns: int


class KeysRig(SetUp):
    """A context manager. Everything that it started is ended, however the block is left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agents: dict[str, Agent] = {}
        self.pollers: dict[str, subprocess.Popen[bytes]] = {}
        self.plant: subprocess.Popen[bytes] | None = None

    def _start(self) -> None:
        write_key(self.folder / "pair.key")
        config = self.folder / "twinbeat.toml"
        port_a, port_b = free_ports()
        config.write_text(CONFIG.format(pair=PAIR, port_a=port_a, port_b=port_b))
        self.plant = subprocess.Popen([sys.executable, str(POLLER), "simulate", "--port", "0"], stdout=subprocess.PIPE)
        assert self.plant.stdout is not None
        port = int(self.plant.stdout.readline().split()[-1])
        for node in NODES:
            self.agents[node] = Agent(node, self.folder, config)
            self.agents[node].start()
        for agent in self.agents.values():
            agent.wait_ready()
        for node in NODES:
            words = ["poll", "--socket", str(self.agents[node].socket_path), "--address", f"127.0.0.1:{port}",
                     "--devices", str(DEVICES), "--period-ms", str(PERIOD_MS)]
            with open(self.folder / f"{node}.items", "wb") as out:
                self.pollers[node] = subprocess.Popen([sys.executable, str(POLLER), *words], stdout=out)

    def close(self) -> None:
        """End everything; may be called more than once."""
        for poller in [*self.pollers.values(), *([self.plant] if self.plant else [])]:
            poller.send_signal(signal.SIGCONT)
            poller.terminate()
        for poller in [*self.pollers.values(), *([self.plant] if self.plant else [])]:
            try:
                poller.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                poller.kill()
                poller.wait()
            if poller.stdout is not None:
                poller.stdout.close()
        for agent in self.agents.values():
            agent.terminate()
        for agent in self.agents.values():
            agent.stop()

    def lines(self, node: str) -> list[dict[str, Any]]:
        """Everything that a node's poller wrote so far, whole lines only."""
        text = (self.folder / f"{node}.items").read_text()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def items(self) -> list[Item]:
        """Every poll that was kept, by the time of its begin."""
        found = [
            Item(line["device"], line["node"], line["unit"], line["epoch"], line["begin_ns"], line["end_ns"])
            for node in NODES for line in self.lines(node) if line["kept"] and line["value"] != "REFUSED"
        ]
        return sorted(found, key=lambda item: item.begin_ns)

    def ask(self, agent: str, verb: str, **more: Any) -> dict[str, Any]:
        """A question to an agent."""
        return self.agents[agent].control(verb, **more)

    def owners(self, node: str) -> list[str | None]:
        """Who owns each shard, as a node sees it."""
        return [self.ask(node, "owner", group="lines", shard=shard).get("owner") for shard in range(8)]

    def spread(self) -> None:
        """Give every other shard to each node: who started first may have taken them all."""
        wait_for(lambda: all(self.owners(NODES[0])), "every shard is driven")
        for shard, owner in enumerate(self.owners(NODES[0])):
            wanted = NODES[shard % 2]
            if owner != wanted:
                self.hand_over(shard, wanted)

    def hand_over(self, shard: int, wanted: str) -> None:
        """A planned handover, asked for until it is accepted."""
        giver = next(node for node in NODES if node != wanted)
        unit = f"lines.{shard}"
        wait_for(lambda: bool(self.ask(giver, "handover", group=unit, node=wanted).get("ok")), f"{unit} to {wanted}")
        wait_for(lambda: self.owners(giver)[shard] == wanted, f"{giver} sees {unit} at {wanted}")

    def watched(self, node: str) -> bool:
        """Whether an application is connected to the node's agent: before, a shard that it gets waits for one."""
        return bool(self.ask(node, "status")["watchers"])

    def handled(self, nodes: set[str], after_ns: int) -> bool:
        """Whether these nodes, all of them and no other, polled every device since a moment."""
        recent = [item for item in self.items() if item.begin_ns > after_ns]
        return {item.node for item in recent} == nodes and len({item.device for item in recent}) == DEVICES


def wait_for(true: Callable[[], bool], what: str, limit_s: float = WAIT_S) -> None:
    """Wait until something is so."""
    end_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end_s, f"not within {limit_s:g} s: {what}"
        time.sleep(LOOK_S)


def overlaps(items: list[Item]) -> list[tuple[Item, Item]]:
    """Polls of one device by two nodes, or at two epochs, that were under way at the same time, or epochs that fell."""
    found = []
    by_device: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_device[item.device].append(item)
    for mine in by_device.values():
        for earlier, later in itertools.pairwise(mine):
            if earlier.node != later.node and later.begin_ns <= earlier.end_ns:
                found.append((earlier, later))
            if later.epoch < earlier.epoch:
                found.append((earlier, later))
    return found


def longest_gap_ms(items: list[Item], begin_ns: int, end_ns: int) -> dict[str, float]:
    """For each device the longest time within these moments in which nobody polled it."""
    gaps = {}
    for device in {item.device for item in items}:
        stamps = [item.end_ns for item in items if item.device == device and begin_ns <= item.end_ns <= end_ns]
        marks = [begin_ns, *stamps, end_ns]
        gaps[device] = max(later - earlier for earlier, later in itertools.pairwise(marks)) / 1e6
    return gaps


def free_ports() -> tuple[int, int]:
    """Two UDP ports that nobody uses."""
    kind = (socket.AF_INET, socket.SOCK_DGRAM)
    with socket.socket(*kind) as one, socket.socket(*kind) as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def kill(pid: int | None, number: signal.Signals) -> int:
    """Send a signal; returns the moment before."""
    assert pid is not None
    at_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    os.kill(pid, number)
    return at_ns
