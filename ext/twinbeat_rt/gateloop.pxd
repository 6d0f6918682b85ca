from twinbeat_rt.shared cimport shared_t

cdef void gate_main(shared_t* page, int agent, int socket, int bell, int answer_bell) noexcept nogil
