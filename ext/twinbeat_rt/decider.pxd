cdef void* decider_body(void* arg) noexcept nogil
