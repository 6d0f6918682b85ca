"""The network between each agent and the broker: one listening port, one path per agent that can be cut or lossy.

An agent is known by its CONNECT packet, so both use the same address and the same configuration file. A cut is a black
hole: nothing is passed and nothing is closed, as when a cable is pulled; what was sent meanwhile arrives after healing,
as TCP would have it. Loss drops whole heartbeat PUBLISH packets of QoS 0, since TCP itself loses nothing.
"""
from __future__ import annotations

import argparse
import contextlib
import random
import selectors
import socket
import sys
from collections import deque

from twinbeat.demo import mqtt3, mqttwire, procs
from twinbeat.demo.helper import Control, Json
from twinbeat.demo.switchboard import Switchboard

FIFO_PRIORITY = 65
READ_SIZE = 65536
CONNECT_TIMEOUT_S = 1.0
MAX_WAITING_BYTES = 1 << 20


class Path:
    """What happens to one agent's traffic."""

    def __init__(self, seed: str) -> None:
        self.loss_up = 0.0         # agent to broker, share of heartbeats lost
        self.loss_down = 0.0       # broker to agent
        self.delay_ms = 0.0        # each way
        self.refuse = False        # no new connections
        self.stats = {"connections": 0, "beats_up": 0, "beats_down": 0, "dropped_up": 0, "dropped_down": 0}
        self._random = random.Random(seed)

    def set(self, loss_up: float | None = None, loss_down: float | None = None, delay_ms: float | None = None,
            refuse: bool | None = None) -> None:
        """Changes what is given. ValueError for a share outside 0..1 or a delay outside 0..60000 ms."""
        for name, value, top in (("loss_up", loss_up, 1), ("loss_down", loss_down, 1), ("delay_ms", delay_ms, 60000)):
            if value is not None:
                if not 0 <= value <= top:
                    raise ValueError(f"{name} is between 0 and {top}, not {value}")
                setattr(self, name, value)
        if refuse is not None:
            self.refuse = refuse

    def keeps(self, packet: bytes, up: bool) -> bool:
        """Whether this packet goes through."""
        if not mqttwire.is_heartbeat(packet):
            return True
        way = "up" if up else "down"
        self.stats[f"beats_{way}"] += 1
        loss = self.loss_up if up else self.loss_down
        if loss > 0 and self._random.random() < loss:
            self.stats[f"dropped_{way}"] += 1
            return False
        return True


class Side:
    """One socket of a connection with what still has to be written to it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.splitter = mqttwire.Splitter()
        self.out = bytearray()
        self.delayed: deque[tuple[int, bytes]] = deque()    # (due, packet) on the way to this socket


class Link:
    """One agent's connection and, once the agent is known, ours to the broker."""

    def __init__(self, client: socket.socket) -> None:
        self.client = Side(client)
        self.broker: Side | None = None
        self.node: int | None = None
        self.paused = False

    def sides(self) -> list[Side]:
        """The sockets that exist."""
        return [self.client] if self.broker is None else [self.client, self.broker]


