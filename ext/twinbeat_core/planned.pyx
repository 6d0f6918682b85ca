"""Planned moves: a taker that prepares first, failback, moves by load, and the damping that holds moves down.

Nothing here decides about authority: a move ends in the planned handover of rule R6, and none of this ever delays a
takeover. The rules are M1 to M6 of docs/protocol.md, "Planned moves".
"""
from libc.stdint cimport int64_t, uint8_t

from twinbeat_core.candidates cimport believed, best_target, ready
from twinbeat_core.effects cimport report_group
from twinbeat_core.groups cimport bar_cause, enter
from twinbeat_core.model cimport (
    ACTIVE, CAUSE_FAILBACK, CAUSE_HANDOVER, CAUSE_LOAD, CAUSE_OPERATOR, CAUSE_STOP, CAUSE_UNFIT, CAUSE_WARNING,
    FLAG_THIRD, NO_NODE, PREPARED, REFUSED_NOT_READY, REFUSED_UNPREPARED, RP_HANDOVER_REFUSED, RP_HELD, RP_PREPARE,
    STANDBY, frame_t, row_t,
)
from twinbeat_core.sending cimport version_spoken
from twinbeat_core.state cimport core_t, group_t
from twinbeat_core.triggers cimport TR_GIVE

cdef enum:
    CHANGES_MAX = 40         # doublings beyond any hold_down_max
    KNOWS_PREPARE = 2        # the layout from which a row's prepare means something


# ---------------------------------------------------------------- giving
cdef void give(core_t* core, int g, int target, int cause) noexcept nogil:
    """Let go now, for `target` if it is a node."""
    cdef group_t* grp = &core.st.group[g]
    grp.asked = NO_NODE
    grp.target = <uint8_t>target
    grp.hold_off_ns = core.st.now_ns + 2 * core.cfg.grant_max_ns
    enter(core, g, TR_GIVE, cause)


cdef void begin_move(core_t* core, int g, int target, int cause) noexcept nogil:
    """M1: give the group to a node that is ready; first let it prepare where there is something to prepare."""
    cdef group_t* grp = &core.st.group[g]
    if grp.bars:
        cause = bar_cause(grp)           # it lets go in any case, whatever else is asked for meanwhile
    if target == NO_NODE or core.cfg.group[g].prepare_ns == 0 or version_spoken(core) < KNOWS_PREPARE:
        give(core, g, target, cause)
        return
    if grp.asked == target and grp.asked_cause == cause:
        return
    grp.asked = <uint8_t>target
    grp.asked_cause = <uint8_t>cause
    grp.asked_ns = core.st.now_ns
    core.send_mask = 0xff


cdef void refuse(core_t* core, int g, int target, int reason) noexcept nogil:
    report_group(core, RP_HANDOVER_REFUSED, g, <uint8_t>target, core.st.group[g].epoch, reason, 0)


cdef inline bint may_wait(int cause) noexcept nogil:
    """A move that is better not made than made to a node that has not prepared."""
    return cause == CAUSE_HANDOVER or cause == CAUSE_FAILBACK or cause == CAUSE_LOAD or cause == CAUSE_WARNING


cdef bint reaches_load(const core_t* core, int g, int node) noexcept nogil:
    """What it drives would reach the load: a gated group's taker must reach the third voter."""
    return not core.cfg.group[g].gated or core.st.peer[node].flags & FLAG_THIRD


cdef bint takes(const core_t* core, int g, int target, int cause) noexcept nogil:
    """It can still have the group; for better health, rank or load not where that would not reach the load."""
    if target == NO_NODE or not ready(core, g, target):
        return False
    return cause == CAUSE_HANDOVER or cause == CAUSE_STOP or cause == CAUSE_OPERATOR or reaches_load(core, g, target)


cdef inline bint move_over(const core_t* core, int g) noexcept nogil:
    """What the move was begun for is no more: it drives no more, is fit again, or back in service."""
    cdef const group_t* grp = &core.st.group[g]
    if grp.asked_cause == CAUSE_UNFIT and core.st.fit:
        return True
    return grp.state != ACTIVE or (grp.asked_cause == CAUSE_OPERATOR and not grp.bars)


cdef void tend_asked(core_t* core, int g) noexcept nogil:
    """The taker that was asked to prepare: has it, can it still, is it too late?"""
    cdef group_t* grp = &core.st.group[g]
    cdef int target = grp.asked
    cdef bint late = core.st.now_ns - grp.asked_ns >= core.cfg.group[g].prepare_ns
    cdef bint able = takes(core, g, target, grp.asked_cause)
    if move_over(core, g):
        grp.asked = NO_NODE
        return
    if able and not late:
        # Only a word from after the ask (in whole microseconds): an earlier one may tell of an earlier handover.
        if core.st.peer[target].row[g].prepare == PREPARED:
            if <int64_t>(core.st.peer[target].echoed * 1000) > grp.asked_ns - 1000:
                give(core, g, target, grp.asked_cause)
        return
    grp.asked = NO_NODE
    if not may_wait(grp.asked_cause):
        if not able:
            target = best_target(core, g)
        # Bad health lets go for nobody: what is not well still drives.
        if grp.asked_cause != CAUSE_UNFIT or takes(core, g, target, CAUSE_UNFIT):
            give(core, g, target, grp.asked_cause)
        return
    refuse(core, g, target, REFUSED_UNPREPARED if late else REFUSED_NOT_READY)
    core.st.moved_ns = core.st.now_ns
    grp.home_since_ns = 0


