from twinbeat_core.model cimport frame_t

cdef int frame_to_c(object frame, frame_t* c) except -1
cdef object frame_from_c(const frame_t* c)
