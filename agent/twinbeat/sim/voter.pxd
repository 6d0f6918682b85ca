from libc.stdint cimport uint32_t, uint64_t

from twinbeat.sim.world cimport item_t, world_t

cdef void voter_ask(world_t* w, int i, int g, uint32_t epoch, uint64_t stamp, bint gives_back) noexcept nogil
cdef void voter_hear_ask(world_t* w, const item_t* item) noexcept nogil
cdef void voter_hear_return(world_t* w, const item_t* item) noexcept nogil
cdef void voter_hear_death(world_t* w, const item_t* item) noexcept nogil
cdef void voter_start(world_t* w) noexcept nogil
cdef void voter_kill(world_t* w) noexcept nogil
cdef void note_answer(world_t* w, const item_t* item) noexcept nogil
