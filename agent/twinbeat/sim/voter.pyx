"""The third voter as the world has it: one promise per group, epochs, abstention after a start, cuts and delays."""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from twinbeat_core.model cimport NO_NODE, VOTE_GONE, VOTE_PROMISED, VOTE_REFUSED
from twinbeat.sim.things cimport push
from twinbeat.sim.world cimport IT_ASK, IT_RETURN, IT_VOTE, item_t, lease_t, some, world_t


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


cdef void voter_hear_ask(world_t* w, const item_t* item) noexcept nogil:
    cdef lease_t* lease = &w.voter.lease[item.group]
    cdef item_t* answer
    cdef bint abstains = w.now < w.voter.listen_until
    cdef bint promised
    if not w.voter.alive or (lease.incarnation == <uint32_t>item.value and item.stamp <= lease.stamp):
        return                           # an ask that was overtaken is not answered
    promised = not abstains and promises(w, lease, item)
    if promised:
        lease.holder = item.node
        lease.incarnation = <uint32_t>item.value
        lease.epoch = item.epoch
        lease.floor = item.epoch
        lease.stamp = item.stamp
        if w.now + w.p.voter_grant > lease.until:
            lease.until = w.now + w.p.voter_grant
    if w.voter.cut_answer[item.node]:
        return
    answer = push(w, w.now + way(w, item.node), IT_VOTE)
    answer.node, answer.group, answer.life = item.node, item.group, item.life
    answer.code = VOTE_PROMISED if promised else VOTE_GONE if abstains else VOTE_REFUSED
    answer.epoch = item.epoch if promised else lease.floor
    answer.stamp = item.stamp
    answer.value = w.p.voter_grant if promised else held_for(w, lease, item.node)


cdef void voter_hear_return(world_t* w, const item_t* item) noexcept nogil:
    """A claim is over; a later one's promise is not meant."""
    cdef lease_t* lease = &w.voter.lease[item.group]
    if w.voter.alive and lease.holder == item.node and lease.incarnation == <uint32_t>item.value \
            and lease.epoch == item.epoch:
        lease.holder = NO_NODE
        lease.until = 0


cdef void voter_hear_death(world_t* w, const item_t* item) noexcept nogil:
    """The holder's gate says that its worker is dead and this group's outputs are off."""
    cdef lease_t* lease = &w.voter.lease[item.group]
    if w.voter.alive and not w.voter.cut_ask[item.node] and lease.holder == item.node \
            and lease.incarnation == <uint32_t>item.stamp:
        lease.holder = NO_NODE
        lease.until = 0


cdef void voter_start(world_t* w) noexcept nogil:
    """It has forgotten its promises but not its floor; it abstains for the longest promise ever given."""
    cdef int g
    w.voter.alive = 1
    w.voter.life += 1
    w.voter.listen_until = w.now + w.node[0].core.cfg.grant_max_ns
    for g in range(w.groups):
        w.voter.lease[g].holder = NO_NODE
        w.voter.lease[g].until = 0
        w.voter.lease[g].stamp = 0
