"""The gate's process: one loop without the interpreter, from the fork to _exit."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from twinbeat_core.model cimport KEY_BYTES, MAX_GROUPS
from twinbeat_rt.drive cimport (
    drive_busy, drive_deadlines, drive_exit, drive_failed, drive_next_ns, drive_on_off, drive_orders,
    drive_others_off, drive_pending, drive_repair, drive_safe,
)
from twinbeat_rt.notice cimport notice_again, notice_begin, notice_done, notice_go_on, notice_next_ns
from twinbeat_rt.shared cimport (
    PORTS, ARGV_BYTES, MAX_HELD, MAX_OUTPUTS, OUT_BYTES, OUT_GPIO, PATTERN_BYTES, SETUP_DEATH_PIPE, SETUP_END,
    SETUP_HOLD, SETUP_IDENTITY, SETUP_LINK, SETUP_OUTPUT, SETUP_REALTIME, SETUP_SAFE, WHY_DEATH, gate_t,
    notice_link_t, output_t, setup_answer_t, setup_t, shared_t,
)
from twinbeat_rt.sysapi cimport (
    RT_NEVER, rt_become_gate, rt_breath_t, rt_breathe, rt_close, rt_close_all_but, rt_death_signal_fd,
    rt_death_signal_read, rt_epoll_add, rt_epoll_add_edge, rt_epoll_del, rt_epoll_new, rt_epoll_wait, rt_exit,
    rt_fifo, rt_load, rt_load_i, rt_lock_memory, rt_map_private, rt_nonblock, rt_now, rt_pidfd, rt_prefault_stack,
    rt_recv_fd, rt_ring_bell, rt_send_fd, rt_store, rt_store_i, rt_timer_new, rt_timer_set,
)

cdef enum:
    TAG_SOCKET = 0
    TAG_BELL = 1
    TAG_TIMER = 2
    TAG_SIGN_SIGNAL = 3
    TAG_SIGN_PIDFD = 4
    TAG_SIGN_PIPE = 5
    BATCH = 8
    FIFO_GATE = 60
    EINVAL_ = 22
    ENOSPC_ = 28
    LAST_TRY_NS = 1000000000     # so long after the agent's death an output that failed to go off is still tried
    BREATH_NS = 1000000          # a gate that finds work at every turn yields on purpose


cdef void start(gate_t* g, shared_t* page, int agent, int socket, int bell, int answer_bell) noexcept nogil:
    cdef int i
    memset(g, 0, sizeof(gate_t))
    g.page, g.agent, g.socket, g.bell, g.answer_bell = page, agent, socket, bell, answer_bell
    g.group_count = MAX_GROUPS
    for i in range(MAX_GROUPS):
        g.group[i].armed_ns = RT_NEVER
    for i in range(PORTS):
        g.link[i].fd = -1
    for i in range(MAX_HELD):
        g.held[i] = -1
    g.death_pipe = -1
    g.ep = rt_epoll_new()
    g.timer = rt_timer_new()
    rt_epoll_add(g.ep, socket, TAG_SOCKET)
    rt_epoll_add_edge(g.ep, bell, TAG_BELL)
    rt_epoll_add_edge(g.ep, g.timer, TAG_TIMER)
    g.death_signal = rt_death_signal_fd(g.ep, TAG_SIGN_SIGNAL)
    g.agent_pidfd = rt_pidfd(agent)
    if g.agent_pidfd >= 0:
        rt_epoll_add(g.ep, g.agent_pidfd, TAG_SIGN_PIDFD)


cdef void saw_death(gate_t* g, int sign) noexcept nogil:
    """One way only: from here on nothing is ever driven again."""
    if not g.dead:
        g.dead = 1
        rt_store_i(&g.page.dead_at_ns, rt_now())
        rt_store(&g.page.dead, <uint64_t>(1 + sign))


cdef void read_sign(gate_t* g, int tag) noexcept nogil:
    """A dead pipe or pidfd stays readable for ever: out of the set at its first word."""
    if tag == TAG_SIGN_SIGNAL:
        if rt_death_signal_read(g.death_signal, g.agent):
            saw_death(g, tag)
    elif tag == TAG_SIGN_PIDFD:
        rt_epoll_del(g.ep, g.agent_pidfd)
        saw_death(g, tag)
    elif tag == TAG_SIGN_PIPE:
        rt_epoll_del(g.ep, g.death_pipe)
        saw_death(g, tag)


cdef int add_output(gate_t* g, setup_t* s, int fd) noexcept nogil:
    cdef output_t* o
    if g.output_count >= MAX_OUTPUTS:
        return ENOSPC_
    if s.group < 0 or s.group >= g.group_count or s.on_bytes > PATTERN_BYTES or s.off_bytes > PATTERN_BYTES:
        return EINVAL_
    if fd < 0 and (s.output_kind == OUT_BYTES or s.output_kind == OUT_GPIO):
        return EINVAL_
    o = &g.output[g.output_count]
    memset(o, 0, sizeof(output_t))
    o.group, o.kind, o.fd, o.exit_hold, o.readback = s.group, s.output_kind, fd, s.exit_hold, s.readback
    o.on_bytes, o.off_bytes, o.argv_words, o.target = s.on_bytes, s.off_bytes, s.argv_words, -1
    o.gpio_mask, o.gpio_on, o.gpio_off = s.gpio_mask, s.gpio_on, s.gpio_off
    memcpy(o.on, s.on, PATTERN_BYTES)
    memcpy(o.off, s.off, PATTERN_BYTES)
    memcpy(o.argv, s.argv, ARGV_BYTES)
    if s.output_kind == OUT_BYTES:
        rt_nonblock(fd)
    g.output_count += 1
    return 0


cdef int set_link(gate_t* g, setup_t* s, int fd) noexcept nogil:
    cdef notice_link_t* link
    cdef int i
    if s.link < 0 or s.link >= PORTS:
        return EINVAL_
    link = &g.link[s.link]
    if link.fd >= 0:
        rt_close(link.fd)
    link.fd, link.kind, link.size, link.at, link.gone = fd, s.link_kind, 0, 0, 0
    link.peer_count, link.peer_bytes = s.peer_count, s.peer_bytes
    for i in range(s.peer_count):
        link.peer[i] = s.peer[i]
    if fd >= 0:
        rt_nonblock(fd)
    return 0


cdef int set_identity(gate_t* g, setup_t* s) noexcept nogil:
    cdef int i
    g.pair_id, g.config_digest, g.self_node, g.node_count = s.pair_id, s.config_digest, s.self_node, s.node_count
    g.group_count = s.group_count
    memcpy(g.key, s.key, KEY_BYTES)
    for i in range(g.group_count):
        g.group[i].wait_ns = s.wait_ns[i]
    g.identity_known = 1
    return 0


cdef int hold(gate_t* g, int fd) noexcept nogil:
    cdef int i
    for i in range(MAX_HELD):
        if g.held[i] < 0:
            g.held[i] = fd
            return 0
    return ENOSPC_


cdef void prepare(gate_t* g, setup_t* s, int fd, setup_answer_t* a) noexcept nogil:
    cdef int index
    if s.kind == SETUP_OUTPUT:
        a.error = add_output(g, s, fd)
    elif s.kind == SETUP_SAFE:
        a.error = drive_safe(g, &index)
        a.index = index
    elif s.kind == SETUP_LINK:
        a.error = set_link(g, s, fd)
    elif s.kind == SETUP_IDENTITY:
        a.error = set_identity(g, s)
    elif s.kind == SETUP_REALTIME:
        if s.fifo:
            a.error = -rt_fifo(FIFO_GATE)
        if s.lock_memory:
            a.second = -rt_lock_memory()
            rt_prefault_stack()
    elif s.kind == SETUP_HOLD:
        a.error = hold(g, fd) if fd >= 0 else EINVAL_
    elif s.kind == SETUP_DEATH_PIPE:
        if fd >= 0:
            g.death_pipe = fd
            a.error = -rt_epoll_add(g.ep, fd, TAG_SIGN_PIPE)
        else:
            a.error = EINVAL_
    elif s.kind == SETUP_END:
        rt_store(&g.page.planned, 1)
        g.ending = 1
        drive_exit(g)
    else:
        a.error = EINVAL_


cdef void read_socket(gate_t* g) noexcept nogil:
    cdef setup_answer_t a
    cdef int fd
    cdef int n = rt_recv_fd(g.socket, &g.setup, sizeof(setup_t), &fd)
    if n == 0:
        rt_epoll_del(g.ep, g.socket)
        saw_death(g, TAG_SOCKET)
        return
    if n != sizeof(setup_t):
        return
    memset(&a, 0, sizeof(setup_answer_t))
    a.serial = g.setup.serial
    a.index = -1
    prepare(g, &g.setup, fd, &a)
    if g.setup.kind != SETUP_DEATH_PIPE:
        rt_send_fd(g.socket, &a, sizeof(setup_answer_t), -1)


cdef void after_death(gate_t* g) noexcept nogil:
    """First round: drop, then speak. A planned end was announced beforehand and says nothing."""
    if rt_load(&g.page.planned):
        g.ending = 1
        drive_exit(g)
        return
    drive_on_off(g, WHY_DEATH)
    notice_begin(g)
    drive_others_off(g, WHY_DEATH)


cdef void one_round(gate_t* g, uint64_t* tags, int n, int* acted) noexcept nogil:
    cdef int i
    for i in range(n):                   # signs of death before anything that could drive
        if tags[i] >= TAG_SIGN_SIGNAL:
            read_sign(g, <int>tags[i])
    if g.dead and not g.ending and not acted[0]:
        acted[0] = 1
        after_death(g)
    for i in range(n):
        if tags[i] == TAG_SOCKET:
            read_socket(g)
    drive_deadlines(g)
    drive_pending(g)
    drive_repair(g)
    drive_orders(g)
    if g.ending:
        g.done = not drive_busy(g)
    elif g.dead and acted[0]:
        if g.repaired:
            g.repaired = 0
            notice_again(g)
        notice_go_on(g)
        g.done = notice_done(g) and not drive_busy(g) and not (
            drive_failed(g) and rt_now() < rt_load_i(&g.page.dead_at_ns) + LAST_TRY_NS)
    if g.answers_due:
        g.answers_due = 0
        rt_ring_bell(g.answer_bell)


cdef void gate_main(shared_t* page, int agent, int socket, int bell, int answer_bell) noexcept nogil:
    """Body of the forked process; never returns."""
    cdef uint64_t tags[BATCH]
    cdef uint32_t events[BATCH]
    cdef int keep[6]
    cdef int64_t armed_ns = RT_NEVER
    cdef int64_t next_ns, before_ns
    cdef rt_breath_t breath
    cdef int acted = 0
    cdef int n
    cdef gate_t* g
    if not rt_become_gate(agent):
        rt_exit(0)                       # the agent died before we could watch it; nothing is driven yet
    keep[0], keep[1], keep[2], keep[3], keep[4], keep[5] = 0, 1, 2, socket, bell, answer_bell
    rt_close_all_but(keep, 6)
    g = <gate_t*>rt_map_private(sizeof(gate_t))
    if g == NULL:
        rt_exit(1)
    start(g, page, agent, socket, bell, answer_bell)
    rt_store(&page.ready, 1)
    breath.window_ns, breath.waited_ns = rt_now(), 0
    while not g.done:
        next_ns = drive_next_ns(g)
        if notice_next_ns(g) < next_ns:
            next_ns = notice_next_ns(g)
        before_ns = rt_now()
        if next_ns != armed_ns or next_ns <= before_ns:
            rt_timer_set(g.timer, next_ns)
            armed_ns = next_ns
        n = rt_epoll_wait(g.ep, tags, events, BATCH, -1)
        page.wakeups += 1
        page.spins += rt_breathe(&breath, before_ns, rt_now(), BREATH_NS)
        one_round(g, tags, n, &acted)
        if g.dead and not acted and not g.ending:
            acted = 1                    # the socket's end came as the only sign
            after_death(g)
    rt_exit(0)
