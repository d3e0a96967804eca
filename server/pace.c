/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two flags and a counter. A lookup that a busy machine delayed may be taken for a slow
 * one: that costs the next few lookups a change of threads.
 */
#include "pace.h"

#include "log.h"

#include <stddef.h>

enum { SLOW_MS = 10, QUICK_MS = 1, QUICK_IN_A_ROW = 16 };

bool hc_pace_begin(struct hc_pace *pace)
{
    return !atomic_load_explicit(&pace->is_slow, memory_order_relaxed) &&
           !atomic_exchange(&pace->is_looking, true);
}

void hc_pace_end(struct hc_pace *pace, int64_t took_ms)
{
    if (took_ms > SLOW_MS) {
        atomic_store(&pace->quick, 0);
        atomic_store(&pace->is_slow, true);
        HC_LOG(HC_LOG_INFO, "the volume is slow", HC_NUMBER("lookup_ms", took_ms));
    }
    atomic_store(&pace->is_looking, false);
}

void hc_pace_note(struct hc_pace *pace, int64_t took_ms)
{
    if (!atomic_load_explicit(&pace->is_slow, memory_order_relaxed))
        return;
    if (took_ms > QUICK_MS)
        atomic_store(&pace->quick, 0);
    else if (atomic_fetch_add(&pace->quick, 1) + 1 == QUICK_IN_A_ROW)
        atomic_store(&pace->is_slow, false);
}
