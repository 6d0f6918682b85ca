"""One agent in this process: the real program around a stand-in for the gate and the real-time part."""
from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from broker_fixture import free_port
from run_fakes import WAIT_S, FakeGate, FakeRuntime

from twinbeat.run import run_agent
from twinbeat.run_node import NodeAgent

CONFIG = """
[pair]
name = "pump-7"
key_file = "pair.key"
[node.gw-a]
udp.direct = "127.0.0.1:{port}"
{serial}
[node.gw-b]
udp.direct = "127.0.0.1:{peer_port}"
{serial}
[[link]]
type = "udp"
address = "direct"
{links}
[[group]]
name = "pump"
{outputs}
{voter}
[agent]
log_level = "debug"
{agent}
"""
MOCK = '[[group.output]]\ntype = "mock"\n'


class Rig:
    """`run(scenario)` runs the agent in this thread and the scenario in another, which stops it when it ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gate = FakeGate()
        self.links = ""
        self.outputs = MOCK
        self.agent_lines = ""
        self.serial_lines = ""
        self.voter = ""
        self.config = folder / "twinbeat.toml"
        self.key = folder / "pair.key"
        self.key.write_text("00112233445566778899aabbccddeeff\n")
        self.key.chmod(0o600)
        self.socket_path = folder / "run" / "pump-7-gw-a.sock"
        self.agent: NodeAgent
        self.rt: FakeRuntime
        self.made: list[FakeRuntime] = []
        self.prepare: Callable[[FakeRuntime], None] = lambda rt: None
        self._up = threading.Event()
        self._ended = threading.Event()
        self._failure: BaseException | None = None

    def write(self) -> None:
        """Write the configuration as it stands."""
        port = free_port()
        peer_port = next(other for other in iter(free_port, None) if other != port)
        text = CONFIG.format(port=port, peer_port=peer_port, links=self.links, outputs=self.outputs,
                             agent=self.agent_lines, serial=self.serial_lines, voter=self.voter)
        self.config.write_text(text)

    def make_runtime(self, gate: Any, settings: Any, key: bytes, **options: Any) -> FakeRuntime:
        """The factory that the agent is given."""
        self.rt = FakeRuntime(gate, settings, key, **options)
        self.made.append(self.rt)
        self.prepare(self.rt)
        return self.rt

    def start_only(self) -> int:
        """Run without a scenario, for starts that must fail."""
        self.write()
        return run_agent(
            gate=self.gate,
            config_path=self.config,
            node="gw-a",
            run_dir=str(self.folder / "run"),
            state_dir=str(self.folder / "state"),
            make_runtime=self.make_runtime,
            started=self._started,
        )

    def _started(self, agent: NodeAgent) -> None:
        self.agent = agent
        self._up.set()

    def run(self, scenario: Callable[[], None], *, stop: bool = True) -> int:
        """Exit code of the agent; a failure of the scenario is raised here."""

        def play() -> None:
            try:
                assert self._up.wait(WAIT_S), "the agent did not start"
                scenario()
            except BaseException as failure:  # noqa: BLE001 - raised again in the test's thread
                self._failure = failure
            finally:
                if stop or self._failure is not None:
                    os.kill(os.getpid(), signal.SIGTERM)
                if self._failure is not None and not self._ended.wait(WAIT_S):
                    os.kill(os.getpid(), signal.SIGTERM)

        for event in (self._up, self._ended):
            event.clear()
        player = threading.Thread(target=play)
        player.start()
        try:
            code = self.start_only()
        finally:
            self._ended.set()
            self._up.set()
            player.join(WAIT_S)
        if self._failure is not None:
            raise self._failure
        return code

    def ask(self, verb: str, **more: Any) -> dict[str, Any]:
        """One question to the control socket."""
        with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rb") as file:
            sock.settimeout(WAIT_S)
            sock.connect(str(self.socket_path))
            sock.sendall(json.dumps({"verb": verb, **more}).encode() + b"\n")
            answer = json.loads(file.readline())
        assert isinstance(answer, dict)
        return answer

    def in_loop(self, call: Callable[[], Any]) -> Any:
        """Run something in the agent's own thread."""
        done, found = threading.Event(), []
        self.agent.parts.loop.call_threadsafe(lambda: (found.append(call()), done.set()))
        assert done.wait(WAIT_S)
        return found[0]
