"""Two real agents over a UDP link, each on a machine of its own, and relay boards that record what they are told."""
from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from keys_rig import LOOK_S, WAIT_S, free_ports

from twinbeat.demo import procs
from twinbeat.demo.agents import NODES, PAIR, Agent, write_key
from twinbeat.demo.helper import Helper, Json
from twinbeat.demo.measure import Change, level_changes, overlap_ms
from twinbeat.demo.setup import SetUp
from twinbeat.demo.switchboard import Switchboard
from twinbeat.demo.timeline import Timeline

OWN_MACHINE = Path(__file__).with_name("own_machine.py")
CALM = ("ACTIVE", "STANDBY")
IDLE = "cpu 0 0 0 {ticks} 0 0 0 0\nprocs_running 1\n"
TICK_S = 0.2

# A promise outlasts what machines like this one stand still now and then.
HEAD = """
[pair]
name = "{pair}"
key_file = "pair.key"

[[link]]
type = "udp"
address = "direct"
period_ms = 40
missed = 20

[timing]
grant_max_ms = 1000
"""


def all_driven(drivers: dict[str, str]) -> bool:
    """Every unit is driven by somebody."""
    return all(drivers.values())


class LivePair(SetUp):
    """A context manager. `tables` are what the configuration has beside HEAD and the nodes; {folder} is replaced.

    units  names of the units; a unit's relay board is the port "relay-NUMBER"
    """

    def __init__(self, folder: Path, units: list[str], tables: str) -> None:
        self.folder = folder
        self.units = units
        self.config = folder / "twinbeat.toml"
        self.timeline = Timeline(NODES, len(units))
        self.agents: dict[str, Agent] = {}
        self._tables = tables.replace("{folder}", str(folder))
        self._boards: Helper | None = None
        self._ending = threading.Event()
        self._idling = threading.Thread(target=self._idle, name="idling", daemon=True)

    def _start(self) -> None:
        board = self.folder / "switchboard"
        Switchboard(board, create=True)
        paths = {node: [self.folder / f"{node}-relay-{unit}" for unit in range(len(self.units))] for node in NODES}
        words = [word for path in itertools.chain(*paths.values()) for word in ("--port", str(path))]
        self._boards = Helper("relay", "twinbeat.demo.relay", ["--board", str(board), "--units", str(len(self.units)),
                                                               *words], self.folder / "relay.log", self._told)
        write_key(self.folder / "pair.key")
        text = HEAD.format(pair=PAIR)
        for node, port in zip(NODES, free_ports(), strict=True):
            text += f'[node.{node}]\nudp.direct = "127.0.0.1:{port}"\n'
            text += "".join(f'serial.relay-{unit} = "{path}"\n' for unit, path in enumerate(paths[node]))
        self.config.write_text(text + self._tables)
        self._idling.start()
        self._boards.wait_ready()
        for node in NODES:
            command = [sys.executable, str(OWN_MACHINE), str(self.machine(node))]
            self.agents[node] = Agent(node, self.folder, self.config, command)
            self.agents[node].start()
        for agent in self.agents.values():
            agent.wait_ready()

    def close(self) -> None:
        """End everything; may be called more than once. Killed: a planned stop would first hand over."""
        for agent in self.agents.values():
            agent.kill()
        if self._boards is not None:
            self._boards.close()
        self._ending.set()
        if self._idling.is_alive():
            self._idling.join(WAIT_S)

    def _idle(self) -> None:
        """In a thread: both machines' processors do nothing, and count it."""
        for ticks in itertools.count(1):
            for node in NODES:
                self.machine_file(node, "proc/stat", IDLE.format(ticks=ticks))
            if self._ending.wait(TICK_S):
                return

    def _told(self, event: Json) -> None:
        self.timeline.add(*(Change(at_ns, NODES[node], on, unit=unit) for at_ns, node, unit, on in event["changes"]))

    # ------------------------------------------------------------ a node's machine

    def machine(self, node: str) -> Path:
        """Where the /proc and /sys of a node's machine lie."""
        return self.folder / f"machine-{node}"

    def machine_file(self, node: str, name: str, text: str) -> None:
        """What a file of a node's machine says from now on; nobody reads half of it."""
        path = self.machine(node) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.new")
        fresh.write_text(text)
        fresh.rename(path)

    # ------------------------------------------------------------ questions

    def ask(self, node: str, verb: str, **more: Any) -> dict[str, Any]:
        """An answer of an agent."""
        answer = self.agents[node].control(verb, timeout_s=WAIT_S, **more)
        assert answer.get("ok"), (node, verb, answer)
        return answer

    def group(self, node: str, unit: str) -> dict[str, Any]:
        """What a node's status says of a unit."""
        return next(group for group in self.ask(node, "status")["groups"] if group["name"] == unit)

    def epochs(self) -> dict[str, int]:
        """The epoch of every unit, as its driver says; who does not drive says 0."""
        said = [{group["name"]: group["epoch"] for group in self.ask(node, "status")["groups"]} for node in NODES]
        return {unit: max(epochs[unit] for epochs in said) for unit in self.units}

    def drivers(self) -> dict[str, str]:
        """Whose board is on, of each unit."""
        return {name: "+".join(sorted(on)) for name, on in zip(self.units, self.timeline.drivers(), strict=True)}

    def settle(self, good: Callable[[dict[str, str]], bool] = all_driven) -> dict[str, str]:
        """Until the boards are as wanted, and both agents say the same and hear each other; who drives what."""

        def settled() -> bool:
            drivers = self.drivers()
            return good(drivers) and all(self._agrees(node, drivers) for node in NODES)

        self.wait(settled, "the units are driven as wanted and both agents say so")
        return self.drivers()

    def begin(self, good: Callable[[dict[str, str]], bool] = all_driven) -> int:
        """As `settle`, and from then on nothing counts that was before, such as who came first at the start."""
        self.settle(good)
        self.assert_never_two()
        begun_ns = procs.now_ns()
        self.timeline.forget_before(begun_ns)
        return begun_ns

    def _agrees(self, node: str, drivers: dict[str, str]) -> bool:
        status = self.ask(node, "status")
        said = {group["name"]: group["driver"] for group in status["groups"]}
        calm = all(group["state"] in CALM for group in status["groups"])
        return said == drivers and calm and status["peers"][0]["alive"]

    def wait(self, true: Callable[[], bool], what: str) -> None:
        """Wait until something is so; in vain, tell what both agents say."""
        end_s = time.monotonic() + WAIT_S
        while not true():
            if time.monotonic() > end_s:
                said = [f"{node}: {one['sentence']}" for node in NODES for one in self.verdicts(node)]
                raise AssertionError(f"not within {WAIT_S:g} s: {what}; boards {self.drivers()}; {said}")
            time.sleep(LOOK_S)

    def verdicts(self, node: str) -> list[dict[str, Any]]:
        """Every role change of a node, oldest first."""
        found: list[dict[str, Any]] = self.ask(node, "why", count=200)["verdicts"]
        return found

    def verdict(self, node: str, unit: str, cause: str) -> dict[str, Any]:
        """A node's first role change of a unit by this cause."""
        return next(one for one in self.verdicts(node) if (one["group"], one["cause"]) == (unit, cause))

    def let_go(self, node: str, since_ns: int = 0) -> list[tuple[int, str, str]]:
        """(when, unit, cause) of all that a node let go since a moment."""
        return [(one["boottime_ns"], one["group"], one["cause"]) for one in self.verdicts(node)
                if one["from"] == "ACTIVE" and one["boottime_ns"] >= since_ns]

    def took(self, node: str, since_ns: int = 0) -> list[tuple[int, str, str]]:
        """(when, unit, cause) of all that a node began to drive since a moment."""
        return [(one["boottime_ns"], one["group"], one["cause"]) for one in self.verdicts(node)
                if one["to"] == "ACTIVE" and one["boottime_ns"] >= since_ns]

    def codes(self, node: str, *wanted: str) -> list[str]:
        """The texts of a node's events with these codes, oldest first."""
        events = self.ask(node, "events", count=500)["events"]
        return [event["text"] for event in events if event["code"] in wanted]

    def still(self, seconds: float) -> bool:
        """Whether no board was told anything new for so long."""
        before = self.timeline.drivers()
        return not self.timeline.wait_drivers(lambda drivers: drivers != before, seconds)

    # ------------------------------------------------------------ the judgement

    def driven_by(self, unit: str) -> list[str]:
        """Whose board was on since `begin`, one after the other."""
        return [change.node for change in level_changes(self._of(self.units.index(unit))) if change.on]

    def assert_never_two(self) -> None:
        """No unit's boards were both on since `begin`, or since the start."""
        end_ns = procs.now_ns()
        both = {name: overlap_ms(self._of(number), 0, end_ns, 0.0) for number, name in enumerate(self.units)}
        assert not any(both.values()), f"two drivers, in ms: {both}"

    def assert_nobody_fenced(self) -> None:
        """Agents and gates of the start still live, and neither node took the other for gone, or an output for bad."""
        for node, agent in self.agents.items():
            assert agent.process is not None and agent.process.poll() is None, (node, agent.last_words())
            assert self.ask(node, "ping")["gate_pid"] == agent.gate_pid and procs.is_alive(agent.gate_pid)
            assert self.codes(node, "PEER_DEAD", "PEER_SILENT", "OUTPUT_FAULT") == [], node

    def _of(self, unit: int) -> list[Change]:
        return [change for change in self.timeline.since(0) if change.unit == unit]


def gaps_s(stamps: Iterable[int]) -> list[float]:
    """The times between neighbours, in seconds."""
    return [(later - earlier) / 1e9 for earlier, later in itertools.pairwise(sorted(stamps))]
