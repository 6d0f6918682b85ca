"""A node: its core is fed, what it decides is carried out, it starts, dies and stands still."""
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from twinbeat_core.machine cimport core_init, core_step
from twinbeat_core.model cimport (
    ACTIVE, CMD_LAST_DRIVER, CMD_STOP, EV_COMMAND, EV_HEARD, EV_OUTPUT, EV_PERSISTED, EV_START, EV_VOTE, EV_WAKE,
    FRAME_DEATH, FX_ASK, FX_DRIVE, FX_PERSIST, FX_REPORT, FX_RETURN, FX_SEND, LINK_MQTT, NEVER_NS, NO_NODE, OUT,
    ROW_DROPPED, RP_STATE, event_t, frame_t, settings_t,
)
from twinbeat_core.codec cimport WIRE_VERSION_NOW
from twinbeat_core.state cimport core_t, group_t, peer_t
from twinbeat.sim.carriers cimport keep_past, transmit
from twinbeat.sim.gates cimport contact_due, gate_drop, gate_due, gate_freeze, gate_let_go, gate_order, gate_thaw, hold_over
from twinbeat.sim.judge cimport judge_step, note
from twinbeat.sim.things cimport drop_slot, push, repush, take_slot
from twinbeat.sim.voter cimport voter_ask, voter_hear_ask, voter_hear_death, voter_hear_return
from twinbeat.sim.world cimport (
    DEATH_NS, FROZEN, IT_ASK, IT_CONTACT, IT_FRAME, IT_GATE, IT_GATE_DROP, IT_HOLD, IT_LEAVE, IT_NOTICE, IT_PERSISTED,
    IT_RETURN, IT_TOLD, IT_VOTE, IT_VOTER_NOTICE, NOTICE_REPEATS, RUNS, SIM_BACKLOG, SUSPENDED, item_t,
    local_of, node_t, rng_below, rng_next, some, true_of, world_t,
)

from twinbeat.sim.spec import LogKind

cdef int LOG_STATE = LogKind.STATE
cdef int LOG_REPORT = LogKind.REPORT
cdef int LOG_DIED = LogKind.DIED
cdef int LOG_STARTED = LogKind.STARTED
cdef int LOG_VOTE = LogKind.VOTE
cdef int64_t REPEAT_NS = 10000000         # between two death notices
cdef int64_t LEAVE_LOOK_NS = 10000000
cdef int64_t LINGER_NS = 100000000       # the taker's first votes still come from the one that stops
cdef int64_t LEAVE_LIMIT_NS = 2000000000
cdef int64_t AGES_NS = <int64_t>1 << 61


# ---------------------------------------------------------------- carrying out what the core decided
cdef void send(world_t* w, int i, int mask) noexcept nogil:
    cdef int32_t slot = take_slot(w)
    cdef frame_t* frame = &w.fx.frame
    cdef event_t* ev
    cdef int link, j
    if slot < 0:
        return
    ev = &w.slot[slot]
    ev.kind = EV_HEARD
    ev.code = 0
    memcpy(&ev.frame, frame, <size_t>&frame.row[frame.row_count] - <size_t>frame)
    for link in range(w.links):
        if (mask >> link) & 1:
            for j in range(w.nodes):
                if j != i:
                    transmit(w, i, j, link, slot, w.fx.link_seq[link])
    keep_past(w, i, slot)
    drop_slot(w, slot)


cdef void perform(world_t* w, int i) noexcept nogil:
    """All effects of the step, in order."""
    cdef int k
    cdef item_t* item
    for k in range(w.fx.count):
        fx = &w.fx.item[k]
        if fx.kind == FX_SEND:
            send(w, i, <int>fx.value)
        elif fx.kind == FX_DRIVE:
            gate_order(w, i, fx.group, fx.code, fx.epoch, fx.value)
        elif fx.kind == FX_REPORT:
            if fx.code == RP_STATE:
                note(w, LOG_STATE, i, fx.group, -1, fx.node, fx.value, fx.extra,
                     fx.epoch if fx.epoch else w.node[i].core.st.group[fx.group].epoch)
            else:
                note(w, LOG_REPORT, i, fx.group, fx.link, fx.code, fx.value, fx.extra, fx.node)
        elif fx.kind == FX_PERSIST:
            if w.node[i].disk_ns:
                item = push(w, w.now + w.node[i].disk_ns, IT_PERSISTED)
            else:
                item = push(w, w.now + w.p.persist_least + some(w, w.p.persist_most - w.p.persist_least), IT_PERSISTED)
            item.node, item.epoch, item.life = i, fx.epoch, w.node[i].life
        elif fx.kind == FX_ASK:
            voter_ask(w, i, fx.group, fx.epoch, fx.stamp, False)
        elif fx.kind == FX_RETURN:
            voter_ask(w, i, fx.group, fx.epoch, 0, True)


