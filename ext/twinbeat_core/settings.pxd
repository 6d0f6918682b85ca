from twinbeat_core.model cimport settings_t


cdef class CoreSettings:
    cdef settings_t c
    cpdef check_link(self, int link)
