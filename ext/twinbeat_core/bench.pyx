"""What a step costs: two cores talking to each other in virtual time, timed by the caller's clock."""
from libc.stddef cimport size_t
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from twinbeat_core.machine cimport core_init, core_step
from twinbeat_core.model cimport (
    EV_HEARD, EV_PERSISTED, EV_START, EV_WAKE, FX_PERSIST, effects_t, event_t,
)
from twinbeat_core.settings cimport CoreSettings
from twinbeat_core.state cimport core_t

from .errors import TwinbeatError

cdef int64_t LATENCY_NS = 100000


cdef struct pair_t:
    core_t core[2]
    effects_t fx
    event_t ev
    event_t flight[2]
    int in_flight[2]
    int64_t arrives[2]


cdef void after_step(pair_t* pair, int node, int64_t now) noexcept nogil:
    """Put the frame of the first link on its way, and grant what was to be written to disk."""
    cdef int i
    for i in range(pair.fx.count):
        if pair.fx.item[i].kind == FX_PERSIST:
            memset(&pair.ev, 0, sizeof(event_t))
            pair.ev.kind, pair.ev.epoch, pair.ev.now_ns = EV_PERSISTED, pair.fx.item[i].epoch, now
            core_step(&pair.core[node], &pair.ev, &pair.fx)
            return
    if pair.fx.send_mask & 1 and not pair.in_flight[1 - node]:
        pair.flight[1 - node].kind = EV_HEARD
        pair.flight[1 - node].link = 0
        memcpy(&pair.flight[1 - node].frame, &pair.fx.frame,
               <size_t>&pair.fx.frame.row[pair.fx.frame.row_count] - <size_t>&pair.fx.frame)
        pair.flight[1 - node].frame.link_seq = pair.fx.link_seq[0]
        pair.in_flight[1 - node] = 1
        pair.arrives[1 - node] = now + LATENCY_NS


cdef int64_t run(pair_t* pair, int64_t steps) noexcept nogil:
    """Do that many steps from event to event; the virtual time reached."""
    cdef int64_t now = 1000000000
    cdef int64_t at, best
    cdef int64_t done = 0
    cdef int node, pick, kind
    for node in range(2):
        memset(&pair.ev, 0, sizeof(event_t))
        pair.ev.kind, pair.ev.now_ns, pair.ev.incarnation = EV_START, now, 77 + node
        core_step(&pair.core[node], &pair.ev, &pair.fx)
        after_step(pair, node, now)
    while done < steps:
        pick, kind, best = 0, EV_WAKE, pair.core[0].st.deadline_ns
        if pair.core[1].st.deadline_ns < best:
            pick, best = 1, pair.core[1].st.deadline_ns
        for node in range(2):
            if pair.in_flight[node] and pair.arrives[node] < best:
                pick, kind, best = node, EV_HEARD, pair.arrives[node]
        if best > now:
            now = best
        if kind == EV_HEARD:
            pair.flight[pick].now_ns = now
            pair.flight[pick].rx_at_ns = now
            pair.in_flight[pick] = 0
            core_step(&pair.core[pick], &pair.flight[pick], &pair.fx)
        else:
            pair.ev.kind, pair.ev.now_ns = EV_WAKE, now
            core_step(&pair.core[pick], &pair.ev, &pair.fx)
        after_step(pair, pick, now)
        done += 1
    return now


def run_pair(settings_a, settings_b, int64_t steps) -> tuple:
    """Let two cores exchange heartbeats for `steps` steps without the interpreter.

    Returns (virtual seconds passed, state of node 0's first group, state of node 1's): the caller times the call
    and can see that the pair did its work. Raises TwinbeatError when memory is short.
    """
    cdef CoreSettings a = settings_a.compile()
    cdef CoreSettings b = settings_b.compile()
    cdef pair_t* pair = <pair_t*>calloc(1, sizeof(pair_t))
    cdef int64_t now
    if pair == NULL:
        raise TwinbeatError("no memory for two cores")
    core_init(&pair.core[0], &a.c)
    core_init(&pair.core[1], &b.c)
    with nogil:
        now = run(pair, steps)
    result = ((now - 1000000000) / 1e9, pair.core[0].st.group[0].state, pair.core[1].st.group[0].state)
    free(pair)
    return result
