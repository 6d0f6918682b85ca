#!/usr/bin/env python3
"""A poller that runs on both gateways and splits its devices between them: each device is polled by one of them.

    poller.py simulate --port 5020                     the devices, when there are none: start it anywhere
    poller.py poll --config /etc/twinbeat/twinbeat.toml --address 192.168.0.10:5020 --devices 32

The configuration has a group of mode "hot-hot" with shards. Everything about twinbeat is in `Poller.turn` and
`Poller.poll`: ask for a lease, stay within it, hand its epoch on. Try `kill -9` on one agent while it runs.
"""
from __future__ import annotations

import argparse
import json
import signal
import socket
import socketserver
import sys
import threading
import time
from typing import TextIO

import twinbeat

NEED_MS = 5.0
"""What one poll may take. A key whose lease is shorter than this is left alone until it was renewed."""
LOAD_EVERY_S = 2.0


# ------------------------------------------------------------ the application


class Poller:
    """Polls the devices that are this gateway's, round after round, and writes a line of JSON for each value."""

    def __init__(self, client: twinbeat.Client, address: tuple[str, int], devices: list[str], out: TextIO) -> None:
        self.client = client
        self.address = address
        self.devices = devices
        self.out = out
        self.plant: socket.socket | None = None
        self.done = threading.Event()

    def run(self, period_s: float) -> None:
        """Until `done`. The share of time spent at work is reported as load."""
        busy_s, since_s = 0.0, time.monotonic()
        while not self.done.is_set():
            begun_s = time.monotonic()
            self.turn()
            now_s = time.monotonic()
            busy_s += now_s - begun_s
            if now_s - since_s >= LOAD_EVERY_S:
                self.client.report_load(100 * busy_s / (now_s - since_s), ttl_s=3 * LOAD_EVERY_S)
                busy_s, since_s = 0.0, now_s
            self.done.wait(max(0.0, begun_s + period_s - now_s))
        self.out.flush()

    def turn(self) -> None:
        """Every device once that is this gateway's."""
        for device in self.devices:
            lease = self.client.lease(device, need_ms=NEED_MS)
            if lease is not None:
                self.poll(device, lease)
        self.out.flush()

    def poll(self, device: str, lease: twinbeat.Lease) -> None:
        """One device, within the lease. The epoch goes with the request: a device can refuse whom it outlived."""
        begin_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        answer = self.ask(f"READ {device} {lease.epoch}", lease.left_ms() / 1000)
        end_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        # This process may have stood still in the middle. What came after the deadline is not ours to use.
        kept = answer is not None and end_ns < lease.until_ns
        print(json.dumps({"device": device, "node": self.client.node, "unit": lease.unit, "epoch": lease.epoch,
                          "begin_ns": begin_ns, "end_ns": end_ns, "value": answer, "kept": kept}), file=self.out)

    def ask(self, line: str, limit_s: float) -> str | None:
        """One question to the plant; None: no answer in time, and the connection is begun anew."""
        try:
            if self.plant is None:
                self.plant = socket.create_connection(self.address, timeout=1.0)
                self.plant.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.plant.settimeout(max(0.001, limit_s))
            self.plant.sendall(line.encode() + b"\n")
            data = b""
            while not data.endswith(b"\n"):
                piece = self.plant.recv(256)
                if not piece:
                    raise ConnectionError("closed")
                data += piece
            return data.decode().strip()
        except OSError:
            if self.plant is not None:
                self.plant.close()
            self.plant = None
            return None


# ------------------------------------------------------------ the devices


class Plant(socketserver.ThreadingTCPServer):
    """Simulated devices, each with a counter. It refuses an epoch below the highest that a device has seen."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, Device)
        self.lock = threading.Lock()
        self.epochs: dict[str, int] = {}
        self.counts: dict[str, int] = {}

    def read(self, device: str, epoch: int) -> str:
        """The device's next value, or REFUSED."""
        with self.lock:
            if epoch < self.epochs.get(device, 0):
                return "REFUSED"
            self.epochs[device] = epoch
            self.counts[device] = self.counts.get(device, 0) + 1
            return str(self.counts[device])


class Device(socketserver.StreamRequestHandler):
    """One gateway's connection."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        plant = self.server
        assert isinstance(plant, Plant)
        for line in self.rfile:
            words = line.decode(errors="replace").split()
            known = len(words) == 3 and words[0] == "READ" and words[2].isdecimal()
            self.wfile.write((plant.read(words[1], int(words[2])) if known else "WHAT").encode() + b"\n")


# ------------------------------------------------------------ command line


def main() -> int:
    """0: ended by a signal; 6: nothing is heard of the agent."""
    parser = argparse.ArgumentParser(description="Poll devices from two gateways, each device from one of them.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    simulate = verbs.add_parser("simulate", help="be the devices")
    simulate.add_argument("--port", type=int, default=5020)
    poll = verbs.add_parser("poll", help="poll those that are this gateway's")
    poll.add_argument("--config", help="twinbeat's configuration")
    poll.add_argument("--node", help="this gateway's name")
    poll.add_argument("--socket", help="the agent's control socket, instead of --config")
    poll.add_argument("--group", help="the group with the shards; not needed where there is one")
    poll.add_argument("--address", default="127.0.0.1:5020", help="host:port of the devices")
    poll.add_argument("--devices", type=int, default=32, help="how many there are")
    poll.add_argument("--period-ms", type=float, default=100)
    arguments = parser.parse_args()
    if arguments.verb == "simulate":
        with Plant(("127.0.0.1", arguments.port)) as plant:
            print(f"devices at port {plant.server_address[1]}", flush=True)
            signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=plant.shutdown).start())
            plant.serve_forever()
        return 0
    host, _, port = arguments.address.rpartition(":")
    devices = [f"dev-{number:03d}" for number in range(arguments.devices)]
    with twinbeat.Client(arguments.socket, config=arguments.config, node=arguments.node,
                         group=arguments.group) as client:
        poller = Poller(client, (host, int(port)), devices, sys.stdout)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: poller.done.set())
        poller.run(arguments.period_ms / 1000)
    return 0


if __name__ == "__main__":
    sys.exit(main())
