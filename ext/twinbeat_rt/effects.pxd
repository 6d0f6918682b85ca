from libc.stdint cimport int64_t, uint8_t, uint32_t

from twinbeat_rt.worker cimport note_t, rt_t

cdef void carry_out(rt_t* rt) noexcept nogil
cdef note_t* new_note(rt_t* rt, uint8_t kind) noexcept nogil
cdef void put_note(rt_t* rt) noexcept nogil
cdef void ring_due(rt_t* rt) noexcept nogil
