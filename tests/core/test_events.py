"""Typed events and effects: what they carry, what the core refuses to take, how effects are told apart."""
from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any, get_args

import pytest
from random_world import RandomWorld
from world import settings

from twinbeat_core import events as ev
from twinbeat_core.errors import FrameError, TwinbeatError
from twinbeat_core.failover import Failover
from twinbeat_core.frames import Echo, Frame, Row
from twinbeat_core.model import Cause, CommandCode, DriveCode, LateCode, OutputCode, ReportCode, VoteCode

NOW = 1_000_000_000
FRAME = Frame(source=1, incarnation=9, stamp=5, pair_id=7, config_digest=1)
ONE_OF_EACH: list[ev.Event] = [
    ev.Heard(NOW, 0, FRAME), ev.LinkChange(NOW, 0, False), ev.Vote(NOW, 0, VoteCode.VOTE_REFUSED, 800, 1, 40),
    ev.Health(NOW, False, 10, 90), ev.Output(NOW, 0, OutputCode.OUTPUT_FAILED), ev.Sync(NOW, 77, False),
    ev.Command(NOW, CommandCode.CMD_OUT), ev.Wake(NOW), ev.Persisted(NOW, 5000), ev.Late(NOW, LateCode.LATE_CANARY, 5),
]


def started(**config: Any) -> Failover:
    core = Failover(settings(0, **config))
    core.step(ev.Start(NOW, 5))
    return core


def test_every_event_type_is_in_the_list_above() -> None:
    assert {type(event) for event in ONE_OF_EACH} | {ev.Start} == set(get_args(ev.Event))


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda e: type(e).__name__)
def test_events_before_start_are_ignored(event: ev.Event) -> None:
    core = Failover(settings(0))
    untouched = core.snapshot()
    assert core.step(event) == []
    assert core.snapshot() == untouched
    assert core.deadline_ns is None


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda e: type(e).__name__)
def test_started_core_takes_every_event(event: ev.Event) -> None:
    core = started()
    for effect in core.step(event):
        assert isinstance(effect, get_args(ev.Effect))
    assert core.view()["now_ns"] == NOW


@pytest.mark.parametrize("event", [*ONE_OF_EACH, ev.Start(NOW, 1)], ids=lambda e: type(e).__name__)
def test_events_are_frozen(event: ev.Event) -> None:
    with pytest.raises(FrozenInstanceError):
        event.now_ns = 1  # type: ignore[misc]
    assert fields(event)[0].name == "now_ns"


def test_unknown_event_is_refused_by_its_name_and_changes_nothing() -> None:
    class Alarm:
        now_ns = NOW

    core = started()
    before = core.snapshot()
    with pytest.raises(TypeError, match="Alarm is no event of the core"):
        core.step(Alarm())  # type: ignore[arg-type]
    assert core.snapshot() == before


def test_subclass_of_an_event_is_no_event() -> None:
    class SpecialWake(ev.Wake):
        pass

    with pytest.raises(TypeError, match="SpecialWake is no event of the core"):
        started().step(SpecialWake(NOW))


@pytest.mark.parametrize("event", [
    ev.Command(NOW, CommandCode.CMD_OUT, group=256), ev.Output(NOW, -1, OutputCode.OUTPUT_OFF),
    ev.Persisted(NOW, 1 << 32), ev.LinkChange(NOW, 300, True), ev.Wake(1 << 63),
    ev.Heard(NOW, 0, FRAME._replace(incarnation=1 << 32)),
], ids=repr)
def test_number_that_does_not_fit_is_refused_and_changes_nothing(event: ev.Event) -> None:
    core = started()
    before = core.snapshot()
    with pytest.raises((OverflowError, TwinbeatError)):
        core.step(event)
    assert core.snapshot() == before
    assert core.step(ev.Wake(NOW + 1)) is not None


@pytest.mark.parametrize("event", [
    ev.Command(NOW, CommandCode.CMD_OUT, group=1), ev.Command(NOW, CommandCode.CMD_HANDOVER, group=64),
    ev.Output(NOW, 1, OutputCode.OUTPUT_FAILED), ev.Vote(NOW, 255, VoteCode.VOTE_PROMISED, 8),
    ev.LinkChange(NOW, 2, False), ev.Heard(NOW, 2, FRAME), ev.Heard(NOW, 255, FRAME),
], ids=repr)
def test_group_or_link_that_does_not_exist_is_ignored(event: ev.Event) -> None:
    core = started()
    before = core.view()
    core.step(event)
    after = core.view()
    assert after["groups"] == before["groups"]
    assert after["peers"] == before["peers"]


