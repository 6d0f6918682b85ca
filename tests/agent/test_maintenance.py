"""Maintenance as a value, on disk and in virtual time: its end, its warnings, what a restart or reboot makes of it."""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_fakes import core_view, peer_view

from twinbeat.errors import UsageError
from twinbeat.maintenance import Limits, MaintenanceFile, Record, boot_id, span_s, span_text, understood
from twinbeat.run_events import EventLog
from twinbeat.run_maintenance import Maintenance
from twinbeat.run_moves import Moves
from twinbeat.run_units import Unit, Units
from twinbeat.run_words import Names
from twinbeat.telemetry import Telemetry
from twinbeat_core.model import CommandCode

S = 1_000_000_000
HOUR = 3600.0
RECORD = Record(boot="first", until_ns=7300 * S, until_wall_s=100_000.0 + 7200, wall_s=100_000.0, left_s=7200.0,
                length_s=7200.0, reason="new fan", by="anna", groups=("pump", "poll.0"))


# ---------------------------------------------------------------- the value


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("90min", 5400), ("1d", 86400), ("45s", 45), ("1h30min", 5400), ("1 h 30 min", 5400), ("0h", 0)],
)
def test_spans(text: str, seconds: float) -> None:
    assert span_s(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2 weeks", "2h!", "-2h", "1.5h", "2H", "2m", "²h", "9" * 50 + "h"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(UsageError, match="is no time; write it as 90min, 2h, 1d"):
        span_s(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(42.4, "42 s"), (119, "119 s"), (300, "5 min"), (5400, "1 h 30 min"), (7200, "2 h"), (90061, "1 d 1 h 1 min"),
     (-3, "0 s")],
)
def test_span_in_words(seconds: float, text: str) -> None:
    assert span_text(seconds) == text


def test_in_the_same_boot_the_wall_clock_counts_for_nothing() -> None:
    for wall_s in (0.0, 100_001.0, 9e9):
        found = RECORD.at("first", 1300 * S, wall_s)
        assert (found.left_s, found.until_ns) == (6000.0, RECORD.until_ns)


def test_in_another_boot_the_wall_clock_tells_what_is_left() -> None:
    found = RECORD.at("second", 20 * S, 100_000.0 + 1200)
    assert (found.left_s, found.until_ns, found.boot) == (6000.0, 6020 * S, "second")


@pytest.mark.parametrize(("wall_s", "left_s"), [(50_000.0, 7000.0), (100_000.5, 7000.0), (200_000.0, 0.0)])
def test_a_wall_clock_that_is_wrong_makes_it_longer_but_not_for_ever(wall_s: float, left_s: float) -> None:
    saved = replace(RECORD, left_s=7000.0)
    assert saved.at("second", 5 * S, wall_s).left_s == left_s


def test_the_file_gives_back_what_was_written_and_nothing_when_cleared(tmp_path: Path) -> None:
    file = MaintenanceFile(tmp_path / "p-a.maintenance")
    assert file.load() is None
    file.save(RECORD)
    assert file.load() == RECORD
    file.clear()
    file.clear()
    assert file.load() is None


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"[]", b"{}", b'{"format": 1}', b'"x"',
     json.dumps({**vars(RECORD), "format": 2}).encode(),
     json.dumps({**vars(RECORD), "format": 1, "left_s": "long"}).encode(),
     json.dumps({**vars(RECORD), "format": 1, "until_ns": True}).encode(),
     json.dumps({**vars(RECORD), "format": 1, "groups": [1]}).encode(),
     json.dumps({**vars(RECORD), "format": 1, "groups": 5}).encode(),
     json.dumps({**vars(RECORD), "format": 1, "more": 5}).encode()],
)
def test_a_damaged_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not the text that was written|format 2|numbers and texts expected"):
        understood(data)


def test_the_boot_has_a_name() -> None:
    assert boot_id() == boot_id() != ""


# ---------------------------------------------------------------- in virtual time


