"""Prepare hooks on the node that takes over: run in order, told why, bounded, and one word to the core at the end."""
from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from operate_rig import Core
from run_rig import MOCK, Rig

from twinbeat.errors import TwinbeatError
from twinbeat.run_loop import boottime_ns
from twinbeat.run_prepare import Asked, Hook, Lane, Preparation
from twinbeat_core.events import Command
from twinbeat_core.model import CommandCode, ReportCode
from twinbeat_hardware.command import CallOff, CommandResult, Outcome
from twinbeat_rt.messages import Reported

LIMIT_S = 10.0


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.gate.end()


def script(rig: Rig, name: str, text: str) -> str:
    """An executable in the test's folder."""
    path = rig.folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def hooks(*commands: str, deadline_ms: int = 5000) -> str:
    """The group "pump" with these hooks."""
    lines = [f'[[group.prepare]]\ncommand = ["{command}"]\ndeadline_ms = {deadline_ms}\n' for command in commands]
    return MOCK + "".join(lines)


def prepare(rig: Rig, epoch: int = 9) -> None:
    """The core says that gw-b is about to hand over."""
    rig.rt.push(Reported(boottime_ns(), ReportCode.RP_PREPARE, 0, 1, 0, epoch, 0, 0))


def prepared(rig: Rig) -> list[int]:
    """The groups that the core was told to be prepared."""
    return [event.group for event in rig.rt.posted
            if isinstance(event, Command) and event.code == CommandCode.CMD_PREPARED]


def event(rig: Rig, code: str) -> str:
    """The text of the newest event with this code."""
    found = [item for item in rig.ask("events", count=200)["events"] if item["code"] == code]
    assert found, code
    return str(found[-1]["text"])


def event_codes(rig: Rig) -> list[str]:
    """The codes of the events to come; each wakes who waits at the stand-in of the real-time part."""
    before = rig._started
    codes: list[str] = []

    def started(agent: object) -> None:
        before(agent)  # type: ignore[arg-type]
        add = rig.agent.events.add

        def told(*words: object, **more: object) -> None:
            add(*words, **more)  # type: ignore[arg-type]
            codes.append(str(words[0]))
            rig.rt.touch()

        rig.agent.events.add = told  # type: ignore[method-assign]

    rig._started = started  # type: ignore[method-assign]
    return codes


def test_hooks_run_in_order_and_are_told_why(rig: Rig) -> None:
    notes = rig.folder / "notes"
    told = 'echo "$TWINBEAT_GROUP $TWINBEAT_EPOCH $TWINBEAT_CAUSE $TWINBEAT_NODE $TWINBEAT_PAIR $TWINBEAT_FROM'
    rig.outputs = hooks(script(rig, "one", f'{told} [$TWINBEAT_SHARD] one" >> {notes}'),
                        script(rig, "two", f"echo two >> {notes}"))

    def scenario() -> None:
        Core(rig, ["STANDBY"])
        prepare(rig)
        rig.rt.wait(lambda: prepared(rig) == [0], "the word")
        assert notes.read_text() == "pump 9 PREPARE gw-a pump-7 gw-b [] one\ntwo\n"
        assert event(rig, "PREPARE") == "pump: gw-b is about to hand it over (epoch 9): preparing"
        assert event(rig, "PREPARED") == "pump: prepared to take over"

    rig.run(scenario)


def test_a_shard_is_named(rig: Rig) -> None:
    notes = rig.folder / "notes"
    command = script(rig, "one", f'echo "$TWINBEAT_GROUP $TWINBEAT_SHARD $1" > {notes}')
    rig.outputs = (MOCK + '[[group]]\nname = "poll"\nmode = "hot-hot"\nshards = 2\n' + MOCK
                   + f'[[group.prepare]]\ncommand = ["{command}", "{{shard}}"]\n')

    def scenario() -> None:
        Core(rig, 3 * ["STANDBY"])
        rig.rt.push(Reported(boottime_ns(), ReportCode.RP_PREPARE, 2, 1, 0, 9, 0, 0))
        rig.rt.wait(lambda: prepared(rig) == [2], "the word")
        assert notes.read_text() == "poll.1 1 1\n"

    rig.run(scenario)


def test_a_hook_that_fails_ends_it_and_says_how(rig: Rig) -> None:
    notes = rig.folder / "notes"
    rig.outputs = hooks(script(rig, "one", "echo first >&2; echo no database >&2; exit 3"),
                        script(rig, "two", f"echo two >> {notes}"))

    def scenario() -> None:
        Core(rig, ["STANDBY"])
        prepare(rig)
        rig.rt.wait(lambda: "PREPARE_FAILED" in codes, "the event")
        text = event(rig, "PREPARE_FAILED")
        assert text.startswith("pump: not prepared to take over from gw-b: ")
        assert "/one ended with exit status 3 after " in text and " ms: no database; nothing moves. Run " in text
        assert prepared(rig) == [] and not notes.exists()

    codes = event_codes(rig)
    rig.run(scenario)


