from libc.stdint cimport int32_t

from twinbeat.sim.world cimport item_t, world_t

cdef item_t* push(world_t* w, long long at, int kind) noexcept nogil
cdef void pop(world_t* w, item_t* out) noexcept nogil
cdef void repush(world_t* w, const item_t* item, long long at) noexcept nogil
cdef int32_t take_slot(world_t* w) noexcept nogil
cdef void drop_slot(world_t* w, int32_t slot) noexcept nogil
cdef void things_init(world_t* w) noexcept nogil
cdef void bring_forward(world_t* w, int link, int i, int j, long long at) noexcept nogil
cdef void things_clear(world_t* w) noexcept nogil
