"""How many pairs one witness can serve: real asks over a real broker, timed one by one.

    python -m twinbeat.bench.witness_load --pairs 5000 --seconds 20 --json

The witness runs alone on one core; broker and load generator share the others. Every pair has a key of its own and asks
once a second, evenly spread, echoing what it was answered, so that each answer is a promise or is counted as none.
"""
from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from twinbeat.config_digest import pair_id_of
from twinbeat.demo import procs
from twinbeat.demo.broker import Broker, free_port
from twinbeat.demo.helper import RigError
from twinbeat.links.mqtt_options import MqttOptions
from twinbeat.run_loop import boottime_ns
from twinbeat.witness.desk import answer_topic, ask_topic
from twinbeat.witness.lane import Lane, Message, publish
from twinbeat.witness.opening import Opening
from twinbeat_core.siphash import siphash24

NAME = "load"
GRANT_MS = 3000
EPOCH = 8
PERIOD_NS = 1_000_000_000
WARM_UP_S = 3
START_LIMIT_S = 60.0
UNANSWERED_NS = 2 * PERIOD_NS
_HEAD = struct.Struct("<BBBBHIIHIIH")
_ROW = struct.Struct("<BI")
_VOTE = struct.Struct("<BBBBHIIHIIIHBBBBIH")
CODES = {1: "promised", 2: "refused", 3: "abstains", 4: "unproven", 7: "waits"}


class Load:
    """The gateways of many pairs: sends what is due, times what comes back."""

    def __init__(self, pairs: int, queries: bool) -> None:
        self.keys = [os.urandom(16) for _ in range(pairs)]
        self.names = [f"pair-{number:05d}" for number in range(pairs)]
        self.ids = [pair_id_of(name) for name in self.names]
        self.topics = [ask_topic(name, NAME).encode() for name in self.names]
        self.responses = [answer_topic(name, NAME, 0).encode() for name in self.names]
        self.queries = queries
        self.life = [0] * pairs
        self.clock = [0] * pairs
        self.sent_at_ns = [0] * pairs        # 0: not waiting for an answer
        self.counting = False
        self.times_ns: list[int] = []
        self.late_ns: list[int] = []
        self.codes: Counter[str] = Counter()
        self.lost = 0
        self.told = 0
        self.sent = 0

    def ask(self, number: int, now_ns: int) -> bytes:
        """The packets of one pair's turn: the driver's ask, and the other gateway's query where wished."""
        if self.counting:
            self.sent += 1
            if self.sent_at_ns[number]:
                self.lost += 1
        self.sent_at_ns[number] = now_ns
        packet = self._packet(number, 1, 0, now_ns, _ROW.pack(0, EPOCH))
        if self.queries:
            packet += self._packet(number, 4, 1, now_ns, b"")
        return packet

    def _packet(self, number: int, kind: int, node: int, now_ns: int, rows: bytes) -> bytes:
        stamp = now_ns // 1000
        body = _HEAD.pack(
            0xD1, kind, node, 1 if rows else 0, self.ids[number], 1 + node, stamp & 0xFFFFFFFF, stamp >> 32,
            self.life[number], self.clock[number], GRANT_MS,
        ) + rows  # fmt: skip
        payload = body + siphash24(self.keys[number], body).to_bytes(8, "little")
        correlation = number.to_bytes(4) + bytes((node,))
        return publish(self.topics[number], payload, correlation, self.responses[number])

    def take(self, message: Message, now_ns: int) -> None:
        """One answer."""
        number = int.from_bytes(message.correlation[:4])
        payload = message.payload
        if siphash24(self.keys[number], payload[:-8]) != int.from_bytes(payload[-8:], "little"):
            raise RigError(f"an answer to {self.names[number]} has a wrong tag")
        if message.correlation[4]:
            self.told += self.counting
            return
        values = _VOTE.unpack_from(payload)
        self.life[number], self.clock[number] = values[8], values[9]
        sent_at_ns, self.sent_at_ns[number] = self.sent_at_ns[number], 0
        if self.counting and sent_at_ns:
            self.times_ns.append(now_ns - sent_at_ns)
            self.codes[CODES.get(values[13], str(values[13]))] += 1


