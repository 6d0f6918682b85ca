"""The contract of `Output` as checks that run against any driver, real or pretended.

A `Bench` knows how to make one driver and can look at the far side with its own eyes. `CHECKS` holds the checks;
each takes a bench and raises ContractBroken with a sentence. They need no test framework, so a bench with real
hardware on it can run them as well as the test suite does.
"""
from __future__ import annotations

import fcntl
import json
import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from twinbeat_core.outputs import FastOutput

from .command import CallOff, Outcome
from .errors import OutputError, OutputStateError
from .output import Output, SlowOutput
from .spec import PATTERN_BYTES_MAX

GPIO_V2_LINE_SET_VALUES = 0xC010B40F
"""ioctl on a line request: two 64-bit words, bits and mask, logical levels."""


class ContractBroken(AssertionError):
    """A driver does not do what every output must do."""


class Bench(ABC):
    """One driver with something at its far side. Every `make` is a new driver on the same device."""

    name: str

    def absent(self) -> str | None:
        """Why this driver cannot be tried here; None: it can."""
        return None

    @abstractmethod
    def make(self) -> Output[Any]:
        """A closed driver."""

    @abstractmethod
    def make_missing(self) -> Output[Any]:
        """A closed driver whose device, program or unit does not exist."""

    @abstractmethod
    def seen(self) -> bool | None:
        """The level at the far side; None: it cannot be seen from here."""

    def apply(self, fast: FastOutput, on: bool) -> None:
        """Switches as the gate does."""
        gate_write(fast, on)

    def held(self) -> bool | None:
        """Somebody holds the device; None: cannot be seen from here."""
        return None


Check = Callable[[Bench], None]


def gate_write(fast: FastOutput, on: bool) -> None:
    """What the gate does with a fast output, for trials without a gate."""
    if fast.kind == "bytes":
        os.write(fast.fd, fast.on if on else fast.off)
    elif fast.kind == "gpio":
        bits = fast.gpio_on if on else fast.gpio_off
        fcntl.ioctl(fast.fd, GPIO_V2_LINE_SET_VALUES, struct.pack("=QQ", bits, fast.gpio_mask))


def check_fast_output(bench: Bench) -> None:
    """The gate gets a description it can act on without asking."""
    with _opened(bench) as (driver, fast):
        _must(fast.name == driver.name and fast.group == driver.place.group, f"wrong name or group: {fast}")
        if fast.kind == "none":
            _must(fast.fd == -1, "kind none has no descriptor")
            if not isinstance(driver, SlowOutput):
                _must(not fast.stop_argv, "a stop command without a start command")
                return
            _must(bool(fast.stop_argv), "an output switched by commands has no stop command")
            _must(os.access(fast.stop_argv[0], os.X_OK), f"{fast.stop_argv[0]} is no executable path")
            _must(os.path.isabs(fast.stop_argv[0]), f"{fast.stop_argv[0]} would have to be searched for")
            return
        _must(not os.get_inheritable(fast.fd), "the descriptor would leak into every command")
        if fast.kind == "bytes":
            _must(not os.get_blocking(fast.fd), "a write could block the gate")
            _must(0 < len(fast.on) <= PATTERN_BYTES_MAX and 0 < len(fast.off) <= PATTERN_BYTES_MAX, "pattern length")
            _must(fast.on != fast.off, "on and off are the same bytes")
        else:
            _must((fast.gpio_on ^ fast.gpio_off) & fast.gpio_mask != 0, "on and off are the same bits")


def check_open_switches_nothing_on(bench: Bench) -> None:
    """An opened output is off."""
    with _opened(bench):
        _must(bench.seen() is not True, "the output is on right after open")


def check_switching(bench: Bench) -> None:
    """On is on, off is off, repeating either is harmless, and read-back agrees where there is any."""
    with _opened(bench) as (driver, fast):
        for on in (True, True, False, False, True, False):
            _switch(bench, driver, fast, on)
            _must(bench.seen() in (None, on), f"the output is not {'on' if on else 'off'} after it was told so")
            _must(driver.read_back() in (None, on), f"read-back says {not on} after {on}")


def check_close_switches_nothing(bench: Bench) -> None:
    """`close` leaves the level as it is: what happens at the end is the gate's policy."""
    with _opened(bench) as (driver, fast):
        _switch(bench, driver, fast, True)
        driver.close()
        _must(bench.seen() is not False, "close switched the output off")
        if fast.kind != "none":
            bench.apply(fast, False)
            _must(bench.seen() is not True, "the descriptor does not work any more after close")


def check_double_open(bench: Bench) -> None:
    """A second `open` is refused and spoils nothing."""
    with _opened(bench) as (driver, fast):
        _refuses(driver.open, "a second open")
        _switch(bench, driver, fast, True)
        _must(bench.seen() is not False, "the output is dead after a refused open")


