from libc.stdint cimport int64_t, uint8_t

from twinbeat_core.model cimport event_t, frame_t
from twinbeat_core.state cimport core_t

# What a heard frame proved.
cdef enum:
    HEARD_NOTHING = 0      # replayed, old, foreign: proves nothing
    HEARD_ONE_WAY = 1      # fresh, but does not echo this node
    HEARD_PROVEN = 2       # both directions

cdef int hear(core_t* core, const event_t* ev) noexcept nogil
cdef int fastest_link(const core_t* core) noexcept nogil
cdef bint path_fresh(const core_t* core, int node, int link, int64_t within_ns) noexcept nogil
cdef uint8_t hears_mask(const core_t* core, int node) noexcept nogil
cdef int64_t silence_of(const core_t* core, int node) noexcept nogil
cdef bint is_alone(const core_t* core) noexcept nogil
cdef void watch_links(core_t* core) noexcept nogil
cdef void doubt_self(core_t* core, int64_t grace_ns) noexcept nogil
cdef int64_t peers_deadline(const core_t* core) noexcept nogil
