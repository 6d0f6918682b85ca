"""The flight recorder: what was recorded replays to the same bytes, and damaged files are refused in plain words."""
from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import lone_node

from twinbeat_core.failover import Failover
from twinbeat_core.model import EventKind
from twinbeat_rt.recording import Recording, RecordingError, read_recording, replay


def record(path: Path, **parameters: int) -> None:
    with lone_node(**parameters) as (child, relay, _line):
        relay.wait(1)
        child.ask("Flooded", do="flood", n=30)
        child.ask("Posted", do="command", code="CMD_OUT")
        relay.wait(0)
        assert child.ask("Saved", do="save", path=str(path))["bytes"] == path.stat().st_size


def test_a_recording_replays_to_the_same_state(tmp_path: Path) -> None:
    path = tmp_path / "run.tbr"
    record(path)
    recording = read_recording(str(path))
    kinds = [event.kind for event in recording.events]
    assert kinds[0] == EventKind.EV_START and EventKind.EV_OUTPUT in kinds and EventKind.EV_COMMAND in kinds
    result = replay(recording)
    assert result.differences == []
    assert recording.checkpoints and result.snapshot == recording.checkpoints[-1][1]
    core = Failover(recording.settings)
    core.restore(recording.snapshot)
    for event in recording.events:
        core.step(event.typed())
    assert core.view() == view_of(recording, result.snapshot)


def view_of(recording: Recording, snapshot: bytes) -> dict[str, object]:
    core = Failover(recording.settings)
    core.restore(snapshot)
    return dict(core.view())


def test_a_changed_event_is_found(tmp_path: Path) -> None:
    path = tmp_path / "run.tbr"
    record(path)
    recording = read_recording(str(path))
    shorter = recording._replace(events=[e for e in recording.events if e.kind != EventKind.EV_COMMAND])
    assert replay(shorter).differences


def test_a_ring_that_wrapped_begins_at_a_state(tmp_path: Path) -> None:
    path = tmp_path / "run.tbr"
    record(path, record_bytes=65536, period_ms=2, check_ms=1)
    recording = read_recording(str(path))
    assert replay(recording).differences == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-10], "cut short"),
        (lambda data: data[:20], "cut short"),
        (lambda data: b"something else" + data, "no twinbeat recording"),
        (lambda data: data[:8] + struct.pack("<H", 99) + data[10:], "format 99"),
        (lambda data: data[:300] + bytes([data[300] ^ 1]) + data[301:], "checksum"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, damage: Callable[[bytes], bytes], words: str) -> None:
    path = tmp_path / "run.tbr"
    record(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RecordingError, match=words):
        read_recording(str(path))
