"""What can be done to a world, and how it ends: the verbs of spec.Verb."""
from libc.stdint cimport int64_t, uint8_t, uint16_t

from twinbeat_core.model cimport (
    CMD_CLEAR, CMD_HANDOVER, CMD_IN, CMD_MOVE, CMD_OUT, EV_COMMAND, EV_HEALTH, EV_LATE, EV_LINK, EV_OUTPUT, EV_SYNC,
    LATE_CANARY, LATE_DECIDER, NO_NODE, OUTPUT_FAILED, OUTPUT_OFF,
)
from twinbeat.sim.carriers cimport cond_clear, replay_past, weigh_links
from twinbeat.sim.endings cimport node_end, node_kill, node_leave
from twinbeat.sim.gates cimport gate_let_go, tell, unstick
from twinbeat.sim.judge cimport note
from twinbeat.sim.nodes cimport give_event, node_deaf, node_hears, node_resume, node_start, node_still
from twinbeat.sim.things cimport bring_forward, push
from twinbeat.sim.voter cimport voter_kill, voter_start
from twinbeat.sim.world cimport (
    EVERY, FROZEN, IT_UNDO, RUNS, STALLED, SUSPENDED, action_t, cond_t, item_t, local_of, true_of, world_t,
)

from twinbeat.sim.spec import LogKind, Verb as V

cdef int64_t AGES_NS = <int64_t>1 << 61
cdef int LOG_ACTION = LogKind.ACTION
cdef int LOG_VOTER = LogKind.DIED
cdef int START = V.START, KILL = V.KILL, POWER = V.POWER, RESTART = V.RESTART, STALL = V.STALL, FREEZE = V.FREEZE
cdef int SUSPEND = V.SUSPEND, RESUME = V.RESUME, LATE = V.LATE, CLOCK = V.CLOCK, DISK = V.DISK
cdef int DEAF = V.DEAF
cdef int CUT = V.CUT, HEAL = V.HEAL, LOSS = V.LOSS, DELAY = V.DELAY, JITTER = V.JITTER, DUPLICATE = V.DUPLICATE
cdef int REORDER = V.REORDER, CORRUPT = V.CORRUPT, CLOG = V.CLOG, REPLAY = V.REPLAY, HINT = V.HINT
cdef int DROP = V.DROP, STICK = V.STICK, UNSTICK = V.UNSTICK, FAIL = V.FAIL
cdef int HANDOVER = V.HANDOVER, OUT = V.OUT, IN = V.IN, STOP = V.STOP, HEALTH = V.HEALTH, SYNC = V.SYNC, CLEAR = V.CLEAR
cdef int LOAD = V.LOAD, MOVE = V.MOVE, PREPARE = V.PREPARE
cdef int VOTER_KILL = V.VOTER_KILL, VOTER_RESTART = V.VOTER_RESTART, VOTER_CUT = V.VOTER_CUT
cdef int VOTER_HEAL = V.VOTER_HEAL, VOTER_DELAY = V.VOTER_DELAY, HEAL_ALL = V.HEAL_ALL


# ---------------------------------------------------------------- links
cdef void touch_link(world_t* w, cond_t* c, const action_t* a, bint undo) noexcept nogil:
    cdef int64_t value = 0 if undo else a.value
    if a.verb == CUT:
        c.cut = not undo
    elif a.verb == HEAL:
        cond_clear(c)
    elif a.verb == LOSS:
        c.loss = <uint16_t>value
    elif a.verb == DELAY:
        c.delay = value
    elif a.verb == JITTER:
        c.jitter = value
    elif a.verb == DUPLICATE:
        c.duplicate = <uint16_t>value
    elif a.verb == REORDER:
        c.reorder = <uint16_t>value
    elif a.verb == CORRUPT:
        c.corrupt = <uint16_t>value
    elif a.verb == CLOG and not undo and w.now + a.lasts > c.clog_until:
        if c.clog_until <= w.now:
            c.held = 0
        c.clog_until = w.now + a.lasts


cdef void let_flow(world_t* w, int link, int i, int j) noexcept nogil:
    """Nothing holds this link any more: neither what was sent nor, in its order, what will be."""
    cdef cond_t* c = &w.cond[link][i][j]
    cdef int64_t at = w.now + w.p.latency[link] + w.p.jitter[link]
    if c.clog_until > w.now or c.delay or c.jitter or c.last_arrival <= at:
        return
    bring_forward(w, link, i, j, at)
    c.last_arrival = at


