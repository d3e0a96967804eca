/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every entry of the tree that the patterns select is looked up on disk; what is not
 * there, or has another size than the tree says, is a job to fetch.
 */
#include "completeness.h"

#include <base/digest.h>
#include <base/size.h>

#include <string.h>

/*
 * Is the entry's file here, whole? A blob of that name, or a plain file, which has none,
 * of another size is not. A blob of another name was brought for this commit and path on
 * the Hub's word, which counts for more than a listing on disk.
 */
static int entry_is_cached(const struct hc_snapshot_lookup *lookup, const char *commit,
                           const struct hc_entry *entry, struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    struct hc_pointer pointer;
    int found;

    if (resolution->options->force_download)
        return 0;
    found = hc_pointer_find(resolution->resolver->cache, &resolution->repo, commit,
                            entry->path, &pointer, err);
    if (found <= 0)
        return found;
    if (!entry->has_etag ||
        (pointer.etag[0] && strcmp(pointer.etag, hc_entry_etag(entry)) != 0))
        return 1;
    return pointer.size == hc_entry_size(entry);
}

static int entry_add_to_answer(const struct hc_snapshot_lookup *lookup,
                               const char *commit, const struct hc_entry *entry,
                               bool here, struct hc_snapshot *answer,
                               struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    char cache_path[PATH_MAX];
    struct hc_file file;

    if (hc_cache_snapshot_path(cache_path, &resolution->repo, commit, entry->path, err) <
        0)
        return -1;
    if (hc_resolved_file_init(resolution->resolver, cache_path, entry->path, &file, err) <
        0)
        return -1;
    memcpy(file.commit_hash, commit, HC_COMMIT_SIZE);
    (void)hc_format(file.etag, sizeof file.etag, "%s", hc_entry_etag(entry));
    file.size_bytes = hc_entry_size(entry);
    file.source = here ? HC_SOURCE_CACHE : HC_SOURCE_HUB;
    if (hc_resolved_files_add(&answer->files, &answer->listed, &file, err) == 0)
        return 0;
    hc_file_clear(&file);
    return -1;
}

/* One more that is missing. Room doubles. */
static int entry_add_missing(struct hc_completeness_check *check,
                             const struct hc_entry *entry, struct hc_error *err)
{
    if ((check->count & (check->count - 1)) == 0) {
        size_t room = check->count ? check->count * 2 : 1;
        struct hc_missing_blob *grown = reallocarray(check->blobs, room, sizeof *grown);

        if (!grown)
            return hc_fail_memory(err);
        check->blobs = grown;
    }
    check->blobs[check->count++] = (struct hc_missing_blob){.path = entry->path,
                                                            .etag = hc_entry_etag(entry),
                                                            .size = hc_entry_size(entry)};
    check->missing_bytes += hc_entry_size(entry);
    return 0;
}

/* A file that the request selects and the cache cannot hold: the whole of the selection
 * can never be there. */
static int entry_fail_unsafe(const struct hc_snapshot_lookup *lookup,
                             const struct hc_entry *entry, struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    char shown[128];

    hc_text_excerpt(shown, sizeof shown, entry->path);
    return hc_fail(err, HC_BAD_HUB_REPLY,
                   "%s '%s' at '%.80s' has a file '%s', whose name is unsafe on disk; "
                   "leave it out with ignore_patterns, or have its owner rename it",
                   hc_repo_type_name(resolution->repo.type), resolution->repo.id,
                   resolution->revision, shown);
}

static int entry_check(const struct hc_snapshot_lookup *lookup, const char *commit,
                       const struct hc_entry *entry, struct hc_completeness_check *check,
                       struct hc_error *err)
{
    struct hc_snapshot *answer = check->answer;
    int here = entry->is_safe ? entry_is_cached(lookup, commit, entry, err)
                              : entry_fail_unsafe(lookup, entry, err);

    if (here < 0)
        return -1;
    answer->file_count++;
    answer->size_bytes = hc_size_add(answer->size_bytes, hc_entry_size(entry));
    if (answer->size_bytes == UINT64_MAX)
        return hc_fail(
            err, HC_BAD_HUB_REPLY,
            "the files of commit %s of %s '%s' are said to have more bytes than "
            "64 bits can count",
            commit, hc_repo_type_name(lookup->resolution.repo.type),
            lookup->resolution.repo.id);
    if (lookup->request->list_files &&
        entry_add_to_answer(lookup, commit, entry, here, answer, err) < 0)
        return -1;
    if (here)
        return 0;
    if (entry_add_missing(check, entry, err) < 0)
        return -1;
    if (check->missing.count == HC_MISSING_MAX)
        return 0;
    return hc_strings_add(&check->missing, entry->path, err);
}

enum { CHECK_ENTRIES = 1024 }; /* looked up on disk between two looks at the call */

int hc_completeness_check_tree(const struct hc_snapshot_lookup *lookup,
                               const char *commit, const struct hc_tree *tree,
                               struct hc_completeness_check *check, struct hc_error *err)
{
    if (hc_filter_check(lookup->filter, tree->count, err) < 0)
        return -1;
    for (size_t i = 0; i < tree->count; i++) {
        const struct hc_entry *entry = &tree->entries[i];
        int selected = hc_filter_select(lookup->filter, entry->path, err);

        if (selected < 0 ||
            (selected && entry_check(lookup, commit, entry, check, err) < 0))
            return -1;
        if (i % CHECK_ENTRIES == 0 &&
            hc_cancellation_check(lookup->cancellation, err) < 0)
            return -1;
    }
    return 0;
}

void hc_completeness_answer_partial(struct hc_completeness_check *check)
{
    struct hc_snapshot *answer = check->answer;

    if (check->count == 0)
        return;
    answer->completeness = HC_PARTIAL;
    answer->source = HC_SOURCE_HUB;
    answer->missing = check->missing.items;
    answer->missing_listed = check->missing.count;
    answer->missing_total = (unsigned)check->count;
    check->missing = (struct hc_strings){0};
}

void hc_completeness_check_clear(struct hc_completeness_check *check)
{
    hc_strings_clear(&check->missing);
    free(check->blobs);
}
