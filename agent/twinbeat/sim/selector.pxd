from twinbeat.sim.world cimport item_t, world_t

cdef void select_again(world_t* w, int g) noexcept nogil
cdef void select_none(world_t* w) noexcept nogil
cdef void select_due(world_t* w, const item_t* item) noexcept nogil
cdef bint passes(const world_t* w, int i, int g) noexcept nogil
cdef void output_on(world_t* w, int i, int g) noexcept nogil
cdef void output_off(world_t* w, int i, int g) noexcept nogil
