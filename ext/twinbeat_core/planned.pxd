from libc.stdint cimport int64_t, uint8_t

from twinbeat_core.model cimport frame_t
from twinbeat_core.state cimport core_t

cdef void give(core_t* core, int g, int target, int cause) noexcept nogil
cdef void begin_move(core_t* core, int g, int target, int cause) noexcept nogil
cdef bint reaches_load(const core_t* core, int g, int node) noexcept nogil
cdef bint takes(const core_t* core, int g, int target, int cause) noexcept nogil
cdef void refuse(core_t* core, int g, int target, int reason) noexcept nogil
cdef bint held(const core_t* core, int g, int free_changes) noexcept nogil
cdef int64_t held_until(const core_t* core, int g) noexcept nogil
cdef int64_t failback_at(const core_t* core, int g) noexcept nogil
cdef uint8_t prepare_word(const core_t* core, int g) noexcept nogil
cdef void hear_prepare(core_t* core, const frame_t* frame) noexcept nogil
cdef void count_all_changes(core_t* core) noexcept nogil
cdef void plan(core_t* core) noexcept nogil
