/* Linux calls of the real-time part in the form the Cython loops want them: static inline, no allocation,
 * negative errno on failure. Nothing in here decides anything. */
#ifndef TWINBEAT_RT_SYS_H
#define TWINBEAT_RT_SYS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SCHED_RESET_ON_FORK
#define SCHED_RESET_ON_FORK 0x40000000
#endif

#define RT_NEVER INT64_MAX

/* ---- atomics: 64 bit, shared between processes; a store of one side is seen whole by the other */
static inline uint64_t rt_load(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static inline void rt_store(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
static inline int64_t rt_load_i(const int64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static inline void rt_store_i(int64_t *p, int64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
static inline void rt_add(uint64_t *p, uint64_t v) { __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
static inline void rt_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

/* ---- clock */
static inline int64_t rt_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
static inline void rt_sleep_ns(int64_t ns) {
    struct timespec t = {ns / 1000000000, ns % 1000000000};
    nanosleep(&t, NULL);
}

/* ---- descriptors */
static inline int rt_timer_new(void) { return timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC); }
static inline void rt_timer_set(int fd, int64_t at_ns) {
    struct itimerspec its;
    memset(&its, 0, sizeof its);
    if (at_ns != RT_NEVER) {
        if (at_ns < 1) at_ns = 1; /* zero would disarm */
        its.it_value.tv_sec = at_ns / 1000000000;
        its.it_value.tv_nsec = at_ns % 1000000000;
    }
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &its, NULL);
}
static inline int rt_bell_new(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }
static inline void rt_ring_bell(int fd) {
    uint64_t one = 1;
    if (fd >= 0 && write(fd, &one, 8) < 0) { /* a full counter is a rung bell */ }
}
static inline void rt_drain8(int fd) {
    uint64_t count;
    if (read(fd, &count, 8) < 0) { /* nothing there: spurious */ }
}
static inline int rt_epoll_new(void) { return epoll_create1(EPOLL_CLOEXEC); }
static inline int rt_epoll_add(int ep, int fd, uint64_t tag) {
    struct epoll_event e;
    memset(&e, 0, sizeof e);
    e.events = EPOLLIN;
    e.data.u64 = tag;
    return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}
/* Reports each ring of a bell and each end of a timer once, without a read in between. */
static inline int rt_epoll_add_edge(int ep, int fd, uint64_t tag) {
    struct epoll_event e;
    memset(&e, 0, sizeof e);
    e.events = EPOLLIN | EPOLLET;
    e.data.u64 = tag;
    return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}
static inline void rt_epoll_del(int ep, int fd) {
    struct epoll_event e;
    memset(&e, 0, sizeof e);
    epoll_ctl(ep, EPOLL_CTL_DEL, fd, &e);
}
/* Tags of the ready descriptors; -EINTR counts as none. timeout_ms -1: for ever. */
static inline int rt_epoll_wait(int ep, uint64_t *tags, uint32_t *events, int cap, int timeout_ms) {
    struct epoll_event e[16];
    int i, n = epoll_wait(ep, e, cap < 16 ? cap : 16, timeout_ms);
    for (i = 0; i < n; i++) {
        tags[i] = e[i].data.u64;
        events[i] = e[i].events;
    }
    return n < 0 ? 0 : n;
}
static inline int rt_pidfd(pid_t pid) {
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0) return -errno;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}
static inline int rt_write(int fd, const void *data, int size) {
    ssize_t n;
    do n = write(fd, data, size); while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int)n;
}
static inline int rt_read(int fd, void *data, int size) {
    ssize_t n;
    do n = read(fd, data, size); while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int)n;
}
static inline void rt_nonblock(int fd) {
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0) fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}
static inline int rt_queued_out(int fd) {
    int n = 0;
    return ioctl(fd, TIOCOUTQ, &n) ? 0 : n;
}
/* Close everything but the `count` descriptors of `keep`, in any order; negative ones are none. */
static inline void rt_close_all_but(const int *keep, int count) {
    unsigned from = 0;
    for (;;) {
        int i, next = -1;
        for (i = 0; i < count; i++)
            if (keep[i] >= 0 && (unsigned)keep[i] >= from && (next < 0 || keep[i] < next)) next = keep[i];
        if (next < 0) break;
        if ((unsigned)next > from) syscall(SYS_close_range, from, (unsigned)next - 1, 0);
        from = (unsigned)next + 1;
    }
    syscall(SYS_close_range, from, ~0u, 0);
}

