"""Answers of the agent as text for people. Keys that an older or newer agent does not send are passed over.

The screens of status, watch, why and events are in modules of their own.
"""
from __future__ import annotations

from typing import Any

Answer = dict[str, Any]


def entries(answer: Answer, key: str) -> list[Answer]:
    """A list of objects from an answer; empty when it is not there."""
    found = answer.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def duration(seconds: object) -> str:
    """A time as people say it: "0.4 s", "12 s", "3 min", "2 h 5 min", "4 d 3 h"."""
    if not isinstance(seconds, (int, float)) or seconds < 0:
        return "?"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 172800:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def figure(value: object, unit: str, digits: int = 0) -> str:
    """A figure with its unit, "-" when there is none."""
    return f"{value:.{digits}f} {unit}" if isinstance(value, (int, float)) and not isinstance(value, bool) else "-"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their widest cell."""
    widths = [max(len(line[column]) for line in [head, *rows]) for column in range(len(head))]
    return [
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [head, *rows]
    ]


def age(ms: object) -> str:
    """A silence: in milliseconds while it is short, "-" where it is not known."""
    return duration(ms / 1000) if isinstance(ms, (int, float)) and ms >= 10_000 else figure(ms, "ms")
