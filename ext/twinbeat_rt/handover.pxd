from twinbeat_rt.shared cimport setup_t
from twinbeat_rt.worker cimport port_change_t, rt_t

cdef fill_output(setup_t* message, object output, int group_count)
cdef fill_port(port_change_t* change, setup_t* message, int link, int fd, int family, list peers)
cdef fill_identity(setup_t* message, const rt_t* rt)
