"""A whole world as bytes: what the model check keeps, compares and goes back to.

Equal bytes mean an equal future: what is under way is written in the order in which it will be handled, its frames in
the order of their first use, and only what is in use of each array. Left out is what never comes back into a decision:
the log, the findings, times without a driver, what was sent long ago, counters of late frames.
"""
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from twinbeat_core.model cimport echo_t, frame_t, row_t
from twinbeat_core.state cimport group_t, path_t, peer_t, state_t
from twinbeat.sim.things cimport drop_slot, take_slot
from twinbeat.sim.world cimport cond_t, gate_t, item_t, node_t, pledge_t, world_t


ctypedef struct cursor_t:
    uint8_t* at
    uint8_t writes


cdef inline void part(cursor_t* c, void* data, size_t size) noexcept nogil:
    """One piece, in the direction that the cursor has: both ways share one description of the layout."""
    if c.writes:
        memcpy(c.at, data, size)
    else:
        memcpy(data, c.at, size)
    c.at += size


cdef void part_state(cursor_t* c, world_t* w, state_t* st) noexcept nogil:
    cdef peer_t* peer
    cdef int i, k
    part(c, st, <size_t>&st.peer[0] - <size_t>st)
    for i in range(w.nodes):
        peer = &st.peer[i]
        if c.writes:
            for k in range(w.links):
                peer.path[k].late_frames = 0
        part(c, peer, <size_t>&peer.row[w.groups] - <size_t>peer)
        part(c, &peer.path[0], w.links * sizeof(path_t))
    part(c, &st.group[0], w.groups * sizeof(group_t))


cdef void part_node(cursor_t* c, world_t* w, node_t* n) noexcept nogil:
    part(c, n, <size_t>&n.pledge[0] - <size_t>n)
    part(c, &n.gate[0], w.groups * sizeof(gate_t))
    part(c, &n.pledge[0], w.groups * sizeof(pledge_t))
    part(c, &n.waiting, sizeof(n.waiting))
    if not c.writes:
        n.past_count = 0
    part_state(c, w, &n.core.st)


cdef void part_frame(cursor_t* c, frame_t* frame) noexcept nogil:
    cdef uint8_t seq = frame.link_seq
    if c.writes:
        frame.link_seq = 0               # each delivery brings its own
    part(c, frame, <size_t>&frame.echo[0] - <size_t>frame)
    part(c, &frame.echo[0], frame.echo_count * sizeof(echo_t))
    part(c, &frame.row[0], frame.row_count * sizeof(row_t))
    frame.link_seq = seq


cdef void part_world(cursor_t* c, world_t* w) noexcept nogil:
    """Everything but what is under way."""
    cdef int i, j, g
    part(c, &w.now, sizeof(w.now))
    part(c, &w.rng, sizeof(w.rng))
    part(c, &w.disks_lost, 1)
    part(c, &w.clock_bad, 1)
    part(c, &w.impaired_at, sizeof(w.impaired_at))
    part(c, &w.impaired_end, sizeof(w.impaired_end))
    part(c, &w.next_action, sizeof(w.next_action))
    for i in range(w.links):
        for j in range(w.nodes):
            part(c, &w.cond[i][j][0], w.nodes * sizeof(cond_t))
    for g in range(w.groups):
        part(c, &w.group[g].on_count, sizeof(w.group[g].on_count))
        part(c, &w.group[g].epoch, sizeof(w.group[g].epoch))
    if w.voter.exists:
        part(c, &w.voter, <size_t>&w.voter.lease[w.groups] - <size_t>&w.voter)
    for i in range(w.nodes):
        part_node(c, w, &w.node[i])


cdef void sort_items(world_t* w) noexcept nogil:
    """In the order in which they will be handled: still a heap, and the same for equal worlds. Few, mostly sorted."""
    cdef item_t moved
    cdef int i, k
    for i in range(1, w.items):
        moved = w.heap[i]
        k = i
        while k > 0 and (w.heap[k - 1].at > moved.at
                         or (w.heap[k - 1].at == moved.at and w.heap[k - 1].order > moved.order)):
            w.heap[k] = w.heap[k - 1]
            k -= 1
        w.heap[k] = moved
    for i in range(w.items):
        w.heap[i].order = i
    w.order = w.items


