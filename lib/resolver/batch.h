/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings many files of one commit to the cache, several at a time, and tells how far it
 * is. The first failure stops the rest; what has arrived stays.
 */
#ifndef HC_RESOLVER_BATCH_H
#define HC_RESOLVER_BATCH_H

#include "resolver.h"

enum { HC_BATCH_WIDTH_MAX = 64 }; /* files of one batch at a time */

/* One file to bring. Strings are borrowed. */
struct hc_missing_blob {
    const char *path;
    const char *etag; /* "": the Hub has to be asked for it */
    uint64_t size;
    uint64_t reserved_bytes; /* room for what of it has to come, once that is reserved */
};

struct hc_batch {
    const struct hc_resolution *resolution;
    const char *commit;
    const struct hc_hub_credentials *credentials;
    struct hc_missing_blob *blobs;
    size_t count;

    /* Optional: progress, on top of what was there before. */
    hc_progress_fn progress;
    void *progress_ctx;
    struct hc_progress before;
};

/* Blocks. `*fetched_bytes` is what came from the Hub. */
int hc_batch_fetch(const struct hc_batch *batch, uint64_t *fetched_bytes,
                   struct hc_error *err);

#endif
