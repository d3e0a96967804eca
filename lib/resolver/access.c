/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May the caller have this repo? For HC_HUB_ACCESS_CALLER. The answer is the Hub's, to
 * the caller's own token, and comes from the first of these that knows it:
 *
 *     the memory   the repo is public, or the Hub has answered to this token lately
 *     the volume   the record of the repo's visibility says that it is public
 *     the Hub      is asked, once for all calls that want to know the same
 *
 * If none does, the caller may not: what is cached is no reason to answer. While the Hub
 * cannot be reached, an access that has expired counts once more as long
 * (access_memory.h), and nothing else does. If the Hub must not be asked, the caller is
 * told so. In any case the answer is the same whether the repo is cached or not: nothing
 * of it has been looked at yet.
 */
#include "resolution.h"

#include "access_memory.h"

#include <base/error.h>
#include <hub/access.h>
#include <hub/shared_query.h>

#include <string.h>

static uint64_t resolution_endpoint_key(const struct hc_resolution *resolution)
{
    const char *url =
        resolution->endpoint_rule ? resolution->endpoint_rule->endpoint : NULL;

    return url ? hc_hash_bytes(HC_HASH_START, url, strlen(url)) : 0;
}

static struct hc_access_key resolution_access_key(const struct hc_resolution *resolution)
{
    return (struct hc_access_key){.token = hc_keyed_hash_of(
                                      hc_resolution_own_token(resolution)),
                                  .endpoint = resolution_endpoint_key(resolution),
                                  .repo = resolution->repo.folder};
}

/* That of the callers without a token, whose access every caller has. */
static struct hc_access_key resolution_public_key(const struct hc_resolution *resolution)
{
    return (struct hc_access_key){.endpoint = resolution_endpoint_key(resolution),
                                  .repo = resolution->repo.folder};
}

static bool resolution_has_own_token(const struct hc_resolution *resolution)
{
    const char *token = hc_resolution_own_token(resolution);

    return token && token[0];
}

/* For an answer that may not be given again: not all is remembered. */
static const struct hc_memo_term not_again = {.until_ns = 0};

/* ---- the memory -------------------------------------------------------------------- */

/* 1, 0 not known, -1. That callers without a token may not says nothing of the others. */
static int access_recall(const struct hc_resolution *resolution, struct hc_error *err)
{
    struct hc_access_memory *memory = resolution->resolver->access;
    struct hc_access_key key = resolution_public_key(resolution);
    int64_t now_ms = hc_monotonic_ms();
    struct hc_memo_term term;
    struct hc_error of_public;
    int found = hc_access_memory_find(memory, &key, now_ms, &term, &of_public);

    if (found < 1 && resolution_has_own_token(resolution)) {
        key = resolution_access_key(resolution);
        found = hc_access_memory_find(memory, &key, now_ms, &term, err);
    } else if (found < 0) {
        *err = of_public;
    }
    if (found == 1)
        hc_reuse_add(resolution->options->reuse, &term);
    return found;
}

static bool access_was_granted(const struct hc_resolution *resolution)
{
    struct hc_access_memory *memory = resolution->resolver->access;
    const struct hc_access_key key = resolution_access_key(resolution);
    const struct hc_access_key public = resolution_public_key(resolution);
    int64_t now_ms = hc_monotonic_ms();

    return hc_access_memory_was_granted(memory, &key, now_ms) ||
           hc_access_memory_was_granted(memory, &public, now_ms);
}

void hc_resolution_note_access(const struct hc_resolution *resolution,
                               enum hc_visibility visibility)
{
    struct hc_access_memory *memory = resolution->resolver->access;
    const struct hc_access_key key = resolution_public_key(resolution);

    if (memory && visibility == HC_VISIBILITY_PUBLIC)
        hc_access_memory_grant(memory, &key, hc_monotonic_ms());
    else if (memory)
        hc_access_memory_forget(memory, &key);
}

void hc_resolution_deny_access(const struct hc_resolution *resolution,
                               const struct hc_error *refusal)
{
    struct hc_access_memory *memory = resolution->resolver->access;
    const struct hc_access_key key = resolution_access_key(resolution);

    if (memory && hc_hub_error_is_refusal(refusal))
        hc_access_memory_deny(memory, &key, hc_monotonic_ms(), refusal);
}

/* ---- the volume -------------------------------------------------------------------- */

