"""Does an input line have its good level?"""
from __future__ import annotations

from typing import Any

from twinbeat.config_check import GpioCheck
from twinbeat.health.probe import Measured, os_reason, unavailable
from twinbeat_hardware.errors import OutputError
from twinbeat_hardware.gpio_find import find_chip, find_line, load_gpiod, owner_advice

CONSUMER = "twinbeat:check"


class GpioProbe:
    """Holds the line as an input from the first look on; after a fault it is asked for anew."""

    blocking = True

    def __init__(self, check: GpioCheck) -> None:
        self._check = check
        self._request: Any = None
        self._offset = -1

    def measure(self) -> Measured:
        """Look once."""
        place = f"{self._check.chip} line {self._check.line}"
        try:
            if self._request is None:
                self._open()
            level = "high" if self._request.get_value(self._offset) else "low"
        except OutputError as error:
            return unavailable(str(error))
        except OSError as error:
            self.close()
            return unavailable(f"{place} cannot be read: {os_reason(error)}")
        return Measured(level == self._check.good, f"{place} is {level}", f"must be {self._check.good}")

    def close(self) -> None:
        """Give the line back."""
        request, self._request = self._request, None
        if request is not None:
            request.release()

    def _open(self) -> None:
        gpiod = load_gpiod(made)
        path = find_chip(gpiod, self._check.chip, made)
        with gpiod.Chip(path) as chip:
            self._offset = find_line(chip, "line", self._check.line, made)
            info = chip.get_line_info(self._offset)
            if info.used:
                advice = owner_advice(info.consumer or "")
                raise made(f'line {self._offset} of {path} is in use by "{info.consumer}": {advice}')
            settings = gpiod.LineSettings(direction=gpiod.line.Direction.INPUT)
            self._request = chip.request_lines({self._offset: settings}, consumer=CONSUMER)


def made(text: str, kind: type[OutputError] = OutputError) -> OutputError:
    """The error that the finders of chips and lines raise."""
    return kind(text)
