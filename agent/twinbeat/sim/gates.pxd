from libc.stdint cimport int64_t, uint32_t

from twinbeat.sim.world cimport item_t, world_t

cdef void gate_order(world_t* w, int i, int g, int code, uint32_t epoch, int64_t deadline_l) noexcept nogil
cdef void gate_let_go(world_t* w, int i, int g, int64_t in_ns) noexcept nogil
cdef void gate_due(world_t* w, const item_t* item) noexcept nogil
cdef void gate_drop(world_t* w, const item_t* item) noexcept nogil
cdef void gate_thaw(world_t* w, int i) noexcept nogil
cdef void gate_freeze(world_t* w, int i) noexcept nogil
cdef void hold_over(world_t* w, const item_t* item) noexcept nogil
cdef void contact_due(world_t* w, const item_t* item) noexcept nogil
cdef void tell(world_t* w, int i, int g, int code, uint32_t epoch) noexcept nogil
cdef void unstick(world_t* w, int i, int g) noexcept nogil
