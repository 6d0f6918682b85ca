"""Events as lines, and which of them are wanted."""
from __future__ import annotations

import datetime
from typing import Any

import pytest

from twinbeat.errors import UsageError
from twinbeat.screen_events import Wanted, event_line, since_of
from twinbeat.screen_paint import Paint, ago, local_time

UTC = datetime.UTC
NOW = datetime.datetime(2026, 11, 22, 10, 5, tzinfo=UTC)
EVENT = {"seq": 3, "time": "2026-11-22T10:02:00.250Z", "level": "warning", "code": "STATE", "text": "it moved",
         "group": "lines.3"}


def test_a_line_says_when_here_how_long_ago_and_what() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=1))
    assert event_line(EVENT, NOW, zone=zone) == "2026-11-22 11:02:00.250 (2 min ago) WARNING: it moved"
    assert event_line(EVENT, None, zone=UTC, date=False) == "10:02:00.250 WARNING: it moved"
    info = EVENT | {"level": "info"}
    assert event_line(info, NOW, Paint(True), UTC) == "2026-11-22 10:02:00.250 (2 min ago) it moved"
    assert event_line(EVENT, None, Paint(True), UTC).endswith("\x1b[33mWARNING: it moved\x1b[0m")


def test_what_is_no_time_is_shown_as_it_is() -> None:
    assert event_line({"time": "T\x1b", "text": "a\nb"}, NOW) == "T  a b"
    assert event_line({}) == "? ?"
    assert (local_time(None), ago("x", NOW), ago("2027-01-01T00:00:00Z", NOW)) == ("None", "", "just now")


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Wanted(), True),
        (Wanted(level="warning"), True),
        (Wanted(level="error"), False),
        (Wanted(codes=["state", "LINK_UP"]), True),
        (Wanted(codes=["LINK_UP"]), False),
        (Wanted(group="lines.3"), True),
        (Wanted(group="lines"), True),
        (Wanted(group="line"), False),
        (Wanted(since=NOW - datetime.timedelta(minutes=4)), True),
        (Wanted(since=NOW), False),
    ],
)
def test_what_is_wanted(wanted: Wanted, fits: bool) -> None:
    assert wanted(EVENT) is fits


@pytest.mark.parametrize("event", [{}, {"level": "odd"}, {"time": 5}, {"group": 7, "code": None}])
def test_odd_events_do_not_break_a_filter(event: dict[str, Any]) -> None:
    assert Wanted()(event) and not Wanted(since=NOW)(event) and not Wanted(codes=["A"])(event)
    assert not Wanted(group="g")(event)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10min", 600), ("10 m", 600), ("2h", 7200), ("1d", 86400),
                          ("999999999d", 3650 * 86400)]
)
def test_since_how_long_ago(text: str, seconds: int) -> None:
    assert NOW - since_of(text, NOW) == datetime.timedelta(seconds=seconds)


def test_since_when() -> None:
    assert since_of("2026-11-22T09:00:00Z", NOW) == datetime.datetime(2026, 11, 22, 9, tzinfo=UTC)
    assert since_of("2026-11-22T09:00", NOW).tzinfo is not None
    clock = since_of("9:30", NOW)
    assert (clock.hour, clock.minute) == (9, 30) and datetime.timedelta(0) <= NOW - clock < datetime.timedelta(days=1)


@pytest.mark.parametrize("text", ["", "yesterday", "25:00", "-5s", "5 weeks", "1e3s", "2026-13-01"])
def test_since_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no time; give how long ago \(90s, 10min, 2h, 1d\) or when"):
        since_of(text, NOW)
