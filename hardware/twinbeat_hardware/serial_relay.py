"""Relay boards on a serial port: a byte pattern for on, another for off."""
from __future__ import annotations

import errno
import importlib
import os
import termios
from typing import TYPE_CHECKING, Any

from twinbeat_core.outputs import FastOutput

from .errors import OutputError, OutputMissingError
from .output import Output
from .spec import SerialRelaySpec
from .tty_check import busy, check_port, holders

if TYPE_CHECKING:
    from types import ModuleType


class SerialRelayOutput(Output[SerialRelaySpec]):
    """Opens the port for itself alone, raw and without flow control, and hands the descriptor out.

    The lock against other programs belongs to the open file, so it goes with the descriptor.
    """

    kind = "serial-relay"

    @property
    def path(self) -> str:
        """The device path: what the node calls `port`, or `port` itself."""
        return self.place.serial_ports.get(self.spec.port, self.spec.port)

    def _open(self) -> FastOutput:
        if not self.path.startswith("/"):
            known = ", ".join(sorted(self.place.serial_ports)) or "none"
            raise self.error(
                f'port = "{self.spec.port}" is neither a path nor one of the serial names of node '
                f'"{self.place.node}" ({known}): add serial.{self.spec.port} to it',
                OutputMissingError,
            )
        serial = _load_serial(self)
        check_port(self.path, self.error)
        port = self._open_port(serial)
        try:
            fd = os.dup(port.fd)  # nothing is flushed: an earlier gate's off may still be on its way
        finally:
            port.close()
        os.set_blocking(fd, False)
        on, off = self.spec.patterns()
        return FastOutput(
            name=self.name,
            group=self.place.group,
            kind="bytes",
            fd=fd,
            on=on,
            off=off,
            exit=self.spec.exit_level,
            fd_is_tty=True,
        )

    def _open_port(self, serial: ModuleType) -> Any:
        try:
            return serial.Serial(
                self.path,
                baudrate=self.spec.baud_used,
                exclusive=True,
                timeout=0,
                write_timeout=0,
                xonxoff=False,
                rtscts=False,
                dsrdtr=False,
            )
        except serial.SerialException as problem:
            number = problem.errno
            if number in (errno.EBUSY, errno.EAGAIN):
                raise self._busy() from None
            if number == errno.ENOTTY or "could not configure" in str(problem).lower():
                raise self.error(
                    f"port {self.path} is not a serial port, or has no hardware behind it: write the path of another"
                ) from None
            reason = os.strerror(number) if number else str(problem)
            raise self.error(f"port {self.path} cannot be opened: {reason}; is the board plugged in?") from None
        except (ValueError, OSError, termios.error) as problem:
            raise self.error(
                f"port {self.path} does not take {self.spec.baud_used} baud ({problem}): write a baud rate it knows"
            ) from None

    def _busy(self) -> OutputError:
        others = [holder for holder in holders(os.stat(self.path).st_rdev) if holder.pid != os.getpid()]
        return busy(self.path, others, self.error)

    def _describe(self) -> dict[str, object]:
        on, off = self.spec.patterns()
        return {
            "port": self.path,
            "baud": self.spec.baud_used,
            "on": on.hex(" "),
            "off": off.hex(" "),
            "wire_ms": self.spec.wire_ms,
        }


def _load_serial(output: Output[SerialRelaySpec]) -> ModuleType:
    try:
        return importlib.import_module("serial")
    except ImportError:
        raise output.error("the Python package pyserial is not installed: pip install pyserial") from None
