"""The core's whole changing state: one C struct without pointers, so that a snapshot is a copy."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from twinbeat_core.model cimport (
    MAX_GROUPS, MAX_LINKS, MAX_NODES, MAX_RETIRED, MAX_VOTERS, effects_t, row_t, settings_t,
)

ctypedef struct path_t:
    # One link from one peer to this node.
    uint64_t stamp            # newest send stamp heard on this link
    int64_t heard_ns          # when it was processed; 0 never
    int64_t rx_at_ns          # when it arrived
    int64_t told_ns           # when the peer last said that it hears this node here
    int64_t grant_ns          # promise length now offered over this link: base, lengthened by loss and delay
    int64_t gap_ns            # longest distance between arrivals, this window
    int64_t gap_before_ns     # the same of the window before
    int64_t gap_since_ns
    uint32_t got              # frames of this loss window
    uint32_t lost
    uint32_t loss_1024        # worst of this and the last window
    uint8_t seq
    uint8_t up
    uint8_t rx_dead
    uint8_t tx_dead
    uint32_t late_frames      # too old, replayed or not newer on this link

ctypedef struct peer_t:
    uint8_t known             # its incarnation is proven two-way
    uint8_t dead              # its gate's death notice for that incarnation
    uint8_t flags             # FrameFlag of its newest frame
    uint8_t health
    uint8_t load
    uint8_t suspect           # the fastest link has been silent for one and a half periods
    uint8_t silent            # reported silent
    uint8_t mismatch          # reported: other configuration
    int64_t third_since_ns    # since when its frames say without a break that it reaches the third voter; 0: not
    uint8_t stranger          # other protocol version
    uint8_t version_max       # the newest layout it speaks; 0: not heard
    uint8_t candidate_same    # the life heard but not proven has this configuration
    uint8_t retired_count
    uint16_t grant_ms         # recorded with `stamp`; 0: that frame earned nothing
    uint32_t incarnation
    uint32_t candidate        # an incarnation heard but not proven
    uint32_t retired[MAX_RETIRED]
    uint64_t retired_stamp[MAX_RETIRED]    # newest own stamp when that life was taken for gone
    uint32_t sync_position
    uint64_t stamp            # newest processed of `incarnation`
    uint64_t candidate_stamp
    uint64_t echoed           # newest own stamp it has echoed
    int64_t candidate_ns      # its newest frame
    int64_t candidate_since_ns    # since when such lives are heard without a pause of the longest promise
    uint64_t candidate_on     # groups that it says it drives or is releasing
    int64_t adopted_ns        # when its current life was proven
    int64_t heard_ns          # newest fresh frame on any link, of whichever life
    int64_t life_ns           # newest fresh frame of the current life
    int64_t rows_ns           # when the rows below were taken in
    int64_t proven_ns         # newest frame that proved both directions
    int64_t fresh_ns          # the same, of those that were newer than all before
    int64_t barred_ns         # newest frame of another configuration or version
    int64_t silence_ns        # silence is judged from here: the later of heard and self-doubt
    int64_t beat_ns           # period of the fastest link it is heard on
    row_t row[MAX_GROUPS]
    path_t path[MAX_LINKS]

ctypedef struct promise_t:
    uint8_t holder            # NO_NODE: none
    uint32_t incarnation
    uint32_t epoch
    uint64_t stamp            # the holder's stamp that renewed it last
    int64_t expiry_ns         # never moves back

ctypedef struct vote_t:
    uint32_t epoch            # 0: none
    uint64_t stamp            # own stamp that earned it
    int64_t until_ns          # own clock: stamp + T_L(length recorded with it)

ctypedef struct group_t:
    uint8_t state
    uint8_t cause             # of the last transition
    uint8_t bars              # Bar mask: why it must not claim
    uint8_t target            # node that a planned handover names; NO_NODE none
    uint8_t alone             # drives on its own word
    uint8_t off_seen          # RELEASING: the gate has confirmed
    uint8_t why               # why the last promise to another ended: the Cause of a claim that follows
    uint8_t last_driver       # who drove before this start, as this node remembers; NO_NODE unknown
    uint8_t third_reported    # the third voter has answered with its floor since the start
    uint8_t refused           # claims in a row that the third voter refused because another holds its promise
    uint8_t ceiling_told      # reported once that a claim waits for the disk
    uint8_t driver            # who was last seen to drive; NO_NODE nobody yet
    uint8_t changes           # changes of driver that damping counts
    uint8_t asked             # ACTIVE: node asked to prepare for a handover; NO_NODE none
    uint8_t asked_cause
    uint8_t home              # ACTIVE: the better ranked node that is ready; NO_NODE none
    uint32_t prepare_told     # the driver's epoch for which this node was asked to prepare; 0: not asked
    uint32_t prepared         # the same, once it has
    uint32_t epoch            # own epoch while CLAIMING, ACTIVE, RELEASING
    uint32_t drive_epoch      # the epoch at which the gate was told to drive; claims above it may have followed
    uint32_t floor            # highest epoch ever promised
    uint32_t seen             # highest epoch seen anywhere
    uint32_t far              # highest floor that an abstaining node has shown: claims and reservations go above it
    int64_t auth_until_ns     # ACTIVE: authority; never moves back
    int64_t drive_until_ns    # what the gate was told
    int64_t free_since_ns     # nobody else may drive since then; 0 somebody may
    int64_t hold_off_ns       # not before: after a handover was given
    int64_t off_at_ns         # RELEASING: physically off from then on
    int64_t since_ns
    int64_t third_asked_ns    # when the third voter was asked last
    int64_t third_ok_ns       # its newest promise for this claim, or refusal below an epoch that will be claimed above
    int64_t changed_ns        # newest change of driver
    int64_t quiet_ns          # a change is forgotten when it has been quiet since then for two hold-downs
    int64_t home_since_ns     # since when `home` is ready; 0: none is
    int64_t asked_ns
    uint64_t offered          # newest own stamp that offered the promise to the taker of a handover
    promise_t promise
    vote_t vote[MAX_VOTERS]

ctypedef struct state_t:
    uint32_t settings_hash    # a snapshot belongs to one configuration
    int64_t now_ns
    int64_t deadline_ns
    int64_t started_ns
    int64_t listen_until_ns
    int64_t claim_after_ns    # self-doubt: no claim by silence before
    int64_t third_asked_ns    # when the third voter was asked last, for whatever group
    int64_t third_heard_ns    # its newest answer that was a vote; 0 never
    int64_t deaf_ns           # newest sign that this node did not hear
    int64_t deaf_since_ns     # first of such signs without a pause
    int64_t unfit_ns          # when it last became unfit
    int64_t moved_ns          # newest move by failback or load that this node began; 0 never
    int64_t load_since_ns[MAX_NODES]    # since when this node's load is above that one's by the gap; 0: it is not
    int64_t tx_due_ns[MAX_LINKS]
    int64_t tx_at_ns[MAX_LINKS]
    int64_t asked_ns[MAX_LINKS]
    uint64_t stamp            # newest own
    uint32_t incarnation
    uint32_t ceiling          # highest epoch that may be promised or claimed: it is on disk
    uint32_t ceiling_asked
    uint32_t self_frames      # own name heard with another incarnation
    uint32_t twin             # that incarnation
    uint32_t twin_frames      # how many of it in a row had a newer stamp
    uint64_t twin_stamp
    int64_t twin_ns           # when enough of them came to believe that a second node uses this name
    uint32_t illegal          # triggers that the table refuses
    uint32_t sync_position
    uint8_t started
    uint8_t disk_lost
    uint8_t fit
    uint8_t stopping
    uint8_t behind
    uint8_t health
    uint8_t load
    uint8_t heard_any         # some peer was heard since the start
    uint8_t fast_mask         # slow links now running at their fast period
    uint8_t pending_mask      # links whose frame waits for the next microsecond
    uint8_t told_mask         # peers heard two-way since the start: their epochs are known
    uint8_t reported_mask     # peers that have reported since a start with a lost disk, or in hold
    uint8_t link_seq[MAX_LINKS]
    peer_t peer[MAX_NODES]
    group_t group[MAX_GROUPS]

ctypedef struct core_t:
    settings_t cfg
    effects_t* out            # valid during a step only, no part of a snapshot
    uint8_t send_mask
    uint8_t answer_mask
    uint8_t self_late         # this step began later than the state had asked for
    state_t st

cdef enum:
    BAR_OPERATOR = 1
    BAR_OUTPUT = 2
    BAR_STOP = 4
