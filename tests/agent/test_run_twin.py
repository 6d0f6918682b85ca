"""Another agent under this node's name: said once while it lasts, and again when it comes back much later."""
from __future__ import annotations

import logging

import pytest

from twinbeat import run_twin
from twinbeat.run_events import EventLog
from twinbeat.run_twin import FORGET_NS, TwinWatch, twin_text
from twinbeat.run_words import Names

NAMES = Names("gw-a", ("gw-a", "gw-b"), ("pump",), ("cross",))


def test_it_is_said_once_as_long_as_the_frames_come(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10**12]
    monkeypatch.setattr(run_twin, "boottime_ns", lambda: now[0])
    told: list[str] = []
    warnings: list[str] = []
    events = EventLog(lambda code, text, at_ns: told.append(f"{code}: {text}"))
    watch = TwinWatch(NAMES, "pump-7", events, warnings)
    for count in (0, 0, 3, 80, 160):
        watch.look(lambda count=count: {"self_frames": count})  # type: ignore[misc]
        now[0] += 10**9
    text = twin_text(NAMES, "pump-7")
    assert told == [f"SAME_NAME: {text}"]
    assert warnings == [text]
    assert events.last(1)[0]["level"] == logging.getLevelName(logging.ERROR).lower()
    now[0] += FORGET_NS
    watch.look(lambda: {"self_frames": 160})
    assert len(told) == 1
    watch.look(lambda: {"self_frames": 161})
    assert told == [f"SAME_NAME: {text}"] * 2
    assert warnings == [text]


def test_it_names_node_pair_and_remedy() -> None:
    assert twin_text(NAMES, "pump-7") == (
        "gw-a: a second agent of pair pump-7 runs on another machine under this name, its frames arrive here; start it "
        "there with its own name (--node gw-b, or TWINBEAT_NODE)"
    )
