"""What is known of each peer: which incarnation, heard on which link, proven in which direction, how lossy.

A frame proves both directions when it echoes this node's incarnation and one of its recent stamps
(docs/protocol.md, "Two-way proof"). An incarnation becomes the peer's current one by such a frame only, so a
replayed frame of a past life, whose echo is old, changes nothing.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from twinbeat_core.effects cimport report
from twinbeat_core.model cimport (
    FRAME_DEATH, MAX_RETIRED, NEVER_NS, RP_CONFIG_MISMATCH, RP_GRANT, RP_LINK_DOWN, RP_LINK_OK,
    RP_LINK_UP, RP_PEER_SILENT, RP_PEER_UP, RP_RX_DEAD, RP_TX_DEAD, RP_VERSION_MISMATCH, echo_t, event_t, frame_t,
)
from twinbeat_core.state cimport core_t, path_t, peer_t
from twinbeat_core.timing cimport grant_from_lease, lease_for_loss
from twinbeat_core.wire cimport WIRE_OK

cdef enum:
    LOSS_WINDOW = 64             # frames after which the loss figure is renewed
    GAP_WINDOW_S = 5             # the longest gap between arrivals is remembered for one to two of these
    MIN_SAMPLES = 16

cdef int64_t SECOND = 1000000000


cdef int fastest_link(const core_t* core) noexcept nogil:
    cdef int best = 0
    cdef int i
    for i in range(1, core.cfg.link_count):
        if core.cfg.link[i].period_ns < core.cfg.link[best].period_ns:
            best = i
    return best


cdef bint path_fresh(const core_t* core, int node, int link, int64_t within_ns) noexcept nogil:
    cdef int64_t heard = core.st.peer[node].path[link].heard_ns
    return heard != 0 and core.st.now_ns - heard <= within_ns


cdef inline int64_t lost_after(const core_t* core, int node, int link) noexcept nogil:
    """Silence after which a link counts as down: the promise length offered over it, loss and delay included."""
    cdef int64_t grant = core.st.peer[node].path[link].grant_ns
    return grant if grant > core.cfg.link[link].grant_ns else core.cfg.link[link].grant_ns


cdef uint8_t hears_mask(const core_t* core, int node) noexcept nogil:
    cdef uint8_t mask = 0
    cdef int i
    for i in range(core.cfg.link_count):
        if path_fresh(core, node, i, lost_after(core, node, i)):
            mask |= 1 << i
    return mask


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
        beat = core.cfg.link[fastest_link(core)].period_ns
    return beat * 5 // 2


cdef bint is_alone(const core_t* core) noexcept nogil:
    """Every other voting node is dead by notice or silent, both ways, for two and a half beats."""
    cdef int i
    cdef const peer_t* peer
    cdef int64_t base
    for i in range(core.cfg.node_count):
        if i == core.cfg.self_node or not core.cfg.voter_mask & (1 << i):
            continue
        peer = &core.st.peer[i]
        if peer.dead:
            continue
        base = peer.proven_ns if peer.proven_ns > peer.silence_ns else peer.silence_ns
        if core.st.now_ns - base < alone_after(core, i):
            return False
    return True


cdef void doubt_self(core_t* core, int64_t grace_ns) noexcept nogil:
    """This node was not running or not hearing: nobody's silence counts before now, no claim by silence before grace."""
    cdef int i
    for i in range(core.cfg.node_count):
        core.st.peer[i].silence_ns = core.st.now_ns
        core.st.peer[i].suspect = 0
    if core.st.now_ns + grace_ns > core.st.claim_after_ns:
        core.st.claim_after_ns = core.st.now_ns + grace_ns


# ---------------------------------------------------------------- one frame
cdef const echo_t* echo_of_self(const core_t* core, const frame_t* frame) noexcept nogil:
    cdef int i
    for i in range(frame.echo_count):
        if frame.echo[i].node == core.cfg.self_node and frame.echo[i].incarnation == core.st.incarnation:
            return &frame.echo[i]
    return NULL


