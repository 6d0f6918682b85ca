"""The C types of the core: limits, enums, settings, state, frames, events and effects.

Everything here is plain old data. A state can therefore be copied, compared, hashed and written to a
file, which is what snapshot, the flight recorder, replay and the model checker rely on.
Times are int64 nanoseconds of one monotonic clock (CLOCK_BOOTTIME in the agent, virtual in the simulator).
Send stamps are uint64 microseconds of that same clock, 48 bits on the wire.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    MAX_NODES = 8          # four bits on the wire, three in an epoch
    MAX_GROUPS = 64
    MAX_LINKS = 8          # one bit each in a frame's hears mask
    MAX_VOTERS = 9         # the nodes and at most one third voter
    THIRD_VOTER = 8        # its index among the voters
    NO_NODE = 15           # "nobody" in a vote; 0-7 are nodes, 8 is the third voter
    PREPARED = 15          # in a row's prepare: what the driver asked for is done
    MAX_EFFECTS = 448      # four per group, two per link and peer, and some; overflow is counted in effects_t.dropped
    MAX_RETIRED = 4        # past incarnations remembered per peer
    KEY_BYTES = 16
    EPOCH_NODE_BITS = 3    # low bits of an epoch name the node that made it

cdef enum:
    NEVER_NS = 0x7fffffffffffffff

cpdef enum State:
    LISTEN = 0
    STANDBY = 1
    CLAIMING = 2
    ACTIVE = 3
    RELEASING = 4
    OUT = 5

cpdef enum EventKind:
    EV_START = 1       # incarnation, epoch = persisted ceiling, value = 1 if the disk was lost
    EV_HEARD = 2       # link, frame, rx_at_ns
    EV_LINK = 3        # link, code = 1 up / 0 down at the transport: a hint, never a decision
    EV_VOTE = 4        # third voter: code = VoteCode, group, epoch, stamp, value = ns of its or another's promise
    EV_HEALTH = 5      # code = 1 fit / 0 unfit to drive, value = score 0..100, stamp = load 0..100
    EV_OUTPUT = 6      # group, epoch, code = OutputCode
    EV_SYNC = 7        # value = position, code = 1 in step / 0 behind
    EV_COMMAND = 8     # code = CommandCode, group, node
    EV_WAKE = 9        # the deadline passed
    EV_PERSISTED = 10  # epoch = ceiling now on disk
    EV_LATE = 11       # code = LateCode, value = ns: a thread this node judges silence by did not run

cpdef enum VoteCode:
    VOTE_PROMISED = 1
    VOTE_REFUSED = 2
    VOTE_GONE = 3

cpdef enum OutputCode:
    OUTPUT_DRIVEN = 1      # every fast output of the group is on
    OUTPUT_OFF = 2         # every output of the group has been switched off
    OUTPUT_FAILED = 3      # an output could not be switched
    OUTPUT_MISMATCH = 4    # read-back disagrees

cpdef enum CommandCode:
    CMD_HANDOVER = 1       # group, node = taker (NO_NODE: the best candidate)
    CMD_OUT = 2            # group leaves service on this node
    CMD_IN = 3             # group returns to service
    CMD_STOP = 4           # the node is about to stop: hand over every group, then go OUT
    CMD_CLEAR = 5          # clear a fault bar
    CMD_LAST_DRIVER = 6    # group, node: who drove before this start, for the order of a cold start
    CMD_MOVE = 7           # group, node = taker: a proposed handover, which damping may hold down
    CMD_PREPARED = 8       # group: what had to be prepared here before a handover is done

cpdef enum LateCode:
    LATE_DECIDER = 1       # the decider itself woke late
    LATE_RECEIVER = 2      # a receiving thread did
    LATE_CANARY = 3        # the ordinary-priority canary did: tty input may be stuck behind it

cpdef enum EffectKind:
    FX_SEND = 1            # value = link mask, code = frame flags; the frame is effects_t.frame
    FX_DRIVE = 2           # group, epoch, code = DriveCode, value = deadline_ns
    FX_ASK = 3             # third voter: group, epoch, stamp
    FX_RETURN = 4          # group, epoch: own promise given back (to the third voter)
    FX_REPORT = 5          # code = ReportCode, group / link / node, epoch, value, extra
    FX_PERSIST = 6         # epoch = ceiling to write

cpdef enum DriveCode:
    DRIVE_OFF = 0
    DRIVE_ON = 1           # claimed: drive until deadline_ns
    DRIVE_EXTEND = 2       # the deadline of a driven group moved on

cpdef enum ReportCode:
    RP_STATE = 1           # group, node = old state, value = new state, extra = Cause
    RP_LINK_UP = 2         # link, node
    RP_LINK_DOWN = 3
    RP_RX_DEAD = 4         # the peer's frames no longer arrive on this link, ours do
    RP_TX_DEAD = 5         # ours no longer arrive there
    RP_LINK_OK = 6         # a one-way fault ended
    RP_PEER_UP = 7         # node, extra = incarnation: proven two-way
    RP_PEER_SILENT = 8     # node: silent on every link for the suspicion time
    RP_PEER_DEAD = 9       # node: its gate's death notice, value = incarnation; extra = 1: one that names more groups
    RP_CONFIG_MISMATCH = 10
    RP_VERSION_MISMATCH = 11
    RP_SELF_LATE = 12      # value = ns, extra = LateCode
    RP_HANDOVER_REFUSED = 13   # value = RefusalCode, node = the taker
    RP_GRANT = 14          # node, value = offered grant_ns, extra = measured loss in 1/1024
    RP_EPOCH_CEILING = 15  # claim held back until the epoch block is on disk
    RP_OUTPUT_FAULT = 16
    RP_PREPARE = 17        # group, node = giver, epoch: prepare to take over
    RP_HELD = 18           # group, value = ns for which moves are held down, extra = changes of driver counted

cpdef enum RefusalCode:
    REFUSED_NOT_DRIVING = 1    # this node does not drive it
    REFUSED_NOBODY = 2         # no other node that could take it is heard
    REFUSED_NOT_READY = 3      # the taker is not fit, not in service, or may not drive it
    REFUSED_UNPREPARED = 4     # it did not say in time that it is prepared
    REFUSED_HELD = 5           # moves are held down
    REFUSED_SHARED = 6         # not exclusive: every node drives it already

cpdef enum Cause:
    CAUSE_NONE = 0
    CAUSE_START = 1            # agent started
    CAUSE_LISTEN_OVER = 2      # abstention ended
    CAUSE_COLD_START = 3       # nobody drives and this node ranks first
    CAUSE_SILENCE = 4          # the holder's promise ran out in silence on every link
    CAUSE_RELEASED = 5         # the holder said that it let go
    CAUSE_DEATH_NOTICE = 6     # the holder's gate said that its agent died
    CAUSE_HANDOVER = 7         # planned
    CAUSE_MAJORITY = 8         # promises of a majority
    CAUSE_ALONE = 9            # lone = takeover and this node knows itself alone
    CAUSE_LAPSED = 10          # authority ran out
    CAUSE_YIELD = 11           # another drives or claims with right of way
    CAUSE_HIGHER_EPOCH = 12    # another drives at a higher epoch
    CAUSE_UNFIT = 13           # health
    CAUSE_OPERATOR = 14
    CAUSE_OUTPUT_FAULT = 15
    CAUSE_OFF = 16             # outputs physically off
    CAUSE_STOP = 17            # planned stop of the agent
    CAUSE_SELF_LATE = 18       # own authority ran out while this node was not running
    CAUSE_THIRD_LOST = 19      # the arbiter that gates this group's outputs no longer hears this node, but the other
    CAUSE_FAILBACK = 20        # a better ranked node is ready again
    CAUSE_LOAD = 21            # a shard moved from a loaded node to an idle one
    CAUSE_WARNING = 22         # a planned handover proposed by an early warning

cpdef enum FrameKind:
    FRAME_HEARTBEAT = 0
    FRAME_DEATH = 1            # from the gate: the worker of this incarnation is dead

cpdef enum FrameFlag:
    FLAG_ASK = 1               # answer at once
    FLAG_ANSWER = 2
    FLAG_UNFIT = 4             # the sender would not take over
    FLAG_STOPPING = 8          # planned stop
    FLAG_BEHIND = 16           # replication is not in step
    FLAG_THIRD = 32            # the sender has an answer of the third voter that is no older than its promise

cpdef enum RowFlag:
    ROW_DROPPED = 1            # death notice: every output of this group was dropped
    ROW_TARGET = 2             # released in a planned handover: the vote names the taker
    ROW_FLOOR = 8              # the sender abstains; its epoch is the floor that a claim to it must be above, no claim
    ROW_KEPT = 4               # the promise stands but the echoed stamp did not renew it: it earns no authority

cpdef enum LinkKind:
    LINK_SERIAL = 1
    LINK_MQTT = 2
    LINK_UDP = 3

cpdef enum Lone:
    LONE_TAKEOVER = 0
    LONE_HOLD = 1

# ---------------------------------------------------------------- frames
ctypedef struct echo_t:
    uint8_t node
    uint8_t hears            # mask of links on which the sender hears that node
    uint16_t grant_ms        # promise length fixed when `stamp` was processed
    uint32_t incarnation
    uint64_t stamp           # newest send stamp processed

ctypedef struct row_t:
    uint8_t state
    uint8_t vote             # whom the sender promises; itself while CLAIMING, ACTIVE, RELEASING
    uint8_t flags            # RowFlag
    uint8_t prepare          # from version 2: a driver: 1 + the node asked to prepare; a standby: PREPARED
    uint32_t epoch           # own epoch while vote is itself, else the epoch promised or the floor

ctypedef struct frame_t:
    uint8_t kind
    uint8_t version          # the layout of this frame
    uint8_t version_max      # the newest layout its sender speaks
    uint8_t source
    uint8_t flags            # FrameFlag
    uint8_t link_seq         # counts frames per link: loss is measured from its gaps
    uint8_t health
    uint8_t load
    uint16_t pair_id
    uint16_t config_digest
    uint32_t incarnation
    uint32_t sync_position
    uint64_t stamp
    uint8_t echo_count
    uint8_t row_count
    echo_t echo[MAX_NODES]
    row_t row[MAX_GROUPS]

# ---------------------------------------------------------------- events, effects
ctypedef struct event_t:
    uint8_t kind
    uint8_t code
    uint8_t link
    uint8_t node
    uint8_t group
    uint32_t epoch
    uint32_t incarnation
    int64_t now_ns
    int64_t rx_at_ns
    uint64_t stamp
    int64_t value
    frame_t frame            # EV_HEARD only

ctypedef struct effect_t:
    uint8_t kind
    uint8_t code
    uint8_t group
    uint8_t node
    uint8_t link
    uint32_t epoch
    int64_t value
    int64_t extra
    uint64_t stamp

ctypedef struct effects_t:
    int count
    int dropped
    uint8_t send_mask
    uint8_t link_seq[MAX_LINKS]    # the frame's link_seq on each link of send_mask
    frame_t frame
    effect_t item[MAX_EFFECTS]

# ---------------------------------------------------------------- settings
ctypedef struct link_cfg_t:
    uint8_t kind
    uint8_t missed
    uint8_t nodes_mask
    int64_t period_ns
    int64_t fast_period_ns    # how fast it may go while a faster link is silent
    int64_t rtt_ns            # round trip the sizing counts with
    int64_t reask_ns          # least distance between two asks on this link
    int64_t lease_ns          # T_L when this is the fastest link heard; computed by timing
    int64_t grant_ns          # T_G for it; computed by timing
    int64_t beat_ns           # its period when it is the link that counts: the fast one of a slower link; by timing

ctypedef struct group_cfg_t:
    uint8_t lone
    uint8_t exclusive
    uint8_t gated             # 1: the third voter's contacts lie between this group's outputs and the load
    uint8_t drivers_mask      # nodes that may drive it; the others only vote
    uint8_t balance           # load may move it
    uint8_t rank[MAX_NODES]   # 0 = preferred
    int64_t release_ns        # T_off: slowest output release
    int64_t make_ns           # T_on: fastest output make
    int64_t failback_ns       # back to a better ranked node that has been ready for so long; below 0: not by itself
    int64_t hold_down_ns      # for how long the first change of driver holds moves down; 0: no damping
    int64_t hold_down_max_ns
    int64_t prepare_ns        # how long a taker may take to prepare; 0: nothing to prepare

ctypedef struct settings_t:
    uint8_t node_count
    uint8_t self_node
    uint8_t voter_mask        # nodes that vote
    uint8_t third_voter       # 1: a third voter exists
    uint8_t link_count
    uint8_t group_count
    uint8_t mistake_exp       # offered promise sized for 10^-mistake_exp failures per heartbeat
    uint16_t pair_id
    uint16_t config_digest
    uint8_t load_gap          # percent by which a load must be above another node's to move a group; 0: never
    uint8_t wire_version      # the newest layout to speak
    uint32_t epoch_block      # claims reserved ahead per write
    int64_t drift_ppm         # r
    int64_t check_ns          # T_chk
    int64_t late_ns           # decider lateness the sizing counts with
    int64_t grant_max_ns      # largest T_G ever offered; also how long LISTEN abstains
    int64_t lonely_start_ns   # extra wait at a cold start where no peer was ever heard
    int64_t stagger_ns        # per rank, between candidates
    int64_t load_hold_ns      # for how long it must be
    int64_t move_gap_ns       # least distance between moves by failback or load that this node begins
    int64_t third_period_ns   # what the third voter promised is asked for again after this; 0: with every ask
    int64_t third_reask_ns    # least distance between two asks of the third voter
    int64_t third_rtt_ns
    int64_t third_grant_ns    # how long its promise is asked to last
    # From here to the links: computed by timing.derive.
    uint8_t fast_link         # of the links that join all nodes the one with the shortest period
    uint8_t prepares          # some group has something to prepare
    uint8_t plans             # some group moves, or is held, by itself
    uint8_t own_links         # mask of those that join this node
    uint8_t quorum            # promises that make a majority
    uint8_t pair_of_two       # exactly two voters: a majority cannot outlive the peer
    int64_t hold_over_ns      # T_off - T_on of the slowest exclusive group, never below 0
    int64_t shortest_lease_ns
    int64_t longest_ns        # the longest promise of any voter
    link_cfg_t link[MAX_LINKS]
    group_cfg_t group[MAX_GROUPS]
