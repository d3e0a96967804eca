/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heartbeats: whatever says on the volume that this process is at work says so once a
 * second, whatever its own threads wait for just then: the network, the disk, the Hub's
 * pardon. One thread beats for all of a cache, while there is anything to beat. Callable
 * from any thread.
 */
#ifndef HC_BASE_HEART_H
#define HC_BASE_HEART_H

#include "auto.h"
#include "error.h"

#include <stdbool.h>
#include <sys/queue.h>

enum { HC_HEART_MS = 1000 };

struct hc_heart;

/* What beats; embedded in whatever it is that lives. */
struct hc_pulse {
    LIST_ENTRY(hc_pulse) link;
    void (*beat)(struct hc_pulse *pulse);
};

struct hc_heart *hc_heart_new(struct hc_error *err);

/* No pulse may be left. */
void hc_heart_free(struct hc_heart *heart);
HC_DEFINE_AUTO(hc_heart, hc_heart_free)

void hc_heart_add(struct hc_heart *heart, struct hc_pulse *pulse);

/* It is not beaten any more afterwards. */
void hc_heart_remove(struct hc_heart *heart, struct hc_pulse *pulse);

#endif
