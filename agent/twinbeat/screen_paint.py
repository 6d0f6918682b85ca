"""Colours, widths and times of what is shown in a terminal. Texts of others never reach it unfiltered."""
from __future__ import annotations

import datetime
import re
import textwrap
from collections.abc import Mapping
from typing import Literal, TextIO

COLUMNS_MAX = 80
COLUMNS_MIN = 40
STYLES = {"bad": "1;31", "doubt": "33", "good": "32", "note": "36", "dim": "2", "head": "1"}
"""Names of what a text means, with the terminal's codes for it."""
STYLED = re.compile("(\x1b\\[[0-9;]*m)")

ColourMode = Literal["auto", "always", "never"]


class Paint:
    """Puts colours on, or nothing where they are not wanted."""

    def __init__(self, on: bool = False) -> None:
        self.on = on

    def __call__(self, style: str, text: str) -> str:
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if self.on and style in STYLES and text else text


PLAIN = Paint()


def paint_for(mode: str, out: TextIO, environ: Mapping[str, str]) -> Paint:
    """Colours as asked for; with "auto" on a terminal that has them, unless NO_COLOR is set and not empty."""
    if mode != "auto":
        return Paint(mode == "always")
    return Paint(out.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb")


def columns_for(out: TextIO) -> int:
    """How wide a screen may be: at most 80 columns, less in a narrower terminal."""
    if not out.isatty():
        return COLUMNS_MAX
    import shutil

    return max(COLUMNS_MIN, min(COLUMNS_MAX, shutil.get_terminal_size((COLUMNS_MAX, 24)).columns))


def clean(text: object) -> str:
    """A text as one line without anything that could steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in str(text))


def length(text: str) -> int:
    """Columns that a painted text takes."""
    return len(STYLED.sub("", text))


def cut(text: str, width: int) -> str:
    """A painted text of at most `width` columns; what is cut off is marked by ".."."""
    if length(text) <= width:
        return text
    room = max(0, width - 2)
    kept: list[str] = []
    painted = False
    for piece in STYLED.split(text):
        if STYLED.fullmatch(piece):
            kept.append(piece)
            painted = True
        else:
            kept.append(piece[:room])
            room -= min(room, len(piece))
    return "".join(kept) + ("\x1b[0m" if painted else "") + ".."[:width]


def wrap(text: str, width: int, first: str = "", then: str | None = None) -> list[str]:
    """A text in lines of at most `width` columns; `first` and `then` stand before the first and the others."""
    then = " " * len(first) if then is None else then
    return textwrap.wrap(
        clean(text), max(20, width), initial_indent=first, subsequent_indent=then, break_on_hyphens=False
    ) or [first.rstrip()]


def painted(paint: Paint, style: str, lines: list[str]) -> list[str]:
    """Every line in one style."""
    return [paint(style, line) for line in lines]


# ---------------------------------------------------------------- times


def moment(text: object) -> datetime.datetime | None:
    """A time as the agent writes it, None where it is none."""
    try:
        found = datetime.datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=datetime.UTC)


def local_time(text: object, *, date: bool = True, zone: datetime.tzinfo | None = None) -> str:
    """A time of the agent in the reader's own zone, to the millisecond; what is no time is shown as it is."""
    found = moment(text)
    if found is None:
        return clean(text)
    return found.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S.%f" if date else "%H:%M:%S.%f")[:-3]


def ago(text: object, now: datetime.datetime) -> str:
    """How long ago a time was, for people: "3 min ago". Empty for what is no time, "just now" for the future."""
    from twinbeat.screen import duration

    found = moment(text)
    if found is None:
        return ""
    seconds = (now - found).total_seconds()
    return f"{duration(seconds)} ago" if seconds >= 0 else "just now"


def utc_clock() -> datetime.datetime:
    """The wall clock, for what people read."""
    return datetime.datetime.now(datetime.UTC)
