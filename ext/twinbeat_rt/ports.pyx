"""The threads that read and write: one for serial lines, one for UDP. They stamp, check, pass on, never decide.

A tty can hold its reader for hundreds of milliseconds behind a kernel worker; that is why no other descriptor
waits here, and why the thread stamps each time it begins to wait.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from twinbeat_core.model cimport FRAME_DEATH, frame_t
from twinbeat_core.codec cimport (
    MAX_WIRE, WIRE_BAD_TAG, WIRE_OK, WIRE_OTHER_PAIR, WIRE_SHORT, WIRE_UNKNOWN_VERSION, serial_feed,
    serial_reader_init, wire_decode,
)
from twinbeat_rt.sysapi cimport (
    EAGAIN, ECANCELED, EIO, EPOLLERR, EPOLLHUP, rt_breath_t, rt_breathe, rt_close, rt_epoll_add, rt_epoll_add_edge,
    rt_epoll_del, rt_epoll_wait, rt_fifo, rt_load, rt_load_i, rt_name_thread, rt_nonblock, rt_now, rt_prefault_stack,
    rt_queued_out, rt_read, rt_recv_from, rt_ring_bell, rt_same_address, rt_send_to, rt_store, rt_store_i,
    rt_tty_block_empty, rt_write, sockaddr_storage,
)
from twinbeat_rt.arbiter cimport arbiter_ask, arbiter_hear, arbiter_query, arbiter_repeat
from twinbeat_rt.shared cimport PORTS, VOTER_PORT
from twinbeat_rt.worker cimport (
    PORT_SLOTS, RX_SLOTS, TX_SLOTS, heard_t, notice_t, io_t, packet_t, port_change_t, port_t, ring_empty, ring_full,
    ring_put, ring_take, rt_t,
)

cdef enum:
    TAG_BELL = 100
    BATCH = 10
    RETRY_MS = 1                 # while a driver takes no bytes
    READS = 8                    # per wake-up and port: bounded work
    CHUNK = 512
    DRIVER_BYTES = 1100          # two long frames; more in the driver would delay the gate's notice
    BREATH_NS = 2000000          # a flood must not hold a core at real-time priority


cdef void keep_notice(rt_t* rt, int link, const uint8_t* data, int size, uint8_t source) noexcept nogil:
    """As it came, for a third voter that asks for proof; each link has one reader."""
    cdef notice_t* kept = &rt.notice[link]
    kept.size = 0
    kept.source = source
    memcpy(kept.data, data, size)
    kept.size = size


cdef int read_frame(rt_t* rt, int link, const uint8_t* data, int size, heard_t* slot) noexcept nogil:
    """Authenticate and read one bare frame, counting what is refused. 1: good, or of another version of ours."""
    memset(&slot.frame, 0, sizeof(frame_t))
    slot.code = wire_decode(data, size, rt.key, rt.settings.pair_id, &slot.frame)
    slot.link = link
    if slot.code == WIRE_OK:
        rt.count[link].rx_frames += 1
    elif slot.code == WIRE_BAD_TAG:
        rt.count[link].bad_tag += 1
    elif slot.code == WIRE_OTHER_PAIR:
        rt.count[link].other_pair += 1
    elif slot.code == WIRE_UNKNOWN_VERSION:
        rt.count[link].other_version += 1
    elif slot.code == WIRE_SHORT:
        rt.count[link].short_frames += 1
    else:
        rt.count[link].bad_form += 1
    if slot.code == WIRE_OK and slot.frame.kind == FRAME_DEATH:
        keep_notice(rt, link, data, size, slot.frame.source)
    return slot.code == WIRE_OK or slot.code == WIRE_UNKNOWN_VERSION


cdef int64_t receiver_late_ns(io_t* io, int64_t now) noexcept nogil:
    """How much longer than a period this thread has not come round; <= 0: it runs, or has nothing to read."""
    if rt_load(&io.attached) == 0:
        return 0
    return now - rt_load_i(&io.stamp_ns) - io.tick_ns


cdef int pass_on(rt_t* rt, io_t* io, int link, const uint8_t* data, int size, int64_t rx_at_ns) noexcept nogil:
    cdef heard_t* slot
    if ring_full(&io.rx, RX_SLOTS):
        return 0
    slot = &io.rx_slot[io.rx.head % RX_SLOTS]
    if not read_frame(rt, link, data, size, slot):
        return 0
    slot.rx_at_ns = rx_at_ns
    ring_put(&io.rx)
    return 1


cdef void fault(rt_t* rt, io_t* io, int link, int error) noexcept nogil:
    """A hung-up port stays readable for ever: out of the set at once, told to Python, closed."""
    cdef port_t* port = &io.port[link]
    rt_epoll_del(io.ep, port.fd)
    rt_close(port.fd)
    port.fd = -1
    port.out_size = 0
    rt.count[link].faults += 1
    rt_store(&io.attached, io.attached - 1)
    rt_store(&io.fault[link], (<uint64_t>error << 32) + (io.fault[link] & <uint64_t>0xffffffff) + 1)
    rt_ring_bell(rt.notify)


cdef void flush(rt_t* rt, io_t* io, int link) noexcept nogil:
    """Write what is pending on a serial port; drop it once its time is over.

    A frame cut short does no harm: the next begins with a delimiter.
    """
    cdef port_t* port = &io.port[link]
    cdef int n
    if port.out_size == 0 or port.fd < 0:
        return
    if rt_now() > port.out_until_ns:
        port.out_size = 0
        rt.count[link].tx_dropped += 1
        return
    if port.queued + port.out_size > DRIVER_BYTES:
        port.queued = rt_queued_out(port.fd)
        if port.queued + port.out_size > DRIVER_BYTES:
            return
    n = rt_write(port.fd, &port.out[port.out_at], port.out_size - port.out_at)
    if n > 0:
        port.out_at += n
        port.queued += n
        if port.out_at >= port.out_size:
            port.out_size = 0
            rt.count[link].tx_frames += 1
    elif n != -EAGAIN:
        rt.count[link].tx_errors += 1
        fault(rt, io, link, -n)


cdef void send_tty(rt_t* rt, io_t* io) noexcept nogil:
    cdef packet_t* packet
    cdef port_t* port
    while not ring_empty(&io.tx):
        packet = &io.tx_slot[io.tx.tail % TX_SLOTS]
        port = &io.port[packet.link]
        if port.fd >= 0:
            if port.out_size and packet.link == VOTER_PORT and rt_now() <= port.out_until_ns:
                # A return that waits for the driver must not be lost: what follows goes behind it.
                if port.out_size + MAX_WIRE // 2 <= MAX_WIRE:
                    port.out_size += arbiter_ask(rt, packet.data, packet.size, &port.out[port.out_size])
                ring_take(&io.tx)
                continue
            if port.out_size:
                rt.count[packet.link].tx_dropped += 1
            if packet.link == VOTER_PORT:
                port.out_size = arbiter_ask(rt, packet.data, packet.size, port.out)
            else:
                memcpy(port.out, packet.data, packet.size)
                port.out_size = packet.size
            port.out_at, port.out_until_ns = 0, packet.good_until_ns
            flush(rt, io, packet.link)
        ring_take(&io.tx)


cdef void send_udp(rt_t* rt, io_t* io) noexcept nogil:
    cdef packet_t* packet
    cdef port_t* port
    cdef int i, bad
    while not ring_empty(&io.tx):
        packet = &io.tx_slot[io.tx.tail % TX_SLOTS]
        port = &io.port[packet.link]
        if port.fd >= 0 and rt_now() > packet.good_until_ns:
            rt.count[packet.link].tx_dropped += 1
        elif port.fd >= 0:
            bad = 0
            for i in range(port.peer_count):
                if rt_send_to(port.fd, packet.data, packet.size, &port.peer[i], port.peer_bytes) < 0:
                    bad = 1
            if bad:
                rt.count[packet.link].tx_errors += 1
            else:
                rt.count[packet.link].tx_frames += 1
        ring_take(&io.tx)


cdef void read_tty(rt_t* rt, io_t* io, int link, uint32_t events) noexcept nogil:
    cdef port_t* port = &io.port[link]
    cdef uint8_t data[CHUNK]
    cdef int64_t at
    cdef int k, n, used, size
    cdef int left = 0
    cdef int heard = 0
    cdef int thorough = port.unread or events & (EPOLLHUP | EPOLLERR)
    for k in range(READS):
        n = rt_read(port.fd, data, CHUNK)
        if n <= 0:
            break
        at = rt_now()
        rt.count[link].rx_bytes += n
        left = n
        while left > 0:
            size = serial_feed(&port.reader, data + n - left, left, &used)
            left -= used
            if size > 0:
                if link == VOTER_PORT:
                    heard += arbiter_hear(rt, port.reader.frame, size, at)
                else:
                    heard += pass_on(rt, io, link, port.reader.frame, size, at)
        if n < CHUNK and not thorough:
            break                        # there was no more; what comes now is a new edge
    rt.count[link].noise = port.noise_before + port.reader.noise
    if heard:
        rt_ring_bell(rt.wake)
    port.unread = n > 0 and (n == CHUNK or thorough)     # the bound was reached: an edge is reported once only
    if n == 0 or (n < 0 and n != -EAGAIN):
        fault(rt, io, link, -n if n else EIO)
    elif n == -EAGAIN and events & (EPOLLHUP | EPOLLERR):
        fault(rt, io, link, EIO)


cdef void read_udp(rt_t* rt, io_t* io, int link, uint32_t events) noexcept nogil:
    cdef port_t* port = &io.port[link]
    cdef uint8_t data[MAX_WIRE]
    cdef sockaddr_storage sender
    cdef int k, n, i, known
    cdef int heard = 0
    for k in range(READS):
        n = rt_recv_from(port.fd, data, MAX_WIRE, &sender)
        if n < 0:
            break                        # nothing there, or an ICMP error of an earlier send: the peer is not up
        rt.count[link].rx_bytes += n
        known = 0
        for i in range(port.peer_count):
            known |= rt_same_address(&sender, &port.peer[i])
        if not known:
            rt.count[link].stranger += 1
            continue
        heard += pass_on(rt, io, link, data, n, rt_now())
    if heard:
        rt_ring_bell(rt.wake)


cdef void take_changes(rt_t* rt, io_t* io) noexcept nogil:
    """Ports that Python plugs in or out."""
    cdef port_change_t* change
    cdef port_t* port
    cdef int i
    while not ring_empty(&io.change):
        change = &io.change_slot[io.change.tail % PORT_SLOTS]
        port = &io.port[change.link]
        if port.fd >= 0:
            rt_epoll_del(io.ep, port.fd)
            rt_close(port.fd)
            rt_store(&io.attached, io.attached - 1)
        port.fd, port.out_size, port.queued = change.fd, 0, 0
        port.noise_before = rt.count[change.link].noise
        port.peer_count, port.peer_bytes = change.peer_count, change.peer_bytes
        for i in range(change.peer_count):
            port.peer[i] = change.peer[i]
        serial_reader_init(&port.reader)
        if port.fd >= 0:
            rt_nonblock(port.fd)
            rt_tty_block_empty(port.fd)
            rt_store(&io.attached, io.attached + 1)
            # A level-triggered tty is asked again after each event, and its poll may wait for the kernel worker.
            port.unread = 1 if io == &rt.tty else 0
            if (rt_epoll_add_edge(io.ep, port.fd, change.link) if io == &rt.tty
                    else rt_epoll_add(io.ep, port.fd, change.link)) < 0:
                fault(rt, io, change.link, ECANCELED)
        ring_take(&io.change)


cdef int pending(io_t* io) noexcept nogil:
    cdef int i
    for i in range(PORTS):
        if io.port[i].out_size:
            return 1
    return 0


cdef int wait_ms_of(io_t* io, int waiting) noexcept nogil:
    """How long the next wait may last: not at all while a port holds bytes that were not taken."""
    cdef int i
    for i in range(PORTS):
        if io.port[i].unread and io.port[i].fd >= 0:
            return 0
    return RETRY_MS if waiting else io.wait_ms


cdef void serve_arbiter(rt_t* rt, io_t* io) noexcept nogil:
    """An ask that was not proven, once more with what has been heard since; a question now and then."""
    cdef port_t* port = &io.port[VOTER_PORT]
    cdef int size
    if port.fd < 0 or port.out_size:
        return
    size = arbiter_repeat(rt, port.out)
    if size <= 0:
        size = arbiter_query(rt, rt_now(), port.out)
    if size > 0:
        port.out_at, port.out_size, port.out_until_ns = 0, size, rt_now() + rt.settings.third_grant_ns
        flush(rt, io, VOTER_PORT)


cdef void read_rest(rt_t* rt, io_t* io) noexcept nogil:
    """Ports whose last round ended at its bound, or that were plugged in just now."""
    cdef int i
    for i in range(PORTS):
        if io.port[i].unread and io.port[i].fd >= 0:
            read_tty(rt, io, i, 0)


cdef void begin(rt_t* rt, io_t* io) noexcept nogil:
    cdef int i
    rt_name_thread(b"tb-tty" if io == &rt.tty else b"tb-udp")
    rt_prefault_stack()
    if rt.fifo:
        io.sched_error = -rt_fifo(io.priority)
    rt_epoll_add_edge(io.ep, io.bell, TAG_BELL)
    rt_store_i(&io.stamp_ns, rt_now())
    rt_store(&io.running, 1)


cdef void loop(rt_t* rt, io_t* io, int serial) noexcept nogil:
    cdef uint64_t tags[BATCH]
    cdef uint32_t events[BATCH]
    cdef rt_breath_t breath
    cdef int64_t before_ns, after_ns
    cdef int i, n, waiting
    breath.window_ns, breath.waited_ns = rt_now(), 0
    begin(rt, io)
    while not rt_load(&io.stop):
        waiting = pending(io)
        before_ns = rt_now()
        rt_store_i(&io.stamp_ns, before_ns)
        n = rt_epoll_wait(io.ep, tags, events, BATCH, wait_ms_of(io, waiting))
        after_ns = rt_now()
        rt_store_i(&io.stamp_ns, after_ns)
        if serial:
            read_rest(rt, io)
        take_changes(rt, io)
        if serial:
            send_tty(rt, io)
        else:
            send_udp(rt, io)
        for i in range(n):
            if tags[i] < PORTS and io.port[tags[i]].fd >= 0:
                if serial:
                    read_tty(rt, io, <int>tags[i], events[i])
                else:
                    read_udp(rt, io, <int>tags[i], events[i])
        if waiting:
            for i in range(PORTS):
                flush(rt, io, i)
        if serial and rt_load(&rt.arbiter.here):
            serve_arbiter(rt, io)
        io.spins += rt_breathe(&breath, before_ns, after_ns, BREATH_NS)
    rt_store(&io.running, 0)


cdef void* tty_body(void* arg) noexcept nogil:
    cdef rt_t* rt = <rt_t*>arg
    loop(rt, &rt.tty, 1)
    return NULL


cdef void* udp_body(void* arg) noexcept nogil:
    cdef rt_t* rt = <rt_t*>arg
    loop(rt, &rt.udp, 0)
    return NULL
