"""The third voter as the world has it: what firmware_bridge/arbiter/lease.py does, with cuts and delays.

One promise per group; epochs; abstention after a start with the floor of a reservation; an ask must echo a recent
answer of this life, or it is answered "unproven" and repeated at once by its sender's client.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from twinbeat_core.model cimport NO_NODE, VOTE_GONE, VOTE_PROMISED, VOTE_REFUSED
from twinbeat.sim.judge cimport note
from twinbeat.sim.selector cimport select_again, select_none
from twinbeat.sim.things cimport push
from twinbeat.sim.world cimport IT_ASK, IT_RETURN, IT_VOTE, VOTE_UNPROVEN, item_t, lease_t, node_t, some, world_t

from twinbeat.sim.spec import LogKind

cdef int LOG_VOTER_DID = LogKind.VOTER

cdef enum:
    DID_OVERTAKEN = 16
    DID_RETURN = 17
    DID_DEATH = 18
    DID_START = 19
    RESERVED = 8192         # how far above the floor the reservation may lie that a restart begins with


cdef void note_voter(world_t* w, const item_t* item, int did, uint32_t epoch, int64_t value) noexcept nogil:
    """For a comparison with lease.py. `did`: a VoteCode, VOTE_UNPROVEN, or one of DID_*.

    link: the echoed life; a: did, answered epoch; b: incarnation, epoch asked for; c: stamp; d: the echoed clock, ns,
    or for a start the floor that it begins with.
    """
    note(w, LOG_VOTER_DID, item.node, item.group, <int>item.echo_life, <int64_t>did << 32 | epoch,
         item.value << 32 | item.epoch, <int64_t>item.stamp, value)


cdef int64_t way(world_t* w, int i) noexcept nogil:
    return w.p.voter_least + some(w, w.p.voter_most - w.p.voter_least) + w.voter.delay[i]


cdef void voter_ask(world_t* w, int i, int g, uint32_t epoch, uint64_t stamp, bint gives_back) noexcept nogil:
    """FX_ASK and FX_RETURN on their way."""
    cdef item_t* item
    if not w.voter.exists or w.voter.cut_ask[i]:
        return
    item = push(w, w.now + way(w, i), IT_RETURN if gives_back else IT_ASK)
    item.node, item.group, item.epoch, item.stamp = i, g, epoch, stamp
    item.life = w.node[i].life
    item.value = w.node[i].incarnation
    item.echo_life, item.echo_at = w.node[i].voter_life, w.node[i].voter_at


cdef void note_answer(world_t* w, const item_t* item) noexcept nogil:
    """The node's client: what it echoes from now on, and an unproven ask once more with the same stamp."""
    cdef node_t* n = &w.node[item.node]
    if n.voter_life != item.echo_life or item.echo_at > n.voter_at:
        n.voter_life, n.voter_at = item.echo_life, item.echo_at
    if item.code == VOTE_UNPROVEN and item.stamp > n.voter_again:
        n.voter_again = item.stamp
        voter_ask(w, item.node, item.group, <uint32_t>item.value, item.stamp, False)


cdef bint proven(world_t* w, const item_t* item) noexcept nogil:
    """Its sender has heard an answer of this life no longer ago than the promise would last (A12)."""
    return item.echo_life == w.voter.life and w.now - item.echo_at <= w.p.voter_grant


cdef bint promises(world_t* w, lease_t* lease, const item_t* item) noexcept nogil:
    """One promise per group; renewed by a newer stamp, given elsewhere when it is over, never below the floor."""
    cdef uint32_t incarnation = <uint32_t>item.value
    cdef bint same = lease.holder == item.node and lease.incarnation == incarnation
    if item.epoch < lease.floor:
        return False
    if not same and lease.holder != NO_NODE and w.now < lease.until:
        return False
    if not same and item.epoch <= lease.floor:
        return False
    return True


cdef int64_t held_for(world_t* w, lease_t* lease, int node) noexcept nogil:
    """How long another's promise still lasts; 0 where the epoch alone is in the way."""
    return lease.until - w.now if lease.holder != NO_NODE and lease.holder != node and lease.until > w.now else 0


