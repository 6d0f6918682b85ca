"""What each group does: claim, drive, give up. One function enters a state; the table says which."""
from libc.stdint cimport int8_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from twinbeat_core.candidates cimport (
    barred_until, belief_ends_ns, best_target, claim_wait, fit_one_drives, may_drive, other_claims, other_claims_above,
    other_drives, other_drives_above,
)
from twinbeat_core.effects cimport add_effect, drive, report_group
from twinbeat_core.model cimport (
    ACTIVE, CAUSE_ALONE, CAUSE_HIGHER_EPOCH, CAUSE_LAPSED, CAUSE_LISTEN_OVER, CAUSE_MAJORITY, CAUSE_OFF,
    CAUSE_OPERATOR, CAUSE_OUTPUT_FAULT, CAUSE_SELF_LATE, CAUSE_STOP, CAUSE_YIELD, CLAIMING, DRIVE_EXTEND, DRIVE_OFF,
    DRIVE_ON, FX_RETURN, LISTEN, LONE_HOLD, LONE_TAKEOVER, NEVER_NS, NO_NODE, OUT, RELEASING, ROW_DROPPED,
    RP_EPOCH_CEILING, RP_STATE, STANDBY, effect_t,
)
from twinbeat_core.silence cimport is_alone, long_deaf
from twinbeat_core.state cimport BAR_OUTPUT, BAR_STOP, core_t, group_t, peer_t
from twinbeat_core.triggers cimport (
    TR_CLAIM, TR_IN, TR_LAPSE, TR_LISTEN_OVER, TR_MAJORITY, TR_OFF, TR_OUT, TR_SUPERSEDED, TR_YIELD,
)
from twinbeat_core.votes cimport (
    authority, by_word, claim_base, end_promise, give_promise, next_epoch, promise_free, promise_self, recovered,
    top_up,
)

cdef int8_t TABLE[6][11]


def fill_table(transitions: dict) -> None:
    """Take the transition table from its data form (table.TRANSITIONS); a pair left out is an error."""
    for state in range(6):
        for trigger in range(11):
            following = transitions[state][trigger]
            TABLE[state][trigger] = -1 if following is None else int(following)


cdef inline int64_t on_own_clock(const core_t* core, int64_t real_ns) noexcept nogil:
    """How long to wait by a clock that may run fast, so that real_ns have passed for certain."""
    return real_ns + (real_ns * core.cfg.drift_ppm + 999999) // 1000000


cdef int64_t hold_over_of(const core_t* core, int g) noexcept nogil:
    """T_off - T_on of the group, on this node's clock."""
    cdef int64_t value = core.cfg.group[g].release_ns - core.cfg.group[g].make_ns
    return on_own_clock(core, value) if value > 0 else 0


# ---------------------------------------------------------------- entering a state
cdef void begin_release(core_t* core, int g) noexcept nogil:
    cdef group_t* grp = &core.st.group[g]
    drive(core, g, DRIVE_OFF, grp.epoch, 0)
    grp.off_seen = 0
    # Without the gate's word: its own deadline has switched off by then, and the output has released.
    grp.off_at_ns = grp.drive_until_ns if grp.drive_until_ns > core.st.now_ns else core.st.now_ns
    grp.off_at_ns += on_own_clock(core, core.cfg.check_ns) + hold_over_of(core, g)
    grp.alone = 0


cdef void return_promise(core_t* core, int g) noexcept nogil:
    """Tell the third voter which claim is over; it compares the epoch, so that a late word ends no later claim."""
    cdef effect_t* fx
    if not core.cfg.third_voter:
        return
    fx = add_effect(core, FX_RETURN)
    fx.group = <uint8_t>g
    fx.epoch = core.st.group[g].epoch


cdef void end_own_claim(core_t* core, int g, uint8_t old) noexcept nogil:
    """Back among the voters: the own promise is free again, and a planned taker gets it at once."""
    cdef group_t* grp = &core.st.group[g]
    cdef peer_t* taker
    cdef uint32_t epoch
    cdef bint held = grp.promise.holder == core.cfg.self_node
    if held:
        end_promise(core, g)
        return_promise(core, g)
    grp.epoch = 0
    grp.auth_until_ns = 0
    grp.drive_until_ns = 0
    grp.free_since_ns = 0
    memset(grp.vote, 0, sizeof(grp.vote))
    if grp.target == NO_NODE or old != RELEASING or not held:
        grp.target = NO_NODE         # a target of an earlier handover moves nobody's promise
        return
    taker = &core.st.peer[grp.target]
    epoch = next_epoch(claim_base(core, g), grp.target)
    if taker.known and not taker.dead and taker.grant_ms and epoch <= core.st.ceiling:
        give_promise(core, g, grp.target, epoch, <int64_t>taker.grant_ms * 1000000)
        grp.offered = <uint64_t>-1     # what the taker says before it can have seen the offer refuses nothing
    else:
        grp.target = NO_NODE
        grp.hold_off_ns = 0