cdef void on_links(world_t* w, const action_t* a, bint undo) noexcept nogil:
    cdef int i, j, link
    for link in range(w.links):
        if a.link != EVERY and a.link != link:
            continue
        for i in range(w.nodes):
            if a.node != EVERY and a.node != i:
                continue
            for j in range(w.nodes):
                if j != i and (a.peer == EVERY or a.peer == j):
                    if a.verb == REPLAY:
                        replay_past(w, i, j, link, <int>a.value)
                    else:
                        touch_link(w, &w.cond[link][i][j], a, undo)
                        if undo or a.verb == HEAL:
                            let_flow(w, link, i, j)
    weigh_links(w)


# ---------------------------------------------------------------- nodes
cdef void set_rate(world_t* w, int i, int64_t ppb) noexcept nogil:
    """The clock runs differently from now on; what was planned by it comes earlier or later."""
    n = &w.node[i]
    cdef int g
    n.clock.base_l = local_of(&n.clock, w.now)
    n.clock.base_t = w.now
    n.clock.ppb = ppb
    if ppb > n.core.cfg.drift_ppm * 1000 or -ppb > n.core.cfg.drift_ppm * 1000:
        w.clock_bad = 1
    if n.alive and n.still == RUNS:
        n.wake_at = true_of(&n.clock, n.core.st.deadline_ns)
        if n.wake_at <= w.now:
            n.wake_at = w.now + 1
    for g in range(w.groups):
        if n.gate[g].on and n.core.st.group[g].drive_until_ns:
            n.gate[g].deadline = true_of(&n.clock, n.core.st.group[g].drive_until_ns)


cdef void tell_health(world_t* w, int i) noexcept nogil:
    n = &w.node[i]
    if n.fit and not n.told_fit:
        n.fit_at = w.now
    elif n.told_fit and not n.fit:
        n.unfit_at = w.now
    if n.load != n.told_load:
        n.load_at = w.now
    n.told_fit, n.told_load = n.fit, n.load
    give_event(w, i, EV_HEALTH, n.fit, 0, 0, 100 if n.fit else 0, n.load)


cdef void resume(world_t* w, int i) noexcept nogil:
    """It goes on, and its agent tells the core what its health and load came to meanwhile."""
    n = &w.node[i]
    node_resume(w, i)
    if n.alive and (n.fit != n.core.st.fit or n.load != n.core.st.load):
        tell_health(w, i)


cdef void begin_node(world_t* w, int i, const action_t* a) noexcept nogil:
    cdef int late
    if a.verb == START:
        if not w.node[i].alive:
            node_start(w, i, a.value == 1)
    elif a.verb == KILL:
        if w.node[i].alive:
            node_kill(w, i)
    elif a.verb == POWER:
        node_end(w, i, 2)
    elif a.verb == RESTART:
        node_end(w, i, 2)
        node_start(w, i, a.value == 1)
    elif a.verb == STALL:
        node_still(w, i, STALLED)
    elif a.verb == FREEZE:
        node_still(w, i, FROZEN)
    elif a.verb == SUSPEND:
        node_still(w, i, SUSPENDED)
    elif a.verb == RESUME:
        resume(w, i)
    elif a.verb == LATE:
        late = a.group if LATE_DECIDER <= a.group <= LATE_CANARY else LATE_CANARY
        give_event(w, i, EV_LATE, late, 0, 0, a.value, 0)
    elif a.verb == DEAF:
        node_deaf(w, i)
    elif a.verb == CLOCK:
        set_rate(w, i, a.value)
    elif a.verb == DISK:
        w.node[i].disk_ns = a.value
    elif a.verb == HINT:
        give_event(w, i, EV_LINK, 0, a.link if a.link >= 0 else 0, 0, 0, 0)
    elif a.verb == STOP:
        node_leave(w, i)
    elif a.verb == HEALTH:
        w.node[i].fit = a.value != 0
        tell_health(w, i)
    elif a.verb == LOAD:
        w.node[i].load = <uint8_t>a.value
        tell_health(w, i)
    elif a.verb == PREPARE:
        w.node[i].unprepared = a.value == 0
    elif a.verb == SYNC:
        w.node[i].behind = a.value < 0
        give_event(w, i, EV_SYNC, a.value >= 0, 0, 0, a.value if a.value >= 0 else 0, 0)


