from libc.stdint cimport int64_t, uint8_t

from twinbeat_core.model cimport event_t
from twinbeat_core.state cimport core_t, path_t, peer_t

cdef inline bint joins(const core_t* core, int link, int node) noexcept nogil:
    return (core.cfg.own_links >> link) & 1 and (core.cfg.link[link].nodes_mask >> node) & 1

cdef bint path_fresh(const core_t* core, int node, int link, int64_t within_ns) noexcept nogil
cdef int64_t lost_after(const core_t* core, int node, int link) noexcept nogil
cdef uint8_t hears_mask(const core_t* core, int node) noexcept nogil
cdef void measure_loss(core_t* core, path_t* path, uint8_t seq) noexcept nogil
cdef void measure_gap(core_t* core, path_t* path, peer_t* peer, const event_t* ev) noexcept nogil
cdef int64_t offered_over(const core_t* core, path_t* path, int link) noexcept nogil
cdef int link_of_beat(const core_t* core, int node, int arrived_on) noexcept nogil
cdef uint8_t other_ways(const core_t* core, int node, int arrived_on) noexcept nogil
cdef void watch_path(core_t* core, int node, int link) noexcept nogil
