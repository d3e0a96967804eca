/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory that this process may still fill: what the machine has available, and what
 * the limits of its control groups (cgroups(7), version 2) leave. Pages of files can be
 * given back at any time, and count as available in both. Callable from any thread.
 */
#ifndef HC_BASE_AVAILABLE_MEMORY_H
#define HC_BASE_AVAILABLE_MEMORY_H

#include <stdint.h>

/* In bytes; 0 when the system does not say. `root` is put before the names of the files
 * of /proc and /sys that say it: "" but in tests. */
uint64_t hc_available_memory(const char *root);

#endif
