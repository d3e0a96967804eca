/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A proof is remembered under the snapshot's path and the patterns, each with its length,
 * so that no two selections have the same name; and under the key of the decision, so
 * that it answers callers alone for whom policy leaves out the same files. The text is
 * the number of files, their bytes, and the version of the listing in this process: if
 * that is written or dropped, no proof counts that uses it. The files that are left
 * out follow, one a line; if there is no room for them, the proof is not remembered.
 */
#include "snapshot_proof.h"

#include <cache/tree_cache.h>
#include <policy/patterns.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int proof_name_add(char name[HC_MEMO_PATH_MAX + 1], size_t *used, char kind,
                          const char *pattern)
{
    int length = hc_format(name + *used, HC_MEMO_PATH_MAX + 1 - *used, "%c%zu:%s", kind,
                           strlen(pattern), pattern);

    *used += length < 0 ? 0 : (size_t)length;
    return length;
}

static bool proof_format_name(const struct hc_resolution *resolution,
                              const struct hc_patterns *patterns, const char *commit,
                              char name[HC_MEMO_PATH_MAX + 1])
{
    int length = hc_format(name, HC_MEMO_PATH_MAX + 1, "%s/snapshots/%s ",
                           resolution->repo.folder, commit);
    size_t used = length < 0 ? 0 : (size_t)length;

    for (size_t i = 0; length >= 0 && i < patterns->allow_count; i++)
        length = proof_name_add(name, &used, '+', patterns->allow[i]);
    for (size_t i = 0; length >= 0 && i < patterns->ignore_count; i++)
        length = proof_name_add(name, &used, '-', patterns->ignore[i]);
    if (length < 0 || hc_decision_allows_all(&resolution->decision))
        return length >= 0;
    name[used++] = '!';
    return used < HC_MEMO_PATH_MAX &&
           hc_decision_format_key(&resolution->decision, name + used,
                                  HC_MEMO_PATH_MAX + 1 - used) >= 0;
}

bool hc_snapshot_proof_begin(const struct hc_resolution *resolution,
                             const struct hc_patterns *patterns, const char *commit,
                             struct hc_snapshot_proof *proof)
{
    const struct hc_cache *cache = resolution->resolver->cache;

    if (!proof_format_name(resolution, patterns, commit, proof->name))
        return false;
    proof->look = hc_memo_begin_look(hc_cache_memo(cache), proof->name);
    proof->tree_version = hc_tree_term(cache, &resolution->repo, commit).seen;
    return true;
}

void hc_snapshot_proof_store(const struct hc_resolution *resolution,
                             const struct hc_snapshot_proof *proof,
                             const struct hc_snapshot *snapshot)
{
    char text[HC_MEMO_TEXT_MAX + 1];
    int used = hc_format(text, sizeof text, "%u %" PRIu64 " %" PRIu32,
                         snapshot->file_count, snapshot->size_bytes, proof->tree_version);

    if (snapshot->excluded_total > snapshot->excluded_listed)
        return;
    for (size_t i = 0; i < snapshot->excluded_listed; i++) {
        int length = hc_format(text + used, sizeof text - (size_t)used, "\n%s",
                               snapshot->excluded[i]);

        if (length < 0)
            return;
        used += length;
    }
    hc_memo_store_proved(hc_cache_memo(resolution->resolver->cache), &proof->look,
                         snapshot->file_count + 2, text); /* the listing, the ref */
}

/* The files that are left out, one a line. */
static int proof_read_excluded(char *text, struct hc_snapshot *snapshot,
                               struct hc_error *err)
{
    struct hc_strings excluded = {0};
    char *rest = strchr(text, '\n');
    int added = 0;

    for (char *name = rest; name && added == 0; name = rest) {
        rest = strchr(++name, '\n');
        if (rest)
            *rest = '\0';
        added = hc_strings_add(&excluded, name, err);
    }
    snapshot->excluded = excluded.items;
    snapshot->excluded_listed = excluded.count;
    snapshot->excluded_total = (unsigned)excluded.count;
    return added;
}

int hc_snapshot_proof_recall(const struct hc_resolution *resolution,
                             const struct hc_patterns *patterns, const char *commit,
                             struct hc_snapshot *snapshot, struct hc_error *err)
{
    const struct hc_cache *cache = resolution->resolver->cache;
    const struct hc_memo_term listing = hc_tree_term(cache, &resolution->repo, commit);
    char name[HC_MEMO_PATH_MAX + 1];
    struct hc_memo_fact fact;
    uint32_t tree_version;

    if (!proof_format_name(resolution, patterns, commit, name) ||
        !hc_memo_recall(hc_cache_memo(cache), name, &fact))
        return 0;
    *resolution->is_due = *resolution->is_due || fact.is_due;
    hc_reuse_add(resolution->options->reuse, &fact.term);
    hc_reuse_add(resolution->options->reuse, &listing);
    /* NOLINTNEXTLINE(cert-err34-c): hc_snapshot_proof_store() made the text */
    if (sscanf(fact.text, "%u %" SCNu64 " %" SCNu32, &snapshot->file_count,
               &snapshot->size_bytes, &tree_version) != 3 ||
        tree_version != listing.seen)
        return 0;
    return proof_read_excluded(fact.text, snapshot, err) < 0 ? -1 : 1;
}
