"""The ways to the agents of a pair: a control socket each, asked anew every time, because an agent may restart."""
from __future__ import annotations

import os
import signal
import socket
import struct
import time
from argparse import Namespace
from pathlib import Path
from typing import Any, Protocol

from twinbeat.control_client import ControlClient
from twinbeat.errors import ControlError, DeviceError

WHO = "a drill"
"""Goes with every command, so that another operator is told whose turn it is."""
COMMAND_LIMIT_S = 30.0
"""A handover with prepare hooks; the agent itself gives up earlier and says so."""
CREDENTIALS = "iII"


class Door(Protocol):
    """How a drill speaks to one agent."""

    def ask(self, verb: str, **arguments: object) -> dict[str, Any]:
        """The agent's answer. Raises RefusedError, ControlError."""

    def here(self, pid: int) -> bool:
        """Whether the agent with this process id is a process of this machine that may be signalled by number."""

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to the agent. Raises DeviceError."""


class SocketDoor:
    """A control socket, of this machine or forwarded from another one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ask(self, verb: str, **arguments: object) -> dict[str, Any]:
        """One connection for one question."""
        moves = verb not in ("ping", "status", "why", "events")
        more = {"by": WHO} if moves else {}
        with ControlClient(self.path) as client:
            return client.ask(verb, limit_s=COMMAND_LIMIT_S if moves else None, **more, **arguments)

    def here(self, pid: int) -> bool:
        """A forwarded socket is listened on by another process than the agent."""
        try:
            return listener_pid(self.path) == pid
        except OSError:
            return False

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Only to the process that listens on this very socket."""
        if not self.here(pid):
            raise DeviceError(
                f"{self.path}: process {pid} is not the agent behind this socket; run the drill on that agent's gateway"
            )
        try:
            os.kill(pid, number)
        except PermissionError:
            raise DeviceError(
                f"process {pid}: this user may not send it {number.name}; run the drill as root or as the agent's user"
            ) from None
        except ProcessLookupError:
            raise ControlError(f"process {pid}: the agent has just ended by itself") from None


class RemoteDoor:
    """Over a broker of the configuration, signed by an operator (docs/remote.md). Never of this machine."""

    def __init__(self, node: str, config: str, operator: str | None, key: str | None) -> None:
        from twinbeat.commands.remote import by_file

        self.node = node
        self._places, self._operator = by_file(Namespace(
            config=config, pair=None, target=node, link=None, operator=operator, key=key, user=None, password_file=None,
            ca=None,
        ))

    def ask(self, verb: str, **arguments: object) -> dict[str, Any]:
        """A connection for each question. What ping says, status says too."""
        from twinbeat.commands.remote import ask

        given = {key: value for key, value in arguments.items() if value is not None}
        asked = "status" if verb == "ping" else verb
        return ask(self._places, self._operator, COMMAND_LIMIT_S, self.node, asked, given)

    def here(self, pid: int) -> bool:
        """It is another machine's."""
        return False

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Not over a broker."""
        raise DeviceError(f"{self.node}: its process {pid} cannot be sent {number.name} from here; run the drill there")


def listener_pid(path: Path) -> int:
    """The process that listens on a Unix socket, as the kernel knows it. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as made:
        made.settimeout(2.0)
        made.connect(os.fspath(path))
        told = made.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(CREDENTIALS))
    return int(struct.unpack(CREDENTIALS, told)[0])


class Clock:
    """CLOCK_BOOTTIME and waiting; tests put another one in its place."""

    def now_ns(self) -> int:
        """The stamp that verdicts carry too."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)
