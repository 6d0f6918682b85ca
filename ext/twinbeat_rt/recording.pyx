"""Flight recordings: written by the runtime, read for replay. The same core gives the same effects, or it is an error.

A file holds a header with the layout of the structs inside, the settings, and records: events exactly as the core
took them, each with a digest of the effects, and snapshots of the state between them. A CRC-32 closes the file.
"""
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

import os
import stat
import struct
import zlib
from typing import NamedTuple

from twinbeat_core.errors import SnapshotError, TwinbeatError
from twinbeat_core.failover cimport Failover
from twinbeat_core.machine cimport (
    core_deadline_ns, core_init, core_restore, core_snapshot, core_snapshot_size, core_step,
)
from twinbeat_core.model cimport (
    EV_HEARD, MAX_NODES, MAX_RETIRED, NO_NODE, OUT, THIRD_VOTER, echo_t, effects_t, event_t, row_t, settings_t,
)
from twinbeat_core.settings cimport CoreSettings
from twinbeat_core.state cimport core_t, group_t, peer_t
from twinbeat_core.wire cimport frame_from_c
from twinbeat_rt.recorder cimport RECORD_EVENT, RECORD_SNAPSHOT, digest_effects, unpack_event

from twinbeat_core import events as typed
from twinbeat_core.model import Cause, CommandCode, EventKind, LateCode, OutputCode, VoteCode

MAGIC = b"TBREC\r\n\x00"
VERSION = 1
HEADER = struct.Struct("<8sHHIIIIIQ")
MOST_DIFFERENCES = 100       # kept by a replay; each holds two states or a list of effects

CODES = {EventKind.EV_VOTE: VoteCode, EventKind.EV_OUTPUT: OutputCode, EventKind.EV_COMMAND: CommandCode,
         EventKind.EV_LATE: LateCode}
