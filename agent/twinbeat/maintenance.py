"""Maintenance of a node as a value: until when, for what, and how that outlives a restart of the agent.

Its end is a moment of CLOCK_BOOTTIME, which no change of the wall clock moves. After a boot that clock begins anew:
then the wall clock says what is left, but never more than was left when the record was last written, and that much
where the wall clock is earlier than it was then (a gateway without a battery clock). So a clock that is wrong makes
maintenance longer rather than shorter: somebody may have his hands in the cabinet.
"""
from __future__ import annotations

import contextlib
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from twinbeat.errors import UsageError
from twinbeat.store import write_whole

FORMAT = 1
FILE_BYTES_MAX = 65536
REASON_MAX = 200
BOOT_ID_PATH = Path("/proc/sys/kernel/random/boot_id")
SPAN_TEXT_MAX = 40
UNITS_S = {"s": 1, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Limits:
    """How short and long it may be, how long before its end it warns, how often what is left goes to disk; seconds."""

    shortest_s: float = 60.0
    longest_s: float = 7 * 86400.0
    warn_s: tuple[float, ...] = (300.0, 60.0)
    save_s: float = 300.0


LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class Record:
    """Maintenance that is on. `groups` are the units that it holds out of service, by name.

    until_ns  its end on CLOCK_BOOTTIME of the boot `boot`; `until_wall_s` the same on the wall clock
    wall_s    the wall clock when the record was written; `left_s` what was left then
    length_s  how long it was asked to last
    """

    boot: str
    until_ns: int
    until_wall_s: float
    wall_s: float
    left_s: float
    length_s: float
    reason: str
    by: str
    groups: tuple[str, ...]

    def at(self, boot: str, now_ns: int, wall_s: float) -> Record:
        """The record as of now: in another boot its end is reckoned anew."""
        if boot == self.boot:
            left_s = (self.until_ns - now_ns) / 1e9
        elif wall_s < self.wall_s:
            left_s = self.left_s
        else:
            left_s = min(self.left_s, self.until_wall_s - wall_s)
        left_s = max(0.0, min(left_s, self.length_s))
        until_ns = self.until_ns if boot == self.boot else now_ns + int(left_s * 1e9)
        return replace(self, boot=boot, until_ns=until_ns, until_wall_s=wall_s + left_s, wall_s=wall_s, left_s=left_s)


class MaintenanceFile:
    """Where the record lies. The methods may wait for the disk and raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, record: Record) -> None:
        """Replace the file as a whole."""
        text = json.dumps({"format": FORMAT, **asdict(record)})
        write_whole(self.path, text.encode() + b"\n")

    def clear(self) -> None:
        """Maintenance is over."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def load(self) -> Record | None:
        """What was saved; None: there was nothing. Raises ValueError where it cannot be understood."""
        try:
            with self.path.open("rb") as file:
                data = file.read(FILE_BYTES_MAX)
        except FileNotFoundError:
            return None
        return understood(data)


def understood(data: bytes) -> Record:
    """A record from the file's text. Raises ValueError."""
    try:
        values = json.loads(data)
        form = values.pop("format")
        record = Record(**values)
        groups = tuple(record.groups)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("not the text that was written") from None
    numbers = (record.until_ns, record.until_wall_s, record.wall_s, record.left_s, record.length_s)
    texts = (record.boot, record.reason, record.by, *groups)
    if form != FORMAT:
        raise ValueError(f"format {form}, this program writes {FORMAT}")
    if not all(type(value) in (int, float) for value in numbers) or not all(type(text) is str for text in texts):
        raise ValueError("numbers and texts expected")
    return replace(record, groups=groups)


def span_s(text: str) -> float:
    """Seconds from "2h", "90min", "1d", "1h30min". Raises UsageError."""
    compact = text.replace(" ", "") if text.isascii() and len(text) <= SPAN_TEXT_MAX else ""
    parts = re.findall(r"(\d+)(s|min|h|d)", compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise UsageError(f'"{text}" is no time; write it as 90min, 2h, 1d or 1h30min')
    return float(sum(int(number) * UNITS_S[unit] for number, unit in parts))


def span_text(seconds: float) -> str:
    """Seconds in words: "1 h 30 min", "5 min", "42 s"."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    days, hours, minutes = whole // 86400, whole % 86400 // 3600, whole % 3600 // 60
    parts = [f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if number]
    return " ".join(parts)


def boot_id() -> str:
    """Which boot of this machine this is."""
    try:
        return BOOT_ID_PATH.read_text(encoding="ascii").strip()
    except OSError:
        return ""
