from libc.stdint cimport int64_t, uint32_t

from twinbeat_core.model cimport settings_t

cdef int64_t lease_from_grant(const settings_t* s, int64_t grant_ns) noexcept nogil
cdef int64_t grant_from_lease(const settings_t* s, int64_t lease_ns) noexcept nogil
cdef int64_t lease_for_loss(const settings_t* s, int link, uint32_t loss_1024) noexcept nogil
cdef void derive(settings_t* s) noexcept nogil