class Proxy:
    """All connections of both agents."""

    def __init__(self, nodes: list[str], broker_port: int, board: Switchboard, seed: str,
                 translate: bool = False) -> None:
        self.nodes = nodes
        self.translate = translate
        self.broker_port = broker_port
        self.board = board
        self.paths = [Path(f"{seed}/{node}") for node in nodes]
        self.links: list[Link] = []
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ)

    @property
    def port(self) -> int:
        """Where the agents connect."""
        port: int = self.listener.getsockname()[1]
        return port

    def accept(self) -> None:
        """A new connection; it is nobody's until its CONNECT packet has come."""
        with contextlib.suppress(BlockingIOError):
            link = Link(self.listener.accept()[0])
            self.links.append(link)
            self._watch(link)

    def ready(self, link: Link, side: Side, mask: int) -> None:
        """One socket can be read or written."""
        if link not in self.links:
            return
        if link.node is not None and self.board.mqtt_silent(link.node):
            self._pause(link)
            return
        try:
            if mask & selectors.EVENT_WRITE:
                self._flush(link, side)
            if mask & selectors.EVENT_READ:
                self._read(link, side)
        except (OSError, mqttwire.NotMqtt, IndexError):    # IndexError: a packet shorter than its fields
            self._close(link)

    def resume(self) -> None:
        """Takes up what was paused by a cut that is over, and pauses what is cut now."""
        for link in list(self.links):
            silent = link.node is not None and self.board.mqtt_silent(link.node)
            if silent and not link.paused:
                self._pause(link)
            elif link.paused and not silent:
                link.paused = False
                self._watch(link)

    def deliver_due(self) -> float | None:
        """Writes delayed packets that are due; seconds until the next, None when none waits."""
        now, next_due = procs.now_ns(), None
        for link in list(self.links):
            if link.paused or (link.node is not None and self.board.mqtt_silent(link.node)):
                continue
            for side in link.sides():
                while side.delayed and side.delayed[0][0] <= now:
                    self._write(link, side, side.delayed.popleft()[1])
                if side.delayed and (next_due is None or side.delayed[0][0] < next_due):
                    next_due = side.delayed[0][0]
        return None if next_due is None else max(0, next_due - now) / 1e9

    def handle(self, request: Json) -> Json:
        """{"set": {...}, "node": n or absent for both} | {"close": n} | {"resume": true} | {"stats": true}."""
        if "set" in request:
            for node in [request["node"]] if "node" in request else range(len(self.nodes)):
                self.paths[node].set(**request["set"])
        if "close" in request:
            for link in [link for link in self.links if link.node == request["close"]]:
                self._close(link)
        self.resume()
        return {"at_ns": procs.now_ns(), "stats": [path.stats for path in self.paths]}

    def close(self) -> None:
        """Closes everything."""
        for link in list(self.links):
            self._close(link)
        self.selector.close()
        self.listener.close()

    def _read(self, link: Link, side: Side) -> None:
        data = side.sock.recv(READ_SIZE)
        if not data:
            self._close(link)
            return
        for packet in side.splitter.feed(data):
            if link.broker is None and not self._identify(link, packet):
                self._close(link)
                return
            assert link.node is not None and link.broker is not None
            up = side is link.client
            path = self.paths[link.node]
            target = link.broker if up else link.client
            if not path.keeps(packet, up):
                continue
            passed = packet if not self.translate else mqtt3.to_311(packet) if up else mqtt3.to_5(packet)
            if passed is None:
                continue
            if path.delay_ms or target.delayed:
                target.delayed.append((procs.now_ns() + round(path.delay_ms * 1e6), passed))
            else:
                self._write(link, target, passed)

    def _identify(self, link: Link, packet: bytes) -> bool:
        link.node = mqttwire.connecting_node(packet, self.nodes)
        if link.node is None or self.paths[link.node].refuse:
            return False
        link.broker = Side(socket.create_connection(("127.0.0.1", self.broker_port), CONNECT_TIMEOUT_S))
        self.paths[link.node].stats["connections"] += 1
        self._watch(link)
        return True

    def _write(self, link: Link, side: Side, data: bytes) -> None:
        if link not in self.links:
            return
        side.out += data
        try:
            self._flush(link, side)
        except OSError:
            self._close(link)
        if len(side.out) > MAX_WAITING_BYTES:
            self._close(link)

    def _flush(self, link: Link, side: Side) -> None:
        with contextlib.suppress(BlockingIOError):
            while side.out:
                del side.out[:side.sock.send(side.out)]
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if side.out else 0)
        if not link.paused and self.selector.get_key(side.sock).events != mask:
            self.selector.modify(side.sock, mask, (link, side))

    def _watch(self, link: Link) -> None:
        for side in link.sides():
            if side.sock not in self.selector.get_map():
                mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if side.out else 0)
                self.selector.register(side.sock, mask, (link, side))

    def _pause(self, link: Link) -> None:
        link.paused = True
        for side in link.sides():
            if side.sock in self.selector.get_map():
                self.selector.unregister(side.sock)

    def _close(self, link: Link) -> None:
        if link not in self.links:
            return
        self._pause(link)
        self.links.remove(link)
        for side in link.sides():
            side.sock.close()


def run(proxy: Proxy, control: Control) -> None:
    """Until the end of the control input."""
    proxy.selector.register(control.fd, selectors.EVENT_READ, control)
    while not control.ended:
        for key, mask in proxy.selector.select(proxy.deliver_due()):
            if key.data is control:
                for request in control.read():
                    control.answer(request, proxy.handle)
            elif key.data is None:
                proxy.accept()
            else:
                link, side = key.data
                proxy.ready(link, side, mask)


def main() -> int:
    """`python -m twinbeat.demo.proxy --board FILE --node NAME --node NAME --broker-port N --seed S`."""
    parser = argparse.ArgumentParser(prog="twinbeat.demo.proxy")
    parser.add_argument("--board", required=True)
    parser.add_argument("--node", action="append", required=True)
    parser.add_argument("--broker-port", type=int, required=True)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--translate", action="store_true", help="the broker knows MQTT 3.1.1 only")
    options = parser.parse_args()
    proxy = Proxy(options.node, options.broker_port, Switchboard(options.board), options.seed, options.translate)
    control = Control()
    fifo = procs.prepare_helper(FIFO_PRIORITY)
    control.send(ready=True, fifo=fifo, port=proxy.port)
    try:
        run(proxy, control)
    finally:
        proxy.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
