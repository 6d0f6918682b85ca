"""The flight recorder's ring: every event exactly as the core got it, with a digest of what the core answered.

Variable-length records, oldest overwritten first. The tail moves before anything is overwritten, so a reader that
copies the ring and reads the tail afterwards knows what is whole.
"""
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from twinbeat_core.machine cimport core_deadline_ns, core_snapshot, core_snapshot_size
from twinbeat_core.model cimport EV_HEARD, MAX_GROUPS, MAX_NODES, echo_t, effect_t, effects_t, event_t, row_t
from twinbeat_rt.sysapi cimport rt_fence, rt_load, rt_store
from twinbeat_rt.worker cimport recorder_t, rt_t

cdef enum:
    EVENT_BYTES = 1024           # more than an event and its digest can have


cdef inline uint64_t mix(uint64_t hash, uint64_t value) noexcept nogil:
    hash = (hash ^ value) * <uint64_t>0x100000001b3
    return hash ^ (hash >> 29)


cdef uint64_t digest_effects(const effects_t* fx, int64_t deadline_ns) noexcept nogil:
    """A figure that differs when one effect, its order or the next deadline differs."""
    cdef uint64_t hash = mix(<uint64_t>0xcbf29ce484222325, <uint64_t>fx.count)
    cdef const effect_t* e
    cdef int i
    for i in range(fx.count):
        e = &fx.item[i]
        hash = mix(hash, e.kind | <uint64_t>e.code << 8 | <uint64_t>e.group << 16 | <uint64_t>e.node << 24
                   | <uint64_t>e.link << 32)
        hash = mix(hash, e.epoch)
        hash = mix(hash, <uint64_t>e.value)
        hash = mix(hash, <uint64_t>e.extra)
        hash = mix(hash, e.stamp)
    return mix(hash, <uint64_t>deadline_ns)


cdef int pack_event(const event_t* ev, char* out) noexcept nogil:
    """Event without the unused part of its frame; bytes written."""
    cdef int head = <int>(<size_t>&ev.frame - <size_t>ev)
    cdef int frame_head = <int>(<size_t>&ev.frame.echo - <size_t>&ev.frame)
    cdef int at = head
    memcpy(out, ev, head)
    if ev.kind != EV_HEARD:
        return at
    memcpy(out + at, &ev.frame, frame_head)
    at += frame_head
    memcpy(out + at, &ev.frame.echo, ev.frame.echo_count * sizeof(echo_t))
    at += ev.frame.echo_count * <int>sizeof(echo_t)
    memcpy(out + at, &ev.frame.row, ev.frame.row_count * sizeof(row_t))
    return at + ev.frame.row_count * <int>sizeof(row_t)


cdef int unpack_event(const char* data, int size, event_t* ev) noexcept nogil:
    """The reverse; -1 when the sizes do not fit each other."""
    cdef int head = <int>(<size_t>&ev.frame - <size_t>ev)
    cdef int frame_head = <int>(<size_t>&ev.frame.echo - <size_t>&ev.frame)
    cdef int at = head + frame_head
    cdef int echoes, rows
    memset(ev, 0, sizeof(event_t))
    if size < head:
        return -1
    memcpy(ev, data, head)
    if ev.kind != EV_HEARD:
        return 0 if size == head else -1
    if size < at:
        return -1
    memcpy(&ev.frame, data + head, frame_head)
    echoes = ev.frame.echo_count * <int>sizeof(echo_t)
    rows = ev.frame.row_count * <int>sizeof(row_t)
    if ev.frame.echo_count > MAX_NODES or ev.frame.row_count > MAX_GROUPS or size != at + echoes + rows:
        return -1
    memcpy(&ev.frame.echo, data + at, echoes)
    memcpy(&ev.frame.row, data + at + echoes, rows)
    return 0


cdef void put_bytes(recorder_t* rec, uint64_t at, const char* data, uint64_t size) noexcept nogil:
    cdef uint64_t start = at % rec.cap
    cdef uint64_t first = rec.cap - start
    if first > size:
        first = size
    memcpy(rec.ring + start, data, first)
    memcpy(rec.ring, data + first, size - first)


cdef void take_bytes(recorder_t* rec, uint64_t at, char* out, uint64_t size) noexcept nogil:
    """Copy out of the ring; the decider may write meanwhile."""
    cdef uint64_t start = at % rec.cap
    cdef uint64_t first = rec.cap - start
    if first > size:
        first = size
    memcpy(out, rec.ring + start, first)
    memcpy(out + first, rec.ring, size - first)


cdef uint64_t record_bytes(recorder_t* rec, uint64_t at) noexcept nogil:
    # Records are multiples of eight bytes and so is the ring: a head is never split.
    cdef uint32_t payload
    memcpy(&payload, rec.ring + at % rec.cap, 4)
    return 8 + ((payload + <uint64_t>7) & ~<uint64_t>7)


cdef void make_room(recorder_t* rec, uint64_t size) noexcept nogil:
    while rec.head + size - rec.tail > rec.cap:
        rt_store(&rec.tail, rec.tail + record_bytes(rec, rec.tail))
    rt_fence()


cdef void put_record(recorder_t* rec, uint32_t kind, const char* data, uint32_t size) noexcept nogil:
    cdef uint32_t head[2]
    cdef uint64_t whole = 8 + ((size + <uint64_t>7) & ~<uint64_t>7)
    head[0], head[1] = size, kind
    if whole > rec.cap:
        return
    make_room(rec, whole)
    put_bytes(rec, rec.head, <const char*>head, 8)
    put_bytes(rec, rec.head + 8, data, size)
    rt_store(&rec.head, rec.head + whole)


cdef void record_event(rt_t* rt) noexcept nogil:
    cdef char data[EVENT_BYTES]
    cdef uint64_t digest = digest_effects(&rt.fx, core_deadline_ns(rt.core))
    if rt.rec.ring == NULL:
        return
    memcpy(data, &digest, 8)
    put_record(&rt.rec, RECORD_EVENT, data, 8 + pack_event(&rt.ev, data + 8))


cdef void record_snapshot(rt_t* rt) noexcept nogil:
    """The state between two events: where a replay can begin, and what it is compared with."""
    if rt.rec.ring == NULL:
        return
    core_snapshot(rt.core, rt.rec.state)
    put_record(&rt.rec, RECORD_SNAPSHOT, <const char*>rt.rec.state, core_snapshot_size(rt.core))
