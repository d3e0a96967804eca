/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time that all threads of the process have had, beside the time that passed.
 */
#include "busy.h"

#include <sched.h>
#include <time.h>

enum { LOOK_MS = 100 };

static int64_t cpu_ms(void)
{
    struct timespec used;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

static int processors(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

bool hc_busy_is_most(struct hc_busy *busy, int64_t now_ms)
{
    int64_t passed_ms = now_ms - busy->since_ms;
    int64_t used_ms;

    if (passed_ms < LOOK_MS)
        return busy->is_most;
    used_ms = cpu_ms();
    busy->is_most = busy->since_ms != 0 &&
                    2 * (used_ms - busy->since_cpu_ms) > passed_ms * processors();
    busy->since_ms = now_ms;
    busy->since_cpu_ms = used_ms;
    return busy->is_most;
}