/* ---- one message with at most one descriptor over a seqpacket socket */
static inline int rt_send_fd(int sock, const void *data, int size, int fd) {
    struct iovec io = {(void *)data, (size_t)size};
    char room[CMSG_SPACE(sizeof(int))];
    struct msghdr m;
    ssize_t n;
    memset(&m, 0, sizeof m);
    memset(room, 0, sizeof room);
    m.msg_iov = &io;
    m.msg_iovlen = 1;
    if (fd >= 0) {
        struct cmsghdr *c;
        m.msg_control = room;
        m.msg_controllen = sizeof room;
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    do n = sendmsg(sock, &m, MSG_NOSIGNAL); while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int)n;
}
static inline int rt_recv_fd(int sock, void *data, int size, int *fd) {
    struct iovec io = {data, (size_t)size};
    char room[CMSG_SPACE(4 * sizeof(int))];
    struct msghdr m;
    struct cmsghdr *c;
    ssize_t n;
    memset(&m, 0, sizeof m);
    m.msg_iov = &io;
    m.msg_iovlen = 1;
    m.msg_control = room;
    m.msg_controllen = sizeof room;
    *fd = -1;
    do n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT); while (n < 0 && errno == EINTR);
    if (n < 0) return -errno;
    for (c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) memcpy(fd, CMSG_DATA(c), sizeof(int));
    return (int)n;
}

/* ---- scheduling, memory */
static inline int rt_fifo(int priority) {
    struct sched_param p;
    memset(&p, 0, sizeof p);
    p.sched_priority = priority;
    return sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &p) ? -errno : 0;
}
static inline int rt_lock_memory(void) {
    return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) ? -errno : 0;
}
static __attribute__((noinline, unused)) void rt_prefault_stack(void) {
    volatile char room[80 * 1024];
    size_t i;
    for (i = 0; i < sizeof room; i += 1024) room[i] = 0;
}
static inline int rt_thread(pthread_t *t, void *(*body)(void *), void *arg) {
    pthread_attr_t a;
    sigset_t all, old;
    int rc;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old); /* signals are the interpreter's business */
    pthread_attr_init(&a);
    pthread_attr_setstacksize(&a, 128 * 1024);
    rc = pthread_create(t, &a, body, arg);
    pthread_attr_destroy(&a);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -rc;
}
/* One heap for all threads, and what the start has left of it back to the system. */
static inline void rt_one_heap(void) {
#ifdef M_ARENA_MAX
    mallopt(M_ARENA_MAX, 1);
#endif
}
static inline void rt_trim_heap(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}
/* What `top -H` shows. */
static inline void rt_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }
/* A loop that finds work at every turn must not hold a core: others starve, and RLIMIT_RTTIME counts on. */
#define RT_BREATH_NS 10000000
typedef struct {
    int64_t window_ns; /* begin of the window looked at */
    int64_t waited_ns; /* slept in it */
} rt_breath_t;
static inline int rt_breathe(rt_breath_t *b, int64_t before_ns, int64_t after_ns, int64_t sleep_ns) {
    int hot;
    b->waited_ns += after_ns - before_ns;
    if (after_ns - b->window_ns < RT_BREATH_NS) return 0;
    hot = b->waited_ns < RT_BREATH_NS / 8;
    if (hot) rt_sleep_ns(sleep_ns);
    b->window_ns = hot ? rt_now() : after_ns;
    b->waited_ns = 0;
    return hot;
}
static inline int rt_limit_rt_time(int64_t us) {
    struct rlimit r = {(rlim_t)us, (rlim_t)us};
    struct rlimit now;
    if (getrlimit(RLIMIT_RTTIME, &now) == 0 && now.rlim_max != RLIM_INFINITY && now.rlim_max < r.rlim_max) return 0;
    return setrlimit(RLIMIT_RTTIME, &r) ? -errno : 0;
}

