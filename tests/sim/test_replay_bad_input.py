"""`twinbeat replay` with files that are none, damaged, of other versions, or made up: one clear sentence each."""
from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_tools import STATE, Capture, Record, pair, rewrite

from twinbeat.cli_dispatch import dispatch
from twinbeat_rt.offline import CoreRecorder


def damage(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def apply(path: Path) -> Path:
        path.write_bytes(change(path.read_bytes()))
        return path

    return apply


def missing(path: Path) -> Path:
    return path.with_name("none.tbr")


def pipe(path: Path) -> Path:
    os.mkfifo(path.with_name("pipe"))
    return path.with_name("pipe")


def hostile(place: int, value: bytes) -> Callable[[Path], Path]:
    """A state or event that no core has written, with the right checksum."""
    def apply(path: Path) -> Path:
        def change(head: bytes, records: list[Record]) -> tuple[bytes, list[Record]]:
            index = 1 if place >= 0 else 0
            kind, payload = records[index]
            at = place if place >= 0 else len(payload) + place
            payload = payload[:at] + value + payload[at + len(value):]
            return head, [*records[:index], (kind, payload), *records[index + 1:]]

        rewrite(path, change)
        return path

    return apply


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (missing, "there is no such file"),
    "directory": (lambda path: path.parent, "this is a directory; name the recordings in it"),
    "pipe": (pipe, "no regular file"),
    "empty": (damage(lambda data: b""), "the file is empty"),
    "text": (damage(lambda data: b"hello\n"), "no twinbeat recording"),
    "head only": (damage(lambda data: data[:20]), "cut short: 20 bytes are less than a header"),
    "cut short": (damage(lambda data: data[:-7]), "the file is cut short or damaged"),
    "longer": (damage(lambda data: data + b"\0"), "the file is cut short or damaged"),
    "flipped": (damage(lambda data: data[:500] + bytes([data[500] ^ 4]) + data[501:]), "wrong checksum"),
    "format": (damage(lambda data: data[:8] + b"\x09\0" + data[10:]), "recording of format 9; this version reads 1"),
    "layout": (lambda path: relayout(path), "written by a version of another layout"),
    "state size": (lambda path: resized(path), "replay it with the version that wrote it"),
    "event kind": (hostile(8, b"\x63"), "holds what no event can"),
}


def relayout(path: Path) -> Path:
    rewrite(path, lambda head, records: (head[:12] + struct.pack("<I", 41) + head[16:], records))
    return path


def resized(path: Path) -> Path:
    rewrite(path, lambda head, records: (head, [(kind, payload + bytes(8) if kind == STATE else payload)
                                                for kind, payload in records]))
    return path


@pytest.mark.parametrize("fault", BAD)
def test_a_file_that_cannot_be_used_gets_one_sentence(tmp_path: Path, capsys: Capture, fault: str) -> None:
    make, words = BAD[fault]
    path = make(pair().save(0, tmp_path))
    assert dispatch(["replay", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(f"twinbeat: {path}: ") and words in line


@pytest.mark.parametrize(("error", "words"), [
    (PermissionError(13, "Permission denied"), "this user may not read it"),
    (OSError(5, "Input/output error"), "cannot be read: Input/output error"),
])
def test_an_unreadable_file_gets_one_sentence(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, error: OSError, words: str
) -> None:
    def refuse(path: str) -> None:
        raise error

    path = pair().save(0, tmp_path)
    monkeypatch.setattr("twinbeat.replay.load.read_recording", refuse)
    assert dispatch(["replay", str(path)]) == 2
    assert words in capsys.readouterr().err


@pytest.fixture(scope="module")
def short_recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A few events after a state with everything in it."""
    world = pair()
    world.nodes[1].recorder = CoreRecorder(world.nodes[1].recorder.core)
    world.run_ms(30)
    return world.save(1, tmp_path_factory.mktemp("short")).read_bytes()


@given(place=st.integers(0, 20_000), value=st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_no_state_with_a_right_checksum_brings_the_reader_down(
    short_recording: bytes, tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    """Whatever stands in a state, it is refused or replayed: a sentence or a difference, never a crash."""
    path = tmp_path_factory.getbasetemp() / "spoiled.tbr"
    path.write_bytes(short_recording)

    def change(head: bytes, records: list[Record]) -> tuple[bytes, list[Record]]:
        kind, payload = records[0]
        at = place % len(payload)
        return head, [(kind, payload[:at] + bytes([payload[at] ^ value]) + payload[at + 1:]), *records[1:]]

    rewrite(path, change)
    assert dispatch(["replay", str(path)]) in (0, 1, 2)


def test_one_bad_file_does_not_keep_the_others_from_being_told(tmp_path: Path, capsys: Capture) -> None:
    world = pair()
    good, bad, other = world.save(0, tmp_path), tmp_path / "bad.tbr", world.save(1, tmp_path)
    bad.write_bytes(b"x")
    assert dispatch(["replay", "--json", str(good), str(bad), str(other)]) == 2
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert [one["exit_code"] for one in answer["recordings"]] == [0, 2, 0]
    assert "no twinbeat recording" in answer["recordings"][1]["error"] and "bad.tbr" in captured.err


@pytest.mark.parametrize(("words", "said"), [
    (["--around", "0"], '"0" is no length'), (["--around", "soon"], '"soon" is no length'),
    (["--around", "nan"], '"nan" is no length'), (["--change", "0"], '"0" is no number of a role change'),
    (["--change", "x"], '"x" is no number'), (["--al"], "unrecognized arguments: --al"),
    ([], "the following arguments"),
])
def test_the_command_line_is_refused_in_words(capsys: Capture, words: list[str], said: str) -> None:
    assert dispatch(["replay", *(["a.tbr"] if words else []), *words]) == 2
    assert said in capsys.readouterr().err
