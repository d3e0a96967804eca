/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The identity of a process, as claims on a shared volume name it: the host it runs on,
 * its pid, and when it started. The pid alone is not enough: another process may have it
 * by now, and so may one of another host, or of another container of the same host name.
 * Callable from any thread.
 */
#ifndef HC_CLAIM_PROCESS_H
#define HC_CLAIM_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

enum { HC_PROCESS_HOST_MAX = 127 };

struct hc_process {
    char host[HC_PROCESS_HOST_MAX + 1]; /* "<name>/<boot>/<pid namespace>" */
    uint64_t pid;
    uint64_t start; /* clock ticks since boot */
};

struct hc_process hc_process_self(void);

/* Whether it runs, or ran, on this host, so that its pid can be looked up here. */
bool hc_process_is_local(const struct hc_process *process);

/* Only for a local one. */
bool hc_process_is_alive(const struct hc_process *process);

#endif
