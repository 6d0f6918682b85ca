"""Silence and what may be concluded from it: suspicion, being alone, and the doubt of one's own hearing."""
from libc.stdint cimport int64_t, uint8_t

from twinbeat_core.candidates cimport newcomer
from twinbeat_core.effects cimport report
from twinbeat_core.model cimport ACTIVE, LINK_SERIAL, LISTEN, NEVER_NS, OUT, RP_PEER_SILENT
from twinbeat_core.paths cimport joins, lost_after, watch_path
from twinbeat_core.state cimport core_t, path_t, peer_t


cdef int64_t silence_of(const core_t* core, int node) noexcept nogil:
    """How long the peer has been silent on every link, as far as this node can judge."""
    cdef const peer_t* peer = &core.st.peer[node]
    cdef int64_t base = peer.heard_ns
    if peer.silence_ns > base:
        base = peer.silence_ns
    return core.st.now_ns - base


cdef inline int64_t alone_after(const core_t* core, int node) noexcept nogil:
    cdef int64_t beat = core.st.peer[node].beat_ns
    if beat == 0:
        beat = core.cfg.link[core.cfg.fast_link].period_ns
    return beat * 5 // 2


cdef bint long_deaf(const core_t* core) noexcept nogil:
    """So long that one whose death was known may have come back, abstained and be about to drive, all unheard."""
    if core.st.deaf_ns == 0 or core.st.now_ns - core.st.deaf_ns > alone_after(core, core.cfg.self_node):
        return False
    return core.st.now_ns - core.st.deaf_since_ns > core.cfg.grant_max_ns - core.cfg.link[core.cfg.fast_link].grant_ns


cdef bint deaf_to(const core_t* core, int64_t told_ns) noexcept nogil:
    """What a node told before this one went deaf is older than a promise: it may abstain no more."""
    if told_ns == 0 or core.st.deaf_ns == 0:
        return False
    if core.st.now_ns - core.st.deaf_ns > alone_after(core, core.cfg.self_node):
        return False
    return core.st.now_ns - told_ns > core.cfg.link[core.cfg.fast_link].grant_ns


cdef void note_deaf(core_t* core) noexcept nogil:
    if core.st.deaf_ns == 0 or core.st.now_ns - core.st.deaf_ns > alone_after(core, core.cfg.self_node):
        core.st.deaf_since_ns = core.st.now_ns
    core.st.deaf_ns = core.st.now_ns


cdef bint is_alone(const core_t* core, int g) noexcept nogil:
    """Every other voting node is dead by notice or silent, both ways, for two and a half beats.

    For a node that already drives, one that abstains or is out of service counts as silent: it cannot drive, and
    what it has forgotten or is too slow to say must not cost the output. For a claim the same of one that began to
    abstain when this node did no more. (Two that start together each see the other abstain.)
    """
    cdef int i
    cdef const peer_t* peer
    cdef int64_t base, proven
    for i in range(core.cfg.node_count):
        if i == core.cfg.self_node or not core.cfg.voter_mask & (1 << i):
            continue
        peer = &core.st.peer[i]
        if peer.dead:
            if long_deaf(core) or deaf_to(core, peer.candidate_ns):
                return False
            if core.st.group[g].state != ACTIVE and core.st.now_ns < core.st.group[g].hold_off_ns:
                return False
            continue
        if core.st.group[g].state == ACTIVE and peer.known and peer.rows_ns and not deaf_to(core, peer.rows_ns):
            if peer.row[g].state == LISTEN or peer.row[g].state == OUT:
                continue
        # Late copies of what a dead peer sent must not cost a driver its output; for a claim they count.
        proven = peer.fresh_ns if core.st.group[g].state == ACTIVE else peer.proven_ns
        base = proven if proven > peer.silence_ns else peer.silence_ns
        if core.st.group[g].alone and core.st.group[g].state == ACTIVE and not long_deaf(core):
            if peer.heard_ns + alone_after(core, i) <= core.st.deaf_since_ns:
                base = proven            # silent before this node went deaf: a moment of doubt unseats nobody
        if core.st.group[g].state != ACTIVE:
            if newcomer(core, g, i) and core.st.now_ns - peer.silence_ns >= alone_after(core, i):
                continue
            if peer.candidate_since_ns > base:
                base = peer.candidate_since_ns       # a life just heard has yet to prove itself
        if core.st.now_ns - base < alone_after(core, i):
            return False
    return True


