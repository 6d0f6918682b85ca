from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    VOTE_VERSION = 0xD1
    VOTE_ASK = 1
    VOTE_RETURN = 2
    VOTE_DEATH = 3
    VOTE_QUERY = 4
    VOTE_ANSWER = 17
    VOTE_TOLD = 18
    VOTE_ASK_HEAD = 26
    VOTE_ASK_ROW = 5
    VOTE_HEAD = 30
    VOTE_ROW = 10
    VOTE_ROWS = 16             # most groups in one frame
    VOTE_ASK_BYTES = 106
    VOTE_TOLD_BYTES = 66

cdef enum:                     # codes of a row, as in firmware_bridge/arbiter/lease.py
    ROW_PROMISED = 1
    ROW_REFUSED = 2
    ROW_ABSTAINS = 3
    ROW_UNPROVEN = 4
    ROW_OTHER_PAIR = 5
    ROW_WRONG_SIDE = 6
    ROW_WAITS = 7
    ROW_NO_GROUP = 8
    ROW_CODES = 9

ctypedef struct vote_head_t:
    uint8_t kind
    uint8_t node
    uint8_t rows
    uint16_t pair_id
    uint16_t heard_ms          # since the voter heard another gateway than the addressee
    uint32_t incarnation
    uint32_t life              # the voter's start
    uint32_t clock             # its ms
    uint32_t voter             # its id
    uint64_t stamp

ctypedef struct vote_row_t:
    uint8_t group
    uint8_t code
    uint8_t contacts
    uint16_t ms
    uint32_t epoch

cdef void vote_put_head(uint8_t* p, int kind, int node, uint16_t pair_id, uint32_t incarnation, uint64_t stamp,
                        uint16_t grant_ms) noexcept nogil
cdef int vote_put_row(uint8_t* p, int group, uint32_t epoch) noexcept nogil
cdef void vote_put_echo(uint8_t* p, uint32_t life, uint32_t clock) noexcept nogil
cdef int vote_read(const uint8_t* p, int size, vote_head_t* head) noexcept nogil
cdef void vote_read_row(const uint8_t* p, int index, vote_row_t* row) noexcept nogil
