from twinbeat_core.model cimport event_t, frame_t
from twinbeat_core.state cimport core_t

cdef void take_over_targets(core_t* core, const frame_t* frame) noexcept nogil
cdef void hear_death(core_t* core, const frame_t* frame) noexcept nogil
cdef void hear_output(core_t* core, const event_t* ev) noexcept nogil
cdef void command(core_t* core, const event_t* ev) noexcept nogil
cdef void give_unfit(core_t* core) noexcept nogil
cdef void give_gated(core_t* core) noexcept nogil