/* ---- sockets */
static inline int rt_address(const char *host, int port, int family, struct sockaddr_storage *out) {
    memset(out, 0, sizeof *out);
    if (family == AF_INET) {
        struct sockaddr_in *a = (struct sockaddr_in *)out;
        a->sin_family = AF_INET;
        a->sin_port = htons((uint16_t)port);
        return inet_pton(AF_INET, host, &a->sin_addr) == 1 ? (int)sizeof *a : -EINVAL;
    }
    if (family == AF_INET6) {
        struct sockaddr_in6 *a = (struct sockaddr_in6 *)out;
        a->sin6_family = AF_INET6;
        a->sin6_port = htons((uint16_t)port);
        return inet_pton(AF_INET6, host, &a->sin6_addr) == 1 ? (int)sizeof *a : -EINVAL;
    }
    return -EAFNOSUPPORT;
}
static inline int rt_same_address(const struct sockaddr_storage *x, const struct sockaddr_storage *y) {
    if (x->ss_family != y->ss_family) return 0;
    if (x->ss_family == AF_INET) {
        const struct sockaddr_in *a = (const struct sockaddr_in *)x, *b = (const struct sockaddr_in *)y;
        return a->sin_port == b->sin_port && a->sin_addr.s_addr == b->sin_addr.s_addr;
    }
    if (x->ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)x, *b = (const struct sockaddr_in6 *)y;
        return a->sin6_port == b->sin6_port && !memcmp(&a->sin6_addr, &b->sin6_addr, 16);
    }
    return 0;
}
static inline int rt_send_to(int fd, const void *data, int size, const struct sockaddr_storage *to, int to_size) {
    ssize_t n = sendto(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)to, (socklen_t)to_size);
    return n < 0 ? -errno : (int)n;
}
static inline int rt_recv_from(int fd, void *data, int size, struct sockaddr_storage *from) {
    socklen_t len = sizeof *from;
    ssize_t n = recvfrom(fd, data, size, MSG_DONTWAIT, (struct sockaddr *)from, &len);
    return n < 0 ? -errno : (int)n;
}

/* ---- once, at the start */
static inline int rt_unshare_files(void) { return unshare(CLONE_FILES) ? -errno : 0; }
static inline int rt_memfd(const char *name) { return (int)syscall(SYS_memfd_create, name, 1u /* MFD_CLOEXEC */); }
static inline void *rt_map_shared(int fd, size_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}
static inline void *rt_map_private(size_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}
/* A read of 0 bytes must mean hang-up; with VMIN 0, as pyserial leaves it, it would also mean "nothing there". */
static inline void rt_tty_block_empty(int fd) {
    struct termios t;
    if (tcgetattr(fd, &t) == 0 && t.c_cc[VMIN] == 0) {
        t.c_cc[VMIN] = 1;
        t.c_cc[VTIME] = 0;
        tcsetattr(fd, TCSANOW, &t);
    }
}
/* Own pty pair for the canary: raw, no echo, both ends non-blocking. */
static inline int rt_pty_pair(int *master, int *slave) {
    struct termios t;
    int on = 0, number;
    char name[32];
    *master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (*master < 0) return -errno;
    if (ioctl(*master, TIOCSPTLCK, &on) || ioctl(*master, TIOCGPTN, &number)) goto fail;
    {
        int at = 9, digits = 1, n = number;
        memcpy(name, "/dev/pts/", 9);
        while (n >= 10) { n /= 10; digits++; }
        name[at + digits] = 0;
        for (n = number; digits > 0; n /= 10) name[at + --digits] = (char)('0' + n % 10);
    }
    *slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (*slave < 0 || tcgetattr(*slave, &t)) goto fail;
    cfmakeraw(&t);
    tcsetattr(*slave, TCSANOW, &t);
    return 0;
fail:
    number = -errno;
    close(*master);
    *master = -1;
    return number;
}
/* A signal that is handled meanwhile does not shorten the wait. */
static inline int rt_wait_in(int fd, int timeout_ms) {
    struct pollfd p = {fd, POLLIN, 0};
    int64_t until = rt_now() + (int64_t)timeout_ms * 1000000;
    int n;
    for (;;) {
        int64_t left_ns = until - rt_now();
        n = poll(&p, 1, left_ns > 0 ? (int)((left_ns + 999999) / 1000000) : 0);
        if (n >= 0 || errno != EINTR) return n > 0;
    }
}
#endif
