"""Recordings for tests: made, replayed, taken apart and put together again with something changed."""
from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recorded_pair import Pair, even, pair_settings

from twinbeat.cli_dispatch import dispatch
from twinbeat_core.model import Lone

HEADER = struct.Struct("<8sHHIIIIIQ")
EVENT, STATE = 1, 2
Record = tuple[int, bytes]
Capture = pytest.CaptureFixture[str]


def parts(data: bytes) -> tuple[bytes, list[Record]]:
    """Header with settings, and the records (type, payload)."""
    fields = HEADER.unpack_from(data)
    begin = HEADER.size + fields[7]
    found, at = [], begin
    while at < begin + fields[8]:
        size, kind = struct.unpack_from("<II", data, at)
        found.append((kind, data[at + 8:at + 8 + size]))
        at += 8 + (size + 7) // 8 * 8
    return data[:begin], found


def joined(head: bytes, records: list[Record]) -> bytes:
    """A whole file."""
    body = b"".join(
        struct.pack("<II", len(payload), kind) + payload + bytes(-len(payload) % 8) for kind, payload in records
    )
    head = head[:HEADER.size - 8] + struct.pack("<Q", len(body)) + head[HEADER.size:]
    return head + body + struct.pack("<I", zlib.crc32(head + body))


def rewrite(path: Path, change: Callable[[bytes, list[Record]], tuple[bytes, list[Record]]]) -> None:
    """Change a recording in place."""
    path.write_bytes(joined(*change(*parts(path.read_bytes()))))


def with_mark(head: bytes, mark: int) -> bytes:
    """The header as if another build of the core had written it."""
    return head[:10] + struct.pack("<H", mark) + head[12:]


def event_index(records: list[Record], number: int) -> int:
    """Place of event `number` among the records."""
    events = [place for place, (kind, _payload) in enumerate(records) if kind == EVENT]
    return events[number]


def with_digest(records: list[Record], number: int, digest: int) -> list[Record]:
    """The records with the digest of one event replaced."""
    place = event_index(records, number)
    kind, payload = records[place]
    return [*records[:place], (kind, struct.pack("<Q", digest) + payload[8:]), *records[place + 1:]]


def pair(lone: Lone = Lone.LONE_TAKEOVER) -> Pair:
    """Two agents that have found each other; node 0 drives."""
    made = Pair(pair_settings(lone=lone), even(), seed=7, drift_ppm=100).started()
    assert made.nodes[0].on
    return made


def told(capsys: Capture, *words: object, code: int = 0) -> dict[str, Any]:
    """The only recording of what `twinbeat replay --json` answers."""
    assert dispatch(["replay", "--json", *map(str, words)]) == code
    answer = json.loads(capsys.readouterr().out)
    assert answer["exit_code"] == code
    (recording,) = answer["recordings"]
    return dict(recording)
