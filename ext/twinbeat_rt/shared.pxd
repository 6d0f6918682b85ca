"""The page that agent and gate share, and the messages that prepare the gate. Plain data, no functions with state.

Every field has one writer. The decider publishes an order by storing `request` last; the gate publishes an
answer by moving `answer_head`. All 64-bit fields are read and written with acquire and release.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from twinbeat_core.model cimport KEY_BYTES, MAX_GROUPS, MAX_LINKS, MAX_NODES
from twinbeat_rt.sysapi cimport rt_add, sockaddr_storage

cdef enum:
    LATE_BUCKETS = 24        # bucket n counts lateness below 2^n us; the last one everything above
    ANSWER_SLOTS = 512
    MAX_OUTPUTS = 96
    PATTERN_BYTES = 64
    ARGV_BYTES = 2048
    ARGV_WORDS = 32
    MAX_PEERS = 8
    MAX_HELD = 4
    VOTER_PORT = 8           # the arbiter's port, beside those of the links
    PORTS = 9
    LINK_VOTER = 9           # its kind

cdef enum:                   # why the gate changed a level
    WHY_ORDER = 0
    WHY_EXPIRED = 1          # the deadline passed
    WHY_DEATH = 2
    WHY_FAULT = 3
    WHY_EXIT = 4

ctypedef struct order_t:     # written by the decider
    uint64_t request         # number * 2 + on
    uint64_t last_off        # number of the newest order to switch off: an off is never skipped
    uint64_t epoch
    int64_t deadline_ns
    uint64_t spare[4]        # one cache line per group

ctypedef struct answer_t:    # written by the gate
    uint64_t request
    uint64_t epoch
    int64_t at_ns            # after the last output was written
    uint32_t group
    uint16_t code            # OutputCode
    uint16_t why
    int32_t error            # errno or 0
    int32_t output           # index within all outputs, -1: none in particular
    int32_t stuck            # 1: an output could not be switched off; it may be on

ctypedef struct histogram_t:
    uint64_t count
    uint64_t max_ns
    uint64_t bucket[LATE_BUCKETS]

ctypedef struct shared_t:
    order_t order[MAX_GROUPS]
    answer_t answer[ANSWER_SLOTS]
    uint64_t answer_head     # gate
    uint64_t answer_tail     # decider
    uint64_t answers_lost    # gate: no free slot
    # -------- written by the agent
    uint64_t planned         # 1: a planned end; no notice, outputs to their exit level
    uint64_t echo_incarnation[MAX_NODES]
    uint64_t link_seq[MAX_LINKS]
    uint64_t incarnation
    # -------- written by the gate
    uint64_t ready           # 1: loop entered
    uint64_t dead            # sign of death seen, 1 + its kind
    int64_t dead_at_ns
    uint64_t level[MAX_GROUPS]
    uint64_t wakeups
    uint64_t spins           # times the guard against spinning slept
    uint64_t writes
    uint64_t write_retries
    uint64_t write_errors
    uint64_t drops_expired
    uint64_t refused_expired # orders that came with a passed deadline
    uint64_t notices
    uint64_t notice_errors
    uint64_t stops_started
    uint64_t stops_failed
    histogram_t drop_late    # off-level written after the deadline, ns
    histogram_t look_late    # deadline timer woke after its time, renewals included

cdef inline void late_add(histogram_t* h, int64_t ns) noexcept nogil:
    cdef int n = 0
    cdef int64_t us = ns // 1000
    if ns < 0:
        ns = 0
        us = 0
    while us and n < LATE_BUCKETS - 1:
        us >>= 1
        n += 1
    h.bucket[n] += 1
    h.count += 1
    if <uint64_t>ns > h.max_ns:
        h.max_ns = <uint64_t>ns

# ---------------------------------------------------------------- preparation, over the socket
cdef enum:
    SETUP_OUTPUT = 1         # + descriptor
    SETUP_SAFE = 2           # all outputs known: apply the safe level, answer
    SETUP_LINK = 3           # + descriptor, or none: link gone
    SETUP_IDENTITY = 4
    SETUP_REALTIME = 5
    SETUP_HOLD = 6           # + descriptor
    SETUP_DEATH_PIPE = 7     # + descriptor, no answer: the sender waits for nothing
    SETUP_END = 8

cdef enum:
    OUT_BYTES = 1
    OUT_GPIO = 2
    OUT_NONE = 3

ctypedef struct setup_t:
    uint32_t kind
    uint32_t serial          # repeated in the answer
    int32_t group
    int32_t output_kind
    int32_t exit_hold
    int32_t readback
    int32_t link
    int32_t link_kind
    int32_t fifo
    int32_t lock_memory
    int32_t on_bytes
    int32_t off_bytes
    int32_t argv_words
    int32_t peer_count
    int32_t peer_bytes
    int32_t group_count
    uint64_t gpio_mask
    uint64_t gpio_on
    uint64_t gpio_off
    uint16_t pair_id
    uint16_t config_digest
    uint8_t self_node
    uint8_t node_count
    uint8_t key[KEY_BYTES]
    uint8_t on[PATTERN_BYTES]
    uint8_t off[PATTERN_BYTES]
    char argv[ARGV_BYTES]    # words, each ended by a zero byte
    int64_t wait_ns[MAX_GROUPS]
    sockaddr_storage peer[MAX_PEERS]

ctypedef struct setup_answer_t:
    uint32_t serial
    int32_t error            # errno of the first failure, 0: done
    int32_t index            # the output it happened at
    int32_t second           # errno of the memory lock (SETUP_REALTIME)

# ---------------------------------------------------------------- the gate's own memory
ctypedef struct output_t:
    int32_t group
    int32_t kind
    int32_t fd
    int32_t exit_hold
    int32_t readback
    int32_t on_bytes
    int32_t off_bytes
    int32_t argv_words
    int32_t target           # -1 nothing to do, 0 off, 1 on: what is still being written
    int32_t at               # bytes of that pattern written
    int32_t error            # errno of the last attempt
    int32_t passed           # 1: on within the running switch-on
    int32_t stop_state       # 0 not started, 1 started, -1 failed
    int64_t since_ns         # when this write began
    uint64_t gpio_mask
    uint64_t gpio_on
    uint64_t gpio_off
    uint8_t on[PATTERN_BYTES]
    uint8_t off[PATTERN_BYTES]
    char argv[ARGV_BYTES]

cdef enum:
    LEVEL_OFF = 0
    LEVEL_ON = 1
    LEVEL_TURNING_ON = 2
    LEVEL_TURNING_OFF = 3

ctypedef struct group_t:
    uint64_t seen            # number of the newest order taken
    uint64_t epoch
    int32_t level
    int32_t why              # of the running switch-off
    int32_t error
    int32_t error_output
    int64_t armed_ns         # deadline the timer was set for; RT_NEVER: none
    int64_t off_at_ns        # when the last output went off, 0: never driven
    int32_t repairing        # 1: an off-level that failed before is being written again, unasked
    int32_t failed           # 1: off was ordered and not every output could be switched
    int64_t wait_ns          # release minus make: how long off is not yet open

ctypedef struct notice_link_t:
    int32_t fd
    int32_t kind
    int32_t peer_count
    int32_t peer_bytes
    int32_t at               # bytes of the pending notice written
    int32_t size             # 0: nothing pending
    int32_t gone
    uint8_t seq
    uint8_t data[544]
    sockaddr_storage peer[MAX_PEERS]

ctypedef struct gate_t:
    shared_t* page
    int32_t agent            # process id
    int32_t ep
    int32_t socket
    int32_t bell             # rung by the decider
    int32_t answer_bell      # rung by the gate, once a round
    int32_t answers_due
    int32_t timer
    int32_t death_signal
    int32_t agent_pidfd
    int32_t death_pipe
    int32_t dead
    int32_t ending
    int32_t done
    int32_t identity_known
    int32_t notices_left
    int32_t stops_done
    int32_t output_count
    int32_t group_count
    int64_t now_ns
    int64_t next_notice_ns
    int64_t give_up_ns
    int64_t repair_ns        # when outputs that failed to go off are tried again
    int32_t repaired         # 1: one of them went off after the agent's death
    uint16_t pair_id
    uint16_t config_digest
    uint8_t self_node
    uint8_t node_count
    uint8_t key[KEY_BYTES]
    int32_t held[MAX_HELD]
    group_t group[MAX_GROUPS]
    output_t output[MAX_OUTPUTS]
    notice_link_t link[PORTS]
    setup_t setup
