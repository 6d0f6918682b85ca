"""Linux calls as the loops use them (rt_sys.h). Negative values are -errno."""
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "rt_sys.h" nogil:
    ctypedef struct sockaddr_storage "struct sockaddr_storage":
        pass
    ctypedef unsigned long pthread_t
    enum:
        AF_INET
        AF_INET6
        EAGAIN
        EPIPE
        EPOLLIN
        EPOLLERR
        EPOLLHUP
        EIO
        ECANCELED
        ENODEV
    const int64_t RT_NEVER

    uint64_t rt_load(const uint64_t* p)
    void rt_store(uint64_t* p, uint64_t v)
    int64_t rt_load_i(const int64_t* p)
    void rt_store_i(int64_t* p, int64_t v)
    void rt_add(uint64_t* p, uint64_t v)
    void rt_fence()

    int64_t rt_now()
    void rt_sleep_ns(int64_t ns)

    int rt_timer_new()
    void rt_timer_set(int fd, int64_t at_ns)
    int rt_bell_new()
    void rt_ring_bell(int fd)
    void rt_drain8(int fd)
    int rt_epoll_new()
    int rt_epoll_add(int ep, int fd, uint64_t tag)
    int rt_epoll_add_edge(int ep, int fd, uint64_t tag)
    void rt_epoll_del(int ep, int fd)
    int rt_epoll_wait(int ep, uint64_t* tags, uint32_t* events, int cap, int timeout_ms)
    int rt_pidfd(int pid)
    int rt_write(int fd, const void* data, int size)
    int rt_read(int fd, void* data, int size)
    void rt_nonblock(int fd)
    int rt_queued_out(int fd)
    void rt_close_all_but(const int* keep, int count)
    int rt_send_fd(int sock, const void* data, int size, int fd)
    int rt_recv_fd(int sock, void* data, int size, int* fd)

    int rt_fifo(int priority)
    int rt_lock_memory()
    void rt_prefault_stack()
    int rt_thread(pthread_t* t, void* (*body)(void*) noexcept nogil, void* arg)
    int pthread_join(pthread_t t, void** result)
    void rt_one_heap()
    void rt_trim_heap()
    void rt_name_thread(const char* name)
    ctypedef struct rt_breath_t:
        int64_t window_ns
        int64_t waited_ns
    int rt_breathe(rt_breath_t* b, int64_t before_ns, int64_t after_ns, int64_t sleep_ns)
    int rt_limit_rt_time(int64_t us)

    int rt_address(const char* host, int port, int family, sockaddr_storage* out)
    int rt_same_address(const sockaddr_storage* x, const sockaddr_storage* y)
    int rt_send_to(int fd, const void* data, int size, const sockaddr_storage* to, int to_size)
    int rt_recv_from(int fd, void* data, int size, sockaddr_storage* sender)

    int rt_unshare_files()
    int rt_memfd(const char* name)
    void* rt_map_shared(int fd, size_t size)
    void* rt_map_private(size_t size)
    void rt_tty_block_empty(int fd)
    int rt_pty_pair(int* master, int* slave)
    int rt_wait_in(int fd, int timeout_ms)
    int pipe2(int* ends, int flags)
    enum:
        O_CLOEXEC
        O_NONBLOCK
        SOCK_SEQPACKET
        SOCK_CLOEXEC
        AF_UNIX
    void rt_exit "_exit"(int status)
    int rt_close "close"(int fd)
    int socketpair(int family, int kind, int protocol, int* ends)

cdef extern from "rt_gate.h" nogil:
    int rt_gpio_set(int fd, uint64_t mask, uint64_t bits)
    int rt_gpio_get(int fd, uint64_t mask, uint64_t* bits)
    int rt_death_signal_fd(int ep, uint64_t tag)
    int rt_death_signal_read(int fd, int agent)
    int rt_fork_quiet()
    int rt_become_gate(int agent)
    int rt_spawn(char** argv, int* pid)
