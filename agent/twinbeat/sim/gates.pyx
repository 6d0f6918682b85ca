"""The gates and the contacts behind them: driven until a deadline, dropped without anybody's order."""
from libc.stdint cimport int64_t, uint32_t

from twinbeat_core.model cimport DRIVE_EXTEND, DRIVE_OFF, OUTPUT_OFF
from twinbeat.sim.judge cimport judge_drive
from twinbeat.sim.selector cimport output_off, output_on
from twinbeat.sim.things cimport push
from twinbeat.sim.world cimport (
    FROZEN, GATE_NS, IT_CONTACT, IT_GATE, IT_GATE_DROP, IT_HOLD, IT_TOLD, gate_t, item_t, some, true_of, world_t,
)


cdef void move_contact(world_t* w, int i, int g, bint on, int64_t in_ns) noexcept nogil:
    """The newest order wins: a contact on its way turns round."""
    cdef item_t* item
    w.node[i].gate[g].gen += 1
    item = push(w, w.now + in_ns, IT_CONTACT)
    item.node, item.group, item.code = i, g, on
    item.life = w.node[i].gate[g].gen


cdef void contact_due(world_t* w, const item_t* item) noexcept nogil:
    cdef gate_t* gate = &w.node[item.node].gate[item.group]
    if item.life != gate.gen:
        return
    gate.wanted = item.code
    if item.code and not gate.level and gate.stuck < 2:
        output_on(w, item.node, item.group)
    elif not item.code and gate.level and gate.stuck in (0, 2):
        output_off(w, item.node, item.group)


cdef void unstick(world_t* w, int i, int g) noexcept nogil:
    cdef gate_t* gate = &w.node[i].gate[g]
    gate.stuck = 0
    if gate.wanted and not gate.level:
        output_on(w, i, g)
    elif not gate.wanted and gate.level:
        output_off(w, i, g)


cdef void tell(world_t* w, int i, int g, int code, uint32_t epoch) noexcept nogil:
    cdef item_t* item = push(w, w.now + GATE_NS, IT_TOLD)
    item.node, item.group, item.code, item.epoch = i, g, code, epoch
    item.life = w.node[i].life


cdef void gate_let_go(world_t* w, int i, int g, int64_t in_ns) noexcept nogil:
    """The output is switched off in in_ns; its contact opens a release time later."""
    cdef gate_t* gate = &w.node[i].gate[g]
    gate.on = 0
    gate.off_at = w.now + in_ns
    move_contact(w, i, g, False, in_ns + some(w, w.p.release[g]))


cdef void check_at(world_t* w, int i, int g, int64_t at) noexcept nogil:
    cdef item_t* item
    if w.node[i].gate[g].check and w.node[i].gate[g].check <= at:
        return
    w.node[i].gate[g].check = at
    item = push(w, at, IT_GATE)
    item.node, item.group = i, g


cdef void gate_order(world_t* w, int i, int g, int code, uint32_t epoch, int64_t deadline_l) noexcept nogil:
    """FX_DRIVE. What has expired is never renewed."""
    cdef gate_t* gate = &w.node[i].gate[g]
    cdef int64_t deadline
    if code == DRIVE_OFF:
        if gate.on:
            gate_let_go(w, i, g, GATE_NS)
        tell(w, i, g, OUTPUT_OFF, epoch)
        return
    deadline = true_of(&w.node[i].clock, deadline_l)
    if code == DRIVE_EXTEND:
        if not gate.on or gate.deadline <= w.now or deadline <= gate.deadline:
            return
        judge_drive(w, i, g, False, deadline)
        gate.own_word = w.node[i].core.st.group[g].alone
        gate.deadline = deadline
        gate.epoch = epoch
        return
    if deadline <= w.now:
        return
    judge_drive(w, i, g, True, deadline)
    gate.on = 1
    gate.own_word = w.node[i].core.st.group[g].alone
    gate.epoch = epoch
    gate.deadline = deadline
    move_contact(w, i, g, True, GATE_NS + w.p.make[g])
    check_at(w, i, g, deadline)


cdef void gate_due(world_t* w, const item_t* item) noexcept nogil:
    cdef gate_t* gate = &w.node[item.node].gate[item.group]
    cdef item_t* drop
    if item.at != gate.check:
        return                           # an earlier look has taken its place
    gate.check = 0
    if not gate.on or w.node[item.node].still >= FROZEN:
        return
    if gate.deadline > w.now:
        check_at(w, item.node, item.group, gate.deadline)
        return
    drop = push(w, w.now + some(w, w.p.gate_late), IT_GATE_DROP)
    drop.node, drop.group = item.node, item.group
    drop.life = gate.gen


cdef void gate_drop(world_t* w, const item_t* item) noexcept nogil:
    """The deadline passed: this gate lets go by itself and says so."""
    cdef gate_t* gate = &w.node[item.node].gate[item.group]
    if not gate.on or gate.gen != item.life or w.node[item.node].still >= FROZEN:
        return
    gate_let_go(w, item.node, item.group, 0)
    tell(w, item.node, item.group, OUTPUT_OFF, gate.epoch)


cdef void gate_freeze(world_t* w, int i) noexcept nogil:
    """A gateway that stands still keeps its levels, or its pulses end and the output falls after hold."""
    cdef item_t* item
    cdef int g
    for g in range(w.groups):
        if w.node[i].gate[g].on and w.p.hold[g] >= 0:
            item = push(w, w.now + w.p.hold[g], IT_HOLD)
            item.node, item.group, item.life = i, g, w.node[i].gate[g].gen


cdef void hold_over(world_t* w, const item_t* item) noexcept nogil:
    cdef gate_t* gate = &w.node[item.node].gate[item.group]
    if w.node[item.node].still >= FROZEN and gate.gen == item.life:
        move_contact(w, item.node, item.group, False, some(w, w.p.release[item.group]))


cdef void gate_thaw(world_t* w, int i) noexcept nogil:
    """Running again: before anything is pulsed the deadline is looked at."""
    cdef gate_t* gate
    cdef int g
    for g in range(w.groups):
        gate = &w.node[i].gate[g]
        if not gate.on:
            continue
        gate.check = 0
        if gate.deadline > w.now:
            move_contact(w, i, g, True, 0 if gate.level else w.p.make[g])
            check_at(w, i, g, gate.deadline)
        elif w.p.hold[g] >= 0:
            gate_let_go(w, i, g, 0)
            tell(w, i, g, OUTPUT_OFF, gate.epoch)
        else:
            check_at(w, i, g, w.now)
