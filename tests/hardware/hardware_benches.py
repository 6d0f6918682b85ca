"""The benches on which the contract runs: every driver with something at its far side."""
from __future__ import annotations

import dataclasses
import os
import select
import sys
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pretend_gpiod

from twinbeat_core.outputs import FastOutput
from twinbeat_hardware import arbiter, gpio_find
from twinbeat_hardware.contract import Bench
from twinbeat_hardware.factory import build_output
from twinbeat_hardware.mock import MockOutput
from twinbeat_hardware.output import Output, OutputPlace
from twinbeat_hardware.spec import (
    ARBITER_GROUPS,
    ArbiterSpec,
    GpioSpec,
    HookSpec,
    MockSpec,
    OutputSpec,
    SerialRelaySpec,
    SystemdSpec,
)

REAL_GPIO = "TWINBEAT_TEST_GPIO"
"""chip:line[:sensing line] of a line that may be switched, such as pinctrl-rp1:GPIO17:GPIO27."""

WAIT_S = 20.0


def place_at(**ports: str) -> OutputPlace:
    return OutputPlace(group=3, group_name="pump", node="gw-a", pair="pump-7", serial_ports=ports)


class SpecBench(Bench):
    """A bench whose drivers come from the factory."""

    spec: OutputSpec
    missing: OutputSpec
    place = place_at()

    def make(self) -> Output[Any]:
        return build_output(self.spec, self.place)

    def make_missing(self) -> Output[Any]:
        return build_output(self.missing, self.place)


class MockBench(SpecBench):
    name = "mock"
    spec = MockSpec()
    missing = MockSpec(fail="open")

    def __init__(self) -> None:
        self.made: MockOutput | None = None

    def make(self) -> Output[Any]:
        driver = super().make()
        assert isinstance(driver, MockOutput)
        self.made = driver
        return driver

    def seen(self) -> bool | None:
        assert self.made is not None
        return self.made.level() if self.made.is_open else None

    def apply(self, fast: FastOutput, on: bool) -> None:
        assert self.made is not None
        if self.made.is_open:  # the far side is the driver itself: closed, nobody listens
            super().apply(fast, on)


class SerialRelayBench(SpecBench):
    """A relay board on a pseudo terminal, listening on the other end."""

    name = "serial-relay"
    spec = SerialRelaySpec(port="relay", board="lcus-2", channel=2)
    missing = SerialRelaySpec(port="/dev/ttyUSB99", board="lcus-1")

    def __init__(self) -> None:
        self.board_fd, self.tty_fd = os.openpty()
        tty.setraw(self.tty_fd)
        os.set_blocking(self.board_fd, False)
        self.place = place_at(relay=os.ttyname(self.tty_fd))
        self.received = b""

    def absent(self) -> str | None:
        return None if os.path.exists("/dev/ptmx") else "no pseudo terminals here"

    def apply(self, fast: FastOutput, on: bool) -> None:
        super().apply(fast, on)
        wanted = len(self.received) + 4
        while len(self.received) < wanted:
            assert select.select([self.board_fd], [], [], WAIT_S)[0], "the board received nothing"
            self.received += os.read(self.board_fd, 4096)

    def seen(self) -> bool | None:
        return self.received.rfind(b"\xa0\x02\x01\xa3") > self.received.rfind(b"\xa0\x02\x00\xa2")


class HookBench(SpecBench):
    """Two scripts that make and remove a file."""

    name = "hook"

    def __init__(self, folder: Path) -> None:
        self.flag = folder / "on"
        start = script(folder / "start", f"touch {self.flag}")
        stop = script(folder / "stop", f"rm -f {self.flag}")
        self.spec = HookSpec(start=(str(start),), stop=(str(stop),), deadline_ms=20_000.0)
        self.missing = HookSpec(start=(str(start),), stop=(str(folder / "nothing"),))

    def seen(self) -> bool | None:
        return self.flag.exists()


class SystemdBench(SpecBench):
    """A systemctl of our own, first in PATH."""

    name = "systemd"
    spec = SystemdSpec(unit="historian.service", deadline_ms=20_000.0)
    missing = SystemdSpec(unit="nowhere.service")

    def __init__(self, folder: Path, prepend_path: Callable[[Path], None]) -> None:
        self.flag = folder / "active"
        systemctl(folder, self.flag)
        prepend_path(folder)

    def seen(self) -> bool | None:
        return self.flag.exists()