cdef void put_item(cursor_t* c, world_t* w, item_t* item, int32_t* number, int32_t* known) noexcept nogil:
    """An item with its frame's number; a frame met for the first time follows it."""
    cdef item_t copy = item[0]
    cdef int k
    if item.slot < 0 or item.kind != 1:
        part(c, &copy, sizeof(item_t))
        return
    for k in range(number[0]):
        if known[k] == item.slot:
            copy.slot = k
            part(c, &copy, sizeof(item_t))
            return
    copy.slot = number[0]
    known[number[0]] = item.slot
    number[0] += 1
    part(c, &copy, sizeof(item_t))
    part_frame(c, &w.slot[item.slot].frame)


cdef int pack(world_t* w, uint8_t* out) noexcept nogil:
    """Write the world to `out` (PACK_BYTES long); how many bytes it takes. Renumbers what is under way."""
    cdef cursor_t c
    cdef int32_t known[8192]
    cdef int32_t number = 0
    cdef int i, k
    c.at, c.writes = out, 1
    sort_items(w)
    part_world(&c, w)
    part(&c, &w.items, sizeof(w.items))
    for i in range(w.items):
        put_item(&c, w, &w.heap[i], &number, known)
    for i in range(w.nodes):
        for k in range(w.node[i].waiting):
            w.node[i].backlog[k].order = 0
            put_item(&c, w, &w.node[i].backlog[k], &number, known)
    return <int>(c.at - out)


cdef void get_item(cursor_t* c, world_t* w, item_t* item, int32_t* number, int32_t* known) noexcept nogil:
    cdef int32_t slot
    part(c, item, sizeof(item_t))
    if item.slot < 0 or item.kind != 1:
        return
    if item.slot < number[0]:
        item.slot = known[item.slot]
        w.refs[item.slot] += 1
        return
    slot = take_slot(w)
    known[number[0]] = slot
    number[0] += 1
    item.slot = slot
    w.slot[slot].kind = 2
    w.slot[slot].code = 0
    part(c, &w.slot[slot].frame, <size_t>&w.slot[slot].frame.echo[0] - <size_t>&w.slot[slot].frame)
    part(c, &w.slot[slot].frame.echo[0], w.slot[slot].frame.echo_count * sizeof(echo_t))
    part(c, &w.slot[slot].frame.row[0], w.slot[slot].frame.row_count * sizeof(row_t))


cdef void free_all(world_t* w) noexcept nogil:
    """Give back the frames that are under way; the other places are free already."""
    cdef int i, k
    for i in range(w.items):
        if w.heap[i].slot >= 0 and w.heap[i].kind == 1:
            drop_slot(w, w.heap[i].slot)
    for i in range(w.nodes):
        for k in range(w.node[i].waiting):
            if w.node[i].backlog[k].slot >= 0 and w.node[i].backlog[k].kind == 1:
                drop_slot(w, w.node[i].backlog[k].slot)


cdef void unpack(world_t* w, const uint8_t* data) noexcept nogil:
    """The world as it was when it was packed."""
    cdef cursor_t c
    cdef int32_t known[8192]
    cdef int32_t number = 0
    cdef int i, k
    free_all(w)
    c.at, c.writes = <uint8_t*>data, 0
    part_world(&c, w)
    part(&c, &w.items, sizeof(w.items))
    w.order = w.items
    for i in range(w.items):
        get_item(&c, w, &w.heap[i], &number, known)
    for i in range(w.nodes):
        for k in range(w.node[i].waiting):
            get_item(&c, w, &w.node[i].backlog[k], &number, known)
    w.found, w.found_more, w.gaps, w.gaps_more = 0, 0, 0, 0


cdef inline uint64_t mixed(uint64_t a, uint64_t b) noexcept nogil:
    cdef uint64_t x = (a ^ b) * <uint64_t>0x9ddfea08eb382d69
    x ^= x >> 47
    return x * <uint64_t>0xff51afd7ed558ccd


cdef uint64_t hash_bytes(const uint8_t* data, int size) noexcept nogil:
    """64 bits over four lanes. Among ten million states two different ones share a value once in 370,000 searches."""
    cdef uint64_t lane[4]
    cdef uint64_t word[4]
    cdef int at = 0
    cdef int i
    for i in range(4):
        lane[i] = <uint64_t>0x9e3779b97f4a7c15 * <uint64_t>(i + 1)
    while at + 32 <= size:
        memcpy(word, data + at, 32)
        for i in range(4):
            lane[i] = (lane[i] ^ word[i]) * <uint64_t>0x9fb21c651e98df25
            lane[i] ^= lane[i] >> 29
        at += 32
    memset(word, 0, 32)
    memcpy(word, data + at, size - at)
    for i in range(4):
        lane[i] = mixed(lane[i], word[i])
    return mixed(mixed(lane[0], lane[1]), mixed(lane[2], lane[3]) ^ <uint64_t>size)
