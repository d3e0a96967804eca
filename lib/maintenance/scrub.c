/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any process may write to the state, and an older one is as good as none: what it says
 * decides only which files are read when.
 */
#include "scrub.h"

#include <base/file.h>
#include <base/json.h>
#include <base/text.h>
#include <claim/claim_record.h>

#include <string.h>

static const char state_path[] = ".hubcache/scrub.json";

enum { STATE_SIZE_MAX = 64 * 1024 };

struct scrub_pass {
    const struct hc_scrub *scrub;
    struct hc_scrub_state state;
    struct hc_verify_result before; /* of the pass, by earlier calls */
    int64_t saved_ms;
};

/* ---- the state on the volume ------------------------------------------------------- */

static json_t *json_of_result(const struct hc_verify_result *result)
{
    json_t *findings = json_object();

    for (int kind = 1; kind < HC_FINDING_KINDS; kind++) {
        if (result->findings[kind] > 0)
            (void)json_object_set_new(findings,
                                      hc_finding_kind_name((enum hc_finding_kind)kind),
                                      json_integer((json_int_t)result->findings[kind]));
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:o}", "blobs", (json_int_t)result->blobs,
                     "bytes", (json_int_t)result->bytes, "repaired",
                     (json_int_t)result->repaired, "not_repaired",
                     (json_int_t)result->not_repaired, "findings", findings);
}

static uint64_t json_count(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));

    return value > 0 ? (uint64_t)value : 0;
}

static void result_of_json(const json_t *object, struct hc_verify_result *result)
{
    const json_t *findings = json_object_get(object, "findings");

    result->blobs = json_count(object, "blobs");
    result->bytes = json_count(object, "bytes");
    result->repaired = json_count(object, "repaired");
    result->not_repaired = json_count(object, "not_repaired");
    for (int kind = 1; kind < HC_FINDING_KINDS; kind++)
        result->findings[kind] =
            json_count(findings, hc_finding_kind_name((enum hc_finding_kind)kind));
}

/* A state that cannot be written costs reads: the next process begins anew. */
static void state_write(const struct hc_cache *cache, const struct hc_scrub_state *state)
{
    HC_AUTO_JSON *object =
        json_pack("{s:I, s:s, s:I, s:I, s:o, s:o}", "pass_began_ms",
                  (json_int_t)state->pass_began_ms, "pass_path", state->pass_path,
                  "last_began_ms", (json_int_t)state->last_began_ms, "last_ended_ms",
                  (json_int_t)state->last_ended_ms, "pass", json_of_result(&state->pass),
                  "last", json_of_result(&state->last));
    HC_AUTO_FREE char *text = object ? json_dumps(object, JSON_INDENT(1)) : NULL;
    struct hc_error unused;

    if (text)
        (void)hc_cache_publish(cache, state_path, text, strlen(text), &unused);
}

int hc_scrub_state_read(const struct hc_cache *cache, struct hc_scrub_state *state)
{
    HC_AUTO_FREE char *text = malloc(STATE_SIZE_MAX);
    HC_AUTO_JSON *object = NULL;
    struct hc_error unused;
    const char *path;

    *state = (struct hc_scrub_state){0};
    if (!text ||
        hc_file_read(hc_cache_fd(cache), state_path, text, STATE_SIZE_MAX, &unused) != 1)
        return 0;
    object = json_loads(text, 0, NULL);
    if (!json_is_object(object))
        return 0;
    path = json_string_value(json_object_get(object, "pass_path"));
    (void)hc_format(state->pass_path, sizeof state->pass_path, "%s", path ? path : "");
    state->pass_began_ms = (int64_t)json_count(object, "pass_began_ms");
    state->last_began_ms = (int64_t)json_count(object, "last_began_ms");
    state->last_ended_ms = (int64_t)json_count(object, "last_ended_ms");
    result_of_json(json_object_get(object, "pass"), &state->pass);
    result_of_json(json_object_get(object, "last"), &state->last);
    return 1;
}

/* ---- a pass ------------------------------------------------------------------------ */

/* "<folder>/<path>". */
static void position_parse(struct hc_verify_position *position, const char *path)
{
    const char *end = strchr(path, '/');

    *position = (struct hc_verify_position){.folder = ""};
    if (!end || hc_format(position->folder, sizeof position->folder, "%.*s",
                          (int)(end - path), path) < 0)
        return;
    (void)hc_format(position->path, sizeof position->path, "%s", end + 1);
}

