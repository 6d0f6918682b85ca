from libc.stdint cimport int64_t, uint64_t

from twinbeat_core.model cimport effects_t, event_t
from twinbeat_rt.worker cimport recorder_t, rt_t

cdef enum:
    RECORD_EVENT = 1
    RECORD_SNAPSHOT = 2
    RECORD_HEAD = 8              # payload bytes, type
    SNAPSHOT_EVERY_NS = 10000000000

cdef uint64_t digest_effects(const effects_t* fx, int64_t deadline_ns) noexcept nogil
cdef void take_bytes(recorder_t* rec, uint64_t at, char* out, uint64_t size) noexcept nogil
cdef void record_event(rt_t* rt) noexcept nogil
cdef void record_snapshot(rt_t* rt) noexcept nogil
cdef int pack_event(const event_t* ev, char* out) noexcept nogil
cdef int unpack_event(const char* data, int size, event_t* ev) noexcept nogil
