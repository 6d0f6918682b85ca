"""A thread of ordinary priority: as long as it is late, silence on a tty proves nothing.

Bytes received on a tty pass an ordinary kernel worker that real-time or heavy load can starve while our own
threads run. The canary ticks, and sends a byte through a private pty pair on each tick: the same worker carries it.
"""
from libc.stdint cimport int64_t, uint8_t

from twinbeat_rt.shared cimport late_add
from twinbeat_rt.sysapi cimport (
    rt_load, rt_load_i, rt_name_thread, rt_now, rt_prefault_stack, rt_read, rt_sleep_ns, rt_store,
    rt_store_i, rt_wait_in, rt_write,
)
from twinbeat_rt.worker cimport canary_t, rt_t

cdef enum:
    TICK_NS = 10000000


cdef int64_t canary_late_ns(rt_t* rt, int64_t now) noexcept nogil:
    """How late ordinary threads, or the kernel's carrying of tty bytes, are at this moment."""
    cdef int64_t late = now - rt_load_i(&rt.canary.tick_ns) - TICK_NS
    cdef int64_t probe = rt_load_i(&rt.canary.probe_ns)
    if rt_load(&rt.canary.running) == 0:
        return 0
    if probe and rt_load(&rt.tty.attached) and now - probe > late:
        late = now - probe
    return late


cdef void wait_tick(canary_t* c, int64_t until_ns) noexcept nogil:
    """Sleep until the next tick, taking the byte from the tty as soon as it comes."""
    cdef uint8_t data[16]
    cdef int64_t left = until_ns - rt_now()
    while left > 0:
        if c.probe_ns == 0 or c.slave < 0:
            rt_sleep_ns(left)
            return
        if rt_wait_in(c.slave, <int>(left // 1000000) + 1) and rt_read(c.slave, data, 16) > 0:
            rt_store_i(&c.probe_ns, 0)
        left = until_ns - rt_now()


cdef void* canary_body(void* arg) noexcept nogil:
    cdef rt_t* rt = <rt_t*>arg
    cdef canary_t* c = &rt.canary
    cdef uint8_t byte = 0x55
    cdef int64_t now
    cdef int64_t due = rt_now()
    rt_name_thread(b"tb-canary")
    rt_prefault_stack()
    rt_store_i(&c.tick_ns, rt_now())
    rt_store(&c.running, 1)
    while not rt_load(&c.stop):
        now = rt_now()
        late_add(&c.late, now - due)
        rt_store_i(&c.tick_ns, now)
        if c.probe_ns == 0 and c.master >= 0:
            rt_store_i(&c.probe_ns, now)
            if rt_write(c.master, &byte, 1) != 1:
                rt_store_i(&c.probe_ns, 0)
        due = now + TICK_NS
        wait_tick(c, due)
    rt_store(&c.running, 0)
    return NULL
