"""Promises given and authority held: the arithmetic of section "Authority" of docs/protocol.md.

1. A voter has at most one promise per group; its expiry never moves back.
2. A promise belongs to (node, incarnation, epoch) and is earned by a newer, two-way proven stamp only.
3. It never goes to an epoch below the floor or above the ceiling that is on disk. The one exception is the
   unbroken ACTIVE holder, which a restarted voter may renew: nobody else can have held a majority meanwhile.
4. The holder counts from the moment it sent the stamp; the voter from the moment it processed it.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t

from twinbeat_core.effects cimport persist
from twinbeat_core.model cimport (
    ACTIVE, CAUSE_RELEASED, CAUSE_SILENCE, CLAIMING, EPOCH_NODE_BITS, LISTEN, LONE_HOLD, MAX_VOTERS, NEVER_NS,
    NO_NODE, RELEASING, ROW_FLOOR, ROW_KEPT, THIRD_VOTER, echo_t, frame_t, row_t,
)
from twinbeat_core.peers cimport echo_of_self
from twinbeat_core.state cimport core_t, group_t, peer_t, promise_t
from twinbeat_core.timing cimport lease_from_grant


cdef uint32_t EPOCH_LAST = 0xfffffff0


cdef uint32_t next_epoch(uint32_t above, int node) noexcept nogil:
    """The least epoch of `node` above `above`: the count in the high bits, the node in the low three.

    At the very end of the count it stays there: a claim that is not above the floor is held back and reported.
    """
    if above >= EPOCH_LAST:
        return 0
    return (((above >> EPOCH_NODE_BITS) + 1) << EPOCH_NODE_BITS) | <uint32_t>node


cdef uint32_t ceiling_above(uint32_t base, uint32_t block) noexcept nogil:
    """One block above base; at the end of the count as far as it goes."""
    return base + block if base <= EPOCH_LAST - block else EPOCH_LAST


cdef bint recovered(const core_t* core) noexcept nogil:
    """After a lost disk: everybody has told what it knows of epochs.

    Until then nothing is reserved. A node that dies meanwhile so finds no ceiling and knows that its disk was lost.
    """
    cdef uint8_t others = core.cfg.voter_mask & ~<uint8_t>(1 << core.cfg.self_node)
    cdef int g
    if core.st.told_mask & others != others:
        return False
    for g in range(core.cfg.group_count):
        if core.cfg.third_voter and not core.st.group[g].third_reported:
            return False
    return True


cdef void top_up(core_t* core) noexcept nogil:
    """Reserve epochs ahead, so that a takeover never waits for the disk."""
    cdef uint32_t highest = 0
    cdef uint32_t block = core.cfg.epoch_block << EPOCH_NODE_BITS
    cdef uint32_t want
    cdef uint32_t base
    cdef int g
    if core.st.disk_lost and not recovered(core):
        return
    for g in range(core.cfg.group_count):
        if core.st.group[g].seen > highest:
            highest = core.st.group[g].seen
        if core.st.group[g].far > highest:
            highest = core.st.group[g].far
    if core.st.ceiling >= highest and core.st.ceiling - highest >= block // 2:
        return
    base = highest if highest > core.st.ceiling else core.st.ceiling
    want = ceiling_above(base, block)
    if core.st.ceiling_asked < want and core.st.ceiling_asked <= core.st.ceiling:
        core.st.ceiling_asked = want
        persist(core, want)


# ---------------------------------------------------------------- as a voter
cdef uint32_t claim_base(const core_t* core, int g) noexcept nogil:
    """What the next claim, or the next taker's, must be above so that nobody refuses it for its epoch."""
    cdef const group_t* grp = &core.st.group[g]
    cdef uint32_t base = grp.seen if grp.seen > grp.floor else grp.floor
    return grp.far if grp.far > base else base


cdef bint is_voter(const core_t* core) noexcept nogil:
    return (core.cfg.voter_mask >> core.cfg.self_node) & 1


cdef bint by_word(const core_t* core, int g) noexcept nogil:
    """With lone = hold a pair's promise ends by word only, never by time."""
    return core.cfg.pair_of_two and core.cfg.group[g].lone == LONE_HOLD and core.cfg.group[g].exclusive


cdef bint promise_free(const core_t* core, int g) noexcept nogil:
    """Nobody holds this node's promise any more."""
    cdef const promise_t* pr = &core.st.group[g].promise
    if pr.holder == NO_NODE:
        return True
    if pr.holder == core.cfg.self_node:
        return False
    return not by_word(core, g) and core.st.now_ns >= pr.expiry_ns


