/* SPDX-License-Identifier: Apache-2.0 */
#include "signals.h"

#include <base/error.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

void hc_signals_block_hangup(void)
{
    sigset_t set;

    (void)signal(SIGHUP, SIG_DFL);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int hc_signals_open(struct hc_error *err)
{
    sigset_t set;
    int fd;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    fd = signalfd(-1, &set, SFD_CLOEXEC);
    return fd < 0 ? hc_fail_errno(err, errno, "signalfd") : fd;
}

int hc_signals_await(int signals, int other, int64_t timeout_ms)
{
    struct pollfd fds[] = {{.fd = signals, .events = POLLIN},
                           {.fd = other, .events = POLLIN}};
    int timeout = timeout_ms > INT32_MAX ? -1 : (int)timeout_ms;
    struct signalfd_siginfo info;

    while (poll(fds, 2, timeout) < 0 && errno == EINTR)
        continue;
    if (!(fds[0].revents & POLLIN) || read(signals, &info, sizeof info) != sizeof info)
        return 0;
    return (int)info.ssi_signo;
}