cdef int EV_LAST = max(EventKind)
cdef int CAUSE_LAST = max(Cause)


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

    `checkpoints` are (number of events taken before, snapshot); `mark` names the build of the core that wrote it
    (see `core_mark`; 0: unknown).
    """

    settings: object
    snapshot: bytes
    events: list
    checkpoints: list
    mark: int = 0


class Difference(NamedTuple):
    """Where a replay went another way than the recording.

    number     events taken before this one; of a state: before it was recorded
    at_ns      the time of that event
    what       "effects" or "state"
    recorded   effects: the digest that was recorded; state: the snapshot
    got        effects: the digest now; state: the snapshot now
    effects    what the core answers now: (kind, code, group, node, link, epoch, value, extra, stamp) each
    deadline_ns  the deadline after it
    """

    number: int
    at_ns: int
    what: str
    recorded: object
    got: object
    effects: tuple = ()
    deadline_ns: int = 0


class Replay(NamedTuple):
    """What a replay gave: the last state, the first `MOST_DIFFERENCES` Differences (none: the same), and how many."""

    snapshot: bytes
    differences: list
    total: int = 0


# ---------------------------------------------------------------- which build of the core
cdef list core_files():
    """The compiled modules that make up the core."""
    from twinbeat_core import failover

    folder = os.path.dirname(failover.__file__)
    return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".so"))


cdef object core_stats():
    try:
        return [(path, os.stat(path).st_mtime_ns, os.stat(path).st_size) for path in core_files()]
    except OSError:
        return None


LOADED = core_stats()      # when they were loaded, or nearly: an upgrade may replace them under a running agent


def core_mark() -> int:
    """A number from 1 to 65535 that names this build of the core, 0 when it cannot be told.

    Computed from the compiled modules, so that the same sources built elsewhere have another one.
    """
    value = 0
    if not LOADED or core_stats() != LOADED:
        return 0
    try:
        for path, _changed, _size in LOADED:
            with open(path, "rb") as file:
                while piece := file.read(1 << 16):
                    value = zlib.crc32(piece, value)
    except OSError:
        return 0
    return (value >> 16 ^ value) & 0xffff or 1


# ---------------------------------------------------------------- writing


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
    head = HEADER.pack(MAGIC, VERSION, core_mark(), *layout(), len(blob), len(records)) + blob
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


# ---------------------------------------------------------------- reading
def read_recording(str path) -> Recording:
    """Read a recording. Raises RecordingError with a clear sentence, OSError when the file cannot be read."""
    with open(path, "rb") as file:
        data = file.read(HEADER.size)
        if not data and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise RecordingError(f"{path}: no regular file; name a recording (*.tbr)")
        if not data:
            raise RecordingError(f"{path}: the file is empty: the recording was never written, or the disk was full")
        if not data.startswith(MAGIC):
            raise RecordingError(f"{path}: no twinbeat recording (it does not begin with its mark)")
        if len(data) < HEADER.size:
            raise RecordingError(f"{path}: cut short: {len(data)} bytes are less than a header")
        fields = HEADER.unpack(data)
        if fields[1] != VERSION:
            raise RecordingError(f"{path}: recording of format {fields[1]}; this version reads {VERSION}:"
                                 " replay it with the version that wrote it")
        whole = HEADER.size + fields[7] + fields[8] + 4
        size = os.fstat(file.fileno()).st_size
        if size != whole:
            raise RecordingError(f"{path}: {size} bytes, its header says {whole}: the file is cut short or damaged")
        data += file.read()
    if len(data) != whole or struct.unpack_from("<I", data, whole - 4)[0] != zlib.crc32(data[:whole - 4]):
        raise RecordingError(f"{path}: wrong checksum: the file is damaged")
    if tuple(fields[3:7]) != layout() or fields[7] != sizeof(settings_t):
        raise RecordingError(f"{path}: written by a version of another layout:"
                             " replay it with the version that wrote it")
    try:
        settings = CoreSettings.from_bytes(data[HEADER.size:HEADER.size + fields[7]])
    except SnapshotError as error:
        raise RecordingError(f"{path}: {error}") from None
    found = parse(path, settings, data[HEADER.size + fields[7]:whole - 4])
    check_state(path, found)
    return found._replace(mark=fields[2])


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
            if not event_fits(&made.ev):
                raise RecordingError(f"{path}: event record at byte {at} holds what no event can: the file is damaged")
            events.append(made)
        else:
            raise RecordingError(f"{path}: record of unknown type {head[1]} at byte {at}")
        at += 8 + ((head[0] + 7) & ~7)
    if snapshot is None:
        raise RecordingError(f"{path}: holds no state to begin with")
    return Recording(settings, snapshot, events, checkpoints)


cdef bint event_fits(const event_t* ev):
    """Kinds and codes that exist: what a typed event can be made of."""
    cdef int i
    if ev.kind == EV_HEARD:
        for i in range(ev.frame.row_count):
            if ev.frame.row[i].state > OUT or ev.frame.row[i].vote > NO_NODE:
                return False
        return True
    if ev.kind == 0 or ev.kind > EV_LAST:
        return False
    codes = CODES.get(ev.kind)
    return codes is None or ev.code in codes.__members__.values()


cdef check_state(str path, recording):
    """A state whose indices lie outside of it is none that a core has written."""
    cdef Failover made = Failover(recording.settings)
    cdef const core_t* core = made.core
    cdef const peer_t* peer
    cdef const group_t* grp
    cdef int i, g
    cdef bint fits = True
    for state in [recording.snapshot] + [state for _number, state in recording.checkpoints]:
        try:
            made.restore(state)
        except SnapshotError as error:
            raise RecordingError(f"{path}: {error}: replay it with the version that wrote it") from None
        for g in range(core.cfg.group_count):
            grp = &core.st.group[g]
            fits = fits and grp.state <= OUT and node_fits(grp.promise.holder) and node_fits(grp.target)
            fits = fits and node_fits(grp.last_driver) and grp.cause <= CAUSE_LAST and grp.why <= CAUSE_LAST
            for i in range(MAX_NODES):
                fits = fits and core.st.peer[i].row[g].state <= OUT
        for i in range(MAX_NODES):
            peer = &core.st.peer[i]
            fits = fits and peer.retired_count <= MAX_RETIRED
        if not fits:
            raise RecordingError(f"{path}: a state in it holds what no state can: the file is damaged")


cdef inline bint node_fits(int node) noexcept nogil:
    return node < MAX_NODES or node == THIRD_VOTER or node == NO_NODE


# ---------------------------------------------------------------- replaying
def replay(recording) -> Replay:
    """Run a recording through a fresh core and compare effects and states with what was recorded."""
    cdef core_t* core = <core_t*>calloc(1, sizeof(core_t))
    cdef effects_t* fx = <effects_t*>calloc(1, sizeof(effects_t))
    cdef CoreSettings settings = recording.settings
    cdef RecordedEvent event
    cdef uint64_t digest
    cdef int64_t at_ns = 0
    cdef _Found found = _Found()
    try:
        if core == NULL or fx == NULL:
            raise MemoryError("no memory for the core")
        core_init(core, &settings.c)
        state = recording.snapshot
        if core_restore(core, <const uint8_t*><const char*>state, len(state)) < 0:
            raise RecordingError(f"a state of {len(state)} bytes does not fit these settings")
        checkpoints = list(recording.checkpoints)[::-1]
        for number, event in enumerate(recording.events):
            at_ns = event.ev.now_ns
            compare_states(core, checkpoints, number, at_ns, found)
            core_step(core, &event.ev, fx)
            digest = digest_effects(fx, core_deadline_ns(core))
            if digest != event.digest:
                found.add(Difference(number, at_ns, "effects", event.digest, digest, effects_of(fx),
                                     core_deadline_ns(core)))
        compare_states(core, checkpoints, len(recording.events), at_ns, found)
        return Replay(snapshot_of(core), found.kept, found.count)
    finally:
        free(core)
        free(fx)


cdef class _Found:
    """Differences as they come, the first ones kept."""

    cdef list kept
    cdef int count

    def __cinit__(self):
        self.kept = []

    cdef add(self, difference):
        self.count += 1
        if len(self.kept) < MOST_DIFFERENCES:
            self.kept.append(difference)


cdef tuple effects_of(const effects_t* fx):
    cdef int i
    return tuple((fx.item[i].kind, fx.item[i].code, fx.item[i].group, fx.item[i].node, fx.item[i].link,
                  fx.item[i].epoch, fx.item[i].value, fx.item[i].extra, fx.item[i].stamp) for i in range(fx.count))


cdef bytes snapshot_of(const core_t* core):
    cdef bytearray out = bytearray(core_snapshot_size(core))
    core_snapshot(core, <uint8_t*><char*>out)
    return bytes(out)


cdef compare_states(const core_t* core, list checkpoints, int number, int64_t at_ns, _Found found):
    """`checkpoints` has the next one last."""
    while checkpoints and checkpoints[len(checkpoints) - 1][0] == number:
        recorded = checkpoints.pop()[1]
        got = snapshot_of(core)
        if got != recorded:
            found.add(Difference(number, at_ns, "state", recorded, got))