cdef void end_promise(core_t* core, int g) noexcept nogil:
    core.st.group[g].promise.holder = NO_NODE
    core.st.group[g].promise.expiry_ns = 0
    core.st.group[g].promise.stamp = 0


cdef void promise_self(core_t* core, int g, uint32_t epoch) noexcept nogil:
    """This node's own vote for its own claim; it ends when the output is physically off."""
    cdef group_t* grp = &core.st.group[g]
    grp.promise.holder = core.cfg.self_node
    grp.promise.incarnation = core.st.incarnation
    grp.promise.epoch = epoch
    grp.promise.expiry_ns = NEVER_NS
    if epoch > grp.floor:
        grp.floor = epoch
    if epoch > grp.seen:
        grp.seen = epoch


cdef void give_promise(core_t* core, int g, int node, uint32_t epoch, int64_t grant_ns) noexcept nogil:
    cdef promise_t* pr = &core.st.group[g].promise
    cdef int64_t expiry = core.st.now_ns + grant_ns
    pr.expiry_ns = expiry if pr.holder != node or expiry > pr.expiry_ns else pr.expiry_ns
    pr.holder = <uint8_t>node
    pr.incarnation = core.st.peer[node].incarnation
    pr.epoch = epoch
    pr.stamp = core.st.peer[node].stamp
    core.st.group[g].why = CAUSE_SILENCE
    if epoch > core.st.group[g].floor:
        core.st.group[g].floor = epoch


cdef inline bint asks(const row_t* row, int node) noexcept nogil:
    return row.vote == node and (row.state == ACTIVE or row.state == CLAIMING)


cdef void consider(core_t* core, int g, int node, const row_t* row, int64_t grant_ns) noexcept nogil:
    """Promise, renew or refuse one row that asks, from a proven newest frame."""
    cdef group_t* grp = &core.st.group[g]
    cdef promise_t* pr = &grp.promise
    cdef bint same = pr.holder == node and pr.incarnation == core.st.peer[node].incarnation
    if same and row.epoch == pr.epoch:
        give_promise(core, g, node, row.epoch, grant_ns)
        return
    if row.epoch > core.st.ceiling:
        return                                   # not before the reservation is on disk
    if grp.state == LISTEN:
        if row.state == ACTIVE and (pr.holder == NO_NODE or same):
            give_promise(core, g, node, row.epoch, grant_ns)
        return
    if row.epoch < grp.floor:
        return
    # A proven new life of the holder owns nothing of the old one, whose promise ends with that proof.
    if pr.holder == node or promise_free(core, g):
        give_promise(core, g, node, row.epoch, grant_ns)


cdef void hear_released(core_t* core, int g, int node, const echo_t* echo, int64_t grant_ns) noexcept nogil:
    """RELEASED, in every frame until it asks again: its outputs are off and its own promise has ended.

    A life that abstains does not say that: the relay of the life before may still be releasing. It abstains longer than
    any relay takes, so what it says afterwards ends the promise to the life before. Nor does the taker of a handover
    that has not yet seen the newest offer: it may take on that one. Its promise is renewed while the offer stands.
    """
    cdef group_t* grp = &core.st.group[g]
    if echo == NULL or echo.stamp > grp.offered:
        end_promise(core, g)
        grp.why = CAUSE_RELEASED
    elif grp.target == node and grant_ns > 0 and grp.promise.incarnation == core.st.peer[node].incarnation:
        give_promise(core, g, node, grp.promise.epoch, grant_ns)


cdef void hear_rows(core_t* core, const frame_t* frame, bint proven) noexcept nogil:
    """What a newest frame means for this node's promises."""
    cdef int node = frame.source
    cdef peer_t* peer = &core.st.peer[node]
    cdef int64_t grant_ns = <int64_t>peer.grant_ms * 1000000
    cdef group_t* grp
    cdef const row_t* row
    cdef const echo_t* echo = echo_of_self(core, frame)
    cdef int g
    cdef int rows = frame.row_count if frame.row_count < core.cfg.group_count else core.cfg.group_count
    # Who has not heard this node for as long as the promise would last has no authority from it to renew, and a deaf
    # claimant would keep the promise from those who hear.
    cdef bint hears = echo != NULL and core.st.now_ns - <int64_t>(echo.stamp * 1000) <= grant_ns
    for g in range(rows):
        grp = &core.st.group[g]
        row = &frame.row[g]
        if row.flags & ROW_FLOOR:
            if row.epoch > grp.far:
                grp.far = row.epoch
        elif row.epoch > grp.seen:
            grp.seen = row.epoch
        if not proven or not core.cfg.group[g].exclusive:
            continue
        if asks(row, node):
            if is_voter(core) and grant_ns > 0 and (hears or by_word(core, g)):
                consider(core, g, node, row, grant_ns)
        elif grp.promise.holder == node and row.state != RELEASING and row.state != LISTEN:
            hear_released(core, g, node, echo, grant_ns)


