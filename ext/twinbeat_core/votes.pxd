from libc.stdint cimport int64_t, uint8_t, uint32_t

from twinbeat_core.model cimport echo_t, frame_t
from twinbeat_core.state cimport core_t

cdef uint32_t next_epoch(uint32_t above, int node) noexcept nogil
cdef uint32_t claim_base(const core_t* core, int g) noexcept nogil
cdef bint by_word(const core_t* core, int g) noexcept nogil
cdef bint promise_free(const core_t* core, int g) noexcept nogil
cdef void give_promise(core_t* core, int g, int node, uint32_t epoch, int64_t grant_ns) noexcept nogil
cdef void promise_self(core_t* core, int g, uint32_t epoch) noexcept nogil
cdef void end_promise(core_t* core, int g) noexcept nogil
cdef void hear_rows(core_t* core, const frame_t* frame, bint proven) noexcept nogil
cdef bint recovered(const core_t* core) noexcept nogil
cdef void note_report(core_t* core, int node) noexcept nogil
cdef void count_votes(core_t* core, int node, const frame_t* frame) noexcept nogil
cdef int64_t authority(const core_t* core, int g) noexcept nogil
cdef int64_t answered_ns(const core_t* core, int g) noexcept nogil
cdef uint32_t ceiling_above(uint32_t base, uint32_t block) noexcept nogil
cdef void top_up(core_t* core) noexcept nogil
