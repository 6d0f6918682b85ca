from libc.stdint cimport int64_t

from twinbeat.sim.world cimport item_t, world_t

cdef void wake(world_t* w, int i) noexcept nogil
cdef void reach(world_t* w, const item_t* item) noexcept nogil
cdef void prepared(world_t* w, const item_t* item) noexcept nogil
cdef void notice_late(world_t* w, const item_t* item) noexcept nogil
cdef void give_event(
    world_t* w, int i, int kind, int code, int group, int node, int64_t value, int64_t stamp
) noexcept nogil
cdef void node_start(world_t* w, int i, bint disk_lost) noexcept nogil
cdef void node_still(world_t* w, int i, int how) noexcept nogil
cdef void node_resume(world_t* w, int i) noexcept nogil
cdef void node_deaf(world_t* w, int i) noexcept nogil
cdef void node_hears(world_t* w, int i) noexcept nogil
