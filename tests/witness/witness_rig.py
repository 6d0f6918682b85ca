"""Gateways that speak to a witness with or without a broker between them, and witnesses as processes."""
from __future__ import annotations

import signal
import subprocess
import sys
import threading
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from twinbeat.config_digest import pair_id_of
from twinbeat.run_loop import boottime_ns
from twinbeat_bridge.protocol import Session, Told, VoteCode, Votes
from twinbeat_core.frames import Frame, Row
from twinbeat_core.siphash import siphash24
from twinbeat_core.wire import encode

WAIT_S = 15.0
NAME = "plant"
KEY = bytes(range(16))
GRANT_MS = 300
PACE_S = 0.02


def signed(key: bytes, body: bytes) -> bytes:
    """A body with its tag, as it goes over a broker."""
    return body + siphash24(key, body).to_bytes(8, "little")


def opened(key: bytes, payload: bytes) -> bytes:
    """The body of an answer whose tag is right."""
    assert siphash24(key, payload[:-8]) == int.from_bytes(payload[-8:], "little")
    return payload[:-8]


def notice(key: bytes, pair: str, node: int, incarnation: int, dropped: list[bool]) -> bytes:
    """A gate's death notice."""
    rows = tuple(Row(5, 15, int(off), 8) for off in dropped)
    frame = Frame(
        source=node, incarnation=incarnation, stamp=boottime_ns() // 1000, pair_id=pair_id_of(pair), kind=1, rows=rows
    )
    return encode(frame, key)


class Watched:
    """Things that change in another thread and are waited for."""

    def __init__(self) -> None:
        self.changed = threading.Condition()

    def touch(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def wait(self, what: Callable[[], Any], text: str) -> None:
        with self.changed:
            assert self.changed.wait_for(what, WAIT_S), f"{text} did not come within {WAIT_S} s"


class Gateway(Watched):
    """One gateway's session with a witness, through a broker; answers are matched by the tag and the session."""

    def __init__(
        self, port: int, pair: str, node: int, incarnation: int = 7, key: bytes = KEY, witness: str = NAME,
        response: str | None = None, grant_ms: int = GRANT_MS,
    ) -> None:  # fmt: skip
        super().__init__()
        self.key = key
        self.session = Session(node, pair_id_of(pair), incarnation, zlib.crc32(witness.encode()), grant_ms)
        self.base = f"twinbeat/v1/{pair}/witness/{witness}/"
        self.heard: list[Any] = []
        self.messages: list[paho.MQTTMessage] = []
        self._response = self.base + str(node) if response is None else response
        self._stamp = 0
        subscribed = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.client.on_connect = lambda client, *_: client.subscribe(self.base + "+", 0)
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.on_message = self._message
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert subscribed.wait(WAIT_S)

    def _message(self, _client: object, _user: object, message: paho.MQTTMessage) -> None:
        if message.topic.endswith("/ask"):
            return
        self.messages.append(message)
        if message.topic == self.base + str(self.session.node) or message.topic == self._response:
            body, tag = bytes(message.payload[:-8]), int.from_bytes(message.payload[-8:], "little")
            answer = self.session.receive(body) if siphash24(self.key, body) == tag else None
            if answer is not None:
                self.heard.append(answer)
        self.touch()

    def stamp(self) -> int:
        self._stamp = max(self._stamp + 1, boottime_ns() // 1000)
        return self._stamp

    def send(self, payload: bytes, *, retain: bool = False, correlation: bytes | None = None) -> None:
        """Publish on the ask topic as it is."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = self._response
        if correlation is not None:
            properties.CorrelationData = correlation
        self.client.publish(self.base + "ask", payload, 0, retain, properties)

    def query(self) -> Told:
        """Ask who is there until somebody says so: a witness that is still connecting hears nothing."""
        before = len(self.heard)
        for _ in range(100):
            self.send(signed(self.key, self.session.query(self.stamp())))
            with self.changed:
                if self.changed.wait_for(lambda: len(self.heard) > before, WAIT_S / 100):
                    break
        found = next(answer for answer in self.heard[before:] if isinstance(answer, Told))
        return found

    def ask(self, group: int, epoch: int) -> tuple[VoteCode, int]:
        """Ask, again where the echo was not recent; code and epoch of the answer."""
        for _ in range(3):
            stamp = self.stamp()
            self.send(signed(self.key, self.session.ask([(group, epoch)], stamp)))
            self.wait(lambda stamp=stamp: any(a.stamp == stamp for a in self.heard), "an answer")  # type: ignore[misc]
            answer = next(a for a in self.heard if a.stamp == stamp)
            assert isinstance(answer, Votes)
            if answer.rows[0].code is not VoteCode.UNPROVEN:
                break
        return answer.rows[0].code, answer.rows[0].epoch

    def ask_until(self, code: VoteCode, group: int, epoch: int) -> int:
        """Ask again and again, no faster than the witness answers a pair, until it is `code`; the answer's epoch."""
        until_ns = boottime_ns() + int(WAIT_S * 1e9)
        while boottime_ns() < until_ns:
            found, answered = self.ask(group, epoch)
            if found is code:
                return answered
            with self.changed:
                self.changed.wait(PACE_S)
        raise AssertionError(f"never answered {code.name}, but {found.name}")

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def write_config(folder: Path, port: int, pairs: dict[str, bytes], grant_max_ms: int = GRANT_MS, **more: Any) -> Path:
    """A witness's file with a directory of keys."""
    keys = folder / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    for pair, key in pairs.items():
        write_key(keys / f"{pair}.key", key)
    settings = {"keys_dir": "keys", "state_dir": "state", "grant_max_ms": grant_max_ms} | more
    values = "".join(f"{key} = {value!r}\n".replace("'", '"') for key, value in settings.items())
    path = folder / "witness.toml"
    path.write_text(f'[witness]\nname = "{NAME}"\nbroker = "mqtt://127.0.0.1:{port}"\n{values}')
    return path


def write_key(path: Path, key: bytes) -> None:
    """A key file."""
    path.touch(0o600)
    path.write_text(key.hex() + "\n")


class WitnessProcess(Watched):
    """`twinbeat witness` as a process; its lines are read as they come. `alive`: those to end after a failed test."""

    alive: list[subprocess.Popen[str]] = []

    def __init__(self, config: Path, environ: dict[str, str] | None = None) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "twinbeat", "witness", "--config", str(config)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environ,
        )  # fmt: skip
        self.alive.append(self.process)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            self.touch()

    def line(self, text: str, count: int = 1) -> str:
        """Wait until `count` lines hold the text; the last of them."""
        def found() -> list[str]:
            return [line for line in self.lines if text in line]

        with self.changed:
            assert self.changed.wait_for(lambda: len(found()) >= count, WAIT_S), f"{text!r} is not in {self.lines}"
        return found()[count - 1]

    def up(self) -> WitnessProcess:
        self.line("connected;")
        return self

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        code = self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        return code

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.ended()


def read_metrics(port: int) -> dict[str, float]:
    """The witness's figures by name with labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WAIT_S) as answer:
        lines = answer.read().decode().splitlines()
    pairs = [line.removeprefix("twinbeat_witness_").rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}
