"""When to send on which link, and what a frame says.

Every link carries a beat each period. A holder whose answer is late asks again on every link at once; when the
fastest link falls silent the slower ones go as fast as they may; an ask is answered on the link it came by.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from twinbeat_core.effects cimport add_effect
from twinbeat_core.model cimport (
    ACTIVE, CLAIMING, FLAG_ANSWER, FLAG_ASK, FLAG_BEHIND, FLAG_STOPPING, FLAG_THIRD, FLAG_UNFIT, FRAME_HEARTBEAT,
    FX_ASK, FX_SEND, LINK_SERIAL, LISTEN, NEVER_NS, NO_NODE, OUT, ROW_FLOOR, ROW_KEPT, ROW_TARGET, STANDBY, THIRD_VOTER,
    effect_t, frame_t,
)
from twinbeat_core.paths cimport hears_mask
from twinbeat_core.state cimport core_t, group_t, peer_t
from twinbeat_core.votes cimport answered_ns, claim_base
from twinbeat_core.codec cimport WIRE_VERSION_OLDEST
from twinbeat_core.planned cimport prepare_word


cdef inline bint asking_group(const core_t* core, int g) noexcept nogil:
    """It needs promises now: what every node drives by its own word needs none."""
    cdef uint8_t state = core.st.group[g].state
    return (state == ACTIVE or state == CLAIMING) and core.cfg.group[g].exclusive


cdef bint asking(const core_t* core) noexcept nogil:
    cdef int g
    for g in range(core.cfg.group_count):
        if asking_group(core, g):
            return True
    return False


cdef inline bint has_stopped(const core_t* core, const peer_t* peer) noexcept nogil:
    """It stops and drives no more. While it still drives it needs the word that its taker has prepared (M1)."""
    cdef int g
    if not peer.flags & FLAG_STOPPING:
        return False
    for g in range(core.cfg.group_count):
        if peer.row[g].state == ACTIVE:
            return False
    return True


cdef uint8_t version_spoken(const core_t* core) noexcept nogil:
    """The newest layout that every other node speaks; the oldest while one is not heard: it may come back as old."""
    cdef uint8_t version = core.cfg.wire_version
    cdef const peer_t* peer
    cdef int i
    for i in range(core.cfg.node_count):
        peer = &core.st.peer[i]
        if i == core.cfg.self_node:
            continue
        if peer.version_max == 0 or peer.silent or peer.dead or has_stopped(core, peer):
            return WIRE_VERSION_OLDEST
        if peer.version_max < version:
            version = peer.version_max
    return version


cdef bint suspicious(const core_t* core) noexcept nogil:
    cdef int i
    for i in range(core.cfg.node_count):
        if i != core.cfg.self_node and core.st.peer[i].suspect:
            return True
    return False


cdef bint unproven_heard(const core_t* core) noexcept nogil:
    """Somebody is heard who has not yet been proven in both directions: ask, so that the proof comes at once."""
    cdef int i
    cdef const peer_t* peer
    for i in range(core.cfg.node_count):
        peer = &core.st.peer[i]
        if i != core.cfg.self_node and peer.heard_ns and peer.proven_ns < peer.heard_ns - core.cfg.grant_max_ns:
            return True
    return False


cdef bint peer_answers(const core_t* core) noexcept nogil:
    """Some voting peer is neither dead nor silent for good."""
    cdef int i
    cdef const peer_t* peer
    for i in range(core.cfg.node_count):
        peer = &core.st.peer[i]
        if i == core.cfg.self_node or not (core.cfg.voter_mask >> i) & 1:
            continue
        if peer.known and not peer.dead and not peer.silent:
            return True
    return False


cdef bint anybody_answers(const core_t* core) noexcept nogil:
    """Asking again can bring an answer."""
    cdef int i
    if peer_answers(core):
        return True
    for i in range(core.cfg.group_count if core.cfg.third_voter else 0):
        # The third voter has promised to this claim: it answers.
        if asking_group(core, i) and core.st.group[i].vote[THIRD_VOTER].epoch == core.st.group[i].epoch:
            return True
    return False


cdef int64_t answer_late_ns(const core_t* core) noexcept nogil:
    """When the answer to the newest answered ask's successor is overdue; NEVER_NS when nothing is asked for."""
    cdef int64_t best = NEVER_NS
    cdef int64_t at
    cdef int fast = core.cfg.fast_link
    cdef int64_t period = core.cfg.link[fast].period_ns
    cdef int64_t rtt = core.cfg.link[fast].rtt_ns
    cdef int g
    if core.cfg.third_voter and not peer_answers(core):
        # Only the third voter is left, and it is asked at its own pace.
        period = period if period > core.cfg.third_period_ns else core.cfg.third_period_ns
        rtt = rtt if rtt > core.cfg.third_rtt_ns else core.cfg.third_rtt_ns
    for g in range(core.cfg.group_count):
        if not asking_group(core, g):
            continue
        at = answered_ns(core, g)
        if at == NEVER_NS:
            continue
        if core.st.group[g].state == ACTIVE or at:
            at += period
        at += rtt
        if at < best:
            best = at
    return best


