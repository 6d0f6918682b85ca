from libc.stdint cimport int64_t

from twinbeat_core.state cimport core_t

cdef int64_t silence_of(const core_t* core, int node) noexcept nogil
cdef bint is_alone(const core_t* core, int g) noexcept nogil
cdef void note_late(core_t* core, int64_t late_ns) noexcept nogil
cdef void watch_links(core_t* core) noexcept nogil
cdef bint long_deaf(const core_t* core) noexcept nogil
cdef void note_deaf(core_t* core) noexcept nogil
cdef void doubt_self(core_t* core, int64_t grace_ns) noexcept nogil
cdef int64_t peers_deadline(const core_t* core) noexcept nogil
