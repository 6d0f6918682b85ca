"""Who else drives, claims or could: what the peers' newest rows say, for as long as they may be believed."""
from libc.stdint cimport int64_t, uint8_t

from twinbeat_core.model cimport (
    ACTIVE, CAUSE_COLD_START, CLAIMING, FLAG_BEHIND, FLAG_STOPPING, FLAG_UNFIT, LISTEN, NO_NODE, RELEASING, STANDBY,
)
from twinbeat_core.state cimport core_t, group_t, peer_t

cdef enum:
    BARRED_S = 10        # a peer of another configuration or version keeps this node from claiming that long
    UNFIT_RANKS = 8      # an unfit node waits as if it ranked behind every fit one

cdef int64_t SECOND = 1000000000


cdef inline int64_t believed_for(const core_t* core, const peer_t* peer) noexcept nogil:
    """How long the newest row counts: the promise its frame earned; the longest one where it earned none."""
    return <int64_t>peer.grant_ms * 1000000 if peer.grant_ms else core.cfg.grant_max_ns


cdef bint believed(const core_t* core, int node) noexcept nogil:
    cdef const peer_t* peer = &core.st.peer[node]
    if node == core.cfg.self_node or not peer.known or peer.dead:
        return False
    return core.st.now_ns - peer.rows_ns < believed_for(core, peer)


cdef int64_t candidate_ends_ns(const core_t* core, int node, int g) noexcept nogil:
    """Until when an unproven life is believed that it drives: not while the proven one answers, and not for ever."""
    cdef const peer_t* peer = &core.st.peer[node]
    cdef int64_t at, last
    if not peer.candidate or not (peer.candidate_on >> g) & 1:
        return 0
    if peer.known and core.st.now_ns - peer.proven_ns <= core.cfg.link[core.cfg.fast_link].grant_ns:
        return 0
    at = peer.candidate_ns + core.cfg.grant_max_ns
    last = peer.candidate_since_ns + 2 * core.cfg.grant_max_ns
    return at if at < last else last


cdef bint other_drives(const core_t* core, int g) noexcept nogil:
    """Somebody says that its output is or may be on."""
    cdef int i
    cdef uint8_t state
    for i in range(core.cfg.node_count):
        if candidate_ends_ns(core, i, g) > core.st.now_ns:
            return True
        if believed(core, i):
            state = core.st.peer[i].row[g].state
            if state == ACTIVE or state == RELEASING:
                return True
    return False


cdef int64_t belief_ends_ns(const core_t* core, int g) noexcept nogil:
    """When the last of those who say that they drive need no longer be believed; 0 when nobody says so."""
    cdef int64_t last = 0
    cdef int64_t at
    cdef int i
    for i in range(core.cfg.node_count):
        at = candidate_ends_ns(core, i, g)
        if at > core.st.now_ns and at > last:
            last = at
        if not believed(core, i):
            continue
        if core.st.peer[i].row[g].state == ACTIVE or core.st.peer[i].row[g].state == RELEASING:
            at = core.st.peer[i].rows_ns + believed_for(core, &core.st.peer[i])
            if at > last:
                last = at
    return last


cdef bint other_drives_above(const core_t* core, int g) noexcept nogil:
    cdef int i
    for i in range(core.cfg.node_count):
        if believed(core, i) and core.st.peer[i].row[g].state == ACTIVE:
            if core.st.peer[i].row[g].epoch > core.st.group[g].epoch:
                return True
    return False


cdef bint fit_one_drives(const core_t* core, int g) noexcept nogil:
    """Another node says that it drives and is fit to, and knows that this one is not: else both might let go."""
    cdef int i
    for i in range(core.cfg.node_count):
        if believed(core, i) and core.st.peer[i].row[g].state == ACTIVE:
            if core.st.peer[i].flags & (FLAG_UNFIT | FLAG_STOPPING):
                continue
            if <int64_t>(core.st.peer[i].echoed * 1000) > core.st.unfit_ns:
                return True
    return False


cdef inline bint claims(const core_t* core, int g, int node) noexcept nogil:
    """It claims and hears this node: one that went deaf a moment ago must not stop everybody."""
    cdef const peer_t* peer = &core.st.peer[node]
    if not believed(core, node) or peer.row[g].state != CLAIMING or not peer.grant_ms:
        return False
    return core.st.now_ns - <int64_t>(peer.echoed * 1000) < <int64_t>peer.grant_ms * 1000000


