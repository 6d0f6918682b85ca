"""What carries frames from node to node: delay, loss, copies, overtaking, wrong bits, cuts and clogs."""
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memset

from twinbeat_core.codec cimport MAX_FRAME, wire_decode, wire_encode
from twinbeat_core.model cimport KEY_BYTES, frame_t
from twinbeat.sim.judge cimport find, note
from twinbeat.sim.things cimport drop_slot, push
from twinbeat.sim.world cimport IT_FRAME, SIM_HELD, SIM_PAST, cond_t, item_t, rng_below, some, world_t

from twinbeat.sim.spec import LogKind, Rule

cdef int LOG_SENT = LogKind.SENT
cdef int FORGED = Rule.FORGED
cdef int64_t COPY_NS = 2000000          # a second copy comes up to this much later
cdef int64_t LATE_COPY_NS = 25000000    # in the worst world it is older than anything that it could still renew
cdef uint8_t KEY[16]


cdef void make_key() noexcept:
    cdef int i
    for i in range(KEY_BYTES):
        KEY[i] = <uint8_t>(17 * i + 3)


make_key()


cdef void cond_clear(cond_t* c) noexcept nogil:
    """As the world made it; the order of what is under way stays."""
    c.cut = 0
    c.loss, c.duplicate, c.reorder, c.corrupt = 0, 0, 0, 0
    c.delay, c.jitter, c.clog_until = 0, 0, 0


cdef bint clean(world_t* w, int link, int i, int j) noexcept nogil:
    """Whether the way from i to j is as good as the sizing counts with."""
    cdef cond_t* c = &w.cond[link][i][j]
    cdef int64_t spare = w.node[0].core.cfg.link[link].rtt_ns // 2
    if c.cut or c.clog_until > w.now or c.loss + c.corrupt > w.p.tolerated[link]:
        return False
    return w.p.latency[link] + w.p.jitter[link] + c.delay + c.jitter <= spare and c.reorder == 0


cdef void weigh_links(world_t* w) noexcept nogil:
    """After a change: are all links between some two nodes impaired in at least one direction?"""
    cdef int i, j, link
    cdef bint any_clean, all_bad = False
    for i in range(w.nodes):
        for j in range(i):
            any_clean = False
            for link in range(w.links):
                if clean(w, link, i, j) and clean(w, link, j, i):
                    any_clean = True
            if not any_clean:
                all_bad = True
    if all_bad and w.impaired_at < 0:
        w.impaired_at = w.now
    elif not all_bad and w.impaired_at >= 0:
        w.impaired_at = -1
        w.impaired_end = w.now


cdef void spoil(world_t* w, int j, const frame_t* frame, int seq) noexcept nogil:
    """One wrong bit on the wire: the receiver must refuse what it decodes."""
    cdef uint8_t data[MAX_FRAME]
    cdef frame_t got
    cdef int size = wire_encode(frame, <uint8_t>seq, KEY, data, MAX_FRAME)
    cdef int64_t bit
    if size <= 0:
        return
    bit = rng_below(&w.rng, size * 8)
    data[bit >> 3] ^= <uint8_t>(1 << (bit & 7))
    memset(&got, 0, sizeof(frame_t))
    if wire_decode(data, size, KEY, frame.pair_id, &got) == 0:
        find(w, FORGED, 0, -1, j, frame.source, 0, 0)


cdef void put(world_t* w, int j, int link, int32_t slot, int seq, int64_t at) noexcept nogil:
    cdef item_t* item = push(w, at, IT_FRAME)
    item.node = j
    item.link = link
    item.slot = slot
    item.code = <uint8_t>seq
    item.value = w.now
    item.peer = w.slot[slot].frame.source
    w.refs[slot] += 1


cdef void transmit(world_t* w, int i, int j, int link, int32_t slot, int seq) noexcept nogil:
    """One frame on one link to one node. Chance is drawn in a fixed order, or a seed would mean nothing."""
    cdef cond_t* c = &w.cond[link][i][j]
    cdef int flags = w.slot[slot].frame.flags
    cdef int64_t at
    if c.cut:
        note(w, LOG_SENT, i, -1, link, j, 1, flags, 0)
        return
    if c.loss and rng_below(&w.rng, 1024) < c.loss:
        note(w, LOG_SENT, i, -1, link, j, 2, flags, 0)
        return
    if c.corrupt and rng_below(&w.rng, 1024) < c.corrupt:
        spoil(w, j, &w.slot[slot].frame, seq)
        note(w, LOG_SENT, i, -1, link, j, 3, flags, 0)
        return
    at = w.now + w.p.latency[link] + c.delay + some(w, w.p.jitter[link])
    if c.jitter:
        at += some(w, c.jitter)
    if c.clog_until > at:
        if c.held >= SIM_HELD:
            note(w, LOG_SENT, i, -1, link, j, 2, flags, 0)
            return
        c.held += 1
        at = c.clog_until
    if c.reorder and rng_below(&w.rng, 1024) < c.reorder:
        at += rng_below(&w.rng, w.node[0].core.cfg.link[link].period_ns)
    elif w.p.fifo[link]:
        if at <= c.last_arrival:
            at = c.last_arrival + 1
        c.last_arrival = at
    put(w, j, link, slot, seq, at)
    note(w, LOG_SENT, i, -1, link, j, 0, flags, at)
    if c.duplicate and rng_below(&w.rng, 1024) < c.duplicate:
        put(w, j, link, slot, seq, at + (LATE_COPY_NS if w.p.worst else 1 + rng_below(&w.rng, COPY_NS)))


cdef void keep_past(world_t* w, int i, int32_t slot) noexcept nogil:
    """Remember what node i sent: an old frame may come again. The model check brings copies of its own."""
    cdef int at = w.node[i].past_count % SIM_PAST
    if w.searching:
        return
    if w.node[i].past_count >= SIM_PAST:
        drop_slot(w, w.node[i].past[at])
    w.node[i].past[at] = slot
    w.refs[slot] += 1
    w.node[i].past_count += 1


cdef void replay_past(world_t* w, int i, int j, int link, int ago) noexcept nogil:
    """The frame that node i sent `ago` frames before its newest, or the oldest kept, arrives at node j again."""
    cdef int kept = w.node[i].past_count if w.node[i].past_count < SIM_PAST else SIM_PAST
    cdef int32_t slot
    if kept == 0:
        return
    if ago >= kept:
        ago = kept - 1
    slot = w.node[i].past[(w.node[i].past_count - 1 - ago) % SIM_PAST]
    put(w, j, link, slot, w.slot[slot].frame.link_seq, w.now + w.p.latency[link])