def test_a_hook_that_overruns_is_ended(rig: Rig) -> None:
    rig.outputs = hooks(script(rig, "one", "exec sleep 60"), deadline_ms=50)

    def scenario() -> None:
        Core(rig, ["STANDBY"])
        prepare(rig)
        rig.rt.wait(lambda: "PREPARE_FAILED" in codes, "the event")
        assert "ran past its deadline and was ended after " in event(rig, "PREPARE_FAILED") and prepared(rig) == []

    codes = event_codes(rig)
    rig.run(scenario)


def test_where_there_are_no_hooks_the_word_is_given_at_once(rig: Rig) -> None:
    def scenario() -> None:
        Core(rig, ["STANDBY"])
        prepare(rig)
        rig.rt.wait(lambda: prepared(rig) == [0], "the word")

    rig.run(scenario)


def test_a_program_that_is_not_there_is_found_at_the_start(rig: Rig) -> None:
    rig.outputs = hooks("/nowhere/prepare")
    with pytest.raises(TwinbeatError, match='group "pump", prepare: command = /nowhere/prepare does not') as caught:
        rig.start_only()
    assert caught.value.exit_code == 5


def test_hooks_are_shown_in_the_rehearsal(rig: Rig) -> None:
    rig.outputs = hooks(script(rig, "one", "true"), script(rig, "two", "true"), deadline_ms=700)

    def scenario() -> None:
        Core(rig, ["ACTIVE"])
        answer = rig.ask("handover-plan")
        (plan,) = answer["plans"]
        assert (plan["prepare_hooks"], plan["prepare_limit_ms"], answer["answer_within_s"]) == (2, 1400.0, 3.4)
        assert plan["notes"] == ["gw-b first runs 2 prepare hooks, for at most 1400 ms; if one fails, nothing moves"]
        assert rig.ask("ping")["command_limit_s"] == 3.4

    rig.run(scenario)


def test_the_end_of_an_older_preparation_does_not_stand_for_the_newer_one(rig: Rig) -> None:
    def scenario() -> None:
        Core(rig, ["STANDBY"])
        preparation = Preparation(rig.agent, {}, {}, {})
        done = CommandResult(Outcome.OK, ("/bin/true",), 0, 1.0, ())
        older, newer = Asked(9, "gw-b", CallOff()), Asked(17, "gw-b", CallOff())
        older.call_off.set()                     # just after its hook had ended well
        rig.in_loop(lambda: preparation._ended(0, older, done))
        assert prepared(rig) == []
        rig.in_loop(lambda: preparation._ended(0, newer, done))
        assert prepared(rig) == [0]
        for asked in (older, newer):
            asked.call_off.close()

    rig.run(scenario)


# ---------------------------------------------------------------- the lane


class Told:
    """What a lane says, and the wait for it."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, CommandResult, bool]] = []
        self._changed = threading.Condition()

    def __call__(self, asked: Asked, result: CommandResult) -> None:
        with self._changed:
            self.heard.append((asked.epoch, result, asked.call_off.is_set))
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.heard) >= count, LIMIT_S)


WAITS_FOR_9 = Hook(("/bin/sh", "-c", 'test "$TWINBEAT_EPOCH" != 9 || exec sleep 60'), 50_000)


def test_a_newer_word_calls_off_the_older_one() -> None:
    told = Told()
    lane = Lane([WAITS_FOR_9], {"TWINBEAT_GROUP": "pump"}, told)
    lane.begin(9, "gw-b")
    lane.begin(17, "gw-b")
    told.wait(2)
    (first, ended, called_off), (second, result, stands) = told.heard
    assert (first, ended.outcome, called_off) == (9, Outcome.CANCELLED, True)
    assert (second, result.outcome, stands) == (17, Outcome.OK, False)
    assert lane.close(LIMIT_S)


def test_of_words_that_wait_only_the_newest_counts() -> None:
    told = Told()
    lane = Lane([WAITS_FOR_9], {}, told)
    for epoch in (9, 17, 25, 33):
        lane.begin(epoch, "gw-b")
    told.wait(2)
    assert [epoch for epoch, _, _ in told.heard] == [9, 33]
    assert lane.close(LIMIT_S)


def test_a_lane_can_be_used_again_and_closes_while_a_hook_runs() -> None:
    told = Told()
    lane = Lane([WAITS_FOR_9], {}, told)
    lane.begin(17, "gw-b")
    told.wait(1)
    lane.begin(25, "gw-b")
    told.wait(2)
    lane.begin(9, "gw-b")
    assert lane.close(LIMIT_S)
    told.wait(3)
    assert told.heard[-1][1].outcome is Outcome.CANCELLED
    lane.begin(33, "gw-b")
    assert len(told.heard) == 3
