from twinbeat.sim.world cimport action_t, world_t

cdef void do_action(world_t* w, int number) noexcept nogil
cdef void undo_action(world_t* w, int number) noexcept nogil
