"""A small stand-in for the agent: enough of its command line and behaviour to test the rig without the agent.

A worker beats over the serial port every 10 ms, a gate holds the relay and drops it when the worker dies or stops
renewing. It takes over on a death notice, on a handover, or after 60 ms of silence. It proves nothing about twinbeat.
"""
from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time
import tomllib
import tty

ON, OFF = bytes.fromhex("A00101A2"), bytes.fromhex("A00100A1")
PERIOD_S, LEASE_S, SILENCE_S, LISTEN_S = 0.01, 0.03, 0.06, 0.1
BEAT_IDLE, BEAT_ACTIVE, RELEASED = b"\0" + b"i" * 30 + b"\0", b"\0" + b"a" * 30 + b"\0", b"\0" + b"r" * 30 + b"\0"


def gate(pipe: int, relay: str, cross: str) -> None:
    """Owns the relay: on while the worker renews; off, with a notice, when its pipe ends; off when it is silent."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    board, wire = os.open(relay, os.O_RDWR | os.O_NOCTTY), os.open(cross, os.O_RDWR | os.O_NOCTTY)
    os.write(board, OFF)
    driving, dead = False, False
    while not dead:
        readable = select.select([pipe], [], [], LEASE_S if driving else None)[0]
        orders = os.read(pipe, 4096) if readable else b"-"
        dead = orders == b""
        wanted = bool(orders) and orders[-1:] == b"+"
        if wanted != driving:
            os.write(board, ON if wanted else OFF)
            driving = wanted
    os.write(wire, RELEASED)


class Worker:
    """The part that may be killed or stopped."""

    def __init__(self, node: str, first: bool, cross: str, order: int, gate_pid: int, door: socket.socket) -> None:
        self.node, self.first, self.order, self.gate_pid, self.door = node, first, order, gate_pid, door
        self.wire = os.open(cross, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.active = self.peer_seen = self.stopping = False
        self.cold = True    # nobody has driven yet, as far as this node knows
        self.heard = self.started = time.monotonic()

    def run(self) -> None:
        """Until SIGTERM."""
        due = time.monotonic()
        while not self.stopping:
            readable = select.select([self.wire, self.door], [], [], max(0, due - time.monotonic()))[0]
            if self.wire in readable:
                self.hear(os.read(self.wire, 4096))
            if self.door in readable:
                self.serve()
            now = time.monotonic()
            if now >= due:
                if now - due > 2 * PERIOD_S:
                    self.heard, self.active = now, False
                due = now + PERIOD_S
                self.beat(now)
        self.release()

    def hear(self, data: bytes) -> None:
        """Frames, or pieces of them: the letter is all that counts."""
        self.heard, self.peer_seen = time.monotonic(), True
        self.cold = self.cold and b"a" not in data and b"r" not in data
        if b"r" in data and self.settled():
            self.drive()
        elif b"a" in data and self.active and not self.first:
            self.active = False

    def beat(self, now: float) -> None:
        """One period."""
        if not self.active and self.settled() and now - self.heard > SILENCE_S:
            self.drive()
        elif not self.active and self.first and self.peer_seen and self.settled() and self.cold:
            self.drive()
        if self.active:
            os.write(self.order, b"+")
        with contextlib.suppress(BlockingIOError):
            os.write(self.wire, BEAT_ACTIVE if self.active else BEAT_IDLE)

    def settled(self) -> bool:
        """After a start it listens first."""
        return time.monotonic() - self.started > LISTEN_S

    def drive(self) -> None:
        """Takes the role."""
        self.active, self.cold = True, False
        os.write(self.order, b"+")

    def release(self) -> None:
        """Gives the role back; the peer takes it."""
        if self.active:
            self.active = False
            os.write(self.order, b"-")
            select.select([], [], [], 0.001)
            os.write(self.wire, RELEASED)

    def serve(self) -> None:
        """One request on the control socket."""
        channel, _ = self.door.accept()
        with channel:
            channel.settimeout(1)
            verb = json.loads(channel.recv(4096))["verb"]
            if verb == "handover":
                self.release()
            seen = self.peer_seen and time.monotonic() - self.heard < SILENCE_S
            state = "ACTIVE" if self.active else "STANDBY" if self.settled() else "LISTEN"
            channel.sendall(json.dumps({
                "ok": True, "pid": os.getpid(), "gate_pid": self.gate_pid,
                "verdicts": [{"boottime_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME), "sentence": state}],
                "groups": [{"name": "pump", "state": state}], "links": [{"name": "serial", "up": seen}],
            }).encode() + b"\n")


def connect_mqtt(port: int, node: str) -> socket.socket:
    """An MQTT 5 connection that only exists."""
    name, topic = f"standin-{node}".encode(), f"twinbeat/v1/demo/{node}/status".encode()
    body = b"\0\4MQTT\5\x06" + struct.pack(">HB", 60, 0) + struct.pack(">H", len(name)) + name
    body += b"\0" + struct.pack(">H", len(topic)) + topic + b"\0\1x"
    link = socket.create_connection(("127.0.0.1", port))
    link.sendall(bytes([0x10, len(body)]) + body)
    return link


def main() -> int:
    """`standin.py run --config FILE --node NAME --run-dir DIR --state-dir DIR`."""
    words = dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True))
    node = words["--node"]
    with open(words["--config"], "rb") as file:
        config = tomllib.load(file)
    ports = config["node"][node]["serial"]
    end, order = os.pipe()
    for path in ports.values():
        tty.setraw(os.open(path, os.O_RDWR | os.O_NOCTTY))
    gate_pid = os.fork()
    if gate_pid == 0:
        os.close(order)
        gate(end, ports["relay"], ports["cross"])
        os._exit(0)
    os.close(end)
    door_path = f"{words['--run-dir']}/{config['pair']['name']}-{node}.sock"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(door_path)
    door = socket.socket(socket.AF_UNIX)
    door.bind(door_path)
    door.listen()
    broker = next(link["broker"] for link in config["link"] if link["type"] == "mqtt")
    held = connect_mqtt(int(broker.rsplit(":", 1)[1]), node)
    worker = Worker(node, node == next(iter(config["node"])), ports["cross"], order, gate_pid, door)
    signal.signal(signal.SIGTERM, lambda *_: setattr(worker, "stopping", True))
    worker.run()
    held.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
