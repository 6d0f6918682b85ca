from libc.stdint cimport int64_t, uint8_t

from twinbeat_core.model cimport effects_t, event_t, settings_t
from twinbeat_core.state cimport core_t

cdef void core_init(core_t* core, const settings_t* settings) noexcept nogil
cdef void core_step(core_t* core, const event_t* ev, effects_t* out) noexcept nogil
cdef int64_t core_deadline_ns(const core_t* core) noexcept nogil
cdef int64_t core_authority_ns(const core_t* core, int group) noexcept nogil
cdef int core_snapshot_size(const core_t* core) noexcept nogil
cdef void core_snapshot(const core_t* core, uint8_t* out) noexcept nogil
cdef int core_restore(core_t* core, const uint8_t* data, int size) noexcept nogil
