"""Outputs and ports as messages to the gate and to the threads, checked before anything is handed over."""
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

import os
import socket

from twinbeat_core.model cimport KEY_BYTES
from twinbeat_rt.shared cimport (
    ARGV_BYTES, ARGV_WORDS, OUT_BYTES, OUT_GPIO, OUT_NONE, PATTERN_BYTES, SETUP_IDENTITY, SETUP_LINK, SETUP_OUTPUT,
    setup_t,
)
from twinbeat_rt.sysapi cimport rt_address
from twinbeat_rt.worker cimport port_change_t, rt_t

from .gate import GateError

OUTPUT_KINDS = {"bytes": OUT_BYTES, "gpio": OUT_GPIO, "none": OUT_NONE}


cdef fill_identity(setup_t* message, const rt_t* rt):
    """Who this node is, and how long each group's outputs take to be off."""
    cdef int64_t wait_ns
    cdef int i
    memset(message, 0, sizeof(setup_t))
    message.kind = SETUP_IDENTITY
    message.pair_id, message.config_digest = rt.settings.pair_id, rt.settings.config_digest
    message.self_node, message.node_count = rt.settings.self_node, rt.settings.node_count
    message.group_count = rt.settings.group_count
    memcpy(message.key, rt.key, KEY_BYTES)
    for i in range(rt.settings.group_count):
        wait_ns = max(0, rt.settings.group[i].release_ns - rt.settings.group[i].make_ns)
        # Real time, counted by a clock that may run fast.
        message.wait_ns[i] = wait_ns + (wait_ns * rt.settings.drift_ppm + 999999) // 1000000


cdef fill_output(setup_t* message, object output, int group_count):
    """One FastOutput as the gate's message. Raises GateError naming the output and what does not fit."""
    cdef bytes argv = b"".join(os.fsencode(word) + b"\0" for word in output.stop_argv)
    cdef bytes on = output.on
    cdef bytes off = output.off
    if max(len(on), len(off)) > PATTERN_BYTES:
        raise GateError(f"output {output.name!r}: a pattern has more than {PATTERN_BYTES} bytes")
    if len(argv) > ARGV_BYTES or len(output.stop_argv) > ARGV_WORDS:
        raise GateError(f"output {output.name!r}: the stop command has more than {ARGV_BYTES} bytes or"
                        f" {ARGV_WORDS} words: put it into a script")
    if not 0 <= output.group < group_count:
        raise GateError(f"output {output.name!r}: there is no group {output.group}: groups are 0 to {group_count - 1}")
    memset(message, 0, sizeof(setup_t))
    message.kind, message.group, message.output_kind = SETUP_OUTPUT, output.group, OUTPUT_KINDS[output.kind]
    message.exit_hold, message.readback = output.exit == "hold", output.readback
    message.on_bytes, message.off_bytes, message.argv_words = len(on), len(off), len(output.stop_argv)
    message.gpio_mask, message.gpio_on, message.gpio_off = output.gpio_mask, output.gpio_on, output.gpio_off
    memcpy(message.on, <const char*>on, len(on))
    memcpy(message.off, <const char*>off, len(off))
    memcpy(message.argv, <const char*>argv, len(argv))


cdef fill_port(port_change_t* change, setup_t* message, int link, int fd, int family, list peers):
    """A port for its thread and for the gate's notice. Raises ValueError for an address of another family."""
    cdef int i
    memset(change, 0, sizeof(port_change_t))
    memset(message, 0, sizeof(setup_t))
    change.link, change.fd, change.peer_count = link, fd, len(peers)
    for i, (host, port) in enumerate(peers):
        if family == socket.AF_INET6 and ":" not in host:
            host = "::ffff:" + host
        change.peer_bytes = rt_address(host.encode(), port, family, &change.peer[i])
        if change.peer_bytes < 0:
            raise ValueError(f"link {link}: {host!r} is no numeric address of the socket's family")
    message.kind, message.link = SETUP_LINK, link
    message.peer_count, message.peer_bytes = change.peer_count, change.peer_bytes
    for i in range(change.peer_count):
        message.peer[i] = change.peer[i]