cdef uint8_t prepare_word(const core_t* core, int g) noexcept nogil:
    """What this node's row says about preparing."""
    cdef const group_t* grp = &core.st.group[g]
    if grp.state == ACTIVE and grp.asked != NO_NODE:
        return grp.asked + 1
    return PREPARED if grp.state == STANDBY and grp.prepared and grp.prepared == grp.prepare_told else 0


cdef void hear_prepare(core_t* core, const frame_t* frame) noexcept nogil:
    """A driver asks this node to prepare, or no longer does."""
    cdef const row_t* row
    cdef group_t* grp
    cdef int g
    cdef int rows = frame.row_count if frame.row_count < core.cfg.group_count else core.cfg.group_count
    for g in range(rows):
        row = &frame.row[g]
        grp = &core.st.group[g]
        if row.state != ACTIVE or core.cfg.group[g].prepare_ns == 0:
            continue
        if row.prepare != core.cfg.self_node + 1:
            grp.prepare_told = 0
            grp.prepared = 0
        elif grp.prepare_told != row.epoch and grp.state == STANDBY:
            grp.prepare_told = row.epoch
            grp.prepared = 0
            report_group(core, RP_PREPARE, g, frame.source, row.epoch, 0, 0)


# ---------------------------------------------------------------- damping
cdef int64_t hold_down_of(const core_t* core, int g) noexcept nogil:
    """M4: for how long so many changes hold moves down."""
    cdef int64_t value = core.cfg.group[g].hold_down_ns
    cdef int i
    if core.st.group[g].changes == 0:
        return 0
    for i in range(core.st.group[g].changes - 1):
        value *= 2
        if value >= core.cfg.group[g].hold_down_max_ns:
            return core.cfg.group[g].hold_down_max_ns
    return value


cdef int64_t held_until(const core_t* core, int g) noexcept nogil:
    """Until when moves are held down; 0 when they are not."""
    cdef int64_t until = core.st.group[g].changed_ns + hold_down_of(core, g)
    return until if core.st.group[g].changes and until > core.st.now_ns else 0


cdef bint held(const core_t* core, int g, int free_changes) noexcept nogil:
    """Whether more than so many changes hold moves of the group down now."""
    return core.st.group[g].changes > free_changes and held_until(core, g) > 0


cdef inline int driver_seen(const core_t* core, int g) noexcept nogil:
    """Who drives as far as this node knows; of two who say so the one with the higher epoch."""
    cdef int best = NO_NODE
    cdef int i
    if core.st.group[g].state == ACTIVE:
        return core.cfg.self_node
    for i in range(core.cfg.node_count):
        if believed(core, i) and core.st.peer[i].row[g].state == ACTIVE:
            if best == NO_NODE or core.st.peer[i].row[g].epoch > core.st.peer[best].row[g].epoch:
                best = i
    return best


cdef void count_changes(core_t* core, int g) noexcept nogil:
    cdef group_t* grp = &core.st.group[g]
    cdef int driver = driver_seen(core, g)
    if driver != NO_NODE and driver != grp.driver:
        if grp.driver != NO_NODE:
            if grp.changes < CHANGES_MAX:
                grp.changes += 1
            grp.changed_ns = core.st.now_ns
            grp.quiet_ns = core.st.now_ns
            if grp.state == ACTIVE:
                report_group(core, RP_HELD, g, core.cfg.self_node, grp.epoch, hold_down_of(core, g), grp.changes)
        grp.driver = <uint8_t>driver
    if grp.changes and core.st.now_ns - grp.quiet_ns >= 2 * hold_down_of(core, g):
        grp.changes -= 1
        grp.quiet_ns = core.st.now_ns


cdef void count_all_changes(core_t* core) noexcept nogil:
    """Once the groups are settled: a proposal right after a change must find it counted."""
    cdef int g
    for g in range(core.cfg.group_count):
        if core.cfg.group[g].hold_down_ns and core.cfg.group[g].exclusive:
            count_changes(core, g)


# ---------------------------------------------------------------- failback and load
cdef inline bint much_busier(const core_t* core, int node, int gap) noexcept nogil:
    """The other node's load is above this one's by so much."""
    return core.cfg.load_gap and core.st.peer[node].load > core.st.load + gap