/* What earlier calls have done of the pass, and this one so far. */
static void pass_add_up(struct scrub_pass *pass, const struct hc_verify_result *result)
{
    const struct hc_verify_result *before = &pass->before;
    struct hc_verify_result *sum = &pass->state.pass;

    *sum = (struct hc_verify_result){
        .blobs = before->blobs + result->blobs,
        .bytes = before->bytes + result->bytes,
        .repaired = before->repaired + result->repaired,
        .not_repaired = before->not_repaired + result->not_repaired,
    };
    for (int kind = 1; kind < HC_FINDING_KINDS; kind++)
        sum->findings[kind] = before->findings[kind] + result->findings[kind];
}

static int scrub_passed(void *ctx, const struct hc_verify_position *position,
                        const struct hc_verify_result *result, struct hc_error *err)
{
    struct scrub_pass *pass = ctx;
    struct hc_scrub_state *state = &pass->state;

    (void)hc_format(state->pass_path, sizeof state->pass_path, "%s/%s", position->folder,
                    position->path);
    pass_add_up(pass, result);
    if (hc_monotonic_ms() - pass->saved_ms < HC_SCRUB_SAVE_MS)
        return hc_cancellation_check(pass->scrub->cancellation, err);
    state_write(pass->scrub->cache, state);
    pass->saved_ms = hc_monotonic_ms();
    return 0;
}

static int scrub_found(void *ctx, struct hc_finding *finding, struct hc_error *err)
{
    const struct scrub_pass *pass = ctx;
    const struct hc_scrub *scrub = pass->scrub;

    return scrub->found ? scrub->found(scrub->ctx, finding, err) : 0;
}

static int scrub_fetch_over(void *ctx, const struct hc_finding *finding,
                            struct hc_error *err)
{
    const struct scrub_pass *pass = ctx;

    return pass->scrub->fetch_over(pass->scrub->ctx, finding, err);
}

static int scrub_make_pass(struct scrub_pass *pass, struct hc_error *err)
{
    const struct hc_scrub *scrub = pass->scrub;
    struct hc_scrub_state *state = &pass->state;
    struct hc_verify_position after = {0};
    const struct hc_verification verification = {
        .cache = scrub->cache,
        .request = scrub->request,
        .found = scrub_found,
        .fetch_over = scrub->fetch_over ? scrub_fetch_over : NULL,
        .passed = scrub_passed,
        .ctx = pass,
        .after = state->pass_path[0] ? &after : NULL,
        .is_idle = true,
        .cancellation = scrub->cancellation,
    };
    int result;

    position_parse(&after, state->pass_path);
    pass->before = state->pass;
    pass->saved_ms = hc_monotonic_ms();
    state_write(scrub->cache, state);
    result = hc_verification_run(&verification, scrub->result, err);
    pass_add_up(pass, scrub->result);
    if (result < 0) {
        state_write(scrub->cache, state);
        return -1;
    }
    state->last = state->pass;
    state->last_began_ms = state->pass_began_ms;
    state->last_ended_ms = hc_volume_now_ms(scrub->cache);
    state->pass = (struct hc_verify_result){0};
    state->pass_began_ms = 0;
    state->pass_path[0] = '\0';
    state_write(scrub->cache, state);
    return 1;
}

/* Of a time in the future, the clock that set it was wrong. */
static bool scrub_is_due(const struct hc_scrub *scrub, const struct hc_scrub_state *state,
                         int64_t now_ms)
{
    int64_t age_ms = now_ms - state->last_ended_ms;

    return state->pass_began_ms > 0 || age_ms >= scrub->interval_ms || age_ms < 0;
}

static int scrub_run_locked(const struct hc_scrub *scrub, struct hc_error *err)
{
    struct scrub_pass pass = {.scrub = scrub};
    int64_t now_ms = hc_volume_now_ms(scrub->cache);

    (void)hc_scrub_state_read(scrub->cache, &pass.state); /* which no other writes now */
    if (!scrub_is_due(scrub, &pass.state, now_ms))
        return 0;
    if (pass.state.pass_began_ms == 0)
        pass.state.pass_began_ms = now_ms;
    return scrub_make_pass(&pass, err);
}

int hc_scrub_run(const struct hc_scrub *scrub, struct hc_error *err)
{
    struct hc_scrub_state state;
    int result;

    (void)hc_scrub_state_read(scrub->cache, &state);
    if (!scrub_is_due(scrub, &state, hc_volume_now_ms(scrub->cache)) ||
        !hc_replica_lock_try(scrub->lock, hc_monotonic_ms()))
        return 0;
    result = scrub_run_locked(scrub, err);
    hc_replica_lock_release(scrub->lock);
    return result;
}
