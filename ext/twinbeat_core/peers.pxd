from twinbeat_core.model cimport echo_t, event_t, frame_t
from twinbeat_core.state cimport core_t

# What a heard frame proved.
cdef enum:
    HEARD_NOTHING = 0      # replayed, old, foreign: proves nothing
    HEARD_ONE_WAY = 1      # fresh, but does not echo this node
    HEARD_PROVEN = 2       # both directions
    HEARD_COPY = 3         # fresh on its link, but another link brought the same or a newer stamp: it renews nothing

cdef const echo_t* echo_of_self(const core_t* core, const frame_t* frame) noexcept nogil
cdef int hear(core_t* core, const event_t* ev) noexcept nogil
