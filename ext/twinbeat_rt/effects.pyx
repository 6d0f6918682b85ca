"""Carries out what the core decided: frames to the threads and to Python, orders to the gate, reports to Python."""
from libc.stdint cimport int32_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from twinbeat_core.model cimport (
    DRIVE_EXTEND, DRIVE_ON, FX_ASK, FX_DRIVE, FX_PERSIST, FX_RETURN, FX_SEND, LINK_SERIAL, LINK_UDP, MAX_LINKS,
    effect_t,
)
from twinbeat_core.codec cimport MAX_FRAME, MAX_WIRE, serial_wrap, wire_encode
from twinbeat_rt.arbiter cimport arbiter_collect
from twinbeat_rt.shared cimport VOTER_PORT, order_t
from twinbeat_rt.sysapi cimport rt_load_i, rt_now, rt_ring_bell, rt_store, rt_store_i
from twinbeat_rt.worker cimport (
    NOTE_ASK, NOTE_DRIVE, NOTE_EFFECTS_LOST, NOTE_PERSIST, NOTE_REPORT, NOTE_RETURN, NOTE_SLOTS, SEND_SLOTS, TX_SLOTS,
    io_t, note_t, packet_t, ring_full, ring_put, rt_t,
)


cdef note_t* new_note(rt_t* rt, uint8_t kind) noexcept nogil:
    """A free slot for Python, or NULL: the ring is full, and that is counted."""
    cdef note_t* note
    if ring_full(&rt.note, NOTE_SLOTS):
        return NULL
    note = &rt.note_slot[rt.note.head % NOTE_SLOTS]
    memset(note, 0, sizeof(note_t))
    note.kind = kind
    note.at_ns = rt_now()
    return note


cdef void put_note(rt_t* rt) noexcept nogil:
    """`ring_due` wakes Python: a bell for each of many groups would cost more than what it tells."""
    ring_put(&rt.note)
    rt.notify_due = 1


cdef inline void ring_gate(rt_t* rt) noexcept nogil:
    if rt.gate_due:
        rt.gate_due = 0
        rt_ring_bell(rt.gate_bell)


cdef void ring_due(rt_t* rt) noexcept nogil:
    """Wake whoever has something new, the gate first."""
    ring_gate(rt)
    if rt.notify_due:
        rt.notify_due = 0
        rt_ring_bell(rt.notify)


cdef void to_thread(rt_t* rt, io_t* io, int link, uint8_t* bare, int size) noexcept nogil:
    cdef packet_t* packet
    cdef int i
    if ring_full(&io.tx, TX_SLOTS):
        return
    packet = &io.tx_slot[io.tx.head % TX_SLOTS]
    packet.link = link
    packet.at_ns = rt_now()
    packet.good_until_ns = packet.at_ns + rt.settings.link[link].period_ns
    if io == &rt.tty:
        packet.size = serial_wrap(bare, size, packet.data, MAX_WIRE)
        if packet.size < 0:
            return
    else:
        packet.size = size
        for i in range(size):
            packet.data[i] = bare[i]
    ring_put(&io.tx)
    rt_ring_bell(io.bell)


cdef void to_arbiter(rt_t* rt, uint8_t* body, int32_t* size, bint keeps) noexcept nogil:
    """A frame of asks or returns to the tty thread, which adds what it heard last.

    Where the ring is full a return waits for the next step (`keeps`): it is not repeated. An ask is.
    """
    cdef packet_t* packet
    if size[0] == 0:
        return
    if ring_full(&rt.tty.tx, TX_SLOTS):
        if keeps:
            return
    else:
        packet = &rt.tty.tx_slot[rt.tty.tx.head % TX_SLOTS]
        packet.link, packet.size, packet.at_ns = VOTER_PORT, size[0], rt_now()
        packet.good_until_ns = packet.at_ns + rt.settings.third_grant_ns
        memcpy(packet.data, body, size[0])
        ring_put(&rt.tty.tx)
        rt_ring_bell(rt.tty.bell)
    size[0] = 0


