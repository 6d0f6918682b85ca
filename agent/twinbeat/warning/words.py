"""A warning in words: what, how much, where to, when."""
from __future__ import annotations

from twinbeat.warning.figures import Figure, rounded


def sentence(
    figure: Figure, kind: str, value: float, trend_per_hour: float | None, matters_in_s: float | None, usual: float
) -> str:
    """One sentence: "temperature of cpu-thermal 71.5 °C, rising by 20.4 °C an hour: matters in 25 min, at 80 °C"."""
    unit = f" {figure.unit}" if figure.unit else ""
    now, limit = f"{figure.name} {rounded(value):g}{unit}", f"{rounded(figure.limit):g}{unit}"
    if kind == "limit":
        beyond = "at or below" if figure.falling else "at or above"
        return f"{now}, {beyond} the limit of {limit}{moving(unit, trend_per_hour)}: it matters now"
    if kind == "trend":
        when = ahead(matters_in_s) if matters_in_s else "no time"
        return f"{now}{moving(unit, trend_per_hour)}: matters in {when}, at {limit}"
    if kind == "near":
        return f"{now}: near {limit}, where it matters"
    if kind == "shift":
        return f"{now} where {rounded(usual):g}{unit} is usual: it matters from {limit} on"
    times = f"{figure.name}: {value:g} in the last hour"
    return f"{times}: it matters now" if matters_in_s is not None else f"{times}; from {figure.limit:g} on it matters"


def quiet_sentence(figure: Figure, value: float, before: float, quiet_s: float) -> str:
    """While it is waited whether it stays quiet: "temperature of cpu-thermal 78 °C, 85 °C until 40 s ago ..."."""
    unit = f" {figure.unit}" if figure.unit else ""
    return (
        f"{figure.name} {rounded(value):g}{unit}, {rounded(before):g}{unit} until {ahead(quiet_s)} ago: "
        f"it matters from {rounded(figure.limit):g}{unit} on"
    )


def moving(unit: str, trend_per_hour: float | None) -> str:
    """", rising by 20.4 °C an hour", or nothing."""
    if not trend_per_hour:
        return ""
    return f", {'rising' if trend_per_hour > 0 else 'falling'} by {rounded(abs(trend_per_hour)):g}{unit} an hour"


def ahead(seconds: float) -> str:
    """A time ahead in words: "40 s", "25 min", "3 h", "2 days"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"
