/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heartbeats: a file on the volume that says "this process is at work" (a claim, a
 * reservation) is written again once a second, whatever the thread that made it waits for
 * meanwhile: the network, the disk, the end of a rate limit. One thread beats for all
 * files of a cache. Callable from any thread.
 */
#ifndef HC_BASE_HEARTBEAT_H
#define HC_BASE_HEARTBEAT_H

#include "auto.h"
#include "error.h"

#include <stdbool.h>
#include <sys/queue.h>

enum { HC_HEARTBEAT_MS = 1000 };

struct hc_heartbeats;

/* Embedded in the object whose file is to be written; `beat` writes it. */
struct hc_heartbeat {
    LIST_ENTRY(hc_heartbeat) link;
    void (*beat)(struct hc_heartbeat *heartbeat);
};

struct hc_heartbeats *hc_heartbeats_new(struct hc_error *err);

/* Every heartbeat has been stopped by then. NULL is fine. */
void hc_heartbeats_free(struct hc_heartbeats *heartbeats);
HC_DEFINE_AUTO(hc_heartbeats, hc_heartbeats_free)

/*
 * From now on `beat` is called every HC_HEARTBEAT_MS, on the thread of `heartbeats`. It
 * must neither start nor stop a heartbeat.
 */
void hc_heartbeats_start(struct hc_heartbeats *heartbeats,
                         struct hc_heartbeat *heartbeat);

/* Waits for a call of `beat` that is under way; none follows. */
void hc_heartbeats_stop(struct hc_heartbeats *heartbeats, struct hc_heartbeat *heartbeat);

#endif
