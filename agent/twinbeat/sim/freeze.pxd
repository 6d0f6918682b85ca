from libc.stdint cimport uint8_t, uint64_t

from twinbeat.sim.world cimport world_t

cdef enum:
    PACK_BYTES = 1 << 20      # room for a world of any size

cdef int pack(world_t* w, uint8_t* out) noexcept nogil
cdef void unpack(world_t* w, const uint8_t* data) noexcept nogil
cdef uint64_t hash_bytes(const uint8_t* data, int size) noexcept nogil
