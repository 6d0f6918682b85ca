"""What frames, outputs and operators ask of the groups: planned handover, death notices, faults, commands."""
from libc.stdint cimport int64_t, uint8_t

from twinbeat_core.candidates cimport believed, best_target, fit_one_drives, may_drive, other_drives, ready
from twinbeat_core.effects cimport report_group
from twinbeat_core.groups cimport claim, enter, hold_over_of
from twinbeat_core.planned cimport begin_move, give, held, refuse, takes
from twinbeat_core.model cimport (
    ACTIVE, CAUSE_DEATH_NOTICE, CAUSE_HANDOVER, CAUSE_LAPSED, CAUSE_OPERATOR, CAUSE_OUTPUT_FAULT, CAUSE_STOP,
    CAUSE_THIRD_LOST, CAUSE_UNFIT, CMD_CLEAR, CMD_HANDOVER, CMD_IN, CMD_LAST_DRIVER, CMD_MOVE, CMD_OUT, CMD_PREPARED,
    CAUSE_WARNING, REFUSED_HELD, REFUSED_NOBODY, REFUSED_NOT_DRIVING, REFUSED_NOT_READY, REFUSED_SHARED, CMD_STOP,
    FLAG_STOPPING, FLAG_THIRD, NO_NODE, OUTPUT_FAILED, OUTPUT_MISMATCH, OUTPUT_OFF, RELEASING, ROW_DROPPED,
    ROW_TARGET, RP_OUTPUT_FAULT, RP_PEER_DEAD, STANDBY, event_t, frame_t, row_t,
)
from twinbeat_core.state cimport BAR_OPERATOR, BAR_OUTPUT, BAR_STOP, core_t, group_t, peer_t
from twinbeat_core.triggers cimport TR_LAPSE
from twinbeat_core.votes cimport end_promise, promise_free


cdef void take_over_targets(core_t* core, const frame_t* frame) noexcept nogil:
    """Planned handover: the giver is off and names this node and the epoch it promises."""
    cdef const row_t* row
    cdef group_t* grp
    cdef int g
    cdef int rows = frame.row_count if frame.row_count < core.cfg.group_count else core.cfg.group_count
    for g in range(rows):
        row = &frame.row[g]
        grp = &core.st.group[g]
        if not row.flags & ROW_TARGET or row.vote != core.cfg.self_node or grp.state != STANDBY or grp.bars:
            continue
        if not may_drive(core, g, core.cfg.self_node) or not core.cfg.group[g].exclusive:
            continue
        if row.epoch <= grp.floor or row.epoch < grp.seen or row.epoch & 7 != core.cfg.self_node:
            continue
        if promise_free(core, g) and not other_drives(core, g):
            claim(core, g, row.epoch, CAUSE_HANDOVER)


cdef void hear_death(core_t* core, const frame_t* frame) noexcept nogil:
    """The gate of a proven incarnation says that its agent died and which groups it has switched off.

    Reported at the first word, and (extra = 1) at one that names a group for the first time.
    """
    cdef peer_t* peer = &core.st.peer[frame.source]
    cdef int g
    cdef int rows = frame.row_count if frame.row_count < core.cfg.group_count else core.cfg.group_count
    cdef bint first = not peer.dead
    cdef bint names = False
    peer.dead = 1
    for g in range(core.cfg.group_count):
        if core.st.group[g].target == frame.source:
            core.st.group[g].target = NO_NODE
            core.st.group[g].hold_off_ns = 0
    for g in range(rows):
        if not frame.row[g].flags & ROW_DROPPED:
            if first and core.st.group[g].promise.holder != frame.source:
                # Its output may still be releasing, and no promise to it waits for that.
                core.st.group[g].hold_off_ns = core.st.now_ns + core.cfg.link[core.cfg.fast_link].grant_ns
            continue
        names = names or not (peer.row[g].flags & ROW_DROPPED)
        peer.row[g].state = STANDBY
        peer.row[g].vote = NO_NODE
        peer.row[g].flags = ROW_DROPPED
        if core.st.group[g].promise.holder == frame.source:
            end_promise(core, g)
            core.st.group[g].why = CAUSE_DEATH_NOTICE
    if first or names:
        report_group(core, RP_PEER_DEAD, 0, frame.source, 0, frame.incarnation, 0 if first else 1)


cdef void hear_output(core_t* core, const event_t* ev) noexcept nogil:
    cdef group_t* grp = &core.st.group[ev.group]
    if ev.code == OUTPUT_OFF and grp.drive_epoch <= ev.epoch <= grp.epoch:
        if grp.state == ACTIVE:
            # The gate let go by itself: its deadline came before the core's next renewal.
            enter(core, ev.group, TR_LAPSE, CAUSE_LAPSED)
        if grp.state == RELEASING:
            grp.off_seen = 1
            grp.off_at_ns = core.st.now_ns + hold_over_of(core, ev.group)
    elif ev.code == OUTPUT_FAILED or ev.code == OUTPUT_MISMATCH:
        grp.bars |= BAR_OUTPUT
        report_group(core, RP_OUTPUT_FAULT, ev.group, NO_NODE, ev.epoch, ev.code, ev.value)
        if grp.state == ACTIVE:
            give(core, ev.group, best_target(core, ev.group) if core.cfg.group[ev.group].exclusive else NO_NODE,
                 CAUSE_OUTPUT_FAULT)
        elif grp.state == RELEASING and ev.code == OUTPUT_FAILED:
            grp.off_seen = 2     # it may still be on: nobody else may drive while this node lives


