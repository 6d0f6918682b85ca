"""What is read from /sys and /proc, played with files."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from twinbeat.config_warning import WarningConfig
from twinbeat.run_words import Names
from twinbeat.warning.machine import Machine
from twinbeat.warning.pair import Lateness, Pair

FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
MEMINFO = "MemTotal:        1000 kB\nMemFree:  10 kB\nMemAvailable:     250 kB\n"


class Pi:
    """Files as on a Raspberry Pi."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.free: dict[str, Any] = {"/": (1000, 300, 250, 1), "/data": (500, 100, 100, 2)}
        self.machine = Machine(WarningConfig(), ("/", "/data", "/gone"), root, self.statvfs)

    def put(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def statvfs(self, path: str) -> os.statvfs_result:
        if path not in self.free:
            raise FileNotFoundError(2, "No such file or directory")
        blocks, free, available, number = self.free[path]
        return os.statvfs_result((4096, 4096, blocks, free, available, 0, 0, 0, 0, 255, number))

    def read(self) -> dict[str, float]:
        return {figure.key: value for figure, value in self.machine.read()}

    def absent(self) -> set[str]:
        return {one.what for one in self.machine.absent}


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    return Pi(tmp_path)


def test_a_machine_without_sources_says_what_is_not_there(pi: Pi) -> None:
    pi.free = {}
    assert pi.read() == {}
    assert pi.absent() == {
        "temperature", "power faults of a Raspberry Pi", "memory", "free space", "disk errors", "ext4 errors",
        "eMMC wear",
    }  # fmt: skip


def test_the_hottest_zone_memory_and_each_file_system_once(pi: Pi) -> None:
    for number, (kind, temp) in enumerate((("cpu-thermal", "61500\n"), ("rp1", "40000\n"))):
        pi.put(f"sys/class/thermal/thermal_zone{number}/type", kind + "\n")
        pi.put(f"sys/class/thermal/thermal_zone{number}/temp", temp)
    pi.put("sys/class/thermal/thermal_zone9/type", "broken")
    pi.put("proc/meminfo", MEMINFO)
    pi.free["/gone"] = pi.free["/"]
    found = {figure.key: (figure, value) for figure, value in pi.machine.read()}
    assert found["temperature"][1] == 61.5
    assert found["temperature"][0].name == "temperature of cpu-thermal"
    assert found["memory"][1] == 25.0
    assert found["disk.root"][1] == pytest.approx(100 * 250 / 950)
    assert set(found) == {"temperature", "memory", "disk.root", "disk.data"}


def test_power_faults_now_and_since_the_last_look(pi: Pi) -> None:
    pi.put(FIRMWARE, "50000\n")
    assert pi.read()["power.undervoltage"] == 0.0, "before the agent's start is no news"
    pi.put(FIRMWARE, "50005\n")
    assert (pi.read()["power.undervoltage"], pi.read()["power.throttled"]) == (1.0, 1.0)
    pi.put(FIRMWARE, "throttled=0xd0000\n")
    found = pi.read()
    assert (found["power.soft-temperature-limit"], found["power.undervoltage"]) == (1.0, 0.0), "between two looks"
    assert pi.read()["power.soft-temperature-limit"] == 0.0
    pi.put(FIRMWARE, "what?")
    assert "power.undervoltage" not in pi.read() and "power faults of a Raspberry Pi" in pi.absent()


def test_the_voltage_sensor_stands_in_for_the_firmware(pi: Pi) -> None:
    pi.put("sys/class/hwmon/hwmon3/name", "rpi_volt\n")
    pi.put("sys/class/hwmon/hwmon3/in0_lcrit_alarm", "1\n")
    assert pi.read()["power.undervoltage"] == 1.0


def test_disks_report_errors_and_wear(pi: Pi) -> None:
    pi.put("sys/block/mmcblk0/device/life_time", "0x02 0x09\n")
    pi.put("sys/block/mmcblk0/device/pre_eol_info", "0x02\n")
    pi.put("sys/block/sda/device/ioerr_cnt", "0x1f\n")
    pi.put("sys/block/zram0/device/ioerr_cnt", "0x1\n")
    pi.put("sys/fs/ext4/mmcblk0p2/errors_count", "2\n")
    found = pi.read()
    assert found["disk.mmcblk0.wear"] == 90.0
    assert found["disk.mmcblk0.spare"] == 2.0
    assert found["disk.sda.io-errors"] == 31.0
    assert found["disk.mmcblk0p2.ext4-errors"] == 2.0
    assert "disk.zram0.io-errors" not in found


def test_one_source_that_fails_fails_alone(pi: Pi) -> None:
    pi.put("proc/meminfo", MEMINFO)
    pi.put("sys/block/sda/device/ioerr_cnt", "no number")
    pi.put("sys/fs/ext4/sda1/errors_count", "0")
    found = pi.read()
    assert found["memory"] == 25.0 and found["disk.sda1.ext4-errors"] == 0.0
    assert "disk errors" in pi.absent()


def test_this_machine_can_be_read() -> None:
    machine = Machine(WarningConfig(), ("/",))
    keys = {figure.key for figure, _value in machine.read()}
    assert {"memory", "disk.root"} <= keys


# ---------------------------------------------------------------- the pair


def histogram(max_us: int, **below: int) -> dict[str, Any]:
    return {"count": sum(below.values()), "max_us": max_us, "below_us": {int(k[1:]): v for k, v in below.items()}}


def test_lateness_between_two_looks() -> None:
    late = Lateness()
    assert late.look_ms(histogram(3000, _64=10, _4096=1)) == 3.0
    assert late.look_ms(histogram(3000, _64=20, _4096=1)) == 0.032, "the lower bound of the bucket that grew"
    assert late.look_ms(histogram(3000, _64=20, _4096=1)) == 0.0
    assert late.look_ms(histogram(9000, _64=21, _4096=2, _16384=1)) == 9.0


def path(link: int, **changes: Any) -> dict[str, Any]:
    return {"link": link, "up": True, "rx_dead": False, "tx_dead": False, "silent_ms": 4.0, "loss_percent": 1.6,
            "gap_max_ms": 22.5, "grant_ms": 60.0, "late_frames": 0} | changes


def test_figures_of_links_threads_and_brokers() -> None:
    names = Names("gw-a", ["gw-a", "gw-b"], ["pump"], ["cross", "wan"])
    pair = Pair(WarningConfig(), names, [45.0, 300.0], 5.0)
    peer = {"node": 1, "known": True, "dead": False, "silent": False, "paths": [path(0), path(1, up=False)]}
    view = {"core": {"peers": [peer]}, "decider": {"late": histogram(500, _512=1)}, "canary": histogram(100, _128=1)}
    first = {figure.key: value for figure, value in pair.read(view, {1: 2})}
    assert first == {"link.cross.gw-b.loss": 1.6, "link.cross.gw-b.jitter": 50.0, "link.wan.reconnects": 2.0}
    view["decider"] = {"late": histogram(800, _512=1, _1024=1)}
    again = {figure.key: value for figure, value in pair.read(view, {})}
    assert (again["late.decider"], again["late.canary"]) == (0.8, 0.0)
    peer["silent"] = True
    assert {figure.key for figure, _ in pair.read(view, {})} == {"late.decider", "late.canary"}
