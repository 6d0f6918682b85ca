from libc.stdint cimport int64_t

from twinbeat_rt.worker cimport rt_t

cdef void* canary_body(void* arg) noexcept nogil
cdef int64_t canary_late_ns(rt_t* rt, int64_t now) noexcept nogil
