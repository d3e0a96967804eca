/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the volume answers quickly enough to be looked at on the thread that takes gRPC's
 * events. A lookup there that takes longer than 10 ms sends the later ones to the pool of
 * threads for the disk, until 16 of them in a row have taken 1 ms at most. While one hangs
 * there, no other thread that takes events begins another. Callable from any thread.
 */
#ifndef HC_SERVER_VOLUME_SPEED_H
#define HC_SERVER_VOLUME_SPEED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Zero-initialise it. */
struct hc_volume_speed {
    atomic_bool is_looking; /* a thread that takes events */
    atomic_bool is_slow;
    atomic_uint quick_in_a_row; /* lookups in a row, by the pool */
};

/* True: the thread may look, and says when it has. The time is in milliseconds. */
bool hc_volume_speed_begin_lookup(struct hc_volume_speed *speed);
void hc_volume_speed_end_lookup(struct hc_volume_speed *speed, int64_t took_ms);

/* A lookup by the pool. */
void hc_volume_speed_add_lookup(struct hc_volume_speed *speed, int64_t took_ms);

#endif
