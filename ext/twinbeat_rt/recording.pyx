"""Flight recordings: written by the runtime, read for replay. The same core gives the same effects, or it is an error.

A file holds a header with the layout of the structs inside, the settings, and records: events exactly as the core
took them, each with a digest of the effects, and snapshots of the state between them. A CRC-32 closes the file.
"""
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

import os
import struct
import zlib
from typing import NamedTuple

from twinbeat_core.errors import TwinbeatError
from twinbeat_core.machine cimport (
    core_deadline_ns, core_init, core_restore, core_snapshot, core_snapshot_size, core_step,
)
from twinbeat_core.model cimport EV_HEARD, echo_t, effects_t, event_t, row_t, settings_t
from twinbeat_core.settings cimport CoreSettings
from twinbeat_core.state cimport core_t
from twinbeat_core.wire cimport frame_from_c
from twinbeat_rt.recorder cimport RECORD_EVENT, RECORD_SNAPSHOT, digest_effects, unpack_event

from twinbeat_core import events as typed
from twinbeat_core.model import CommandCode, EventKind, LateCode, OutputCode, VoteCode

MAGIC = b"TBREC\r\n\x00"
VERSION = 1
HEADER = struct.Struct("<8sHHIIIIIQ")


class RecordingError(TwinbeatError):
    """A file that is no recording, is cut short, or was written with another layout."""

    exit_code = 2


cdef tuple layout():
    """Sizes that must agree between writer and reader: event head, frame head, echo, row."""
    cdef event_t ev
    return (<size_t>&ev.frame - <size_t>&ev, <size_t>&ev.frame.echo - <size_t>&ev.frame, sizeof(echo_t), sizeof(row_t))


