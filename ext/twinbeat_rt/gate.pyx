"""The gate: the small process that alone holds the outputs. Fork it before anything heavy is imported.

The worker may be killed, frozen or out of memory: the gate drops every output by itself, at the deadline or at
the first sign of death, and tells the peer.
"""
from libc.stdint cimport uint32_t
from libc.string cimport memset

from twinbeat_core.errors import TwinbeatError
from twinbeat_rt.gateloop cimport gate_main
from twinbeat_rt.shared cimport SETUP_END, SETUP_HOLD, setup_answer_t, setup_t, shared_t
from twinbeat_rt.sysapi cimport (
    AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, rt_bell_new, rt_close, rt_fork_quiet, rt_load, rt_map_shared, rt_memfd,
    rt_pidfd, rt_recv_fd, rt_send_fd, rt_store, rt_wait_in, socketpair,
)

import os
from _thread import allocate_lock

cdef enum:
    ANSWER_MS = 5000         # a gate on a starved machine may take long; past this it is gone


class GateError(TwinbeatError):
    """The gate could not be made, or no longer answers."""

    exit_code = 5


cdef class Gate:
    """The agent's end of the gate process: its pid, whether it lives, what it holds. Made by `fork_gate`."""

    def __cinit__(self):
        self.page = NULL
        self.lock = allocate_lock()
        self.socket_fd = self.bell_fd = self.answer_bell_fd = self.pid_fd = -1

    def alive(self) -> bool:
        """False once the gate process has ended (and it is reaped then)."""
        if self.reaped or self.pid_fd < 0:
            return False
        if not rt_wait_in(self.pid_fd, 0):
            return True
        self._reap()
        return False

    def hold_fd(self, int fd) -> None:
        """Let the gate keep this descriptor open until it ends.

        A lock taken with flock on it stays held while the gate lives, so that no second agent starts
        beside an old gate. Raises GateError.
        """
        cdef setup_t message
        cdef setup_answer_t answer
        memset(&message, 0, sizeof(setup_t))
        message.kind = SETUP_HOLD
        answer = self.ask(&message, fd)
        if answer.error:
            raise GateError(f"the gate cannot hold descriptor {fd}: {os.strerror(answer.error)}")

    def end(self, int timeout_ms=2000) -> bool:
        """Planned end: outputs go to their exit level, no notice is sent. True when the process is gone.

        Before the runtime has started this simply ends the gate.
        """
        cdef setup_t message
        if not self.alive():
            return True
        rt_store(&self.page.planned, 1)
        memset(&message, 0, sizeof(setup_t))
        message.kind = SETUP_END
        try:
            self.ask(&message, -1)
        except GateError:
            pass
        return self.wait_end(timeout_ms)

    def wait_end(self, int timeout_ms) -> bool:
        """Wait until the gate has ended by itself. True when the process is gone."""
        cdef int ended
        if self.reaped or self.pid_fd < 0:
            return True
        with nogil:
            ended = rt_wait_in(self.pid_fd, timeout_ms)
        if ended:
            self._reap()
        return bool(ended)

    def death_sign(self) -> int:
        """Which sign of the worker's death the gate saw (0: none): for tests and the status."""
        return <int>rt_load(&self.page.dead)

    cdef setup_answer_t ask(self, setup_t* message, int fd) except *:
        """Send one message and wait for its answer. Raises GateError when the gate does not answer."""
        with self.lock:                  # two threads must not take each other's answers
            return self.ask_alone(message, fd)

    cdef setup_answer_t ask_alone(self, setup_t* message, int fd) except *:
        cdef setup_answer_t answer
        cdef int got = 0
        cdef int ready = 1
        cdef int stray
        memset(&answer, 0, sizeof(setup_answer_t))
        self.serial += 1
        message.serial = self.serial
        if rt_send_fd(self.socket_fd, message, sizeof(setup_t), fd) != sizeof(setup_t):
            raise GateError(f"the gate process (pid {self.pid}) takes no messages: it has ended,"
                            " start the agent anew")
        while ready:
            with nogil:
                ready = rt_wait_in(self.socket_fd, ANSWER_MS)
            got = rt_recv_fd(self.socket_fd, &answer, sizeof(setup_answer_t), &stray)
            if got <= 0:
                break
            if got == sizeof(setup_answer_t) and answer.serial == message.serial:
                return answer
        raise GateError(f"the gate process (pid {self.pid}) does not answer within {ANSWER_MS} ms:"
                        " start the agent anew")

    def _reap(self) -> None:
        self.reaped = True
        try:
            os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            pass


def fork_gate() -> Gate:
    """Fork the gate. Call it first of all: before threads, before heavy imports, from the main thread.

    The gate counts the end of the calling thread as the agent's death. Raises GateError when another thread
    already runs or the kernel refuses what the gate needs (memfd, eventfd, pidfd: Linux 5.4 or newer).
    """
    cdef Gate gate = Gate.__new__(Gate)
    cdef int ends[2]
    cdef int page_fd = rt_memfd(b"twinbeat-gate")
    cdef int agent = os.getpid()
    cdef int pid
    if len(os.listdir("/proc/self/task")) != 1:
        raise GateError("fork_gate was called while other threads run: call it before anything starts a thread")
    if page_fd < 0 or socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0:
        raise GateError("the kernel refuses memfd_create or a socket pair: Linux 5.4 or newer is needed")
    os.ftruncate(page_fd, sizeof(shared_t))
    gate.page = <shared_t*>rt_map_shared(page_fd, sizeof(shared_t))
    os.close(page_fd)
    gate.bell_fd, gate.answer_bell_fd, gate.socket_fd = rt_bell_new(), rt_bell_new(), ends[0]
    if gate.page == NULL or gate.bell_fd < 0 or gate.answer_bell_fd < 0:
        raise GateError("no shared memory or eventfd for the gate: raise the limit of open files")
    pid = rt_fork_quiet()
    if pid == 0:
        gate_main(gate.page, agent, ends[1], gate.bell_fd, gate.answer_bell_fd)
    rt_close(ends[1])
    if pid < 0:
        raise GateError("fork failed: no process or memory left")
    gate.pid = pid
    gate.pid_fd = rt_pidfd(pid)
    if gate.pid_fd < 0:
        raise GateError("pidfd_open is missing: Linux 5.4 or newer is needed")
    return gate
