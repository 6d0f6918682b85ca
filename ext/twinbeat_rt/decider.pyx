"""The thread that decides: it owns the core. Frames first, then everything else, then time; it never blocks.

It alone holds the write end of the death pipe, in a descriptor table of its own: when this thread dies the gate
knows at once, before the kernel has freed the process's memory.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memset

from twinbeat_core.machine cimport core_deadline_ns, core_snapshot, core_step
from twinbeat_core.model cimport (
    EV_HEALTH, EV_HEARD, EV_LATE, EV_OUTPUT, EV_VOTE, EV_WAKE, LATE_CANARY, LATE_RECEIVER, NEVER_NS, OUTPUT_FAILED,
    VOTE_GONE, VOTE_PROMISED, VOTE_REFUSED, event_t,
)
from twinbeat_core.votewire cimport ROW_PROMISED, ROW_REFUSED
from twinbeat_rt.canary cimport canary_late_ns
from twinbeat_rt.effects cimport carry_out, new_note, put_note
from twinbeat_rt.ports cimport receiver_late_ns
from twinbeat_rt.recorder cimport SNAPSHOT_EVERY_NS, record_event, record_snapshot
from twinbeat_rt.shared cimport ANSWER_SLOTS, SETUP_DEATH_PIPE, answer_t, late_add, setup_t
from twinbeat_rt.sysapi cimport (
    O_CLOEXEC, RT_NEVER, pipe2, rt_breath_t, rt_breathe, rt_close, rt_close_all_but, rt_epoll_add, rt_epoll_add_edge,
    rt_epoll_del, rt_epoll_wait, rt_fifo, rt_load, rt_load_i, rt_name_thread, rt_now, rt_prefault_stack, rt_send_fd,
    rt_store, rt_timer_set, rt_unshare_files,
)
from twinbeat_rt.worker cimport (
    EVENT_SLOTS, NOTE_GATE_GONE, NOTE_OUTPUT, NOTE_ZOMBIE, RX_SLOTS, VOTE_SLOTS, heard_t, note_t, ring_empty, ring_t,
    ring_take, rt_t, vote_slot_t,
)

cdef enum:
    FIFO_DECIDER = 50
    TAG_TIMER = 0
    TAG_WAKE = 1
    TAG_ANSWER = 2
    TAG_GATE = 3
    BATCH = 8
    LATE_AGAIN_NS = 1000000
    STOOD_STILL_NS = 100000000   # a wake-up this late: the whole process was stopped, Python included
    BREATH_NS = 1000000
    ZOMBIE_LOOK_NS = 200000000


cdef void feed(rt_t* rt) noexcept nogil:
    """rt.ev through the core. The record comes after the effects: it may wait, they may not."""
    rt.ev.now_ns = rt_now()
    if rt.ev.kind != EV_HEARD or rt.ev.rx_at_ns > rt.ev.now_ns:
        rt.ev.rx_at_ns = rt.ev.now_ns
    core_step(rt.core, &rt.ev, &rt.fx)
    rt.steps += 1
    carry_out(rt)
    record_event(rt)


cdef void clear_event(rt_t* rt, uint8_t kind, uint8_t code) noexcept nogil:
    memset(&rt.ev, 0, sizeof(event_t) - sizeof(rt.ev.frame))
    rt.ev.kind, rt.ev.code = kind, code


cdef void doubt(rt_t* rt) noexcept nogil:
    """Say so when what carries the frames did not run: before anything is judged, again while it lasts."""
    cdef int64_t now = rt_now()
    cdef int64_t receiver = receiver_late_ns(&rt.tty, now)
    cdef int64_t other = receiver_late_ns(&rt.udp, now)
    cdef int64_t canary = canary_late_ns(rt, now)
    if other > receiver:
        receiver = other
    if (receiver <= rt.late_limit_ns and canary <= rt.late_limit_ns) or now - rt.late_told_ns < LATE_AGAIN_NS:
        return
    rt.late_told_ns = now
    rt.late_events += 1
    clear_event(rt, EV_LATE, LATE_RECEIVER if receiver > canary else LATE_CANARY)
    rt.ev.value = receiver if receiver > canary else canary
    feed(rt)


cdef int drain_heard(rt_t* rt, ring_t* ring, heard_t* slots) noexcept nogil:
    cdef heard_t* slot
    cdef int count = 0
    while not ring_empty(ring):
        slot = &slots[ring.tail % RX_SLOTS]
        clear_event(rt, EV_HEARD, <uint8_t>slot.code)
        rt.ev.link = <uint8_t>slot.link
        rt.ev.rx_at_ns = slot.rx_at_ns
        rt.ev.frame = slot.frame
        ring_take(ring)
        feed(rt)
        count += 1
        if count >= RX_SLOTS:
            break
    return count


cdef void drain_votes(rt_t* rt) noexcept nogil:
    """The arbiter's answers. What is no promise and no refusal is no vote for now."""
    cdef vote_slot_t* slot
    cdef int count = 0
    while not ring_empty(&rt.vote) and count < VOTE_SLOTS:
        slot = &rt.vote_slot[rt.vote.tail % VOTE_SLOTS]
        clear_event(rt, EV_VOTE, VOTE_GONE)
        if slot.row.code == ROW_PROMISED or slot.row.code == ROW_REFUSED:
            rt.ev.code = VOTE_PROMISED if slot.row.code == ROW_PROMISED else VOTE_REFUSED
            rt.ev.value = <int64_t>slot.row.ms * 1000000
        rt.ev.group, rt.ev.epoch, rt.ev.stamp = slot.row.group, slot.row.epoch, slot.stamp
        ring_take(&rt.vote)
        feed(rt)
        count += 1


