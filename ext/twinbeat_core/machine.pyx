"""One step of the core: an event in, effects out. Everything happens in one order, written in `core_step`.

1. Authority that ran out is dropped before anything else is looked at.
2. A step later than asked for is self-doubt: nobody's silence counts from before it.
3. The event is taken in.
4. Every group does what is due, then the frame is composed, then the next deadline is computed.
"""
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy, memset

from twinbeat_core.effects cimport persist, report
from twinbeat_core.groups cimport drop_lapsed, enter, groups_deadline, settle
from twinbeat_core.inputs cimport command, give_gated, give_unfit, hear_death, hear_output, take_over_targets
from twinbeat_core.model cimport (
    ACTIVE, CAUSE_COLD_START, CAUSE_START, CAUSE_YIELD, CLAIMING, EPOCH_NODE_BITS, EV_COMMAND, EV_HEALTH, EV_HEARD,
    EV_LATE, EV_LINK, EV_OUTPUT, EV_PERSISTED, EV_START, EV_SYNC, EV_VOTE, FLAG_ASK, FRAME_DEATH, LATE_CANARY,
    LATE_DECIDER, NEVER_NS, NO_NODE, RP_SELF_LATE, THIRD_VOTER, VOTE_PROMISED, VOTE_REFUSED, effects_t, event_t,
    settings_t,
)
from twinbeat_core.paths cimport other_ways
from twinbeat_core.planned cimport count_all_changes, hear_prepare, plan
from twinbeat_core.peers cimport HEARD_COPY, HEARD_NOTHING, HEARD_PROVEN, hear
from twinbeat_core.sending cimport compose, schedule, sending_deadline
from twinbeat_core.silence cimport doubt_self, note_deaf, note_late, peers_deadline, watch_links
from twinbeat_core.state cimport core_t, group_t
from twinbeat_core.timing cimport lease_from_grant
from twinbeat_core.triggers cimport TR_START, TR_YIELD
from twinbeat_core.votes cimport ceiling_above, count_votes, hear_rows, note_report, top_up

from .groups import fill_table
from .table import TRANSITIONS

fill_table(TRANSITIONS)

cdef enum:
    REFUSALS = 5         # doublings of the time to stand back


cdef uint32_t hash_of(const settings_t* settings) noexcept nogil:
    """FNV-1a over the settings: a snapshot of other settings is known by it."""
    cdef const uint8_t* data = <const uint8_t*>settings
    cdef uint32_t value = 2166136261
    cdef size_t i
    for i in range(sizeof(settings_t)):
        value = (value ^ data[i]) * 16777619
    return value


cdef void core_init(core_t* core, const settings_t* settings) noexcept nogil:
    """A core that has not been started: it ignores everything but EV_START."""
    cdef int g
    memset(core, 0, sizeof(core_t))
    core.cfg = settings[0]
    core.st.settings_hash = hash_of(settings)
    core.st.deadline_ns = NEVER_NS
    for g in range(core.cfg.group_count):
        core.st.group[g].promise.holder = NO_NODE
        core.st.group[g].target = NO_NODE
        core.st.group[g].last_driver = NO_NODE
        core.st.group[g].driver = NO_NODE
        core.st.group[g].asked = NO_NODE
        core.st.group[g].home = NO_NODE


cdef void start(core_t* core, const event_t* ev) noexcept nogil:
    """A new life: it owns nothing, abstains for the longest promise it may have given, and reserves epochs."""
    cdef int i, g
    cdef settings_t kept = core.cfg
    cdef effects_t* out = core.out
    core_init(core, &kept)
    core.out = out
    core.st.now_ns = ev.now_ns
    core.st.started = 1
    core.st.started_ns = ev.now_ns
    core.st.incarnation = ev.incarnation
    core.st.ceiling = ev.epoch
    core.st.disk_lost = ev.value != 0
    core.st.fit = 1
    core.st.health = 100
    core.st.listen_until_ns = ev.now_ns + core.cfg.grant_max_ns + core.cfg.grant_max_ns * core.cfg.drift_ppm // 500000
    for i in range(core.cfg.node_count):
        core.st.peer[i].silence_ns = ev.now_ns
        for g in range(core.cfg.link_count):
            core.st.peer[i].path[g].grant_ns = core.cfg.link[g].grant_ns
    for g in range(core.cfg.group_count):
        core.st.group[g].floor = ev.epoch
        core.st.group[g].seen = ev.epoch
        core.st.group[g].why = CAUSE_COLD_START
        core.st.group[g].since_ns = ev.now_ns
        enter(core, g, TR_START, CAUSE_START)
    if not core.st.disk_lost:
        core.st.ceiling_asked = ceiling_above(ev.epoch, core.cfg.epoch_block << EPOCH_NODE_BITS)
        persist(core, core.st.ceiling_asked)


