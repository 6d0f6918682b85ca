"""What is watched: each figure with its unit, its limit and the direction in which it goes bad."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["level", "noisy", "count", "event"]


@dataclass(frozen=True)
class Figure:
    """One figure.

    key      stands in topics and JSON: letters, digits, dots, dashes
    name     for a sentence: "temperature of cpu-thermal"
    unit     "%", "°C", "ms"; empty for counts
    kind     "level": steady, with a trend; "noisy": a level with bursts, which may also shift; "count": a counter that
             only faults raise; "event": something that happens or does not, 0 or more a sample
    limit    from which it matters; counts and events: how many in an hour
    step     what it must have moved by within a window to be called a trend, and how near to the limit is near
    falling  it goes bad downwards
    own      it speaks of this node alone, and not of what both share
    news     counts and events: how many in an hour are told
    """

    key: str
    name: str
    unit: str
    kind: Kind
    limit: float
    step: float = 0.0
    falling: bool = False
    own: bool = True
    news: float = 1.0

    @property
    def steady(self) -> bool:
        """Whether it has a level, and is not counted."""
        return self.kind in ("level", "noisy")

    @property
    def sign(self) -> float:
        """+1 where more is worse, -1 where less is."""
        return -1.0 if self.falling else 1.0


@dataclass(frozen=True)
class Warned:
    """One early warning as it stands. Values in the figure's unit.

    kind            "limit": it is there; "near"; "trend": it goes there; "shift": above what is usual; "count", "event"
    trend_per_hour  None where no trend is seen
    matters_in_s    when the limit is reached: 0 now, None: not within sight
    since_s         how long it has been warned of
    """

    figure: str
    kind: str
    unit: str
    value: float
    limit: float
    trend_per_hour: float | None
    matters_in_s: float | None
    text: str
    since_s: float
    own: bool

    @property
    def rank(self) -> int:
        """How grave it is: 3 it matters now, 2 it will, 1 else."""
        return 1 if self.matters_in_s is None else 3 if self.matters_in_s <= 0 else 2

    def as_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return {
            "figure": self.figure,
            "kind": self.kind,
            "unit": self.unit,
            "value": rounded(self.value),
            "limit": rounded(self.limit),
            "trend_per_hour": None if self.trend_per_hour is None else rounded(self.trend_per_hour),
            "matters_in_s": None if self.matters_in_s is None else round(self.matters_in_s),
            "text": self.text,
            "since_s": round(self.since_s, 1),
            "own": self.own,
        }


def rounded(value: float) -> float:
    """Three digits are enough for a person and for a script."""
    return float(f"{value:.3g}") if abs(value) < 100 else round(value, 1)