cdef void drain_frames(rt_t* rt) noexcept nogil:
    drain_heard(rt, &rt.tty.rx, rt.tty.rx_slot)
    drain_heard(rt, &rt.udp.rx, rt.udp.rx_slot)
    drain_heard(rt, &rt.heard, rt.heard_slot)
    drain_votes(rt)


cdef void drain_events(rt_t* rt) noexcept nogil:
    cdef int count = 0
    while not ring_empty(&rt.event) and count < EVENT_SLOTS:
        rt.ev = rt.event_slot[rt.event.tail % EVENT_SLOTS]
        ring_take(&rt.event)
        count += 1
        if rt.ev.kind == EV_HEALTH:
            rt.health_code, rt.health_value, rt.health_stamp = rt.ev.code, rt.ev.value, rt.ev.stamp
            if rt.zombie:
                continue
        feed(rt)


cdef void tell_output(rt_t* rt, int group, int code, uint32_t epoch, int64_t at_ns, int error) noexcept nogil:
    cdef note_t* note = new_note(rt, NOTE_OUTPUT)
    if note != NULL:
        note.group, note.code, note.epoch, note.at_ns, note.value = group, code, epoch, at_ns, error
        put_note(rt)
    clear_event(rt, EV_OUTPUT, code)
    rt.ev.group, rt.ev.epoch, rt.ev.value = group, epoch, error
    feed(rt)


cdef void say_stuck(rt_t* rt, int group, uint32_t epoch) noexcept nogil:
    """A failure that the core heard while it drove made it let go. This answers that order: the output may be on."""
    clear_event(rt, EV_OUTPUT, OUTPUT_FAILED)
    rt.ev.group, rt.ev.epoch = group, epoch
    feed(rt)


cdef void drain_answers(rt_t* rt) noexcept nogil:
    cdef answer_t* slot
    cdef answer_t a
    while rt_load(&rt.page.answer_head) != rt.page.answer_tail:
        slot = &rt.page.answer[rt.page.answer_tail % ANSWER_SLOTS]
        a = slot[0]
        rt_store(&rt.page.answer_tail, rt.page.answer_tail + 1)
        if a.request and a.group < rt.settings.group_count:
            tell_output(rt, a.group, a.code, <uint32_t>a.epoch, a.at_ns, a.error)
            if a.stuck:
                say_stuck(rt, a.group, <uint32_t>a.epoch)


cdef void lose_gate(rt_t* rt) noexcept nogil:
    """Nothing can be driven or switched off any more: every group that was ordered on has failed."""
    cdef int i
    rt_epoll_del(rt.ep, rt.gate_pidfd)
    if rt.gate_gone:
        return
    drain_answers(rt)
    rt.gate_gone = 1
    if new_note(rt, NOTE_GATE_GONE) != NULL:
        put_note(rt)
    for i in range(rt.settings.group_count):
        tell_output(rt, i, OUTPUT_FAILED, <uint32_t>rt_load(&rt.page.order[i].epoch), rt_now(), 0)
        say_stuck(rt, i, <uint32_t>rt_load(&rt.page.order[i].epoch))


cdef void watch_python(rt_t* rt, int64_t now) noexcept nogil:
    """An interpreter that stands still makes this node unfit until it runs again."""
    cdef int64_t seen = rt_load_i(&rt.python_ns)
    cdef int late
    cdef note_t* note
    if rt.resumed_ns > seen:
        seen = rt.resumed_ns
    late = rt.zombie_ns > 0 and now - seen > rt.zombie_ns
    if late == rt.zombie:
        return
    rt.zombie = late
    note = new_note(rt, NOTE_ZOMBIE)
    if note != NULL:
        note.code, note.value = late, now - seen
        put_note(rt)
    clear_event(rt, EV_HEALTH, 0 if late else rt.health_code)
    rt.ev.value = 0 if late else rt.health_value
    rt.ev.stamp = rt.health_stamp
    feed(rt)