class ArbiterBench(SpecBench):
    """An arbiter that promises as told, and reports its contact."""

    name = "arbiter"
    spec = ArbiterSpec()
    missing = ArbiterSpec(name="K9")

    def __init__(self) -> None:
        self.contacts = arbiter.GATED

    def make(self) -> Output[Any]:
        driver = super().make()
        assert isinstance(driver, arbiter.ArbiterOutput)
        driver.attach(lambda: self.contacts)
        return driver

    def make_missing(self) -> Output[Any]:
        beyond = dataclasses.replace(self.place, group=ARBITER_GROUPS)
        return build_output(self.missing, beyond)

    def seen(self) -> bool | None:
        return bool(self.contacts & arbiter.OWN_CLOSED)

    def apply(self, fast: FastOutput, on: bool) -> None:
        super().apply(fast, on)
        self.contacts = arbiter.GATED | (arbiter.OWN_CLOSED if on else arbiter.OTHER_CLOSED)


class PretendGpioBench(SpecBench):
    """A line of a chip in memory, active low, sensed by a second line."""

    name = "gpio, pretended"
    missing = GpioSpec(chip="pinctrl-x", line="GPIO17")

    def __init__(self, folder: Path, set_attribute: Callable[[object, str, object], None], active_low: bool) -> None:
        self.hardware = pretend_hardware(folder, set_attribute)
        self.line, self.sense = (self.hardware.chips[str(folder / "gpiochip0")][1][at] for at in (17, 27))
        self.spec = GpioSpec(chip="pinctrl-rp1", line="GPIO17", active_low=active_low, readback="GPIO27")

    def seen(self) -> bool | None:
        return self.line.high != self.line.settings.active_low

    def apply(self, fast: FastOutput, on: bool) -> None:
        self.hardware.set_values(fast.fd, fast.gpio_on if on else fast.gpio_off, fast.gpio_mask)
        self.sense.high = bool(self.seen())

    def held(self) -> bool | None:
        return self.line.used() or self.sense.used()


class RealGpioBench(SpecBench):
    """A real line, where the environment names one that may be switched."""

    name = "gpio, real"
    missing = GpioSpec(chip="no-such-chip", line=0)

    def __init__(self) -> None:
        words = os.environ.get(REAL_GPIO, "").split(":")
        self.spec = GpioSpec(
            chip=words[0] or "none",
            line=words[1] if len(words) > 1 else 0,
            readback=words[2] if len(words) > 2 else None,
        )

    def absent(self) -> str | None:
        if not list(Path("/dev").glob("gpiochip*")):
            return "no /dev/gpiochip* here"
        if not os.environ.get(REAL_GPIO):
            return f"{REAL_GPIO}=chip:line does not name a line that may be switched"
        return None

    def seen(self) -> bool | None:
        return None


def script(path: Path, body: str) -> Path:
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def systemctl(folder: Path, flag: Path, load: str = "loaded", file_state: str = "disabled") -> Path:
    """A systemctl that knows every unit but those called nowhere; `flag` exists while the unit is active."""
    return script(
        folder / "systemctl",
        f"""verb=; for word; do case "$word" in -*) ;; *) verb="${{verb:-$word}}"; unit="$word";; esac; done
case "$verb" in
show) active=inactive; [ -e {flag} ] && active=active; load={load}
  case "$unit" in nowhere*) load=not-found;; esac
  printf 'LoadState=%s\\nActiveState=%s\\nUnitFileState={file_state}\\n' "$load" "$active";;
start) : > {flag};;
stop) rm -f {flag};;
*) exit 1;;
esac""",
    )


def pretend_hardware(
    folder: Path, set_attribute: Callable[[object, str, object], None], chips: int = 1
) -> pretend_gpiod.Hardware:
    """Chips of 28 named lines in memory, with files that stand for their device nodes."""
    hardware = pretend_gpiod.Hardware()
    for number in range(chips):
        path = folder / f"gpiochip{number}"
        path.touch()
        lines = [pretend_gpiod.Line(name=f"GPIO{offset}") for offset in range(28)]
        hardware.chips[str(path)] = ("pinctrl-rp1" if number == 0 else f"expander-{number}", lines)
    set_attribute(gpio_find, "CHIP_GLOB", str(folder / "gpiochip*"))
    set_attribute(sys, "modules", {**sys.modules, "gpiod": hardware.module()})
    return hardware
