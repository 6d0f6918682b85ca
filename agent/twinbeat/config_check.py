"""The [[check]] tables: what is looked at on a node to say whether it is fit to drive. Loaded where there is one."""
from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from twinbeat.config_schema import Name, Text

CHECKS_MAX = 32
"""Of one node: each may need a thread of its own while it hangs."""

EveryMs = Annotated[int, Meta(ge=100, le=60000)]
Count = Annotated[int, Meta(ge=1, le=100)]
FreePercent = Annotated[float, Meta(ge=0.1, le=99)]
AgeS = Annotated[float, Meta(ge=0.1, le=2592000)]

Fault = Literal["undervoltage", "frequency-capped", "throttled", "soft-temperature-limit"]


class CheckTable(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every check has, whatever it looks at."""

    name: Name
    nodes: tuple[str, ...] = ()
    every_ms: EveryMs = 1000
    deadline_ms: Annotated[int, Meta(ge=10, le=60000)] | None = None
    rise: Count = 2
    fall: Count = 3
    flaps_per_min: Annotated[int, Meta(ge=1, le=60)] = 3
    initial: Literal["good", "bad"] = "good"
    effect: Literal["unfit", "score", "warn"] = "unfit"
    points: Annotated[int, Meta(ge=1, le=100)] | None = None

    @property
    def answer_ms(self) -> int:
        """The deadline: as set, else the whole interval."""
        return self.every_ms if self.deadline_ms is None else self.deadline_ms

    @property
    def taken(self) -> int:
        """What it takes off the score of 100 while it fails."""
        return {"unfit": 100, "warn": 0}.get(self.effect, self.points or 0)


class UnitCheck(CheckTable, frozen=True, kw_only=True, omit_defaults=True):
    """type = "unit": a systemd unit is active."""

    type: Literal["unit"]
    unit: Annotated[str, Meta(pattern=r"^[A-Za-z0-9:_.\\@-]+\.[a-z]+$")]


class ProcessCheck(CheckTable, frozen=True, kw_only=True, omit_defaults=True):
    """type = "process": the process of a pid file, or one with a command name, lives."""

    type: Literal["process"]
    pid_file: Text | None = None
    command: Text | None = None


class CommandCheck(CheckTable, frozen=True, kw_only=True, omit_defaults=True):
    """type = "command": a command ends with exit status 0."""

    type: Literal["command"]
    argv: Annotated[tuple[Text, ...], Meta(min_length=1)]


class FileCheck(CheckTable, frozen=True, kw_only=True, omit_defaults=True):
    """type = "file": a file was written not long ago."""

    type: Literal["file"]
    path: Text
    max_age_s: AgeS


class TcpCheck(CheckTable, frozen=True, kw_only=True, omit_defaults=True):
    """type = "tcp": a port takes connections."""

    type: Literal["tcp"]
    host: Text
    port: Annotated[int, Meta(ge=1, le=65535)]


class MqttCheck(CheckTable, frozen=True, kw_only=True, omit_defaults=True):
    """type = "mqtt": a message came on a topic not long ago, over the broker of a link."""

    type: Literal["mqtt"]
    topic: Text
    max_age_s: AgeS
    link: Name | None = None


class GpioCheck(CheckTable, frozen=True, kw_only=True, omit_defaults=True):
    """type = "gpio": an input line has its good level."""

    type: Literal["gpio"]
    chip: Text
    line: str | Annotated[int, Meta(ge=0, le=1023)]
    good: Literal["high", "low"] = "high"


class CpuCheck(CheckTable, frozen=True, kw_only=True, omit_defaults=True):
    """type = "cpu": the processors are not busier than this."""

    type: Literal["cpu"]
    max_percent: Annotated[float, Meta(ge=1, le=99.9)]


class MemoryCheck(CheckTable, frozen=True, kw_only=True, omit_defaults=True):
    """type = "memory": so much of the memory is available."""

    type: Literal["memory"]
    min_free_percent: FreePercent


class DiskCheck(CheckTable, frozen=True, kw_only=True, omit_defaults=True):
    """type = "disk": so much of a file system is free."""

    type: Literal["disk"]
    path: Text
    min_free_percent: FreePercent


class TemperatureCheck(CheckTable, frozen=True, kw_only=True, omit_defaults=True):
    """type = "temperature": a thermal zone is not hotter than this."""

    type: Literal["temperature"]
    max_celsius: Annotated[float, Meta(ge=-40, le=150)]
    zone: Text | None = None


class ThrottleCheck(CheckTable, frozen=True, kw_only=True, omit_defaults=True):
    """type = "throttle": the firmware of a Raspberry Pi reports none of these faults now."""

    type: Literal["throttle"]
    faults: Annotated[tuple[Fault, ...], Meta(min_length=1)] = ("undervoltage", "throttled")


class ClockCheck(CheckTable, frozen=True, kw_only=True, omit_defaults=True):
    """type = "clock": the kernel says that the wall clock is synchronised."""

    type: Literal["clock"]
    max_error_ms: Annotated[float, Meta(ge=0.1, le=16000)] | None = None


CheckConfig = (
    UnitCheck | ProcessCheck | CommandCheck | FileCheck | TcpCheck | MqttCheck | GpioCheck | CpuCheck | MemoryCheck
    | DiskCheck | TemperatureCheck | ThrottleCheck | ClockCheck
)
CHECK_TYPES: dict[str, type[CheckConfig]] = {
    "unit": UnitCheck,
    "process": ProcessCheck,
    "command": CommandCheck,
    "file": FileCheck,
    "tcp": TcpCheck,
    "mqtt": MqttCheck,
    "gpio": GpioCheck,
    "cpu": CpuCheck,
    "memory": MemoryCheck,
    "disk": DiskCheck,
    "temperature": TemperatureCheck,
    "throttle": ThrottleCheck,
    "clock": ClockCheck,
}
