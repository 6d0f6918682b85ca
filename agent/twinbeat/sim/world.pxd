"""The simulated world in C: plain structs, chance and clocks. Times are virtual nanoseconds of one true clock."""
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from twinbeat_core.model cimport MAX_GROUPS, MAX_LINKS, MAX_NODES, effects_t, event_t
from twinbeat_core.state cimport core_t

cdef enum:
    SIM_ITEMS = 32768       # things under way
    SIM_SLOTS = 8192        # frames under way
    SIM_BACKLOG = 512       # input that waits for a node that stands still; more is lost, as in a full ring
    SIM_HELD = 1024         # frames that a clogged link keeps; more are lost, as in any queue
    SIM_PAST = 64           # frames of each node kept to be replayed
    SIM_FOUND = 64          # violations told one by one; more are counted
    SIM_GAPS = 512          # the same for times without a driver
    GATE_NS = 30000         # from an order to the output
    DEATH_NS = 100000       # from a worker's death to its gate's knowing
    NOTICE_REPEATS = 3
    EVERY = -1


cdef enum:                  # items
    IT_FRAME = 1
    IT_UNDO = 2
    IT_CONTACT = 3          # a contact reaches its new position
    IT_GATE = 4             # a deadline of the gate
    IT_GATE_DROP = 5
    IT_TOLD = 6             # the gate's confirmation reaches the core
    IT_PERSISTED = 7
    IT_NOTICE = 8
    IT_ASK = 9
    IT_VOTE = 10
    IT_RETURN = 11
    IT_VOTER_NOTICE = 12
    IT_HOLD = 13            # the output of a frozen gateway falls by itself
    IT_LEAVE = 14           # a stopping agent looks whether it may end
    IT_LATE = 15            # a thread that does not run is noticed
    IT_SELECT = 16          # the third voter looks at whose contact it should close
    IT_PREPARED = 17        # a taker has prepared

cdef enum:
    VOTE_UNPROVEN = 4       # an answer to the node's client alone; the core hears of no vote

cdef enum:                  # how a node stands still
    RUNS = 0
    STALLED = 1
    FROZEN = 2
    SUSPENDED = 3

ctypedef struct rng_t:
    uint64_t state

ctypedef struct item_t:
    int64_t at
    uint64_t order
    uint8_t kind
    uint8_t node
    uint8_t link
    uint8_t group
    uint8_t code
    uint8_t peer
    uint32_t life
    uint32_t epoch
    int32_t slot
    int64_t value
    uint64_t stamp
    int64_t echo_at         # an ask's or an answer's: the third voter's clock
    uint32_t echo_life

ctypedef struct action_t:
    int64_t at
    int verb, node, peer, link, group
    int64_t value, lasts

ctypedef struct cond_t:     # one link from one node to another
    uint8_t cut
    uint16_t loss, duplicate, reorder, corrupt     # of 1024
    uint16_t held           # frames that wait for a clog to end
    int64_t delay, jitter, clog_until, last_arrival

ctypedef struct clock_s:
    int64_t base_t, base_l, ppb

ctypedef struct gate_t:
    uint8_t on              # what the gate was told last
    uint8_t contact         # what the load sees
    uint8_t wanted          # what it would see if nothing were stuck
    uint8_t level           # gated: the output itself
    uint8_t stuck           # 0 free, 1 welded on, 2 does not close, 3 stays as it is
    uint8_t own_word        # its deadline was given by a node that knew itself alone
    uint32_t gen            # the newest order; a contact on its way to an older one turns round
    uint32_t epoch
    int64_t deadline
    int64_t off_at
    int64_t check           # when the IT_GATE under way comes; 0: none
    int64_t waits           # the release time that a death notice waits for

ctypedef struct pledge_t:   # what a voter has promised
    uint8_t holder
    uint8_t abstains
    uint32_t incarnation, epoch
    uint32_t highest        # the highest epoch it ever promised in any life, to itself too
    uint32_t helped         # the same without its own claims that came to nothing
    int64_t expiry

ctypedef struct node_t:
    uint8_t alive
    uint8_t still
    uint8_t fit, behind
    uint8_t load
    uint8_t unprepared      # what it must prepare fails
    uint8_t deaf            # its receiving threads do not run; timers do
    uint32_t deafness       # number of that episode
    uint8_t last_driver[MAX_GROUPS]
    uint32_t life
    uint32_t incarnation
    uint32_t disk           # epoch ceiling that would survive a loss of power
    int64_t start_l         # local time of the start
    int64_t wake_at
    int64_t thawed_at
    int64_t disk_ns
    int64_t upset_at        # until when something was done to it; not kept by the model check
    int64_t fit_at          # when it last became fit, and unfit
    int64_t unfit_at
    int64_t load_at         # since when its load is what it is
    int64_t moved_at        # its last failback or move by load, in that life
    uint32_t moved_life
    uint8_t told_fit, told_load
    uint8_t was_well        # it had been well for long when that was done
    int64_t leave_at
    int64_t voter_at        # the third voter's clock in its newest answer that came here
    uint32_t voter_life     # and its life; 0: none heard
    uint64_t voter_again    # the stamp whose ask was repeated because that was too old
    clock_s clock
    pledge_t pledge[MAX_GROUPS]       # its promises as they were before the step
    gate_t gate[MAX_GROUPS]
    int waiting
    item_t backlog[SIM_BACKLOG]
    int past_count
    int32_t past[SIM_PAST]
    core_t core

