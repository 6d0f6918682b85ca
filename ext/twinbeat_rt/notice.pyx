"""What the gate says after the agent's death: which groups are off, over every line it can write to.

The notice is signed like any frame and starts with a delimiter, because the agent may have died in mid-frame. It
names a group once every output of it was switched off and its release time has passed. It is repeated a few
times, for one frame may be lost, and then the gate is silent for ever. Stop commands are started by the way.
"""
from libc.stdint cimport int64_t, uint64_t, uint8_t
from libc.string cimport memset

from twinbeat_core.model cimport FRAME_DEATH, LINK_SERIAL, LINK_UDP, NO_NODE, OUT, ROW_DROPPED, frame_t
from twinbeat_core.codec cimport MAX_FRAME, MAX_WIRE, WIRE_VERSION_NOW, WIRE_VERSION_OLDEST, serial_wrap, wire_encode
from twinbeat_core.votewire cimport VOTE_ASK_BYTES, VOTE_ASK_HEAD, VOTE_DEATH, vote_put_head, vote_put_row
from twinbeat_rt.shared cimport ARGV_WORDS, LEVEL_OFF, LINK_VOTER, PORTS, VOTER_PORT, gate_t, notice_link_t, output_t
from twinbeat_rt.sysapi cimport EAGAIN, RT_NEVER, rt_load, rt_now, rt_send_to, rt_spawn, rt_write

cdef enum:
    REPEATS = 5
    REPEAT_NS = 10000000
    RETRY_NS = 500000
    LONGEST_NS = 65000000000     # no release time is longer than a promise


cdef int start_stop_command(output_t* o) noexcept nogil:
    cdef char* argv[ARGV_WORDS + 1]
    cdef int at = 0
    cdef int i
    cdef int pid = 0
    for i in range(o.argv_words):
        argv[i] = &o.argv[at]
        while o.argv[at]:
            at += 1
        at += 1
    argv[o.argv_words] = NULL
    return rt_spawn(argv, &pid)


cdef void start_stop_commands(gate_t* g) noexcept nogil:
    cdef output_t* o
    cdef int i
    g.stops_done = 1
    for i in range(g.output_count):
        o = &g.output[i]
        if o.argv_words == 0:
            continue
        if start_stop_command(o) == 0:
            o.stop_state = 1
            g.page.stops_started += 1
        else:
            o.stop_state = -1
            g.page.stops_failed += 1


cdef int dropped(gate_t* g, int index, int64_t now) noexcept nogil:
    """Is every output of the group off, its release time over, its stop command started?"""
    cdef int i
    if g.group[index].level != LEVEL_OFF or now < g.group[index].off_at_ns + g.group[index].wait_ns:
        return 0
    for i in range(g.output_count):
        if g.output[i].group == index:
            if g.output[i].error or g.output[i].target != -1:
                return 0
            if g.output[i].argv_words and g.output[i].stop_state != 1:
                return 0
    return 1