def run_load(load: Load, connection: socket.socket, seconds: float) -> None:
    """Every pair asks once a second, evenly spread, for `seconds` after the warm-up."""
    count = len(load.names)
    lane, poller = Lane(), select.poll()
    poller.register(connection, select.POLLIN)
    connection.setblocking(False)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    begun_ns = boottime_ns()
    warm_ns, end_ns = begun_ns + WARM_UP_S * 10**9, begun_ns + int((WARM_UP_S + seconds) * 1e9)
    turn, unsent = 0, b""
    while True:
        now_ns = boottime_ns()
        if now_ns >= end_ns + UNANSWERED_NS // 2:
            break
        load.counting = load.counting or now_ns >= warm_ns
        due = (min(now_ns, end_ns) - begun_ns) * count // PERIOD_NS
        packets = [unsent]
        while turn < due:
            if load.counting:
                load.late_ns.append(now_ns - (begun_ns + turn * PERIOD_NS // count))
            packets.append(load.ask(turn % count, now_ns))
            turn += 1
        unsent = b"".join(packets)
        if unsent:
            with contextlib.suppress(BlockingIOError):
                unsent = unsent[connection.send(unsent):]
        if poller.poll(1):
            data = connection.recv(1 << 20)
            heard_ns = boottime_ns()
            for message in lane.feed(data):
                load.take(message, heard_ns)
            if not data or lane.ended is not None:
                raise RigError("the broker ended the load generator's connection")
    load.lost += sum(1 for sent_ns in load.sent_at_ns if sent_ns)


def measure(pairs: int, seconds: float, *, queries: bool = False) -> dict[str, Any]:
    """Figures of one run: answer times in ms (p50, p90, p99, p999, max), lost answers, CPU share of the witness.

    `queries`: the other gateway of each pair asks who the witness is once a second too, as a standby does. Raises
    RigError when there is no mosquitto, or witness or broker do not come up.
    """
    cores = sorted(os.sched_getaffinity(0))
    load = Load(pairs, queries)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="twinbeat-witness-")))
        os.sched_setaffinity(0, cores[1:] or cores)
        stack.callback(os.sched_setaffinity, 0, cores)
        broker = Broker(folder, "mosquitto")
        broker.start()
        stack.callback(broker.stop)
        witness, port = stack.enter_context(running_witness(folder, broker.port, load, cores[0]))
        options = MqttOptions(link=0, name="load", pair="", node="load", host="127.0.0.1", port=broker.port)
        opening = Opening(options, None, "witness-load", answer_topic("+", NAME, 0))
        connection = opening.open(lambda: False)
        was_enabled = gc.isenabled()
        gc.disable()
        stack.callback(gc.enable if was_enabled else gc.disable)
        before = [procs.cpu_ns(pid) for pid in (witness.pid, broker.pid or 0, os.getpid())]
        begun_ns = boottime_ns()
        run_load(load, connection, seconds)
        took_ns = boottime_ns() - begun_ns
        after = [procs.cpu_ns(pid) for pid in (witness.pid, broker.pid or 0, os.getpid())]
        inside = read_figures(port)
        connection.close()
    shares = [round(100 * (b - a) / took_ns, 1) for a, b in zip(before, after, strict=True)]
    return {
        "pairs": pairs, "seconds": seconds, "queries": queries, "asks": load.sent, "answers": len(load.times_ns),
        "told": load.told, "lost": load.lost, "codes": dict(load.codes),
        "answer_ms": spread(load.times_ns), "generator_late_ms": spread(load.late_ns),
        "cpu_percent": dict(zip(("witness", "broker", "generator"), shares, strict=True)),
        "witness_inside": {name: value for name, value in inside.items() if value},
        "machine": {"cpus": procs.cpu_count(), "model": procs.cpu_model(), "witness_core": cores[0]},
    }  # fmt: skip


@contextlib.contextmanager
def running_witness(
    folder: Path, broker_port: int, load: Load, core: int
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A witness on one core that serves these pairs and promises already, and its metrics port."""
    keys = folder / "keys"
    keys.mkdir()
    for name, key in zip(load.names, load.keys, strict=True):
        path = keys / f"{name}.key"
        path.touch(0o600)
        path.write_text(key.hex() + "\n")
    port = free_port()
    config = folder / "witness.toml"
    config.write_text(
        f'[witness]\nname = "{NAME}"\nbroker = "mqtt://127.0.0.1:{broker_port}"\nkeys_dir = "keys"\n'
        f'state_dir = "state"\ngrant_max_ms = {GRANT_MS}\nmetrics_port = {port}\nlog = "warning"\n'
    )
    log_path = folder / "witness.log"
    elsewhere = os.sched_getaffinity(0)
    with log_path.open("wb") as log:
        os.sched_setaffinity(0, {core})       # inherited
        try:
            words = [sys.executable, "-m", "twinbeat", "witness", "--config", str(config)]
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        finally:
            os.sched_setaffinity(0, elsewhere)
    try:
        wait_until_promising(process, port, log_path)
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_promising(process: subprocess.Popen[bytes], port: int, log_path: Path) -> None:
    """Returns when the witness is connected and abstains no more. Raises RigError."""
    until_ns = boottime_ns() + int(START_LIMIT_S * 1e9)
    while process.poll() is None and boottime_ns() < until_ns:
        with contextlib.suppress(OSError):
            figures = read_figures(port)
            if figures.get("connected") == 1 and figures.get("abstaining") == 0:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    said = log_path.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
    raise RigError(f"the witness did not come up: {said[0]}")


def read_figures(port: int) -> dict[str, float]:
    """The witness's own metrics by name, without the prefix and without the histogram."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2.0) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.removeprefix("twinbeat_witness_").rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs if not name.startswith("answer_seconds_bucket")}


def spread(times_ns: list[int]) -> dict[str, float | None]:
    """Percentiles in ms."""
    ordered = sorted(times_ns)
    places = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
    last = len(ordered) - 1
    return {name: round(ordered[round(last * part)] / 1e6, 3) if ordered else None for name, part in places.items()}


def main(words: Sequence[str] | None = None) -> int:
    """The command line; 0 whenever it ran."""
    parser = argparse.ArgumentParser(
        prog="python -m twinbeat.bench.witness_load", description="Loads one witness with many pairs and times it."
    )
    parser.add_argument("--pairs", type=int, default=5000, help="each asks once a second (default 5000)")
    parser.add_argument("--seconds", type=float, default=20.0, help="after a warm-up (default 20)")
    parser.add_argument("--queries", action="store_true", help="the other gateways query once a second too")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(words)
    if not 1 <= given.pairs <= 20000 or not 0 < given.seconds <= 3600:
        parser.error("--pairs takes 1 to 20000, --seconds up to 3600")
    if shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin") is None:
        parser.error("mosquitto is not installed: there is no broker to load (apt install mosquitto)")
    found = measure(given.pairs, given.seconds, queries=given.queries)
    if given.json:
        print(json.dumps(found, indent=1))
        return 0
    times, cpu = found["answer_ms"], found["cpu_percent"]
    print(f"{given.pairs} pairs, {found['asks']} asks, {found['lost']} unanswered, {found['codes']}")
    print("answer " + ", ".join(f"{name} {value} ms" for name, value in times.items()))
    print("cpu " + ", ".join(f"{name} {value} %" for name, value in cpu.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
