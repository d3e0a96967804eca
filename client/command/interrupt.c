/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A signal of the terminal (si_code SI_KERNEL) is sent to the whole process group, so the
 * program has it already. A signal that is ignored from the start, as under nohup(1), is
 * so for both. The lock keeps a signal that comes while the program is started from
 * ending this process alone.
 */
#include "interrupt.h"

#include "base/auto.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <unistd.h>

/* SIGTSTP and its like stop this process and the program, as the terminal wants. */
static const int watched[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

static struct {
    pthread_mutex_t lock;
    pid_t child;     /* 0: none */
    sigset_t before; /* the mask at the start */
    sigset_t signals;
} interrupts = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void interrupt_handle(const siginfo_t *info)
{
    enum { SIGNAL_BASE = 128 };
    HC_LOCKED(&interrupts.lock);

    if (interrupts.child == 0) {
        if (isatty(STDERR_FILENO))
            (void)!write(STDERR_FILENO, "\n", 1);
        _exit(SIGNAL_BASE + info->si_signo);
    }
    if (info->si_code != SI_KERNEL)
        (void)kill(interrupts.child, info->si_signo);
}

static void *interrupts_await(void *unused)
{
    siginfo_t info;

    (void)unused;
    for (;;) {
        if (sigwaitinfo(&interrupts.signals, &info) > 0)
            interrupt_handle(&info);
    }
    return NULL;
}

void hc_interrupts_watch(void)
{
    pthread_t thread;

    (void)sigemptyset(&interrupts.signals);
    for (size_t i = 0; i < sizeof watched / sizeof *watched; i++)
        (void)sigaddset(&interrupts.signals, watched[i]);
    if (pthread_sigmask(SIG_BLOCK, &interrupts.signals, &interrupts.before) != 0)
        return;
    if (pthread_create(&thread, NULL, interrupts_await, NULL) == 0)
        (void)pthread_detach(thread);
    else
        (void)pthread_sigmask(SIG_SETMASK, &interrupts.before, NULL);
}

int hc_interrupts_spawn(pid_t *child, char *const argv[], char *const environment[])
{
    posix_spawnattr_t attributes;
    int failure = posix_spawnattr_init(&attributes);
    HC_LOCKED(&interrupts.lock);

    if (failure != 0)
        return failure;
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    (void)posix_spawnattr_setsigmask(&attributes, &interrupts.before);
    failure = posix_spawnp(child, argv[0], NULL, &attributes, argv, environment);
    if (failure == 0)
        interrupts.child = *child;
    (void)posix_spawnattr_destroy(&attributes);
    return failure;
}

void hc_interrupts_forget(void)
{
    HC_LOCKED(&interrupts.lock);

    interrupts.child = 0;
}
