/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the volume answers quickly enough to be looked at on the thread that takes gRPC's
 * events. A lookup there that takes longer than 10 ms sends the later ones to the pool of
 * threads for the disk, until 16 of them in a row have taken 1 ms at most. While one hangs
 * there, no other thread that takes events begins another. Callable from any thread.
 */
#ifndef HC_SERVER_PACE_H
#define HC_SERVER_PACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Zero-initialise it. */
struct hc_pace {
    atomic_bool is_looking; /* a thread that takes events */
    atomic_bool is_slow;
    atomic_uint quick; /* lookups in a row, by the pool */
};

/* True: the thread may look, and says when it has. The time is in milliseconds. */
bool hc_pace_begin(struct hc_pace *pace);
void hc_pace_end(struct hc_pace *pace, int64_t took_ms);

/* A lookup by the pool. */
void hc_pace_note(struct hc_pace *pace, int64_t took_ms);

#endif
