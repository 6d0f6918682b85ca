from twinbeat_rt.shared cimport histogram_t
from twinbeat_rt.worker cimport rt_t

cdef dict figures_of(rt_t* rt)
cdef dict histogram(const histogram_t* h)
