"""Load: what applications report, what the machine shows, and what the core is told of both."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from health_rig import VirtualLoop

from twinbeat.control import RequestError
from twinbeat.health.load import CpuTimes, LoadMeter
from twinbeat.load_report import APPLICATIONS_MAX, LoadReport
from twinbeat_core.events import Health


class Meter:
    """Shows what it is told."""

    def __init__(self) -> None:
        self.percent: float | None = 10.0

    def sample(self) -> float | None:
        if self.percent is not None and self.percent < 0:
            raise OSError("no such file")
        return self.percent


class Rig:
    def __init__(self, meter: Meter | None) -> None:
        self.loop = VirtualLoop()
        self.posted: list[Health] = []
        self.taken = True
        self.load = LoadReport(self._post, self.loop, meter, self.loop.clock_ns)

    def _post(self, event: Health) -> bool:
        if self.taken:
            self.posted.append(event)
        return self.taken

    def say(self, **request: Any) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        self.load.table()["load"](request, found.append)
        return found[0]

    @property
    def loads(self) -> list[int]:
        return [event.load for event in self.posted]


@pytest.fixture
def meter() -> Meter:
    return Meter()


@pytest.fixture
def rig(meter: Meter) -> Rig:
    rig = Rig(meter)
    rig.load.start()
    return rig


def test_what_is_measured_is_told_when_it_changes_and_now_and_then(rig: Rig, meter: Meter) -> None:
    assert rig.loads == [10]
    assert (rig.posted[0].fit, rig.posted[0].score) == (True, 100)
    meter.percent = 12.0
    rig.loop.advance(2)
    assert rig.loads == [10], "less than a step"
    rig.loop.advance(1)
    assert rig.loads == [10, 12], "again after three seconds"
    meter.percent = 60.4
    rig.loop.advance(1)
    assert rig.loads[-1] == 60


def test_an_applications_figure_counts_where_it_is_larger_and_expires(rig: Rig) -> None:
    assert rig.say(percent=80, ttl_s=5) == {"ok": True, "load": 80}
    assert rig.loads == [10, 80], "at once"
    rig.loop.advance(4)
    assert rig.loads[-1] == 80
    rig.loop.advance(2)
    assert rig.loads[-1] == 10
    rig.say(percent=3.4, ttl_s=5)
    rig.loop.advance(3)
    assert rig.loads[-1] == 10


def test_each_application_has_its_own_figure(rig: Rig) -> None:
    rig.say(percent=80, ttl_s=600, name="a")
    rig.say(percent=50, ttl_s=600, name="b")
    assert rig.load.said() == 80
    rig.say(percent=20, name="a")
    assert rig.load.said() == 50
    for number in range(APPLICATIONS_MAX - 2):
        rig.say(percent=1, name=str(number))
    with pytest.raises(RequestError, match="32 applications report their load already"):
        rig.say(percent=1, name="more")
    rig.loop.advance(11)
    assert rig.say(percent=1, name="more")["ok"], "the others have expired"


def test_a_figure_that_the_core_did_not_take_is_told_again(rig: Rig) -> None:
    rig.taken = False
    rig.say(percent=90, ttl_s=600)
    assert rig.loads == [10]
    rig.taken = True
    rig.loop.advance(1)
    assert rig.loads == [10, 90]


def test_a_load_that_cannot_be_measured_is_none(rig: Rig, meter: Meter) -> None:
    for percent in (None, -1.0):
        meter.percent = percent
        rig.loop.advance(4)
        assert (rig.loads[-1], rig.load.load()) == (0, None)
    rig.say(percent=30)
    assert rig.load.load() == 30


def test_without_a_meter_only_a_report_makes_it_speak() -> None:
    rig = Rig(None)
    rig.load.start()
    rig.loop.advance(10)
    assert (rig.posted, rig.load.load()) == ([], None)
    rig.say(percent=30)
    assert (rig.loads, rig.load.load()) == ([30], 30)
    rig.loop.advance(11)
    assert (rig.loads[-1], rig.load.load()) == (0, None)


def test_where_checks_run_they_tell_the_core() -> None:
    rig = Rig(None)
    assert rig.say(percent=30) == {"ok": True, "load": 30}
    rig.loop.advance(5)
    assert (rig.posted, rig.load.said()) == ([], 30)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({}, "percent = None is out of range: 0 to 100"),
        ({"percent": 101}, "percent = 101 is out of range"),
        ({"percent": -0.1}, "out of range"),
        ({"percent": True}, "out of range"),
        ({"percent": "5"}, "out of range"),
        ({"percent": float("nan")}, "out of range"),
        ({"percent": 5, "ttl_s": 0}, "ttl_s = 0 is out of range: 0.1 to 3600"),
        ({"percent": 5, "ttl_s": 1e9}, "out of range"),
        ({"percent": 5, "name": 3}, "name takes a text of at most 64 characters"),
        ({"percent": 5, "name": "x" * 65}, "at most 64"),
    ],
)
def test_wrong_reports(rig: Rig, request_: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError, match=text):
        rig.say(**request_)
    assert rig.load.said() is None


# ------------------------------------------------------------ the machine


def show(path: Path, busy: int, idle: int, running: int | None) -> None:
    queue = "" if running is None else f"procs_running {running}\n"
    path.write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\nctxt 5\n{queue}procs_blocked 0\n")


def test_the_run_queue_counts_where_it_says_more_than_processor_time(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    meter = LoadMeter(stat, cpus=4)
    show(stat, 100, 100, 1)
    assert meter.sample() is None
    show(stat, 120, 180, 1)
    assert meter.sample() == 20.0, "this look itself is no load"
    show(stat, 130, 270, 9)
    assert meter.sample() == pytest.approx(100 * 8 / 3 / 4), "the mean of three looks, for each of four processors"
    for step in range(1, 6):
        show(stat, 130 + step, 270 + step * 99, 41)
        meter.sample()
    show(stat, 136, 864, 41)
    assert meter.sample() == 100.0


def test_a_kernel_without_the_run_queue(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    meter = LoadMeter(stat)
    show(stat, 100, 100, None)
    assert meter.sample() is None
    show(stat, 150, 150, None)
    assert meter.sample() == 50.0


@pytest.mark.parametrize("text", ["cpu\n", "nothing\n", "cpu 1 2 3 4 5\nprocs_running many\n", ""])
def test_a_file_that_says_something_else(tmp_path: Path, text: str) -> None:
    stat = tmp_path / "stat"
    stat.write_text(text)
    with pytest.raises(ValueError):
        LoadMeter(stat).sample()


@pytest.mark.skipif(not os.path.exists("/proc/stat"), reason="there is no /proc/stat here")
def test_this_machine() -> None:
    meter = LoadMeter()
    assert meter.sample() is None
    assert isinstance(CpuTimes().sample(), float | None)
