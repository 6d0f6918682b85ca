from twinbeat_core.state cimport core_t

cdef dict view_of(const core_t* core)
