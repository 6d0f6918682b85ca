"""The checkers: safety after every step, liveness at the end. They look at contacts and promises, not at words."""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport realloc

from twinbeat_core.model cimport ACTIVE, LISTEN, LONE_HOLD, LONE_TAKEOVER, NO_NODE
from twinbeat_core.state cimport core_t, group_t, promise_t
from twinbeat.sim.world cimport (
    FROZEN, SIM_FOUND, SIM_GAPS, found_t, gap_t, lease_t, log_t, local_of, node_t, pledge_t, true_of, world_t,
)

from twinbeat.sim.spec import Excuse, LogKind, Rule

cdef int LOG_OUTPUT = LogKind.OUTPUT
cdef int LOG_VIOLATION = LogKind.VIOLATION
cdef int TWO_DRIVERS = Rule.TWO_DRIVERS
cdef int EPOCH_NOT_RISING = Rule.EPOCH_NOT_RISING
cdef int EPOCH_NOT_ON_DISK = Rule.EPOCH_NOT_ON_DISK
cdef int NO_MAJORITY = Rule.NO_MAJORITY
cdef int RESTARTED_OWNS = Rule.RESTARTED_OWNS
cdef int TABLE = Rule.TABLE
cdef int DEADLINE = Rule.DEADLINE
cdef int EFFECTS_LOST = Rule.EFFECTS_LOST
cdef int NO_DRIVER = Rule.NO_DRIVER
cdef int TWO_AT_END = Rule.TWO_AT_END
cdef int NOT_SETTLED = Rule.NOT_SETTLED
cdef int LIMIT = Rule.LIMIT
cdef int EX_L3 = Excuse.L3
cdef int EX_FROZEN = Excuse.FROZEN
cdef int EX_CONTACT = Excuse.CONTACT
cdef int EX_CLOCK = Excuse.CLOCK
cdef int EX_DISK = Excuse.DISK
cdef int EX_ALONE = Excuse.ALONE

cdef enum:
    LOG_GROWS = 4096
    LOG_MOST = 4194304      # lines of one run
    ROUNDING_NS = 2000      # stamps are whole microseconds, and clocks are converted twice


