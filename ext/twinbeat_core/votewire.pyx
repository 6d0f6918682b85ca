"""Frames between a gateway and its third voter, as firmware_bridge/arbiter/frames.py has them (docs/third-voter.md).

Little-endian, without the checksum and stuffing that a serial line adds. Nothing here needs the interpreter, and the
module imports nothing: the gate's process carries it.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from twinbeat_core.little cimport get, put


cdef void vote_put_head(uint8_t* p, int kind, int node, uint16_t pair_id, uint32_t incarnation, uint64_t stamp,
                        uint16_t grant_ms) noexcept nogil:
    """VOTE_ASK_HEAD bytes of a frame to the voter: no rows, no echo yet."""
    memset(p, 0, VOTE_ASK_HEAD)
    p[0], p[1], p[2] = VOTE_VERSION, <uint8_t>kind, <uint8_t>node
    put(p + 4, pair_id, 2)
    put(p + 6, incarnation, 4)
    put(p + 10, stamp, 6)
    put(p + 24, grant_ms, 2)


cdef int vote_put_row(uint8_t* p, int group, uint32_t epoch) noexcept nogil:
    """One more group; the frame's bytes now, or -1 when it is full."""
    cdef int at = VOTE_ASK_HEAD + p[3] * VOTE_ASK_ROW
    if p[3] >= VOTE_ROWS:
        return -1
    p[at] = <uint8_t>group
    put(p + at + 1, epoch, 4)
    p[3] += 1
    return at + VOTE_ASK_ROW


cdef void vote_put_echo(uint8_t* p, uint32_t life, uint32_t clock) noexcept nogil:
    """The voter's life and clock as last heard: that the asker is not deaf."""
    put(p + 16, life, 4)
    put(p + 20, clock, 4)


cdef int vote_read(const uint8_t* p, int size, vote_head_t* head) noexcept nogil:
    """Rows of an answer, or -1 when it is none."""
    if size < VOTE_HEAD or p[0] != VOTE_VERSION or (p[1] != VOTE_ANSWER and p[1] != VOTE_TOLD):
        return -1
    if p[1] == VOTE_ANSWER and (p[3] > VOTE_ROWS or size != VOTE_HEAD + p[3] * VOTE_ROW):
        return -1
    if p[1] == VOTE_TOLD and (p[3] or size != VOTE_TOLD_BYTES):
        return -1
    head.kind, head.node, head.rows = p[1], p[2], p[3]
    head.pair_id = <uint16_t>get(p + 4, 2)
    head.incarnation = <uint32_t>get(p + 6, 4)
    head.stamp = get(p + 10, 6)
    head.life = <uint32_t>get(p + 16, 4)
    head.clock = <uint32_t>get(p + 20, 4)
    head.voter = <uint32_t>get(p + 24, 4)
    head.heard_ms = <uint16_t>get(p + 28, 2)
    return head.rows


cdef void vote_read_row(const uint8_t* p, int index, vote_row_t* row) noexcept nogil:
    cdef const uint8_t* at = p + VOTE_HEAD + index * VOTE_ROW
    row.group, row.code, row.contacts = at[0], at[1], at[2]
    row.epoch = <uint32_t>get(at + 4, 4)
    row.ms = <uint16_t>get(at + 8, 2)
