"""The whole rig: wires, boards, broker, proxy, injector, third voter and all agents, started and ended together."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from twinbeat.demo import procs, switchboard
from twinbeat.demo.agents import Agent, PairSettings, config_text, write_key
from twinbeat.demo.broker import Broker
from twinbeat.demo.helper import Helper, Json, RigError
from twinbeat.demo.layout import NODES, SPARE
from twinbeat.demo.measure import Change
from twinbeat.demo.setup import SetUp
from twinbeat.demo.status import both_ready
from twinbeat.demo.switchboard import Switchboard
from twinbeat.demo.timeline import Timeline
from twinbeat.demo.udp_cut import UdpNetwork
from twinbeat.demo.voter_arbiter import Arbiter
from twinbeat.demo.voter_process import ThirdVoter
from twinbeat.demo.voter_witness import NAME as WITNESS_NAME
from twinbeat.demo.voters import make_voter

STEADY_S = 0.25           # how long the boards must have stood still
STEADY_TIMEOUT_S = 20.0
STEADY_POLL_S = 0.03


class Rig(SetUp):
    """Use as a context manager: everything it started is ended when the block is left, however it is left."""

    def __init__(self, directory: Path, settings: PairSettings, seed: int = 0, load: bool = False,
                 agent_command: list[str] | None = None) -> None:
        self.directory = directory
        self.settings = settings
        self.seed = seed
        self.load = load
        self.layout = settings.layout
        self.nodes = self.layout.nodes
        self.timeline = Timeline(self.nodes, len(self.layout.units))
        self.helpers: dict[str, Helper] = {}
        self.burners: list[subprocess.Popen[bytes]] = []
        self.fifo = False
        self.broker = Broker(directory)
        self.network = UdpNetwork(self.nodes) if self.layout.has_network else None
        self.voter: ThirdVoter | None = None
        self._agent_command = agent_command
        self._board_path = directory / "switchboard"
        self._seed_words = ["--seed", str(seed)]
        self.agents: dict[str, Agent] = {}

    def _start(self) -> None:
        Switchboard(self._board_path, create=True)
        procs.set_subreaper(True)
        self.broker.start()
        proxy_port = self._start_helpers()
        self._watch(self.broker.pid)
        write_key(self.directory / "pair.key")
        self.voter = make_voter(self.settings, self.directory, self.broker, proxy_port, self.timeline.add)
        if isinstance(self.voter, Arbiter):
            self._helper("voter-wire", "wire", self.voter.wire_words())
            self.helpers["voter-wire"].wait_ready()
        if self.voter is not None:
            self.start_voter()
        self._start_agents(proxy_port)
        if self.load:
            self.burners = [
                subprocess.Popen([sys.executable, "-m", "twinbeat.demo.burn", str(os.getpid())], start_new_session=True)
                for _ in range(os.cpu_count() or 1)]

    def _start_helpers(self) -> int:
        """The processes that every rig has; returns the proxy's port."""
        clients = [word for node in (*NODES, SPARE, WITNESS_NAME) for word in ("--node", node)]
        dialect = [] if self.broker.speaks_mqtt5 else ["--translate"]
        self._helper("injector", "inject", [])
        self._helper("wire", "wire", [*self._seed_words, *self._cable_words()])
        if not self.settings.gated:
            boards = [self._path(node, relay) for node in self.nodes for relay in self._relays()]
            self._helper("relay", "relay", ["--units", str(len(self.layout.units)), *_port_words(boards)])
        self._helper("proxy", "proxy", [*self._seed_words, *clients, *dialect, "--broker-port", str(self.broker.port)])
        ready = {name: helper.wait_ready() for name, helper in self.helpers.items()}
        self.fifo = all(message["fifo"] for message in ready.values())
        port: int = ready["proxy"]["port"]
        return port

    def _start_agents(self, proxy_port: int) -> None:
        config = self.directory / "twinbeat.toml"
        ports = {node: self._ports(node) for node in self.nodes}
        if self.voter is not None:
            for node, more in self.voter.ports().items():
                ports[node] |= more
        table = self.voter.config_lines() if self.voter is not None else []
        addresses = self.network.addresses() if self.network else None
        config.write_text(config_text(self.settings, proxy_port, ports, table, addresses))
        for node in self.nodes:
            self.agents[node] = Agent(node, self.directory, config, self._agent_command, self.settings.busy)
            self.agents[node].start()
            self._watch(self.agents[node].pid)
        for agent in self.agents.values():
            agent.wait_ready()
            self._watch(agent.gate_pid)

    def close(self) -> None:
        """Ends everything; may be called more than once."""
        for burner in self.burners:
            burner.kill()
            burner.wait()
        self.burners = []
        for agent in self.agents.values():
            agent.terminate()
        for agent in self.agents.values():
            agent.stop()
        if self.voter is not None:
            self.voter.stop()
        for helper in reversed(list(self.helpers.values())):
            helper.close()
        self.broker.stop()
        procs.set_subreaper(False)

    def inject(self, flags: dict[int, bool] | None = None, signals: list[tuple[int | None, int]] | None = None) -> int:
        """Cuts and signals of one fault at once; returns their CLOCK_BOOTTIME stamp in nanoseconds."""
        answer = self.helpers["injector"].request(
            flags={str(place): int(on) for place, on in (flags or {}).items()},
            signals=[[pid, int(number)] for pid, number in (signals or []) if pid is not None])
        at_ns: int = answer["at_ns"]
        return at_ns

    def wire(self, **request: Any) -> Json:
        """A request to the serial wire."""
        return self.helpers["wire"].request(**request)

    def proxy(self, **request: Any) -> Json:
        """A request to the network between the agents and the broker."""
        return self.helpers["proxy"].request(**request)

    def restart_broker(self) -> None:
        """The broker ends and comes back on the same port, remembering nothing."""
        self.helpers["injector"].request(forget=[self.broker.pid])
        self.broker.stop()
        self.broker.start()
        self._watch(self.broker.pid)

    def start_voter(self) -> None:
        """The third voter starts, or comes back after it was killed, remembering what it kept on disk."""
        assert self.voter is not None
        old = self.voter.pid
        if old is not None:
            self.helpers["injector"].request(forget=[old])
            self.voter.stop()
        self.voter.start()
        self._watch(self.voter.pid)

    def cut_voter(self, on: bool) -> int:
        """The third voter hears nobody and nobody hears it, or this is over. Returns when it was in force."""
        assert self.voter is not None
        places = self.voter.flags()
        frozen = [] if places else [(self.voter.pid, signal.SIGSTOP if on else signal.SIGCONT)]
        at_ns = self.inject(flags=dict.fromkeys(places, on), signals=[*frozen])
        self.proxy(resume=True)
        return at_ns

    def partition(self, node: str, on: bool) -> int:
        """Every link of this node is cut, or this is over. Returns when its cables and its broker were cut."""
        at_ns = self.inject(flags={switchboard.apart(self.nodes.index(node)): on})
        if self.network is not None:
            self.network.set_apart(node, on, self.agents)
        self.proxy(resume=True)
        return at_ns

    def set_loss(self, percent: float) -> int:
        """Random loss of frames on all links; returns when it was in force."""
        share = percent / 100
        if self.network is not None:
            self.network.set_loss(share, self.agents)
        self.proxy(set={"loss_up": share})
        stamps = [self.wire(cable=cable, set={"loss": share})["at_ns"] for cable in range(len(self.layout.cables))]
        at_ns: int = max(stamps)
        return at_ns

    def power_gone(self, node: str, at_ns: int) -> None:
        """The board of this node reads as off from `at_ns`; an arbiter's contacts have the arbiter's supply."""
        if not self.settings.gated:
            self.timeline.add(*(Change(at_ns, node, False, "power", unit) for unit in range(len(self.layout.units))))

    def power_back(self, node: str) -> None:
        """After a power fault: the node's cables and its board work again and hold nothing old."""
        index = self.nodes.index(node)
        self.proxy(close=index)
        self._discard_cables(node)
        if "relay" in self.helpers:
            self.helpers["relay"].request(discard=index)
        if "voter-wire" in self.helpers:
            self.helpers["voter-wire"].request(discard=0, cable=index)
        self.inject(flags={switchboard.dark(index): False})
        self.proxy(resume=True)

    def restart_agent(self, node: str) -> None:
        """Waits for the end of the old worker and gate, ends what is left of them, starts the agent anew."""
        agent = self.agents[node]
        old = [pid for pid in (agent.pid, agent.gate_pid) if pid is not None]
        agent.wait_ended()
        agent.kill()
        self.helpers["injector"].request(forget=old)
        index = self.nodes.index(node)
        self._discard_cables(node)
        if "voter-wire" in self.helpers:
            self.helpers["voter-wire"].request(discard=0, cable=index)
        agent.start()
        self._watch(agent.pid)
        agent.wait_ready()
        self._watch(agent.gate_pid)
        if self.network is not None:
            self.network.apply(self.agents)

    def wait_steady(self, timeout_s: float = STEADY_TIMEOUT_S) -> str | None:
        """Until exactly one board has been on for a while and both agents see each other; who drives, or None."""
        deadline = time.monotonic() + timeout_s
        last, since = None, time.monotonic()
        while time.monotonic() < deadline:
            driver = self.timeline.driver()
            if driver != last:
                last, since = driver, time.monotonic()
            if driver is not None and time.monotonic() - since >= STEADY_S:
                answers = {node: agent.control("status") for node, agent in self.agents.items()}
                if both_ready(answers, driver) and self.timeline.driver() == driver:
                    return driver
            time.sleep(STEADY_POLL_S)
        return None

    def not_steady(self) -> RigError:
        """Why `wait_steady` gave up, in words."""
        levels = ", ".join(f"{node} {'on' if on else 'off'}" for node, on in self.timeline.levels().items())
        words = "; ".join(f"{node} says: {agent.last_words()}" for node, agent in self.agents.items())
        return RigError(f"the pair did not settle within {STEADY_TIMEOUT_S:g} s (boards: {levels}; {words})")

    def _helper(self, name: str, module: str, arguments: list[str]) -> None:
        events = self._board_event if name == "relay" else None
        words = ["--board", str(self._board_path), *arguments]
        self.helpers[name] = Helper(name, f"twinbeat.demo.{module}", words, self.directory / f"{name}.log", events)

    def _path(self, node: str, port: str) -> Path:
        return self.directory / f"{node}-{port}"

    def _relays(self) -> list[str]:
        return [self.layout.relay(unit) for unit in range(len(self.layout.units))]

    def _ports(self, node: str) -> dict[str, str]:
        """The serial ports of a node: its ends of the cables, and the boards of the units that it may drive."""
        names = [port for port, ends in self.layout.cables.items() if node in ends]
        if not self.settings.gated:
            names += [relay for relay, may in zip(self._relays(), self.layout.drivers, strict=True) if node in may]
        return {name: str(self._path(node, name)) for name in names}

    def _cable_words(self) -> list[str]:
        words = []
        for port, ends in self.layout.cables.items():
            words += _port_words([self._path(node, port) for node in ends])
            words += ["--ends", ",".join(str(self.nodes.index(node)) for node in ends)]
        return words

    def _discard_cables(self, node: str) -> None:
        """The node's ends keep nothing old."""
        for cable, ends in enumerate(self.layout.cables.values()):
            if node in ends:
                self.wire(cable=cable, discard=ends.index(node))

    def _board_event(self, event: Json) -> None:
        self.timeline.add(*(Change(at_ns, self.nodes[node], on, unit=unit)
                            for at_ns, node, unit, on in event["changes"]))

    def _watch(self, pid: int | None) -> None:
        if pid is not None:
            self.helpers["injector"].request(watch=[pid])


def _port_words(paths: list[Path]) -> list[str]:
    return [word for path in paths for word in ("--port", str(path))]
