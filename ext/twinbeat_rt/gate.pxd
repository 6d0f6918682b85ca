from twinbeat_rt.shared cimport setup_answer_t, setup_t, shared_t


cdef class Gate:
    cdef shared_t* page
    cdef int socket_fd
    cdef int bell_fd
    cdef int answer_bell_fd
    cdef int pid_fd
    cdef unsigned int serial
    cdef bint reaped
    cdef object lock             # one question at a time
    cdef setup_answer_t ask_alone(self, setup_t* message, int fd) except *
    cdef readonly int pid
    cdef setup_answer_t ask(self, setup_t* message, int fd) except *
