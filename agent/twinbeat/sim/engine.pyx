"""A world that can be run: actions and a seed in, what came of them out. The loop needs no interpreter."""
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from twinbeat_core.machine cimport core_init
from twinbeat_core.model cimport NO_NODE
from twinbeat_core.settings cimport CoreSettings
from twinbeat.sim.actions cimport do_action, undo_action
from twinbeat.sim.carriers cimport weigh_links
from twinbeat.sim.endings cimport look_to_leave, notice
from twinbeat.sim.gates cimport contact_due, gate_drop, gate_due, hold_over
from twinbeat.sim.judge cimport judge_end
from twinbeat.sim.nodes cimport notice_late, prepared, reach, wake
from twinbeat.sim.selector cimport select_due
from twinbeat.sim.things cimport pop, things_clear, things_init
from twinbeat.sim.voter cimport voter_hear_ask, voter_hear_death, voter_hear_return
from twinbeat.sim.world cimport (
    IT_ASK, IT_CONTACT, IT_FRAME, IT_GATE, IT_GATE_DROP, IT_HOLD, IT_LATE, IT_LEAVE, IT_NOTICE, IT_PERSISTED,
    IT_PREPARED, IT_RETURN, IT_SELECT, IT_TOLD, IT_UNDO, IT_VOTE, IT_VOTER_NOTICE, MAX_GROUPS, action_t, item_t,
    node_t, rng_below, rng_next, world_t,
)

from twinbeat.sim.spec import Excuse, Gap, LogEntry, LogKind, Rule, RunResult, Violation
from twinbeat_core.errors import TwinbeatError
from twinbeat_core.timing import tolerated_loss

cdef int64_t AGES_NS = <int64_t>1 << 61
cdef int64_t UPTIME_NS = 5000000000000       # so far apart are the nodes' clocks
cdef enum:
    MOST_ACTIONS = 65536

RULES = {int(rule): rule for rule in Rule}
EXCUSES = {int(excuse): excuse for excuse in Excuse}
KINDS = {int(kind): kind for kind in LogKind}


class SimulatorError(TwinbeatError):
    """A world or a schedule that the simulator cannot run."""

    exit_code = 2


cdef class Rng:
    """SplitMix64: the same numbers on every machine and in every version of Python."""

    def __init__(self, seed):
        self.rng.state = <uint64_t>(seed & 0xffffffffffffffff)

    def next(self) -> int:
        """The next 64 bits."""
        return rng_next(&self.rng)

    def below(self, long long limit) -> int:
        """A number from 0 to limit - 1; 0 for a limit of 0 or less."""
        return rng_below(&self.rng, limit)

    def between(self, long long low, long long high) -> int:
        """A number from low to high, both included."""
        return low + rng_below(&self.rng, high - low + 1)


cdef void handle(world_t* w, const item_t* item) noexcept nogil:
    """One item of the queue whose time has come."""
    if item.kind <= IT_UNDO:
        if item.kind == IT_FRAME:
            reach(w, item)
        else:
            undo_action(w, item.slot)
    elif item.kind == IT_TOLD or item.kind == IT_PERSISTED or item.kind == IT_VOTE:
        reach(w, item)
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
    elif item.kind == IT_LATE:
        notice_late(w, item)
    elif item.kind == IT_SELECT:
        select_due(w, item)
    elif item.kind == IT_PREPARED:
        prepared(w, item)


cdef bint advance(world_t* w, long long until) noexcept nogil:
    """Do what comes next; False when nothing comes before `until`. At one moment: actions, then items, then wakes."""
    cdef int64_t best = until
    cdef int which = -1
    cdef int i
    cdef item_t item
    for i in range(w.nodes):
        if w.node[i].wake_at < best:
            best, which = w.node[i].wake_at, i
    if w.items and w.heap[0].at <= best:
        best, which = w.heap[0].at, 100
    if w.next_action < w.actions and w.action[w.next_action].at <= best:
        best, which = w.action[w.next_action].at, 101
    if which < 0 or best >= until:
        return False
    w.now = best
    if which == 101:
        w.next_action += 1
        do_action(w, w.next_action - 1)
    elif which == 100:
        pop(w, &item)
        handle(w, &item)
    else:
        wake(w, which)
    return True