cdef bint enter(core_t* core, int g, int trigger, int cause) noexcept nogil:
    """The only place where a group's state changes. False: the table refuses, nothing has changed."""
    cdef group_t* grp = &core.st.group[g]
    cdef int8_t following = TABLE[grp.state][trigger]
    cdef uint8_t old = grp.state
    if following < 0:
        core.st.illegal += 1
        return False
    grp.state = <uint8_t>following
    grp.cause = <uint8_t>cause
    if old != following:
        grp.since_ns = core.st.now_ns
        report_group(core, RP_STATE, g, old, grp.epoch, following, cause)
    if following == RELEASING:
        begin_release(core, g)
    elif (old == CLAIMING or old == RELEASING) and (following == STANDBY or following == OUT):
        end_own_claim(core, g, old)
    elif following == ACTIVE and old == CLAIMING:
        grp.target = NO_NODE
        grp.drive_epoch = grp.epoch
        drive(core, g, DRIVE_ON, grp.epoch, grp.auth_until_ns)
        grp.drive_until_ns = grp.auth_until_ns
    core.send_mask = 0xff        # every change of role is told at once, on every link
    return True


# ---------------------------------------------------------------- claiming
cdef void claim(core_t* core, int g, uint32_t epoch, int cause) noexcept nogil:
    """Ask for `epoch`, or for the next one above all seen when it is 0. Held back until that epoch is on disk."""
    cdef group_t* grp = &core.st.group[g]
    if epoch == 0:
        epoch = next_epoch(claim_base(core, g), core.cfg.self_node)
    if epoch > core.st.ceiling or epoch < grp.floor:
        if not grp.ceiling_told:
            grp.ceiling_told = 1
            report_group(core, RP_EPOCH_CEILING, g, NO_NODE, epoch, core.st.ceiling, 0)
        top_up(core)
        return
    grp.ceiling_told = 0
    if grp.state != ACTIVE:
        memset(grp.vote, 0, sizeof(grp.vote))
        grp.auth_until_ns = 0
    promise_self(core, g, epoch)
    grp.epoch = epoch
    grp.third_asked_ns = 0       # not asked for this one yet, whatever it was asked a moment ago
    enter(core, g, TR_CLAIM, cause)
    if grp.state == ACTIVE:
        drive(core, g, DRIVE_EXTEND, epoch, grp.auth_until_ns)


cdef bint own_word(const core_t* core, int g) noexcept nogil:
    """Whether this node may drive without anybody's answer now (docs/protocol.md, "Alone")."""
    cdef int i
    if core.cfg.quorum == 1:
        return True
    if not core.cfg.pair_of_two or core.cfg.third_voter:
        return False
    if core.cfg.group[g].lone == LONE_TAKEOVER:
        return is_alone(core, g)
    for i in range(core.cfg.node_count):
        if i != core.cfg.self_node and (core.cfg.voter_mask >> i) & 1:
            # hold: a death notice that named this group, and no promise to that node since
            return core.st.peer[i].dead and not long_deaf(core) and core.st.peer[i].row[g].flags & ROW_DROPPED
    return False


cdef bint sends_now(const core_t* core) noexcept nogil:
    """Whether this step sends: already decided, or a beat is due, which is sent once the groups are settled."""
    cdef int i
    if core.send_mask & core.cfg.own_links:
        return True
    for i in range(core.cfg.link_count):
        if core.st.now_ns >= core.st.tx_due_ns[i] and (core.cfg.own_links >> i) & 1:
            return True
    return False


cdef int64_t own_until(const core_t* core) noexcept nogil:
    """One shortest lease from the last stamp sent; a stamp of this very step counts."""
    cdef int64_t sent = core.st.now_ns // 1000 * 1000 if sends_now(core) else <int64_t>(core.st.stamp * 1000)
    return sent + core.cfg.shortest_lease_ns


