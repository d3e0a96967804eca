/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The free space of the cache volume. One object owns the answer to "may this download
 * have n bytes": it compares them with what the filesystem has free and what is reserved
 * for others, and before it refuses it asks its reclaimers to make space. A reclaimer is
 * a function that knows what may be removed from the volume: today the partial files of
 * abandoned transfers (claim/sweep.h). Callable from any thread.
 */
#ifndef HC_BASE_FREE_SPACE_H
#define HC_BASE_FREE_SPACE_H

#include "auto.h"
#include "cancellation.h"
#include "error.h"

#include <stdbool.h>
#include <stdint.h>

enum { HC_RECLAIMERS_MAX = 4 };

struct hc_free_space;

struct hc_space_request {
    int fd;             /* of any file of the volume */
    const char *folder; /* of the repo that the space is for */
    uint64_t needed;    /* bytes */
    uint64_t reserved;  /* bytes that are free, but reserved for others */
    struct hc_cancellation *cancellation; /* Optional: of the caller that needs them */
};

/*
 * Makes `bytes` bytes free, or as many as it can, and returns how many it freed. It keeps
 * what a download of the repo `folder` may use. It runs on the thread of the download
 * that needs the space, holds no lock of hc_free_space, is never called by two threads at
 * once, and must not ask for space itself.
 */
typedef uint64_t (*hc_reclaim_fn)(void *ctx, const char *folder, uint64_t bytes);

struct hc_free_space *hc_free_space_new(struct hc_error *err);

/* No request may be under way. NULL is fine. */
void hc_free_space_free(struct hc_free_space *space);
HC_DEFINE_AUTO(hc_free_space, hc_free_space_free)

/*
 * Before the first request. Reclaimers are asked in the order in which they were added,
 * HC_RECLAIMERS_MAX of them at most; `ctx` is borrowed until the object is freed.
 */
void hc_free_space_add_reclaimer(struct hc_free_space *space, hc_reclaim_fn reclaim,
                                 void *ctx);

/* Whether the volume has the bytes now. Asks no reclaimer. A volume that cannot say how
 * much is free is taken to have enough, here and below. */
bool hc_free_space_has(const struct hc_space_request *request);

/*
 * 0 when the volume has the bytes, after the reclaimers were asked if need be. Else
 * NO_SPACE, which names the bytes that are needed and those that are free by then, or
 * CANCELLED or DEADLINE_EXCEEDED when the caller leaves while another thread has the
 * reclaimers. For more than the whole volume holds no reclaimer is asked.
 */
int hc_free_space_require(struct hc_free_space *space,
                          const struct hc_space_request *request, struct hc_error *err);

/*
 * Adds both figures to a NO_SPACE that a write met with; other errors stay as they are.
 */
void hc_free_space_describe(int fd, uint64_t needed, struct hc_error *err);

#endif
