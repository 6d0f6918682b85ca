from libc.stdint cimport int64_t, uint8_t

from twinbeat_core.state cimport core_t

cdef uint8_t version_spoken(const core_t* core) noexcept nogil
cdef void schedule(core_t* core) noexcept nogil
cdef void compose(core_t* core) noexcept nogil
cdef int64_t sending_deadline(const core_t* core) noexcept nogil