cdef int64_t authority_now(core_t* core, int g) noexcept nogil:
    cdef group_t* grp = &core.st.group[g]
    cdef int64_t until = authority(core, g)
    cdef int64_t own
    if until == NEVER_NS:
        until = own_until(core)
    grp.alone = own_word(core, g)
    if grp.alone:
        own = own_until(core)
        if own > until:
            until = own
    return until


cdef int bar_cause(const group_t* grp) noexcept nogil:
    if grp.bars & BAR_STOP:
        return CAUSE_STOP
    return CAUSE_OUTPUT_FAULT if grp.bars & BAR_OUTPUT else CAUSE_OPERATOR


cdef bint may_begin(const core_t* core, int g) noexcept nogil:
    """Not at an epoch below one seen, whose successor is not on disk yet."""
    return core.st.group[g].seen <= core.st.group[g].epoch


cdef void give_up_claim(core_t* core, int g) noexcept nogil:
    """A claim that gets nowhere must not keep a ready node from its own: it has a turn."""
    cdef group_t* grp = &core.st.group[g]
    if core.st.now_ns - grp.since_ns >= 2 * core.cfg.grant_max_ns and best_target(core, g) != NO_NODE:
        grp.hold_off_ns = core.st.now_ns + core.cfg.grant_max_ns
        enter(core, g, TR_YIELD, CAUSE_YIELD)


cdef void settle_shared(core_t* core, int g) noexcept nogil:
    """A group that is not exclusive: everybody drives it by its own word, but for one who is unfit beside a fit one."""
    cdef group_t* grp = &core.st.group[g]
    if grp.state == STANDBY and grp.bars:
        enter(core, g, TR_OUT, bar_cause(grp))
    elif grp.state == STANDBY and core.st.now_ns >= barred_until(core):
        if may_drive(core, g, core.cfg.self_node) and (core.st.fit or not fit_one_drives(core, g)):
            claim(core, g, 0, grp.why)
    if grp.state == CLAIMING and grp.bars:
        enter(core, g, TR_OUT, bar_cause(grp))
    elif grp.state == CLAIMING:
        grp.auth_until_ns = own_until(core)
        enter(core, g, TR_MAJORITY, CAUSE_MAJORITY)
    elif grp.state == ACTIVE and own_until(core) > grp.auth_until_ns:
        grp.auth_until_ns = own_until(core)
        grp.drive_until_ns = grp.auth_until_ns
        drive(core, g, DRIVE_EXTEND, grp.epoch, grp.auth_until_ns)


cdef void settle_claiming(core_t* core, int g) noexcept nogil:
    cdef group_t* grp = &core.st.group[g]
    cdef int64_t until
    if grp.bars:
        enter(core, g, TR_OUT, bar_cause(grp))
        return
    if other_drives(core, g) or other_claims_above(core, g):
        enter(core, g, TR_YIELD, CAUSE_YIELD)
        return
    if grp.seen > grp.epoch:
        claim(core, g, 0, grp.cause)
    until = authority_now(core, g)
    if not may_begin(core, g) or until <= core.st.now_ns:
        give_up_claim(core, g)
        return
    grp.auth_until_ns = until
    enter(core, g, TR_MAJORITY, CAUSE_ALONE if grp.alone else CAUSE_MAJORITY)


cdef void end_offer(core_t* core, int g) noexcept nogil:
    """Offer a handover until somebody drives, the promise has run out, or for as long as the longest promise."""
    cdef group_t* grp = &core.st.group[g]
    if grp.target == NO_NODE:
        return
    if promise_free(core, g):
        grp.target = NO_NODE
        grp.hold_off_ns = 0              # the taker fell silent
    elif other_drives(core, g) or core.st.now_ns >= grp.hold_off_ns - core.cfg.grant_max_ns:
        grp.target = NO_NODE


cdef inline bint may_claim(const core_t* core, int g) noexcept nogil:
    return (core.cfg.voter_mask >> core.cfg.self_node) & 1 and may_drive(core, g, core.cfg.self_node)


cdef void settle_standby(core_t* core, int g) noexcept nogil:
    cdef group_t* grp = &core.st.group[g]
    if grp.bars:
        enter(core, g, TR_OUT, bar_cause(grp))
        return
    if other_drives(core, g):
        grp.hold_off_ns = 0          # the taker has taken; whatever ends it now is a new case
        grp.refused = 0
        grp.target = NO_NODE
        grp.free_since_ns = 0
        return
    end_offer(core, g)
    if not promise_free(core, g) or other_claims(core, g) or not may_claim(core, g):
        grp.free_since_ns = 0
        return
    if grp.free_since_ns == 0:
        grp.free_since_ns = core.st.now_ns
    if core.st.now_ns < grp.free_since_ns + claim_wait(core, g) or core.st.now_ns < grp.hold_off_ns:
        return
    claim(core, g, 0, grp.why)
    if grp.state == CLAIMING:
        settle_claiming(core, g)