/* A process that never asks the Hub has only what the Hub said last. The records are of
 * the Hub of the settings, not of other endpoints. */
static bool access_is_recorded_as_public(const struct hc_resolution *resolution)
{
    const struct hc_resolver *resolver = resolution->resolver;

    if (resolution->endpoint_rule)
        return false;
    return (resolver->policy.offline
                ? hc_visibility_find_last(resolver->cache, &resolution->repo)
                : hc_visibility_find(resolver->cache, &resolution->repo,
                                     hc_epoch_ms())) == HC_VISIBILITY_PUBLIC;
}

/* ---- the Hub ----------------------------------------------------------------------- */

/* The Hub must not be asked. */
static int access_refuse_unasked(const struct hc_resolution *resolution,
                                 struct hc_error *err)
{
    bool is_offline = resolution->resolver->policy.offline;

    (void)hc_fail(
        err, HC_POLICY_DENIED,
        "%s '%s': a repo that is private or gated, or not known to be public, is for "
        "callers whose own Hub token gives access to it, and the Hub cannot be asked %s",
        hc_repo_type_name(resolution->repo.type), resolution->repo.id,
        is_offline ? "because this hubcached is offline"
                   : "with local_files_only; resolve it once without that");
    (void)hc_format(err->rule, sizeof err->rule, "hub-access");
    return -1;
}

/* For all calls with this token that want to know it now: what the Hub says is noted. */
static int access_question_run(void *ctx, void *answer, struct hc_error *err)
{
    struct hc_resolution *resolution = ctx;
    const struct hc_resolver *resolver = resolution->resolver;
    const struct hc_access_key key = resolution_access_key(resolution);
    struct hc_revision of_repo = {0};
    int result = hc_hub_access(resolver->hub, &resolution->repo, resolution->revision,
                               &resolution->credentials, &of_repo.visibility, err);

    (void)answer;
    if (result == 0) {
        hc_access_memory_grant(resolver->access, &key, hc_monotonic_ms());
        hc_resolution_note_repo(resolution, &of_repo);
        return 0;
    }
    hc_resolution_note_refusal(resolution, err);
    return -1;
}

static int access_ask(struct hc_resolution *resolution, bool was_granted,
                      struct hc_error *err)
{
    char token[HC_TOKEN_MAX + 1], name[HC_REPO_FOLDER_MAX + 16], answer;
    struct hc_resolver *resolver = resolution->resolver;
    const struct hc_shared_query query = {.name = name,
                                          .credentials = &resolution->credentials,
                                          .answer_size = sizeof answer,
                                          .run = access_question_run,
                                          .ctx = resolution};
    int result = hc_resolution_choose_token(resolution, token, err);

    if (result < 0)
        return -1;
    (void)hc_format(name, sizeof name, "access %s", resolution->repo.folder);
    resolution->credentials = (struct hc_hub_credentials){
        .token = token,
        .cancellation = resolution->cancellation,
        .no_retry = was_granted,
        .hub_only = true,
        .key = resolution->options->caller,
    };
    result =
        hc_resolution_choose_endpoint(resolution, &resolution->credentials.endpoint, err);
    if (result == 0)
        result = hc_shared_query_run(&resolver->queries, &query, &answer, err);
    resolution->credentials = (struct hc_hub_credentials){0};
    explicit_bzero(token, sizeof token);
    return result;
}

int hc_resolution_check_access(struct hc_resolution *resolution,
                               enum hc_access_depth depth, struct hc_error *err)
{
    bool was_granted;
    int found;

    if (!resolution->resolver->access || resolution->is_confirmation ||
        resolution->answered)
        return 1;
    found = access_recall(resolution, err);
    if (found != 0 || depth == HC_ACCESS_BY_MEMORY)
        return found;
    if (access_is_recorded_as_public(resolution)) {
        hc_resolution_note_access(resolution, HC_VISIBILITY_PUBLIC);
        if (access_recall(resolution, err) != 1)
            hc_reuse_add(resolution->options->reuse, &not_again);
        return 1;
    }
    was_granted = access_was_granted(resolution);
    if (!resolution->may_ask_hub)
        return access_refuse_unasked(resolution, err);
    if (depth == HC_ACCESS_BY_VOLUME)
        return 0;
    if (access_ask(resolution, was_granted, err) == 0)
        return 1;
    return was_granted && err->reason == HC_HUB_UNREACHABLE ? 1 : -1;
}