cdef void step(world_t* w, int i, event_t* ev) noexcept nogil:
    cdef node_t* n = &w.node[i]
    ev.now_ns = local_of(&n.clock, w.now)
    ev.rx_at_ns = ev.now_ns
    core_step(&n.core, ev, &w.fx)
    w.steps += 1
    judge_step(w, i)
    perform(w, i)
    n.wake_at = true_of(&n.clock, n.core.st.deadline_ns)
    if n.wake_at <= w.now:
        n.wake_at = w.now + 1


cdef void wake(world_t* w, int i) noexcept nogil:
    """Its deadline came."""
    cdef event_t* ev = &w.ev
    if not w.node[i].alive or w.node[i].still != RUNS:
        w.node[i].wake_at = AGES_NS
        return
    ev.kind, ev.code, ev.group, ev.epoch, ev.value, ev.stamp = EV_WAKE, 0, 0, 0, 0, 0
    step(w, i, ev)


cdef void give_event(
    world_t* w, int i, int kind, int code, int group, int node, int64_t value, int64_t stamp
) noexcept nogil:
    """An event that is no frame; lost where nobody runs to take it."""
    cdef event_t* ev = &w.ev
    if not w.node[i].alive or w.node[i].still != RUNS:
        return
    ev.kind, ev.code, ev.group, ev.node, ev.link = kind, code, group, node, group
    ev.epoch, ev.value, ev.stamp = 0, value, stamp
    step(w, i, ev)


# ---------------------------------------------------------------- what reaches a node
cdef bint postponed(world_t* w, const item_t* item) noexcept nogil:
    """A node that stands still finds its input later; what its rings do not hold is lost."""
    cdef node_t* n = &w.node[item.node]
    if n.still == RUNS:
        return False
    if n.waiting < SIM_BACKLOG:
        n.backlog[n.waiting] = item[0]
        n.waiting += 1
    elif item.slot >= 0:
        drop_slot(w, item.slot)
    return True


cdef void arrive(world_t* w, const item_t* item) noexcept nogil:
    cdef event_t* ev = &w.slot[item.slot]
    if w.node[item.node].alive:
        ev.kind = EV_HEARD
        ev.link = item.link
        ev.frame.link_seq = item.code
        step(w, item.node, ev)
    drop_slot(w, item.slot)


cdef void hear_told(world_t* w, const item_t* item) noexcept nogil:
    cdef event_t* ev = &w.ev
    if not w.node[item.node].alive or w.node[item.node].life != item.life:
        return
    ev.group, ev.code, ev.epoch, ev.value, ev.stamp, ev.link, ev.node = item.group, item.code, item.epoch, 0, 0, 0, 0
    if item.kind == IT_TOLD:
        ev.kind = EV_OUTPUT
    elif item.kind == IT_PERSISTED:
        ev.kind, ev.group = EV_PERSISTED, 0
        if item.epoch > w.node[item.node].disk:
            w.node[item.node].disk = item.epoch
    else:
        ev.kind, ev.value, ev.stamp = EV_VOTE, item.value, item.stamp
        note(w, LOG_VOTE, item.node, item.group, -1, item.code, 0, 0, item.epoch)
    step(w, item.node, ev)