def test_heard_frame_with_too_many_rows_is_refused() -> None:
    with pytest.raises(FrameError, match="0 echoes and 65 rows"):
        started().step(ev.Heard(NOW, 0, FRAME._replace(rows=(Row(1, 15, 0, 0),) * 65)))


def test_frame_of_a_peer_with_more_groups_or_echoes_is_read_as_far_as_known() -> None:
    core = started()
    frame = FRAME._replace(rows=(Row(1, 15, 0, 0),) * 64, echoes=(Echo(7, 0, 0, 1, 1),) * 8)
    core.step(ev.Heard(NOW, 0, frame))
    assert len(core.view()["peers"][0]["rows"]) == 1


def test_report_names_its_cause() -> None:
    report = ev.Report(ReportCode.RP_STATE, 0, 0, 0, 8, 1, int(Cause.CAUSE_LISTEN_OVER))
    assert report.cause is Cause.CAUSE_LISTEN_OVER


def test_effects_carry_enums_and_the_frames_number_on_each_link() -> None:
    world = RandomWorld()
    world.start_all()
    world.run_ms(1000)
    seen = [effect for core in world.cores for _, effects in core.log for effect in effects]
    sends = [e for e in seen if isinstance(e, ev.Send)]
    assert {type(e) for e in seen} == {ev.Send, ev.Drive, ev.Report, ev.Persist}
    assert all(set(e.link_seq) == set(e.links) for e in sends)
    assert all(isinstance(e.code, DriveCode) for e in seen if isinstance(e, ev.Drive))
    assert all(isinstance(e.code, ReportCode) for e in seen if isinstance(e, ev.Report))


def test_numbers_on_each_link_count_by_one_and_wrap() -> None:
    core = started()
    last: dict[int, int] = {}
    wrapped = False
    for _ in range(800):
        assert core.deadline_ns is not None
        for effect in core.step(ev.Wake(core.deadline_ns)):
            if isinstance(effect, ev.Send):
                for link, number in effect.link_seq.items():
                    assert number == (last.get(link, number - 1) + 1) % 256
                    wrapped |= number == 0
                    last[link] = number
    assert wrapped


def test_third_voter_is_asked_and_told() -> None:
    core = started(third_voter=True, lonely_start_ms=0.0)
    effects: list[ev.Effect] = list(core.step(ev.Persisted(NOW + 1, 99_999)))
    for _ in range(200):
        assert core.deadline_ns is not None
        effects += core.step(ev.Wake(core.deadline_ns))
        if any(isinstance(e, ev.Ask) and e.epoch for e in effects):
            break
    ask = next(e for e in effects if isinstance(e, ev.Ask) and e.epoch)
    now = core.view()["now_ns"]
    assert core.view()["groups"][0]["state"] == "CLAIMING"
    effects = core.step(ev.Vote(now + 1000, 0, VoteCode.VOTE_PROMISED, ask.epoch, ask.stamp, 40))
    assert [e.code for e in effects if isinstance(e, ev.Drive)] == [DriveCode.DRIVE_ON]
    core.step(ev.Command(now + 2000, CommandCode.CMD_OUT))
    effects = core.step(ev.Output(now + 3000, 0, OutputCode.OUTPUT_OFF, ask.epoch))
    assert [e.group for e in effects if isinstance(e, ev.Return)] == [0]


@pytest.mark.parametrize(("code", "epoch_off", "stamp_ahead_us", "drives"), [
    (VoteCode.VOTE_PROMISED, 0, 0, True),
    (VoteCode.VOTE_REFUSED, 0, 0, False),
    (VoteCode.VOTE_GONE, 0, 0, False),
    (VoteCode.VOTE_PROMISED, -8, 0, False),             # for an earlier claim
    (VoteCode.VOTE_PROMISED, 0, 1_000_000, False),      # for an ask that was never sent
    (VoteCode.VOTE_PROMISED, 0, -60_000, False),        # for an ask of long ago: nothing of the promise is left
])
def test_only_the_third_voters_fresh_promise_for_this_claim_lets_drive(
    code: VoteCode, epoch_off: int, stamp_ahead_us: int, drives: bool
) -> None:
    core = started(third_voter=True, lonely_start_ms=0.0)
    core.step(ev.Persisted(NOW + 1, 99_999))
    asks: list[ev.Ask] = []
    while not asks:
        assert core.deadline_ns is not None
        asks = [e for e in core.step(ev.Wake(core.deadline_ns)) if isinstance(e, ev.Ask) and e.epoch]
    now = core.view()["now_ns"]
    vote = ev.Vote(now + 1000, 0, code, asks[0].epoch + epoch_off, asks[0].stamp + stamp_ahead_us, 40)
    assert any(isinstance(e, ev.Drive) for e in core.step(vote)) is drives
