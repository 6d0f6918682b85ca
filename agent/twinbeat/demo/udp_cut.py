"""The network between three nodes, over UDP on this machine: a filter on each agent's socket drops what a cut would.

Datagrams go from socket to socket, so there is no place between for a process that cuts. The kernel is asked instead:
it hands out a copy of the agent's socket, and a filter on that drops by the sender's port, or at random. The agent
does not notice; what its gate sends on the same socket is dropped with the rest. Linux permits it for one's children.
"""
from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from pathlib import Path

from twinbeat.demo.agents import Agent
from twinbeat.demo.helper import RigError

PIDFD_GETFD = 438
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
LOAD_PORT = struct.pack("=HBBI", 0x28, 0, 0, 0)                     # a datagram begins with its sender's port
LOAD_RANDOM = struct.pack("=HBBI", 0x20, 0, 0, 0xFFFFF000 + 56)
KEEP, DROP = (struct.pack("=HBBI", 0x06, 0, 0, size) for size in (0xFFFF, 0))
RANDOM_RANGE = 1 << 32

_libc = ctypes.CDLL(None, use_errno=True)


def free_ports(count: int) -> list[int]:
    """UDP ports of this machine that nobody uses."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.bind(("127.0.0.1", 0))
            found.append(int(sock.getsockname()[1]))
        return found


def program(deaf_to: list[int], loss: float) -> bytes:
    """The filter that drops what these ports send, and this share of the rest; empty: it would drop nothing."""
    if not deaf_to and not loss:
        return b""
    steps = [LOAD_PORT]
    for number, port in enumerate(deaf_to):
        to_drop = len(deaf_to) - number - 1 + (2 if loss else 0) + 1
        steps.append(struct.pack("=HBBI", 0x15, to_drop, 0, port))          # equal: drop
    if loss:
        steps += [LOAD_RANDOM, struct.pack("=HBBI", 0x35, 0, 1, min(RANDOM_RANGE - 1, round(loss * RANDOM_RANGE)))]
    return b"".join([*steps, KEEP, DROP])


class UdpNetwork:
    """The agents' sockets on one link. `ports`: the port of each node."""

    def __init__(self, nodes: list[str]) -> None:
        self.ports = dict(zip(nodes, free_ports(len(nodes)), strict=True))
        self._apart: set[str] = set()
        self._loss = 0.0

    def addresses(self) -> dict[str, str]:
        """What the configuration file says of each node."""
        return {node: f"127.0.0.1:{port}" for node, port in self.ports.items()}

    def set_apart(self, node: str, on: bool, agents: dict[str, Agent]) -> None:
        """This node hears nobody and nobody hears it, or this is over."""
        (self._apart.add if on else self._apart.discard)(node)
        self.apply(agents)

    def set_loss(self, share: float, agents: dict[str, Agent]) -> None:
        """Random loss of datagrams, 0..1."""
        self._loss = share
        self.apply(agents)

    def apply(self, agents: dict[str, Agent]) -> None:
        """Brings every socket to what is set; an agent that has started anew has a socket without a filter."""
        for node, agent in agents.items():
            others = [other for other in self.ports if other != node]
            deaf_to = [self.ports[other] for other in others if node in self._apart or other in self._apart]
            _set_filter(agent.pid, self.ports[node], program(deaf_to, self._loss))


def _set_filter(pid: int | None, port: int, steps: bytes) -> None:
    if pid is None:
        return
    with _socket_of(pid, port) as sock:
        if not steps:
            with contextlib.suppress(OSError):      # there is none
                sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
            return
        held = ctypes.create_string_buffer(steps, len(steps))
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER,
                        struct.pack("@HP", len(steps) // len(KEEP), ctypes.addressof(held)))


def _socket_of(pid: int, port: int) -> socket.socket:
    """A copy of the socket that a process has on this port. RigError where there is none, or it is not given out."""
    inode = _inode_of(port)
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(path) == f"socket:[{inode}]":
                return _copied(pid, int(path.name))
    raise RigError(f"the agent with process number {pid} has no socket on UDP port {port}")


def _copied(pid: int, number: int) -> socket.socket:
    process = os.pidfd_open(pid)
    try:
        handle = _libc.syscall(PIDFD_GETFD, process, number, 0)
        reason = os.strerror(ctypes.get_errno())
    finally:
        os.close(process)
    if handle < 0:
        raise RigError(f"the network between the agents cannot be cut here: {reason}; it needs Linux 5.6 or newer, and "
                       "the right to look into one's own children (kernel.yama.ptrace_scope at most 1)")
    return socket.socket(fileno=handle)


def _inode_of(port: int) -> str:
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            return fields[9]
    return ""