cdef void heard(core_t* core, const event_t* ev) noexcept nogil:
    cdef int what = hear(core, ev)
    if what == HEARD_NOTHING:
        return
    if ev.frame.kind == FRAME_DEATH:
        hear_death(core, &ev.frame)
        return
    if ev.frame.flags & FLAG_ASK:
        # A copy is answered too: the asker may hear this node on that link only.
        core.answer_mask |= 1 << ev.link
        core.answer_mask |= other_ways(core, ev.frame.source, ev.link)
    if what == HEARD_COPY:
        return
    hear_rows(core, &ev.frame, what == HEARD_PROVEN)
    if what == HEARD_PROVEN:
        core.st.told_mask |= <uint8_t>(1 << ev.frame.source)
        note_report(core, ev.frame.source)
        take_over_targets(core, &ev.frame)
        if core.cfg.prepares:
            hear_prepare(core, &ev.frame)
        count_votes(core, ev.frame.source, &ev.frame)


cdef void stand_back(core_t* core, const event_t* ev) noexcept nogil:
    """Another holds the third voter's promise: follow until that has run out, longer each time it was renewed.

    Who cannot hear that other would else claim above every epoch that the other answers with, without end.
    """
    cdef group_t* grp = &core.st.group[ev.group]
    # At first no longer than a node's own promise: the other's may end by a word that is under way.
    cdef int64_t left_ns = ev.value if ev.value < core.cfg.grant_max_ns else core.cfg.grant_max_ns
    cdef int64_t most_ns = left_ns << grp.refused
    cdef int64_t cap_ns
    if ev.epoch > grp.seen:
        grp.seen = ev.epoch
    if <int64_t>(ev.stamp * 1000) + 1000 < grp.since_ns:
        return                           # it refused an earlier claim
    cap_ns = ev.value if ev.value > core.cfg.grant_max_ns else core.cfg.grant_max_ns
    if cap_ns > core.cfg.longest_ns:
        cap_ns = core.cfg.longest_ns
    if most_ns > cap_ns:
        most_ns = cap_ns
    grp.hold_off_ns = core.st.now_ns + most_ns
    if grp.refused < REFUSALS:
        grp.refused += 1
    enter(core, ev.group, TR_YIELD, CAUSE_YIELD)


cdef void third_vote(core_t* core, const event_t* ev) noexcept nogil:
    """The third voter's answer: a promise, a refusal with the floor that a claim must be above, or no vote for now."""
    cdef group_t* grp
    cdef int64_t until, grant_ns
    if ev.group >= core.cfg.group_count or not core.cfg.third_voter:
        return
    grp = &core.st.group[ev.group]
    if ev.code != VOTE_PROMISED and ev.code != VOTE_REFUSED:
        # It abstains: what it will refuse below is reserved now, here and by the peer that it tells, and claimed later.
        if ev.epoch > grp.far:
            grp.far = ev.epoch
        return
    grp.third_reported = 1
    core.st.third_heard_ns = core.st.now_ns
    if ev.code == VOTE_REFUSED and ev.value == 0 and ev.epoch > grp.epoch:
        grp.third_ok_ns = core.st.now_ns
    if ev.code == VOTE_REFUSED and ev.value > 0 and grp.state == CLAIMING:
        stand_back(core, ev)
        return
    if ev.code == VOTE_PROMISED:
        grp.refused = 0
    if ev.epoch > grp.seen:
        grp.seen = ev.epoch
    if ev.code == VOTE_REFUSED and grp.state == CLAIMING and ev.epoch == grp.epoch and grp.seen == ev.epoch:
        grp.seen += 1        # this node drove at that epoch in a life that it has forgotten
    if ev.code == VOTE_REFUSED or (grp.state != CLAIMING and grp.state != ACTIVE) or ev.epoch != grp.epoch:
        return
    if ev.stamp > core.st.stamp:
        return
    grp.third_ok_ns = core.st.now_ns
    grant_ns = ev.value if ev.value < core.cfg.third_grant_ns else core.cfg.third_grant_ns
    until = <int64_t>(ev.stamp * 1000) + lease_from_grant(&core.cfg, grant_ns)
    if grp.vote[THIRD_VOTER].epoch != grp.epoch or until > grp.vote[THIRD_VOTER].until_ns:
        grp.vote[THIRD_VOTER].epoch = grp.epoch
        grp.vote[THIRD_VOTER].stamp = ev.stamp
        grp.vote[THIRD_VOTER].until_ns = until