class Bench:
    """A service with clocks that stand still until they are moved, and a disk that works at once or not at all."""

    def __init__(self, folder: Path, **limits: Any) -> None:
        self.names = Names("gw-a", ("gw-a", "gw-b"), ("pump", "poll"), ("direct",))
        self.file = MaintenanceFile(folder / "p-a.maintenance")
        self.published: list[dict[str, Any] | None] = []
        self.commands: list[tuple[int, int]] = []
        self.timers: list[float] = []
        self.states = ["OUT", "OUT"]
        self.there = ["ACTIVE", "ACTIVE"]
        self.now_s, self.wall_s, self.boot = 1000.0, 5e8, "first"
        self.ring_full = self.disk_broken = False
        self.limits = Limits(**limits)
        self.service = self.started()

    def started(self) -> Maintenance:
        """Another start of the agent."""
        self.events = EventLog(lambda *_: None, clock_ns=lambda: 0)
        units = Units(tuple(Unit(number=n, name=name, family=name, drivers=("gw-a", "gw-b"))
                            for n, name in enumerate(self.names.groups)), (1.0,))
        agent: Any = self
        self.parts = self
        return Maintenance(agent, Moves(agent, units), self.file, limits=self.limits,
                           clock_ns=lambda: int(self.now_s * S), wall_s=lambda: self.wall_s, boot=lambda: self.boot)

    # What the service uses of an agent and of its parts.
    @property
    def loop(self) -> Any:
        return self

    disk = telemetry = loop

    def call_later(self, delay_s: float, _callback: Callable[[], None]) -> Any:
        self.timers.append(delay_s)
        return self

    def cancel(self) -> None:
        pass

    def call_threadsafe(self, callback: Callable[[], None]) -> None:
        callback()

    def submit(self, _what: str, job: Callable[[], None]) -> bool:
        if not self.disk_broken:
            job()
        return not self.disk_broken

    def fact(self, _key: str, value: dict[str, Any] | None) -> None:
        self.published.append(value)

    def look(self) -> None:
        pass

    def post(self, command: Any) -> bool:
        if not self.ring_full:
            self.commands.append((command.code, command.group))
        return not self.ring_full

    def core_view(self) -> dict[str, Any]:
        rows = [{"state": state, "vote": 15, "epoch": 9} for state in self.there]
        groups = [core_view(state)["groups"][0] for state in self.states]
        return core_view(peers=[peer_view(1, rows=rows)]) | {"groups": groups}

    # What tests do.
    def begin(self, for_s: float, groups: tuple[int, ...] = (0, 1)) -> None:
        units = [self.service._moves.units.items[number] for number in groups]
        record = self.service.new(for_s, "new fan", "anna", units)
        self.file.save(record)
        self.service.take_effect(record)

    def after(self, seconds: float) -> list[str]:
        """Time passes, the service looks; the codes of the events that this made."""
        self.now_s += seconds
        self.wall_s += seconds
        before = len(self.events.last(512))
        self.service.look()
        return [event["code"] for event in self.events.last(512)[before:]]

    def codes(self) -> list[str]:
        return [event["code"] for event in self.events.last(512)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_it_warns_twice_and_ends_by_itself(bench: Bench) -> None:
    bench.begin(2 * HOUR)
    assert bench.after(2 * HOUR - 301) == []
    assert bench.after(1) == ["MAINTENANCE_ENDS"]
    assert bench.events.last(1)[0]["text"].startswith("maintenance ends in 5 min: then this node may drive pump, poll")
    assert bench.after(239) == []
    assert bench.after(1) == ["MAINTENANCE_ENDS"]
    assert "maintenance ends in 60 s" in bench.events.last(1)[0]["text"]
    assert bench.after(59.9) == [] and bench.commands == []
    assert bench.after(0.1) == ["MAINTENANCE_OVER"]
    assert bench.commands == [(CommandCode.CMD_IN, 0), (CommandCode.CMD_IN, 1)]
    assert bench.service.describe() is None and bench.file.load() is None
    assert bench.published[-1] is None and bench.published[0] is not None
    assert bench.after(HOUR) == []


def test_a_short_one_does_not_begin_with_a_warning(bench: Bench) -> None:
    bench.begin(60.0)
    assert bench.after(0.0) == [] and bench.after(30.0) == []
    assert bench.after(30.0) == ["MAINTENANCE_OVER"]


def test_a_stall_over_both_warnings_gives_one_and_then_the_end(bench: Bench) -> None:
    bench.begin(HOUR)
    assert bench.after(HOUR - 10) == ["MAINTENANCE_ENDS"]
    assert "maintenance ends in 10 s" in bench.events.last(1)[0]["text"]
    assert bench.after(5000) == ["MAINTENANCE_OVER"]


def test_only_what_it_holds_comes_back(bench: Bench) -> None:
    bench.begin(HOUR, groups=(1,))
    bench.after(HOUR)
    assert bench.commands == [(CommandCode.CMD_IN, 1)]


def test_a_decider_that_takes_nothing_is_asked_again(bench: Bench) -> None:
    bench.begin(HOUR)
    bench.ring_full = True
    assert bench.after(HOUR) == [] and bench.service.describe() is not None
    assert 0.0 < bench.timers[-1] <= 0.1
    bench.ring_full = False
    assert bench.after(1) == ["MAINTENANCE_OVER"]


def test_countdown(bench: Bench) -> None:
    bench.begin(2 * HOUR)
    bench.after(1800)
    shown = bench.service.describe()
    assert shown is not None
    assert (shown["left_s"], shown["length_s"], shown["reason"], shown["by"]) == (5400.0, 7200.0, "new fan", "anna")
    assert shown["until"] == "1985-11-05T02:53:20Z"
    assert shown["groups"] == ["pump", "poll"]


def test_a_restart_of_the_agent_goes_on_with_it(bench: Bench) -> None:
    bench.begin(2 * HOUR)
    bench.after(600)
    bench.now_s += 30
    bench.wall_s -= 400_000_000                      # somebody sets the clock meanwhile: it is of no concern
    bench.service = bench.started()
    bench.service.resume()
    assert bench.commands == [(CommandCode.CMD_OUT, 0), (CommandCode.CMD_OUT, 1)]
    assert bench.service.left_s() == pytest.approx(2 * HOUR - 630)
    assert bench.codes() == ["MAINTENANCE"]


def test_a_reboot_goes_by_the_wall_clock(bench: Bench) -> None:
    bench.begin(2 * HOUR)
    bench.after(600)
    bench.now_s, bench.boot = 12.0, "second"
    bench.wall_s += 1200
    bench.service = bench.started()
    bench.service.resume()
    assert bench.service.left_s() == pytest.approx(2 * HOUR - 1800)
    bench.after(2 * HOUR - 1800)
    assert bench.service.describe() is None


def test_a_reboot_without_a_clock_keeps_what_was_left_when_last_saved(bench: Bench) -> None:
    bench.begin(2 * HOUR)
    bench.after(1000)                                # more than save_s: written again
    bench.now_s, bench.wall_s, bench.boot = 12.0, 0.0, "second"
    bench.service = bench.started()
    bench.service.resume()
    assert bench.service.left_s() == pytest.approx(2 * HOUR - 1000)


def test_one_that_ran_out_while_nothing_ran_is_over(bench: Bench) -> None:
    bench.begin(HOUR)
    bench.now_s += 2 * HOUR
    bench.service = bench.started()
    bench.service.resume()
    assert bench.commands == [] and bench.file.load() is None
    assert bench.codes() == ["MAINTENANCE_OVER"] and bench.service.describe() is None


def test_a_start_without_maintenance_does_nothing(bench: Bench) -> None:
    bench.service.resume()
    assert (bench.commands, bench.codes(), bench.timers) == ([], [], [])


def test_a_damaged_record_keeps_the_node_out_and_says_so(bench: Bench) -> None:
    bench.file.path.write_text("?")
    bench.service.resume()
    assert bench.commands == [(CommandCode.CMD_OUT, 0), (CommandCode.CMD_OUT, 1)]
    assert bench.codes() == ["MAINTENANCE_FILE", "MAINTENANCE"]
    assert bench.service.left_s() == 7 * 86400


def test_by_hand(bench: Bench) -> None:
    bench.begin(2 * HOUR)
    pump, poll = bench.service._moves.units.items
    assert bench.service.settled_by_hand([pump], False) == "out of service by hand: it stays out when maintenance ends"
    assert bench.service.settled_by_hand([pump], True) == ""
    saved = bench.file.load()
    assert saved is not None and saved.groups == ("poll",)
    assert bench.service.settled_by_hand([poll], True) == "maintenance is over"
    assert bench.service.describe() is None and bench.file.load() is None
    assert bench.service.settled_by_hand([poll], True) == ""


def test_one_back_by_hand_leaves_the_other(bench: Bench) -> None:
    bench.begin(2 * HOUR)
    assert bench.service.settled_by_hand([bench.service._moves.units.items[0]], True) == "maintenance goes on for poll"
    bench.after(2 * HOUR)
    assert bench.commands == [(CommandCode.CMD_IN, 1)]


def test_nobody_drives_is_said_once_for_each_time(bench: Bench) -> None:
    bench.begin(2 * HOUR)
    bench.there[0] = "STANDBY"
    assert bench.after(1) == [], "roles may be moving"
    assert bench.after(1) == ["MAINTENANCE_UNDRIVEN"]
    assert "nobody drives pump, and this node is in maintenance" in bench.events.last(1)[0]["text"]
    assert bench.after(1) == []
    bench.there[0] = "ACTIVE"
    assert bench.after(1) == []
    bench.there[0] = "STANDBY"
    assert bench.after(1) == []
    bench.there[0] = "ACTIVE"
    assert bench.after(1) == []
    bench.there[0] = "STANDBY"
    assert bench.after(1) == [] and bench.after(1) == ["MAINTENANCE_UNDRIVEN"]


def test_a_disk_that_fails_is_said(bench: Bench) -> None:
    bench.begin(2 * HOUR)
    bench.disk_broken = True
    assert bench.after(400) == ["MAINTENANCE_FILE"]
    assert bench.service.left_s() == pytest.approx(2 * HOUR - 400)


def test_the_retained_status_on_mqtt_says_it_until_it_is_over() -> None:
    notes: list[Any] = []

    class Channel:
        def send_note(self, note: Any) -> None:
            notes.append(note)

        def forget(self, topic: str) -> None:
            raise AssertionError(topic)

    telemetry = Telemetry("pump-7", "gw-a", 1)
    telemetry.fact("maintenance", {"until": "soon"})
    telemetry.attach([Channel()])
    telemetry.refresh()
    telemetry.fact("maintenance", None)
    bodies = [json.loads(note.payload) for note in notes]
    assert [body.get("maintenance") for body in bodies] == [{"until": "soon"}, {"until": "soon"}, None]
    assert all(note.retain and note.topic.endswith("/gw-a/status") for note in notes)
    assert "maintenance" not in json.loads(telemetry.will().payload)