cdef int home_of(const core_t* core, int g) noexcept nogil:
    """M2: the better ranked node that is ready to have the group back; NO_NODE where there is none."""
    cdef int best = NO_NODE
    cdef uint8_t rank = core.cfg.group[g].rank[core.cfg.self_node]
    cdef int i
    for i in range(core.cfg.node_count):
        if core.cfg.group[g].rank[i] >= rank or not takes(core, g, i, CAUSE_FAILBACK):
            continue
        if not much_busier(core, i, core.cfg.load_gap // 2):
            best, rank = i, core.cfg.group[g].rank[i]
    return best


cdef int64_t failback_at(const core_t* core, int g) noexcept nogil:
    """When the group goes back at the earliest; 0 when nothing waits."""
    cdef const group_t* grp = &core.st.group[g]
    cdef int64_t at
    if grp.state != ACTIVE or grp.home_since_ns == 0:
        return 0
    at = grp.home_since_ns + core.cfg.group[g].failback_ns
    if held_until(core, g) > at:
        at = held_until(core, g)
    return at


cdef bint rested(const core_t* core) noexcept nogil:
    """M3: this node has begun no move for as long as two must be apart, and no taker still prepares for one."""
    cdef int g
    if core.st.moved_ns and core.st.now_ns - core.st.moved_ns < core.cfg.move_gap_ns:
        return False
    for g in range(core.cfg.group_count):
        if core.st.group[g].asked != NO_NODE and core.st.group[g].asked_cause in (CAUSE_FAILBACK, CAUSE_LOAD):
            return False
    return True


cdef bint wants_home(core_t* core, int g) noexcept nogil:
    """Note since when there is a better ranked node that is ready; whether the group may go there now."""
    cdef group_t* grp = &core.st.group[g]
    cdef int home = NO_NODE
    if grp.state == ACTIVE and grp.asked == NO_NODE and core.st.fit:
        home = home_of(core, g)
    if home != grp.home or grp.home_since_ns == 0:
        grp.home = <uint8_t>home         # another one must itself have been ready for as long
        grp.home_since_ns = core.st.now_ns if home != NO_NODE else 0
    return home != NO_NODE and core.st.now_ns >= failback_at(core, g)


cdef void fail_back(core_t* core) noexcept nogil:
    """M2: the group that has waited longest, so that one that is never prepared for keeps no other from going home."""
    cdef group_t* grp
    cdef int first = -1
    cdef int g
    for g in range(core.cfg.group_count):
        if not core.cfg.group[g].exclusive or core.cfg.group[g].failback_ns < 0 or not wants_home(core, g):
            continue
        if first < 0 or core.st.group[g].home_since_ns < core.st.group[first].home_since_ns:
            first = g
    if first < 0 or not rested(core):
        return
    grp = &core.st.group[first]
    core.st.moved_ns = core.st.now_ns
    grp.home_since_ns = 0
    begin_move(core, first, grp.home, CAUSE_FAILBACK)


cdef inline bint movable(const core_t* core, int g, int node) noexcept nogil:
    cdef const group_t* grp = &core.st.group[g]
    if not core.cfg.group[g].balance or grp.state != ACTIVE or grp.asked != NO_NODE or held(core, g, 0):
        return False
    return takes(core, g, node, CAUSE_LOAD)


cdef void move_load(core_t* core, int node) noexcept nogil:
    """M5: the group that ranks this node lowest and that one highest goes there, one at a time."""
    cdef int best = -1
    cdef int g
    for g in range(core.cfg.group_count):
        if movable(core, g, node):
            if best < 0 or core.cfg.group[g].rank[node] < core.cfg.group[best].rank[node]:
                best = g
    if best < 0:
        return
    core.st.moved_ns = core.st.now_ns
    core.st.load_since_ns[node] = core.st.now_ns
    begin_move(core, best, node, CAUSE_LOAD)


cdef void weigh_loads(core_t* core) noexcept nogil:
    cdef int i
    for i in range(core.cfg.node_count):
        if i == core.cfg.self_node or not believed(core, i) or core.st.load < core.st.peer[i].load + core.cfg.load_gap:
            core.st.load_since_ns[i] = 0
            continue
        if core.st.load_since_ns[i] == 0:
            core.st.load_since_ns[i] = core.st.now_ns
        if core.st.now_ns - core.st.load_since_ns[i] >= core.cfg.load_hold_ns and rested(core):
            move_load(core, i)


cdef void plan(core_t* core) noexcept nogil:
    """Once a step, before the groups do what is due: who lets go must not first have been given more time."""
    cdef int g
    for g in range(core.cfg.group_count):
        if core.st.group[g].asked != NO_NODE:
            tend_asked(core, g)
    fail_back(core)
    if core.cfg.load_gap:
        weigh_loads(core)
