"""Contacts that are sensed by a line of their own: compared with what was ordered, a moment after each order."""
from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from twinbeat_core.errors import TwinbeatError
from twinbeat_core.model import OutputCode
from twinbeat_hardware.output import Output

log = logging.getLogger("twinbeat.output")

MARGIN_MS = 50.0
PERIOD_S = 1.0


class ReadBack:
    """Looks after `MARGIN_MS` beyond an output's own time and then every `PERIOD_S`, in the loop's thread.

    Outputs that the gate reads back itself, and those without a sensing line, are not looked at.
    `mismatch(group, epoch, code)` is called once for each order that a contact does not follow.
    """

    def __init__(
        self,
        drivers: Sequence[Output[Any]],
        mismatch: Callable[[int, int, int], None],
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._drivers = [driver for driver in drivers if senses(driver)]
        self._mismatch = mismatch
        self._later = later
        self._latest: dict[int, tuple[int, bool]] = {}
        self._orders: dict[int, tuple[int, bool]] = {}
        self._told: set[tuple[int, int, bool]] = set()
        if self._drivers:
            later(PERIOD_S, self._every)

    def changed(self, group: int, epoch: int, on: bool) -> None:
        """The gate switched a group."""
        self._orders.pop(group, None)
        self._latest[group] = (epoch, on)
        self._told = {key for key in self._told if key[0] != group}
        own = [driver for driver in self._drivers if driver.place.group == group]
        if own:
            settle_ms = max(max(driver.spec.release_ms, driver.spec.make_ms) for driver in own) + MARGIN_MS
            self._later(settle_ms / 1000, lambda: self._settled(group, (epoch, on)))

    def _settled(self, group: int, order: tuple[int, bool]) -> None:
        if self._latest.get(group) == order:
            self._orders[group] = order
            self._look(group)

    def _every(self) -> None:
        self._later(PERIOD_S, self._every)
        for group in list(self._orders):
            self._look(group)

    def _look_again(self, group: int, order: tuple[int, bool]) -> None:
        if self._orders.get(group) == order:
            self._look(group, sure=True)

    def _look(self, group: int, *, sure: bool = False) -> None:
        """A contact that disagrees is looked at once more: the gate may have switched it a moment ago, by an order of
        which this thread has yet to be told."""
        epoch, on = order = self._orders[group]
        key = (group, epoch, on)
        for driver in self._drivers:
            if driver.place.group != group or key in self._told:
                continue
            try:
                level = driver.read_back()
            except TwinbeatError as error:
                level, text = None, str(error)
            else:
                reads = word(bool(level))
                text = f"{driver.where()}: ordered {word(on)}, the contact reads {reads}; check relay and wiring"
                if level is None or level == on:
                    continue
            if not sure:
                self._later(MARGIN_MS / 1000, lambda: self._look_again(group, order))
                return
            log.error("%s", text)
            self._told.add(key)
            self._mismatch(group, epoch, OutputCode.OUTPUT_MISMATCH)


def senses(driver: Output[Any]) -> bool:
    """Whether a driver can tell the contact's level."""
    try:
        return driver.senses_later or driver.read_back() is not None
    except TwinbeatError:
        return True


def word(on: bool) -> str:
    """on or off."""
    return "on" if on else "off"
