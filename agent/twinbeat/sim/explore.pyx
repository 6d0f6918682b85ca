"""The model check: every schedule of up to so many faults, each before every step of the real cores, worst times only.

Breadth-first by the number of faults: all schedules with one fault before any with two, so that a counterexample has as
few as there can be. A state met again with no more faults to come is not followed again.
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from twinbeat.sim.actions cimport do_action
from twinbeat.sim.engine cimport Engine, advance
from twinbeat.sim.judge cimport drivers_wanted
from twinbeat.sim.freeze cimport PACK_BYTES, hash_bytes, pack, unpack
from twinbeat.sim.things cimport drop_slot, pop, repush
from twinbeat.sim.world cimport IT_FRAME, action_t, item_t, world_t

from typing import NamedTuple

from twinbeat.sim.spec import Action, Verb

cdef enum:
    MOST_FAULTS = 6
    LOSE = 1              # the frame that comes next
    LATER = 2
    TWICE = 3

cdef int64_t LATE_COPY_NS = 25000000


class Choice(NamedTuple):
    """One fault that the search may insert: an Action without its time, before a step of node `before` (ALL: any)."""

    action: Action
    before: int


class Found(NamedTuple):
    """A schedule that breaks a rule: what was done when, from the start of the run."""

    actions: list
    rule: int
    at_ns: int


ctypedef struct fault_t:
    int64_t at
    int choice            # number in the catalogue, or -1: the frame below
    int what, link, source, target
    int64_t sent, value


ctypedef struct search_t:
    world_t* w
    uint64_t* seen        # hash without its low three bits, there the number of faults still to come plus one
    uint64_t room, used
    uint64_t states, steps, merged, branches
    uint64_t limit
    int64_t window_end
    int64_t until[MOST_FAULTS + 2]    # by then the roles have settled after the last fault of the schedule so far
    int most, choices, delays
    int before[256]
    int64_t delay[8]
    int depth             # most steps of one schedule
    fault_t path[MOST_FAULTS]
    int faults
    int rule              # broken; 0 none
    int64_t broken_at
    uint8_t liveness
    uint8_t lose, twice   # whether frames are lost, doubled
    uint8_t stop          # no room or no states left
    uint8_t* buffer[MOST_FAULTS + 2]


cdef bint visit(search_t* s, uint64_t value, int left) noexcept nogil:
    """True for a state not yet followed with as many faults to come."""
    cdef uint64_t key = value & ~<uint64_t>7
    cdef uint64_t at = (value >> 3) & (s.room - 1)
    if key == 0:
        key = 8
    while s.seen[at]:
        if s.seen[at] & ~<uint64_t>7 == key:
            if <int>(s.seen[at] & 7) > left:
                s.merged += 1
                return False
            s.seen[at] = key | <uint64_t>(left + 1)
            return True
        at = (at + 1) & (s.room - 1)
    if s.used * 10 >= s.room * 8:
        s.stop = 1                       # the table is full: what follows is not judged
        return False
    s.seen[at] = key | <uint64_t>(left + 1)
    s.used += 1
    s.states += 1
    return True


cdef bint broken(search_t* s) noexcept nogil:
    """Whether a rule was broken that is promised here."""
    cdef world_t* w = s.w
    cdef int k
    if w.broken:
        s.stop = 1
        return True
    for k in range(w.found):
        # Two contacts that change at the same moment are no overlap.
        if w.find[k].excuse == 0 and not (w.find[k].rule == 1 and (w.find[k].open == 0 and w.find[k].length == 0
                                                                   or w.find[k].open and w.find[k].at == w.now)):
            s.rule = w.find[k].rule
            s.broken_at = w.find[k].at
            return True
    return False


cdef int node_of_next(world_t* w) noexcept nogil:
    """Whose step comes next; -1 when what comes next belongs to no core."""
    cdef int64_t best = (<int64_t>1) << 61
    cdef int which = -1
    cdef int i
    for i in range(w.nodes):
        if w.node[i].wake_at < best:
            best, which = w.node[i].wake_at, i
    if w.items and w.heap[0].at <= best:
        return w.heap[0].node if w.heap[0].kind == IT_FRAME else -1
    return which


cdef int64_t time_of_next(world_t* w) noexcept nogil:
    cdef int64_t best = (<int64_t>1) << 61
    cdef int i
    for i in range(w.nodes):
        if w.node[i].wake_at < best:
            best = w.node[i].wake_at
    if w.items and w.heap[0].at < best:
        best = w.heap[0].at
    return best


cdef void follow(search_t* s, int level) noexcept nogil:
    """On without a fault, and before each step every fault that is left to try.

    Where some are left this ends with the window: the schedules with fewer faults were followed before. Else it goes on
    until the roles must have settled.
    """
    cdef world_t* w = s.w
    cdef int left = s.most - level
    cdef int count = 0
    cdef int size
    cdef int64_t until = s.window_end if left > 0 else s.until[level]
    while time_of_next(w) < until and not s.rule and not s.stop:
        # With no fault left to try a state has one future: following it costs less than keeping and comparing it.
        if left > 0:
            size = pack(w, s.buffer[level])
            if not visit(s, hash_bytes(s.buffer[level], size), left):
                return
            branch(s, level)
            if s.rule or s.stop:
                return
            unpack(w, s.buffer[level])
        advance(w, until)
        s.steps += 1
        count += 1
        if count > s.depth:
            s.depth = count
        if broken(s):
            return
        if s.steps >= s.limit:
            s.stop = 1
    if left == 0 and s.liveness and not s.rule and not s.stop:
        judge_horizon(s)


cdef void judge_horizon(search_t* s) noexcept nogil:
    """Long after the last fault ended one node drives each group."""
    cdef int g
    for g in range(s.w.groups):
        if s.w.group[g].on_count != drivers_wanted(s.w, g):
            s.rule = 10 if s.w.group[g].on_count < drivers_wanted(s.w, g) else 11
            s.broken_at = s.w.now


cdef void branch(search_t* s, int level) noexcept nogil:
    """Try each fault here; the caller goes back to buffer[level]."""
    cdef world_t* w = s.w
    cdef int next_node = node_of_next(w)
    cdef int64_t next_at = time_of_next(w)
    cdef bint fresh = next_at > w.now     # a fault comes before all that happens at one moment
    cdef int k
    cdef fault_t* fault = &s.path[level]
    cdef int kind = w.heap[0].kind if w.items and w.heap[0].at <= next_at else 0
    if fresh:
        for k in range(s.choices):
            if s.before[k] >= 0 and s.before[k] != next_node:
                continue
            memset(fault, 0, sizeof(fault_t))
            fault.at, fault.choice = next_at, k
            w.now = next_at
            do_action(w, k)
            go_on(s, level)
            if s.rule or s.stop:
                return
    if kind == IT_FRAME and w.heap[0].value < w.heap[0].at and w.heap[0].value > 0:
        if s.lose:
            branch_frame(s, level, LOSE, 0)
        if s.twice:
            branch_frame(s, level, TWICE, LATE_COPY_NS)
        for k in range(s.delays):
            branch_frame(s, level, LATER, s.delay[k])


cdef void branch_frame(search_t* s, int level, int what, int64_t value) noexcept nogil:
    """The frame that comes next is lost, late, or comes again."""
    cdef world_t* w = s.w
    cdef fault_t* fault = &s.path[level]
    cdef item_t item
    if s.rule or s.stop:
        return
    memset(fault, 0, sizeof(fault_t))
    pop(w, &item)
    fault.at, fault.choice, fault.what, fault.value = item.at, -1, what, value
    fault.link, fault.source, fault.target, fault.sent = item.link, item.peer, item.node, item.value
    if what == LOSE:
        drop_slot(w, item.slot)
    elif what == LATER:
        item.value = 0                   # it is not delayed twice
        repush(w, &item, item.at + value)
    else:
        repush(w, &item, item.at)
        item.value = 0
        w.refs[item.slot] += 1
        repush(w, &item, item.at + value)
    go_on(s, level)


cdef void go_on(search_t* s, int level) noexcept nogil:
    """Follow the world with one fault more, then go back to where it was."""
    cdef fault_t* fault = &s.path[level]
    cdef int64_t over = fault.at + s.w.p.bound
    over += s.w.action[fault.choice].lasts if fault.choice >= 0 else fault.value
    s.until[level + 1] = over if over > s.until[level] else s.until[level]
    s.branches += 1
    s.faults = level + 1
    if not broken(s):
        follow(s, level + 1)
    if not s.rule:
        s.faults = level
        unpack(s.w, s.buffer[level])


cdef class Explorer:
    """A search over the schedules of one world: `spec.worst`, links without `fifo`, or what is found is no scenario.

    boot: Actions done before the search; choices: the faults; delays_ns: how late a frame may be.
    """

    cdef search_t s
    cdef Engine engine
    cdef list boot, catalogue

    def __cinit__(self, spec, boot, choices, delays_ns, room_bits=24, *, lose=True, twice=True):
        cdef int k
        self.engine = Engine(spec)
        self.boot = list(boot)
        self.catalogue = list(choices)
        self.s.w = self.engine.w
        self.s.lose, self.s.twice = lose, twice
        self.s.choices = len(choices)
        if self.s.choices > 256 or len(delays_ns) > 8:
            raise ValueError("more than 256 choices or 8 delays")
        for k in range(self.s.choices):
            self.s.before[k] = choices[k].before
        self.s.delays = len(delays_ns)
        for k in range(self.s.delays):
            self.s.delay[k] = delays_ns[k]
        self.s.room = <uint64_t>1 << <int>room_bits
        self.s.seen = <uint64_t*>calloc(self.s.room, sizeof(uint64_t))
        for k in range(MOST_FAULTS + 2):
            self.s.buffer[k] = <uint8_t*>malloc(PACK_BYTES)
            if self.s.buffer[k] == NULL:
                raise MemoryError("no memory for packed worlds")
        if self.s.seen == NULL:
            raise MemoryError(f"no memory for {1 << room_bits} states")

    def __dealloc__(self):
        for k in range(MOST_FAULTS + 2):
            free(self.s.buffer[k])
        free(self.s.seen)

    @property
    def bound_ns(self) -> int:
        """How long after the last fault the roles may go on changing."""
        return self.engine.bound_ns

    def search(self, int faults, begin_ns, window_ns, limit, bint liveness=True) -> dict:
        """All schedules of `faults` faults that begin in the window; figures, and `found` when a rule was broken."""
        cdef search_t* s = &self.s
        cdef world_t* w = s.w
        cdef int64_t begin = begin_ns
        if not 0 <= faults <= MOST_FAULTS:
            raise ValueError(f"{faults} faults; from 0 to {MOST_FAULTS}")
        made = self.lay_out()
        s.most, s.faults, s.rule, s.stop, s.depth = faults, 0, 0, 0, 0
        s.states, s.steps, s.merged, s.branches, s.used = 0, 0, 0, 0, 0
        memset(s.seen, 0, s.room * sizeof(uint64_t))
        s.window_end, s.limit, s.until[0] = begin + window_ns, limit, begin + window_ns + w.p.bound
        s.liveness = liveness
        with nogil:
            while advance(w, begin):
                pass
            # From here on the catalogue is what actions are, none of them by itself.
            w.action = &w.action[w.actions]
            w.actions, w.next_action = 0, 0
            w.searching = 1
            follow(s, 0)
            w.searching = 0
        found = self.found() if s.rule else None
        self.release(made)
        return {"states": s.steps, "kept": s.states, "merged": s.merged, "schedules": s.branches + 1, "depth": s.depth,
                "complete": not s.stop, "found": found}

    cdef lay_out(self):
        """Boot and catalogue as one array: the boot is done by time, the catalogue by choice."""
        cdef action_t* made
        cdef int k
        everything = self.boot + [choice.action for choice in self.catalogue]
        made = <action_t*>calloc(len(everything) + 1, sizeof(action_t))
        if made == NULL:
            raise MemoryError("no memory for the actions")
        for k in range(len(everything)):
            (made[k].at, made[k].verb, made[k].node, made[k].peer, made[k].link, made[k].group, made[k].value,
             made[k].lasts) = everything[k]
        self.engine.reset(1)
        self.engine.w.action, self.engine.w.actions, self.engine.w.logging = made, len(self.boot), 0
        return <size_t>made

    cdef release(self, made):
        self.engine.w.action, self.engine.w.actions = NULL, 0
        free(<action_t*><size_t>made)

    def found(self) -> Found:
        """The schedule under way as Actions of a run that begins at 0 with the boot."""
        cdef fault_t* fault
        cdef int k
        actions = list(self.boot)
        verbs = {LOSE: Verb.CUT, LATER: Verb.DELAY, TWICE: Verb.DUPLICATE}
        for k in range(self.s.faults):
            fault = &self.s.path[k]
            if fault.choice >= 0:
                actions.append(self.catalogue[fault.choice].action._replace(at_ns=fault.at))
            else:
                value = {LOSE: 0, LATER: fault.value, TWICE: 1024}[fault.what]
                actions.append(Action(fault.sent, verbs[fault.what], fault.source, fault.target, fault.link, -1,
                                      value, 1))
        return Found(sorted(actions, key=lambda action: action.at_ns), self.s.rule, self.s.broken_at)
