"""What is under way: a binary heap by time and order of arrival, and the frames that it refers to."""
from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memset

from twinbeat.sim.world cimport IT_FRAME, SIM_ITEMS, SIM_SLOTS, item_t, world_t


cdef inline bint before(const item_t* a, const item_t* b) noexcept nogil:
    return a.at < b.at or (a.at == b.at and a.order < b.order)


cdef item_t* rise(world_t* w, int at) noexcept nogil:
    """Move the last item up to its place; where it is then."""
    cdef item_t moved = w.heap[at]
    cdef int parent
    while at > 0:
        parent = (at - 1) >> 1
        if not before(&moved, &w.heap[parent]):
            break
        w.heap[at] = w.heap[parent]
        at = parent
    w.heap[at] = moved
    return &w.heap[at]


cdef item_t* push(world_t* w, long long at, int kind) noexcept nogil:
    """A new item, zero but for time and kind; fill it before the next push. At the limit the run is marked broken."""
    cdef item_t* item
    if w.items >= SIM_ITEMS:
        w.broken = 1
        w.items -= 1
    item = &w.heap[w.items]
    memset(item, 0, sizeof(item_t))
    item.at = at
    item.order = w.order
    item.kind = kind
    item.slot = -1
    w.order += 1
    w.items += 1
    return rise(w, w.items - 1)


cdef void repush(world_t* w, const item_t* item, long long at) noexcept nogil:
    """The same item at another time."""
    cdef item_t* again = push(w, at, item.kind)
    cdef uint64_t order = again.order
    again[0] = item[0]
    again.at = at
    again.order = order


cdef void pop(world_t* w, item_t* out) noexcept nogil:
    cdef item_t last
    cdef int at = 0
    cdef int child
    out[0] = w.heap[0]
    w.items -= 1
    if w.items == 0:
        return
    last = w.heap[w.items]
    while True:
        child = 2 * at + 1
        if child >= w.items:
            break
        if child + 1 < w.items and before(&w.heap[child + 1], &w.heap[child]):
            child += 1
        if not before(&w.heap[child], &last):
            break
        w.heap[at] = w.heap[child]
        at = child
    w.heap[at] = last


cdef int32_t take_slot(world_t* w) noexcept nogil:
    """A free place for a frame, or -1: the limit is reached and the run is marked broken."""
    cdef int32_t slot
    if w.free_count == 0:
        w.broken = 1
        return -1
    w.free_count -= 1
    slot = w.free_slot[w.free_count]
    if slot >= w.high_slot:
        w.high_slot = slot + 1
    w.refs[slot] = 1
    return slot


cdef void drop_slot(world_t* w, int32_t slot) noexcept nogil:
    w.refs[slot] -= 1
    if w.refs[slot] == 0:
        w.free_slot[w.free_count] = slot
        w.free_count += 1


cdef void things_clear(world_t* w) noexcept nogil:
    cdef int i
    w.items = 0
    w.order = 0
    for i in range(w.high_slot):
        w.free_slot[SIM_SLOTS - 1 - i] = i
        w.refs[i] = 0
    w.free_count = SIM_SLOTS
    w.high_slot = 0


cdef void things_init(world_t* w) noexcept nogil:
    """Before the first run."""
    w.high_slot = SIM_SLOTS
    things_clear(w)


cdef void bring_forward(world_t* w, int link, int i, int j, long long at) noexcept nogil:
    """Frames held on a link arrive by `at`, in their order: what held them has ended."""
    cdef item_t moved
    cdef int count = w.items
    cdef int k
    for k in range(count):
        if w.heap[k].kind == IT_FRAME and w.heap[k].link == link and w.heap[k].peer == i and w.heap[k].node == j:
            if w.heap[k].at > at:
                w.heap[k].at = at
    for k in range(1, count):
        rise(w, k)
