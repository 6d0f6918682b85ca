"""The figures that are watched, from the [warning] table."""
from __future__ import annotations

from twinbeat.config_warning import WarningConfig
from twinbeat.warning.figures import Figure

IO_ERRORS_GRAVE = 3
WAIT_LIMIT_S = 30.0
PRE_EOL_LIMIT = 2
"""Of an eMMC: 1 normal, 2 most of the spare blocks are used, 3 nearly all."""
POWER_FAULTS = {"undervoltage": "undervoltage", "frequency-capped": "frequency capped", "throttled": "throttled",
                "soft-temperature-limit": "slowed down by heat"}


def safe(text: str) -> str:
    """A text as part of a key: what is no letter, digit, dot or dash becomes a dash."""
    return "".join(char if char.isascii() and (char.isalnum() or char in ".-") else "-" for char in text).strip("-")


def loss(table: WarningConfig, link: str, peer: str) -> Figure:
    """Frames of a peer lost on a link."""
    return Figure(f"link.{safe(link)}.{safe(peer)}.loss", f"loss on link {link} from {peer}", "%", "noisy",
                  table.loss_percent, step=table.loss_percent / 12, own=False)


def jitter(table: WarningConfig, link: str, peer: str) -> Figure:
    """The longest distance between two frames, as a share of the promise that must outlast it."""
    return Figure(f"link.{safe(link)}.{safe(peer)}.jitter", f"longest gap on link {link} from {peer}, of the promise",
                  "%", "noisy", table.jitter_percent, step=table.jitter_percent / 12, own=False)


def lateness(who: str, limit_ms: float) -> Figure:
    """The latest wake-up of the decider, or of an ordinary thread, between two samples."""
    return Figure(f"late.{who}", f"latest wake-up of the {who}", "ms", "noisy", limit_ms, step=limit_ms / 8)


def temperature(table: WarningConfig, zone: str) -> Figure:
    """The hottest thermal zone."""
    return Figure("temperature", f"temperature of {zone}", "°C", "level", table.temperature_celsius, step=2.0)


def memory(table: WarningConfig) -> Figure:
    """Memory that can be had without swapping."""
    return Figure("memory", "available memory", "%", "level", table.memory_free_percent, step=0.5, falling=True)


def disk(table: WarningConfig, path: str) -> Figure:
    """Free share of a file system."""
    key = f"disk.{safe(path) or 'root'}"
    return Figure(key, f"free space of {path}", "%", "level", table.disk_free_percent, step=0.2, falling=True)


def power(table: WarningConfig, fault: str) -> Figure:
    """A fault that the firmware of a Raspberry Pi reports."""
    return Figure(f"power.{fault}", f"{POWER_FAULTS[fault]} (firmware)", "", "event",
                  float(table.power_faults_per_hour))


def io_errors(device: str) -> Figure:
    """The kernel's count of failed requests of a disk."""
    return Figure(f"disk.{safe(device)}.io-errors", f"I/O errors of disk {device}", "", "count", float(IO_ERRORS_GRAVE))


def file_system_errors(device: str) -> Figure:
    """What an ext4 file system has noted of itself."""
    return Figure(f"disk.{safe(device)}.ext4-errors", f"errors noted by the ext4 file system on {device}", "", "level",
                  1.0)


def wear(table: WarningConfig, device: str) -> Figure:
    """Used life of an eMMC, in steps of 10 %."""
    return Figure(f"disk.{safe(device)}.wear", f"used life of {device}", "%", "level", table.wear_percent)


def pre_end_of_life(device: str) -> Figure:
    """An eMMC's own warning that its spare blocks run out."""
    return Figure(f"disk.{safe(device)}.spare", f"end-of-life level of {device}", "", "level", float(PRE_EOL_LIMIT))


def waiting() -> Figure:
    """For how long the reader of all these waits already: a disk that dies may keep it for good."""
    return Figure("disk.wait", "waiting time for this machine's files", "s", "level", WAIT_LIMIT_S)


def reconnects(table: WarningConfig, link: str) -> Figure:
    """Connections to a broker that were lost."""
    limit = float(table.reconnects_per_hour)
    return Figure(f"link.{safe(link)}.reconnects", f"lost connections to the broker of link {link}", "", "count", limit,
                  own=False, news=max(2.0, limit / 2))