cdef void doubt_self(core_t* core, int64_t grace_ns) noexcept nogil:
    """This node did not run or hear: nobody's silence counts from before, no claim by silence until grace is over."""
    cdef int i
    for i in range(core.cfg.node_count):
        core.st.peer[i].silence_ns = core.st.now_ns
        core.st.peer[i].suspect = 0
    if core.st.now_ns + grace_ns > core.st.claim_after_ns:
        core.st.claim_after_ns = core.st.now_ns + grace_ns


cdef void note_late(core_t* core, int64_t late_ns) noexcept nogil:
    """What carries received tty bytes here was late: the promises over serial lines must outlast twice that.

    Longer than a promise it was a fault, as when the whole process was stopped, and not this machine's manner.
    """
    cdef path_t* path
    cdef int node, link
    for node in range(core.cfg.node_count):
        for link in range(core.cfg.link_count):
            path = &core.st.peer[node].path[link]
            if core.cfg.link[link].kind != LINK_SERIAL or late_ns > path.grant_ns:
                continue
            if 2 * late_ns > path.gap_ns:
                path.gap_ns = 2 * late_ns


cdef void watch_links(core_t* core) noexcept nogil:
    """Suspicion, link states and the beat of each known peer, as of now."""
    cdef int node, link
    cdef int64_t silence, period, since
    cdef peer_t* peer
    cdef int fast = core.cfg.fast_link
    for node in range(core.cfg.node_count):
        peer = &core.st.peer[node]
        if node == core.cfg.self_node or not peer.known:
            continue
        for link in range(core.cfg.link_count):
            if joins(core, link, node):
                watch_path(core, node, link)
        period = core.cfg.link[fast].period_ns
        since = peer.path[fast].heard_ns if peer.path[fast].heard_ns > peer.silence_ns else peer.silence_ns
        silence = silence_of(core, node)
        if peer.proven_ns < since:
            # Frames that prove nothing, late ones perhaps, are no reason not to ask elsewhere before it seems dead.
            since = peer.proven_ns if peer.proven_ns > peer.silence_ns else peer.silence_ns
        peer.suspect = core.st.now_ns - since >= period + period // 2 and silence < core.cfg.grant_max_ns * 10
        peer.suspect = peer.suspect and not peer.dead
        if not peer.silent and (peer.dead or silence >= core.cfg.grant_max_ns):
            peer.silent = 1
            report(core, RP_PEER_SILENT, <uint8_t>node, 0, silence, 0)


cdef inline void sooner(int64_t* best, int64_t at, int64_t now) noexcept nogil:
    if at > now and at < best[0]:
        best[0] = at


cdef int64_t peers_deadline(const core_t* core) noexcept nogil:
    """The next moment at which silence means something new."""
    cdef int64_t best = NEVER_NS
    cdef int64_t now = core.st.now_ns
    cdef int64_t base, period
    cdef int node, link
    cdef const peer_t* peer
    cdef int fast = core.cfg.fast_link
    period = core.cfg.link[fast].period_ns
    for node in range(core.cfg.node_count):
        peer = &core.st.peer[node]
        if node == core.cfg.self_node or not peer.known:
            continue
        if not peer.dead:
            base = peer.path[fast].heard_ns if peer.path[fast].heard_ns > peer.silence_ns else peer.silence_ns
            sooner(&best, base + period + period // 2, now)
            base = peer.proven_ns if peer.proven_ns > peer.silence_ns else peer.silence_ns
            sooner(&best, base + period + period // 2, now)
            sooner(&best, base + alone_after(core, node), now)
            sooner(&best, peer.candidate_since_ns + alone_after(core, node), now)
            sooner(&best, peer.fresh_ns + alone_after(core, node), now)
        if not peer.silent:
            base = peer.heard_ns if peer.heard_ns > peer.silence_ns else peer.silence_ns
            sooner(&best, base + core.cfg.grant_max_ns, now)
        for link in range(core.cfg.link_count):
            if peer.path[link].up:
                sooner(&best, peer.path[link].heard_ns + lost_after(core, node, link) + 1, now)
    return best