cdef inline int64_t period_of(const core_t* core, int link) noexcept nogil:
    return core.cfg.link[link].fast_period_ns if (core.st.fast_mask >> link) & 1 else core.cfg.link[link].period_ns


cdef void speed_up(core_t* core, bint suspect) noexcept nogil:
    """Suspicion: probe on every slower link now, and go on at its fast period until the fast link is heard again."""
    cdef int fast = core.cfg.fast_link
    cdef int i
    if not suspect:
        core.st.fast_mask = 0
        return
    for i in range(core.cfg.link_count):
        if i != fast and not (core.st.fast_mask >> i) & 1:
            core.st.fast_mask |= 1 << i
            core.st.tx_due_ns[i] = core.st.now_ns


cdef enum:
    FEW = 4                  # groups whose changes of role no queue minds


cdef inline int64_t apart_ns(const core_t* core, int link) noexcept nogil:
    """How far apart frames of a burst are on a link; 0: it takes any number.

    A line that sends byte by byte is asked no faster than every two frames, so that half of that is a frame's time.
    """
    if core.cfg.link[link].period_ns > core.cfg.link[core.cfg.fast_link].period_ns:
        return core.cfg.link[link].reask_ns
    return core.cfg.link[link].reask_ns // 2 if core.cfg.link[link].kind == LINK_SERIAL else 0


cdef uint8_t spaced(core_t* core, uint8_t mask, bint suspect) noexcept nogil:
    """Q5: what is told at once goes out no faster than the link takes it.

    Several groups that move together would else fill a line or a broker's queue with frames of which the newest says
    everything.
    """
    cdef int64_t at
    cdef int i
    if suspect or core.cfg.group_count <= FEW:
        return mask
    for i in range(core.cfg.link_count):
        at = core.st.tx_at_ns[i] + apart_ns(core, i)
        if (mask >> i) & 1 and core.st.now_ns < at:
            mask &= ~<uint8_t>(1 << i)
            if at < core.st.tx_due_ns[i]:
                core.st.tx_due_ns[i] = at
    return mask


cdef void schedule(core_t* core) noexcept nogil:
    """Decide the links of this step's frame: beats due, asks repeated, probes, answers, announcements."""
    cdef int64_t now = core.st.now_ns
    cdef bint suspect = suspicious(core)
    cdef bint asks = asking(core)
    cdef bint again
    cdef int i
    cdef uint8_t links = core.cfg.own_links
    core.send_mask = spaced(core, (core.send_mask | core.st.pending_mask) & links, suspect)
    core.st.pending_mask = 0             # what is put off has a time of its own now
    speed_up(core, suspect)
    again = asks and now >= answer_late_ns(core) and anybody_answers(core)
    for i in range(core.cfg.link_count):
        if now >= core.st.tx_due_ns[i] or (again and now - core.st.asked_ns[i] >= core.cfg.link[i].reask_ns):
            core.send_mask |= 1 << i
    core.send_mask &= links
    if core.send_mask and (asks or suspect or unproven_heard(core)):
        core.out.frame.flags = FLAG_ASK
    else:
        core.out.frame.flags = 0
    core.send_mask |= core.answer_mask & links


