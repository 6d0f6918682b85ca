"""A node: its core is fed, what it decides is carried out, it starts, dies and stands still."""
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

from twinbeat_core.machine cimport core_init, core_step
from twinbeat_core.model cimport (
    CMD_LAST_DRIVER, CMD_PREPARED, EV_COMMAND, EV_HEARD, EV_LATE, EV_OUTPUT, EV_PERSISTED, EV_START, EV_VOTE, EV_WAKE,
    FX_ASK, FX_DRIVE, FX_PERSIST, FX_REPORT, FX_RETURN, FX_SEND, LATE_RECEIVER, NO_NODE, ROW_DROPPED, RP_PEER_DEAD,
    RP_PREPARE, RP_STATE, event_t, frame_t, settings_t,
)
from twinbeat.sim.carriers cimport keep_past, transmit
from twinbeat.sim.gates cimport gate_freeze, gate_order, gate_thaw
from twinbeat.sim.judge cimport judge_pledges, judge_step, note
from twinbeat.sim.moves cimport judge_change
from twinbeat.sim.things cimport drop_slot, push, repush, take_slot
from twinbeat.sim.voter cimport note_answer, voter_ask
from twinbeat.sim.world cimport (
    FROZEN, IT_FRAME, IT_LATE, IT_PERSISTED, IT_PREPARED, IT_TOLD, IT_VOTER_NOTICE, RUNS, SIM_BACKLOG, SUSPENDED,
    VOTE_UNPROVEN, item_t, local_of, node_t, rng_next, some, true_of, world_t,
)

from twinbeat.sim.spec import LogKind

cdef int LOG_STATE = LogKind.STATE
cdef int LOG_REPORT = LogKind.REPORT
cdef int LOG_STARTED = LogKind.STARTED
cdef int LOG_VOTE = LogKind.VOTE
cdef int64_t LATE_LIMIT_NS = 3000000       # a thread this late is noticed
cdef int64_t LATE_AGAIN_NS = 2000000
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
                if j != i and (w.node[i].core.cfg.link[link].nodes_mask >> j) & 1:
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
            if fx.code == RP_PEER_DEAD and w.voter.exists and not w.p.voter_hears_gates:
                pass_notice_on(w, i, fx.node, <uint32_t>fx.value)
            if fx.code == RP_PREPARE:
                begin_to_prepare(w, i, fx.group, fx.epoch)
            if fx.code == RP_STATE:
                judge_change(w, i, fx.group, fx.node, <int>fx.value, <int>fx.extra)
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


cdef void begin_to_prepare(world_t* w, int i, int g, uint32_t epoch) noexcept nogil:
    cdef item_t* item
    if w.node[i].unprepared:
        return
    item = push(w, w.now + w.p.prepare_least + some(w, w.p.prepare_most - w.p.prepare_least), IT_PREPARED)
    item.node, item.group, item.epoch, item.life = i, g, epoch, w.node[i].life


cdef void prepared(world_t* w, const item_t* item) noexcept nogil:
    """A taker's hooks are done; of a life that is over they went with it."""
    if w.node[item.node].life == item.life:
        give_event(w, item.node, EV_COMMAND, CMD_PREPARED, item.group, NO_NODE, 0, 0)


cdef void pass_notice_on(world_t* w, int i, int dead, uint32_t incarnation) noexcept nogil:
    """A witness cannot hear a gate: the peer sends it the gate's signed word."""
    cdef item_t* item
    cdef int g
    if w.voter.cut_ask[i]:
        return
    for g in range(w.groups):
        if w.node[i].core.st.peer[dead].row[g].flags & ROW_DROPPED:
            # Before the claim's own ask on the same connection.
            item = push(w, w.now + w.p.voter_least + w.voter.delay[i], IT_VOTER_NOTICE)
            item.node, item.group, item.stamp = dead, g, incarnation


cdef void step(world_t* w, int i, event_t* ev) noexcept nogil:
    cdef node_t* n = &w.node[i]
    ev.now_ns = local_of(&n.clock, w.now)
    ev.rx_at_ns = ev.now_ns
    core_step(&n.core, ev, &w.fx)
    w.steps += 1
    judge_step(w, i)
    perform(w, i)
    judge_pledges(w, i)
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
    if n.still == RUNS and not (n.deaf and item.kind == IT_FRAME):
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
        note_answer(w, item)
        if item.code == VOTE_UNPROVEN:
            return
        ev.kind, ev.value, ev.stamp = EV_VOTE, item.value, item.stamp
        note(w, LOG_VOTE, item.node, item.group, -1, item.code, 0, 0, item.epoch)
    step(w, item.node, ev)


cdef void reach(world_t* w, const item_t* item) noexcept nogil:
    """A frame, a confirmation or a vote has arrived at its node."""
    if postponed(w, item):
        return
    if item.kind == IT_FRAME:
        arrive(w, item)
    else:
        hear_told(w, item)


# ---------------------------------------------------------------- life
cdef void node_start(world_t* w, int i, bint loses_disk) noexcept nogil:
    """A new life; what the contacts do goes on. A disk without a reservation was lost in a life before."""
    cdef node_t* n = &w.node[i]
    cdef bint disk_lost = loses_disk or n.disk == 0
    cdef settings_t kept = n.core.cfg
    cdef event_t* ev = &w.ev
    cdef int g
    core_init(&n.core, &kept)
    n.alive, n.still, n.fit, n.behind, n.deaf = 1, RUNS, 1, 0, 0
    n.told_fit = 1
    n.life += 1
    n.incarnation = <uint32_t>(rng_next(&w.rng) >> 33) | 1
    n.leave_at = 0
    n.voter_life, n.voter_at, n.voter_again = 0, 0, 0
    if disk_lost:
        n.disk = 0
        for g in range(w.groups):
            n.pledge[g].highest, n.pledge[g].helped = 0, 0      # forgotten for good
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
    if n.deaf:
        return
    for k in range(n.waiting):
        repush(w, &n.backlog[k], w.now)
    n.waiting = 0


# ---------------------------------------------------------------- threads that do not run
cdef void node_deaf(world_t* w, int i) noexcept nogil:
    """Its receivers stand still while its timers run; the decider finds out after a while, and again and again (D3)."""
    cdef node_t* n = &w.node[i]
    cdef item_t* item
    if not n.alive or n.still != RUNS or n.deaf:
        return
    n.deaf = 1
    n.deafness += 1
    item = push(w, w.now + LATE_LIMIT_NS, IT_LATE)
    item.node, item.life, item.epoch, item.value = i, n.life, n.deafness, LATE_LIMIT_NS


cdef void notice_late(world_t* w, const item_t* item) noexcept nogil:
    cdef node_t* n = &w.node[item.node]
    cdef item_t* again
    if not n.deaf or n.life != item.life or n.deafness != item.epoch:
        return
    give_event(w, item.node, EV_LATE, LATE_RECEIVER, 0, 0, item.value, 0)
    again = push(w, w.now + LATE_AGAIN_NS, IT_LATE)
    again.node, again.life, again.epoch, again.value = item.node, item.life, item.epoch, item.value + LATE_AGAIN_NS


cdef void node_hears(world_t* w, int i) noexcept nogil:
    """The threads run again: what waited is taken in, in order."""
    cdef node_t* n = &w.node[i]
    cdef int k
    if not n.deaf:
        return
    n.deaf = 0
    if n.still != RUNS:
        return
    for k in range(n.waiting):
        repush(w, &n.backlog[k], w.now)
    n.waiting = 0
