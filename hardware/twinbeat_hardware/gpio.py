"""One line of a GPIO chip, by the kernel's character device.

The line is requested active-low where the configuration says so, and the kernel's value calls for a request are
logical: bit 1 is always on and bit 0 always off, and the inversion happens in one place only, the kernel. So the
gate's bits are the same for both polarities. The first level goes into the request itself, so that the line
never shows another one. A request holds a single line, which is bit 0 of the gate's mask.
"""
from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from twinbeat_core.outputs import FastOutput

from .errors import OutputBusyError, OutputMissingError, OutputPermissionError
from .gpio_find import find_chip, find_line, load_gpiod, owner_advice
from .output import Output, OutputPlace
from .spec import READBACK_SELF, GpioSpec

if TYPE_CHECKING:
    from types import ModuleType

CONSUMER_BYTES_MAX = 31
"""The kernel's field for the holder's name, less its final zero."""
LINE_MASK = 1


class GpioOutput(Output[GpioSpec]):
    """Requests the line as an output at its off level and hands the request's descriptor out."""

    kind = "gpio"

    def __init__(self, spec: GpioSpec, place: OutputPlace) -> None:
        super().__init__(spec, place)
        self._chip_path = ""
        self._offset = -1
        self._sense: Any = None
        self._sense_offset = -1

    @property
    def consumer(self) -> str:
        """The holder's name that other programs are shown for the line."""
        name = f"twinbeat:{self.place.pair}/{self.place.group_name}".encode()
        return name[:CONSUMER_BYTES_MAX].decode("utf-8", "ignore")

    def _open(self) -> FastOutput:
        gpiod = load_gpiod(self.error)
        self._chip_path = find_chip(gpiod, self.spec.chip, self.error)
        with self._chip(gpiod) as chip:
            self._offset = find_line(chip, "line", self.spec.line, self.error)
            sense = self._open_sense(gpiod, chip)
            try:
                fd = self._open_line(gpiod, chip)
            except BaseException:
                if sense is not None:
                    sense.release()
                raise
        self._sense = sense
        return FastOutput(
            name=self.name,
            group=self.place.group,
            kind="gpio",
            fd=fd,
            gpio_mask=LINE_MASK,
            gpio_on=1,
            gpio_off=0,
            exit=self.spec.exit_level,
            readback=self.spec.readback == READBACK_SELF,
        )

    def _open_line(self, gpiod: ModuleType, chip: Any) -> int:
        """Descriptor of a request of the driven line, at its off level; the request object itself is let go."""
        settings = gpiod.LineSettings(
            direction=gpiod.line.Direction.OUTPUT,
            active_low=self.spec.active_low,
            output_value=gpiod.line.Value.INACTIVE,
        )
        request = self._request(chip, self._offset, "line", settings)
        try:
            return os.dup(request.fd)
        finally:
            request.release()

    def _open_sense(self, gpiod: ModuleType, chip: Any) -> Any:
        """Request of the sensing line, kept while the driver is open; None without one."""
        if self.spec.readback is None or self.spec.readback == READBACK_SELF:
            return None
        self._sense_offset = find_line(chip, "readback", self.spec.readback, self.error)
        if self._sense_offset == self._offset:
            raise self.error(f"readback = {self.spec.readback!r} and line = {self.spec.line!r} are the same line")
        settings = gpiod.LineSettings(
            direction=gpiod.line.Direction.INPUT, active_low=self.spec.readback_active_low
        )
        return self._request(chip, self._sense_offset, "readback", settings)

    def _request(self, chip: Any, offset: int, key: str, settings: Any) -> Any:
        info = chip.get_line_info(offset)
        if info.used:
            raise self._in_use(chip, offset, key)
        try:
            return chip.request_lines({offset: settings}, consumer=self.consumer)
        except OSError as problem:
            if problem.errno == errno.EBUSY:  # taken between the two calls
                raise self._in_use(chip, offset, key) from None
            raise self.error(
                f"{key} {offset} of {self._chip_path} was refused by the kernel: {problem.strerror}; "
                "not every line can be an output or an input"
            ) from None

    def _in_use(self, chip: Any, offset: int, key: str) -> Exception:
        info = chip.get_line_info(offset)
        holder = f'"{info.consumer}"' if info.consumer else "somebody who gave no name"
        advice = owner_advice(info.consumer or "")
        named = f"{info.name} (offset {offset})" if info.name else f"offset {offset}"
        return self.error(f"{key} {named} of {self._chip_path} is in use by {holder}: {advice}", OutputBusyError)

    def _chip(self, gpiod: ModuleType) -> Any:
        try:
            return gpiod.Chip(self._chip_path)
        except PermissionError:
            raise self.error(
                f"{self._chip_path} may not be opened by this user: add it to the group gpio, or set the mode by a "
                "udev rule",
                OutputPermissionError,
            ) from None
        except OSError as problem:
            raise self.error(f"{self._chip_path} cannot be opened: {problem.strerror}", OutputMissingError) from None

    def _close(self) -> None:
        sense, self._sense = self._sense, None
        if sense is not None:
            sense.release()

    def _read_back(self) -> bool | None:
        if self._sense is None:
            return None
        try:
            return bool(self._sense.get_value(self._sense_offset))
        except OSError as problem:
            raise self.error(f"readback line {self.spec.readback} cannot be read: {problem.strerror}") from None

    def _describe(self) -> dict[str, object]:
        return {
            "chip": self._chip_path or self.spec.chip,
            "line": self.spec.line,
            "offset": self._offset,
            "active_low": self.spec.active_low,
            "readback": self.spec.readback,
            "consumer": self.consumer,
        }
