"""The agents as separate processes: configuration, start, control socket, signals, what they use."""
from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from twinbeat.demo import procs
from twinbeat.demo.helper import RigError
from twinbeat.demo.layout import GROUP, NETWORK, NODES, Layout, make_layout

__all__ = ["GROUP", "NODES", "PAIR", "Agent", "PairSettings", "config_text", "write_key"]

PAIR = "demo"
CONTACT_MAKE_MS, CONTACT_RELEASE_MS = 3.0, 4.0    # of the arbiter's emulated contacts
READY_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0
GATE_END_TIMEOUT_S = 3.0
POLL_S = 0.01


@dataclass(frozen=True)
class PairSettings:
    """What the demo varies in the agents' configuration."""

    period_ms: float = 10.0
    lone: str = "takeover"
    release_ms: float = 0.0
    busy: bool = False
    third_voter: str | None = None    # "arbiter", "witness", "zookeeper"
    gated: bool = False               # the arbiter's contacts are the outputs
    mode: str = "hot-warm"
    units: int = 1                    # shards of hot-hot, groups of hot-warm
    failback_after_s: float = 1.0
    move_gap_s: float = 0.3           # hot-hot: between two shards that go home

    @cached_property
    def layout(self) -> Layout:
        """Its nodes, cables and units."""
        return make_layout(self.mode, self.units, self.failback_after_s, self.move_gap_s)

    @property
    def single(self) -> bool:
        """Whether there is one unit that one node drives, and nothing else."""
        return self.mode == "hot-warm" and self.units == 1

    @property
    def contact_release_ms(self) -> float:
        """How long the arbiter's emulated contacts take to open."""
        return self.release_ms or CONTACT_RELEASE_MS

    @property
    def judged_release_ms(self) -> float:
        """What is added to an off that was seen: boards tell of the order, the arbiter's log of the contact itself."""
        return 0.0 if self.gated else self.release_ms


def config_text(settings: PairSettings, mqtt_port: int, ports: dict[str, dict[str, str]],
                third_voter: Sequence[str] = (), addresses: Mapping[str, str] | None = None) -> str:
    """The configuration file of all agents; `ports[node]` gives the paths of "cross" and what else there is.

    `third_voter`: the lines of its table. `addresses[node]`: on the network, where the layout has one.
    """
    layout = settings.layout
    mqtt_ms = max(10 * settings.period_ms, 50)
    lines = ["[pair]", f'name = "{PAIR}"', 'key_file = "pair.key"', ""]
    for node in layout.nodes:
        lines += [f"[node.{node}]", *([] if node in NODES else ["spare = true"])]
        lines += [f"serial.{port} = {json.dumps(path)}" for port, path in ports[node].items()]
        lines += [f'udp.{NETWORK} = "{addresses[node]}"', ""] if addresses else [""]
    lines += [
        *layout.links(settings.period_ms),
        "[[link]]", 'type = "mqtt"', f'broker = "mqtt://127.0.0.1:{mqtt_port}"', f"period_ms = {mqtt_ms:g}", "",
    ]
    for number, group in enumerate(layout.groups):
        lone = [] if layout.has_network else [f'lone = "{settings.lone}"']
        lines += [*group, *lone, "lonely_start_ms = 500", "", "[[group.output]]"]
        if settings.gated:
            lines += ['type = "arbiter"', f"release_ms = {settings.contact_release_ms:g}",
                      f"make_ms = {CONTACT_MAKE_MS:g}", ""]
        else:
            lines += ['type = "serial-relay"', f'port = "{layout.written_relay(number)}"', 'board = "lcus-1"',
                      "baud = 921600", f"release_ms = {settings.release_ms:g}", ""]
    lines += third_voter
    return "\n".join(lines)


