from twinbeat_core.model cimport effects_t, event_t
from twinbeat_core.settings cimport CoreSettings
from twinbeat_core.state cimport core_t

cdef int fill_event(object event, event_t* out) except -1


cdef class Failover:
    cdef core_t* core
    cdef effects_t* effects
    cdef event_t* event
    cdef readonly CoreSettings settings
