from twinbeat_rt.worker cimport rt_t

cdef dict figures_of(rt_t* rt)
