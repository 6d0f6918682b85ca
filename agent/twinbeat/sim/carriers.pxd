from libc.stdint cimport int32_t

from twinbeat.sim.world cimport cond_t, world_t

cdef void transmit(world_t* w, int i, int j, int link, int32_t slot, int seq) noexcept nogil
cdef void keep_past(world_t* w, int i, int32_t slot) noexcept nogil
cdef void replay_past(world_t* w, int i, int j, int link, int ago) noexcept nogil
cdef void cond_clear(cond_t* c) noexcept nogil
cdef void weigh_links(world_t* w) noexcept nogil
