from libc.stdint cimport int64_t, uint32_t

from twinbeat.sim.world cimport found_t, world_t

cdef void note(
    world_t* w, int kind, int node, int group, int link, int64_t a, int64_t b, int64_t c, int64_t d
) noexcept nogil
cdef found_t* find(
    world_t* w, int rule, int excuse, int group, int node, int other, int64_t length, uint32_t epoch
) noexcept nogil
cdef void contact_on(world_t* w, int i, int g) noexcept nogil
cdef void contact_off(world_t* w, int i, int g) noexcept nogil
cdef void judge_drive(world_t* w, int i, int g, bint begins, int64_t deadline) noexcept nogil
cdef void judge_pledges(world_t* w, int v) noexcept nogil
cdef void judge_step(world_t* w, int i) noexcept nogil
cdef int drivers_wanted(const world_t* w, int g) noexcept nogil
cdef void judge_end(world_t* w, int64_t until) noexcept nogil
