/* SPDX-License-Identifier: Apache-2.0 */
/* The cancellation ends the thread; nothing else is shared. */
#include "evictor.h"

#include "log.h"

#include <base/cancellation.h>
#include <base/error.h>

#include <hubcache/maintenance.h>

struct hc_evictor {
    struct hc_resolver *resolver;
    int64_t every_ms;
    struct hc_room_status logged; /* of the thread */
    struct hc_cancellation *end;
    pthread_t thread;
};

/* What was evicted since the last time, also to make room for downloads. */
static void evictor_log(struct hc_evictor *evictor,
                        const struct hc_removal_result *result)
{
    struct hc_room_status last = evictor->logged;

    hc_resolver_room(evictor->resolver, &evictor->logged);
    if (evictor->logged.evicted_revisions > last.evicted_revisions)
        HC_LOG(HC_LOG_INFO, "evicted",
               HC_NUMBER("revisions",
                         evictor->logged.evicted_revisions - last.evicted_revisions),
               HC_NUMBER("bytes", evictor->logged.evicted_bytes - last.evicted_bytes),
               HC_NUMBER("occupied_bytes", evictor->logged.occupied_bytes));
    if (result->missing_bytes > 0)
        HC_LOG(HC_LOG_WARN, "the cache is over its limit: what is left is held",
               HC_NUMBER("missing_bytes", result->missing_bytes),
               HC_NUMBER("held_revisions", result->kept_count));
}

static void evictor_tend(struct hc_evictor *evictor)
{
    struct hc_removal_result result;
    struct hc_error err;

    if (hc_resolver_tend_room(evictor->resolver, evictor->end, &result, &err) == 0)
        evictor_log(evictor, &result);
    else if (err.reason != HC_CANCELLED)
        HC_LOG(HC_LOG_WARN, "no room can be made in the cache",
               HC_TEXT("error", err.message));
    hc_removal_result_clear(&result);
}

/* What has passed the retention of the policy, whether or not room is short. */
static void evictor_expire(struct hc_evictor *evictor)
{
    struct hc_removal_result result;
    struct hc_error err;

    if (hc_resolver_expire(evictor->resolver, evictor->end, &result, &err) == 0) {
        if (result.removed_count > 0)
            HC_LOG(HC_LOG_INFO, "removed what was not used within its retention",
                   HC_NUMBER("revisions", result.removed_count),
                   HC_NUMBER("bytes", result.freed_bytes));
    } else if (err.reason != HC_CANCELLED) {
        HC_LOG(HC_LOG_WARN, "what was not used within its retention stays",
               HC_TEXT("error", err.message));
    }
    hc_removal_result_clear(&result);
}

static void *evictor_run(void *ctx)
{
    struct hc_evictor *evictor = ctx;
    struct hc_error err;

    do {
        evictor_expire(evictor);
        evictor_tend(evictor);
    } while (hc_cancellation_sleep(evictor->end, evictor->every_ms, &err) == 0);
    return NULL;
}

struct hc_evictor *hc_evictor_open(struct hc_resolver *resolver, int64_t every_ms,
                                   struct hc_error *err)
{
    struct hc_evictor *evictor = calloc(1, sizeof *evictor);

    if (!evictor) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    evictor->resolver = resolver;
    evictor->every_ms = every_ms;
    evictor->end = hc_cancellation_new(HC_NO_DEADLINE);
    if (evictor->end && pthread_create(&evictor->thread, NULL, evictor_run, evictor) == 0)
        return evictor;
    (void)hc_fail(err, HC_INTERNAL, "the system gives no thread to evict with");
    hc_cancellation_free(evictor->end);
    free(evictor);
    return NULL;
}

void hc_evictor_close(struct hc_evictor *evictor)
{
    if (!evictor)
        return;
    hc_cancellation_cancel(evictor->end);
    (void)pthread_join(evictor->thread, NULL);
    hc_cancellation_free(evictor->end);
    free(evictor);
}
