"""Probes of the machine itself: processors, memory, disk, temperature, throttling, clock; and files that hang."""
from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from health_rig import HealthRig
from test_health_probes import made

from twinbeat.config_check import (
    ClockCheck,
    CpuCheck,
    DiskCheck,
    MemoryCheck,
    ProcessCheck,
    TemperatureCheck,
    ThrottleCheck,
)
from twinbeat.health.load import CpuTimes
from twinbeat.health.probe import Measured
from twinbeat.health.probes import clock
from twinbeat.health.probes.clock import ClockProbe
from twinbeat.health.probes.cpu import CpuProbe
from twinbeat.health.probes.disk import DiskProbe
from twinbeat.health.probes.memory import MemoryProbe
from twinbeat.health.probes.process import ProcessProbe
from twinbeat.health.probes.temperature import TemperatureProbe
from twinbeat.health.probes.throttle import ThrottleProbe
from twinbeat.health.service import measure

# ---------------------------------------------------------------- machine


def cpu_line(path: Path, busy: int, idle: int, iowait: int = 0) -> None:
    path.write_text(f"cpu  {busy} 0 0 {idle} {iowait} 0 0 0 99 99\ncpu0 1 1 1 1\n")


def test_cpu(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    probe = CpuProbe(made(CpuCheck, max_percent=80), stat)
    assert "cannot be read" in probe.measure().error
    stat.write_text("nothing\n")
    assert "does not begin" in probe.measure().error
    cpu_line(stat, 1000, 1000)
    assert probe.measure().ok is None
    cpu_line(stat, 1080, 1020)
    assert probe.measure() == Measured(True, "processors 80 % busy", "at most 80 %", figure=80.0)
    cpu_line(stat, 1171, 1024, 5)
    assert probe.measure() == Measured(False, "processors 91 % busy", "at most 80 %", figure=91.0)
    assert probe.measure().ok is None          # no time has passed


def test_the_load_is_that_of_the_last_seconds(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    times = CpuTimes(stat, samples=3)
    seen = []
    for busy, idle in ((0, 100), (100, 100), (100, 200), (100, 300), (100, 400)):
        cpu_line(stat, busy, idle)
        seen.append(times.sample())
    assert seen == [None, 100.0, 50.0, 0.0, 0.0]


def test_the_kernel_s_own_count_can_be_read() -> None:
    assert CpuTimes().sample() is None


def test_memory(tmp_path: Path) -> None:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal: 2048000 kB\nMemFree: 1 kB\nMemAvailable: 204800 kB\n")
    good = MemoryProbe(made(MemoryCheck, min_free_percent=10), path).measure()
    assert good == Measured(True, "10.0 % of the memory available (200 MiB)", "at least 10 %", figure=10.0)
    assert MemoryProbe(made(MemoryCheck, min_free_percent=10.1), path).measure().ok is False
    path.write_text("MemTotal: 0 kB\n")
    assert "does not say" in MemoryProbe(made(MemoryCheck, min_free_percent=10), path).measure().error
    assert "cannot be read" in MemoryProbe(made(MemoryCheck, min_free_percent=10), tmp_path / "no").measure().error
    assert MemoryProbe(made(MemoryCheck, min_free_percent=0.1)).measure().ok


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = DiskProbe(made(DiskCheck, path=str(tmp_path), min_free_percent=0.1)).measure()
    assert found.figure is not None and 0 <= found.figure <= 100
    # 1000 blocks, 300 free, 200 of them for users: 200 of the 900 that users can have.
    full = os.statvfs_result((4096, 4096, 1000, 300, 200, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    bad = DiskProbe(made(DiskCheck, path="/data", min_free_percent=25)).measure()
    assert bad.ok is False and bad.figure == pytest.approx(100 * 200 / 900)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((1, 1, 0, 0, 0, 0, 0, 0, 0, 255)))
    assert "without blocks" in DiskProbe(made(DiskCheck, path="/proc", min_free_percent=25)).measure().error


def test_disk_absent(tmp_path: Path) -> None:
    found = DiskProbe(made(DiskCheck, path=str(tmp_path / "no"), min_free_percent=1)).measure()
    assert "No such file" in found.error


def zone(folder: Path, number: int, kind: str, temp: str) -> None:
    (folder / f"thermal_zone{number}").mkdir()
    (folder / f"thermal_zone{number}" / "type").write_text(kind + "\n")
    (folder / f"thermal_zone{number}" / "temp").write_text(temp)


def test_temperature(tmp_path: Path) -> None:
    def look(max_celsius: float, name: str | None = None) -> Measured:
        return TemperatureProbe(made(TemperatureCheck, max_celsius=max_celsius, zone=name), tmp_path).measure()

    assert look(80).error == "no thermal zone here; there are: none at all"
    zone(tmp_path, 0, "cpu-thermal", "61500\n")
    zone(tmp_path, 1, "pmic", "80100\n")
    zone(tmp_path, 2, "broken", "?\n")
    assert look(80) == Measured(False, "pmic at 80.1 degrees Celsius", "at most 80", figure=80.1)
    assert look(80, "cpu-thermal") == Measured(True, "cpu-thermal at 61.5 degrees Celsius", "at most 80", figure=61.5)
    assert look(61, "thermal_zone0").ok is False
    assert look(80, "gpu").error == 'no thermal zone "gpu" here; there are: cpu-thermal, pmic, broken'
    assert "is no number" in look(80, "broken").error


def test_throttle(tmp_path: Path) -> None:
    firmware, hwmon = tmp_path / "get_throttled", tmp_path / "hwmon"

    def look(*faults: str) -> Measured:
        keys = {"faults": faults} if faults else {}
        return ThrottleProbe(made(ThrottleCheck, **keys), firmware, hwmon).measure()

    assert look().error.startswith("not available: ") and "Raspberry Pi" in look().error
    firmware.write_text("50000\n")             # has happened, does not now
    assert look() == Measured(True, "firmware reports no fault", "must not be undervoltage or throttled", figure=0)
    firmware.write_text("50005\n")
    assert look().value == "firmware reports undervoltage, throttled" and look().ok is False
    firmware.write_text("8\n")
    assert look().ok and look("soft-temperature-limit").ok is False
    firmware.write_text("zz")
    assert "no hexadecimal number" in look().error


def test_throttle_by_the_voltage_sensor(tmp_path: Path) -> None:
    sensor = tmp_path / "hwmon" / "hwmon1"
    sensor.mkdir(parents=True)
    (sensor / "name").write_text("rpi_volt\n")
    alarm = sensor / "in0_lcrit_alarm"
    probe = ThrottleProbe(made(ThrottleCheck), tmp_path / "absent", tmp_path / "hwmon")
    alarm.write_text("0\n")
    assert probe.measure().ok
    alarm.write_text("1\n")
    assert probe.measure().value == "firmware reports undervoltage"
    other = ThrottleProbe(made(ThrottleCheck, faults=("throttled",)), tmp_path / "absent", tmp_path / "hwmon")
    assert "not available" in other.measure().error


def test_clock() -> None:
    def look(state: int, status: int, error_us: int, limit_ms: float | None = None) -> Measured:
        return ClockProbe(made(ClockCheck, max_error_ms=limit_ms), lambda: (state, status, error_us)).measure()

    assert look(0, 0x2001, 1500).ok
    assert look(5, 0, 1500).ok is False
    assert look(0, clock.UNSYNCHRONISED, 16_000_000) == Measured(
        False, "clock not synchronised", "must be synchronised", figure=16000.0
    )
    assert look(0, 0, 2000, 2.0).ok and look(0, 0, 2001, 2.0).ok is False


def test_clock_of_this_kernel_and_of_none() -> None:
    state, _, error_us = clock.ask_kernel()
    assert 0 <= state <= 5 and error_us >= 0

    def refuse() -> tuple[int, int, int]:
        raise OSError(1, "Operation not permitted")

    assert "does not tell" in ClockProbe(made(ClockCheck), refuse).measure().error


# ---------------------------------------------------------------- hanging files of the system


@pytest.mark.parametrize("kind", ["process", "temperature", "throttle"])
def test_a_file_that_does_not_answer_hangs_its_own_check_only(tmp_path: Path, kind: str) -> None:
    """A sensor's or a pid file that blocks its reader, as a broken bus or a lost file server does."""
    fifo = tmp_path / "thermal_zone0" / "temp"
    fifo.parent.mkdir()
    os.mkfifo(fifo)
    probe: Any = {
        "process": lambda: ProcessProbe(made(ProcessCheck, pid_file=str(fifo))),
        "temperature": lambda: TemperatureProbe(made(TemperatureCheck, max_celsius=80), tmp_path),
        "throttle": lambda: ThrottleProbe(made(ThrottleCheck), fifo, tmp_path),
    }[kind]()
    rig = HealthRig((made(CpuCheck, max_percent=1, fall=2, deadline_ms=100), probe))
    rig.loop.advance(5)
    assert rig.last == (False, 0, 0)
    assert rig.service.describe()["hung"] == 1
    assert rig.service.reasons() == ["check app: no answer within 100 ms"]
    writer = os.open(fifo, os.O_WRONLY)        # it answers at last: too late to count
    os.write(writer, b"not a number")
    os.close(writer)
    rig.loop.await_call()
    assert rig.service.describe()["hung"] == 0
    assert rig.last[0] is False
    rig.service.close()


def test_what_a_probe_raises_is_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> Any:
        raise OSError(signal.SIGHUP, "Operation not permitted")

    probe = MemoryProbe(made(MemoryCheck, min_free_percent=1))
    monkeypatch.setattr(probe, "measure", lambda: refuse(None))
    assert measure(probe).error == "Operation not permitted"
