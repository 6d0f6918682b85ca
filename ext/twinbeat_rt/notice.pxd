from libc.stdint cimport int64_t

from twinbeat_rt.shared cimport gate_t

cdef void notice_again(gate_t* g) noexcept nogil
cdef void notice_begin(gate_t* g) noexcept nogil
cdef void notice_go_on(gate_t* g) noexcept nogil
cdef int notice_done(gate_t* g) noexcept nogil
cdef int64_t notice_next_ns(gate_t* g) noexcept nogil
