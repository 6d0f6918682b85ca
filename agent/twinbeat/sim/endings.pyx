"""How a node's life ends: killed with a last word of its gate, without power, or stopped as planned."""
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from twinbeat_core.codec cimport WIRE_VERSION_NOW
from twinbeat_core.model cimport (
    ACTIVE, CMD_STOP, EV_COMMAND, EV_HEARD, FRAME_DEATH, LINK_MQTT, NO_NODE, OUT, ROW_DROPPED, frame_t,
)
from twinbeat_core.state cimport core_t
from twinbeat.sim.carriers cimport keep_past, transmit
from twinbeat.sim.gates cimport gate_let_go
from twinbeat.sim.judge cimport note
from twinbeat.sim.nodes cimport give_event
from twinbeat.sim.things cimport drop_slot, push, take_slot
from twinbeat.sim.world cimport (
    DEATH_NS, FROZEN, GATE_NS, IT_LEAVE, IT_NOTICE, IT_VOTER_NOTICE, NOTICE_REPEATS, RUNS, item_t, local_of, node_t,
    world_t,
)

from twinbeat.sim.spec import LogKind

cdef int LOG_DIED = LogKind.DIED
cdef int64_t REPEAT_NS = 10000000         # between two death notices
cdef int64_t LEAVE_LOOK_NS = 10000000
cdef int64_t CLAIM_TRIPS = 5             # round trips to a third voter that its first vote for a taker may need
cdef int64_t LINGER_NS = 100000000       # the taker's first votes still come from the one that stops
cdef int64_t LEAVE_LIMIT_NS = 2000000000
cdef int64_t AGES_NS = <int64_t>1 << 61


cdef void remember_drivers(world_t* w, int i) noexcept nogil:
    """Who drives, as this node has it on disk when it ends."""
    cdef node_t* n = &w.node[i]
    cdef int g, j
    for g in range(w.groups):
        if n.core.st.group[g].state == ACTIVE:
            n.last_driver[g] = i
            continue
        for j in range(w.nodes):
            if j != i and n.core.st.peer[j].known and n.core.st.peer[j].row[g].state == ACTIVE:
                n.last_driver[g] = j


cdef void node_end(world_t* w, int i, int how) noexcept nogil:
    """The worker is gone, with it all that waited for it. `how`: 1 killed, 2 power, 3 stopped."""
    cdef node_t* n = &w.node[i]
    cdef int k, g
    if not n.alive:
        return
    remember_drivers(w, i)
    n.alive = 0
    if n.still >= FROZEN:
        n.thawed_at = w.now              # until now its contacts kept their level
    n.still = RUNS
    n.deaf = 0
    n.life += 1
    n.wake_at = AGES_NS
    for k in range(n.waiting):
        if n.backlog[k].slot >= 0:
            drop_slot(w, n.backlog[k].slot)
    n.waiting = 0
    note(w, LOG_DIED, i, -1, -1, how, 0, 0, 0)
    for g in range(w.groups):
        if n.gate[g].on:
            gate_let_go(w, i, g, DEATH_NS if how == 1 else 0)
        n.gate[g].waits = w.p.release[g] - w.p.make[g] if w.p.release[g] > w.p.make[g] else 0


