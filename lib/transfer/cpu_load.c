/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time that all threads of the process have had, beside the time that passed.
 */
#include "cpu_load.h"

#include <sched.h>
#include <time.h>

enum { POLL_MS = 100 };

static int64_t process_cpu_ms(void)
{
    struct timespec used;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

static int processor_count(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

bool hc_cpu_load_is_high(struct hc_cpu_load *load, int64_t now_ms)
{
    int64_t passed_ms = now_ms - load->since_ms;
    int64_t used_ms;

    if (passed_ms < POLL_MS)
        return load->is_high;
    used_ms = process_cpu_ms();
    load->is_high = load->since_ms != 0 &&
                    2 * (used_ms - load->since_cpu_ms) > passed_ms * processor_count();
    load->since_ms = now_ms;
    load->since_cpu_ms = used_ms;
    return load->is_high;
}
