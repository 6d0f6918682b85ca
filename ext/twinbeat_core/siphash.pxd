from libc.stdint cimport uint8_t, uint64_t

cdef uint64_t siphash24_c(const uint8_t* key, const uint8_t* data, size_t size) noexcept nogil
