"""Outputs that the third voter gates: break before make, none at its start, the other closed only once one reads open.

Its contact lies in series with each gateway's own output: the load sees both. A gateway that stands still with its
output on is so cut off when its promise has run out.
"""
from libc.stdint cimport int64_t

from twinbeat_core.model cimport NO_NODE
from twinbeat.sim.judge cimport contact_off, contact_on
from twinbeat.sim.things cimport push
from twinbeat.sim.world cimport IT_SELECT, gate_t, item_t, lease_t, selector_t, some, world_t

cdef enum:
    LOOK_NS = 1000000            # how often the read-back is looked at while a contact opens
    CLOSES = 1                   # what an IT_SELECT is for; 0: to look whether the promise still stands


cdef bint passes(const world_t* w, int i, int g) noexcept nogil:
    """Whether what node i drives reaches the load."""
    return not w.p.gated or w.voter.select[g].closed == i


cdef void output_on(world_t* w, int i, int g) noexcept nogil:
    """The gateway's own output is on."""
    cdef gate_t* gate = &w.node[i].gate[g]
    gate.level = 1
    if passes(w, i, g) and not gate.contact:
        contact_on(w, i, g)


cdef void output_off(world_t* w, int i, int g) noexcept nogil:
    cdef gate_t* gate = &w.node[i].gate[g]
    gate.level = 0
    if gate.contact:
        contact_off(w, i, g)


cdef void open_contact(world_t* w, int g) noexcept nogil:
    cdef selector_t* select = &w.voter.select[g]
    cdef int i = select.closed
    select.closed = NO_NODE
    if i != NO_NODE and w.node[i].gate[g].contact:
        contact_off(w, i, g)


cdef void look_at(world_t* w, int g, int64_t in_ns, int code) noexcept nogil:
    cdef item_t* item = push(w, w.now + in_ns, IT_SELECT)
    item.group, item.code, item.life = g, code, w.voter.select[g].gen


cdef void select_again(world_t* w, int g) noexcept nogil:
    """A promise was given, renewed or ended: open what must not be closed, then close what should be."""
    cdef selector_t* select = &w.voter.select[g]
    cdef lease_t* lease = &w.voter.lease[g]
    if not w.p.gated:
        return
    if lease.holder != NO_NODE and w.now < lease.until and select.goal == lease.holder:
        return                           # a renewal: that contact is on its way
    select.gen += 1
    select.goal = NO_NODE
    if lease.holder == NO_NODE or w.now >= lease.until:
        if select.closed != NO_NODE:
            look_at(w, g, some(w, w.p.select_release), 0)
        return
    if select.closed == lease.holder:
        look_at(w, g, lease.until - w.now, 0)
        return
    # The read-back shows open within the release time; only then does the other contact move.
    select.goal = lease.holder
    look_at(w, g, (w.p.select_release if select.closed != NO_NODE else 0) + w.p.select_make, CLOSES)


cdef void select_due(world_t* w, const item_t* item) noexcept nogil:
    cdef selector_t* select = &w.voter.select[item.group]
    cdef lease_t* lease = &w.voter.lease[item.group]
    cdef int j
    if item.life != select.gen or not w.voter.alive:
        return
    if item.code != CLOSES:
        if lease.holder == NO_NODE or w.now >= lease.until:
            open_contact(w, item.group)
        else:
            look_at(w, item.group, lease.until - w.now, 0)
        return
    open_contact(w, item.group)
    if lease.holder == NO_NODE or w.now >= lease.until:
        select.goal = NO_NODE
        return
    for j in range(w.nodes):
        if j != lease.holder and w.node[j].gate[item.group].contact:
            look_at(w, item.group, LOOK_NS, CLOSES)      # it reads closed still
            return
    select.closed = lease.holder
    select.goal = NO_NODE
    if w.node[lease.holder].gate[item.group].level and not w.node[lease.holder].gate[item.group].contact:
        contact_on(w, lease.holder, item.group)
    look_at(w, item.group, lease.until - w.now, 0)


cdef void select_none(world_t* w) noexcept nogil:
    """No supply, or a start: every coil is without current."""
    cdef int g
    for g in range(w.groups):
        w.voter.select[g].gen += 1
        w.voter.select[g].goal = NO_NODE
        open_contact(w, g)