cdef bint other_claims_above(const core_t* core, int g) noexcept nogil:
    """A claim with right of way: higher epoch, and proven two-way, or a deaf claimant would stop everybody."""
    cdef int i
    for i in range(core.cfg.node_count):
        if claims(core, g, i):
            if core.st.peer[i].row[g].epoch > core.st.group[g].epoch:
                return True
    return False


cdef bint other_claims(const core_t* core, int g) noexcept nogil:
    """A proven claim at any epoch: it is that node's turn, and two that overbid each other never end."""
    cdef int i
    for i in range(core.cfg.node_count):
        if claims(core, g, i):
            return True
    return False


cdef bint newcomer(const core_t* core, int g, int node) noexcept nogil:
    """It abstains in a life that began when this node abstained no more: it owns nothing and can claim nothing yet."""
    cdef const peer_t* peer = &core.st.peer[node]
    if not peer.known or peer.row[g].state != LISTEN or peer.adopted_ns <= core.st.listen_until_ns:
        return False
    # What it says is as old as the frame of ours that it had heard: input that waited may tell of long ago.
    return core.st.now_ns - <int64_t>(peer.echoed * 1000) < <int64_t>peer.grant_ms * 1000000


cdef bint may_drive(const core_t* core, int g, int node) noexcept nogil:
    return (core.cfg.group[g].drivers_mask >> node) & 1


cdef inline bint candidate(const core_t* core, int g, int node) noexcept nogil:
    cdef const peer_t* peer = &core.st.peer[node]
    if not believed(core, node) or not (core.cfg.voter_mask >> node) & 1 or not may_drive(core, g, node):
        return False
    if peer.flags & (FLAG_UNFIT | FLAG_STOPPING | FLAG_BEHIND):
        return False
    return peer.row[g].state <= CLAIMING and not newcomer(core, g, node)     # LISTEN, STANDBY or CLAIMING


cdef bint ready(const core_t* core, int g, int node) noexcept nogil:
    """Proven, fit and standing by: it could take the group over on one frame."""
    return candidate(core, g, node) and core.st.peer[node].grant_ms and core.st.peer[node].row[g].state == STANDBY


cdef int best_target(const core_t* core, int g) noexcept nogil:
    """The best ranked other node that is proven, fit and standing by; NO_NODE when there is none."""
    cdef int best = NO_NODE
    cdef int i
    for i in range(core.cfg.node_count):
        if ready(core, g, i):
            if best == NO_NODE or core.cfg.group[g].rank[i] < core.cfg.group[g].rank[best]:
                best = i
    return best


cdef bint goes_before(const core_t* core, int g, int node) noexcept nogil:
    """Whether another candidate has precedence over this node.

    At a cold start: who drove last, then the higher replication position, then the order of the list. Later the order
    of the list alone.
    """
    cdef const group_t* grp = &core.st.group[g]
    cdef int own = core.cfg.self_node
    if grp.why == CAUSE_COLD_START:
        if grp.last_driver == own or grp.last_driver == node:
            return grp.last_driver == node
        if core.st.peer[node].sync_position != core.st.sync_position:
            return core.st.peer[node].sync_position > core.st.sync_position
    return core.cfg.group[g].rank[node] < core.cfg.group[g].rank[own]


cdef int64_t barred_until(const core_t* core) noexcept nogil:
    """Until when nothing may be claimed here: another configuration, version or twin is heard (P5, P6); 0: no bar."""
    cdef int64_t last = core.st.twin_ns
    cdef int i
    for i in range(core.cfg.node_count):
        if core.st.peer[i].barred_ns > last:
            last = core.st.peer[i].barred_ns
    return last + BARRED_S * SECOND if last else 0


cdef int64_t claim_wait(const core_t* core, int g) noexcept nogil:
    """How long this node waits once nobody else may drive: better candidates first, nobody alone at a cold start."""
    cdef int64_t ranks = 0
    cdef int64_t wait = 0
    cdef int64_t start = core.st.group[g].free_since_ns
    cdef int64_t barred = barred_until(core) - start
    cdef int i
    for i in range(core.cfg.node_count):
        if i == core.cfg.self_node:
            continue
        if candidate(core, g, i) and goes_before(core, g, i):
            ranks += 1
    if barred > wait:
        wait = barred
    if not core.st.fit or core.st.behind:
        ranks += UNFIT_RANKS
    if ranks * core.cfg.stagger_ns > wait:
        wait = ranks * core.cfg.stagger_ns
    if not core.st.heard_any and core.cfg.node_count > 1 and core.cfg.lonely_start_ns > wait:
        wait = core.cfg.lonely_start_ns
    if core.st.claim_after_ns - start > wait:
        wait = core.st.claim_after_ns - start
    return wait
