"""The lane of slow outputs: order, and which word counts when words come faster than commands end."""
from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator

import pytest
from hardware_benches import WAIT_S, place_at

from twinbeat_core.outputs import FastOutput
from twinbeat_hardware.command import CallOff, CommandResult, Outcome
from twinbeat_hardware.lane import SlowLane, SlowReport
from twinbeat_hardware.output import SlowOutput
from twinbeat_hardware.spec import MockSpec


class Scripted(SlowOutput[MockSpec]):
    """Runs nothing: notes what it was told; `hold` makes the next command wait for `go` or its calling off."""

    kind = "scripted"
    deadline_ms = 1000.0

    def __init__(self, name: str, told: list[str]) -> None:
        super().__init__(MockSpec(name=name), place_at())
        self.told = told
        self.hold = False
        self.entered = threading.Event()
        self.go_fd = os.eventfd(0)

    def go(self) -> None:
        os.eventfd_write(self.go_fd, 1)

    def start_argv(self) -> tuple[str, ...]:
        return ("start",)

    def stop_argv(self) -> tuple[str, ...]:
        return ("stop",)

    def _open(self) -> FastOutput:
        return self.fast_output(self.stop_argv())

    def _run(self, argv: tuple[str, ...], epoch: int, cause: str, call_off: CallOff | None) -> CommandResult:
        assert call_off is not None
        self.told.append(f"{self.name} {argv[0]} {epoch}")
        outcome = Outcome.OK
        if self.hold:
            self.hold = False
            self.entered.set()
            assert select.select([call_off.fileno(), self.go_fd], [], [], WAIT_S)[0]
            outcome = Outcome.CANCELLED if call_off.is_set else Outcome.OK
        return CommandResult(outcome, argv, 0, 1.0, ())


class Bench:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.reports: list[SlowReport] = []
        self.first, self.second = Scripted("a", self.told), Scripted("b", self.told)
        for output in (self.first, self.second):
            output.open()
        self.lane = SlowLane([self.first, self.second], self.reports.append)

    def hold_first(self) -> None:
        self.first.hold = True

    def entered(self) -> None:
        assert self.first.entered.wait(WAIT_S)

    def settled(self) -> list[str]:
        assert self.lane.wait_idle(WAIT_S)
        return self.told


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.first.go()
    assert bench.lane.close(WAIT_S)
    os.close(bench.first.go_fd)
    os.close(bench.second.go_fd)


def test_starting_goes_in_order_and_stopping_in_reverse(bench: Bench) -> None:
    bench.lane.drive(True, 1, "CLAIM")
    assert bench.settled() == ["a start 1", "b start 1"]
    bench.lane.drive(False, 1, "HANDOVER")
    assert bench.settled()[2:] == ["b stop 1", "a stop 1"]
    assert [(report.output, report.on, report.cause) for report in bench.reports] == [
        ("a", True, "CLAIM"), ("b", True, "CLAIM"), ("b", False, "HANDOVER"), ("a", False, "HANDOVER"),
    ]  # fmt: skip
    assert all(report.result.ok for report in bench.reports)


def test_a_stop_calls_off_the_running_start_and_the_rest_of_it(bench: Bench) -> None:
    bench.hold_first()
    bench.lane.drive(True, 1, "CLAIM")
    bench.entered()
    bench.lane.drive(False, 1, "LOST")
    assert bench.settled() == ["a start 1", "b stop 1", "a stop 1"]
    assert bench.reports[0].result.outcome is Outcome.CANCELLED


def test_a_running_stop_is_finished_and_a_waiting_start_can_be_dropped(bench: Bench) -> None:
    bench.hold_first()
    bench.lane.drive(False, 1, "LOST")
    bench.entered()
    bench.lane.drive(True, 2, "CLAIM")
    bench.lane.drive(False, 2, "LOST")
    bench.lane.drive(True, 3, "CLAIM")
    bench.lane.drive(False, 3, "LOST")
    bench.first.go()
    assert bench.settled() == ["b stop 1", "a stop 1", "b stop 3", "a stop 3"]


def test_a_waiting_stop_is_never_dropped(bench: Bench) -> None:
    bench.hold_first()
    bench.lane.drive(True, 1, "CLAIM")
    bench.entered()
    bench.lane.drive(False, 1, "LOST")
    bench.lane.drive(True, 2, "CLAIM")
    assert bench.settled() == ["a start 1", "b stop 1", "a stop 1", "a start 2", "b start 2"]


def test_a_newer_start_replaces_the_running_one(bench: Bench) -> None:
    bench.hold_first()
    bench.lane.drive(True, 1, "CLAIM")
    bench.entered()
    bench.lane.drive(True, 2, "CLAIM")
    assert bench.settled() == ["a start 1", "a start 2", "b start 2"]


def test_closing_calls_off_a_start_and_finishes_a_stop(bench: Bench) -> None:
    bench.hold_first()
    bench.lane.drive(True, 1, "CLAIM")
    bench.entered()
    bench.lane.drive(False, 1, "STOP")
    bench.lane.drive(True, 2, "CLAIM")
    assert bench.lane.close(WAIT_S)
    bench.lane.drive(True, 3, "CLAIM")
    assert bench.told == ["a start 1", "b stop 1", "a stop 1"]


def test_an_output_closed_meanwhile_is_a_failed_command(bench: Bench) -> None:
    bench.first.close()
    bench.lane.drive(True, 1, "CLAIM")
    assert bench.settled() == ["b start 1"]
    assert bench.reports[0].result.outcome is Outcome.FAILED
    assert 'output "a" (scripted) is closed' in str(bench.reports[0].result)
