/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thread does for an errand: unpacks the request, resolves it, from the disk alone
 * or however long that takes, and packs the answer. One type of errand for each kind of
 * request; snapshots that are watched and snapshots that are not share errands.
 */
#ifndef HC_SERVER_RESOLVE_H
#define HC_SERVER_RESOLVE_H

#include "errand.h"
#include "metrics.h"
#include "pace.h"

#include <hubcache/resolver.h>

struct hc_resolving {
    struct hc_resolver *resolver;
    struct hc_metrics *metrics;
    struct hc_pace pace; /* of lookups of single files */
    struct hc_errand_type file, files, snapshot;
};

/* Borrows both; `self` must stay where it is. */
void hc_resolving_init(struct hc_resolving *self, struct hc_resolver *resolver,
                       struct hc_metrics *metrics);

#endif
