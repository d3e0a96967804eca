/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The free space of the cache volume. One object owns the answer to "may this download
 * have n bytes": it compares them with what the filesystem has free and what is reserved
 * for others, and before it refuses it asks its reclaimers to make space. A reclaimer is
 * a function that knows what may be removed from the volume: the partial files of
 * abandoned transfers (claim/sweep.h), and what was used least recently
 * (maintenance/eviction.h). Callable from any thread.
 *
 * Two settings may take space away: a floor, bytes that stay free on the volume, and a
 * limit of the bytes that the cache occupies, whatever is free.
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

/* Bytes of downloads that have not ended. */
struct hc_claimed {
    uint64_t reserved; /* that are free, but reserved for others */
    uint64_t arrived;  /* that are on the volume, in partial files */
};

struct hc_space_request {
    int fd;             /* of any file of the volume */
    const char *folder; /* of the repo that the space is for */
    uint64_t needed;    /* bytes */
    /* Optional: what other downloads have and need by now; `ctx` is its argument. */
    struct hc_claimed (*claimed)(const void *ctx);
    const void *ctx;
    struct hc_cancellation *cancellation; /* Optional: of the caller that needs them */
};

/* What a reclaimer has left, because something holds it. */
struct hc_space_held {
    bool is_known;
    uint64_t leased, pinned, kept; /* bytes that stay, whatever is short */
    uint64_t fetched;              /* of what is being fetched: it may go afterwards */
};

/*
 * Makes `bytes` bytes free, or as many as it can, and returns how many it freed. It keeps
 * what the request's download may use. It runs on the thread of the download that needs
 * the space, holds no lock of hc_free_space, is never called by two threads at once, must
 * not ask for space itself, and ends soon after the request's cancellation is set. With
 * no `bytes` it is only asked to find out what the cache occupies, if it can: then it
 * returns 1. One that knows what holds the rest says so in `held`, if that was all that
 * it could do.
 */
typedef uint64_t (*hc_reclaim_fn)(void *ctx, const struct hc_space_request *request,
                                  uint64_t bytes, struct hc_space_held *held);

/* 1 and the bytes of the volume that the cache occupies, partial files not included; 0:
 * they are not known. */
typedef int (*hc_occupied_fn)(void *ctx, uint64_t *bytes);

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

/* Before the first request: what a limit is compared with. Without it there is none. */
void hc_free_space_set_occupied(struct hc_free_space *space, hc_occupied_fn occupied,
                                void *ctx);

/* Both are in effect from the next request on; 0: none. */
void hc_free_space_set_bounds(struct hc_free_space *space, uint64_t limit,
                              uint64_t floor);

void hc_free_space_get_bounds(const struct hc_free_space *space, uint64_t *limit,
                              uint64_t *floor);

/* The larger of the two. */
uint64_t hc_free_space_bounds(const struct hc_free_space *space);

/*
 * How many bytes are missing now for a request, which may need none: to bring the cache
 * below its limit and the volume above its floor.
 */
uint64_t hc_free_space_missing(struct hc_free_space *space,
                               const struct hc_space_request *request);

/* How often a request was refused. */
uint64_t hc_free_space_refusals(const struct hc_free_space *space);

/* Whether the volume has the bytes now. Asks no reclaimer. A volume that cannot say how
 * much is free is taken to have enough, here and below. */
bool hc_free_space_has(struct hc_free_space *space,
                       const struct hc_space_request *request);

/*
 * 0 when the volume has the bytes, after the reclaimers were asked if need be. Else
 * NO_SPACE, which names the bytes that are needed, those that are free by then, what
 * holds the rest, and the limit if that refuses, or CANCELLED or DEADLINE_EXCEEDED when
 * the caller leaves while it waits. Requests that wait have the reclaimers in the order
 * in which they came. When the bytes would fit beside what a reclaimer says is leased,
 * pinned and kept, it waits for the rest to go, as long as its caller does, until nothing
 * has come or gone for HC_SPACE_STILL_MS. For more than the whole volume or the limit
 * holds no reclaimer is asked.
 */
enum { HC_SPACE_STILL_MS = 60 * 1000 };

int hc_free_space_require(struct hc_free_space *space,
                          const struct hc_space_request *request, struct hc_error *err);

/*
 * Adds both figures to a NO_SPACE that a write met with; other errors stay as they are.
 */
void hc_free_space_describe(int fd, uint64_t needed, struct hc_error *err);

#endif
