"""What the service manager is told: ready, alive, status, stopping. Silent where nobody asked (no NOTIFY_SOCKET)."""
from __future__ import annotations

import os
import socket
from collections.abc import Mapping

STATUS_CHARS_MAX = 200


class Notifier:
    """Sends datagrams to the socket named by NOTIFY_SOCKET; a name that starts with `@` is abstract.

    Nothing here blocks or raises: a service manager that does not listen must not stop a failover.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self.sent = 0
        self.failed = 0
        self._status = ""
        self._socket: socket.socket | None = None
        path = environ.get("NOTIFY_SOCKET", "")
        self.watchdog_us = watchdog_us(environ)
        if path[:1] in ("/", "@"):
            self._address: str | bytes = b"\0" + os.fsencode(path[1:]) if path[0] == "@" else path
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @property
    def active(self) -> bool:
        """Whether a service manager asked to be told."""
        return self._socket is not None

    def ready(self, status: str) -> None:
        """The agent runs: outputs are at their safe level, links are open, the decider listens."""
        self._status = clean(status)
        self._send(f"READY=1\nSTATUS={self._status}\nMAINPID={os.getpid()}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent only when it changed."""
        text = clean(text)
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Feed the service manager's watchdog."""
        self._send("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        """The planned stop has begun."""
        self._send(f"STOPPING=1\nSTATUS={clean(status)}")

    def extend(self, seconds: float) -> None:
        """Ask for more time, for a start or stop that is known to take long."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def close(self) -> None:
        """Close the socket; later calls do nothing."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(text.encode("utf-8", "replace"), self._address)
            self.sent += 1
        except OSError:
            self.failed += 1


def watchdog_us(environ: Mapping[str, str]) -> int:
    """The watchdog's limit in microseconds, 0 when there is none for this process."""
    pid = environ.get("WATCHDOG_PID", "")
    if pid and pid != str(os.getpid()):
        return 0
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) if text.isdigit() else 0


def clean(text: str) -> str:
    """One line: a line break would start another field of the message."""
    return " ".join(text.split())[:STATUS_CHARS_MAX]
