from libc.stdint cimport int64_t, uint8_t

from twinbeat_core.model cimport effect_t
from twinbeat_rt.worker cimport rt_t

cdef void arbiter_collect(rt_t* rt, const effect_t* fx) noexcept nogil
cdef int arbiter_ask(rt_t* rt, uint8_t* body, int size, uint8_t* out) noexcept nogil
cdef int arbiter_repeat(rt_t* rt, uint8_t* out) noexcept nogil
cdef int arbiter_query(rt_t* rt, int64_t now, uint8_t* out) noexcept nogil
cdef int arbiter_hear(rt_t* rt, const uint8_t* body, int size, int64_t at_ns) noexcept nogil
cdef dict arbiter_figures(rt_t* rt)
