/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two flags and a counter. A lookup that a busy machine delayed may be taken for a slow
 * one: that costs the next few lookups a change of threads.
 */
#include "volume_speed.h"

#include "log.h"

#include <stddef.h>

enum { SLOW_MS = 10, QUICK_MS = 1, QUICK_IN_A_ROW = 16 };

bool hc_volume_speed_begin_lookup(struct hc_volume_speed *speed)
{
    return !atomic_load_explicit(&speed->is_slow, memory_order_relaxed) &&
           !atomic_exchange(&speed->is_looking, true);
}

void hc_volume_speed_end_lookup(struct hc_volume_speed *speed, int64_t took_ms)
{
    if (took_ms > SLOW_MS) {
        atomic_store(&speed->quick_in_a_row, 0);
        atomic_store(&speed->is_slow, true);
        HC_LOG(HC_LOG_INFO, "the volume is slow", HC_NUMBER("lookup_ms", took_ms));
    }
    atomic_store(&speed->is_looking, false);
}

void hc_volume_speed_add_lookup(struct hc_volume_speed *speed, int64_t took_ms)
{
    if (!atomic_load_explicit(&speed->is_slow, memory_order_relaxed))
        return;
    if (took_ms > QUICK_MS)
        atomic_store(&speed->quick_in_a_row, 0);
    else if (atomic_fetch_add(&speed->quick_in_a_row, 1) + 1 == QUICK_IN_A_ROW)
        atomic_store(&speed->is_slow, false);
}