cdef void node_kill(world_t* w, int i) noexcept nogil:
    """The worker dies; its gate drops the outputs and tells everybody which of them are off."""
    cdef item_t* item
    cdef int k, g
    cdef int64_t last = 0
    if not w.node[i].alive or w.node[i].still >= FROZEN:
        node_end(w, i, 2)                # the gate of a frozen gateway says nothing either
        return
    node_end(w, i, 1)
    for g in range(w.groups):
        item = push(w, w.now + DEATH_NS + w.node[i].gate[g].waits + 2 * w.node[i].gate[g].waits // 500, IT_NOTICE)
        item.node, item.life = i, w.node[i].life
        if w.node[i].gate[g].waits > last:
            last = w.node[i].gate[g].waits
    # At once, naming what is off by then; and again as the release times pass.
    item = push(w, w.now + DEATH_NS + GATE_NS, IT_NOTICE)
    item.node, item.life = i, w.node[i].life
    for k in range(NOTICE_REPEATS):
        item = push(w, w.now + DEATH_NS + last + last // 250 + k * REPEAT_NS, IT_NOTICE)
        item.node, item.life = i, w.node[i].life


cdef void fill_notice(world_t* w, int i, frame_t* frame) noexcept nogil:
    cdef node_t* n = &w.node[i]
    cdef core_t* core = &n.core
    cdef int j, g
    memset(frame, 0, sizeof(frame_t))
    frame.kind = FRAME_DEATH
    frame.version, frame.version_max = WIRE_VERSION_NOW, WIRE_VERSION_NOW
    frame.source = i
    frame.pair_id, frame.config_digest = core.cfg.pair_id, core.cfg.config_digest
    frame.incarnation = n.incarnation
    frame.stamp = <uint64_t>(local_of(&n.clock, w.now) // 1000)
    for j in range(w.nodes):
        if j != i and (core.st.peer[j].known or core.st.peer[j].candidate):
            frame.echo[frame.echo_count].node = j
            frame.echo[frame.echo_count].incarnation = \
                core.st.peer[j].incarnation if core.st.peer[j].known else core.st.peer[j].candidate
            frame.echo_count += 1
    frame.row_count = w.groups
    for g in range(w.groups):
        frame.row[g].state = OUT
        frame.row[g].vote = NO_NODE
        frame.row[g].epoch = n.gate[g].epoch
        if w.now >= n.gate[g].off_at + n.gate[g].waits:
            frame.row[g].flags = ROW_DROPPED


cdef void notice(world_t* w, const item_t* item) noexcept nogil:
    """The gate's word about its dead worker, on every link that it serves itself."""
    cdef node_t* n = &w.node[item.node]
    cdef int32_t slot
    cdef int j, link
    if n.life != item.life or n.alive:
        return
    slot = take_slot(w)
    if slot < 0:
        return
    w.slot[slot].kind = EV_HEARD
    w.slot[slot].code = 0
    fill_notice(w, item.node, &w.slot[slot].frame)
    for link in range(w.links):
        if n.core.cfg.link[link].kind == LINK_MQTT:
            continue
        n.core.st.link_seq[link] += 1
        for j in range(w.nodes):
            if j != item.node:
                transmit(w, item.node, j, link, slot, n.core.st.link_seq[link])
    if w.voter.exists and w.p.voter_hears_gates:
        for j in range(w.groups):
            if w.slot[slot].frame.row[j].flags & ROW_DROPPED:
                again = push(w, w.now + w.p.voter_least, IT_VOTER_NOTICE)
                again.node, again.group, again.stamp = item.node, j, n.incarnation
    keep_past(w, item.node, slot)
    drop_slot(w, slot)


# ---------------------------------------------------------------- a planned stop
cdef void node_leave(world_t* w, int i) noexcept nogil:
    """CMD_STOP; the agent ends when its groups are out of service and the taker has had its votes."""
    cdef item_t* item
    if not w.node[i].alive or w.node[i].still != RUNS:
        return
    give_event(w, i, EV_COMMAND, CMD_STOP, 0, NO_NODE, 0, 0)
    w.node[i].leave_at = w.now + LEAVE_LIMIT_NS
    item = push(w, w.now + LEAVE_LOOK_NS, IT_LEAVE)
    item.node, item.life = i, w.node[i].life


cdef void look_to_leave(world_t* w, const item_t* item) noexcept nogil:
    cdef node_t* n = &w.node[item.node]
    cdef item_t* again
    cdef int g
    cdef bint ready = True
    if n.life != item.life or not n.alive:
        return
    if item.code:
        node_end(w, item.node, 3)
        return
    for g in range(w.groups):
        if n.core.st.group[g].state != OUT:
            ready = False
    again = push(w, w.now + (LINGER_NS + CLAIM_TRIPS * n.core.cfg.third_rtt_ns if ready else LEAVE_LOOK_NS), IT_LEAVE)
    again.node, again.life, again.code = item.node, item.life, ready or w.now >= n.leave_at
