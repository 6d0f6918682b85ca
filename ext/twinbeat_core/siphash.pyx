"""SipHash-2-4: a 64-bit keyed tag for short messages (Aumasson, Bernstein: SipHash, INDOCRYPT 2012)."""
from libc.stdint cimport uint8_t, uint64_t

from .errors import SettingsError


cdef inline uint64_t rotl(uint64_t x, int bits) noexcept nogil:
    return (x << bits) | (x >> (64 - bits))


cdef inline uint64_t load64(const uint8_t* p) noexcept nogil:
    # Byte by byte: alignment and byte order of the machine do not matter.
    return (<uint64_t>p[0] | (<uint64_t>p[1] << 8) | (<uint64_t>p[2] << 16) | (<uint64_t>p[3] << 24)
            | (<uint64_t>p[4] << 32) | (<uint64_t>p[5] << 40) | (<uint64_t>p[6] << 48) | (<uint64_t>p[7] << 56))


cdef inline void sip_rounds(uint64_t* v, int rounds) noexcept nogil:
    cdef int i
    for i in range(rounds):
        v[0] += v[1]
        v[1] = rotl(v[1], 13) ^ v[0]
        v[0] = rotl(v[0], 32)
        v[2] += v[3]
        v[3] = rotl(v[3], 16) ^ v[2]
        v[0] += v[3]
        v[3] = rotl(v[3], 21) ^ v[0]
        v[2] += v[1]
        v[1] = rotl(v[1], 17) ^ v[2]
        v[2] = rotl(v[2], 32)


cdef uint64_t siphash24_c(const uint8_t* key, const uint8_t* data, size_t size) noexcept nogil:
    cdef uint64_t k0 = load64(key)
    cdef uint64_t k1 = load64(key + 8)
    cdef uint64_t v[4]
    cdef uint64_t word
    cdef size_t at = 0
    cdef size_t i
    v[0] = k0 ^ <uint64_t>0x736f6d6570736575
    v[1] = k1 ^ <uint64_t>0x646f72616e646f6d
    v[2] = k0 ^ <uint64_t>0x6c7967656e657261
    v[3] = k1 ^ <uint64_t>0x7465646279746573
    while at + 8 <= size:
        word = load64(data + at)
        v[3] ^= word
        sip_rounds(v, 2)
        v[0] ^= word
        at += 8
    word = (<uint64_t>size & 0xff) << 56
    for i in range(size - at):
        word |= <uint64_t>data[at + i] << (8 * i)
    v[3] ^= word
    sip_rounds(v, 2)
    v[0] ^= word
    v[2] ^= 0xff
    sip_rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def siphash24(bytes key not None, bytes data not None) -> int:
    """The 64-bit SipHash-2-4 tag of `data` under the 16-byte `key`.

    Raises SettingsError when the key is not 16 bytes long.
    """
    if len(key) != 16:
        raise SettingsError([f"key: {len(key)} bytes; SipHash-2-4 takes 16"])
    return siphash24_c(<const uint8_t*><char*>key, <const uint8_t*><char*>data, len(data))
