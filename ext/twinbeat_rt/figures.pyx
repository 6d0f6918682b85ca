"""Counters, histograms and scheduling facts of the real-time part as plain data."""

from twinbeat_core.model cimport LINK_SERIAL, LINK_UDP
from twinbeat_rt.arbiter cimport arbiter_figures
from twinbeat_rt.shared cimport LATE_BUCKETS, histogram_t, shared_t
from twinbeat_rt.sysapi cimport rt_load
from twinbeat_rt.worker cimport link_count_t, rt_t


cdef dict histogram(const histogram_t* h):
    """`below_us` maps a bound to the number of cases below it and not below the bound before."""
    return {
        "count": h.count,
        "max_us": h.max_ns // 1000,
        "below_us": {1 << i: h.bucket[i] for i in range(LATE_BUCKETS) if h.bucket[i]},
    }


cdef dict link_figures(rt_t* rt, int link):
    cdef link_count_t* c = &rt.count[link]
    cdef bint attached = True
    if rt.settings.link[link].kind == LINK_SERIAL:
        attached = rt.tty.port[link].fd >= 0
    elif rt.settings.link[link].kind == LINK_UDP:
        attached = rt.udp.port[link].fd >= 0
    return {
        "link": link, "attached": attached, "rx_frames": c.rx_frames, "rx_bytes": c.rx_bytes, "bad_tag": c.bad_tag,
        "bad_form": c.bad_form, "other_pair": c.other_pair, "other_version": c.other_version, "short": c.short_frames,
        "noise": c.noise, "stranger": c.stranger, "tx_frames": c.tx_frames, "tx_dropped": c.tx_dropped,
        "tx_errors": c.tx_errors, "faults": c.faults,
    }


cdef dict rings(rt_t* rt):
    return {
        "tty_rx": rt.tty.rx.lost, "tty_tx": rt.tty.tx.lost, "udp_rx": rt.udp.rx.lost, "udp_tx": rt.udp.tx.lost,
        "python_frames": rt.heard.lost, "python_events": rt.event.lost, "notes": rt.note.lost, "sends": rt.send.lost,
        "gate_answers": rt_load(&rt.page.answers_lost), "effects": rt.effects_dropped,
    }


cdef dict gate_figures(const shared_t* page):
    return {
        "wakeups": page.wakeups, "spins": page.spins, "writes": page.writes, "write_retries": page.write_retries,
        "write_errors": page.write_errors, "drops_expired": page.drops_expired,
        "refused_expired": page.refused_expired, "drop_late": histogram(&page.drop_late),
        "look_late": histogram(&page.look_late),
    }


cdef dict figures_of(rt_t* rt):
    """All figures, read without stopping anything: neighbouring figures may be one event apart."""
    return {
        "links": [link_figures(rt, i) for i in range(rt.settings.link_count)],
        "lost": rings(rt),
        "decider": {
            "steps": rt.steps, "wakeups": rt.wakeups, "spins": rt.spins, "late_events": rt.late_events,
            "extends_refused": rt.extends_refused, "late": histogram(&rt.late), "zombie": bool(rt.zombie),
        },
        "arbiter": arbiter_figures(rt) if rt.arbiter.here else None,
        "canary": histogram(&rt.canary.late),
        "gate": gate_figures(rt.page),
        "levels": [rt_load(&rt.page.level[i]) == 1 for i in range(rt.settings.group_count)],
        "scheduling": {
            "decider_errno": rt.sched_error, "tty_errno": rt.tty.sched_error, "udp_errno": rt.udp.sched_error,
            "own_table_errno": rt.unshare_error, "gate_gone": bool(rt.gate_gone),
            "tty_breaths": rt.tty.spins, "udp_breaths": rt.udp.spins,
        },
        "recorder": {"bytes": min(rt_load(&rt.rec.head), rt.rec.cap), "capacity": rt.rec.cap},
    }