def write_key(path: Path) -> None:
    """A fresh 128-bit key, mode 0600."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(16) + "\n")


class Agent:
    """One agent: `twinbeat run` as a process, with its gate."""

    def __init__(self, node: str, directory: Path, config: Path, command: list[str] | None = None,
                 busy: bool = False) -> None:
        self.node = node
        self.run_dir = directory / "run"
        self.state_dir = directory / f"state-{node}"
        self.log_path = directory / f"{node}.log"
        self.socket_path = self.run_dir / f"{PAIR}-{node}.sock"
        self.process: subprocess.Popen[bytes] | None = None
        self.gate_pid: int | None = None
        self._terminated = False
        self._environment = {**os.environ, "TWINBEAT_DEMO_BUSY": "1"} if busy else dict(os.environ)
        self._command = [*(command or [sys.executable, "-m", "twinbeat"]), "run", "--config", str(config),
                         "--node", node, "--run-dir", str(self.run_dir), "--state-dir", str(self.state_dir)]

    @property
    def pid(self) -> int | None:
        """The worker, while it has not been waited for."""
        return self.process.pid if self.process else None

    def start(self) -> None:
        """Starts the process; `wait_ready` tells when it answers."""
        for directory in (self.run_dir, self.state_dir):
            directory.mkdir(parents=True, exist_ok=True)
        self.gate_pid = None
        self._terminated = False
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, env=self._environment, start_new_session=True)

    def wait_ready(self) -> None:
        """Until the control socket answers; RigError with the agent's last words when it ends or stays silent."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                raise RigError(f"the agent {self.node} ended while it started: {self.last_words()}")
            answer = self.control("ping", timeout_s=1.0)
            if answer.get("ok") and answer.get("pid") == self.pid:
                self.gate_pid = answer.get("gate_pid")
                return
            time.sleep(POLL_S)
        raise RigError(f"the agent {self.node} did not answer on {self.socket_path}: {self.last_words()}")

    def control(self, verb: str, timeout_s: float = 2.0, **arguments: Any) -> dict[str, Any]:
        """Asks over the control socket; {"ok": False, "error": ...} when nobody answers."""
        try:
            with socket.socket(socket.AF_UNIX) as channel:
                channel.settimeout(timeout_s)
                channel.connect(str(self.socket_path))
                channel.sendall(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
                answer = b""
                while not answer.endswith(b"\n"):
                    piece = channel.recv(65536)
                    if not piece:
                        break
                    answer += piece
            parsed = json.loads(answer)
        except (OSError, ValueError) as error:
            return {"ok": False, "error": str(error) or type(error).__name__}
        return parsed if isinstance(parsed, dict) else {"ok": False, "error": "not an object"}

    def wait_ended(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Until the worker has ended, and its gate; False when the time ran out."""
        if self.process is not None:
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return False
        return self._wait_gate_ended(GATE_END_TIMEOUT_S)

    def terminate(self) -> None:
        """SIGTERM, once; a frozen worker or gate is let go on first."""
        if self.process is None or self.process.poll() is not None or self._terminated:
            return
        self._terminated = True
        if self.gate_pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.gate_pid, signal.SIGCONT)
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()

    def stop(self) -> bool:
        """SIGTERM, then SIGKILL to whatever is left. Returns whether the clean way was enough."""
        self.terminate()
        clean = self.wait_ended()
        self.kill()
        return clean

    def kill(self) -> None:
        """SIGKILL to worker and gate; collects both."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        if self.gate_pid is not None and procs.is_alive(self.gate_pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.gate_pid, signal.SIGKILL)
            self._wait_gate_ended(GATE_END_TIMEOUT_S)
        self.gate_pid = None

    def last_words(self) -> str:
        """The last line of the agent's log."""
        with contextlib.suppress(OSError):
            lines = self.log_path.read_text(errors="replace").strip().splitlines()
            if lines:
                return lines[-1]
        return "it said nothing"

    def cpu_ns(self) -> int:
        """CPU time of worker and gate so far."""
        return sum(procs.cpu_ns(pid) for pid in (self.pid, self.gate_pid) if pid)

    def memory(self) -> dict[str, float | None]:
        """RSS of the worker and PSS of the gate in MiB."""
        return {"rss_mib": procs.rss_mib(self.pid) if self.pid else None,
                "gate_pss_mib": procs.pss_mib(self.gate_pid) if self.gate_pid else None}

    def _wait_gate_ended(self, timeout_s: float) -> bool:
        if self.gate_pid is None:
            return True
        deadline = time.monotonic() + timeout_s
        while procs.is_alive(self.gate_pid):
            procs.reap(self.gate_pid)
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        procs.reap(self.gate_pid)
        return True