cdef void end_node(world_t* w, int i, const action_t* a) noexcept nogil:
    if a.verb == KILL or a.verb == POWER or a.verb == STOP:
        if not w.node[i].alive:
            node_start(w, i, a.value == 1)
    elif a.verb == STALL or a.verb == FREEZE or a.verb == SUSPEND:
        resume(w, i)
    elif a.verb == DEAF:
        node_hears(w, i)
    elif a.verb == CLOCK:
        set_rate(w, i, w.p.ppb[i])
    elif a.verb == DISK:
        w.node[i].disk_ns = 0
    elif a.verb == HEALTH:
        w.node[i].fit = a.value == 0
        tell_health(w, i)
    elif a.verb == LOAD:
        w.node[i].load = 0
        tell_health(w, i)
    elif a.verb == PREPARE:
        w.node[i].unprepared = a.value != 0
    elif a.verb == SYNC:
        w.node[i].behind = 0
        give_event(w, i, EV_SYNC, 1, 0, 0, a.value if a.value >= 0 else 0, 0)


# ---------------------------------------------------------------- outputs, operators
cdef void clear(world_t* w, int i, int g) noexcept nogil:
    """The output works again: the gate, which went on trying, says so where it is off; an operator clears the bar."""
    if not w.node[i].gate[g].on:
        tell(w, i, g, OUTPUT_OFF, w.node[i].gate[g].epoch)
    give_event(w, i, EV_COMMAND, CMD_CLEAR, g, NO_NODE, 0, 0)


cdef void on_group(world_t* w, int i, int g, const action_t* a, bint undo) noexcept nogil:
    gate = &w.node[i].gate[g]
    if a.verb == DROP and gate.on and w.node[i].still < FROZEN:
        gate_let_go(w, i, g, 0)
        tell(w, i, g, OUTPUT_OFF, gate.epoch)
    elif a.verb == STICK and not undo:
        gate.stuck = 3 if a.value == 0 else <int>a.value
    elif a.verb == UNSTICK or a.verb == STICK:
        unstick(w, i, g)
    elif a.verb == FAIL and not undo:
        give_event(w, i, EV_OUTPUT, OUTPUT_FAILED, g, 0, 0, 0)
    elif a.verb == CLEAR or a.verb == FAIL:
        clear(w, i, g)
    elif a.verb == HANDOVER and not undo:
        give_event(w, i, EV_COMMAND, CMD_HANDOVER, g, a.peer if a.peer >= 0 else NO_NODE, 0, 0)
    elif a.verb == MOVE and not undo:
        give_event(w, i, EV_COMMAND, CMD_MOVE, g, a.peer if a.peer >= 0 else NO_NODE, 0, 0)
    elif a.verb == OUT and not undo:
        give_event(w, i, EV_COMMAND, CMD_OUT, g, NO_NODE, 0, 0)
    elif a.verb == IN or a.verb == OUT:
        give_event(w, i, EV_COMMAND, CMD_IN, g, NO_NODE, 0, 0)


# ---------------------------------------------------------------- third voter
cdef void on_voter(world_t* w, const action_t* a, bint undo) noexcept nogil:
    cdef int i
    if a.verb == VOTER_KILL and not undo:
        voter_kill(w)
        note(w, LOG_VOTER, 8, -1, -1, 1, 0, 0, 0)
    elif a.verb == VOTER_RESTART or a.verb == VOTER_KILL:
        if w.voter.exists:
            voter_start(w)
    for i in range(w.nodes):
        if a.node != EVERY and a.node != i:
            continue
        if a.verb == VOTER_CUT:
            if a.value != 2:
                w.voter.cut_ask[i] = not undo
            if a.value != 1:
                w.voter.cut_answer[i] = not undo
        elif a.verb == VOTER_HEAL:
            w.voter.cut_ask[i], w.voter.cut_answer[i], w.voter.delay[i] = 0, 0, 0
        elif a.verb == VOTER_DELAY:
            w.voter.delay[i] = 0 if undo else a.value


