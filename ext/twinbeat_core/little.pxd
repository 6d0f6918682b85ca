"""Little-endian numbers of `count` bytes, inline: who cimports them imports no module."""
from libc.stdint cimport uint8_t, uint64_t


cdef inline void put(uint8_t* p, uint64_t value, int count) noexcept nogil:
    cdef int i
    for i in range(count):
        p[i] = <uint8_t>(value >> (8 * i))


cdef inline uint64_t get(const uint8_t* p, int count) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(count):
        value |= <uint64_t>p[i] << (8 * i)
    return value