cdef void hand_over(core_t* core, int g, int target, int cause) noexcept nogil:
    """At an operator's word or a proposal (CAUSE_WARNING); refused with a RefusalCode."""
    cdef group_t* grp = &core.st.group[g]
    cdef int reason = 0
    cdef int best = best_target(core, g)
    if grp.state != ACTIVE:
        reason = REFUSED_NOT_DRIVING
    elif not core.cfg.group[g].exclusive:
        reason = REFUSED_SHARED
    elif cause == CAUSE_WARNING and held(core, g, 0):
        reason = REFUSED_HELD
    elif target == NO_NODE and best == NO_NODE:
        reason = REFUSED_NOBODY
    elif target != NO_NODE and (target >= core.cfg.node_count or not believed(core, target)):
        reason = REFUSED_NOBODY
    else:
        target = best if target == NO_NODE else target
        reason = 0 if takes(core, g, target, cause) else REFUSED_NOT_READY
    if reason:
        refuse(core, g, target, reason)
    else:
        begin_move(core, g, target, cause)


cdef void leave_service(core_t* core, int g, uint8_t bar, int cause) noexcept nogil:
    core.st.group[g].bars |= bar
    if core.st.group[g].state != ACTIVE:
        return
    if core.cfg.group[g].exclusive:
        begin_move(core, g, best_target(core, g), cause)
    else:
        give(core, g, NO_NODE, cause)


cdef void command(core_t* core, const event_t* ev) noexcept nogil:
    cdef int g
    if ev.code == CMD_STOP:
        core.st.stopping = 1
        for g in range(core.cfg.group_count):
            leave_service(core, g, BAR_STOP, CAUSE_STOP)
        return
    if ev.group >= core.cfg.group_count:
        return
    if ev.code == CMD_HANDOVER:
        hand_over(core, ev.group, ev.node, CAUSE_HANDOVER)
    elif ev.code == CMD_MOVE:
        hand_over(core, ev.group, ev.node, CAUSE_WARNING)
    elif ev.code == CMD_PREPARED:
        core.st.group[ev.group].prepared = core.st.group[ev.group].prepare_told
        core.send_mask = 0xff
    elif ev.code == CMD_OUT:
        leave_service(core, ev.group, BAR_OPERATOR, CAUSE_OPERATOR)
    elif ev.code == CMD_IN:
        core.st.group[ev.group].bars &= ~<uint8_t>BAR_OPERATOR
    elif ev.code == CMD_LAST_DRIVER:
        core.st.group[ev.group].last_driver = ev.node
    elif ev.code == CMD_CLEAR:
        core.st.group[ev.group].bars &= ~<uint8_t>BAR_OUTPUT


cdef void give_unfit(core_t* core) noexcept nogil:
    """Bad health proposes a planned handover where somebody better is ready; it never fences."""
    cdef int g, target
    if core.st.fit:
        return
    for g in range(core.cfg.group_count):
        if core.st.group[g].state != ACTIVE or core.st.group[g].asked != NO_NODE:
            continue
        if not core.cfg.group[g].exclusive:
            if fit_one_drives(core, g):
                give(core, g, NO_NODE, CAUSE_UNFIT)
            continue
        if held(core, g, 1):
            continue                     # two sick nodes must not toss it to and fro
        target = best_target(core, g)
        if takes(core, g, target, CAUSE_UNFIT):
            begin_move(core, g, target, CAUSE_UNFIT)


cdef int reaches_third(const core_t* core, int g) noexcept nogil:
    """Who stands by and has said for a whole promise that it reaches the third voter; an unfit one if no other does.

    For a whole promise: when the voter is back, its first answer to the peer may come before the one to this node.
    """
    cdef int best = NO_NODE
    cdef bint fit = False
    cdef const peer_t* peer
    cdef bint is_ready
    cdef int i
    for i in range(core.cfg.node_count):
        peer = &core.st.peer[i]
        if not may_drive(core, g, i):
            continue
        if not believed(core, i) or not peer.grant_ms or peer.row[g].state != STANDBY or peer.flags & FLAG_STOPPING:
            continue
        if peer.third_since_ns == 0 or core.st.now_ns - peer.third_since_ns < core.cfg.third_grant_ns:
            continue
        is_ready = ready(core, g, i)
        if best == NO_NODE or (is_ready and not fit):
            best, fit = i, is_ready
    return best


cdef void give_gated(core_t* core) noexcept nogil:
    """An arbiter that no longer hears this node has opened its contact: drive where the other still reaches it."""
    cdef const group_t* grp
    cdef int64_t since
    cdef int g, target
    for g in range(core.cfg.group_count):
        grp = &core.st.group[g]
        if not core.cfg.group[g].gated or grp.state != ACTIVE:
            continue
        since = grp.third_ok_ns if grp.third_ok_ns > grp.since_ns else grp.since_ns
        if core.st.now_ns - since <= core.cfg.third_grant_ns * 3 // 2:
            continue
        target = reaches_third(core, g)
        if target != NO_NODE:
            give(core, g, target, CAUSE_THIRD_LOST)
