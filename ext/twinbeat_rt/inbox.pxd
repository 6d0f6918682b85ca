from twinbeat_rt.worker cimport note_t

cdef translate(note_t* n, list out)
