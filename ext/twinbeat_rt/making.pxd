from twinbeat_rt.worker cimport rt_t

cdef make_core(rt_t* rt, int record_bytes)
cdef list make_descriptors(rt_t* rt)
cdef make_threads_known(rt_t* rt)
cdef close_descriptors(rt_t* rt)
