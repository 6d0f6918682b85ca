"""A gateway's devices on ptys, and real `twinbeat` processes on them: what they say, and what they switched.

Every relay board is read from the first to the last byte, so that "nothing was switched on" is a statement about
bytes and not about words.
"""
from __future__ import annotations

import contextlib
import json
import os
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from twinbeat.demo.lines import Line, wait
from twinbeat.demo.relay import Decoder
from twinbeat.store import Store

PAIR = "bad"
KEY = bytes(range(16))
LIMIT_S = 20.0
POLL_S = 0.02
PROGRAM = ("-m", "twinbeat")
LOGGED = re.compile(r"twinbeat (?P<node>\S+): (?P<level>debug|info|warning|error): (?P<text>.*)")

CONFIG = """\
[pair]
name = "bad"
key_file = "pair.key"

[node.gw-a]
serial.cross = "{gw-a-cross}"
serial.relay = "{gw-a-relay}"

[node.gw-b]
serial.cross = "{gw-b-cross}"
serial.relay = "{gw-b-relay}"

[[link]]
type = "serial"
port = "cross"
baud = 921600
period_ms = 10

[[group]]
name = "pump"
prefer = ["gw-a", "gw-b"]
lonely_start_ms = 1500

[[group.output]]
type = "serial-relay"
port = "relay"
board = "lcus-1"
release_ms = 8
"""


SWAPPED = CONFIG.replace("{gw-a-", "{@").replace("{gw-b-", "{gw-a-").replace("{@", "{gw-b-")
"""The file of a machine that stands where gw-b should, and takes itself for gw-a."""


def changed(text: str, *changes: tuple[str, str]) -> str:
    """A configuration with pieces replaced; each piece must be there exactly once."""
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in the file"
        text = text.replace(old, new)
    return text


