"""`twinbeat replay` of what is not the same: which event, which field, which build of the core."""
from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_pair import MS
from recording_tools import STATE, Capture, Record, event_index, pair, rewrite, told, with_digest, with_mark

from twinbeat.cli_dispatch import dispatch
from twinbeat.replay.digest import NEVER_NS, digest_of, guesses
from twinbeat.replay.walk import walk
from twinbeat_core.events import Drive
from twinbeat_rt.recording import core_mark, read_recording, replay


def reasons(answer: dict[str, Any]) -> str:
    return "\n".join(line for found in answer["first_differences"] for line in found["fields"])


def test_a_dropped_event_is_found_where_it_is_missing(tmp_path: Path, capsys: Capture) -> None:
    path = pair().save(0, tmp_path)
    recording = read_recording(str(path))
    events = recording.events
    dropped = next(step.number for step in walk(recording) if any(isinstance(made, Drive) for made in step.effects))

    def drop(head: bytes, records: list[Record]) -> tuple[bytes, list[Record]]:
        place = event_index(records, dropped)
        return head, records[:place] + records[place + 1:]

    rewrite(path, drop)
    answer = told(capsys, path, code=1)
    assert not answer["same"] and answer["first_differences"][0]["event"] == dropped
    at_ms = (events[dropped + 1].now_ns - events[0].now_ns) / MS
    assert answer["first_differences"][0]["at_ms"] == pytest.approx(at_ms, abs=0.001)
    assert dispatch(["replay", str(path)]) == 1
    text = capsys.readouterr().out
    assert "REPLAYED: NOT THE SAME" in text and f"event {dropped} (" in text


@pytest.mark.parametrize(("field", "words"), [
    ("deadline", "the next deadline is 2.000000 ms later now than when it was recorded"),
    ("epoch", "epoch was recorded as 73, is 72 now"),
    ("code", "code was recorded as 2, is 1 now"),
    ("fewer", "was not there when it was recorded"),
])
def test_the_field_that_differs_is_named(tmp_path: Path, capsys: Capture, field: str, words: str) -> None:
    path = pair().save(0, tmp_path)
    number = next(step.number for step in walk(read_recording(str(path)))
                  if any(isinstance(made, Drive) for made in step.effects))
    raw_effects, deadline_ns = spoiled(path, number)
    effects = list(raw_effects)
    drive = next(place for place, effect in enumerate(effects) if effect[0] == 2)
    kind, code, *rest = effects[drive]
    if field == "deadline":
        deadline_ns -= 2 * MS
    elif field == "epoch":
        effects[drive] = (kind, code, *rest[:3], rest[3] + 1, *rest[4:])
    elif field == "code":
        effects[drive] = (kind, 2, *rest)
    else:
        del effects[drive]
    rewrite(path, lambda head, records: (head, with_digest(records, number, digest_of(effects, deadline_ns))))
    answer = told(capsys, path, code=1)
    assert answer["differences"] == 1 and answer["first_differences"][0]["event"] == number
    assert words in reasons(answer)


def spoiled(path: Path, number: int) -> tuple[tuple[tuple[int, ...], ...], int]:
    """Raw effects and deadline of an event: a wrong digest makes the replay show them."""
    copy = path.with_suffix(".spoiled")
    copy.write_bytes(path.read_bytes())
    rewrite(copy, lambda head, records: (head, with_digest(records, number, 0)))
    (difference,) = replay(read_recording(str(copy))).differences
    return difference.effects, difference.deadline_ns


def test_the_digest_is_the_recorders(tmp_path: Path) -> None:
    path = pair().save(1, tmp_path)
    events = read_recording(str(path)).events
    for number in range(0, len(events), 37):
        assert digest_of(*spoiled(path, number)) == events[number].digest


effect = st.tuples(st.integers(1, 6), st.integers(0, 2), st.integers(0, 63), st.integers(0, 15), st.integers(0, 7),
                   st.integers(0, 2**32 - 1), st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 2**40))


@given(st.lists(effect, min_size=1, max_size=6), st.integers(0, 2**40), st.data())
def test_any_single_changed_figure_is_recovered(effects: list[tuple[int, ...]], deadline_ns: int,
                                                data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(effects) - 1))
    field = data.draw(st.sampled_from(("epoch", "value", "extra", "stamp")))
    place = {"epoch": 5, "value": 6, "extra": 7, "stamp": 8}[field]
    was = data.draw(st.integers(0, 2**32 - 1).filter(lambda value: value != effects[number][place]))
    before = [*effects]
    before[number] = (*effects[number][:place], was, *effects[number][place + 1:])
    found = guesses(digest_of(before, deadline_ns), effects, deadline_ns)
    now = effects[number][place]
    assert f"effect {number + 1} of {len(effects)}: {field} was recorded as {was}, is {now} now" in found


def test_a_deadline_that_was_none_is_recovered() -> None:
    sent = [(1, 1, 0, 15, 0, 0, 1, 0, 77)]
    (said,) = guesses(digest_of(sent, NEVER_NS), sent, 5000)
    assert said == "the next deadline was recorded as none, is 5000 now"


def test_a_state_that_differs_is_named_field_by_field(tmp_path: Path, capsys: Capture) -> None:
    path = pair().save(0, tmp_path)
    state = read_recording(str(path)).checkpoints[-1][1]
    changed = state.replace(struct.pack("<II", 72, 72), struct.pack("<II", 80, 72), 1)    # own epoch, driving epoch
    assert changed != state

    def swap(head: bytes, records: list[Record]) -> tuple[bytes, list[Record]]:
        return head, [(kind, changed if kind == STATE and payload == state else payload) for kind, payload in records]

    rewrite(path, swap)
    answer = told(capsys, path, code=1)
    assert answer["first_differences"][0]["what"] == "state"
    assert "groups[0].epoch was recorded as 80, is 72 now" in reasons(answer)


@pytest.mark.parametrize(("mark", "words"), [
    (core_mark(), "by this very build of the core"),
    (core_mark() ^ 1, f"by another build of the core ({core_mark() ^ 1:04x})"),
    (0, "it cannot be told which build"),
])
def test_the_reason_tells_builds_apart(tmp_path: Path, capsys: Capture, mark: int, words: str) -> None:
    path = pair().save(0, tmp_path)
    rewrite(path, lambda head, records: (with_mark(head, mark), with_digest(records, 3, 1)))
    assert words in told(capsys, path, code=1)["reason"]


def test_a_recording_names_the_build_that_wrote_it(tmp_path: Path) -> None:
    assert core_mark() != 0
    assert read_recording(str(pair().save(0, tmp_path))).mark == core_mark()
