"""One link from one peer: heard or silent, lossy or late, up or dead in one direction, and the promise it carries."""
from libc.stdint cimport int64_t, uint8_t, uint32_t

from twinbeat_core.effects cimport report
from twinbeat_core.model cimport (
    FLAG_STOPPING, RP_LINK_DOWN, RP_LINK_OK, RP_LINK_UP, RP_RX_DEAD, RP_TX_DEAD, event_t,
)
from twinbeat_core.state cimport core_t, path_t, peer_t
from twinbeat_core.timing cimport grant_from_lease, lease_for_loss

cdef enum:
    LOSS_WINDOW = 64             # frames after which the loss figure is renewed
    GAP_WINDOW_S = 5             # the longest gap between arrivals is remembered for one to two of these
    MIN_SAMPLES = 16

cdef int64_t SECOND = 1000000000


cdef bint path_fresh(const core_t* core, int node, int link, int64_t within_ns) noexcept nogil:
    cdef int64_t heard = core.st.peer[node].path[link].heard_ns
    return heard != 0 and core.st.now_ns - heard <= within_ns


cdef int64_t lost_after(const core_t* core, int node, int link) noexcept nogil:
    """Silence after which a link counts as down: the promise offered over it, but never under its missed beats."""
    cdef int64_t grant = core.st.peer[node].path[link].grant_ns
    cdef int64_t beats = core.cfg.link[link].missed * core.cfg.link[link].period_ns * 5 // 4
    beats += core.cfg.link[link].rtt_ns
    return grant if grant > beats else beats


cdef uint8_t hears_mask(const core_t* core, int node) noexcept nogil:
    """Links on which the node is being heard: what its frames are told, so that it soon knows what it cannot use."""
    cdef uint8_t mask = 0
    cdef int64_t period
    cdef int i
    for i in range(core.cfg.link_count):
        period = core.cfg.link[i].period_ns
        if path_fresh(core, node, i, period + period // 2):
            mask |= 1 << i
    return mask


cdef void measure_loss(core_t* core, path_t* path, uint8_t seq) noexcept nogil:
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


cdef void measure_gap(core_t* core, path_t* path, peer_t* peer, const event_t* ev) noexcept nogil:
    """The longest distance between arrivals that a promise must outlast."""
    cdef int64_t rx_at_ns = ev.rx_at_ns
    cdef int64_t gap, held_up
    if rx_at_ns - path.gap_since_ns > GAP_WINDOW_S * SECOND:
        path.gap_before_ns = path.gap_ns
        path.gap_ns = 0
        path.gap_since_ns = rx_at_ns
    # A gap in the numbers is loss and counted there; one that began in this node's own lateness is not the link's.
    if path.rx_at_ns == 0 or <uint8_t>(ev.frame.link_seq - path.seq) != 1 or peer.silence_ns > path.rx_at_ns:
        return
    gap = rx_at_ns - path.rx_at_ns
    # What the way held up counts in full. A sender that stood still counts only while the promise outlasted it:
    # longer than that it was a fault, not the link's manner.
    held_up = gap - <int64_t>(ev.frame.stamp - path.stamp) * 1000 + core.cfg.link[ev.link].beat_ns
    if gap > path.grant_ns or ev.link != core.cfg.fast_link:
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
    """The link that fixes the promise's length and the beat to judge by.

    The fastest on which the node is heard, or the fastest on which it hears us where that is slower: an ask that does
    not arrive and an answer that does not arrive are the same to the promise.
    """
    cdef int told = -1
    cdef int heard = arrived_on
    cdef int i
    cdef int64_t period
    for i in range(core.cfg.link_count):
        period = core.cfg.link[i].period_ns
        if path_fresh(core, node, i, period + period // 2) and period < core.cfg.link[heard].period_ns:
            heard = i
        if told_there(core, node, i) and (told < 0 or period < core.cfg.link[told].period_ns):
            told = i
    if told < 0:
        return arrived_on                # a first proof: of the other links it says nothing
    return told if core.cfg.link[told].period_ns > core.cfg.link[heard].period_ns else heard


cdef bint told_there(const core_t* core, int node, int link) noexcept nogil:
    """The peer said lately that it hears this node on that link."""
    cdef int64_t told = core.st.peer[node].path[link].told_ns
    return told != 0 and core.st.now_ns - told <= 5 * core.cfg.link[link].period_ns // 2


cdef uint8_t other_ways(const core_t* core, int node, int arrived_on) noexcept nogil:
    """Where to answer an ask from a link on which the asker does not hear us; no faster than one asks there."""
    cdef uint8_t mask = 0
    cdef int i
    if told_there(core, node, arrived_on):
        return 0
    for i in range(core.cfg.link_count):
        if i != arrived_on and told_there(core, node, i):
            if core.st.now_ns - core.st.tx_at_ns[i] >= core.cfg.link[i].reask_ns:
                mask |= 1 << i
    return mask


cdef void watch_path(core_t* core, int node, int link) noexcept nogil:
    """Report a link's state when it changes, one-way faults by name."""
    cdef peer_t* peer = &core.st.peer[node]
    cdef path_t* path = &peer.path[link]
    cdef int64_t limit = lost_after(core, node, link)
    cdef bint hears = path_fresh(core, node, link, limit)
    cdef bint told = path.told_ns != 0 and core.st.now_ns - path.told_ns <= limit
    cdef bint peer_proven = core.st.now_ns - peer.proven_ns <= core.cfg.link[core.cfg.fast_link].grant_ns * 2
    cdef bint settled = core.st.now_ns - core.st.started_ns > 3 * limit    # a slow link takes a while to come up
    cdef bint up = hears and told
    cdef bint rx_dead, tx_dead
    # A life that has just begun or is about to end opens or closes its links one after the other.
    settled = settled and core.st.now_ns - peer.adopted_ns > limit and not peer.flags & FLAG_STOPPING
    rx_dead = settled and not hears and told and peer_proven
    tx_dead = settled and hears and not told and peer_proven
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
