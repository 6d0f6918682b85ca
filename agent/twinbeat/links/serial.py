"""A serial link's port over its life: opened at the start, taken out when it fails, put back when it returns."""
from __future__ import annotations

import errno
import functools
import logging
import os
import threading
from collections.abc import Callable

from twinbeat.errors import DeviceError

log = logging.getLogger("twinbeat.serial")

RETRY_MIN_S = 0.1
RETRY_MAX_S = 2.0


class SerialPort:
    """One port of one link.

    `open_port(path, baud) -> fd` opens it (raises DeviceError); `give(link, fd)` hands a descriptor to the
    real-time part, -1 takes the old one out; `soon(call)` runs a call in the loop's thread.
    """

    def __init__(
        self,
        link: int,
        name: str,
        path: str,
        baud: int,
        open_port: Callable[[str, int], int],
        give: Callable[[int, int], None],
        soon: Callable[[Callable[[], None]], None],
    ) -> None:
        self.link = link
        self.name = name
        self.path = path
        self.plugged = False
        self.faults = 0
        self._baud = baud
        self._open_port = open_port
        self._give = give
        self._soon = soon
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Open it at the start. Raises DeviceError."""
        fd = self._open_port(self.path, self._baud)
        self._give(self.link, fd)
        self.plugged = True

    def fault(self, number: int) -> None:
        """The real-time part lost the port (`number`: errno): take it out and watch for its return."""
        if not self.plugged:
            return
        self.plugged = False
        self.faults += 1
        reason = os.strerror(number) if number else "hung up"
        log.warning('link %s: serial port %s is gone (%s, %s); the link comes back when the port does',
                    self.name, self.path, reason, errno.errorcode.get(number, "EOF"))
        self._give(self.link, -1)
        self._thread = threading.Thread(target=self._reopen, name=f"twinbeat-replug-{self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopping.set()

    def _reopen(self) -> None:
        """In its own thread, because opening a USB adapter can wait for the bus."""
        delay_s = RETRY_MIN_S
        told = ""
        while not self._stopping.wait(delay_s):
            delay_s = min(delay_s * 1.5, RETRY_MAX_S)
            if not os.path.exists(self.path):
                continue
            try:
                fd = self._open_port(self.path, self._baud)
            except DeviceError as error:
                if str(error) != told:
                    told = str(error)
                    log.warning("link %s: %s; trying again", self.name, told)
                continue
            self._soon(functools.partial(self._returned, fd))
            return

    def _returned(self, fd: int) -> None:
        if self._stopping.is_set():
            os.close(fd)
            return
        self._give(self.link, fd)
        self.plugged = True
        log.info("link %s: serial port %s is back", self.name, self.path)
