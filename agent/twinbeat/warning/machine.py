"""Figures of the machine itself, read from /sys and /proc. Runs in a thread: a dying card may keep a read waiting."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from twinbeat.config_warning import WarningConfig
from twinbeat.warning import limits
from twinbeat.warning.figures import Figure

DEVICES_MAX = 16
DISKS_MAX = 8
NO_DISKS = ("loop", "ram", "zram", "dm-", "md", "sr")
POWER_BITS = {"undervoltage": 0, "frequency-capped": 1, "throttled": 2, "soft-temperature-limit": 3}
SINCE_BOOT = 16
"""The firmware's bits "has been since the start of the machine" stand so much higher."""
WEAR_STEP = 10.0

Sample = tuple[Figure, float]


class Absent(NamedTuple):
    """What could not be read, and why."""

    what: str
    why: str


class Machine:
    """`read()` gives what is there; what is not is in `absent`. `root` and `statvfs` are for tests."""

    def __init__(
        self,
        table: WarningConfig,
        disks: tuple[str, ...],
        root: Path = Path("/"),
        statvfs: Callable[[str], os.statvfs_result] = os.statvfs,
    ) -> None:
        self.absent: list[Absent] = []
        self._table = table
        self._disks = disks
        self._sys = root / "sys"
        self._proc = root / "proc"
        self._statvfs = statvfs
        self._power_before: int | None = None

    def read(self) -> list[Sample]:
        """Look once at everything. A source that fails, fails alone."""
        absent: list[Absent] = []
        found: list[Sample] = []
        for what, source in (
            ("temperature", self._temperature),
            ("power faults of a Raspberry Pi", self._power),
            ("memory", self._memory),
            ("free space", self._free),
            ("disk errors", self._disk_errors),
            ("ext4 errors", self._file_systems),
            ("eMMC wear", self._wear),
        ):
            try:
                samples = list(source())
            except (OSError, ValueError, IndexError) as error:
                absent.append(Absent(what, getattr(error, "strerror", None) or str(error) or type(error).__name__))
                continue
            found += samples
            if not samples:
                absent.append(Absent(what, "no such source on this machine"))
        self.absent = absent
        return found

    # ------------------------------------------------------------ sources

    def _temperature(self) -> Iterator[Sample]:
        """The hottest zone that can be read."""
        read: dict[Path, float] = {}
        for zone in sorted(self._sys.glob("class/thermal/thermal_zone*"))[:DEVICES_MAX]:
            try:
                read[zone] = int(text_of(zone / "temp")) / 1000
            except (OSError, ValueError):
                continue
        if read:
            hottest = max(read, key=lambda zone: read[zone])
            try:
                name = text_of(hottest / "type") or hottest.name
            except OSError:
                name = hottest.name
            yield limits.temperature(self._table, name), read[hottest]

    def _power(self) -> Iterator[Sample]:
        bits = self._power_bits()
        if bits is None:
            return
        before = bits if self._power_before is None else self._power_before
        self._power_before = bits
        for fault, bit in POWER_BITS.items():
            since_boot = 1 << (bit + SINCE_BOOT)
            happened = bits & 1 << bit or (bits & since_boot and not before & since_boot)
            yield limits.power(self._table, fault), float(bool(happened))

    def _power_bits(self) -> int | None:
        """What the firmware says; from the voltage sensor alone where the kernel does not pass the rest on."""
        try:
            said = text_of(self._sys / "devices/platform/soc/soc:firmware/get_throttled")
        except OSError:
            for sensor in sorted(self._sys.glob("class/hwmon/hwmon*"))[:DEVICES_MAX]:
                try:
                    if text_of(sensor / "name") == "rpi_volt":
                        return int(any(int(text_of(path)) for path in sensor.glob("in*_lcrit_alarm")))
                except OSError:
                    continue
            return None
        return int(said.removeprefix("throttled="), 16)

    def _memory(self) -> Iterator[Sample]:
        lines = (self._proc / "meminfo").read_text().splitlines()
        known = {words[0]: int(words[1]) for words in (line.split() for line in lines) if len(words) > 1}
        if known.get("MemTotal:") and "MemAvailable:" in known:
            yield limits.memory(self._table), 100 * known["MemAvailable:"] / known["MemTotal:"]

    def _free(self) -> Iterator[Sample]:
        """Each file system once, however many paths lead to it."""
        seen = set()
        for path in self._disks[:DISKS_MAX]:
            try:
                found = self._statvfs(path)
            except OSError:
                continue
            mark = (found.f_fsid, found.f_blocks)
            usable = found.f_blocks - found.f_bfree + found.f_bavail
            if usable > 0 and mark not in seen:
                seen.add(mark)
                yield limits.disk(self._table, path), 100 * found.f_bavail / usable

    def _devices(self) -> list[Path]:
        """Real disks."""
        blocks = sorted(self._sys.glob("block/*"))
        return [path for path in blocks if not path.name.startswith(NO_DISKS)][:DEVICES_MAX]

    def _disk_errors(self) -> Iterator[Sample]:
        for device in self._devices():
            try:
                yield limits.io_errors(device.name), float(int(text_of(device / "device/ioerr_cnt"), 16))
            except OSError:
                continue

    def _file_systems(self) -> Iterator[Sample]:
        for path in sorted(self._sys.glob("fs/ext4/*/errors_count"))[:DEVICES_MAX]:
            yield limits.file_system_errors(path.parent.name), float(int(text_of(path)))

    def _wear(self) -> Iterator[Sample]:
        """Both kinds of cells count in tenths of their life; the more worn one counts."""
        for device in self._devices():
            try:
                tenths = max(int(word, 16) for word in text_of(device / "device/life_time").split())
            except (OSError, ValueError):
                continue
            if tenths > 0:
                yield limits.wear(self._table, device.name), WEAR_STEP * tenths
            try:
                level = int(text_of(device / "device/pre_eol_info"), 16)
            except (OSError, ValueError):
                continue
            if level > 0:
                yield limits.pre_end_of_life(device.name), float(level)


def text_of(path: Path) -> str:
    """A small file's text."""
    with path.open("rb") as file:
        return file.read(256).decode("ascii", "replace").strip()
