from twinbeat.sim.world cimport world_t

cdef void judge_change(world_t* w, int i, int g, int old, int new, int cause) noexcept nogil
