"""The network between three nodes: filters on real sockets, by the sender's port and at random."""
from __future__ import annotations

import os
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from twinbeat.demo.helper import RigError
from twinbeat.demo.udp_cut import UdpNetwork, free_ports, program

NODES = ["gw-a", "gw-b", "gw-s"]
WAIT_S = 5.0


class Nodes:
    """Three sockets of this process, each standing for an agent's."""

    def __init__(self) -> None:
        self.network = UdpNetwork(NODES)
        self.sockets: dict[str, socket.socket] = {}
        for node, port in self.network.ports.items():
            self.sockets[node] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sockets[node].bind(("127.0.0.1", port))
            self.sockets[node].settimeout(WAIT_S)
        self.agents: Any = {node: SimpleNamespace(pid=os.getpid()) for node in NODES}

    def send(self, source: str, target: str, data: bytes = b"beat") -> None:
        self.sockets[source].sendto(data, ("127.0.0.1", self.network.ports[target]))

    def heard(self, target: str) -> list[bytes]:
        """Everything that lies in a socket; on one machine a datagram is there when it has been sent."""
        found = []
        sock = self.sockets[target]
        sock.setblocking(False)
        while True:
            try:
                found.append(sock.recv(100))
            except BlockingIOError:
                return found


@pytest.fixture
def nodes() -> Any:
    made = Nodes()
    try:
        made.network.apply(made.agents)
    except RigError as error:
        pytest.skip(f"NO CUT WAS TESTED: {error}")
    yield made
    for sock in made.sockets.values():
        sock.close()


def test_a_node_apart_hears_nobody_and_nobody_hears_it(nodes: Nodes) -> None:
    nodes.network.set_apart("gw-s", True, nodes.agents)
    for source in NODES:
        for target in NODES:
            if source != target:
                nodes.send(source, target, source.encode())
    assert {node: nodes.heard(node) for node in NODES} == {"gw-a": [b"gw-b"], "gw-b": [b"gw-a"], "gw-s": []}
    nodes.network.set_apart("gw-s", False, nodes.agents)
    nodes.send("gw-a", "gw-s")
    assert nodes.heard("gw-s") == [b"beat"]


def test_loss_drops_about_as_many_as_asked(nodes: Nodes) -> None:
    nodes.network.set_loss(0.5, nodes.agents)
    for _ in range(400):
        nodes.send("gw-a", "gw-b")
    assert 120 < len(nodes.heard("gw-b")) < 280
    nodes.network.set_apart("gw-a", True, nodes.agents)
    nodes.send("gw-a", "gw-b")
    assert nodes.heard("gw-b") == [], "loss and a cut go together"
    nodes.network.set_apart("gw-a", False, nodes.agents)
    nodes.network.set_loss(0, nodes.agents)
    for _ in range(50):
        nodes.send("gw-a", "gw-b")
    assert len(nodes.heard("gw-b")) == 50


def test_a_process_without_the_socket_is_named() -> None:
    network = UdpNetwork(NODES)
    with pytest.raises(RigError, match="has no socket on UDP port"):
        network.set_loss(0.1, {"gw-a": SimpleNamespace(pid=os.getpid())})    # type: ignore[dict-item]


def test_nothing_to_drop_is_no_filter_and_ports_are_different() -> None:
    assert program([], 0) == b""
    assert len(set(free_ports(3))) == 3