cdef bint echo_recent(const core_t* core, const echo_t* echo) noexcept nogil:
    cdef int64_t age = core.st.now_ns - <int64_t>(echo.stamp * 1000)
    return echo.stamp != 0 and echo.stamp <= core.st.stamp and age <= core.cfg.grant_max_ns


cdef void measure_loss(core_t* core, path_t* path, int link, uint8_t seq) noexcept nogil:
    cdef uint8_t distance = <uint8_t>(seq - path.seq)
    cdef uint32_t total, loss
    if path.heard_ns == 0 or core.st.now_ns - path.heard_ns > core.cfg.grant_max_ns:
        path.got, path.lost, path.loss_1024 = 0, 0, 0     # the link was down: that is no random loss
        return
    if distance == 0 or distance > 127:
        return
    path.got += 1
    path.lost += distance - 1
    total = path.got + path.lost
    if total < MIN_SAMPLES:
        return
    loss = path.lost * 1024 // total
    if loss > path.loss_1024:
        path.loss_1024 = loss
    if total >= LOSS_WINDOW:
        # Falls by a quarter a window, rises at once.
        if loss < path.loss_1024:
            path.loss_1024 = loss if loss > path.loss_1024 * 3 // 4 else path.loss_1024 * 3 // 4
        path.got, path.lost = 0, 0


cdef void measure_gap(core_t* core, path_t* path, peer_t* peer, const frame_t* frame, int64_t rx_at_ns, int64_t period) noexcept nogil:
    """The longest distance between arrivals that a promise must outlast."""
    cdef int64_t gap, held_up
    if rx_at_ns - path.gap_since_ns > GAP_WINDOW_S * SECOND:
        path.gap_before_ns = path.gap_ns
        path.gap_ns = 0
        path.gap_since_ns = rx_at_ns
    # A gap in the numbers is loss and counted there; one that began in this node's own lateness is not the link's.
    if path.rx_at_ns == 0 or <uint8_t>(frame.link_seq - path.seq) != 1 or peer.silence_ns > path.rx_at_ns:
        return
    gap = rx_at_ns - path.rx_at_ns
    # What the way held up counts in full. A sender that stood still counts only while the promise outlasted it:
    # longer than that it was a fault, not the link's manner.
    held_up = gap - <int64_t>(frame.stamp - path.stamp) * 1000 + period
    if gap > path.grant_ns:
        gap = held_up
    if gap > path.gap_ns and gap <= core.cfg.grant_max_ns:
        path.gap_ns = gap


cdef int64_t offered_over(const core_t* core, path_t* path, int link) noexcept nogil:
    """The promise length over one link: its base, or what the measured loss and delay need, up to the largest."""
    cdef int64_t grant = core.cfg.link[link].grant_ns
    cdef int64_t need
    cdef int64_t gap = path.gap_ns if path.gap_ns > path.gap_before_ns else path.gap_before_ns
    if path.loss_1024 > 0:
        need = grant_from_lease(&core.cfg, lease_for_loss(&core.cfg, link, path.loss_1024))
        if need > grant:
            grant = need
    need = gap + gap // 2
    if need > core.cfg.link[link].lease_ns:
        need = grant_from_lease(&core.cfg, need)
        if need > grant:
            grant = need
    return grant if grant < core.cfg.grant_max_ns else core.cfg.grant_max_ns