cdef void note_sent(core_t* core, bint asks) noexcept nogil:
    cdef int64_t period
    cdef int i
    for i in range(core.cfg.link_count):
        if not (core.send_mask >> i) & 1:
            continue
        period = period_of(core, i)
        core.st.tx_at_ns[i] = core.st.now_ns
        if core.out.frame.flags & FLAG_ASK:
            core.st.asked_ns[i] = core.st.now_ns
        # One who answers every ask need not beat beside them; the quarter keeps the two from colliding.
        core.st.tx_due_ns[i] = core.st.now_ns + (period if asks else period + period // 4)
        core.st.link_seq[i] += 1
        core.out.link_seq[i] = core.st.link_seq[i]


cdef bint candidate_turn(const core_t* core, const peer_t* peer) noexcept nogil:
    """The unproven life is the newer one, and the proven one has not been for as long as its promise lasts."""
    cdef int64_t grant = core.cfg.link[core.cfg.fast_link].grant_ns
    if peer.candidate_ns <= peer.life_ns:
        return False
    return peer.dead or core.st.now_ns - peer.proven_ns > grant


cdef void put_echoes(core_t* core, frame_t* frame) noexcept nogil:
    cdef peer_t* peer
    cdef int i
    cdef int count = 0
    for i in range(core.cfg.node_count):
        peer = &core.st.peer[i]
        if i == core.cfg.self_node or not (peer.known or peer.candidate):
            continue
        frame.echo[count].node = <uint8_t>i
        frame.echo[count].hears = hears_mask(core, i)
        if peer.candidate and (not peer.known or candidate_turn(core, peer)):
            # A life not yet proven is answered too, or it could never prove itself; it is promised nothing.
            frame.echo[count].incarnation = peer.candidate
            frame.echo[count].stamp = peer.candidate_stamp
            frame.echo[count].grant_ms = 0
        else:
            frame.echo[count].incarnation = peer.incarnation
            frame.echo[count].stamp = peer.stamp
            frame.echo[count].grant_ms = peer.grant_ms
        count += 1
    frame.echo_count = <uint8_t>count


cdef void put_rows(core_t* core, frame_t* frame) noexcept nogil:
    cdef group_t* grp
    cdef const peer_t* peer
    cdef uint8_t holder
    cdef int g
    for g in range(core.cfg.group_count):
        grp = &core.st.group[g]
        holder = grp.promise.holder
        frame.row[g].state = grp.state
        frame.row[g].vote = holder
        frame.row[g].flags = 0
        frame.row[g].prepare = 0
        if core.cfg.prepares and frame.version > WIRE_VERSION_OLDEST:
            frame.row[g].prepare = prepare_word(core, g)
        frame.row[g].epoch = grp.promise.epoch if holder != NO_NODE else grp.floor
        if grp.state == LISTEN and holder == NO_NODE:
            frame.row[g].flags = ROW_FLOOR     # a guess after a restart: a driver need not climb above it
            if core.st.disk_lost:
                frame.row[g].epoch = claim_base(core, g)       # another that has forgotten learns what was heard here
        if holder == NO_NODE or holder == core.cfg.self_node:
            continue
        peer = &core.st.peer[holder]
        if peer.incarnation != grp.promise.incarnation or peer.stamp != grp.promise.stamp:
            frame.row[g].flags |= ROW_KEPT
            if grp.state != LISTEN and peer.row[g].epoch != grp.promise.epoch:
                frame.row[g].epoch = grp.floor     # it asks for an epoch refused here: what it must claim above
        if grp.target == holder and (grp.state == STANDBY or grp.state == OUT):
            frame.row[g].flags |= ROW_TARGET
            grp.offered = core.st.stamp
    frame.row_count = core.cfg.group_count


cdef bint third_due(const core_t* core, int g) noexcept nogil:
    """Whether to ask the third voter now: for what it has not promised, and again in good time for what it has."""
    cdef const group_t* grp = &core.st.group[g]
    cdef int64_t now = core.st.now_ns
    cdef int64_t stamp_ns = <int64_t>(grp.vote[THIRD_VOTER].stamp * 1000)
    if grp.third_asked_ns and now - grp.third_asked_ns < core.cfg.third_reask_ns:
        return False
    if not asking_group(core, g) or grp.vote[THIRD_VOTER].epoch != grp.epoch:
        return True
    # A beat that comes a little early must not put it off by a whole one.
    return now - stamp_ns >= core.cfg.third_period_ns - core.cfg.link[core.cfg.fast_link].period_ns // 2


cdef bint keeps_in_touch(const core_t* core) noexcept nogil:
    """Nothing was asked for half a promise: a later ask must echo a fresh answer, and the peer be told who is heard."""
    cdef int64_t beat = core.cfg.link[core.cfg.fast_link].period_ns
    return core.st.now_ns - core.st.third_asked_ns >= core.cfg.third_grant_ns // 2 - beat // 2


cdef void put_asks(core_t* core, bint asks) noexcept nogil:
    """The third voter is asked with the same stamp."""
    cdef effect_t* fx
    cdef uint32_t epoch
    cdef int g
    for g in range(core.cfg.group_count):
        if asks and asking_group(core, g):
            epoch = core.st.group[g].epoch
        elif core.st.disk_lost and not core.st.group[g].third_reported:
            epoch = 0                    # no claim: only what it knows is asked for
        elif g == core.cfg.group_count - 1 and keeps_in_touch(core):
            epoch = 0
        else:
            continue
        if not third_due(core, g):
            continue
        core.st.group[g].third_asked_ns = core.st.now_ns
        core.st.third_asked_ns = core.st.now_ns
        fx = add_effect(core, FX_ASK)
        fx.group = <uint8_t>g
        fx.epoch = epoch
        fx.stamp = core.st.stamp


cdef void compose(core_t* core) noexcept nogil:
    """Fill the frame of this step, the same for every link of the mask but for the link's own sequence number."""
    cdef frame_t* frame = &core.out.frame
    cdef effect_t* fx
    cdef bint asks = asking(core)
    cdef uint64_t stamp = <uint64_t>(core.st.now_ns // 1000)
    if core.send_mask == 0:
        return
    if stamp <= core.st.stamp:
        # One frame a microsecond: a stamp that ran ahead of the clock would lengthen the authority that it earns.
        core.st.pending_mask = core.send_mask
        return
    core.st.stamp = stamp
    frame.kind = FRAME_HEARTBEAT
    frame.version = version_spoken(core)
    frame.version_max = core.cfg.wire_version
    frame.source = core.cfg.self_node
    frame.pair_id = core.cfg.pair_id
    frame.config_digest = core.cfg.config_digest
    frame.incarnation = core.st.incarnation
    frame.stamp = core.st.stamp
    frame.health = core.st.health
    frame.load = core.st.load
    frame.sync_position = core.st.sync_position
    if not frame.flags & FLAG_ASK:
        frame.flags |= FLAG_ANSWER
    if not core.st.fit:
        frame.flags |= FLAG_UNFIT
    if core.st.stopping:
        frame.flags |= FLAG_STOPPING
    if core.st.behind:
        frame.flags |= FLAG_BEHIND
    if core.st.third_heard_ns and core.st.now_ns - core.st.third_heard_ns <= core.cfg.third_grant_ns:
        frame.flags |= FLAG_THIRD
    put_echoes(core, frame)
    put_rows(core, frame)
    note_sent(core, asks)
    core.out.send_mask = core.send_mask
    fx = add_effect(core, FX_SEND)
    fx.value = core.send_mask
    fx.code = frame.flags
    fx.stamp = core.st.stamp
    if core.cfg.third_voter:
        put_asks(core, asks)


cdef int64_t sending_deadline(const core_t* core) noexcept nogil:
    cdef int64_t best = NEVER_NS
    cdef int64_t late = NEVER_NS
    cdef int64_t at
    cdef int i
    if core.st.pending_mask:
        return <int64_t>(core.st.stamp + 1) * 1000
    for i in range(core.cfg.link_count):
        if core.st.tx_due_ns[i] < best and (core.cfg.own_links >> i) & 1:
            best = core.st.tx_due_ns[i]
    if asking(core) and anybody_answers(core):
        late = answer_late_ns(core)
    if late == NEVER_NS:
        return best
    if late > core.st.now_ns:
        return late if late < best else best
    for i in range(core.cfg.link_count):
        at = core.st.asked_ns[i] + core.cfg.link[i].reask_ns
        if at < best and (core.cfg.own_links >> i) & 1:
            best = at
    return best
