/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memo measures each look (cache/memo.h). The files are looked at in order as long as
 * that is quick. As soon as the volume is known to be slow, what a proof does not answer
 * is left to many threads; the numbers of their work are those of the entries.
 */
#include "presence.h"

#include <base/hash.h>
#include <base/parallel.h>
#include <cache/memo.h>
#include <cache/proof.h>
#include <claim/claim_record.h>

#include <string.h>

enum {
    ENTRIES_PER_CHECK = 1024, /* between two looks at the cancellation */
    PROOF_FILES_MIN = 64      /* to look at fewer takes no longer than to read a proof */
};

/* ---- which files are selected ------------------------------------------------------ */

/* The request selects a file that the cache cannot hold, so the selection can never be
 * complete. */
static int entry_fail_unsafe(const struct hc_resolution *resolution,
                             const struct hc_entry *entry, struct hc_error *err)
{
    char shown[128];

    hc_text_excerpt(shown, sizeof shown, entry->path);
    return hc_fail(err, HC_BAD_HUB_REPLY,
                   "%s '%s' at '%.80s' has a file '%s', whose name is unsafe on disk; "
                   "leave it out with ignore_patterns, or have its owner rename it",
                   hc_repo_type_name(resolution->repo.type), resolution->repo.id,
                   resolution->revision, shown);
}

/* 1: the patterns select the entry, and policy allows it; 0; -1. */
static int presence_select_entry(struct hc_presence_check *check,
                                 const struct hc_entry *entry, struct hc_error *err)
{
    const struct hc_decision *decision = &check->resolution->decision;
    int selected = hc_filter_select(check->filter, entry->path, err);

    if (selected <= 0 ||
        hc_decision_verdict(decision, entry->path, hc_entry_size(entry)).is_allowed)
        return selected;
    if (check->excluded_total++ < HC_MISSING_MAX &&
        hc_strings_add(&check->excluded, entry->path, err) < 0)
        return -1;
    return 0;
}

int hc_presence_select(struct hc_presence_check *check, struct hc_error *err)
{
    const struct hc_tree *tree = check->tree;
    const struct hc_filter *filter = check->filter;

    check->files = calloc(tree->count + 1, 1);
    if (!check->files)
        return hc_fail_memory(err);
    if (hc_filter_check(filter, tree->count, err) < 0)
        return -1;
    for (size_t i = 0; i < tree->count; i++) {
        int selected = presence_select_entry(check, &tree->entries[i], err);

        if (selected < 0)
            return -1;
        if (selected && !tree->entries[i].is_safe)
            return entry_fail_unsafe(check->resolution, &tree->entries[i], err);
        check->files[i] = selected ? HC_SELECTED : HC_NOT_SELECTED;
    }
    return 0;
}

/* ---- looks ------------------------------------------------------------------------- */

/*
 * Is the entry's file here, whole? A blob of that name, or a plain file, which has none,
 * of another size is not. A blob of another name was fetched for this commit and path on
 * the Hub's word, which counts for more than a cached listing.
 */
static int entry_look(const struct hc_presence_check *check, const struct hc_entry *entry,
                      uint8_t *presence, struct hc_error *err)
{
    const struct hc_resolution *resolution = check->resolution;
    struct hc_pointer pointer;
    int found = hc_pointer_find(resolution->resolver->cache, &resolution->repo,
                                check->commit, entry->path, &pointer, err);
    bool is_other, is_whole;

    if (found < 0)
        return -1;
    *presence = HC_ABSENT;
    if (found == 0)
        return 0;
    is_other = pointer.etag[0] && strcmp(pointer.etag, hc_entry_etag(entry)) != 0;
    is_whole = !entry->has_etag || is_other || pointer.size == hc_entry_size(entry);
    if (is_whole)
        *presence = pointer.is_direct ? HC_PRESENT : HC_PRESENT_APART;
    return 0;
}

static int presence_look(void *ctx, size_t number, struct hc_error *err)
{
    const struct hc_presence_check *check = ctx;
    uint8_t *presence = &check->files[number];

    if (*presence != HC_SELECTED)
        return 0;
    if (check->resolution->options->force_download) {
        *presence = HC_ABSENT;
        return 0;
    }
    return entry_look(check, &check->tree->entries[number], presence, err);
}

