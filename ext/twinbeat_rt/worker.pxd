"""Memory of the worker's real-time threads: one struct, allocated once, every field with one writer.

Rings have one producer and one consumer; `head` belongs to the producer, `tail` to the consumer. Where Python is
on one side, the interpreter lock makes its threads one.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from twinbeat_core.machine cimport core_t
from twinbeat_core.model cimport KEY_BYTES, MAX_GROUPS, MAX_LINKS, effects_t, event_t, frame_t, settings_t
from twinbeat_core.codec cimport MAX_FRAME, MAX_WIRE, serial_reader_t
from twinbeat_core.votewire cimport ROW_CODES, VOTE_ASK_BYTES, VOTE_TOLD_BYTES, vote_row_t
from twinbeat_rt.shared cimport MAX_PEERS, PORTS, histogram_t, setup_t, shared_t
from twinbeat_rt.sysapi cimport pthread_t, rt_load, rt_store, sockaddr_storage

cdef enum:
    RX_SLOTS = 64
    TX_SLOTS = 32
    EVENT_SLOTS = 64
    NOTE_SLOTS = 2048
    SEND_SLOTS = 128
    PORT_SLOTS = 16
    VOTE_SLOTS = 64

ctypedef struct ring_t:
    uint64_t head
    uint64_t pad1[7]             # producer and consumer on different cache lines
    uint64_t tail
    uint64_t pad2[7]
    uint64_t lost                # producer: no free slot

ctypedef struct heard_t:
    int64_t rx_at_ns
    int32_t link
    int32_t code                 # WireCode: 0, or a frame of another version
    frame_t frame

ctypedef struct packet_t:
    int64_t at_ns
    int64_t good_until_ns        # a heartbeat that was not written by then is worth nothing
    int32_t link
    int32_t size
    uint8_t data[MAX_WIRE]

cdef enum:                       # kinds of note_t
    NOTE_REPORT = 1
    NOTE_PERSIST = 2
    NOTE_DRIVE = 3
    NOTE_OUTPUT = 4
    NOTE_ASK = 5
    NOTE_RETURN = 6
    NOTE_GATE_GONE = 7
    NOTE_ZOMBIE = 8
    NOTE_EFFECTS_LOST = 9

ctypedef struct note_t:
    uint8_t kind
    uint8_t code
    uint8_t group
    uint8_t node
    uint8_t link
    uint32_t epoch
    int64_t at_ns
    int64_t value
    int64_t extra
    uint64_t stamp

ctypedef struct port_change_t:   # Python hands a descriptor to a thread
    int32_t link
    int32_t fd                   # -1: unplugged
    int32_t peer_count
    int32_t peer_bytes
    sockaddr_storage peer[MAX_PEERS]

ctypedef struct link_count_t:
    uint64_t rx_frames
    uint64_t rx_bytes
    uint64_t bad_tag
    uint64_t bad_form
    uint64_t other_pair
    uint64_t other_version
    uint64_t short_frames
    uint64_t noise
    uint64_t stranger            # UDP: from an address that is no peer
    uint64_t tx_frames
    uint64_t tx_dropped          # not written within its period
    uint64_t tx_errors
    uint64_t faults              # unplugged, hung up

ctypedef struct port_t:
    int32_t fd                   # -1: none
    int32_t peer_count
    int32_t peer_bytes
    int32_t out_at
    int32_t out_size             # 0: nothing pending
    int32_t unread               # 1: the last round ended at its bound; no new edge will tell of the rest
    int32_t queued               # bytes in the driver at most: its own count when last asked, and what went in since
    int64_t out_until_ns
    uint64_t noise_before        # counted on the descriptors before this one
    serial_reader_t reader
    uint8_t out[MAX_WIRE]
    sockaddr_storage peer[MAX_PEERS]

ctypedef struct io_t:            # one receiving and sending thread
    pthread_t thread
    int32_t ep
    int32_t bell
    int32_t priority
    int32_t sched_error          # errno of the scheduling call
    int32_t wait_ms              # it comes round at least this often; a little longer than frames take to come
    int64_t tick_ns              # how old its stamp may be before it counts as late
    uint64_t running
    uint64_t stop
    int64_t stamp_ns             # when it last began to wait
    uint64_t attached            # ports with a descriptor
    uint64_t spins
    uint64_t fault[PORTS]        # errno * 2^32 + count: Python sees each change
    ring_t rx
    ring_t tx
    ring_t change
    heard_t rx_slot[RX_SLOTS]
    packet_t tx_slot[TX_SLOTS]
    port_change_t change_slot[PORT_SLOTS]
    port_t port[PORTS]

ctypedef struct canary_t:
    pthread_t thread
    int32_t master
    int32_t slave
    uint64_t running
    uint64_t stop
    int64_t tick_ns              # an ordinary thread ran
    int64_t probe_ns             # a byte is on its way through the private tty since then; 0 none
    histogram_t late

ctypedef struct recorder_t:
    uint8_t* ring
    uint8_t* state               # room for one snapshot
    uint64_t cap
    uint64_t head                # bytes ever written
    uint64_t tail                # oldest whole record
    int64_t next_snapshot_ns
    uint64_t want_snapshot       # Python
    uint64_t have_snapshot       # decider

ctypedef struct vote_slot_t:
    int64_t at_ns
    uint64_t stamp
    vote_row_t row

ctypedef struct notice_t:        # the newest death notice of a link, as it came: signed, so it can be passed on
    int32_t size
    uint8_t source
    uint8_t data[MAX_FRAME]

ctypedef struct arbiter_t:       # the client of the arbiter: the decider writes asks, the tty thread all the rest
    uint64_t here                # 1: the third voter is an arbiter, served here
    uint32_t voter               # its id
    uint16_t grant_ms
    int32_t ask_bytes            # decider: the ask and the return under construction
    int32_t return_bytes
    uint8_t ask[VOTE_ASK_BYTES]
    uint8_t back[VOTE_ASK_BYTES]
    # -------- tty thread
    uint32_t life                # of the newest answer
    uint32_t clock
    uint64_t again_stamp         # this ask was answered as unproven
    uint64_t repeated_stamp      # this one was repeated, once
    int32_t last_bytes
    uint8_t last[VOTE_ASK_BYTES]
    int64_t query_at_ns
    int64_t heard_at_ns
    uint32_t voter_heard         # the id that answers, right or wrong
    uint16_t heard_ms            # since it heard the other gateway, then
    uint8_t contacts[MAX_GROUPS]
    uint8_t code[MAX_GROUPS]     # what it answered last for the group
    int64_t row_at_ns[MAX_GROUPS]
    uint8_t told[VOTE_TOLD_BYTES]
    uint64_t told_count
    uint64_t asks, queries, repeats
    uint64_t answers
    uint64_t rows[ROW_CODES]     # by the answer's code
    uint64_t bad_form, other_voter, other_node
    uint64_t lives               # starts seen
    histogram_t round_trip

ctypedef struct rt_t:
    settings_t settings
    uint8_t key[KEY_BYTES]
    core_t* core
    shared_t* page
    io_t tty
    io_t udp
    canary_t canary
    recorder_t rec
    pthread_t thread
    int32_t fifo
    int32_t ep
    int32_t timer
    int32_t wake                 # eventfd: something for the decider
    int32_t notify               # eventfd: something for Python
    int32_t gate_bell
    int32_t gate_due, notify_due     # bells to ring at the end of the step
    int32_t answer_bell
    int32_t gate_socket
    int32_t gate_pidfd
    int32_t death_pipe           # write end, in the decider's own descriptor table
    int32_t sched_error
    int32_t unshare_error
    int32_t gate_gone
    uint64_t running
    uint64_t stop
    ring_t heard                 # frames that Python received (MQTT)
    heard_t heard_slot[RX_SLOTS]
    ring_t event
    event_t event_slot[EVENT_SLOTS]
    ring_t note
    note_t note_slot[NOTE_SLOTS]
    ring_t send
    packet_t send_slot[SEND_SLOTS]
    link_count_t count[PORTS]
    arbiter_t arbiter
    ring_t vote                  # from the tty thread
    vote_slot_t vote_slot[VOTE_SLOTS]
    notice_t notice[PORTS]
    uint64_t order_number[MAX_GROUPS]
    event_t ev
    effects_t fx
    setup_t setup
    uint8_t health_code
    int64_t health_value
    uint64_t health_stamp
    int32_t zombie
    int64_t zombie_ns
    int64_t python_ns            # Python's last sign of life
    int64_t resumed_ns           # the decider itself stood still until then
    int64_t late_limit_ns        # canary and receivers: later than this and silence proves nothing
    int64_t late_told_ns
    int64_t armed_ns
    uint64_t steps
    uint64_t wakeups
    uint64_t spins
    uint64_t late_events
    uint64_t extends_refused     # a renewal that came after its deadline
    uint64_t effects_dropped
    histogram_t late
    uint64_t want_view
    uint64_t have_view
    uint8_t* view                # a snapshot for Python

cdef inline int ring_full(ring_t* r, uint64_t slots) noexcept nogil:
    if r.head - rt_load(&r.tail) >= slots:
        r.lost += 1
        return 1
    return 0

cdef inline void ring_put(ring_t* r) noexcept nogil:
    rt_store(&r.head, r.head + 1)

cdef inline int ring_empty(ring_t* r) noexcept nogil:
    return rt_load(&r.head) == r.tail

cdef inline void ring_take(ring_t* r) noexcept nogil:
    rt_store(&r.tail, r.tail + 1)
