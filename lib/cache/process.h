/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a process is, so that a record of it on a shared volume can be told from another
 * one that has its pid today: host, pid, and when it started.
 */
#ifndef HC_CACHE_PROCESS_H
#define HC_CACHE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

struct hc_process {
    char host[65];
    uint64_t pid;
    uint64_t start; /* clock ticks since boot */
};

struct hc_process hc_process_self(void);

/* Whether it runs, or ran, on this host. */
bool hc_process_is_local(const struct hc_process *process);

/* Only for a local one. */
bool hc_process_is_alive(const struct hc_process *process);

#endif
