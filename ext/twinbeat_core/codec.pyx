"""The frame on the wire: one layout for every link, framed for a serial line by COBS and CRC-32.

Layout, little-endian (docs/protocol.md, "Frame"): version byte, kind and source, flags, link sequence,
pair, incarnation, send stamp (48 bit), health, load, configuration digest, replication position,
counts, echoes, group rows, SipHash-2-4 tag. A serial line adds CRC-32 (to tell noise from a wrong tag),
COBS (Cheshire, Baker: Consistent Overhead Byte Stuffing, 1999) and a zero byte on either side.
Nothing here needs the interpreter, and the module imports nothing: the gate's process carries it.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset

from twinbeat_core.little cimport get, put
from twinbeat_core.model cimport MAX_GROUPS, MAX_NODES, NO_NODE, frame_t
from twinbeat_core.siphash cimport siphash24_c

cdef uint32_t CRC_TABLE[256]


cdef void fill_crc_table() noexcept:
    cdef uint32_t value
    cdef int i, bit
    for i in range(256):
        value = i
        for bit in range(8):
            value = (value >> 1) ^ (<uint32_t>0xEDB88320 if value & 1 else <uint32_t>0)
        CRC_TABLE[i] = value


fill_crc_table()


cdef inline uint32_t crc32(const uint8_t* data, int size) noexcept nogil:
    cdef uint32_t value = <uint32_t>0xffffffff
    cdef int i
    for i in range(size):
        value = (value >> 8) ^ CRC_TABLE[(value ^ data[i]) & 0xff]
    return value ^ <uint32_t>0xffffffff


cdef inline int body_bytes(int echoes, int rows) noexcept nogil:
    return HEADER_BYTES + echoes * ECHO_BYTES + rows * ROW_BYTES


cdef int wire_encode(const frame_t* frame, uint8_t link_seq, const uint8_t* key, uint8_t* out, int cap) noexcept nogil:
    """Write frame with its tag to out; bytes written, or -1 when cap is too small or a count over its limit."""
    cdef int body = body_bytes(frame.echo_count, frame.row_count)
    cdef uint8_t* p = out
    cdef int i
    if frame.echo_count > MAX_NODES or frame.row_count > MAX_GROUPS or body + TAG_BYTES > cap:
        return -1
    p[0] = (frame.version & 15) | (frame.version_max << 4)
    p[1] = (frame.kind & 15) | (frame.source << 4)
    p[2] = frame.flags
    p[3] = link_seq
    put(p + 4, frame.pair_id, 2)
    put(p + 6, frame.incarnation, 4)
    put(p + 10, frame.stamp, 6)
    p[16] = frame.health
    p[17] = frame.load
    put(p + 18, frame.config_digest, 2)
    put(p + 20, frame.sync_position, 4)
    p[24] = frame.echo_count
    p[25] = frame.row_count
    p += HEADER_BYTES
    for i in range(frame.echo_count):
        p[0] = frame.echo[i].node
        p[1] = frame.echo[i].hears
        put(p + 2, frame.echo[i].grant_ms, 2)
        put(p + 4, frame.echo[i].incarnation, 4)
        put(p + 8, frame.echo[i].stamp, 6)
        p += ECHO_BYTES
    for i in range(frame.row_count):
        p[0] = (frame.row[i].state & 15) | (frame.row[i].vote << 4)
        p[1] = (frame.row[i].flags & 15) | (frame.row[i].prepare << 4)
        put(p + 2, frame.row[i].epoch, 4)
        p += ROW_BYTES
    put(p, siphash24_c(key, out, body), TAG_BYTES)
    return body + TAG_BYTES


cdef int wire_decode(const uint8_t* data, int size, const uint8_t* key, uint16_t pair_id, frame_t* out) noexcept nogil:
    """Check and read one bare frame. Cheap checks first: a foreign pair's frame costs no tag.

    The first six bytes and the tag at the end have the same place in every version, so that a frame of another
    version can be known as one of this pair: on WIRE_UNKNOWN_VERSION version, version_max and source are filled.
    """
    cdef int body = size - TAG_BYTES
    cdef const uint8_t* p = data
    if size < HEADER_BYTES + TAG_BYTES:
        return WIRE_SHORT
    if size > MAX_FRAME:
        return WIRE_BAD_FORM             # before a flood of long pieces costs a tag each
    if get(p + 4, 2) != pair_id:
        return WIRE_OTHER_PAIR
    if siphash24_c(key, data, body) != get(data + body, TAG_BYTES):
        return WIRE_BAD_TAG
    out.version = p[0] & 15
    out.version_max = p[0] >> 4
    out.kind = p[1] & 15
    out.source = p[1] >> 4
    if out.version < WIRE_VERSION_OLDEST or out.version > WIRE_VERSION_NOW:
        return WIRE_UNKNOWN_VERSION
    if p[24] > MAX_NODES or p[25] > MAX_GROUPS or body != body_bytes(p[24], p[25]):
        return WIRE_BAD_FORM
    return read_body(p, out)


cdef int read_body(const uint8_t* data, frame_t* out) noexcept nogil:
    """The rest of a frame whose tag and length are known to be right."""
    cdef const uint8_t* p = data
    cdef int i
    out.flags = p[2]
    out.link_seq = p[3]
    out.pair_id = <uint16_t>get(p + 4, 2)
    out.incarnation = <uint32_t>get(p + 6, 4)
    out.stamp = get(p + 10, 6)
    out.health = p[16]
    out.load = p[17]
    out.config_digest = <uint16_t>get(p + 18, 2)
    out.sync_position = <uint32_t>get(p + 20, 4)
    out.echo_count = p[24]
    out.row_count = p[25]
    if out.source >= MAX_NODES or out.kind > 1:
        return WIRE_BAD_FORM
    p += HEADER_BYTES
    for i in range(out.echo_count):
        out.echo[i].node = p[0]
        out.echo[i].hears = p[1]
        out.echo[i].grant_ms = <uint16_t>get(p + 2, 2)
        out.echo[i].incarnation = <uint32_t>get(p + 4, 4)
        out.echo[i].stamp = get(p + 8, 6)
        if out.echo[i].node >= MAX_NODES:
            return WIRE_BAD_FORM
        p += ECHO_BYTES
    for i in range(out.row_count):
        out.row[i].state = p[0] & 15
        out.row[i].vote = p[0] >> 4
        out.row[i].flags = p[1] & 15
        out.row[i].prepare = p[1] >> 4
        out.row[i].epoch = <uint32_t>get(p + 2, 4)
        if out.row[i].state > 5 or (out.row[i].vote > MAX_NODES and out.row[i].vote != NO_NODE):
            return WIRE_BAD_FORM
        p += ROW_BYTES
    return WIRE_OK


cdef int serial_wrap(const uint8_t* frame, int size, uint8_t* out, int cap) noexcept nogil:
    """CRC-32, COBS, delimiters before and after: the one before ends whatever half frame a dead sender left."""
    cdef uint8_t tail[4]
    cdef int at = 2
    cdef int code_at = 1
    cdef int i
    cdef uint8_t code = 1
    cdef uint8_t byte
    if size > MAX_FRAME or size + 4 + (size + 4) // 254 + 3 > cap:
        return -1
    put(tail, crc32(frame, size), 4)
    out[0] = 0
    for i in range(size + 4):
        byte = frame[i] if i < size else tail[i - size]
        if byte == 0:
            out[code_at] = code
            code_at = at
            at += 1
            code = 1
        else:
            out[at] = byte
            at += 1
            code += 1
            if code == 255:
                out[code_at] = code
                code_at = at
                at += 1
                code = 1
    out[code_at] = code
    out[at] = 0
    return at + 1


cdef void serial_reader_init(serial_reader_t* reader) noexcept nogil:
    memset(reader, 0, sizeof(serial_reader_t))


cdef int unstuff(uint8_t* data, int size) noexcept nogil:
    """COBS in place, then the CRC. Bytes of the bare frame, or -1."""
    cdef int read = 0
    cdef int written = 0
    cdef int code, i
    while read < size:
        code = data[read]
        read += 1
        if read + code - 1 > size:
            return -1
        for i in range(code - 1):
            data[written] = data[read]
            written += 1
            read += 1
        if code < 255 and read < size:
            data[written] = 0
            written += 1
    if written < 5 or crc32(data, written - 4) != get(data + written - 4, 4):
        return -1
    return written - 4


cdef int serial_feed(serial_reader_t* reader, const uint8_t* data, int size, int* used) noexcept nogil:
    """Take bytes up to the next delimiter. n > 0: reader.frame holds a bare frame of n bytes; 0: all used."""
    cdef int i, count
    for i in range(size):
        if data[i]:
            if reader.fill < MAX_WIRE:
                reader.frame[reader.fill] = data[i]
                reader.fill += 1
            else:
                reader.skipping = 1
            continue
        if reader.fill == 0:
            continue
        count = -1 if reader.skipping else unstuff(reader.frame, reader.fill)
        reader.fill = 0
        reader.skipping = 0
        if count > 0:
            used[0] = i + 1
            return count
        reader.noise += 1
    used[0] = size
    return 0
