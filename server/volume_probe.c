/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread: it probes, notes the answer, and waits until the next probe is due or the
 * close begins. The lock guards what it notes and is not held during a probe, so other
 * threads see how long a probe has been under way.
 */
#include "volume_probe.h"

#include <base/cancellation.h>
#include <base/error.h>

#include <inttypes.h>

struct hc_volume_probe {
    struct hc_resolver *resolver;
    int64_t every_ms, hang_ms;
    pthread_t thread;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t news;
        bool is_closing;
        bool is_probing;
        int64_t began_ms;     /* if is_probing */
        struct hc_error last; /* of the newest probe with an answer; HC_OK: none */
        struct hc_volume_space space;
    } shared;
};

static void probe_begin(struct hc_volume_probe *probe)
{
    HC_LOCKED(&probe->shared.lock);

    probe->shared.is_probing = true;
    probe->shared.began_ms = hc_monotonic_ms();
}

/* A probe that failed for lack of memory or descriptors says nothing of the volume. */
static void probe_end(struct hc_volume_probe *probe, const struct hc_error *answer,
                      const struct hc_volume_space *space)
{
    HC_LOCKED(&probe->shared.lock);

    probe->shared.is_probing = false;
    probe->shared.space = *space;
    if (answer->reason != HC_INTERNAL)
        probe->shared.last = *answer;
}

/* Waits until the next probe is due. False: the probe closes, and none is. */
static bool probe_await_next(struct hc_volume_probe *probe)
{
    int64_t due_ms = hc_monotonic_ms() + probe->every_ms;
    HC_LOCKED(&probe->shared.lock);

    while (!probe->shared.is_closing && hc_monotonic_ms() < due_ms)
        hc_condition_wait(&probe->shared.news, &probe->shared.lock,
                          due_ms - hc_monotonic_ms());
    return !probe->shared.is_closing;
}

static void *probe_run(void *ctx)
{
    struct hc_volume_probe *probe = ctx;

    do {
        struct hc_error answer = {.reason = HC_OK};
        struct hc_volume_space space = {.size = 0};

        probe_begin(probe);
        if (hc_resolver_check_volume(probe->resolver, &answer) == 0)
            space.is_known =
                hc_resolver_volume_space(probe->resolver, &space.size, &space.available);
        probe_end(probe, &answer, &space);
    } while (probe_await_next(probe));
    return NULL;
}

static void probe_release(struct hc_volume_probe *probe)
{
    (void)pthread_cond_destroy(&probe->shared.news);
    (void)pthread_mutex_destroy(&probe->shared.lock);
    free(probe);
}

struct hc_volume_probe *hc_volume_probe_open(struct hc_resolver *resolver,
                                             int64_t every_ms, int64_t hang_ms,
                                             struct hc_error *err)
{
    struct hc_volume_probe *probe = calloc(1, sizeof *probe);

    if (!probe) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    probe->resolver = resolver;
    probe->every_ms = every_ms;
    probe->hang_ms = hang_ms;
    (void)pthread_mutex_init(&probe->shared.lock, NULL);
    hc_condition_init(&probe->shared.news);
    if (pthread_create(&probe->thread, NULL, probe_run, probe) == 0)
        return probe;
    (void)hc_fail(err, HC_INTERNAL, "the system gives no thread to probe the volume");
    probe_release(probe);
    return NULL;
}

void hc_volume_probe_close(struct hc_volume_probe *probe)
{
    if (!probe)
        return;
    {
        HC_LOCKED(&probe->shared.lock);

        probe->shared.is_closing = true;
        (void)pthread_cond_signal(&probe->shared.news);
    }
    (void)pthread_join(probe->thread, NULL);
    probe_release(probe);
}

bool hc_volume_probe_is_usable(struct hc_volume_probe *probe, int64_t now_ms,
                               struct hc_error *err)
{
    int64_t since_ms;
    HC_LOCKED(&probe->shared.lock);

    since_ms = probe->shared.is_probing ? now_ms - probe->shared.began_ms : 0;
    if (since_ms > probe->hang_ms)
        (void)hc_fail(err, HC_CACHE_IO, "the volume has not answered for %" PRId64 " ms",
                      since_ms);
    else if (probe->shared.last.reason != HC_OK)
        *err = probe->shared.last;
    else
        return true;
    return false;
}

void hc_volume_probe_space(struct hc_volume_probe *probe, struct hc_volume_space *space)
{
    HC_LOCKED(&probe->shared.lock);

    *space = probe->shared.space;
}
