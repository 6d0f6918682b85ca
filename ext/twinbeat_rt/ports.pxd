from libc.stdint cimport int64_t, uint8_t

from twinbeat_rt.worker cimport heard_t, io_t, rt_t

cdef void* tty_body(void* arg) noexcept nogil
cdef void* udp_body(void* arg) noexcept nogil
cdef int read_frame(rt_t* rt, int link, const uint8_t* data, int size, heard_t* slot) noexcept nogil
cdef int64_t receiver_late_ns(io_t* io, int64_t now) noexcept nogil
