from libc.stdint cimport int64_t

from twinbeat_rt.shared cimport gate_t

cdef void drive_orders(gate_t* g) noexcept nogil
cdef void drive_deadlines(gate_t* g) noexcept nogil
cdef void drive_pending(gate_t* g) noexcept nogil
cdef void drive_on_off(gate_t* g, int why) noexcept nogil
cdef void drive_others_off(gate_t* g, int why) noexcept nogil
cdef void drive_exit(gate_t* g) noexcept nogil
cdef int drive_safe(gate_t* g, int* index) noexcept nogil
cdef void drive_repair(gate_t* g) noexcept nogil
cdef int drive_failed(gate_t* g) noexcept nogil
cdef int drive_busy(gate_t* g) noexcept nogil
cdef int64_t drive_next_ns(gate_t* g) noexcept nogil