cdef void handle(world_t* w, const item_t* item) noexcept nogil:
    """One item of the queue whose time has come (IT_UNDO is the engine's)."""
    if item.kind == IT_FRAME:
        if not postponed(w, item):
            arrive(w, item)
    elif item.kind == IT_TOLD or item.kind == IT_PERSISTED or item.kind == IT_VOTE:
        if not postponed(w, item):
            hear_told(w, item)
    elif item.kind == IT_CONTACT:
        contact_due(w, item)
    elif item.kind == IT_GATE:
        gate_due(w, item)
    elif item.kind == IT_GATE_DROP:
        gate_drop(w, item)
    elif item.kind == IT_HOLD:
        hold_over(w, item)
    elif item.kind == IT_NOTICE:
        notice(w, item)
    elif item.kind == IT_ASK:
        voter_hear_ask(w, item)
    elif item.kind == IT_RETURN:
        voter_hear_return(w, item)
    elif item.kind == IT_VOTER_NOTICE:
        voter_hear_death(w, item)
    elif item.kind == IT_LEAVE:
        look_to_leave(w, item)


# ---------------------------------------------------------------- life
cdef void node_start(world_t* w, int i, bint disk_lost) noexcept nogil:
    """A new life; what the contacts do goes on."""
    cdef node_t* n = &w.node[i]
    cdef settings_t kept = n.core.cfg
    cdef event_t* ev = &w.ev
    cdef int g
    core_init(&n.core, &kept)
    n.alive, n.still, n.fit, n.behind = 1, RUNS, 1, 0
    n.life += 1
    n.incarnation = <uint32_t>(rng_next(&w.rng) >> 33) | 1
    n.thawed_at = -1
    n.leave_at = 0
    if disk_lost:
        n.disk = 0
        w.disks_lost |= <uint8_t>(1 << i)
        for g in range(w.groups):
            n.last_driver[g] = NO_NODE
    n.start_l = local_of(&n.clock, w.now)
    note(w, LOG_STARTED, i, -1, -1, n.incarnation, disk_lost, 0, 0)
    memset(ev, 0, sizeof(event_t) - sizeof(frame_t))
    ev.kind, ev.incarnation, ev.epoch, ev.value = EV_START, n.incarnation, n.disk, disk_lost
    step(w, i, ev)
    for g in range(w.groups):
        if n.last_driver[g] != NO_NODE:
            give_event(w, i, EV_COMMAND, CMD_LAST_DRIVER, g, n.last_driver[g], 0, 0)


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
    n.still = RUNS
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
    if w.voter.exists:
        for j in range(w.groups):
            if w.slot[slot].frame.row[j].flags & ROW_DROPPED:
                again = push(w, w.now + w.p.voter_least, IT_VOTER_NOTICE)
                again.node, again.group, again.stamp = item.node, j, n.incarnation
    keep_past(w, item.node, slot)
    drop_slot(w, slot)


# ---------------------------------------------------------------- standing still
cdef void node_still(world_t* w, int i, int how) noexcept nogil:
    cdef node_t* n = &w.node[i]
    if not n.alive or n.still != RUNS:
        return
    n.still = how
    n.wake_at = AGES_NS
    if how >= FROZEN:
        gate_freeze(w, i)
    if how == SUSPENDED:
        n.clock.base_l = local_of(&n.clock, w.now)
        n.clock.base_t = w.now


cdef void node_resume(world_t* w, int i) noexcept nogil:
    """It runs again: its gate, its deadline and its waiting input, in either order."""
    cdef node_t* n = &w.node[i]
    cdef int how = n.still
    cdef int k
    if not n.alive or how == RUNS:
        return
    n.still = RUNS
    if how == SUSPENDED:
        w.clock_bad = 1
        n.clock.base_t = w.now
        for k in range(w.groups):
            if n.gate[k].on:
                n.gate[k].deadline = true_of(&n.clock, n.core.st.group[k].drive_until_ns)
    if how >= FROZEN:
        n.thawed_at = w.now
        gate_thaw(w, i)
    if rng_next(&w.rng) & 1:
        wake(w, i)
    else:
        n.wake_at = true_of(&n.clock, n.core.st.deadline_ns)
        if n.wake_at <= w.now:
            n.wake_at = w.now + 1
    for k in range(n.waiting):
        repush(w, &n.backlog[k], w.now)
    n.waiting = 0


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
    again = push(w, w.now + (LINGER_NS if ready else LEAVE_LOOK_NS), IT_LEAVE)
    again.node, again.life, again.code = item.node, item.life, ready or w.now >= n.leave_at