/* ---- a slow volume ----------------------------------------------------------------- */

/* Numbers from before the proof was opened do not count: all are looked at again. */
static size_t presence_begin_again(const struct hc_presence_check *check)
{
    size_t selected = 0;

    for (size_t i = 0; i < check->tree->count; i++) {
        if (check->files[i] == HC_NOT_SELECTED)
            continue;
        check->files[i] = HC_SELECTED;
        selected++;
    }
    return selected;
}

/* Returns how many files are left to look at: the first one in any case, which sets the
 * last use of the snapshot (maintenance/candidates.h). */
static size_t presence_take_proof(const struct hc_presence_check *check,
                                  const struct hc_proof *proof)
{
    size_t left = 0;

    for (size_t i = 0; i < check->tree->count; i++) {
        if (check->files[i] != HC_SELECTED)
            continue;
        if (left > 0 && hc_proof_has(proof, i) && !check->resolution->looks_at_all)
            check->files[i] = HC_PRESENT;
        else
            left++;
    }
    return left;
}

static void presence_save_proof(const struct hc_presence_check *check,
                                struct hc_proof *proof, int64_t opened_ms)
{
    const struct hc_cache *cache = check->resolution->resolver->cache;
    int64_t took_ms = hc_monotonic_ms() - opened_ms;

    for (size_t i = 0; i < check->tree->count; i++) {
        if (check->files[i] != HC_NOT_SELECTED)
            hc_proof_set(proof, i, check->files[i] == HC_PRESENT);
    }
    if (hc_proof_is_changed(proof))
        hc_proof_save(proof, hc_volume_now_ms(cache) - took_ms);
}

static int presence_look_side_by_side(struct hc_presence_check *check,
                                      struct hc_error *err)
{
    const struct hc_resolution *resolution = check->resolution;
    const struct hc_cache *cache = resolution->resolver->cache;
    const char *folder = resolution->repo.folder;
    const struct hc_repo_file place = {&resolution->repo, check->commit, NULL};
    const struct hc_parallel looks = {
        .workers = resolution->resolver->lookup_workers,
        .run = presence_look,
        .ctx = check,
        .repo = hc_hash_bytes(HC_HASH_START, folder, strlen(folder)),
        .cancellation = resolution->cancellation,
    };
    int64_t opened_ms = hc_monotonic_ms();
    size_t left = presence_begin_again(check);
    HC_AUTO(hc_proof) *proof = NULL;

    if (left >= PROOF_FILES_MIN && !resolution->options->force_download)
        proof = hc_proof_open(cache, &place, check->tree, &looks);
    if (proof)
        left = presence_take_proof(check, proof);
    if (left > 0 && hc_parallel_run(&looks, check->tree->count, err) < 0)
        return -1;
    if (proof)
        presence_save_proof(check, proof, opened_ms);
    if (proof && left == 1)
        check->is_old = hc_proof_is_old(proof);
    return 0;
}

/* ---- the interface ----------------------------------------------------------------- */

static int presence_look_in_order(struct hc_presence_check *check, struct hc_error *err)
{
    const struct hc_resolution *resolution = check->resolution;
    const struct hc_memo *memo = hc_cache_memo(resolution->resolver->cache);

    for (size_t i = 0; i < check->tree->count; i++) {
        if (hc_memo_median_is_slow(memo))
            return presence_look_side_by_side(check, err);
        if (presence_look(check, i, err) < 0 ||
            (i % ENTRIES_PER_CHECK == 0 &&
             hc_cancellation_check(resolution->cancellation, err) < 0))
            return -1;
    }
    return 0;
}

int hc_presence_find(struct hc_presence_check *check, struct hc_error *err)
{
    return hc_presence_select(check, err) < 0 ? -1 : presence_look_in_order(check, err);
}

void hc_presence_check_clear(struct hc_presence_check *check)
{
    free(check->files);
    check->files = NULL;
    hc_strings_clear(&check->excluded);
}