cdef void note_report(core_t* core, int node) noexcept nogil:
    """After a restart: the node has reported, once what it drives by this node's word has that word again (A11, L2)."""
    cdef int g
    cdef uint8_t state
    for g in range(core.cfg.group_count):
        state = core.st.peer[node].row[g].state
        if by_word(core, g) and (state == ACTIVE or state == RELEASING):
            if core.st.group[g].state == LISTEN and core.st.group[g].promise.holder != node:
                return
    core.st.reported_mask |= <uint8_t>(1 << node)


# ---------------------------------------------------------------- as a holder
cdef void count_votes(core_t* core, int node, const frame_t* frame) noexcept nogil:
    """Promises of a proven newest frame for this node's claims, with the length recorded for the echoed stamp."""
    cdef const echo_t* echo = echo_of_self(core, frame)
    cdef group_t* grp
    cdef const row_t* row
    cdef int64_t until
    cdef int g
    cdef int rows = frame.row_count if frame.row_count < core.cfg.group_count else core.cfg.group_count
    if echo == NULL or echo.grant_ms == 0 or not (core.cfg.voter_mask >> node) & 1:
        return
    until = <int64_t>(echo.stamp * 1000) + lease_from_grant(&core.cfg, <int64_t>echo.grant_ms * 1000000)
    for g in range(rows):
        grp = &core.st.group[g]
        row = &frame.row[g]
        if grp.state != CLAIMING and grp.state != ACTIVE:
            continue
        if row.vote != core.cfg.self_node or row.epoch != grp.epoch or row.flags & ROW_KEPT:
            continue
        if grp.vote[node].epoch != grp.epoch or until > grp.vote[node].until_ns:
            grp.vote[node].epoch = grp.epoch
            grp.vote[node].stamp = echo.stamp
            grp.vote[node].until_ns = until


cdef inline int64_t vote_value(const core_t* core, const group_t* grp, int voter, bint stamps) noexcept nogil:
    """Expiry (or answered stamp in ns) of one voter's promise for the current epoch; 0 when there is none."""
    if voter == core.cfg.self_node or grp.vote[voter].epoch != grp.epoch or grp.epoch == 0:
        return 0
    return <int64_t>(grp.vote[voter].stamp * 1000) if stamps else grp.vote[voter].until_ns


cdef int64_t nth_best(const core_t* core, int g, int count, bint stamps) noexcept nogil:
    """The count-th latest value among the other voters' promises; 0 when fewer voted, NEVER_NS when none is needed."""
    cdef int64_t best[MAX_VOTERS]
    cdef int64_t value
    cdef const group_t* grp = &core.st.group[g]
    cdef int found = 0
    cdef int voters = THIRD_VOTER + 1 if core.cfg.third_voter else core.cfg.node_count
    cdef int i, j
    if count <= 0:
        return NEVER_NS
    for i in range(voters):
        value = vote_value(core, grp, i, stamps)
        if value == 0:
            continue
        j = found
        while j > 0 and best[j - 1] < value:
            best[j] = best[j - 1]
            j -= 1
        best[j] = value
        found += 1
    return best[count - 1] if found >= count else 0


cdef inline int needed(const core_t* core, int g) noexcept nogil:
    """Promises needed from others: the own one counts where this node votes."""
    return core.cfg.quorum - (1 if core.st.group[g].promise.holder == core.cfg.self_node and is_voter(core) else 0)


cdef int64_t authority(const core_t* core, int g) noexcept nogil:
    """Until when a majority of promises covers this node's own epoch; NEVER_NS where it needs nobody."""
    cdef int64_t until = nth_best(core, g, needed(core, g), False)
    if until and until != NEVER_NS and by_word(core, g):
        return NEVER_NS          # a promise once given does not end by time there
    return until


cdef int64_t answered_ns(const core_t* core, int g) noexcept nogil:
    """Send time of the newest ask that a majority has answered."""
    return nth_best(core, g, needed(core, g), True)
