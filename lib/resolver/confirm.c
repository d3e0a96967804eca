/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Confirmations: what memory answered is looked at on the volume, on a thread of the pool
 * for lookups, and no caller waits for it. A confirmation is the request once more, as if
 * it came from a caller that must not ask the Hub: it finds what is remembered in the
 * same state, or another, or nothing, and each look puts what it found into the memory
 * (cache/memo.h). The memory tells one caller in an interval that a fact is due, so there
 * is one confirmation however many callers there are. If too many are queued, it is left
 * out: the fact is forgotten in time, and the next caller looks.
 */
#include "resolution.h"

#include <base/hash.h>
#include <policy/patterns.h>

#include <string.h>

struct confirmation {
    struct hc_task task; /* first: the task is cast to it */
    struct hc_resolver *resolver;
    char *id, *revision;
    enum hc_repo_type type;
    bool is_of_snapshot;
    bool looks_at_all;           /* at each file of it */
    struct hc_decision decision; /* which of them the caller may have */
    struct hc_strings paths;     /* or, of a snapshot, allow_patterns */
    struct hc_strings ignored;
};

static void confirmation_free(struct confirmation *confirmation)
{
    if (!confirmation)
        return;
    free(confirmation->id);
    free(confirmation->revision);
    hc_strings_clear(&confirmation->paths);
    hc_strings_clear(&confirmation->ignored);
    hc_decision_clear(&confirmation->decision);
    free(confirmation);
}

HC_DEFINE_AUTO(confirmation, confirmation_free)

static void confirmation_look_at_snapshot(const struct confirmation *confirmation,
                                          const struct hc_target *target)
{
    const struct hc_snapshot_request request = {
        .repo = *target,
        .allow_patterns = (const char *const *)confirmation->paths.items,
        .allow_count = confirmation->paths.count,
        .ignore_patterns = (const char *const *)confirmation->ignored.items,
        .ignore_count = confirmation->ignored.count,
        .options.local_files_only = true,
    };

    hc_snapshot_confirm(confirmation->resolver, &request, &confirmation->decision,
                        confirmation->looks_at_all);
}

static void confirmation_look_at_files(const struct confirmation *confirmation,
                                       const struct hc_target *target)
{
    const struct hc_files_request request = {
        .repo = *target,
        .filenames = (const char *const *)confirmation->paths.items,
        .filename_count = confirmation->paths.count,
        .allow_missing = true,
        .options.local_files_only = true,
    };

    hc_files_confirm(confirmation->resolver, &request);
}

static bool confirmation_run(struct hc_task *task)
{
    HC_AUTO(confirmation) *confirmation = (struct confirmation *)task;
    const struct hc_target target = {.id = confirmation->id,
                                     .type = confirmation->type,
                                     .revision = confirmation->revision};

    if (confirmation->is_of_snapshot)
        confirmation_look_at_snapshot(confirmation, &target);
    else
        confirmation_look_at_files(confirmation, &target);
    return false;
}

/* NULL when memory is short; then nothing is confirmed. */
static struct confirmation *confirmation_new(const struct hc_resolution *resolution,
                                             const struct hc_patterns *texts,
                                             bool is_of_snapshot)
{
    HC_AUTO(confirmation) *confirmation = calloc(1, sizeof *confirmation);
    const struct hc_repo *repo = &resolution->repo;
    struct hc_error ignored;

    if (!confirmation)
        return NULL;
    confirmation->task.run = confirmation_run;
    confirmation->task.repo =
        hc_hash_bytes(HC_HASH_START, repo->folder, strlen(repo->folder));
    confirmation->resolver = resolution->resolver;
    confirmation->id = hc_text_copy(repo->id, &ignored);
    confirmation->revision = hc_text_copy(resolution->revision, &ignored);
    confirmation->type = repo->type;
    confirmation->is_of_snapshot = is_of_snapshot;
    if (!confirmation->id || !confirmation->revision ||
        hc_decision_copy(&confirmation->decision, &resolution->decision, &ignored) < 0 ||
        hc_strings_add_all(&confirmation->paths, texts->allow, texts->allow_count,
                           &ignored) < 0 ||
        hc_strings_add_all(&confirmation->ignored, texts->ignore, texts->ignore_count,
                           &ignored) < 0)
        return NULL;
    return hc_take(&confirmation);
}

/* NULL: nothing is confirmed. */
static void confirmation_submit(const struct hc_resolution *resolution,
                                struct confirmation *made)
{
    HC_AUTO(confirmation) *confirmation = made;
    struct hc_error ignored;

    if (confirmation && hc_workers_submit(resolution->resolver->lookup_workers,
                                          &confirmation->task, &ignored) == 0)
        (void)hc_take(&confirmation); /* the task frees itself */
}

void hc_confirm_files(const struct hc_resolution *resolution, const char *const *paths,
                      size_t count)
{
    const struct hc_patterns texts = {paths, count, NULL, 0};

    confirmation_submit(resolution, confirmation_new(resolution, &texts, false));
}

void hc_confirm_snapshot(const struct hc_resolution *resolution,
                         const struct hc_patterns *patterns, bool looks_at_all)
{
    struct confirmation *confirmation = confirmation_new(resolution, patterns, true);

    if (confirmation)
        confirmation->looks_at_all = looks_at_all;
    confirmation_submit(resolution, confirmation);
}
