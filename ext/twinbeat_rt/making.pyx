"""What the threads need before they start, made and given back in one place."""
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport calloc

import os

from twinbeat_core.machine cimport core_init, core_snapshot_size
from twinbeat_core.state cimport core_t
from twinbeat_rt.shared cimport PORTS
from twinbeat_rt.sysapi cimport rt_bell_new, rt_epoll_new, rt_pty_pair, rt_timer_new
from twinbeat_rt.worker cimport rt_t

from .gate import GateError

cdef enum:
    LEAST_RECORD_BYTES = 65536


cdef make_core(rt_t* rt, int record_bytes):
    """The core, room for its snapshots and the recorder's ring."""
    cdef int size
    rt.core = <core_t*>calloc(1, sizeof(core_t))
    core_init(rt.core, &rt.settings)
    size = core_snapshot_size(rt.core)
    rt.view = <uint8_t*>calloc(1, size)
    rt.rec.state = <uint8_t*>calloc(1, size)
    # A snapshot is written now and then; the ring must hold several, with events between them.
    rt.rec.cap = max(record_bytes, LEAST_RECORD_BYTES, 8 * size) & ~7
    rt.rec.ring = <uint8_t*>calloc(1, rt.rec.cap)


cdef list make_descriptors(rt_t* rt):
    """Timers, bells, epoll sets and the canary's pty. Warnings for what is missing; GateError when nothing goes."""
    warnings = []
    cdef int master = -1
    cdef int slave = -1
    rt.timer, rt.wake, rt.notify, rt.ep = (
        rt_timer_new(), rt_bell_new(), rt_bell_new(), rt_epoll_new())
    rt.tty.bell, rt.udp.bell = rt_bell_new(), rt_bell_new()
    rt.tty.ep, rt.udp.ep = rt_epoll_new(), rt_epoll_new()
    if min(rt.timer, rt.wake, rt.notify, rt.ep, rt.tty.ep, rt.udp.ep) < 0:
        raise GateError("no descriptors left for the real-time part: raise the limit of open files")
    if rt_pty_pair(&master, &slave) < 0:
        master = slave = -1
        warnings.append(
            "no pty could be opened: lateness of the kernel's tty worker is not watched (mount /dev/pts)")
    rt.canary.master, rt.canary.slave = master, slave
    return warnings


cdef make_threads_known(rt_t* rt):
    """Priorities, empty ports, and from which lateness on silence proves nothing: the shortest period."""
    cdef int i
    cdef int64_t shortest = 1000000000
    rt.tty.priority = rt.udp.priority = 55
    for i in range(PORTS):
        rt.tty.port[i].fd = rt.udp.port[i].fd = -1
    for i in range(rt.settings.link_count):
        shortest = min(shortest, rt.settings.link[i].period_ns)
    rt.late_limit_ns = shortest
    # A wait of exactly one period would end at the same moment as the bell of the next beat: two wake-ups for one.
    cdef int wait_ms = <int>max(2, (shortest * 13 + 9999999) // 10000000)
    rt.tty.wait_ms = rt.udp.wait_ms = wait_ms
    rt.tty.tick_ns = rt.udp.tick_ns = <int64_t>wait_ms * 1000000 - shortest * 3 // 10


cdef close_descriptors(rt_t* rt):
    """Everything that `make_descriptors` opened, and the ports."""
    cdef int i
    fds = [rt.timer, rt.wake, rt.notify, rt.ep, rt.tty.bell, rt.udp.bell,
           rt.tty.ep, rt.udp.ep, rt.canary.master, rt.canary.slave]
    for i in range(PORTS):
        fds += [rt.tty.port[i].fd, rt.udp.port[i].fd]
        rt.tty.port[i].fd = rt.udp.port[i].fd = -1
    for fd in fds:
        if fd >= 0:
            os.close(fd)
