/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free is what statvfs(3) says an unprivileged process may still write. It knows no
 * quotas, so a write may fail all the same, and some filesystems give the space of a
 * removed file back a moment later: the figures in an error are those measured last, not
 * sums.
 *
 * States of a request:
 *
 *   enough      the volume has `needed` bytes beyond `reserved`: 0, and no reclaimer
 *               runs.
 *   impossible  not even the empty volume has: NO_SPACE, and nothing is removed in vain.
 *   short       it has not. When another thread reclaims, this one waits for its end, for
 *               what that frees may do; then it is the one that reclaims. If its caller
 *               leaves first, it does neither.
 *   reclaiming  this thread asks one reclaimer after the other for what is still missing,
 *               and measures again whenever one says that it freed something.
 *   refused     all were asked, and it is still short: NO_SPACE.
 *
 * Only the flag `is_reclaiming` is guarded by the lock: a reclaimer works on the volume,
 * and no lock is held meanwhile.
 */
#include "free_space.h"

#include "size.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <sys/statvfs.h>

struct hc_free_space {
    hc_reclaim_fn reclaim[HC_RECLAIMERS_MAX]; /* complete before the first request */
    void *ctx[HC_RECLAIMERS_MAX];
    size_t count;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t ended;
        bool is_reclaiming;
    } shared;
};

static bool volume_find_free(int fd, uint64_t *free_bytes)
{
    struct statvfs volume;

    if (fstatvfs(fd, &volume) < 0 || volume.f_blocks == 0)
        return false;
    *free_bytes = (uint64_t)volume.f_bavail * volume.f_frsize;
    return true;
}

/* How many bytes are missing, and how many of the free ones are not reserved. */
static uint64_t space_missing(const struct hc_space_request *request,
                              uint64_t *free_bytes)
{
    uint64_t wanted = hc_size_add(request->needed, request->reserved);
    uint64_t available;

    if (request->needed == 0 || !volume_find_free(request->fd, &available))
        return 0;
    *free_bytes = available > request->reserved ? available - request->reserved : 0;
    return wanted > available ? wanted - available : 0;
}

/* Whether the bytes would fit if everything else were removed. */
static bool volume_is_large_enough(const struct hc_space_request *request)
{
    struct statvfs volume;

    return fstatvfs(request->fd, &volume) == 0 &&
           hc_size_add(request->needed, request->reserved) <=
               (uint64_t)volume.f_blocks * volume.f_frsize;
}

bool hc_free_space_has(const struct hc_space_request *request)
{
    uint64_t free_bytes;

    return space_missing(request, &free_bytes) == 0;
}

static int reclaim_begin(struct hc_free_space *space,
                         struct hc_cancellation *cancellation, struct hc_error *err)
{
    HC_LOCKED(&space->shared.lock);

    while (space->shared.is_reclaiming) {
        if (hc_cancellation_wait(cancellation, &space->shared.ended, &space->shared.lock,
                                 HC_NO_DEADLINE, err) < 0)
            return -1;
    }
    space->shared.is_reclaiming = true;
    return 0;
}

static void reclaim_end(struct hc_free_space *space)
{
    HC_LOCKED(&space->shared.lock);

    space->shared.is_reclaiming = false;
    (void)pthread_cond_signal(&space->shared.ended);
}

/* 1 there is room now; 0 all reclaimers were asked, and there is not; -1 the caller has
 * left. */
static int space_reclaim(struct hc_free_space *space,
                         const struct hc_space_request *request, uint64_t *free_bytes,
                         struct hc_error *err)
{
    uint64_t missing;

    if (reclaim_begin(space, request->cancellation, err) < 0)
        return -1;
    missing = space_missing(request, free_bytes); /* another thread may have freed it */
    for (size_t i = 0; i < space->count && missing > 0; i++) {
        if (space->reclaim[i](space->ctx[i], request->folder, missing) > 0)
            missing = space_missing(request, free_bytes);
    }
    reclaim_end(space);
    return missing == 0;
}

int hc_free_space_require(struct hc_free_space *space,
                          const struct hc_space_request *request, struct hc_error *err)
{
    uint64_t free_bytes = 0;
    int has_room = space_missing(request, &free_bytes) == 0;

    if (!has_room && space->count > 0 && volume_is_large_enough(request))
        has_room = space_reclaim(space, request, &free_bytes, err);
    if (has_room != 0)
        return has_room < 0 ? -1 : 0;
    (void)hc_fail(err, HC_NO_SPACE,
                  "the cache volume has %" PRIu64 " bytes free (%" PRIu64
                  " more are promised to running downloads), %" PRIu64
                  " are needed: make room, or use a larger volume",
                  free_bytes, request->reserved, request->needed);
    err->needed_bytes = request->needed;
    err->free_bytes = free_bytes;
    return -1;
}

void hc_free_space_describe(int fd, uint64_t needed, struct hc_error *err)
{
    uint64_t free_bytes;

    if (err->reason != HC_NO_SPACE || !volume_find_free(fd, &free_bytes))
        return;
    err->needed_bytes = needed;
    err->free_bytes = free_bytes;
}

struct hc_free_space *hc_free_space_new(struct hc_error *err)
{
    struct hc_free_space *space = calloc(1, sizeof *space);

    if (!space) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&space->shared.lock, NULL);
    hc_condition_init(&space->shared.ended);
    return space;
}

void hc_free_space_free(struct hc_free_space *space)
{
    if (!space)
        return;
    (void)pthread_cond_destroy(&space->shared.ended);
    (void)pthread_mutex_destroy(&space->shared.lock);
    free(space);
}

void hc_free_space_add_reclaimer(struct hc_free_space *space, hc_reclaim_fn reclaim,
                                 void *ctx)
{
    assert(space->count < HC_RECLAIMERS_MAX);
    space->reclaim[space->count] = reclaim;
    space->ctx[space->count++] = ctx;
}