cdef void give(world_t* w, lease_t* lease, const item_t* item) noexcept nogil:
    cdef bint same = lease.holder == item.node and lease.incarnation == <uint32_t>item.value
    lease.holder = item.node
    lease.incarnation = <uint32_t>item.value
    lease.epoch = item.epoch
    lease.floor = item.epoch
    lease.stamp = item.stamp
    if not same or w.now + w.p.voter_grant > lease.until:
        lease.until = w.now + w.p.voter_grant
    select_again(w, item.group)


cdef void voter_hear_ask(world_t* w, const item_t* item) noexcept nogil:
    cdef lease_t* lease = &w.voter.lease[item.group]
    cdef item_t* answer
    cdef int code = VOTE_REFUSED
    cdef bint same = lease.holder == item.node and lease.incarnation == <uint32_t>item.value
    if not w.voter.alive or (same and item.stamp <= lease.stamp):
        if w.voter.alive:
            note_voter(w, item, DID_OVERTAKEN, 0, item.echo_at)
        return                           # an ask that was overtaken is not answered
    if w.now < w.voter.listen_until:
        code = VOTE_GONE
    elif item.epoch and not proven(w, item):
        code = VOTE_UNPROVEN
    elif item.epoch and promises(w, lease, item):
        code = VOTE_PROMISED
        give(w, lease, item)
    note_voter(w, item, code, item.epoch if code == VOTE_PROMISED else lease.floor, item.echo_at)
    if w.voter.cut_answer[item.node]:
        return
    answer = push(w, w.now + way(w, item.node), IT_VOTE)
    answer.node, answer.group, answer.life, answer.code = item.node, item.group, item.life, code
    answer.epoch = item.epoch if code == VOTE_PROMISED else lease.floor
    answer.stamp = item.stamp
    answer.value = w.p.voter_grant if code == VOTE_PROMISED else held_for(w, lease, item.node)
    if code == VOTE_UNPROVEN:
        answer.value = item.epoch        # what its client asks for again
    answer.echo_life, answer.echo_at = w.voter.life, w.now


cdef void end(world_t* w, int g) noexcept nogil:
    w.voter.lease[g].holder = NO_NODE
    w.voter.lease[g].until = 0
    select_again(w, g)


cdef void voter_hear_return(world_t* w, const item_t* item) noexcept nogil:
    """A claim is over; a later one's promise is not meant."""
    cdef lease_t* lease = &w.voter.lease[item.group]
    if w.voter.alive:
        note_voter(w, item, DID_RETURN, 0, 0)
    if w.voter.alive and lease.holder == item.node and lease.incarnation == <uint32_t>item.value \
            and lease.epoch == item.epoch:
        end(w, item.group)


cdef void voter_hear_death(world_t* w, const item_t* item) noexcept nogil:
    """The holder's gate says that its worker is dead and this group's outputs are off."""
    cdef lease_t* lease = &w.voter.lease[item.group]
    cdef bint reached = w.voter.alive and not (w.p.voter_hears_gates and w.voter.cut_ask[item.node])
    if reached:
        note_voter(w, item, DID_DEATH, 0, 0)
    if reached and lease.holder == item.node \
            and lease.incarnation == <uint32_t>item.stamp:
        end(w, item.group)


cdef void voter_kill(world_t* w) noexcept nogil:
    """It answers no more; contacts that it holds fall open."""
    w.voter.alive = 0
    select_none(w)


cdef void voter_start(world_t* w) noexcept nogil:
    """It has forgotten its promises but not the reservation above its floor; it abstains for its longest promise."""
    cdef uint32_t floor = 0
    cdef int g
    select_none(w)
    w.voter.alive = 1
    w.voter.life += 1
    w.voter.listen_until = w.now + w.p.voter_abstain
    for g in range(w.groups):
        if w.voter.lease[g].floor > floor:
            floor = w.voter.lease[g].floor
    for g in range(w.groups):
        w.voter.lease[g].holder = NO_NODE
        w.voter.lease[g].until = 0
        w.voter.lease[g].stamp = 0
        w.voter.lease[g].floor = floor + RESERVED if floor else 0
    note(w, LOG_VOTER_DID, -1, -1, <int>w.voter.life, <int64_t>DID_START << 32, 0, 0, floor + RESERVED if floor else 0)
