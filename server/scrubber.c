/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock guards what readers see, and is not held while the thread works.
 */
#include "scrubber.h"

#include "exposition.h"
#include "log.h"

#include <base/cancellation.h>
#include <base/error.h>

#include <pthread.h>

enum { LOOK_MS = 60 * 1000, LOOK_MIN_MS = 100 };

struct hc_scrubber {
    struct hc_scrubber_settings settings;
    struct hc_cancellation *end;
    struct hc_verified verified; /* of the pass that this process makes */
    pthread_t thread;
    struct {
        pthread_mutex_t lock;
        struct hc_scrubber_status status;
    } shared;
};

static void scrubber_note_progress(void *ctx, const struct hc_verify_progress *progress)
{
    struct hc_scrubber *scrubber = ctx;

    hc_verify_counts_follow(scrubber->settings.counts, &scrubber->verified,
                            progress->blobs_hashed, progress->bytes_hashed);
    HC_LOCKED(&scrubber->shared.lock);

    scrubber->shared.status.progress = *progress;
    scrubber->shared.status.is_running = true;
}

static void scrubber_note_finding(void *ctx, const struct hc_finding *finding)
{
    const struct hc_scrubber *scrubber = ctx;

    hc_verify_counts_add_finding(scrubber->settings.counts, finding);
}

/* What the volume says now. */
static void scrubber_note_state(struct hc_scrubber *scrubber)
{
    struct hc_scrub_state state;

    (void)hc_resolver_scrub_state(scrubber->settings.resolver, &state);
    HC_LOCKED(&scrubber->shared.lock);

    scrubber->shared.status.state = state;
    scrubber->shared.status.is_running = false;
}

static void scrubber_log_pass(struct hc_scrubber *scrubber)
{
    struct hc_scrubber_status status;
    const struct hc_scrub_state *state = &status.state;
    const struct hc_verify_result *last = &state->last;

    hc_scrubber_read(scrubber, &status);
    HC_LOG(HC_LOG_INFO, "scrub pass ended", HC_NUMBER("blobs", last->blobs),
           HC_NUMBER("bytes", last->bytes),
           HC_NUMBER("seconds", (state->last_ended_ms - state->last_began_ms) / 1000),
           HC_NUMBER("corrupt", last->findings[HC_CORRUPT_BLOB]),
           HC_NUMBER("unreadable", last->findings[HC_UNREADABLE_BLOB]),
           HC_NUMBER("repaired", last->repaired),
           HC_NUMBER("not_repaired", last->not_repaired));
}

/* A failure of the volume ends the pass; the next look continues it. */
static void scrubber_look(struct hc_scrubber *scrubber)
{
    const struct hc_scrub_request request = {
        .interval_ms = scrubber->settings.interval_ms,
        .bytes_per_second = scrubber->settings.bytes_per_second,
        .found = scrubber_note_finding,
        .progress = scrubber_note_progress,
        .ctx = scrubber,
    };
    struct hc_verify_result result;
    struct hc_error err;
    int scrubbed;

    scrubber->verified = (struct hc_verified){0};
    scrubbed = hc_resolver_scrub(scrubber->settings.resolver, &request, scrubber->end,
                                 &result, &err);
    hc_verify_counts_end(scrubber->settings.counts, &scrubber->verified, &result);
    scrubber_note_state(scrubber);
    if (scrubbed > 0)
        scrubber_log_pass(scrubber);
    else if (scrubbed < 0 && err.reason != HC_CANCELLED)
        HC_LOG(HC_LOG_WARN, "the scrub has stopped, and will be continued",
               HC_TEXT("error", err.message));
}

static void *scrubber_run(void *ctx)
{
    struct hc_scrubber *scrubber = ctx;
    int64_t pause_ms = scrubber->settings.interval_ms / 4;
    struct hc_error err;

    if (pause_ms > LOOK_MS)
        pause_ms = LOOK_MS;
    if (pause_ms < LOOK_MIN_MS)
        pause_ms = LOOK_MIN_MS;
    do {
        scrubber_look(scrubber);
    } while (hc_cancellation_sleep(scrubber->end, pause_ms, &err) == 0);
    return NULL;
}

static void scrubber_release(struct hc_scrubber *scrubber)
{
    hc_cancellation_free(scrubber->end);
    (void)pthread_mutex_destroy(&scrubber->shared.lock);
    free(scrubber);
}

struct hc_scrubber *hc_scrubber_open(const struct hc_scrubber_settings *settings,
                                     struct hc_error *err)
{
    struct hc_scrubber *scrubber = calloc(1, sizeof *scrubber);

    if (!scrubber) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    scrubber->settings = *settings;
    scrubber->shared.status.is_on = settings->interval_ms > 0;
    (void)pthread_mutex_init(&scrubber->shared.lock, NULL);
    scrubber->end = hc_cancellation_new(HC_NO_DEADLINE);
    if (scrubber->end &&
        (settings->interval_ms == 0 ||
         pthread_create(&scrubber->thread, NULL, scrubber_run, scrubber) == 0))
        return scrubber;
    (void)hc_fail(err, HC_INTERNAL, "the system gives no thread to scrub the cache");
    scrubber_release(scrubber);
    return NULL;
}

void hc_scrubber_close(struct hc_scrubber *scrubber)
{
    if (!scrubber)
        return;
    hc_cancellation_cancel(scrubber->end);
    if (scrubber->settings.interval_ms > 0)
        (void)pthread_join(scrubber->thread, NULL);
    scrubber_release(scrubber);
}

void hc_scrubber_read(struct hc_scrubber *scrubber, struct hc_scrubber_status *status)
{
    HC_LOCKED(&scrubber->shared.lock);

    *status = scrubber->shared.status;
}

void hc_scrubber_write_metrics(struct hc_scrubber *scrubber, FILE *out)
{
    struct hc_scrubber_status status;

    hc_verify_counts_write(scrubber->settings.counts, out);
    hc_scrubber_read(scrubber, &status);
    if (!status.is_on)
        return;
    hc_exposition_gauge(out, "hubcache_scrub_running",
                        "1 while this process makes a pass over the cache.",
                        status.is_running);
    hc_exposition_gauge(out, "hubcache_scrub_last_pass_timestamp_seconds",
                        "When the last pass over the whole cache ended, of any process "
                        "of the volume; 0: none has.",
                        (uint64_t)status.state.last_ended_ms / 1000);
}
