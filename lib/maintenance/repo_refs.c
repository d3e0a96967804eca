/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every regular file below refs/ is a ref for the scanner; only those with a name that a
 * request may have are refs for hubcache, and the name of a commit is none.
 */
#include "repo_refs.h"

#include <base/directory.h>
#include <base/file.h>
#include <base/text.h>
#include <cache/ref.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { CONTENT_MAX = 256 };

bool hc_scanner_ignores(const char *name)
{
    static const char *const ignored[] = {".DS_Store", "Thumbs.db", "desktop.ini"};

    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
        if (strcmp(name, ignored[i]) == 0)
            return true;
    }
    return false;
}

static int refs_add(struct hc_repo_refs *refs, const struct hc_directory_walk *walk,
                    char content[CONTENT_MAX], struct hc_error *err)
{
    struct hc_repo_ref ref = {.is_exact = hc_commit_is_valid(content)};

    if (refs->count == refs->capacity) {
        size_t room = refs->capacity ? 2 * refs->capacity : 4;
        struct hc_repo_ref *grown = reallocarray(refs->items, room, sizeof *grown);

        if (!grown)
            return hc_fail_memory(err);
        refs->items = grown;
        refs->capacity = room;
    }
    if (!hc_ref_parse(content, ref.commit))
        ref.commit[0] = '\0';
    ref.name = hc_text_copy(walk->path, err);
    if (!ref.name)
        return -1;
    refs->items[refs->count++] = ref;
    return 0;
}

static int compare_refs(const void *left, const void *right)
{
    const struct hc_repo_ref *a = left, *b = right;
    int order = strcmp(a->commit, b->commit);

    return order != 0 ? order : strcmp(a->name, b->name);
}

int hc_repo_refs_read(struct hc_repo_refs *refs, int repo, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_directory_walk(repo, "refs", HC_DEPTH_MAX);
    char content[CONTENT_MAX];
    struct hc_error unused;

    refs->is_no_directory = walk.errnum == ENOTDIR;
    while (hc_directory_walk_next(&walk)) {
        if (!S_ISREG(walk.type) || hc_scanner_ignores(walk.name))
            continue;
        if (hc_file_read(walk.dir, walk.name, content, sizeof content, &unused) != 1) {
            if (faccessat(walk.dir, walk.name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
                continue; /* it has just been removed */
            content[0] = '\0';
        }
        if (refs_add(refs, &walk, content, err) < 0)
            return -1;
    }
    if (refs->count > 0)
        qsort(refs->items, refs->count, sizeof *refs->items, compare_refs);
    return 0;
}

const struct hc_repo_ref *hc_repo_refs_take(struct hc_repo_refs *refs, const char *commit,
                                            size_t *count)
{
    size_t low = 0, high = refs->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(refs->items[middle].commit, commit) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (high = low; high < refs->count && !strcmp(refs->items[high].commit, commit);)
        refs->items[high++].has_snapshot = true;
    *count = high - low;
    return refs->items + low;
}

const struct hc_repo_ref *hc_repo_refs_corrupt(const struct hc_repo_refs *refs)
{
    for (size_t i = 0; i < refs->count; i++) {
        if (!refs->items[i].has_snapshot || !refs->items[i].is_exact)
            return &refs->items[i];
    }
    return NULL;
}

void hc_repo_refs_clear(struct hc_repo_refs *refs)
{
    for (size_t i = 0; i < refs->count; i++)
        free(refs->items[i].name);
    free(refs->items);
    *refs = (struct hc_repo_refs){0};
}