def check_closed(bench: Bench) -> None:
    """A closed driver refuses everything but `close` and `describe`, and says which output it is."""
    driver = bench.make()
    driver.close()
    _refuses(driver.read_back, "read_back before open")
    with _opened(bench, driver):
        pass
    driver.close()
    _refuses(driver.read_back, "read_back after close")
    if isinstance(driver, SlowOutput):
        _refuses(lambda: driver.start(1, "CHECK"), "start after close")
        _refuses(lambda: driver.stop(1, "CHECK"), "stop after close")
    _must(driver.describe()["open"] is False, "describe says open")


def check_reopen(bench: Bench) -> None:
    """Closed and let go of, it can be opened again, by the same driver and by a new one."""
    driver = bench.make()
    for each in (driver, driver, bench.make()):
        with _opened(bench, each) as (_, fast):
            _switch(bench, each, fast, True)
            _must(bench.seen() is not False, "the output does not work after it was opened again")
            _switch(bench, each, fast, False)


def check_lets_go(bench: Bench) -> None:
    """The caller's descriptor is the only one: closed, nobody holds the device, and nothing is left open."""
    before = _open_descriptors()
    with _opened(bench):
        _must(bench.held() is not False, "nobody holds the opened device")
    _must(bench.held() is not True, "the device is still held")
    _must(_open_descriptors() == before, "a descriptor was left open")


def check_missing(bench: Bench) -> None:
    """A missing device is one OutputError that begins with the output's place, and leaves nothing behind."""
    driver = bench.make_missing()
    before = _open_descriptors()
    try:
        fast = driver.open()
    except OutputError as problem:
        _must(str(problem).startswith(driver.where()), f"the message does not begin with its place: {problem}")
        _must("\n" not in str(problem), f"the message has several lines: {problem}")
    else:
        _let_go(driver, fast)
        raise ContractBroken("a missing device was opened")
    _must(not driver.is_open, "the driver counts as open after a failed open")
    _must(_open_descriptors() == before, "a descriptor was left open by a failed open")


def check_describe(bench: Bench) -> None:
    """`describe` gives plain data, open and closed."""
    driver = bench.make()
    for _ in range(2):
        told = json.loads(json.dumps(driver.describe()))
        _must({"type", "name", "group", "open", "exit", "off_ms"} <= set(told), f"entries are missing: {told}")
        _must(told["open"] is driver.is_open, "describe does not know whether it is open")
        with _opened(bench, driver):
            json.dumps(driver.describe())


def check_slow_results(bench: Bench) -> None:
    """Commands report what became of them, and one that is called off beforehand is not run."""
    with _opened(bench) as (driver, _):
        if not isinstance(driver, SlowOutput):
            return
        for command in (driver.start, driver.stop, driver.stop):
            result = command(7, "CHECK")
            _must(result.ok and result.returncode == 0, f"a command failed: {result}")
        call_off = CallOff()
        call_off.set()
        _must(driver.start(8, "CHECK", call_off).outcome is Outcome.CANCELLED, "a called-off start was run")
        call_off.close()
        _must(bench.seen() is not True, "a called-off start switched the output on")


CHECKS: tuple[Check, ...] = (
    check_fast_output,
    check_open_switches_nothing_on,
    check_switching,
    check_close_switches_nothing,
    check_double_open,
    check_closed,
    check_reopen,
    check_lets_go,
    check_missing,
    check_describe,
    check_slow_results,
)


@contextmanager
def _opened(bench: Bench, driver: Output[Any] | None = None) -> Iterator[tuple[Output[Any], FastOutput]]:
    driver = bench.make() if driver is None else driver
    fast = driver.open()
    try:
        yield driver, fast
    finally:
        if isinstance(driver, SlowOutput) and driver.is_open:
            driver.stop(0, "CHECK")
        _let_go(driver, fast)


def _let_go(driver: Output[Any], fast: FastOutput) -> None:
    driver.close()
    if fast.fd >= 0:
        with suppress(OSError):
            os.close(fast.fd)


def _switch(bench: Bench, driver: Output[Any], fast: FastOutput, on: bool) -> None:
    if isinstance(driver, SlowOutput):
        result = (driver.start if on else driver.stop)(1, "CHECK")
        _must(result.ok, str(result))
    else:
        bench.apply(fast, on)


def _refuses(call: Callable[[], object], what: str) -> None:
    try:
        call()
    except OutputStateError:
        return
    raise ContractBroken(f"{what} was not refused")


def _must(holds: bool, sentence: str) -> None:
    if not holds:
        raise ContractBroken(sentence)


def _open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