class Place:
    """One gateway pair's ptys, read by a thread: boards record what they are told, wires pass on what they get."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines = {name: Line(folder / name) for name in ("gw-a-cross", "gw-a-relay", "gw-b-cross", "gw-b-relay")}
        self.orders: dict[str, list[bool]] = {"gw-a-relay": [], "gw-b-relay": []}
        self.noise = 0
        self.wired = False
        self.beacon: tuple[str, bytes] | None = None
        self._decoders = {name: Decoder() for name in self.orders}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="place", daemon=True)
        key = folder / "pair.key"
        key.write_text(KEY.hex() + "\n")
        key.chmod(0o600)
        self._thread.start()

    def config(self, *changes: tuple[str, str], text: str = CONFIG, name: str = "twinbeat.toml") -> Path:
        """The configuration on disk, with pieces replaced."""
        path = self.folder / name
        paths = {line: str(self.folder / line) for line in self.lines}
        path.write_text(re.sub(r"\{([a-z-]+)\}", lambda found: paths[found[1]], changed(text, *changes)))
        return path

    def close(self) -> None:
        """Ends the thread and gives the ptys back."""
        self._ending.set()
        self._thread.join(LIMIT_S)
        for line in self.lines.values():
            line.close()

    def _work(self) -> None:
        lines = list(self.lines.values())
        last = 0.0
        while not self._ending.is_set():
            wait(lines, [], 0.01)
            for name, line in self.lines.items():
                self._take(name, line.read())
            if self.beacon is not None and time.monotonic() - last > 0.01:
                last = time.monotonic()
                self.lines[self.beacon[0]].write(self.beacon[1])

    def _take(self, name: str, data: bytes) -> None:
        if name in self.orders:
            self.orders[name] += self._decoders[name].feed(data)
            self.noise += self._decoders[name].noise
        elif self.wired and data:
            self.lines["gw-b-cross" if name == "gw-a-cross" else "gw-a-cross"].write(data)


class Agent:
    """`twinbeat run` as a process; its log is read line by line."""

    def __init__(
        self, place: Place, config: Path, node: str, run: str = "run", program: tuple[str, ...] = PROGRAM,
        **options: Any,
    ) -> None:
        self.node = node
        self.lines: list[str] = []
        self.state_dir = place.folder / f"state-{run}-{node}"
        self.socket_path = place.folder / run / f"{PAIR}-{node}.sock"
        self._changed = threading.Condition()
        words = ["run", "--config", str(config), "--node", node, "--run-dir", str(place.folder / run), "--state-dir",
                 str(self.state_dir)]
        self.process = subprocess.Popen([sys.executable, *program, *words], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options)
        self._reader = threading.Thread(target=self._read, name="log", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    def wait_line(self, text: str, limit_s: float = LIMIT_S) -> str:
        """The first line of the log with this in it."""
        with self._changed:
            found = self._changed.wait_for(lambda: self.having(text), limit_s)
        assert found, f"{self.node} did not say {text!r} but: {self.lines}"
        return found[0]

    def having(self, text: str) -> list[str]:
        """The lines of the log with this in them."""
        return [line for line in self.lines if text in line]

    def complaints(self) -> list[str]:
        """What was logged as a warning or an error."""
        found = [LOGGED.fullmatch(line) for line in self.lines]
        return [match["text"] for match in found if match and match["level"] in ("warning", "error")]

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """An answer of the running agent; the socket is waited for."""
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"{self.node} ended: {self.lines}"
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError), socket.socket(socket.AF_UNIX) as end:
                end.settimeout(LIMIT_S)
                end.connect(str(self.socket_path))
                end.sendall(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
                answer: dict[str, Any] = json.loads(end.makefile().readline())
                return answer
            time.sleep(POLL_S)
        raise AssertionError(f"{self.node} does not answer: {self.lines}")

    def wait_status(self, good: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first status that is as wanted."""
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            status = self.ask("status")
            if good(status):
                return status
            time.sleep(POLL_S)
        raise AssertionError(f"{self.node} does not come there: {status['groups']} {self.lines}")

    def wait_idle(self, for_ms: float) -> dict[str, Any]:
        """Its status once the group has been in LISTEN or STANDBY for so long: it could have claimed, and did not."""
        return self.wait_status(lambda status: status["groups"][0]["state"] in ("LISTEN", "STANDBY")
                                and status["groups"][0]["since_ms"] > for_ms)

    def end(self) -> tuple[int, list[str]]:
        """SIGTERM if it still runs; exit code and log once agent and gate have ended."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.ended()

    def ended(self) -> tuple[int, list[str]]:
        """Exit code and log once agent and gate have ended by themselves: the gate holds the log open to its end."""
        code = self.process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        assert not self._reader.is_alive(), f"the gate of {self.node} does not end: {self.lines}"
        return code, self.lines

    def kill(self) -> None:
        """For a test that failed: nothing is left behind."""
        self.process.kill()
        self.process.wait()
        self._reader.join(LIMIT_S)


class Bench(Place):
    """Devices, and the agents that were started on them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.agents: list[Agent] = []

    def agent(self, config: Path, node: str = "gw-a", *, known: bool = True, run: str = "run", **options: Any) -> Agent:
        """Starts an agent. `known`: it has run here before, so it does not abstain until the other is heard."""
        if known and not (self.folder / f"state-{run}-{node}").exists():
            store = Store(self.folder / f"state-{run}-{node}", PAIR, node)
            store.open()
            store.persist(512)
        self.agents.append(Agent(self, config, node, run, **options))
        return self.agents[-1]

    def finish(self) -> None:
        """Ends everything, gently where that works."""
        for agent in self.agents:
            if agent.process.poll() is None:
                agent.process.terminate()
        for agent in self.agents:
            try:
                agent.process.wait(5.0)
            except subprocess.TimeoutExpired:
                agent.kill()
            agent._reader.join(LIMIT_S)
        self.close()

    def assert_nothing_on(self) -> None:
        """No board was ever told to switch on, and none was told nonsense."""
        assert not any(True in orders for orders in self.orders.values()), self.orders
        assert self.noise == 0


def check(config: Path, *words: str, node: str = "gw-a", **options: Any) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `twinbeat check`."""
    command = [sys.executable, "-m", "twinbeat", "check", "--config", str(config), "--node", node, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False, **options)
    return done.returncode, done.stdout, done.stderr


@contextlib.contextmanager
def held(path: Path) -> Iterator[int]:
    """Another process has the port open for itself; gives its pid."""
    code = "import serial, sys; p = serial.Serial(sys.argv[1], exclusive=True); print('held', flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and select.select([holder.stdout], [], [], LIMIT_S)[0]
        assert holder.stdout.readline() == b"held\n"
        yield holder.pid
    finally:
        holder.kill()
        holder.communicate()


def quiet_environment(**more: str) -> dict[str, str]:
    """This process's environment without what would change an agent's answers."""
    left_out = ("TWINBEAT_NODE", "TWINBEAT_DEBUG", "TWINBEAT_RUN_DIR", "TWINBEAT_STATE_DIR", "JOURNAL_STREAM")
    return {**{key: value for key, value in os.environ.items() if key not in left_out}, **more}
