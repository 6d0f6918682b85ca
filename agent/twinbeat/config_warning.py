"""The [warning] table: what early warning looks at, and what it may do. Without the table the defaults count."""
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct

from twinbeat.config_schema import Text

if TYPE_CHECKING:
    from twinbeat.config_reader import Reader

SAMPLES_OF_HORIZON = 60
"""A horizon shorter than so many samples leaves nothing to see a trend in."""

Percent = Annotated[float, Meta(ge=0.1, le=99)]


class WarningConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """[warning]: how often is sampled, how far is looked ahead, and the limits that matter."""

    predict: Literal["off", "warn", "handover"] = "warn"
    every_s: Annotated[float, Meta(ge=1, le=60)] = 5.0
    horizon_s: Annotated[float, Meta(ge=600, le=2592000)] = 3600.0
    quiet_s: Annotated[float, Meta(ge=10, le=86400)] = 300.0
    loss_percent: Percent = 20.0
    jitter_percent: Annotated[float, Meta(ge=1, le=1000)] = 80.0
    late_ms: Annotated[float, Meta(ge=0.5, le=1000)] | None = None
    canary_ms: Annotated[float, Meta(ge=1, le=10000)] = 100.0
    temperature_celsius: Annotated[float, Meta(ge=-40, le=150)] = 80.0
    memory_free_percent: Percent = 5.0
    disk_free_percent: Percent = 5.0
    disks: tuple[Text, ...] = ("/",)
    wear_percent: Annotated[float, Meta(ge=10, le=100)] = 90.0
    reconnects_per_hour: Annotated[int, Meta(ge=1, le=1000)] = 6
    power_faults_per_hour: Annotated[int, Meta(ge=1, le=1000)] = 3


def load_warning(data: dict[str, Any], reader: Reader) -> WarningConfig | None:
    """The [warning] table; None where there is none, or a fault was noted."""
    if "warning" not in data:
        return None
    table = reader.table(data["warning"], "[warning]")
    found = None if table is None else reader.struct(table, WarningConfig, "[warning]", "warning")
    if found is not None and found.horizon_s < SAMPLES_OF_HORIZON * found.every_s:
        reader.add(
            "[warning]",
            f"horizon_s = {found.horizon_s:g} holds fewer than {SAMPLES_OF_HORIZON} samples of every_s = "
            f"{found.every_s:g}: raise the one or lower the other",
        )
    return found
