from twinbeat.sim.world cimport item_t, world_t

cdef void node_end(world_t* w, int i, int how) noexcept nogil
cdef void node_kill(world_t* w, int i) noexcept nogil
cdef void node_leave(world_t* w, int i) noexcept nogil
cdef void notice(world_t* w, const item_t* item) noexcept nogil
cdef void look_to_leave(world_t* w, const item_t* item) noexcept nogil
