from libc.stdint cimport int64_t

from twinbeat_core.state cimport core_t

cdef bint other_drives(const core_t* core, int g) noexcept nogil
cdef bint other_drives_above(const core_t* core, int g) noexcept nogil
cdef bint newcomer(const core_t* core, int g, int node) noexcept nogil
cdef bint fit_one_drives(const core_t* core, int g) noexcept nogil
cdef int64_t barred_until(const core_t* core) noexcept nogil
cdef bint other_claims(const core_t* core, int g) noexcept nogil
cdef bint other_claims_above(const core_t* core, int g) noexcept nogil
cdef int best_target(const core_t* core, int g) noexcept nogil
cdef int64_t claim_wait(const core_t* core, int g) noexcept nogil
cdef bint may_drive(const core_t* core, int g, int node) noexcept nogil
cdef bint ready(const core_t* core, int g, int node) noexcept nogil
cdef bint believed(const core_t* core, int node) noexcept nogil
cdef int64_t belief_ends_ns(const core_t* core, int g) noexcept nogil
