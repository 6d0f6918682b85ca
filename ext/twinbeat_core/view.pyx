"""The core's state as plain data: milliseconds, names of states, lists by index."""
from libc.stdint cimport int64_t

from twinbeat_core.model cimport MAX_VOTERS, NO_NODE
from twinbeat_core.candidates cimport may_drive
from twinbeat_core.paths cimport joins
from twinbeat_core.planned cimport failback_at, held_until
from twinbeat_core.sending cimport version_spoken
from twinbeat_core.silence cimport silence_of
from twinbeat_core.state cimport core_t, group_t, path_t, peer_t

from .model import Cause, State


cdef inline double ms(int64_t ns):
    return round(ns / 1e6, 3)


cdef object left(const core_t* core, int64_t at_ns):
    """Milliseconds from now; None for never and for what has passed."""
    if at_ns <= core.st.now_ns or at_ns - core.st.now_ns > <int64_t>86400 * 1000000000:
        return None
    return ms(at_ns - core.st.now_ns)


cdef dict path_view(const core_t* core, const path_t* path, int link):
    gap = path.gap_ns if path.gap_ns > path.gap_before_ns else path.gap_before_ns
    return {
        "link": link, "up": bool(path.up), "rx_dead": bool(path.rx_dead), "tx_dead": bool(path.tx_dead),
        "silent_ms": ms(core.st.now_ns - path.heard_ns) if path.heard_ns else None,
        "loss_percent": round(path.loss_1024 / 10.24, 1), "gap_max_ms": ms(gap), "grant_ms": ms(path.grant_ns),
        "late_frames": path.late_frames,
    }


cdef dict peer_view(const core_t* core, int node):
    cdef const peer_t* peer = &core.st.peer[node]
    cdef int i
    return {
        "node": node, "known": bool(peer.known), "dead": bool(peer.dead), "incarnation": peer.incarnation,
        "silent_ms": ms(silence_of(core, node)), "heard": bool(peer.heard_ns), "flags": peer.flags,
        "proven_ms": ms(core.st.now_ns - peer.proven_ns) if peer.proven_ns else None,
        "version_max": peer.version_max, "health": peer.health, "load": peer.load, "suspect": bool(peer.suspect),
        "silent": bool(peer.silent),
        "config_mismatch": bool(peer.mismatch), "version_mismatch": bool(peer.stranger), "grant_ms": peer.grant_ms,
        "rows": [{"state": State(peer.row[i].state).name, "vote": peer.row[i].vote, "epoch": peer.row[i].epoch}
                 for i in range(core.cfg.group_count)],
        "paths": [path_view(core, &peer.path[i], i) for i in range(core.cfg.link_count) if joins(core, i, node)],
    }


cdef dict group_view(const core_t* core, int g):
    cdef const group_t* grp = &core.st.group[g]
    cdef int i
    holder = None if grp.promise.holder == NO_NODE else grp.promise.holder
    return {
        "group": g, "state": State(grp.state).name, "cause": Cause(grp.cause).name, "epoch": grp.epoch,
        "floor": grp.floor, "seen": grp.seen, "bars": grp.bars, "alone": bool(grp.alone),
        "may_drive": bool(may_drive(core, g, core.cfg.self_node)), "changes": grp.changes,
        "hold_down_ms": left(core, held_until(core, g)) if held_until(core, g) else 0.0,
        "failback_in_ms": max(0.0, left(core, failback_at(core, g)) or 0.0) if failback_at(core, g) else None,
        "preparing": None if grp.asked == NO_NODE else grp.asked,
        "since_ms": ms(core.st.now_ns - grp.since_ns), "authority_ms": left(core, grp.auth_until_ns),
        "promise": {"holder": holder, "epoch": grp.promise.epoch, "left_ms": left(core, grp.promise.expiry_ns)},
        "votes": {i: left(core, grp.vote[i].until_ns) for i in range(MAX_VOTERS)
                  if grp.epoch and grp.vote[i].epoch == grp.epoch},
    }


cdef dict view_of(const core_t* core):
    cdef int i
    return {
        "now_ns": core.st.now_ns, "node": core.cfg.self_node, "incarnation": core.st.incarnation,
        "started_ms": ms(core.st.now_ns - core.st.started_ns), "ceiling": core.st.ceiling,
        "version": version_spoken(core), "fit": bool(core.st.fit), "health": core.st.health, "load": core.st.load,
        "stopping": bool(core.st.stopping),
        "self_frames": core.st.self_frames, "illegal": core.st.illegal, "grant_max_ms": ms(core.cfg.grant_max_ns),
        "deadline_ms": left(core, core.st.deadline_ns),
        "groups": [group_view(core, i) for i in range(core.cfg.group_count)],
        "peers": [peer_view(core, i) for i in range(core.cfg.node_count) if i != core.cfg.self_node],
    }
