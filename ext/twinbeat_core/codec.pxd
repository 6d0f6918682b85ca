from libc.stdint cimport uint8_t, uint16_t, uint32_t

from twinbeat_core.model cimport frame_t

cdef enum:
    WIRE_VERSION_NOW = 2
    WIRE_VERSION_OLDEST = 1
    HEADER_BYTES = 26
    ECHO_BYTES = 14
    ROW_BYTES = 6
    TAG_BYTES = 8
    MAX_FRAME = 530            # HEADER + 8 echoes + 64 rows + TAG
    MAX_WIRE = 544             # with CRC-32, COBS and two delimiters

cdef enum:
    WIRE_OK = 0
    WIRE_SHORT = 1
    WIRE_UNKNOWN_VERSION = 2
    WIRE_OTHER_PAIR = 3
    WIRE_BAD_TAG = 4
    WIRE_BAD_FORM = 5

ctypedef struct serial_reader_t:
    int fill
    int skipping               # more bytes than any frame has: drop until the next delimiter
    uint32_t noise             # pieces dropped: bad COBS, bad CRC, too long
    uint8_t frame[544]

cdef int wire_encode(const frame_t* frame, uint8_t link_seq, const uint8_t* key, uint8_t* out, int cap) noexcept nogil
cdef int wire_decode(const uint8_t* data, int size, const uint8_t* key, uint16_t pair_id, frame_t* out) noexcept nogil
cdef int serial_wrap(const uint8_t* frame, int size, uint8_t* out, int cap) noexcept nogil
cdef void serial_reader_init(serial_reader_t* reader) noexcept nogil
cdef int serial_feed(serial_reader_t* reader, const uint8_t* data, int size, int* used) noexcept nogil
