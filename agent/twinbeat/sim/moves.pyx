"""Checks of moves: who lets go by itself does so where the rules M1 to M6 of docs/protocol.md allow it."""
from libc.stdint cimport int64_t

from twinbeat_core.model cimport (
    ACTIVE, CAUSE_FAILBACK, CAUSE_HANDOVER, CAUSE_HIGHER_EPOCH, CAUSE_LAPSED, CAUSE_LOAD, CAUSE_SELF_LATE,
    CAUSE_UNFIT, CAUSE_WARNING, LONE_TAKEOVER, NO_NODE, RELEASING,
)
from twinbeat_core.state cimport core_t
from twinbeat.sim.judge cimport find
from twinbeat.sim.world cimport RUNS, local_of, node_t, world_t

from twinbeat.sim.spec import Rule

cdef int DISTURBED = Rule.DISTURBED
cdef int MOVED = Rule.MOVED
cdef enum:
    KNOWS_PREPARE = 2


cdef bint well(const world_t* w, int i, int64_t since) noexcept nogil:
    """Nothing was done to the node for long enough, and it runs."""
    cdef const node_t* n = &w.node[i]
    return n.alive and n.still == RUNS and not n.deaf and n.upset_at <= since


cdef bint all_well(const world_t* w, int64_t since) noexcept nogil:
    """Nothing at all was wrong for so long: everybody knows of everybody what there is to know."""
    cdef int v
    if w.links_at > since:
        return False
    for v in range(w.nodes):
        if not well(w, v, since) or w.node[v].core.cfg.wire_version < KNOWS_PREPARE:
            return False
    return True


cdef inline int64_t nearly(int64_t length) noexcept nogil:
    """Clocks may be wrong, and what one node knows another hears later."""
    return length * 9 // 10


cdef bint may_go_home(world_t* w, int target, int64_t after_ns) noexcept nogil:
    """M2: the better ranked node has been there and fit for nearly as long as it must."""
    cdef const node_t* to = &w.node[target]
    cdef int64_t lived = local_of(&to.clock, w.now) - to.core.st.started_ns
    cdef int64_t known = to.core.cfg.longest_ns      # what is newer the giver may not have heard of
    if to.alive and known < lived < nearly(after_ns):
        return False
    if not well(w, target, w.now - after_ns - 2 * known):
        return True                      # one that stands still takes in late that it is unfit
    return w.now - to.fit_at >= nearly(after_ns) or to.fit_at - to.unfit_at < known


cdef bint may_move(world_t* w, int i, int g, int target, int cause) noexcept nogil:
    """M1 to M5 for a move that nobody needed."""
    cdef const core_t* core = &w.node[i].core
    cdef node_t* n = &w.node[i]
    cdef const node_t* to = &w.node[target]
    cdef bint calm = all_well(w, w.now - 2 * core.cfg.longest_ns)
    cdef int64_t waits = core.cfg.group[g].prepare_ns
    if waits and calm and cause != CAUSE_UNFIT and not to.core.st.group[g].prepared:
        return False
    if cause == CAUSE_FAILBACK:
        if core.cfg.group[g].rank[target] >= core.cfg.group[g].rank[i]:
            return False
        if not may_go_home(w, target, core.cfg.group[g].failback_ns):
            return False
    if cause == CAUSE_LOAD and calm and max(n.load_at, to.load_at) + core.cfg.longest_ns + waits <= w.now:
        if core.st.load < to.core.st.load + core.cfg.load_gap:
            return False
    if cause == CAUSE_FAILBACK or cause == CAUSE_LOAD:
        if n.moved_life == n.life and w.now - n.moved_at < nearly(core.cfg.move_gap_ns) - waits:
            return False
        n.moved_life, n.moved_at = n.life, w.now
    if cause == CAUSE_UNFIT or cause == CAUSE_HANDOVER or not calm or w.group[g].changed_at < 0:
        return True
    # The core counts from its order, this from the contact.
    return w.now - w.group[g].changed_at >= nearly(core.cfg.group[g].hold_down_ns) - w.p.make[g]


cdef void judge_move(world_t* w, int i, int g, int cause) noexcept nogil:
    """A move that nobody needs goes to somebody, and only where and when it may."""
    cdef const core_t* core = &w.node[i].core
    cdef int target = core.st.group[g].target
    if cause != CAUSE_UNFIT and cause != CAUSE_FAILBACK and cause != CAUSE_LOAD:
        if cause != CAUSE_WARNING and cause != CAUSE_HANDOVER:
            return
    if target == NO_NODE:
        find(w, MOVED, 0, g, i, -1, 0, core.st.group[g].epoch)
    elif not w.searching and not w.clock_bad and not may_move(w, i, g, target, cause):
        find(w, MOVED, 0, g, i, target, 0, core.st.group[g].epoch)


cdef bint leaves_nobody(const world_t* w, int i, int g) noexcept nogil:
    """O2: no other node drives what this one lets go because it is unfit."""
    cdef int v
    for v in range(w.nodes):
        if v != i and w.node[v].core.st.group[g].state == ACTIVE:
            return False
    return True


cdef void judge_change(world_t* w, int i, int g, int old, int new, int cause) noexcept nogil:
    """M6: what is away costs a well node on well links nothing, as long as a majority of voters is well.

    One that has just come back is neither well nor away: it may still keep its own promise. And it drove for some time.
    """
    cdef core_t* core = &w.node[i].core
    cdef int64_t since = w.now - 2 * core.cfg.longest_ns
    cdef int count = w.voter.exists and w.voter.alive and w.voter.listen_until <= since
    cdef int v
    if old != ACTIVE or new != RELEASING:
        return
    if core.cfg.group[g].exclusive:
        judge_move(w, i, g, cause)
    elif cause == CAUSE_UNFIT and not w.searching and not w.clock_bad and all_well(w, since) and leaves_nobody(w, i, g):
        find(w, MOVED, 0, g, i, -1, 0, core.st.group[g].epoch)
    if w.searching or w.clock_bad or w.links_at > since or not well(w, i, since):
        return
    if w.group[g].on_at > since:
        return                           # its first authority is what it was handed
    if cause != CAUSE_LAPSED and cause != CAUSE_HIGHER_EPOCH and cause != CAUSE_SELF_LATE:
        return
    for v in range(w.nodes):
        count += well(w, v, since)
        if not well(w, v, since) and ((w.node[v].alive and w.node[v].still == RUNS) or not w.node[v].was_well):
            return
    if count < core.cfg.quorum and not (core.cfg.pair_of_two and core.cfg.group[g].lone == LONE_TAKEOVER):
        return
    find(w, DISTURBED, 0, g, i, -1, 0, core.st.group[g].epoch)
