from libc.stdint cimport int64_t, uint32_t

from twinbeat_core.state cimport core_t, group_t

cdef bint enter(core_t* core, int g, int trigger, int cause) noexcept nogil
cdef void claim(core_t* core, int g, uint32_t epoch, int cause) noexcept nogil
cdef int bar_cause(const group_t* grp) noexcept nogil
cdef int64_t hold_over_of(const core_t* core, int g) noexcept nogil
cdef void drop_lapsed(core_t* core) noexcept nogil
cdef void settle(core_t* core) noexcept nogil
cdef int64_t groups_deadline(const core_t* core) noexcept nogil