cdef void settle_active(core_t* core, int g) noexcept nogil:
    cdef group_t* grp = &core.st.group[g]
    cdef int64_t until
    if other_drives_above(core, g):
        enter(core, g, TR_SUPERSEDED, CAUSE_HIGHER_EPOCH)
        return
    if grp.seen > grp.epoch:
        claim(core, g, 0, CAUSE_HIGHER_EPOCH)
    until = authority_now(core, g)
    if until > grp.auth_until_ns:
        grp.auth_until_ns = until
        grp.drive_until_ns = until
        drive(core, g, DRIVE_EXTEND, grp.epoch, until)


cdef bint listen_over(const core_t* core, int g) noexcept nogil:
    """Abstained for the longest promise ever offered; after a lost disk, or with hold, until all others reported."""
    cdef uint8_t others = core.cfg.voter_mask & ~<uint8_t>(1 << core.cfg.self_node)
    if core.st.now_ns < core.st.listen_until_ns:
        return False
    if core.st.disk_lost and not recovered(core):
        return False
    if core.st.disk_lost or by_word(core, g):
        return (core.st.reported_mask & others) == others
    return True


cdef void settle(core_t* core) noexcept nogil:
    """Let every group do what is due now."""
    cdef group_t* grp
    cdef int g
    for g in range(core.cfg.group_count):
        grp = &core.st.group[g]
        if grp.state == LISTEN and listen_over(core, g):
            if core.st.disk_lost:
                # What the others have told is all this node knows: its word for less would take an epoch back.
                grp.floor = claim_base(core, g)
                grp.seen = grp.floor
            enter(core, g, TR_LISTEN_OVER, CAUSE_LISTEN_OVER)
        if grp.state == RELEASING and grp.off_seen < 2 and core.st.now_ns >= grp.off_at_ns:
            enter(core, g, TR_OFF, CAUSE_OFF)
        if not core.cfg.group[g].exclusive and grp.state != OUT:
            settle_shared(core, g)
        elif grp.state == STANDBY:
            settle_standby(core, g)
        elif grp.state == CLAIMING:
            settle_claiming(core, g)
        elif grp.state == ACTIVE:
            settle_active(core, g)
        elif grp.state == OUT:
            end_offer(core, g)
            if not grp.bars:
                enter(core, g, TR_IN, CAUSE_OPERATOR)


cdef void drop_lapsed(core_t* core) noexcept nogil:
    """Before anything else is looked at: authority that has run out is gone, whatever arrives now."""
    cdef group_t* grp
    cdef int g
    for g in range(core.cfg.group_count):
        grp = &core.st.group[g]
        if grp.state == ACTIVE and core.st.now_ns >= grp.auth_until_ns:
            enter(core, g, TR_LAPSE, CAUSE_SELF_LATE if core.self_late else CAUSE_LAPSED)


# ---------------------------------------------------------------- when to wake
cdef inline void sooner(int64_t* best, int64_t at) noexcept nogil:
    if at < best[0]:
        best[0] = at


cdef int64_t groups_deadline(const core_t* core) noexcept nogil:
    cdef int64_t best = NEVER_NS
    cdef int64_t at
    cdef const group_t* grp
    cdef int g
    for g in range(core.cfg.group_count):
        grp = &core.st.group[g]
        if grp.state == ACTIVE:
            sooner(&best, grp.auth_until_ns)
        elif grp.state == RELEASING and grp.off_seen < 2:
            sooner(&best, grp.off_at_ns)
        elif grp.state == LISTEN and core.st.now_ns < core.st.listen_until_ns:
            sooner(&best, core.st.listen_until_ns)
        elif grp.state == STANDBY:
            at = belief_ends_ns(core, g)
            if grp.promise.holder != NO_NODE and grp.promise.expiry_ns > core.st.now_ns:
                sooner(&best, grp.promise.expiry_ns)
            elif at:
                sooner(&best, at)
            elif grp.free_since_ns:
                at = grp.free_since_ns + claim_wait(core, g)
                if grp.hold_off_ns > at:
                    at = grp.hold_off_ns
                if at > core.st.now_ns:
                    sooner(&best, at)
    return best
