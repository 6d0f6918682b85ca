"""A private network for a VRRP daemon: two nodes and a switch, each a network namespace of its own.

Everything lies inside namespaces that this module makes and deletes; the machine's own network is not touched.
"""
from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable

from twinbeat.demo import procs
from twinbeat.demo.helper import RigError
from twinbeat.demo.measure import Change
from twinbeat.demo.setup import SetUp

CLONE_NEWNET = 0x40000000
RTMGRP_IPV4_IFADDR = 0x10
RTM_NEWADDR, RTM_DELADDR = 20, 21
NETLINK_HEADER = struct.Struct("=IHHII")
WATCH_FIFO_PRIORITY = 80
NODES = ["ka-a", "ka-b"]
ADDRESS = {"ka-a": "10.83.0.1", "ka-b": "10.83.0.2"}
VIRTUAL = "10.83.0.100"
_PORT = {"ka-a": "port0", "ka-b": "port1"}
INTERFACE = "lan0"

_libc = ctypes.CDLL(None, use_errno=True)


def tool(name: str) -> str | None:
    """Path of a system program, looked for in the sbin directories too."""
    return shutil.which(name, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin:/sbin:/usr/local/sbin")


def call(*words: str, check: bool = True) -> str:
    """Runs a program; RigError with what it said when it fails."""
    done = subprocess.run([tool(words[0]) or words[0], *words[1:]], capture_output=True, text=True, check=False,
                          timeout=30)
    if check and done.returncode:
        raise RigError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Lab(SetUp):
    """Two nodes on one switch. Use as a context manager."""

    def __init__(self) -> None:
        self.names = {node: f"tb{os.getpid()}-{node}" for node in [*NODES, "switch"]}
        self._made: list[str] = []

    def _start(self) -> None:
        for name in self.names.values():
            call("ip", "netns", "add", name)
            self._made.append(name)
            self.inside(name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", check=False)
            call("ip", "-n", name, "link", "set", "lo", "up")
        switch = self.names["switch"]
        call("ip", "-n", switch, "link", "add", "bridge0", "type", "bridge", "stp_state", "0", "forward_delay", "0",
             "mcast_snooping", "0")
        call("ip", "-n", switch, "link", "set", "bridge0", "up")
        for node in NODES:
            name = self.names[node]
            call("ip", "link", "add", INTERFACE, "netns", name, "type", "veth", "peer", "name", _PORT[node],
                 "netns", switch)
            call("ip", "-n", switch, "link", "set", "dev", _PORT[node], "master", "bridge0", "up")
            call("ip", "-n", name, "addr", "add", f"{ADDRESS[node]}/24", "dev", INTERFACE)
            call("ip", "-n", name, "link", "set", INTERFACE, "up")

    def inside(self, name: str, *words: str, check: bool = True) -> str:
        """Runs a program in a namespace."""
        return call("ip", "netns", "exec", name, *words, check=check)

    def set_loss(self, percent: int) -> None:
        """Random loss of packets in both directions, independent of each other, at the switch's two ports."""
        switch = self.names["switch"]
        self.inside(switch, "nft", "delete", "table", "netdev", "loss", check=False)
        if not percent:
            return
        self.inside(switch, "nft", "add", "table", "netdev", "loss")
        for port in _PORT.values():
            self.inside(switch, "nft", "add", "chain", "netdev", "loss", port,
                        f"{{ type filter hook ingress device {port} priority 0; }}")
            self.inside(switch, "nft", "add", "rule", "netdev", "loss", port, "numgen", "random", "mod", "100",
                        "<", str(percent), "drop")

    def take_address(self, node: str) -> None:
        """Removes the virtual address that a killed daemon left behind."""
        call("ip", "-n", self.names[node], "addr", "del", f"{VIRTUAL}/32", "dev", INTERFACE, check=False)

    def close(self) -> None:
        """Deletes the namespaces, and with them everything in them."""
        for name in self._made:
            call("ip", "netns", "del", name, check=False)
        self._made = []


class AddressWatch(threading.Thread):
    """Stamps each coming and going of the virtual address on both nodes, from the kernel's own messages."""

    def __init__(self, lab: Lab, on_change: Callable[[Change], None]) -> None:
        super().__init__(name="address-watch", daemon=True)
        self._on_change = on_change
        self._sockets = {_netlink_in(lab.names[node]): node for node in NODES}
        self._end_read, self._end_write = os.pipe()

    def run(self) -> None:
        procs.set_fifo(WATCH_FIFO_PRIORITY)
        while True:
            handles: list[socket.socket | int] = [*self._sockets, self._end_read]
            readable, _, _ = select.select(handles, [], [])
            at_ns = procs.now_ns()
            if self._end_read in readable:
                return
            for sock, node in self._sockets.items():
                if sock in readable:
                    for on in address_changes(sock.recv(65536)):
                        self._on_change(Change(at_ns, node, on))

    def close(self) -> None:
        """Ends the thread."""
        os.write(self._end_write, b"x")
        if self.is_alive():
            self.join(2.0)
        for sock in self._sockets:
            sock.close()
        os.close(self._end_read)
        os.close(self._end_write)


def address_changes(data: bytes) -> list[bool]:
    """True for each coming, False for each going of the virtual address in a netlink datagram."""
    wanted, found, place = socket.inet_aton(VIRTUAL), [], 0
    while place + NETLINK_HEADER.size <= len(data):
        size, kind, *_ = NETLINK_HEADER.unpack_from(data, place)
        if size < NETLINK_HEADER.size:
            break
        if kind in (RTM_NEWADDR, RTM_DELADDR) and wanted in data[place:place + size]:
            found.append(kind == RTM_NEWADDR)
        place += (size + 3) & ~3
    return found


def _netlink_in(name: str) -> socket.socket:
    """A netlink socket of another namespace, opened by a thread that ends there."""
    made: list[socket.socket] = []

    def enter() -> None:
        handle = os.open(f"/run/netns/{name}", os.O_RDONLY)
        try:
            if _libc.setns(handle, CLONE_NEWNET) == 0:
                sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
                sock.bind((0, RTMGRP_IPV4_IFADDR))
                made.append(sock)
        finally:
            os.close(handle)

    with contextlib.suppress(OSError):
        thread = threading.Thread(target=enter, name="enter-namespace")
        thread.start()
        thread.join()
    if not made:
        raise RigError(f"the network namespace {name} could not be entered")
    return made[0]
