/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A few numbers and what they mean. Repos and pauses have a fixed number of places; the
 * oldest makes room, for it matters least.
 */
#include "health.h"

#include <stddef.h>

static const struct hc_keyed_hash any;

static struct hc_repo_health *find_repo(struct hc_health *health,
                                        const struct hc_keyed_hash *repo)
{
    for (size_t i = 0; i < HC_HEALTH_REPOS; i++) {
        struct hc_repo_health *place = &health->repos[i];

        if (place->failed_ms != 0 && hc_keyed_hash_equals(&place->repo, repo))
            return place;
    }
    return NULL;
}

/* The place of the repo, made if there is none. */
static struct hc_repo_health *take_repo(struct hc_health *health,
                                        const struct hc_keyed_hash *repo, int64_t now_ms)
{
    struct hc_repo_health *place = find_repo(health, repo);

    if (!place) {
        place = &health->repos[0];
        for (size_t i = 1; i < HC_HEALTH_REPOS; i++) {
            if (health->repos[i].failed_ms < place->failed_ms)
                place = &health->repos[i];
        }
        *place = (struct hc_repo_health){.repo = *repo};
    }
    place->failed_ms = now_ms > 0 ? now_ms : 1;
    return place;
}

static bool is_down(const struct hc_outage *outage)
{
    return outage->failures >= HC_FAILURES_MAX;
}

/* That the asker would run into; NULL: none. */
static struct hc_outage *outage_of(struct hc_health *health, const struct hc_asker *asker)
{
    struct hc_repo_health *place = find_repo(health, &asker->repo);

    if (is_down(&health->whole))
        return &health->whole;
    return place && is_down(&place->outage) ? &place->outage : NULL;
}

void hc_health_rise(struct hc_health *health, const struct hc_asker *asker)
{
    struct hc_repo_health *place = find_repo(health, &asker->repo);

    if (place)
        *place = (struct hc_repo_health){0};
    health->whole = (struct hc_outage){0};
    for (size_t i = 0; i < HC_HEALTH_REPOS; i++)
        health->repos[i].is_counted = false;
}

/* One more failure. Only the first one of a pause and the probe at its end begin the next
 * pause: what was asked before the outage comes back late, and says nothing new. */
static void outage_add(struct hc_outage *outage, const struct hc_health_failure *failure)
{
    bool was_down = is_down(outage);

    if (!was_down)
        outage->failures++;
    if (!is_down(outage))
        return;
    outage->down_until_ms = failure->now_ms + HC_DOWN_MS;
    if (was_down && !failure->was_probe)
        return;
    outage->probes_failed += was_down ? 1 : 0;
    outage->probe_at_ms = failure->now_ms + failure->pause_ms;
    outage->is_probed = false;
}

void hc_health_fail(struct hc_health *health, const struct hc_asker *asker,
                    const struct hc_health_failure *failure)
{
    struct hc_repo_health *place = find_repo(health, &asker->repo);

    if (!failure->was_sent) {
        outage_add(&health->whole, failure);
        if (place && failure->was_probe)
            outage_add(&place->outage, failure);
        return;
    }
    place = take_repo(health, &asker->repo, failure->now_ms);
    outage_add(&place->outage, failure);
    if (!place->is_counted || is_down(&health->whole))
        outage_add(&health->whole, failure);
    place->is_counted = true;
}

unsigned hc_health_probes(struct hc_health *health, const struct hc_asker *asker)
{
    const struct hc_outage *outage = outage_of(health, asker);

    return outage ? outage->probes_failed + 1 : 0;
}

/* Whether a pause is for the asker. */
static bool concerns(const struct hc_health_pause *pause, const struct hc_asker *asker)
{
    if (pause->reason == HC_HUB_RATE_LIMITED)
        return hc_keyed_hash_equals(&pause->of, &asker->token);
    return hc_keyed_hash_equals(&pause->of, &any) ||
           hc_keyed_hash_equals(&pause->of, &asker->repo);
}

void hc_health_hold(struct hc_health *health, const struct hc_asker *asker,
                    const struct hc_health_pause *pause, int64_t now_ms)
{
    const struct hc_health_pause *longest = hc_health_held(health, asker, now_ms);
    struct hc_health_pause *place = &health->pauses[0];

    if (longest && longest->until_ms >= pause->until_ms)
        return;
    for (size_t i = 1; i < HC_HEALTH_PAUSES; i++) {
        if (health->pauses[i].until_ms < place->until_ms)
            place = &health->pauses[i];
    }
    *place = *pause;
    if (pause->reason == HC_HUB_RATE_LIMITED)
        place->of = asker->token;
    else
        place->of = is_down(&health->whole) ? any : asker->repo;
}

const struct hc_health_pause *hc_health_held(const struct hc_health *health,
                                             const struct hc_asker *asker, int64_t now_ms)
{
    const struct hc_health_pause *longest = NULL;

    for (size_t i = 0; i < HC_HEALTH_PAUSES; i++) {
        const struct hc_health_pause *pause = &health->pauses[i];

        if (pause->until_ms > now_ms && concerns(pause, asker) &&
            (!longest || pause->until_ms > longest->until_ms))
            longest = pause;
    }
    return longest;
}

int64_t hc_health_down_ms(struct hc_health *health, const struct hc_asker *asker,
                          int64_t now_ms)
{
    const struct hc_outage *outage = outage_of(health, asker);

    return outage && outage->down_until_ms > now_ms ? outage->down_until_ms - now_ms : 0;
}

int64_t hc_health_away_ms(struct hc_health *health, const struct hc_asker *asker,
                          int64_t now_ms)
{
    const struct hc_health_pause *pause = hc_health_held(health, asker, now_ms);
    int64_t held_ms = pause ? pause->until_ms - now_ms : 0;
    int64_t down_ms = hc_health_down_ms(health, asker, now_ms) > 0 ? HC_DOWN_MS : 0;

    return held_ms > down_ms ? held_ms : down_ms;
}

int64_t hc_health_probe(struct hc_health *health, const struct hc_asker *asker,
                        int64_t now_ms)
{
    struct hc_outage *outage = outage_of(health, asker);
    int64_t left_ms = hc_health_down_ms(health, asker, now_ms);

    /* The others still take it to be down until it is known. */
    if (outage && left_ms == 0)
        outage->down_until_ms = now_ms + HC_DOWN_MS;
    return left_ms;
}

enum hc_download_lock hc_health_turn(struct hc_health *health,
                                     const struct hc_asker *asker,
                                     struct hc_turn_seen *seen, int64_t now_ms)
{
    struct hc_outage *outage = outage_of(health, asker);

    if (!outage)
        return HC_TURN_ASK;
    if (seen->is_waiting && outage->probes_failed != seen->probes_failed)
        return HC_TURN_SHARED;
    seen->is_waiting = true;
    seen->probes_failed = outage->probes_failed;
    seen->wait_ms = outage->probe_at_ms > now_ms ? outage->probe_at_ms - now_ms : 0;
    if (outage->is_probed || seen->wait_ms > 0)
        return HC_TURN_WAIT;
    outage->is_probed = true;
    return HC_TURN_PROBE;
}

void hc_health_leave(struct hc_health *health, const struct hc_asker *asker)
{
    struct hc_repo_health *place = find_repo(health, &asker->repo);

    health->whole.is_probed = false;
    if (place)
        place->outage.is_probed = false;
}
