"""Is a thermal zone not too hot?"""
from __future__ import annotations

from pathlib import Path

from twinbeat.config_check import TemperatureCheck
from twinbeat.health.probe import Looker, Measured, os_reason, unavailable

ZONES = Path("/sys/class/thermal")


class TemperatureProbe(Looker):
    """One zone by its type (`cpu-thermal`) or name (`thermal_zone0`); without a name the hottest."""

    def __init__(self, check: TemperatureCheck, zones: Path = ZONES) -> None:
        self._max = check.max_celsius
        self._zone = check.zone
        self._zones = zones

    def measure(self) -> Measured:
        """Look once."""
        found = {path: kind_of(path) for path in sorted(self._zones.glob("thermal_zone*"))}
        wanted = [path for path, kind in found.items() if self._zone in (None, kind, path.name)]
        if not wanted:
            known = ", ".join(dict.fromkeys(found.values())) or "none at all"
            what = f'no thermal zone "{self._zone}" here' if self._zone else "no thermal zone here"
            return unavailable(f"{what}; there are: {known}")
        read: dict[str, float] = {}
        why = ""
        for path in wanted:
            try:
                read[found[path]] = int((path / "temp").read_text()) / 1000
            except OSError as error:
                why = f"{path}/temp cannot be read: {os_reason(error)}"
            except ValueError:
                why = f"{path}/temp is no number"
        if not read:
            return unavailable(why)
        name = max(read, key=lambda name: read[name])
        value = f"{name} at {read[name]:.1f} degrees Celsius"
        return Measured(read[name] <= self._max, value, f"at most {self._max:g}", figure=read[name])


def kind_of(zone: Path) -> str:
    """The type of a zone, else its name."""
    try:
        return (zone / "type").read_text().strip() or zone.name
    except OSError:
        return zone.name
