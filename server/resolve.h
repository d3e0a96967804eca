/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thread does for an errand: unpacks the request, resolves it, from the disk alone
 * or however long that takes, and packs the answer. One type of errand for each kind of
 * request; snapshots that are watched and snapshots that are not share errands.
 */
#ifndef HC_SERVER_RESOLVE_H
#define HC_SERVER_RESOLVE_H

#include "coalescer.h"
#include "metrics.h"
#include "volume_speed.h"

#include <hubcache/resolver.h>

struct hc_resolving {
    struct hc_resolver *resolver;
    struct hc_metrics *metrics;
    struct hc_volume_speed speed; /* of lookups of single files */
    struct hc_request_kind file, files, snapshot;
};

/* Borrows both; `self` must stay where it is. */
void hc_resolving_init(struct hc_resolving *self, struct hc_resolver *resolver,
                       struct hc_metrics *metrics);

#endif