cdef int link_of_beat(const core_t* core, int node, int arrived_on) noexcept nogil:
    """The fastest link on which the node is being heard; it fixes the promise's length and the beat to judge by."""
    cdef int best = arrived_on
    cdef int i
    cdef int64_t period
    for i in range(core.cfg.link_count):
        period = core.cfg.link[i].period_ns
        if period < core.cfg.link[best].period_ns and path_fresh(core, node, i, period + period // 2):
            best = i
    return best


cdef void retire(peer_t* peer) noexcept nogil:
    cdef int i
    if not peer.known:
        return
    for i in range(MAX_RETIRED - 1, 0, -1):
        peer.retired[i] = peer.retired[i - 1]
    peer.retired[0] = peer.incarnation
    if peer.retired_count < MAX_RETIRED:
        peer.retired_count += 1


cdef void adopt(core_t* core, int node, uint32_t incarnation) noexcept nogil:
    """The candidate is proven: a new life of that node, which owns nothing of the old one."""
    cdef peer_t* peer = &core.st.peer[node]
    cdef int i
    retire(peer)
    for i in range(core.cfg.link_count):
        # Its stamps and numbers start anew, and so does what was measured.
        memset(&peer.path[i], 0, sizeof(path_t))
        peer.path[i].grant_ns = core.cfg.link[i].grant_ns
    peer.known = 1
    peer.dead = 0
    peer.incarnation = incarnation
    peer.stamp = 0
    peer.grant_ms = 0
    peer.candidate = 0
    peer.candidate_stamp = 0
    memset(peer.row, 0, sizeof(peer.row))
    report(core, RP_PEER_UP, <uint8_t>node, 0, 0, incarnation)


cdef int classify(core_t* core, peer_t* peer, const frame_t* frame, const echo_t* echo, path_t* path) noexcept nogil:
    """Which life of the peer a frame belongs to, and whether it is fresh. May adopt a proven new life."""
    cdef int i
    cdef bint proven = echo != NULL and echo_recent(core, echo)
    if peer.known and frame.incarnation == peer.incarnation:
        if peer.dead or frame.stamp <= path.stamp:
            return HEARD_NOTHING
        if frame.kind == FRAME_DEATH:
            return HEARD_PROVEN if echo != NULL else HEARD_NOTHING
        # An echo too old may be a frame held up on the way or a peer that is deaf: heard, but it proves nothing.
        return HEARD_PROVEN if proven else HEARD_ONE_WAY
    for i in range(peer.retired_count):
        if peer.retired[i] == frame.incarnation:
            return HEARD_NOTHING
    if frame.kind == FRAME_DEATH:
        return HEARD_NOTHING                      # no life of that number was ever proven here
    if frame.incarnation == peer.candidate and frame.stamp <= peer.candidate_stamp:
        return HEARD_NOTHING
    if proven and echo.stamp > peer.echoed:
        adopt(core, frame.source, frame.incarnation)
        return HEARD_PROVEN
    peer.candidate = frame.incarnation
    peer.candidate_stamp = frame.stamp
    peer.candidate_ns = core.st.now_ns
    return HEARD_ONE_WAY


cdef void note_echo(core_t* core, peer_t* peer, const echo_t* echo) noexcept nogil:
    cdef int i
    if echo.stamp > peer.echoed:
        peer.echoed = echo.stamp
    for i in range(core.cfg.link_count):
        if echo.hears & (1 << i):
            peer.path[i].told_ns = core.st.now_ns


cdef bint foreign(core_t* core, peer_t* peer, const event_t* ev) noexcept nogil:
    """Another configuration or protocol version: heard, reported once, proves nothing and bars a start."""
    cdef const frame_t* frame = &ev.frame
    cdef bint version = ev.code != WIRE_OK
    if not version and frame.config_digest == core.cfg.config_digest:
        peer.mismatch = 0
        peer.stranger = 0
        return False
    peer.barred_ns = core.st.now_ns
    if version and not peer.stranger:
        peer.stranger = 1
        report(core, RP_VERSION_MISMATCH, frame.source, ev.link, frame.version, frame.version_max)
    elif not version and not peer.mismatch:
        peer.mismatch = 1
        report(core, RP_CONFIG_MISMATCH, frame.source, ev.link, frame.config_digest, core.cfg.config_digest)
    return True


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
        core.st.self_frames += frame.incarnation != core.st.incarnation
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
    if heard == HEARD_ONE_WAY and frame.incarnation != peer.incarnation:
        peer.heard_ns = core.st.now_ns
        core.st.heard_any = 1
        return HEARD_ONE_WAY                  # a life not yet proven is answered, nothing more
    measure_loss(core, path, ev.link, frame.link_seq)
    measure_gap(core, path, peer, frame, ev.rx_at_ns, core.cfg.link[ev.link].period_ns)
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
        core.st.reported_mask |= 1 << frame.source
    peer.life_ns = core.st.now_ns
    if frame.stamp <= peer.stamp:
        return HEARD_NOTHING
    # The newest frame of the current life: its content counts.
    peer.stamp = frame.stamp
    peer.flags = frame.flags
    peer.health = frame.health
    peer.load = frame.load
    peer.sync_position = frame.sync_position
    peer.grant_ms = 0
    best = link_of_beat(core, frame.source, ev.link)
    # A slow link in use beats at its fast period: suspicion has sped it up.
    peer.beat_ns = core.cfg.link[best].fast_period_ns
    if heard == HEARD_PROVEN:
        peer.grant_ms = <uint16_t>(peer.path[best].grant_ns // 1000000)
    for i in range(frame.row_count if frame.row_count < core.cfg.group_count else core.cfg.group_count):
        peer.row[i] = frame.row[i]
    return heard


# ---------------------------------------------------------------- watching
cdef void watch_path(core_t* core, int node, int link) noexcept nogil:
    """Report a link's state when it changes, one-way faults by name."""
    cdef peer_t* peer = &core.st.peer[node]
    cdef path_t* path = &peer.path[link]
    cdef int64_t limit = lost_after(core, node, link)
    cdef bint hears = path_fresh(core, node, link, limit)
    cdef bint told = path.told_ns != 0 and core.st.now_ns - path.told_ns <= limit
    cdef bint peer_proven = core.st.now_ns - peer.proven_ns <= core.cfg.link[fastest_link(core)].grant_ns * 2
    cdef bint settled = core.st.now_ns - core.st.started_ns > 3 * limit    # a slow link takes a while to come up
    cdef bint up = hears and told
    cdef bint rx_dead = settled and not hears and told and peer_proven
    cdef bint tx_dead = settled and hears and not told and peer_proven
    if up != path.up:
        path.up = up
        report(core, RP_LINK_UP if up else RP_LINK_DOWN, <uint8_t>node, <uint8_t>link, 0, 0)
    if path.rx_dead != rx_dead or path.tx_dead != tx_dead:
        if rx_dead and not path.rx_dead:
            report(core, RP_RX_DEAD, <uint8_t>node, <uint8_t>link, 0, 0)
        elif tx_dead and not path.tx_dead:
            report(core, RP_TX_DEAD, <uint8_t>node, <uint8_t>link, 0, 0)
        elif not rx_dead and not tx_dead:
            report(core, RP_LINK_OK, <uint8_t>node, <uint8_t>link, 0, 0)
        path.rx_dead, path.tx_dead = rx_dead, tx_dead


cdef void watch_links(core_t* core) noexcept nogil:
    """Suspicion, link states and the beat of each known peer, as of now."""
    cdef int node, link
    cdef int64_t silence, period, since
    cdef peer_t* peer
    cdef int fast = fastest_link(core)
    for node in range(core.cfg.node_count):
        peer = &core.st.peer[node]
        if node == core.cfg.self_node or not peer.known:
            continue
        for link in range(core.cfg.link_count):
            watch_path(core, node, link)
        period = core.cfg.link[fast].period_ns
        since = peer.path[fast].heard_ns if peer.path[fast].heard_ns > peer.silence_ns else peer.silence_ns
        silence = silence_of(core, node)
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
    cdef int fast = fastest_link(core)
    period = core.cfg.link[fast].period_ns
    for node in range(core.cfg.node_count):
        peer = &core.st.peer[node]
        if node == core.cfg.self_node or not peer.known:
            continue
        if not peer.dead:
            base = peer.path[fast].heard_ns if peer.path[fast].heard_ns > peer.silence_ns else peer.silence_ns
            sooner(&best, base + period + period // 2, now)
            base = peer.proven_ns if peer.proven_ns > peer.silence_ns else peer.silence_ns
            sooner(&best, base + alone_after(core, node), now)
        if not peer.silent:
            base = peer.heard_ns if peer.heard_ns > peer.silence_ns else peer.silence_ns
            sooner(&best, base + core.cfg.grant_max_ns, now)
        for link in range(core.cfg.link_count):
            if peer.path[link].up:
                sooner(&best, peer.path[link].heard_ns + lost_after(core, node, link) + 1, now)
    return best