cdef void take_in(core_t* core, const event_t* ev) noexcept nogil:
    cdef int64_t period = core.cfg.link[core.cfg.fast_link].period_ns
    cdef int i
    if ev.kind == EV_HEARD:
        heard(core, ev)
    elif ev.kind == EV_OUTPUT and ev.group < core.cfg.group_count:
        hear_output(core, ev)
    elif ev.kind == EV_COMMAND:
        command(core, ev)
    elif ev.kind == EV_VOTE:
        third_vote(core, ev)
    elif ev.kind == EV_HEALTH:
        if core.st.fit and ev.code == 0:
            core.st.unfit_ns = core.st.now_ns
        core.st.fit = ev.code != 0
        core.st.health = <uint8_t>ev.value
        core.st.load = <uint8_t>ev.stamp
    elif ev.kind == EV_SYNC:
        core.st.behind = ev.code == 0
        core.st.sync_position = <uint32_t>ev.value
    elif ev.kind == EV_PERSISTED:
        if ev.epoch > core.st.ceiling:
            core.st.ceiling = ev.epoch
    elif ev.kind == EV_LATE:
        doubt_self(core, period + period // 2)
        note_deaf(core)
        if ev.code == LATE_CANARY:
            note_late(core, ev.value)
    elif ev.kind == EV_LINK and ev.code == 0 and ev.link < core.cfg.link_count:
        # A closed connection is a hint: probe the other links now, decide nothing.
        for i in range(core.cfg.link_count):
            if i != ev.link:
                core.send_mask |= 1 << i


cdef void judge_lateness(core_t* core) noexcept nogil:
    """Later than the deadline by one and a half periods: this node was not running, so it doubts itself first."""
    cdef int64_t period = core.cfg.link[core.cfg.fast_link].period_ns
    cdef int64_t late = core.st.now_ns - core.st.deadline_ns
    core.self_late = core.st.deadline_ns != NEVER_NS and late > period + period // 2
    if not core.self_late:
        return
    report(core, RP_SELF_LATE, core.cfg.self_node, 0, late, LATE_DECIDER)
    # A claim by silence now waits as long as if the peer had been heard this moment.
    doubt_self(core, core.cfg.link[core.cfg.fast_link].grant_ns)


cdef void core_step(core_t* core, const event_t* ev, effects_t* out) noexcept nogil:
    """Take one event at ev.now_ns (which never runs backwards) and fill out with what must happen, in order."""
    cdef int64_t group_at, peer_at, send_at
    core.out = out
    out.count = 0
    out.dropped = 0
    out.send_mask = 0
    core.send_mask = 0
    core.answer_mask = 0
    core.self_late = 0
    if ev.kind == EV_START:
        start(core, ev)
    elif not core.st.started:
        return
    else:
        if ev.now_ns > core.st.now_ns:
            core.st.now_ns = ev.now_ns
        judge_lateness(core)
        drop_lapsed(core)
        take_in(core, ev)
        give_unfit(core)
        give_gated(core)
    watch_links(core)
    if core.cfg.plans:
        plan(core)
    settle(core)
    if core.cfg.plans:
        count_all_changes(core)
    top_up(core)
    schedule(core)
    compose(core)
    group_at = groups_deadline(core)
    peer_at = peers_deadline(core)
    send_at = sending_deadline(core)
    core.st.deadline_ns = group_at if group_at < peer_at else peer_at
    if send_at < core.st.deadline_ns:
        core.st.deadline_ns = send_at


cdef int64_t core_deadline_ns(const core_t* core) noexcept nogil:
    return core.st.deadline_ns


cdef int64_t core_authority_ns(const core_t* core, int group) noexcept nogil:
    return core.st.group[group].auth_until_ns if core.st.group[group].state == ACTIVE else 0


cdef int core_snapshot_size(const core_t* core) noexcept nogil:
    """The state up to the last group in use."""
    return <int>(<size_t>&core.st.group[core.cfg.group_count] - <size_t>&core.st)


cdef void core_snapshot(const core_t* core, uint8_t* out) noexcept nogil:
    memcpy(out, &core.st, core_snapshot_size(core))


cdef int core_restore(core_t* core, const uint8_t* data, int size) noexcept nogil:
    """0, or -1 when it is no snapshot of these settings."""
    cdef uint32_t own = core.st.settings_hash
    if size != core_snapshot_size(core) or memcmp(data, &own, sizeof(own)) != 0:
        return -1
    memcpy(&core.st, data, size)
    return 0
