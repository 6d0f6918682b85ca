/* What only the gate calls: GPIO lines, signs of death, becoming a process of its own, stop commands. */
#ifndef TWINBEAT_RT_GATE_H
#define TWINBEAT_RT_GATE_H

#include "rt_sys.h"

#include <linux/gpio.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

extern char **environ;

/* ---- GPIO character device, lines already requested */
static inline int rt_gpio_set(int fd, uint64_t mask, uint64_t bits) {
    struct gpio_v2_line_values v = {.bits = bits, .mask = mask};
    return ioctl(fd, GPIO_V2_LINE_SET_VALUES_IOCTL, &v) ? -errno : 0;
}
static inline int rt_gpio_get(int fd, uint64_t mask, uint64_t *bits) {
    struct gpio_v2_line_values v = {.bits = 0, .mask = mask};
    if (ioctl(fd, GPIO_V2_LINE_GET_VALUES_IOCTL, &v)) return -errno;
    *bits = v.bits & mask;
    return 0;
}

/* ---- life and death */
static inline int rt_death_signal_fd(int ep, uint64_t tag) {
    sigset_t s;
    int fd;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR1);
    fd = signalfd(-1, &s, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd >= 0) rt_epoll_add(ep, fd, tag);
    return fd;
}
/* 1: the kernel (or the agent) told us; a SIGUSR1 of anybody else is read away. */
static inline int rt_death_signal_read(int fd, pid_t agent) {
    struct signalfd_siginfo si;
    int dead = 0;
    while (read(fd, &si, sizeof si) == (ssize_t)sizeof si)
        if (si.ssi_pid == 0 || si.ssi_pid == (uint32_t)agent) dead = 1;
    return dead;
}
/* Fork with every signal blocked: the child must not run the interpreter's handlers. */
static inline pid_t rt_fork_quiet(void) {
    sigset_t all, old;
    pid_t pid;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    pid = fork();
    if (pid != 0) pthread_sigmask(SIG_SETMASK, &old, NULL);
    return pid;
}
static inline int rt_become_gate(pid_t agent) {
    sigset_t all;
    int null;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    setsid();
    prctl(PR_SET_NAME, "twinbeat-gate", 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0);
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
    }
    null = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (null >= 0) {
        if (write(null, "-900", 4) < 0) { /* not permitted: the default then */ }
        close(null);
    }
    return getppid() == agent;
}
static inline int rt_spawn(char **argv, pid_t *pid) {
    posix_spawnattr_t a;
    sigset_t s;
    struct sched_param p;
    int rc;
    memset(&p, 0, sizeof p);
    posix_spawnattr_init(&a);
    sigfillset(&s);
    posix_spawnattr_setsigdefault(&a, &s);
    sigemptyset(&s);
    posix_spawnattr_setsigmask(&a, &s);
    posix_spawnattr_setschedpolicy(&a, SCHED_OTHER);
    posix_spawnattr_setschedparam(&a, &p);
    posix_spawnattr_setflags(&a, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSCHEDULER);
    rc = posix_spawnp(pid, argv[0], NULL, &a, argv, environ);
    posix_spawnattr_destroy(&a);
    return -rc;
}
#endif