cdef void fill(gate_t* g, frame_t* frame) noexcept nogil:
    cdef int64_t now = rt_now()
    cdef int i
    memset(frame, 0, sizeof(frame_t))
    frame.kind = FRAME_DEATH
    frame.version = WIRE_VERSION_OLDEST        # the gate does not know what the peer speaks
    frame.version_max = WIRE_VERSION_NOW
    frame.source = g.self_node
    frame.pair_id = g.pair_id
    frame.config_digest = g.config_digest
    frame.incarnation = <unsigned int>rt_load(&g.page.incarnation)
    frame.stamp = <uint64_t>(now // 1000)
    for i in range(g.node_count):
        if i != g.self_node and rt_load(&g.page.echo_incarnation[i]):
            frame.echo[frame.echo_count].node = i
            frame.echo[frame.echo_count].incarnation = <unsigned int>rt_load(&g.page.echo_incarnation[i])
            frame.echo_count += 1
    frame.row_count = g.group_count
    for i in range(g.group_count):
        frame.row[i].state = OUT
        frame.row[i].vote = NO_NODE
        frame.row[i].epoch = <unsigned int>g.group[i].epoch
        frame.row[i].flags = ROW_DROPPED if dropped(g, i, now) else 0


cdef void flush(gate_t* g, notice_link_t* link) noexcept nogil:
    """Write what is pending on one serial line; a full driver is asked again by the timer."""
    cdef int n
    if link.size == 0:
        return
    n = rt_write(link.fd, &link.data[link.at], link.size - link.at)
    if n > 0:
        link.at += n
        if link.at >= link.size:
            link.size = 0
    elif n != -EAGAIN:
        link.size = 0
        link.gone = 1
        g.page.notice_errors += 1


cdef inline bint is_line(const notice_link_t* link) noexcept nogil:
    return link.kind == LINK_SERIAL or link.kind == LINK_VOTER


cdef void fill_for_arbiter(const frame_t* frame, notice_link_t* link) noexcept nogil:
    """The same word to the arbiter, which has no key: the groups whose every output is off."""
    cdef uint8_t body[VOTE_ASK_BYTES]
    cdef int size = VOTE_ASK_HEAD
    cdef int i
    vote_put_head(body, VOTE_DEATH, frame.source, frame.pair_id, frame.incarnation, frame.stamp, 0)
    for i in range(frame.row_count):
        if frame.row[i].flags & ROW_DROPPED and size > 0:
            size = vote_put_row(body, i, frame.row[i].epoch)
    link.at = 0
    link.size = serial_wrap(body, size, link.data, MAX_WIRE) if size > 0 else 0


cdef void send(gate_t* g) noexcept nogil:
    cdef frame_t frame
    cdef uint8_t bare[MAX_FRAME]
    cdef notice_link_t* link
    cdef int i, k, n
    fill(g, &frame)
    g.page.notices += 1
    for i in range(PORTS):
        link = &g.link[i]
        if link.fd < 0 or link.gone or link.at and link.size:
            continue                     # a half-written notice is finished first
        if i == VOTER_PORT:
            fill_for_arbiter(&frame, link)
            flush(g, link)
            continue
        link.seq += 1
        n = wire_encode(&frame, <uint8_t>(rt_load(&g.page.link_seq[i]) + link.seq), g.key, bare, MAX_FRAME)
        if n <= 0:
            continue
        if link.kind == LINK_SERIAL:
            link.at = 0
            link.size = serial_wrap(bare, n, link.data, MAX_WIRE)
            if link.size < 0:
                link.size = 0
            flush(g, link)
        elif link.kind == LINK_UDP:
            for k in range(link.peer_count):
                if rt_send_to(link.fd, bare, n, &link.peer[k], link.peer_bytes) < 0:
                    g.page.notice_errors += 1


cdef int64_t next_ready_ns(gate_t* g, int64_t now) noexcept nogil:
    """When the next group can be named: off, and its release time over."""
    cdef int64_t next_ns = RT_NEVER
    cdef int64_t at
    cdef int i
    for i in range(g.group_count):
        at = g.group[i].off_at_ns + g.group[i].wait_ns
        if g.group[i].level != LEVEL_OFF:
            at = now + REPEAT_NS         # still being written
        if at > now and at < next_ns:
            next_ns = at
    return next_ns


cdef void notice_begin(gate_t* g) noexcept nogil:
    """Called once, after all outputs were told to go off."""
    cdef int i
    g.give_up_ns = rt_now() + LONGEST_NS
    for i in range(PORTS):
        if is_line(&g.link[i]):
            g.link[i].size = 0
    if not g.identity_known or rt_load(&g.page.incarnation) == 0:
        start_stop_commands(g)
        g.notices_left = 0
        g.next_notice_ns = RT_NEVER
        return
    g.notices_left = REPEATS
    g.next_notice_ns = rt_now()
    notice_go_on(g)
    start_stop_commands(g)
    for i in range(g.output_count):
        if g.output[i].argv_words:
            g.next_notice_ns = rt_now()  # these groups were not named yet
            break


cdef void notice_again(gate_t* g) noexcept nogil:
    """A group that could not be named at first went off after all."""
    if g.identity_known and rt_load(&g.page.incarnation):
        g.notices_left = REPEATS
        g.next_notice_ns = rt_now()


cdef void notice_go_on(gate_t* g) noexcept nogil:
    cdef int64_t now = rt_now()
    cdef int64_t ready
    cdef int i
    for i in range(PORTS):
        if g.link[i].fd >= 0 and is_line(&g.link[i]) and not g.link[i].gone:
            flush(g, &g.link[i])
    if g.notices_left <= 0 or now < g.next_notice_ns:
        return
    send(g)
    ready = next_ready_ns(g, now)
    if ready == RT_NEVER:
        g.notices_left -= 1              # repeats count from the last group on
    g.next_notice_ns = now + REPEAT_NS
    if ready < g.next_notice_ns:
        g.next_notice_ns = ready


cdef int pending(gate_t* g) noexcept nogil:
    cdef int i
    for i in range(PORTS):
        if g.link[i].fd >= 0 and g.link[i].size and not g.link[i].gone:
            return 1
    return 0


cdef int notice_done(gate_t* g) noexcept nogil:
    if rt_now() > g.give_up_ns:
        return 1
    if g.notices_left > 0:
        return 0
    if not pending(g):
        return 1
    return rt_now() > g.next_notice_ns + REPEATS * REPEAT_NS


cdef int64_t notice_next_ns(gate_t* g) noexcept nogil:
    cdef int64_t next_ns = RT_NEVER
    if g.notices_left > 0:
        next_ns = g.next_notice_ns
    if pending(g) and rt_now() + RETRY_NS < next_ns:
        next_ns = rt_now() + RETRY_NS
    return next_ns