cdef void note(
    world_t* w, int kind, int node, int group, int link, int64_t a, int64_t b, int64_t c, int64_t d
) noexcept nogil:
    """One line of the log, where one is kept."""
    cdef log_t* grown
    cdef log_t* line
    if not w.logging:
        return
    if w.logs >= w.log_room:
        grown = NULL
        if w.log_room < LOG_MOST:
            grown = <log_t*>realloc(w.log, (w.log_room + w.log_room // 2 + LOG_GROWS) * sizeof(log_t))
        if grown == NULL:
            w.broken = 1
            return
        w.log = grown
        w.log_room += w.log_room // 2 + LOG_GROWS
    line = &w.log[w.logs]
    w.logs += 1
    line.at, line.kind, line.node, line.group, line.link = w.now, kind, node, group, link
    line.a, line.b, line.c, line.d = a, b, c, d


cdef found_t* find(
    world_t* w, int rule, int excuse, int group, int node, int other, int64_t length, uint32_t epoch
) noexcept nogil:
    """Keep a violation; one over the limit replaces the last excused one, and is counted in any case."""
    cdef found_t* it
    cdef int at = w.found
    if w.found >= SIM_FOUND:
        w.found_more += 1
        at = SIM_FOUND - 1
        if excuse:
            at = -1
    else:
        w.found += 1
    if at < 0:
        return NULL
    it = &w.find[at]
    it.at, it.rule, it.excuse, it.group, it.node, it.other = w.now, rule, excuse, group, node, other
    it.length, it.epoch, it.open = length, epoch, 0
    note(w, LOG_VIOLATION, node, group, -1, rule, excuse, other, length)
    return it


cdef bint keeps_level(world_t* w, int i, int g) noexcept nogil:
    """Its contact is on because the whole gateway stands still, or did until a moment ago."""
    cdef node_t* n = &w.node[i]
    cdef int64_t awake = w.p.gate_late + w.p.release[g] + w.node[i].core.cfg.check_ns
    if w.p.gated:
        return False                     # the third voter's contact opens by itself
    if n.still >= FROZEN:
        return w.p.hold[g] < 0 or n.still != FROZEN
    return n.thawed_at >= 0 and w.now - n.thawed_at <= awake


cdef bint was_impaired(world_t* w) noexcept nogil:
    """All links at once, now or so short ago that what it caused is not over."""
    if w.impaired_at >= 0:
        return True
    return w.impaired_end >= 0 and w.now - w.impaired_end <= 2 * w.node[0].core.cfg.longest_ns


cdef int excuse_for(world_t* w, int g, int i, int j) noexcept nogil:
    """Why this may happen; 0: it may not. `j` -1: about one node alone."""
    cdef core_t* core = &w.node[0].core
    if w.clock_bad:
        return EX_CLOCK
    if not w.p.gated and (w.node[i].gate[g].stuck or (j >= 0 and w.node[j].gate[g].stuck)):
        return EX_CONTACT
    if keeps_level(w, i, g) or (j >= 0 and keeps_level(w, j, g)):
        return EX_FROZEN
    if core.cfg.pair_of_two and core.cfg.group[g].lone == LONE_TAKEOVER and was_impaired(w):
        return EX_L3
    return 0


cdef int excuse_epoch(world_t* w, int g, int i) noexcept nogil:
    """An epoch may come again when every voter that ever promised it, or a later one, has lost its disk.

    Or when it was driven alone by one whom this node, alone now too, has not heard.
    """
    cdef lease_t* lease = &w.voter.lease[g]
    cdef uint32_t incarnation = w.node[i].incarnation
    # What a voter has promised to this very claim is no memory.
    cdef bint to_this = lease.holder == i and lease.incarnation == incarnation
    cdef bint remembered = w.voter.exists and lease.floor >= w.group[g].epoch and not to_this
    cdef int v
    for v in range(w.nodes):
        to_this = w.node[v].pledge[g].holder == i and w.node[v].pledge[g].incarnation == incarnation
        if to_this and w.node[v].pledge[g].helped == w.node[v].pledge[g].epoch:
            continue
        if w.node[v].pledge[g].helped >= w.group[g].epoch:
            remembered = True
    if w.disks_lost and not remembered:
        return EX_DISK
    if w.node[i].core.st.group[g].alone and w.node[i].pledge[g].highest < w.group[g].epoch:
        return EX_ALONE
    return excuse_for(w, g, i, -1)


cdef void begin_gap(world_t* w, int g, int node) noexcept nogil:
    w.group[g].gap_since = w.now
    w.group[g].gap_action = w.done
    w.group[g].gap_before = node


cdef void end_gap(world_t* w, int g, int node) noexcept nogil:
    cdef gap_t* gap
    if w.gaps >= SIM_GAPS:
        w.gaps_more += 1
        w.broken = 1
    elif w.now > w.group[g].gap_since:
        gap = &w.gap[w.gaps]
        w.gaps += 1
        gap.at, gap.length = w.group[g].gap_since, w.now - w.group[g].gap_since
        gap.group, gap.action = g, w.group[g].gap_action
        gap.before, gap.after = w.group[g].gap_before, node
    w.group[g].gap_since = -1


cdef void contact_on(world_t* w, int i, int g) noexcept nogil:
    """The load is switched on by node i: nobody else's contact may be closed."""
    cdef found_t* it
    cdef int j
    w.node[i].gate[g].contact = 1
    w.touched = w.now
    w.group[g].on_count += 1
    w.group[g].on_at = w.now
    if w.group[g].last != i:
        w.group[g].changed_at = w.now if w.group[g].last != NO_NODE else -1
        w.group[g].last = <uint8_t>i
    note(w, LOG_OUTPUT, i, g, -1, 1, 0, 0, w.node[i].gate[g].epoch)
    if w.group[g].on_count == 1:
        end_gap(w, g, i)
        return
    if not w.node[i].core.cfg.group[g].exclusive:
        return
    for j in range(w.nodes):
        if j != i and w.node[j].gate[g].contact:
            it = find(w, TWO_DRIVERS, excuse_for(w, g, i, j), g, i, j, 0, w.node[i].gate[g].epoch)
            if it != NULL:
                it.open = 1


cdef void contact_off(world_t* w, int i, int g) noexcept nogil:
    cdef int k
    w.node[i].gate[g].contact = 0
    w.touched = w.now
    w.group[g].on_count -= 1
    note(w, LOG_OUTPUT, i, g, -1, 0, 0, 0, w.node[i].gate[g].epoch)
    if w.group[g].on_count == 0:
        begin_gap(w, g, i)
    for k in range(w.found):
        if w.find[k].open and w.find[k].group == g and (w.find[k].node == i or w.find[k].other == i):
            w.find[k].open = 0
            w.find[k].length = w.now - w.find[k].at


cdef bint promise_outlasts(world_t* w, int v, int i, int g, int64_t needed) noexcept nogil:
    """Whether voter v helps nobody else before `needed`: it has promised to node i for that long, or abstains."""
    cdef node_t* n = &w.node[v]
    cdef group_t* grp = &n.core.st.group[g]
    if not n.alive:
        return True                      # it cannot promise; when it is back it abstains longer than any promise
    if v == i:
        return grp.promise.holder == i
    if grp.state == LISTEN and n.core.cfg.pair_of_two and n.core.cfg.group[g].lone == LONE_HOLD:
        return True
    if grp.state == LISTEN and true_of(&n.clock, n.core.st.listen_until_ns) + ROUNDING_NS >= needed:
        return True
    if grp.promise.holder != i or grp.promise.incarnation != w.node[i].incarnation:
        return False
    if n.core.cfg.pair_of_two and n.core.cfg.group[g].lone == LONE_HOLD:
        return True                      # it ends by word only (L2)
    return true_of(&n.clock, grp.promise.expiry_ns) + ROUNDING_NS >= needed


cdef int64_t shortfall(world_t* w, int i, int g, int64_t needed) noexcept nogil:
    """By how much the longest promise to node i is too short; -1 where nobody else promises to it."""
    cdef int64_t least = -1
    cdef int64_t lacks
    cdef int v
    for v in range(w.nodes):
        if v != i and w.node[v].alive and w.node[v].core.st.group[g].promise.holder == i:
            lacks = needed - true_of(&w.node[v].clock, w.node[v].core.st.group[g].promise.expiry_ns)
            if least < 0 or lacks < least:
                least = lacks
    return least


cdef void judge_majority(world_t* w, int i, int g, int64_t deadline) noexcept nogil:
    """Authority until `deadline` needs promises of a majority that outlast the gate's lateness and the release."""
    cdef core_t* core = &w.node[i].core
    cdef int64_t over = core.cfg.group[g].release_ns - core.cfg.group[g].make_ns
    cdef int64_t needed = deadline + core.cfg.check_ns + (over if over > 0 else 0)
    cdef int count = 0
    cdef int v, excuse
    if w.clock_bad or core.st.group[g].alone or not core.cfg.group[g].exclusive:
        return
    for v in range(w.nodes):
        if (core.cfg.voter_mask >> v) & 1 and promise_outlasts(w, v, i, g, needed):
            count += 1
    if w.voter.exists:
        if not w.voter.alive or w.voter.listen_until + ROUNDING_NS >= needed:
            count += 1
        elif w.voter.lease[g].holder == i and w.voter.lease[g].incarnation == w.node[i].incarnation:
            count += w.voter.lease[g].until + ROUNDING_NS >= needed
    if count < core.cfg.quorum:
        find(w, NO_MAJORITY, 0, g, i, -1, shortfall(w, i, g, needed), core.st.group[g].epoch)


cdef void judge_drive(world_t* w, int i, int g, bint begins, int64_t deadline) noexcept nogil:
    """An order to drive, or to go on driving, until `deadline` (true time)."""
    cdef node_t* n = &w.node[i]
    cdef uint32_t epoch = n.core.st.group[g].epoch
    judge_majority(w, i, g, deadline)
    if epoch > n.disk:
        find(w, EPOCH_NOT_ON_DISK, 0, g, i, -1, 0, epoch)
    if begins and epoch <= w.group[g].epoch and n.core.cfg.group[g].exclusive:
        find(w, EPOCH_NOT_RISING, excuse_epoch(w, g, i), g, i, -1, 0, epoch)
    elif epoch > w.group[g].epoch:
        w.group[g].epoch = epoch
    if not begins:
        return
    if local_of(&n.clock, w.now) - n.start_l < n.core.cfg.grant_max_ns:
        find(w, RESTARTED_OWNS, 0, g, i, -1, 0, epoch)


cdef void judge_new_pledge(world_t* w, int v, int g, pledge_t* old, bint elsewhere) noexcept nogil:
    """A promise to another node: on disk before it is given, and never below one that this node ever gave (A10)."""
    cdef node_t* n = &w.node[v]
    cdef uint32_t epoch = n.core.st.group[g].promise.epoch
    if not elsewhere:
        return
    if epoch > n.disk:
        find(w, EPOCH_NOT_ON_DISK, 0, g, v, n.core.st.group[g].promise.holder, 0, epoch)
    if epoch < old.highest and n.core.st.group[g].state != LISTEN:
        find(w, EPOCH_NOT_RISING, 0, g, v, n.core.st.group[g].promise.holder, 0, epoch)


cdef void judge_pledges(world_t* w, int v) noexcept nogil:
    """After a step of voter v: where it promises less than before, does everybody who drives still have a majority?"""
    cdef node_t* n = &w.node[v]
    cdef promise_t* now
    cdef pledge_t* old
    cdef bint less, fresh
    cdef int g, i
    for g in range(w.groups):
        now = &n.core.st.group[g].promise
        old = &n.pledge[g]
        less = old.holder != now.holder or old.incarnation != now.incarnation or now.expiry_ns < old.expiry
        less = less or (old.abstains and n.core.st.group[g].state != LISTEN)
        fresh = now.holder != NO_NODE and (now.epoch != old.epoch or now.holder != old.holder)
        if fresh:
            judge_new_pledge(w, v, g, old, now.holder != v)
        old.holder, old.incarnation, old.epoch = now.holder, now.incarnation, now.epoch
        old.expiry, old.abstains = now.expiry_ns, n.core.st.group[g].state == LISTEN
        if now.holder != NO_NODE and now.epoch > old.highest:
            old.highest = now.epoch
        if now.holder != NO_NODE and now.epoch > old.helped:
            if now.holder != v or n.core.st.group[g].state == ACTIVE:
                old.helped = now.epoch
        if not less:
            continue
        for i in range(w.nodes):
            if i != v and w.node[i].alive and w.node[i].gate[g].on and not w.node[i].gate[g].own_word:
                if w.node[i].gate[g].deadline > w.now:
                    judge_majority(w, i, g, w.node[i].gate[g].deadline)


cdef void judge_step(world_t* w, int i) noexcept nogil:
    cdef core_t* core = &w.node[i].core
    if core.st.illegal:
        find(w, TABLE, 0, -1, i, -1, 0, 0)
        core.st.illegal = 0
    if core.st.deadline_ns <= core.st.now_ns:
        find(w, DEADLINE, 0, -1, i, -1, core.st.now_ns - core.st.deadline_ns, 0)
        core.st.deadline_ns = core.st.now_ns + 1
    if w.fx.dropped:
        find(w, EFFECTS_LOST, 0, -1, i, -1, 0, 0)


cdef int drivers_wanted(const world_t* w, int g) noexcept nogil:
    """How many must drive once all is well: one, or everybody that may."""
    cdef const core_t* core = &w.node[0].core
    cdef int i
    cdef int count = 0
    if core.cfg.group[g].exclusive:
        return 1
    for i in range(w.nodes):
        count += (core.cfg.group[g].drivers_mask >> i) & 1
    return count


cdef void judge_end(world_t* w, int64_t until) noexcept nogil:
    """Close what is open; after healing exactly one drives, and has for long enough."""
    cdef int g, k, on, excuse
    w.now = until
    for k in range(w.found):
        if w.find[k].open:
            w.find[k].length = until - w.find[k].at
    if w.broken:
        find(w, LIMIT, 0, -1, -1, -1, 0, 0)
    for g in range(w.groups):
        on = w.group[g].on_count
        if w.healed >= 0 and until - w.healed >= w.p.bound:
            excuse = EX_CLOCK if w.clock_bad else 0
            if w.disks_lost and w.impaired_at >= 0:
                excuse = EX_DISK         # who lost its disk waits for one that cannot be heard (A11)
            if on < drivers_wanted(w, g):
                find(w, NO_DRIVER, excuse, g, -1, -1, 0, 0)
            elif on > 1 and w.node[0].core.cfg.group[g].exclusive:
                find(w, TWO_AT_END, excuse, g, -1, -1, 0, 0)
        if on == 0:
            end_gap(w, g, -1)
    if w.healed >= 0 and w.touched - w.healed > w.p.bound:
        find(w, NOT_SETTLED, EX_CLOCK if w.clock_bad else 0, -1, -1, -1, w.touched - w.healed - w.p.bound, 0)
