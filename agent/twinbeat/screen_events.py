"""The lines of `twinbeat events`, and which events are wanted."""
from __future__ import annotations

import datetime
import re
from typing import Any

from twinbeat.errors import UsageError
from twinbeat.group_names import belongs
from twinbeat.screen_paint import PLAIN, Paint, ago, clean, local_time, moment

Event = dict[str, Any]

LEVELS = ("debug", "info", "warning", "error")
STYLES = {"debug": "dim", "warning": "doubt", "error": "bad", "critical": "bad"}
UNITS_S = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
DAYS_MOST = 3650


class Wanted:
    """Which events are shown. `codes` and `groups` are in upper case and as named; None: all."""

    def __init__(
        self,
        since: datetime.datetime | None = None,
        level: str | None = None,
        codes: list[str] | None = None,
        group: str | None = None,
    ) -> None:
        self._since = since
        self._rank = LEVELS.index(level) if level else 0
        self._codes = {code.upper() for code in codes or ()}
        self._group = group

    def __call__(self, event: Event) -> bool:
        if self._since is not None:
            when = moment(event.get("time"))
            if when is None or when < self._since:
                return False
        level = event.get("level", "info")
        if (LEVELS.index(level) if level in LEVELS else len(LEVELS)) < self._rank:
            return False
        if self._codes and event.get("code") not in self._codes:
            return False
        return self._group is None or belongs(event.get("group"), self._group)

    @property
    def all(self) -> bool:
        """Whether nothing is left out."""
        return self._since is None and not self._rank and not self._codes and self._group is None


def since_of(text: str, now: datetime.datetime) -> datetime.datetime:
    """A moment from "90s", "10min", "2h", "1d", or a time like "2026-11-23T08:00", "08:00". Raises UsageError."""
    found = re.fullmatch(r"(\d{1,9})\s*(s|min|m|h|d)", text.strip())
    if found:
        seconds = min(int(found[1]) * UNITS_S[found[2]], DAYS_MOST * 86400)
        return now - datetime.timedelta(seconds=seconds)
    try:
        if re.fullmatch(r"\d{1,2}:\d\d(:\d\d)?", text.strip()):
            clock = datetime.time.fromisoformat(text.strip().zfill(5))
            here = now.astimezone()
            then = datetime.datetime.combine(here.date(), clock, here.tzinfo)
            return then if then <= here else then - datetime.timedelta(days=1)
        when = datetime.datetime.fromisoformat(text.strip())
        return when if when.tzinfo is not None else when.astimezone()
    except ValueError:
        raise UsageError(
            f'--since "{text}" is no time; give how long ago (90s, 10min, 2h, 1d) or when (08:00, 2026-11-23T08:00)'
        ) from None


def event_line(
    event: Event,
    now: datetime.datetime | None = None,
    paint: Paint = PLAIN,
    zone: datetime.tzinfo | None = None,
    *,
    date: bool = True,
) -> str:
    """One event: when by this reader's clock, how long ago where `now` is given, and what."""
    level = clean(event.get("level", ""))
    mark = f"{level.upper()}: " if level in ("warning", "error", "critical") else ""
    text = paint(STYLES.get(level, ""), f"{mark}{clean(event.get('text', event.get('code', '?')))}")
    passed = ago(event.get("time"), now) if now is not None else ""
    when = local_time(event.get("time", "?"), date=date, zone=zone)
    return f"{when}{f' ({passed})' if passed else ''} {text}"