ctypedef struct lease_t:    # what the third voter keeps for a group
    uint8_t holder
    uint32_t incarnation, epoch, floor
    uint64_t stamp
    int64_t until

ctypedef struct selector_t: # a group whose outputs the third voter gates
    uint8_t closed          # whose contact it closes; NO_NODE none
    uint8_t goal            # whose is about to close; NO_NODE none
    uint32_t gen            # the newest move; one on its way to an older goal is void

ctypedef struct voter_t:
    uint8_t exists, alive
    uint8_t cut_ask[MAX_NODES]
    uint8_t cut_answer[MAX_NODES]
    int64_t delay[MAX_NODES]
    uint32_t life
    int64_t listen_until
    selector_t select[MAX_GROUPS]
    lease_t lease[MAX_GROUPS]

ctypedef struct found_t:
    int64_t at
    int rule, excuse, group, node, other
    int64_t length
    uint32_t epoch
    uint8_t open

ctypedef struct gap_t:
    int64_t at, length
    int group, action, before, after

ctypedef struct log_t:
    int64_t at
    int kind, node, group, link
    int64_t a, b, c, d

ctypedef struct params_t:
    uint8_t worst
    int64_t gate_late
    int64_t make[MAX_GROUPS]
    int64_t release[MAX_GROUPS]
    int64_t hold[MAX_GROUPS]
    int64_t latency[MAX_LINKS]
    int64_t jitter[MAX_LINKS]
    uint8_t fifo[MAX_LINKS]
    int64_t ppb[MAX_NODES]
    int64_t persist_least, persist_most
    int64_t voter_least, voter_most
    int64_t voter_grant
    int64_t voter_abstain
    uint8_t voter_hears_gates    # a gate's death notice reaches it; else the peer passes it on
    uint8_t gated           # the third voter's contacts lie between the outputs and the load
    int64_t prepare_least, prepare_most
    int64_t select_make, select_release
    int64_t bound
    uint16_t tolerated[MAX_LINKS]    # loss of 1024 that a link's promise covers
    uint8_t two_promised[MAX_GROUPS] # 1: two drivers are excluded whatever the links do

ctypedef struct group_s:
    int on_count
    uint32_t epoch          # highest that ever drove
    int64_t gap_since       # -1: somebody drives
    int gap_action, gap_before
    int64_t on_at           # the last contact that closed
    uint8_t last            # whose that was
    int64_t changed_at      # when another node's contact closed than the last time; -1: never

ctypedef struct world_t:
    params_t p
    int64_t now
    uint64_t order
    uint64_t steps
    rng_t rng
    int nodes, links, groups
    uint8_t logging
    uint8_t searching       # the model check runs it: nothing is kept that a packed world does not hold
    uint8_t disks_lost      # mask of voters whose disk was lost
    uint8_t clock_bad       # some clock went beyond its bound
    uint8_t broken          # a limit was reached
    int64_t impaired_at     # since when every link is impaired in at least one direction; -1 not
    int64_t impaired_end    # when that last ended
    int64_t links_at        # until when something was done to a link or to the third voter
    int64_t healed
    int64_t touched         # the last change of a contact
    int done                # index of the last action begun
    int items
    item_t heap[SIM_ITEMS]
    int free_count
    int high_slot           # places above it were never used in this run
    int32_t free_slot[SIM_SLOTS]
    int16_t refs[SIM_SLOTS]
    event_t slot[SIM_SLOTS]
    node_t node[MAX_NODES]
    cond_t cond[MAX_LINKS][MAX_NODES][MAX_NODES]
    voter_t voter
    group_s group[MAX_GROUPS]
    effects_t fx
    event_t ev
    int found, found_more
    found_t find[SIM_FOUND]
    int gaps, gaps_more
    gap_t gap[SIM_GAPS]
    int logs, log_room
    log_t* log
    const action_t* action
    int actions, next_action


cdef inline uint64_t rng_next(rng_t* rng) noexcept nogil:
    """SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014)."""
    cdef uint64_t z
    rng.state += <uint64_t>0x9e3779b97f4a7c15
    z = rng.state
    z = (z ^ (z >> 30)) * <uint64_t>0xbf58476d1ce4e5b9
    z = (z ^ (z >> 27)) * <uint64_t>0x94d049bb133111eb
    return z ^ (z >> 31)


cdef inline int64_t rng_below(rng_t* rng, int64_t limit) noexcept nogil:
    return <int64_t>((rng_next(rng) >> 1) % <uint64_t>limit) if limit > 0 else 0


cdef inline int64_t some(world_t* w, int64_t most) noexcept nogil:
    """A time up to `most`; in the worst world all of it."""
    return most if w.p.worst else rng_below(&w.rng, most + 1)


cdef inline int64_t scaled(int64_t d, int64_t part, int64_t whole) noexcept nogil:
    """d * part / whole without leaving 64 bits, for part and whole up to 2^31."""
    return d // whole * part + d % whole * part // whole


cdef inline int64_t local_of(const clock_s* c, int64_t t) noexcept nogil:
    return c.base_l + (t - c.base_t) + scaled(t - c.base_t, c.ppb, 1000000000)


cdef inline int64_t true_of(const clock_s* c, int64_t l) noexcept nogil:
    """The first true moment at which the clock shows l or more."""
    cdef int64_t d = l - c.base_l
    cdef int64_t t
    if l > <int64_t>1 << 61:
        return <int64_t>1 << 61
    t = c.base_t + d - scaled(d, c.ppb, 1000000000 + c.ppb) - 2
    while local_of(c, t) < l:
        t += 1
    return t
