"""The worker's face to Python: starts the real-time threads, hands descriptors over, passes messages both ways."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import os
import socket

from twinbeat_core.failover cimport fill_event
from twinbeat_core.machine cimport core_snapshot, core_snapshot_size
from twinbeat_core.model cimport EV_START, KEY_BYTES, LINK_SERIAL, LINK_UDP, event_t
from twinbeat_core.settings cimport CoreSettings
from twinbeat_core.votewire cimport VOTE_ROWS
from twinbeat_rt.canary cimport canary_body
from twinbeat_rt.decider cimport decider_body
from twinbeat_rt.figures cimport figures_of
from twinbeat_rt.gate cimport Gate
from twinbeat_rt.handover cimport fill_identity, fill_output, fill_port
from twinbeat_rt.inbox cimport translate
from twinbeat_rt.making cimport close_descriptors, make_core, make_descriptors, make_threads_known
from twinbeat_rt.ports cimport read_frame, tty_body, udp_body
from twinbeat_rt.recorder cimport take_bytes
from twinbeat_rt.shared cimport (
    LINK_VOTER, MAX_PEERS, PORTS, SETUP_LINK, SETUP_REALTIME, SETUP_SAFE, VOTER_PORT, setup_answer_t, setup_t,
)
from twinbeat_rt.sysapi cimport (
    pthread_join, rt_drain8, rt_limit_rt_time, rt_load, rt_lock_memory, rt_now, rt_ring_bell, rt_sleep_ns, rt_store,
    rt_one_heap, rt_store_i, rt_thread, rt_trim_heap,
)
from twinbeat_rt.worker cimport (
    EVENT_SLOTS, NOTE_SLOTS, PORT_SLOTS, RX_SLOTS, SEND_SLOTS, heard_t, io_t, note_t, packet_t, port_change_t,
    ring_empty, ring_full, ring_put, ring_take, rt_t,
)

from twinbeat_core.failover import view_state

from .advice import memory_may_be_locked, scheduling_warnings
from .gate import GateError
from .messages import SendFrame, SerialFault, Warned
from .recording import write_recording

cdef enum:
    START_WAIT_MS = 3000
    ANSWER_WAIT_MS = 1000
    FLUSH_MS = 30
    FAULT_END_MS = 2000          # the gate's own end after a fault: outputs off, release time, notices
    RT_TIME_US = 1000000         # a real-time thread that never sleeps for this long is broken: the kernel ends us


cdef class Runtime:
    """The real-time part of one agent. Methods are called from Python threads and never block for long.

    `zombie_ms`: without `heartbeat()` for this long the node counts as unfit (0: never). `record_bytes`: size of
    the flight recorder's ring. Raises GateError when the gate does not answer, ValueError for a wrong key length.
    """

    cdef rt_t* rt
    cdef Gate gate
    cdef readonly CoreSettings settings
    cdef readonly int notify_fd
    cdef list early_warnings
    cdef bint lock_memory, started, stopped, outputs_set
    cdef uint64_t seen_fault[PORTS]

    def __cinit__(self, Gate gate not None, CoreSettings settings not None, bytes key not None, *, bint fifo=True,
                  bint lock_memory=True, int zombie_ms=2000, int record_bytes=4 << 20):
        if len(key) != KEY_BYTES:
            raise ValueError(f"key of {len(key)} bytes; {KEY_BYTES} are needed")
        rt_one_heap()
        self.gate, self.settings, self.lock_memory = gate, settings, lock_memory
        self.rt = <rt_t*>calloc(1, sizeof(rt_t))
        if self.rt == NULL:
            raise MemoryError("no memory for the real-time part")
        self.rt.settings = settings.c
        memcpy(self.rt.key, <const char*>key, KEY_BYTES)
        self.rt.page, self.rt.fifo = gate.page, fifo
        self.rt.zombie_ns = <int64_t>zombie_ms * 1000000
        self.rt.gate_bell, self.rt.answer_bell = gate.bell_fd, gate.answer_bell_fd
        self.rt.gate_socket, self.rt.gate_pidfd = gate.socket_fd, gate.pid_fd
        make_core(self.rt, record_bytes)
        self.early_warnings = make_descriptors(self.rt)
        self.notify_fd = self.rt.notify
        make_threads_known(self.rt)
        self._introduce()

    def __dealloc__(self):
        if self.rt != NULL and (not self.started or self.stopped):
            free(self.rt.core)
            free(self.rt.view)
            free(self.rt.rec.state)
            free(self.rt.rec.ring)
            free(self.rt)

    def _introduce(self):
        cdef setup_t message
        fill_identity(&message, self.rt)
        self.gate.ask(&message, -1)

    # ------------------------------------------------------------ outputs and ports
    def set_outputs(self, outputs) -> None:
        """Hand all outputs (FastOutput) to the gate, which applies the safe level before this returns.

        The caller closes its own copies. Raises GateError naming the output that is refused or cannot be switched.
        """
        cdef setup_t message
        cdef setup_answer_t answer
        if self.outputs_set:
            raise GateError("the outputs were handed over already; a change needs a restart of the agent")
        self.outputs_set = True
        names = [output.name for output in outputs]
        for output in outputs:
            fill_output(&message, output, self.rt.settings.group_count)
            answer = self.gate.ask(&message, output.fd)
            if answer.error:
                raise GateError(f"output {output.name!r}: the gate refuses it: {os.strerror(answer.error)}")
        memset(&message, 0, sizeof(setup_t))
        message.kind = SETUP_SAFE
        answer = self.gate.ask(&message, -1)
        if answer.error:
            name = names[answer.index] if 0 <= answer.index < len(names) else "?"
            text = "read-back disagrees" if answer.error == 10000 else os.strerror(answer.error)
            raise GateError(f"output {name!r} cannot be switched to its safe level: {text}")

    def set_serial(self, int link, int fd) -> None:
        """Give a serial port's descriptor (raw, any speed) to the tty thread, which owns it from now on.

        Also for plugging in again; -1 takes the port away. Raises ValueError for a link that is not serial.
        """
        self._check_link(link, LINK_SERIAL, "serial")
        self._change_port(&self.rt.tty, link, fd, socket.AF_UNSPEC, [])

    def set_arbiter(self, int fd, uint32_t voter, uint16_t grant_ms) -> None:
        """Give the arbiter's port to the tty thread: asks go to it and votes come from it without Python.

        `voter`: the id it must answer with; `grant_ms`: how long a promise is asked for. fd -1 takes the port away.
        Raises ValueError where the configuration has no third voter or too many groups for one frame.
        """
        if not self.rt.settings.third_voter:
            raise ValueError("these settings have no third voter")
        if self.rt.settings.group_count > VOTE_ROWS:
            raise ValueError(f"{self.rt.settings.group_count} groups; an arbiter serves at most {VOTE_ROWS}")
        self.rt.arbiter.voter, self.rt.arbiter.grant_ms = voter, grant_ms
        rt_store(&self.rt.arbiter.here, 1)
        self._change_port(&self.rt.tty, VOTER_PORT, fd, socket.AF_UNSPEC, [])

    def death_notices(self, int node) -> list:
        """The newest death notice of that node's gate on each link as it came, signed; one may be half overwritten."""
        return [(<char*>self.rt.notice[i].data)[:self.rt.notice[i].size] for i in range(self.rt.settings.link_count)
                if self.rt.notice[i].size and self.rt.notice[i].source == node]

    def set_udp(self, int link, int fd, list peers not None) -> None:
        """Give a bound UDP socket and the peers' numeric addresses [(host, port)] to the UDP thread."""
        self._check_link(link, LINK_UDP, "udp")
        if len(peers) > MAX_PEERS:
            raise ValueError(f"link {link}: {len(peers)} peers; at most {MAX_PEERS}")
        family = socket.AF_UNSPEC
        if fd >= 0:
            with socket.socket(fileno=os.dup(fd)) as probe:
                family = probe.family
        self._change_port(&self.rt.udp, link, fd, family, peers)

    def _check_link(self, int link, int kind, str name):
        if not 0 <= link < self.rt.settings.link_count or self.rt.settings.link[link].kind != kind:
            raise ValueError(f"link {link} is no {name} link of this configuration")

    cdef _change_port(self, io_t* io, int link, int fd, int family, list peers):
        cdef port_change_t change
        cdef setup_t message
        fill_port(&change, &message, link, fd, family, peers)
        message.link_kind = LINK_VOTER if link == VOTER_PORT else self.rt.settings.link[link].kind
        self.gate.ask(&message, fd)
        if ring_full(&io.change, PORT_SLOTS):
            raise GateError(f"link {link}: its thread takes no changes")
        io.change_slot[io.change.head % PORT_SLOTS] = change
        ring_put(&io.change)
        rt_ring_bell(io.bell)

    # ------------------------------------------------------------ life
    def start(self, uint32_t incarnation, uint32_t ceiling, bint disk_lost) -> list:
        """Start the threads and the core; warnings in plain words where the system does not permit what is wished.

        `incarnation` must be new at every start and not 0, `ceiling` is the epoch reserved on disk.
        """
        cdef event_t* ev = &self.rt.event_slot[self.rt.event.head % EVENT_SLOTS]
        if self.started:
            raise GateError("the runtime was started already")
        if incarnation == 0:
            raise ValueError("incarnation 0 means nobody; counting starts at 1")
        self.started = True
        gate_errors = self._prepare_gate()
        memory_error = self._lock_memory()
        memset(ev, 0, sizeof(event_t))
        ev.kind, ev.incarnation, ev.epoch, ev.value = EV_START, incarnation, ceiling, disk_lost
        ring_put(&self.rt.event)
        rt_store(&self.rt.page.incarnation, incarnation)
        self.rt.health_code, self.rt.health_value = 1, 100
        self.heartbeat()
        self._start_threads()
        rt_trim_heap()
        return self.early_warnings + scheduling_warnings(
            decider=self.rt.sched_error, receivers=self.rt.tty.sched_error or self.rt.udp.sched_error,
            gate=gate_errors[0], own_table=self.rt.unshare_error, memory=memory_error, gate_memory=gate_errors[1],
            fifo=bool(self.rt.fifo))

    def _prepare_gate(self):
        cdef setup_t message
        cdef setup_answer_t answer
        memset(&message, 0, sizeof(setup_t))
        message.kind, message.fifo, message.lock_memory = SETUP_REALTIME, self.rt.fifo, self.lock_memory
        answer = self.gate.ask(&message, -1)
        return answer.error, answer.second

    def _lock_memory(self):
        if self.rt.fifo:
            rt_limit_rt_time(RT_TIME_US)
        if not self.lock_memory:
            return 0
        return -rt_lock_memory() if memory_may_be_locked() else 1

    def _start_threads(self):
        cdef int64_t until
        kinds = [self.rt.settings.link[i].kind for i in range(self.rt.settings.link_count)]
        cdef bint tty = LINK_SERIAL in kinds or rt_load(&self.rt.arbiter.here)
        cdef bint udp = LINK_UDP in kinds
        cdef int failed = rt_thread(&self.rt.canary.thread, canary_body, self.rt)
        if tty and not failed:
            failed = rt_thread(&self.rt.tty.thread, tty_body, self.rt)
        if udp and not failed:
            failed = rt_thread(&self.rt.udp.thread, udp_body, self.rt)
        if not failed:
            failed = rt_thread(&self.rt.thread, decider_body, self.rt)
        if failed:
            raise GateError(f"a real-time thread could not be started: {os.strerror(-failed)}")
        until = rt_now() + <int64_t>START_WAIT_MS * 1000000
        with nogil:
            while rt_now() < until and not (
                    rt_load(&self.rt.running) and rt_load(&self.rt.canary.running)
                    and (not tty or rt_load(&self.rt.tty.running)) and (not udp or rt_load(&self.rt.udp.running))):
                rt_sleep_ns(200000)
        if not rt_load(&self.rt.running):
            raise GateError(f"the deciding thread did not start within {START_WAIT_MS} ms: the machine is overloaded")

    def stop(self, bint planned=True) -> None:
        """End the threads, then the gate: its outputs go to their exit level. Call after a planned stop is done.

        `planned` False is for an agent that ends because of a fault: the gate drops every output and tells the peer.
        """
        cdef io_t* ios[2]
        cdef int i
        cdef int64_t until
        if self.stopped:
            return
        self.stopped = True
        if planned or not self.started:
            rt_store(&self.rt.page.planned, 1)
        if self.started:
            ios[0], ios[1] = &self.rt.tty, &self.rt.udp
            rt_store(&self.rt.stop, 1)
            rt_ring_bell(self.rt.wake)
            with nogil:
                pthread_join(self.rt.thread, NULL)
                until = rt_now() + <int64_t>FLUSH_MS * 1000000
                for i in range(2):       # the last frames still want to go out
                    while rt_load(&ios[i].running) and rt_now() < until and not ring_empty(&ios[i].tx):
                        rt_sleep_ns(500000)
            self._join(&self.rt.tty)
            self._join(&self.rt.udp)
            rt_store(&self.rt.canary.stop, 1)
            with nogil:
                pthread_join(self.rt.canary.thread, NULL)
        if planned or not self.started or not self.gate.wait_end(FAULT_END_MS):
            self.gate.end()
        close_descriptors(self.rt)
        self.notify_fd = -1

    cdef _join(self, io_t* io):
        if not rt_load(&io.running):
            return
        rt_store(&io.stop, 1)
        rt_ring_bell(io.bell)
        with nogil:
            pthread_join(io.thread, NULL)

    # ------------------------------------------------------------ messages
    def poll(self) -> list:
        """All messages that wait, oldest first within each kind. Never blocks."""
        cdef note_t* note
        cdef packet_t* packet
        out = []
        if self.stopped:
            return out
        rt_drain8(self.rt.notify)
        while not ring_empty(&self.rt.send):
            packet = &self.rt.send_slot[self.rt.send.tail % SEND_SLOTS]
            out.append(SendFrame(packet.link, (<char*>packet.data)[:packet.size], packet.at_ns))
            ring_take(&self.rt.send)
        while not ring_empty(&self.rt.note):
            note = &self.rt.note_slot[self.rt.note.tail % NOTE_SLOTS]
            translate(note, out)
            ring_take(&self.rt.note)
        self._take_faults(out)
        return out

    cdef _take_faults(self, list out):
        cdef int i
        cdef uint64_t now
        cdef setup_t message
        for i in range(PORTS):
            now = rt_load(&self.rt.tty.fault[i])
            if now == self.seen_fault[i]:
                continue
            self.seen_fault[i] = now
            out.append(SerialFault(i, now >> 32))
            memset(&message, 0, sizeof(setup_t))
            message.kind, message.link = SETUP_LINK, i
            message.link_kind = LINK_VOTER if i == VOTER_PORT else LINK_SERIAL
            try:
                self.gate.ask(&message, -1)      # else the gate's copy keeps the device's name in use
            except GateError as error:
                out.append(Warned(str(error)))

    def post(self, event) -> bool:
        """Give an event of `twinbeat_core.events` to the core; its time becomes the moment the decider takes it.

        False: the ring is full, the event is lost and counted (or the runtime does not run).
        """
        cdef event_t* slot
        if not self.started or self.stopped or ring_full(&self.rt.event, EVENT_SLOTS):
            return False
        slot = &self.rt.event_slot[self.rt.event.head % EVENT_SLOTS]
        fill_event(event, slot)
        ring_put(&self.rt.event)
        rt_ring_bell(self.rt.wake)
        return True

    def post_frame(self, int link, bytes data not None, int64_t rx_at_ns) -> bool:
        """A frame that arrived over MQTT. False: refused (and counted by reason) or the ring is full."""
        cdef heard_t* slot
        if not self.started or self.stopped or not 0 <= link < self.rt.settings.link_count:
            return False
        if ring_full(&self.rt.heard, RX_SLOTS):
            return False
        slot = &self.rt.heard_slot[self.rt.heard.head % RX_SLOTS]
        self.rt.count[link].rx_bytes += len(data)
        if not read_frame(self.rt, link, <const uint8_t*><const char*>data, len(data), slot):
            return False
        slot.rx_at_ns = rx_at_ns
        ring_put(&self.rt.heard)
        rt_ring_bell(self.rt.wake)
        return True

    def heartbeat(self) -> None:
        """Python is alive. Call about five times a second from the thread that does the agent's work."""
        rt_store_i(&self.rt.python_ns, rt_now())

    # ------------------------------------------------------------ looking inside
    def view(self) -> dict:
        """The core's state (`core`), counters, histograms of lateness, gate figures, scheduling facts."""
        cdef int size = core_snapshot_size(self.rt.core)
        cdef uint64_t want = self.rt.want_view + 1
        cdef int64_t until
        if self.started and not self.stopped:
            rt_store(&self.rt.want_view, want)
            rt_ring_bell(self.rt.wake)
            until = rt_now() + <int64_t>ANSWER_WAIT_MS * 1000000
            with nogil:
                while rt_load(&self.rt.have_view) < want and rt_now() < until:
                    rt_sleep_ns(100000)
        else:
            core_snapshot(self.rt.core, self.rt.view)
        figures = figures_of(self.rt)
        figures["core"] = view_state(self.settings, (<char*>self.rt.view)[:size])
        figures["gate"]["pid"], figures["gate"]["alive"] = self.gate.pid, self.gate.alive()
        return figures

    def save_recording(self, str path) -> int:
        """Write the flight recorder's ring to a file (whole or not at all); bytes written. OSError as usual."""
        cdef uint64_t begin, head, tail
        cdef int64_t until
        cdef bytearray copy
        cdef char* room
        if self.started and not self.stopped:
            rt_store(&self.rt.rec.want_snapshot, self.rt.rec.want_snapshot + 1)
            rt_ring_bell(self.rt.wake)
            until = rt_now() + <int64_t>ANSWER_WAIT_MS * 1000000
            with nogil:
                while rt_load(&self.rt.rec.have_snapshot) != self.rt.rec.want_snapshot and rt_now() < until:
                    rt_sleep_ns(100000)
        begin, head = rt_load(&self.rt.rec.tail), rt_load(&self.rt.rec.head)
        copy = bytearray(head - begin)   # what was never written is not looked at either
        room = copy
        with nogil:
            take_bytes(&self.rt.rec, begin, room, head - begin)
            tail = rt_load(&self.rt.rec.tail)    # what was overwritten during the copy lies before it
        return write_recording(path, self.settings, memoryview(copy)[min(tail, head) - begin:])