cdef class Engine:
    """One world that can be run again and again. Memory is taken once; nothing is kept from run to run.

    Raises SettingsError for settings that contradict themselves, SimulatorError for lists of the wrong length.
    """

    def __cinit__(self, spec):
        self.w = <world_t*>calloc(1, sizeof(world_t))
        if self.w == NULL:
            raise MemoryError("no memory for a simulated world")
        things_init(self.w)
        self.spec = spec
        self.settings = [settings.compile() for settings in spec.settings]
        self.load(spec)

    def __dealloc__(self):
        if self.w != NULL:
            free(self.w.log)
            free(self.w)

    cdef load(self, spec):
        cdef world_t* w = self.w
        cdef CoreSettings first = self.settings[0]
        cdef int i, g
        w.nodes, w.links, w.groups = len(spec.settings), first.c.link_count, first.c.group_count
        if w.nodes != first.c.node_count or len(spec.links) != w.links:
            raise SimulatorError(f"a world of {first.c.node_count} nodes and {w.links} links needs settings for each"
                                 f" node and a LinkSpec for each link, got {w.nodes} and {len(spec.links)}")
        w.p.worst = spec.worst
        w.p.gate_late = spec.gate_late_us * 1000
        for g in range(w.groups):
            w.p.make[g] = spec.make_us[g] * 1000 if spec.make_us else first.c.group[g].make_ns
            w.p.release[g] = spec.release_us[g] * 1000 if spec.release_us else first.c.group[g].release_ns
            w.p.hold[g] = spec.hold_us[g] * 1000 if spec.hold_us and spec.hold_us[g] >= 0 else -1
        for i in range(w.links):
            w.p.latency[i] = spec.links[i].latency_us * 1000
            w.p.jitter[i] = spec.links[i].jitter_us * 1000
            w.p.fifo[i] = spec.links[i].fifo
            w.p.tolerated[i] = int(tolerated_loss(first, i) * 1024)
        for i in range(w.nodes):
            w.p.ppb[i] = spec.drift_ppb[i] if i < len(spec.drift_ppb) else 0
        w.p.persist_least, w.p.persist_most = spec.persist_us[0] * 1000, spec.persist_us[1] * 1000
        w.p.voter_least, w.p.voter_most = spec.voter_us[0] * 1000, spec.voter_us[1] * 1000
        w.p.voter_grant = spec.voter_grant_ms * 1000000 or first.c.third_grant_ns
        w.p.voter_abstain = spec.voter_abstain_ms * 1000000 or w.p.voter_grant
        w.p.voter_hears_gates = spec.voter_hears_gates
        w.p.gated = first.c.group[0].gated
        w.p.prepare_least, w.p.prepare_most = spec.prepare_us[0] * 1000, spec.prepare_us[1] * 1000
        w.p.select_make, w.p.select_release = spec.select_us[0] * 1000, spec.select_us[1] * 1000
        w.p.bound = self.bound_of(first)

    cdef long long bound_of(self, CoreSettings s):
        """How long after healing roles may go on changing (docs/protocol.md, "After healing").

        Twice the longest promise (an abstention or a promise begun at the last moment; a handover that was given and
        not taken), the order of the candidates with all of them unfit a moment ago, two beats of the slowest link,
        the outputs, and the longest write of an epoch block.
        """
        cdef int64_t slowest = 0
        cdef int64_t released = 0
        for i in range(s.c.link_count):
            slowest = max(slowest, s.c.link[i].period_ns)
        for i in range(s.c.group_count):
            released = max(released, s.c.group[i].release_ns + s.c.group[i].make_ns)
        if self.w.p.gated:
            released += self.w.p.select_make + self.w.p.select_release
        planned = 0
        for i in range(s.c.group_count):
            planned = max(planned, s.c.group[i].failback_ns + s.c.group[i].hold_down_max_ns + s.c.group[i].prepare_ns)
        if planned > 0:
            planned += s.c.group_count * s.c.move_gap_ns + s.c.load_hold_ns * (s.c.load_gap > 0)
        longest = max(s.c.longest_ns, self.w.p.voter_abstain if s.c.third_voter else 0)
        return (2 * longest + (8 + s.c.node_count) * s.c.stagger_ns + 2 * slowest + released
                + self.w.p.persist_most + s.c.check_ns + max(planned, 0))

    @property
    def bound_ns(self) -> int:
        """How long after healing the roles may go on changing."""
        return self.w.p.bound

    cdef reset(self, unsigned long long seed):
        cdef world_t* w = self.w
        cdef node_t* n
        cdef CoreSettings settings
        cdef int i, g
        things_clear(w)
        w.rng.state = seed
        w.now, w.steps, w.disks_lost, w.clock_bad, w.broken = 0, 0, 0, 0, 0
        w.links_at = 0
        w.impaired_at, w.impaired_end, w.healed, w.touched, w.done = -1, -1, -1, 0, -1
        w.found, w.found_more, w.gaps, w.gaps_more, w.logs, w.next_action = 0, 0, 0, 0, 0, 0
        memset(&w.cond, 0, sizeof(w.cond))
        memset(&w.voter, 0, sizeof(w.voter))
        w.voter.exists = (<CoreSettings>self.settings[0]).c.third_voter
        w.voter.alive = w.voter.life = w.voter.exists
        for g in range(w.groups):
            w.group[g].on_count, w.group[g].epoch, w.group[g].on_at = 0, 0, 0
            w.group[g].last, w.group[g].changed_at = NO_NODE, -1
            w.group[g].gap_since, w.group[g].gap_action, w.group[g].gap_before = 0, -1, -1
            w.voter.lease[g].holder, w.voter.select[g].closed, w.voter.select[g].goal = NO_NODE, NO_NODE, NO_NODE
        for i in range(w.nodes):
            n = &w.node[i]
            settings = self.settings[i]
            core_init(&n.core, &settings.c)
            n.alive, n.still, n.fit, n.behind, n.life, n.waiting, n.past_count = 0, 0, 1, 0, 0, 0, 0
            n.disk = 1               # it has run before, but drove nothing
            n.wake_at, n.thawed_at, n.disk_ns = AGES_NS, -1, 0
            n.clock.base_t, n.clock.base_l, n.clock.ppb = 0, (i + 1) * UPTIME_NS, w.p.ppb[i]
            n.unfit_at = 0
            n.fit_at, n.load_at, n.moved_at, n.moved_life, n.told_fit, n.told_load = 0, 0, 0, 0, 1, 0
            n.deaf, n.deafness, n.load, n.unprepared, n.upset_at, n.was_well = 0, 0, 0, 0, 0, 1
            n.voter_life, n.voter_at, n.voter_again = 0, 0, 0
            memset(&n.gate, 0, sizeof(n.gate))
            memset(&n.pledge, 0, sizeof(n.pledge))
            for g in range(MAX_GROUPS):
                n.last_driver[g] = NO_NODE
                n.pledge[g].holder = NO_NODE
        weigh_links(w)

    def run(self, actions, seed, until_ns, *, bint log=False):
        """Run `actions` (sorted by time here) for until_ns of virtual time. SimulatorError when there are too many."""
        cdef int64_t until = until_ns
        cdef int count = len(actions)
        cdef action_t* made
        cdef int k
        if count > MOST_ACTIONS:
            raise SimulatorError(f"{count} actions; a run has room for {MOST_ACTIONS}")
        order = sorted(range(count), key=lambda number: actions[number][0])
        made = <action_t*>calloc(count + 1, sizeof(action_t))
        if made == NULL:
            raise MemoryError("no memory for the actions")
        for k in range(count):
            (made[k].at, made[k].verb, made[k].node, made[k].peer, made[k].link, made[k].group, made[k].value,
             made[k].lasts) = actions[order[k]]
        self.reset(seed & 0xffffffffffffffff)
        self.w.action, self.w.actions, self.w.logging = made, count, log
        with nogil:
            while advance(self.w, until):
                pass
            judge_end(self.w, until)
        self.w.action, self.w.actions = NULL, 0
        free(made)
        return self.result(until_ns, order, log)

    cdef result(self, until, order, bint log):
        cdef world_t* w = self.w
        cdef int k, g, i
        violations, excused, gaps = [], [], []
        for k in range(w.found):
            f = &w.find[k]
            if f.rule == 1 and f.length == 0:
                continue                       # they changed at the very same moment
            told = Violation(f.at, RULES[f.rule], EXCUSES[f.excuse], f.group, f.node, f.other, f.length, f.epoch)
            (excused if f.excuse else violations).append(told)
        for k in range(w.gaps):
            gap = &w.gap[k]
            gaps.append(Gap(gap.at, gap.length, gap.group, order[gap.action] if gap.action >= 0 else -1, gap.before,
                            gap.after))
        drivers = [[i for i in range(w.nodes) if w.node[i].gate[g].contact] for g in range(w.groups)]
        settled = max(w.touched - w.healed, 0) if w.healed >= 0 else 0
        return RunResult(w.steps, until, w.healed, settled, violations, excused, gaps, drivers,
                         [w.group[g].epoch for g in range(w.groups)], self.log_of(order) if log else [])

    cdef list log_of(self, order):
        cdef world_t* w = self.w
        cdef int k
        cdef int action = int(LogKind.ACTION)
        lines = []
        for k in range(w.logs):
            line = &w.log[k]
            a = order[line.a] if line.kind == action else line.a
            lines.append(LogEntry(line.at, KINDS[line.kind], line.node, line.group, line.link, a, line.b, line.c,
                                  line.d))
        return lines