# ---------------------------------------------------------------- everything
cdef void heal_links(world_t* w) noexcept nogil:
    cdef int i, j, link
    for link in range(w.links):
        for i in range(w.nodes):
            for j in range(w.nodes):
                cond_clear(&w.cond[link][i][j])
                if j != i:
                    let_flow(w, link, i, j)
    if w.voter.exists and not w.voter.alive:
        voter_start(w)
    for i in range(w.nodes):
        w.voter.cut_ask[i], w.voter.cut_answer[i], w.voter.delay[i] = 0, 0, 0
    weigh_links(w)


cdef void heal_all(world_t* w) noexcept nogil:
    """Every fault ends; liveness is judged from here."""
    cdef int i, g
    heal_links(w)
    for i in range(w.nodes):
        resume(w, i)
        node_hears(w, i)
        if w.node[i].clock.ppb != w.p.ppb[i]:
            set_rate(w, i, w.p.ppb[i])
        w.node[i].disk_ns = 0
        for g in range(w.groups):
            if w.node[i].gate[g].stuck:
                unstick(w, i, g)
        if not w.node[i].alive or w.node[i].core.st.stopping:
            node_end(w, i, 2)
            node_start(w, i, False)
        w.node[i].fit, w.node[i].load, w.node[i].unprepared = 1, 0, 0
        tell_health(w, i)
        give_event(w, i, EV_SYNC, 1, 0, 0, 1, 0)
        for g in range(w.groups):
            give_event(w, i, EV_COMMAND, CMD_IN, g, NO_NODE, 0, 0)
            clear(w, i, g)
    w.healed = w.now
    w.touched = w.now


cdef void apply(world_t* w, const action_t* a, bint undo) noexcept nogil:
    cdef int i, g
    if a.verb == HEAL_ALL:
        if not undo:
            heal_all(w)
    elif CUT <= a.verb <= REPLAY:
        on_links(w, a, undo)
    elif VOTER_KILL <= a.verb <= VOTER_DELAY:
        on_voter(w, a, undo)
    else:
        for i in range(w.nodes):
            if a.node != EVERY and a.node != i:
                continue
            if (DROP <= a.verb <= IN) or a.verb == CLEAR or a.verb == MOVE:
                for g in range(w.groups):
                    if a.group == EVERY or a.group == g:
                        on_group(w, i, g, a, undo)
            elif undo:
                end_node(w, i, a)
            else:
                begin_node(w, i, a)


cdef inline bint planned(int verb) noexcept nogil:
    """What an operator or a figure asks of a node: no fault of its."""
    return HANDOVER <= verb <= IN or HEALTH <= verb <= PREPARE


cdef void note_upset(world_t* w, const action_t* a) noexcept nogil:
    """What is not as it should be, and until when (rule DISTURBED). A node's death or standstill is its own affair."""
    cdef bint at_once = a.verb == START or a.verb == RESTART or a.verb == RESUME or a.verb == HEAL_ALL
    cdef int64_t until = w.now if at_once else w.now + a.lasts if a.lasts else AGES_NS
    cdef int i
    if w.searching or planned(a.verb):
        return
    if a.verb == HEAL_ALL or (until > w.links_at and a.verb > RESUME):
        w.links_at = until
    if a.verb > RESUME and a.verb != HEAL_ALL:
        return
    for i in range(w.nodes):
        if a.verb == START and w.node[i].alive:
            continue                     # nothing happens to it, and it may stand still
        if a.verb == HEAL_ALL or a.node == EVERY or a.node == i:
            w.node[i].was_well = w.node[i].upset_at + 2 * w.node[i].core.cfg.longest_ns <= w.now
            w.node[i].upset_at = until if at_once or until > w.node[i].upset_at else w.node[i].upset_at


cdef void do_action(world_t* w, int number) noexcept nogil:
    cdef const action_t* a = &w.action[number]
    cdef item_t* item
    w.done = number
    note_upset(w, a)
    note(w, LOG_ACTION, a.node, a.group, a.link, number, 1, 0, 0)
    apply(w, a, False)
    if a.lasts > 0 and a.verb != HEAL_ALL:
        item = push(w, w.now + a.lasts, IT_UNDO)
        item.slot = number


cdef void undo_action(world_t* w, int number) noexcept nogil:
    """Its time is over, unless everything was healed before."""
    cdef const action_t* a = &w.action[number]
    if w.healed >= 0:
        return
    note(w, LOG_ACTION, a.node, a.group, a.link, number, 2, 0, 0)
    apply(w, a, True)
