from twinbeat_core.settings cimport CoreSettings
from twinbeat.sim.world cimport action_t, rng_t, world_t


cdef class Engine:
    cdef world_t* w
    cdef readonly object spec
    cdef readonly list settings
    cdef load(self, spec)
    cdef reset(self, unsigned long long seed)
    cdef result(self, until, order, bint log)
    cdef list log_of(self, order)
    cdef long long bound_of(self, CoreSettings s)


cdef class Rng:
    cdef rng_t rng

cdef bint advance(world_t* w, long long until) noexcept nogil