cdef void serve_python(rt_t* rt, int64_t now) noexcept nogil:
    """Snapshots: for the recorder by time and on demand, for the status on demand."""
    cdef uint64_t want = rt_load(&rt.rec.want_snapshot)
    if want != rt.rec.have_snapshot or now >= rt.rec.next_snapshot_ns:
        rt.rec.next_snapshot_ns = now + SNAPSHOT_EVERY_NS
        record_snapshot(rt)
        rt_store(&rt.rec.have_snapshot, want)
    want = rt_load(&rt.want_view)
    if want != rt.have_view:
        core_snapshot(rt.core, rt.view)
        rt_store(&rt.have_view, want)


cdef void judge_time(rt_t* rt) noexcept nogil:
    """The deadline passed: once more the frames, then the wake-up."""
    cdef int64_t deadline = core_deadline_ns(rt.core)
    cdef int64_t now = rt_now()
    if deadline > now:
        return
    late_add(&rt.late, now - deadline)
    if now - deadline > STOOD_STILL_NS:
        rt.resumed_ns = now
    drain_frames(rt)
    if core_deadline_ns(rt.core) <= rt_now():
        clear_event(rt, EV_WAKE, 0)
        feed(rt)


cdef void arm(rt_t* rt, int64_t now) noexcept nogil:
    cdef int64_t next_ns = core_deadline_ns(rt.core)
    if rt.zombie_ns > 0 and now + ZOMBIE_LOOK_NS < next_ns:
        next_ns = now + ZOMBIE_LOOK_NS
    if next_ns != rt.armed_ns or next_ns <= now:
        rt_timer_set(rt.timer, RT_NEVER if next_ns == NEVER_NS else next_ns)
        rt.armed_ns = next_ns


cdef void own_table(rt_t* rt) noexcept nogil:
    """A descriptor table of this thread alone, with the death pipe in it."""
    cdef int keep[10]
    cdef int ends[2]
    rt.unshare_error = -rt_unshare_files()
    if rt.unshare_error:
        return
    keep[0], keep[1], keep[2], keep[3] = rt.timer, rt.wake, rt.notify, rt.gate_bell
    keep[4], keep[5], keep[6], keep[7] = rt.answer_bell, rt.gate_socket, rt.gate_pidfd, rt.tty.bell
    keep[8], keep[9] = rt.udp.bell, rt.ep
    rt_close_all_but(keep, 10)
    if pipe2(ends, O_CLOEXEC) != 0:
        rt.unshare_error = 24
        return
    rt.death_pipe = ends[1]
    memset(&rt.setup, 0, sizeof(setup_t))
    rt.setup.kind = SETUP_DEATH_PIPE
    rt_send_fd(rt.gate_socket, &rt.setup, sizeof(setup_t), ends[0])
    rt_close(ends[0])


cdef void begin(rt_t* rt) noexcept nogil:
    rt_name_thread(b"tb-decider")
    rt_prefault_stack()
    if rt.fifo:
        rt.sched_error = -rt_fifo(FIFO_DECIDER)
    own_table(rt)
    # A bell is never read: each ring is one edge, and its count has room for more rings than there are nanoseconds.
    rt_epoll_add_edge(rt.ep, rt.timer, TAG_TIMER)
    rt_epoll_add_edge(rt.ep, rt.wake, TAG_WAKE)
    rt_epoll_add_edge(rt.ep, rt.answer_bell, TAG_ANSWER)
    rt_epoll_add(rt.ep, rt.gate_pidfd, TAG_GATE)
    rt.armed_ns = 0
    rt_store(&rt.running, 1)


cdef void one_round(rt_t* rt, uint64_t* tags, int n) noexcept nogil:
    cdef int i
    cdef int gate_ended = 0
    for i in range(n):
        if tags[i] == TAG_GATE:
            gate_ended = 1
    doubt(rt)
    drain_frames(rt)
    drain_events(rt)
    drain_answers(rt)
    if gate_ended:
        lose_gate(rt)
    judge_time(rt)
    watch_python(rt, rt_now())
    serve_python(rt, rt_now())


cdef void* decider_body(void* arg) noexcept nogil:
    cdef rt_t* rt = <rt_t*>arg
    cdef uint64_t tags[BATCH]
    cdef uint32_t events[BATCH]
    cdef rt_breath_t breath
    cdef int64_t before_ns
    cdef int n = 0
    breath.window_ns, breath.waited_ns = rt_now(), 0
    begin(rt)
    record_snapshot(rt)
    rt.rec.next_snapshot_ns = rt_now() + SNAPSHOT_EVERY_NS
    while not rt_load(&rt.stop):
        one_round(rt, tags, n)
        before_ns = rt_now()
        arm(rt, before_ns)
        n = rt_epoll_wait(rt.ep, tags, events, BATCH, -1)
        rt.wakeups += 1
        rt.spins += rt_breathe(&breath, before_ns, rt_now(), BREATH_NS)
    rt_store(&rt.running, 0)
    return NULL