cdef void to_python(rt_t* rt, int link, uint8_t* bare, int size) noexcept nogil:
    cdef packet_t* packet
    cdef int i
    if ring_full(&rt.send, SEND_SLOTS):
        return
    packet = &rt.send_slot[rt.send.head % SEND_SLOTS]
    packet.link, packet.size, packet.at_ns = link, size, rt_now()
    for i in range(size):
        packet.data[i] = bare[i]
    ring_put(&rt.send)
    rt.notify_due = 1


cdef void send(rt_t* rt, int mask) noexcept nogil:
    cdef uint8_t bare[MAX_FRAME]
    cdef int link, size, i
    for i in range(rt.fx.frame.echo_count):  # the gate addresses its notice to these incarnations
        rt_store(&rt.page.echo_incarnation[rt.fx.frame.echo[i].node], rt.fx.frame.echo[i].incarnation)
    for link in range(MAX_LINKS):
        if not (mask >> link) & 1:
            continue
        size = wire_encode(&rt.fx.frame, rt.fx.link_seq[link], rt.key, bare, MAX_FRAME)
        if size <= 0:
            rt.effects_dropped += 1
            continue
        rt_store(&rt.page.link_seq[link], rt.fx.link_seq[link])
        if rt.settings.link[link].kind == LINK_SERIAL:
            to_thread(rt, &rt.tty, link, bare, size)
        elif rt.settings.link[link].kind == LINK_UDP:
            to_thread(rt, &rt.udp, link, bare, size)
        else:
            to_python(rt, link, bare, size)


cdef void drive(rt_t* rt, effect_t* fx) noexcept nogil:
    """One order to the gate. A renewal is only stored: the gate looks by itself when the old deadline comes."""
    cdef order_t* order = &rt.page.order[fx.group]
    cdef uint64_t number
    cdef note_t* note
    if fx.code == DRIVE_EXTEND:
        if rt_load_i(&order.deadline_ns) <= rt_now():
            rt.extends_refused += 1      # what has expired is claimed anew, never renewed
        elif fx.value > rt_load_i(&order.deadline_ns):
            rt_store_i(&order.deadline_ns, fx.value)
        return
    number = rt.order_number[fx.group] + 1
    rt.order_number[fx.group] = number
    if fx.code == DRIVE_ON:
        rt_store_i(&order.deadline_ns, fx.value)
    else:
        rt_store(&order.last_off, number)
    rt_store(&order.epoch, fx.epoch)
    rt_store(&order.request, number * 2 + (fx.code == DRIVE_ON))
    rt.gate_due = 1
    note = new_note(rt, NOTE_DRIVE)
    if note != NULL:
        note.group, note.epoch, note.code = fx.group, fx.epoch, fx.code
        put_note(rt)


cdef void tell(rt_t* rt, effect_t* fx) noexcept nogil:
    cdef uint8_t kind = NOTE_REPORT
    cdef note_t* note
    if fx.kind == FX_PERSIST:
        kind = NOTE_PERSIST
    elif fx.kind == FX_ASK:
        kind = NOTE_ASK
    elif fx.kind == FX_RETURN:
        kind = NOTE_RETURN
    note = new_note(rt, kind)
    if note == NULL:
        return
    note.code, note.group, note.node, note.link = fx.code, fx.group, fx.node, fx.link
    note.epoch, note.value, note.extra, note.stamp = fx.epoch, fx.value, fx.extra, fx.stamp
    put_note(rt)


cdef void carry_out(rt_t* rt) noexcept nogil:
    """All effects of one step, in order."""
    cdef effect_t* fx
    cdef int i
    for i in range(rt.fx.count):
        fx = &rt.fx.item[i]
        if fx.kind == FX_SEND:
            ring_gate(rt)                # outputs before frames: encoding many groups takes a while
            send(rt, <int>fx.value)
        elif fx.kind == FX_DRIVE:
            drive(rt, fx)
        elif rt.arbiter.here and (fx.kind == FX_ASK or fx.kind == FX_RETURN):
            arbiter_collect(rt, fx)
        else:
            tell(rt, fx)
    to_arbiter(rt, rt.arbiter.back, &rt.arbiter.return_bytes, True)
    to_arbiter(rt, rt.arbiter.ask, &rt.arbiter.ask_bytes, False)
    if rt.fx.dropped:
        rt.effects_dropped += rt.fx.dropped
        if new_note(rt, NOTE_EFFECTS_LOST) != NULL:
            put_note(rt)
    ring_due(rt)
