/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a process is, so that a record of it on a shared volume can be told from another
 * one that has its pid today, or has the same pid on another host or in another container
 * of the same name: where it runs, its pid, and when it started.
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

/* Whether it runs, or ran, on this host. */
bool hc_process_is_local(const struct hc_process *process);

/* Only for a local one. */
bool hc_process_is_alive(const struct hc_process *process);

#endif
