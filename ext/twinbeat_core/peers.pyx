"""What is known of each peer: which incarnation, heard on which link, proven in which direction.

A frame proves both directions when it echoes this node's incarnation and one of its recent stamps
(docs/protocol.md, "Two-way proof"). An incarnation becomes the peer's current one by such a frame only, so a
replayed frame of a past life, whose echo is old, changes nothing.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from twinbeat_core.effects cimport report
from twinbeat_core.model cimport (
    FLAG_THIRD, ACTIVE, FRAME_DEATH, MAX_RETIRED, NO_NODE, RELEASING, RP_CONFIG_MISMATCH, RP_GRANT, RP_PEER_UP,
    RP_VERSION_MISMATCH, echo_t, event_t, frame_t,
)
from twinbeat_core.paths cimport link_of_beat, measure_gap, measure_loss, offered_over
from twinbeat_core.state cimport core_t, path_t, peer_t
from twinbeat_core.codec cimport WIRE_OK


cdef enum:
    TWIN_FRAMES = 10     # more than an earlier life can have had under way

cdef int64_t FORGET_FOREIGN_NS = 10000000000


cdef const echo_t* echo_of_self(const core_t* core, const frame_t* frame) noexcept nogil:
    cdef int i
    for i in range(frame.echo_count):
        if frame.echo[i].node == core.cfg.self_node and frame.echo[i].incarnation == core.st.incarnation:
            return &frame.echo[i]
    return NULL


cdef bint echo_recent(const core_t* core, const echo_t* echo) noexcept nogil:
    cdef int64_t age = core.st.now_ns - <int64_t>(echo.stamp * 1000)
    return echo.stamp != 0 and echo.stamp <= core.st.stamp and age <= core.cfg.grant_max_ns


cdef void retire(const core_t* core, peer_t* peer) noexcept nogil:
    cdef int i
    if not peer.known:
        return
    for i in range(MAX_RETIRED - 1, 0, -1):
        peer.retired[i] = peer.retired[i - 1]
        peer.retired_stamp[i] = peer.retired_stamp[i - 1]
    peer.retired[0] = peer.incarnation
    peer.retired_stamp[0] = core.st.stamp
    if peer.retired_count < MAX_RETIRED:
        peer.retired_count += 1


cdef void adopt(core_t* core, int node, uint32_t incarnation) noexcept nogil:
    """The candidate is proven: a new life of that node, which owns nothing of the old one."""
    cdef peer_t* peer = &core.st.peer[node]
    cdef path_t flags
    cdef int i
    retire(core, peer)
    for i in range(core.cfg.link_count):
        # Its stamps and numbers start anew, and so does what was measured; what was reported stays to be compared.
        flags = peer.path[i]
        memset(&peer.path[i], 0, sizeof(path_t))
        peer.path[i].grant_ns = core.cfg.link[i].grant_ns
        peer.path[i].up, peer.path[i].rx_dead, peer.path[i].tx_dead = flags.up, flags.rx_dead, flags.tx_dead
    peer.known = 1
    peer.dead = 0
    peer.incarnation = incarnation
    peer.stamp = 0
    peer.grant_ms = 0
    peer.candidate = 0
    peer.candidate_stamp = 0
    peer.candidate_ns = 0
    peer.candidate_on = 0
    peer.adopted_ns = core.st.now_ns
    for i in range(core.cfg.group_count):
        if core.st.group[i].target == node:
            # The taker of a handover is no more: the giver is a candidate as soon as its promise to it has ended.
            core.st.group[i].target = NO_NODE
            core.st.group[i].hold_off_ns = 0
    memset(peer.row, 0, sizeof(peer.row))
    report(core, RP_PEER_UP, <uint8_t>node, 0, 0, incarnation)


cdef int64_t oldest_episode(const core_t* core) noexcept nogil:
    """Since when unproven lives of any node are being heard: recorded ones in turn are one episode."""
    cdef int64_t since = core.st.now_ns
    cdef int i
    for i in range(core.cfg.node_count):
        if core.st.peer[i].candidate_ns and core.st.now_ns - core.st.peer[i].candidate_ns <= core.cfg.grant_max_ns:
            if core.st.peer[i].candidate_since_ns < since:
                since = core.st.peer[i].candidate_since_ns
    return since


cdef void note_candidate(core_t* core, peer_t* peer, const frame_t* frame, bint same_groups) noexcept nogil:
    """A life heard but not proven: what it says it drives is believed for a while (R2)."""
    cdef int i
    cdef bint recent = peer.candidate_ns != 0 and core.st.now_ns - peer.candidate_ns <= core.cfg.grant_max_ns
    if recent and not same_groups and peer.candidate_same:
        return                           # of another configuration, perhaps recorded: it takes no real life's place
    if not recent:
        peer.candidate_since_ns = oldest_episode(core)
    peer.candidate_same = same_groups
    peer.candidate = frame.incarnation
    peer.candidate_stamp = frame.stamp
    peer.candidate_ns = core.st.now_ns
    peer.candidate_on = 0
    for i in range(frame.row_count if same_groups else 0):
        if frame.row[i].state == ACTIVE or frame.row[i].state == RELEASING:
            peer.candidate_on |= <uint64_t>1 << i


cdef int classify(core_t* core, peer_t* peer, const frame_t* frame, const echo_t* echo, path_t* path) noexcept nogil:
    """Which life of the peer a frame belongs to, and whether it is fresh. May adopt a proven new life."""
    cdef int i
    cdef bint proven = echo != NULL and echo_recent(core, echo)
    if peer.known and frame.incarnation == peer.incarnation:
        if frame.kind == FRAME_DEATH:
            # The gate repeats its notice and may name more groups each time, as their outputs get off.
            return HEARD_PROVEN if echo != NULL and frame.stamp > peer.stamp else HEARD_NOTHING
        if peer.dead or frame.stamp <= path.stamp:
            return HEARD_NOTHING
        # An echo too old may be a frame held up on the way or a peer that is deaf: heard, but it proves nothing.
        return HEARD_PROVEN if proven else HEARD_ONE_WAY
    for i in range(peer.retired_count):
        if peer.retired[i] == frame.incarnation:
            if frame.kind == FRAME_DEATH or not proven or echo.stamp <= peer.retired_stamp[i]:
                return HEARD_NOTHING
            # It has heard what was sent after it was taken for gone: late frames of an older life had replaced it.
            peer.retired[i] = 0
            adopt(core, frame.source, frame.incarnation)
            return HEARD_PROVEN
    if frame.kind == FRAME_DEATH:
        return HEARD_NOTHING                      # no life of that number was ever proven here
    if frame.incarnation == peer.candidate and frame.stamp <= peer.candidate_stamp:
        return HEARD_NOTHING
    if proven and echo.stamp > peer.echoed:
        adopt(core, frame.source, frame.incarnation)
        return HEARD_PROVEN
    note_candidate(core, peer, frame, True)
    return HEARD_ONE_WAY


cdef void note_echo(core_t* core, peer_t* peer, const echo_t* echo) noexcept nogil:
    cdef int i
    if echo.stamp > peer.echoed:
        peer.echoed = echo.stamp
    for i in range(core.cfg.link_count):
        if echo.hears & (1 << i):
            peer.path[i].told_ns = core.st.now_ns


cdef bint foreign(core_t* core, peer_t* peer, const event_t* ev) noexcept nogil:
    """Another configuration or protocol version: heard, reported once, earns nothing and bars a start.

    A frame of another configuration is echoed like any unproven life, and only one that echoes back bars: a recorded
    one cannot. A frame of another version cannot be read that far.
    """
    cdef const frame_t* frame = &ev.frame
    cdef bint version = ev.code != WIRE_OK
    cdef const echo_t* echo = NULL
    if not version and frame.config_digest == core.cfg.config_digest:
        if peer.barred_ns and core.st.now_ns - peer.barred_ns > FORGET_FOREIGN_NS:
            peer.mismatch = 0
            peer.stranger = 0
        return False
    if not version:
        note_candidate(core, peer, frame, False)
        echo = echo_of_self(core, frame)
    if version or (echo != NULL and echo_recent(core, echo)):
        peer.barred_ns = core.st.now_ns
    if version and not peer.stranger:
        peer.stranger = 1
        report(core, RP_VERSION_MISMATCH, frame.source, ev.link, frame.version, frame.version_max)
    elif not version and not peer.mismatch:
        peer.mismatch = 1
        report(core, RP_CONFIG_MISMATCH, frame.source, ev.link, frame.config_digest, core.cfg.config_digest)
    return True


cdef void take_content(core_t* core, peer_t* peer, const event_t* ev, int heard, int best) noexcept nogil:
    """The newest frame of the current life: what it says counts from now, for as long as it may be believed."""
    cdef const frame_t* frame = &ev.frame
    cdef int i
    peer.stamp = frame.stamp
    peer.rows_ns = core.st.now_ns
    peer.flags = frame.flags
    if not frame.flags & FLAG_THIRD:
        peer.third_since_ns = 0
    elif peer.third_since_ns == 0:
        peer.third_since_ns = core.st.now_ns
    peer.health = frame.health
    peer.load = frame.load
    peer.sync_position = frame.sync_position
    peer.grant_ms = 0
    peer.beat_ns = core.cfg.link[best].beat_ns
    if heard == HEARD_PROVEN:
        peer.grant_ms = <uint16_t>(peer.path[best].grant_ns // 1000000)
    for i in range(frame.row_count if frame.row_count < core.cfg.group_count else core.cfg.group_count):
        peer.row[i] = frame.row[i]


cdef void hear_twin(core_t* core, const frame_t* frame) noexcept nogil:
    """Another node under this name, or the rest of what an earlier life of this one sent: a few frames tell which."""
    core.st.self_frames += 1
    if frame.incarnation != core.st.twin:
        core.st.twin = frame.incarnation
        core.st.twin_frames = 0
    elif frame.stamp > core.st.twin_stamp:
        core.st.twin_frames += 1
    core.st.twin_stamp = frame.stamp
    if core.st.twin_frames >= TWIN_FRAMES:
        core.st.twin_ns = core.st.now_ns


cdef inline void note_fresh(core_t* core, peer_t* peer, const event_t* ev, int best) noexcept nogil:
    """A driver that is alone must know it before its authority ends (L1, M6).

    A beat by a slower link may answer a stamp that is a beat old and is longer on its way: it counts for a beat
    less than an answer by the fastest, which is asked for all the time.
    """
    cdef int64_t at = core.st.now_ns
    if core.cfg.link[ev.link].beat_ns > core.cfg.link[best].beat_ns:
        at -= core.cfg.link[best].beat_ns
    if at > peer.fresh_ns:
        peer.fresh_ns = at


cdef int hear(core_t* core, const event_t* ev) noexcept nogil:
    """Take in one authenticated frame; HEARD_NOTHING, HEARD_ONE_WAY or HEARD_PROVEN."""
    cdef const frame_t* frame = &ev.frame
    cdef peer_t* peer
    cdef path_t* path
    cdef const echo_t* echo
    cdef int heard, i, best
    cdef int64_t grant
    if frame.source >= core.cfg.node_count or ev.link >= core.cfg.link_count:
        return HEARD_NOTHING
    if frame.source == core.cfg.self_node:
        if frame.incarnation != core.st.incarnation:
            hear_twin(core, frame)
        return HEARD_NOTHING
    peer = &core.st.peer[frame.source]
    if foreign(core, peer, ev):
        return HEARD_NOTHING
    path = &peer.path[ev.link]
    echo = echo_of_self(core, frame)
    heard = classify(core, peer, frame, echo, path)
    if heard == HEARD_NOTHING:
        path.late_frames += 1
        return HEARD_NOTHING
    if frame.kind == FRAME_DEATH:
        peer.stamp = frame.stamp
        return HEARD_PROVEN
    if heard == HEARD_PROVEN or frame.version_max < peer.version_max:
        # An old program must be able to answer before it is proven, and a late frame of a newer one not to bar it.
        peer.version_max = frame.version_max
    if heard == HEARD_ONE_WAY and frame.incarnation != peer.incarnation:
        peer.heard_ns = core.st.now_ns
        core.st.heard_any = 1
        return HEARD_ONE_WAY                  # a life not yet proven is answered, nothing more
    measure_loss(core, path, frame.link_seq)
    measure_gap(core, path, peer, ev)
    path.seq = frame.link_seq
    path.stamp = frame.stamp
    path.heard_ns = core.st.now_ns
    path.rx_at_ns = ev.rx_at_ns
    grant = offered_over(core, path, ev.link)
    if grant != path.grant_ns:
        path.grant_ns = grant
        report(core, RP_GRANT, frame.source, ev.link, grant, path.loss_1024)
    peer.heard_ns = core.st.now_ns
    peer.suspect = 0
    peer.silent = 0
    core.st.heard_any = 1
    if echo != NULL:
        note_echo(core, peer, echo)
    if heard == HEARD_PROVEN:
        peer.proven_ns = core.st.now_ns
    peer.life_ns = core.st.now_ns
    if frame.stamp <= peer.stamp:
        return HEARD_COPY
    best = link_of_beat(core, frame.source, ev.link)
    if heard == HEARD_PROVEN:
        note_fresh(core, peer, ev, best)      # a copy that another link brings later tells less
    take_content(core, peer, ev, heard, best)
    return heard
