/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heartbeats: whatever says on the volume that this process is at work says so once a
 * second, whatever its own threads wait for just then: the network, the disk, the Hub's
 * pardon. One thread beats for all of a cache, while there is anything to beat. Callable
 * from any thread.
 */
#ifndef HC_BASE_HEARTBEAT_H
#define HC_BASE_HEARTBEAT_H

#include "auto.h"
#include "error.h"

#include <stdbool.h>
#include <sys/queue.h>

enum { HC_HEARTBEAT_MS = 1000 };

struct hc_heartbeats;

/* What beats; embedded in whatever it is that lives. */
struct hc_heartbeat {
    LIST_ENTRY(hc_heartbeat) link;
    void (*beat)(struct hc_heartbeat *heartbeat);
};

struct hc_heartbeats *hc_heartbeats_new(struct hc_error *err);

/* No pulse may be left. */
void hc_heartbeats_free(struct hc_heartbeats *heartbeats);
HC_DEFINE_AUTO(hc_heartbeats, hc_heartbeats_free)

void hc_heartbeats_start(struct hc_heartbeats *heartbeats,
                         struct hc_heartbeat *heartbeat);

/* It is not beaten any more afterwards. */
void hc_heartbeats_stop(struct hc_heartbeats *heartbeats, struct hc_heartbeat *heartbeat);

#endif