cdef class RecordedEvent:
    """One event as the core took it, with the digest of what the core answered then."""

    cdef event_t ev
    cdef readonly uint64_t digest

    @property
    def kind(self) -> EventKind:
        """Its EventKind."""
        return EventKind(self.ev.kind)

    @property
    def now_ns(self) -> int:
        """When the core took it."""
        return self.ev.now_ns

    def typed(self):
        """The same as a value of `twinbeat_core.events`."""
        cdef event_t* e = &self.ev
        kind = self.kind
        if kind == EventKind.EV_START:
            return typed.Start(e.now_ns, e.incarnation, e.epoch, bool(e.value))
        if kind == EventKind.EV_HEARD:
            return typed.Heard(e.now_ns, e.link, frame_from_c(&e.frame), e.rx_at_ns, e.code)
        if kind == EventKind.EV_LINK:
            return typed.LinkChange(e.now_ns, e.link, bool(e.code))
        if kind == EventKind.EV_VOTE:
            return typed.Vote(e.now_ns, e.group, VoteCode(e.code), e.epoch, e.stamp, e.value // 1000000)
        if kind == EventKind.EV_HEALTH:
            return typed.Health(e.now_ns, bool(e.code), e.value, e.stamp)
        if kind == EventKind.EV_OUTPUT:
            return typed.Output(e.now_ns, e.group, OutputCode(e.code), e.epoch)
        if kind == EventKind.EV_SYNC:
            return typed.Sync(e.now_ns, e.value, bool(e.code))
        if kind == EventKind.EV_COMMAND:
            return typed.Command(e.now_ns, CommandCode(e.code), e.group, e.node)
        if kind == EventKind.EV_PERSISTED:
            return typed.Persisted(e.now_ns, e.epoch)
        if kind == EventKind.EV_LATE:
            return typed.Late(e.now_ns, LateCode(e.code), e.value)
        return typed.Wake(e.now_ns)


class Recording(NamedTuple):
    """A recording as read: the state it begins with, the events after it, and states on the way.

    `checkpoints` are (number of events taken before, snapshot).
    """

    settings: object
    snapshot: bytes
    events: list
    checkpoints: list


class Replay(NamedTuple):
    """What a replay gave: the last state, and a sentence for each difference from the recording (none: the same)."""

    snapshot: bytes
    differences: list


cdef Py_ssize_t first_snapshot(records):
    """Offset of the first record that a replay can begin with, or -1."""
    cdef Py_ssize_t at = 0
    while at + 8 <= len(records):
        size, kind = struct.unpack_from("<II", records, at)
        if kind == RECORD_SNAPSHOT:
            return at
        at += 8 + ((size + 7) & ~7)
    return -1


def write_recording(str path, CoreSettings settings not None, records not None) -> int:
    """Write a recording whole or not at all (a neighbour file, fsync, rename). Bytes written. OSError as usual.

    `records` (bytes or a view of them) may be megabytes: they are not copied.
    """
    at = first_snapshot(records)
    records = memoryview(records)[at:] if at >= 0 else memoryview(b"")
    blob = settings.to_bytes()
    head = HEADER.pack(MAGIC, VERSION, 0, *layout(), len(blob), len(records)) + blob
    end = struct.pack("<I", zlib.crc32(records, zlib.crc32(head)))
    part = path + ".part"
    try:
        with open(part, "wb") as file:
            for piece in (head, records, end):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        if os.path.exists(part):
            os.unlink(part)
        raise
    return len(head) + len(records) + len(end)


def read_recording(str path) -> Recording:
    """Read a recording. Raises RecordingError with a clear sentence, OSError when the file cannot be read."""
    with open(path, "rb") as file:
        data = file.read()
    if not data.startswith(MAGIC):
        raise RecordingError(f"{path}: no twinbeat recording (it does not begin with its mark)")
    if len(data) < HEADER.size + 4:
        raise RecordingError(f"{path}: cut short: {len(data)} bytes are less than a header")
    fields = HEADER.unpack_from(data)
    if fields[1] != VERSION:
        raise RecordingError(f"{path}: recording of format {fields[1]}; this version reads {VERSION}:"
                             " replay it with the version that wrote it")
    whole = HEADER.size + fields[7] + fields[8] + 4
    if len(data) != whole:
        raise RecordingError(f"{path}: {len(data)} bytes, its header says {whole}: the file is cut short or damaged")
    if struct.unpack_from("<I", data, whole - 4)[0] != zlib.crc32(data[:whole - 4]):
        raise RecordingError(f"{path}: wrong checksum: the file is damaged")
    if tuple(fields[3:7]) != layout() or fields[7] != sizeof(settings_t):
        raise RecordingError(f"{path}: written by a version of another layout:"
                             " replay it with the version that wrote it")
    settings = CoreSettings.from_bytes(data[HEADER.size:HEADER.size + fields[7]])
    return parse(path, settings, data[HEADER.size + fields[7]:whole - 4])


cdef object parse(str path, CoreSettings settings, bytes records):
    cdef Py_ssize_t at = 0
    cdef const char* raw = records
    cdef RecordedEvent made
    cdef uint32_t head[2]
    snapshot, events, checkpoints = None, [], []
    while at + 8 <= len(records):
        memcpy(head, raw + at, 8)
        if at + 8 + head[0] > len(records):
            raise RecordingError(f"{path}: record at byte {at} is longer than the file: the file is damaged")
        if head[1] == RECORD_SNAPSHOT:
            state = records[at + 8:at + 8 + head[0]]
            if snapshot is None:
                snapshot = state
            else:
                checkpoints.append((len(events), state))
        elif head[1] == RECORD_EVENT and head[0] > 8:
            made = RecordedEvent.__new__(RecordedEvent)
            memcpy(&made.digest, raw + at + 8, 8)
            if unpack_event(raw + at + 16, head[0] - 8, &made.ev) < 0:
                raise RecordingError(f"{path}: event record at byte {at} has a wrong length: the file is damaged")
            events.append(made)
        else:
            raise RecordingError(f"{path}: record of unknown type {head[1]} at byte {at}")
        at += 8 + ((head[0] + 7) & ~7)
    if snapshot is None:
        raise RecordingError(f"{path}: holds no state to begin with")
    return Recording(settings, snapshot, events, checkpoints)


def replay(recording) -> Replay:
    """Run a recording through a fresh core and compare effects and states with what was recorded."""
    cdef core_t* core = <core_t*>calloc(1, sizeof(core_t))
    cdef effects_t* fx = <effects_t*>calloc(1, sizeof(effects_t))
    cdef CoreSettings settings = recording.settings
    cdef RecordedEvent event
    differences = []
    try:
        core_init(core, &settings.c)
        state = recording.snapshot
        if core_restore(core, <const uint8_t*><const char*>state, len(state)) < 0:
            raise RecordingError(f"a state of {len(state)} bytes does not fit these settings")
        checkpoints = list(recording.checkpoints)
        for number, event in enumerate(recording.events):
            compare_states(core, checkpoints, number, differences)
            core_step(core, &event.ev, fx)
            if digest_effects(fx, core_deadline_ns(core)) != event.digest:
                differences.append(f"event {number} ({event.kind.name}): other effects than recorded")
        compare_states(core, checkpoints, len(recording.events), differences)
        return Replay(snapshot_of(core), differences)
    finally:
        free(core)
        free(fx)


cdef bytes snapshot_of(core_t* core):
    cdef bytearray out = bytearray(core_snapshot_size(core))
    core_snapshot(core, <uint8_t*><char*>out)
    return bytes(out)


cdef compare_states(core_t* core, list checkpoints, int number, list differences):
    while checkpoints and checkpoints[0][0] == number:
        if snapshot_of(core) != checkpoints.pop(0)[1]:
            differences.append(f"the state before event {number} differs from the recorded one")
