"""The mock: what it remembers, and how it is made to fail."""
from __future__ import annotations

import os

import pytest

from twinbeat_hardware.errors import OutputError, OutputStateError
from twinbeat_hardware.mock import MockOutput, Told
from twinbeat_hardware.output import OutputPlace
from twinbeat_hardware.spec import MockSpec


class Clock:
    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def test_every_command_is_remembered_with_its_time(place: OutputPlace) -> None:
    clock = Clock()
    driver = MockOutput(MockSpec(), place, clock)
    fast = driver.open()
    for at_ns, pattern in ((10, fast.off), (20, fast.on), (35, fast.off)):
        clock.now_ns = at_ns
        os.write(fast.fd, pattern)
        driver.history()
    os.write(fast.fd, fast.on + fast.off)
    assert driver.history() == [Told(10, False), Told(20, True), Told(35, False), Told(35, True), Told(35, False)]
    os.close(fast.fd)
    assert driver.level() is False
    driver.close()


def test_a_stuck_contact_is_told_but_does_not_follow(place: OutputPlace) -> None:
    driver = MockOutput(MockSpec(stuck="on"), place, Clock())
    fast = driver.open()
    os.write(fast.fd, fast.off)
    assert driver.read_back() is True
    assert [told.on for told in driver.history()] == [False]
    driver.stuck = None
    assert driver.read_back() is False
    os.close(fast.fd)
    driver.close()


def test_a_broken_wire_fails_the_write(place: OutputPlace) -> None:
    driver = MockOutput(MockSpec(fail="write"), place)
    fast = driver.open()
    with pytest.raises(BrokenPipeError):
        os.write(fast.fd, fast.on)
    os.close(fast.fd)
    driver.close()
    driver = MockOutput(MockSpec(), place)
    fast = driver.open()
    os.write(fast.fd, fast.on)
    driver.break_wire()
    with pytest.raises(BrokenPipeError):
        os.write(fast.fd, fast.off)
    assert driver.level() is True
    os.close(fast.fd)
    driver.close()


def test_it_can_refuse_to_open(place: OutputPlace) -> None:
    driver = MockOutput(MockSpec(fail="open", name="m1"), place)
    with pytest.raises(OutputError, match=r'^group "pump", output "m1" \(mock\): cannot be opened'):
        driver.open()
    with pytest.raises(OutputStateError, match="is closed: open it first"):
        driver.fileno()
