/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of one word. A repo that is not public stays so until the Hub says otherwise; a
 * public one may have been made private since, so that its record expires after a day.
 * Older versions wrote "restricted" for gated and private repos. Whatever
 * else is in the file, or a time stamp far in the future, counts as unknown: other
 * processes write to the volume, and a forged record must not make a mirror trusted for
 * long.
 */
#include "visibility.h"

#include <base/directory.h>
#include <base/file.h>
#include <base/text.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static const char *const visibility_words[] = {
    [HC_VISIBILITY_PUBLIC] = "public\n",
    [HC_VISIBILITY_GATED] = "gated\n",
    [HC_VISIBILITY_PRIVATE] = "private\n",
};

static const char old_word[] = "restricted\n"; /* read as PRIVATE */

static const char records_path[] = ".hubcache/visibility";

enum { PATH_SIZE = HC_REPO_FOLDER_MAX + 32, WORD_SIZE = 16 };

static const int64_t RECORD_MAX_AGE_MS = INT64_C(30) * 24 * 60 * 60 * 1000;

static void visibility_format_path(char path[PATH_SIZE], const struct hc_repo *repo)
{
    (void)hc_format(path, PATH_SIZE, "%s/%s", records_path, repo->folder);
}

static enum hc_visibility visibility_parse(const char *word)
{
    for (enum hc_visibility i = HC_VISIBILITY_PUBLIC; i <= HC_VISIBILITY_PRIVATE; i++) {
        if (strcmp(word, visibility_words[i]) == 0)
            return i;
    }
    return strcmp(word, old_word) == 0 ? HC_VISIBILITY_PRIVATE : HC_VISIBILITY_UNKNOWN;
}

/* Whatever its age; `*heard_ms` is set unless it is UNKNOWN. */
static enum hc_visibility visibility_read(const struct hc_cache *cache,
                                          const struct hc_repo *repo, int64_t *heard_ms)
{
    char path[PATH_SIZE], word[WORD_SIZE];
    struct stat status;
    struct hc_error unused;

    visibility_format_path(path, repo);
    if (hc_file_read_stat(hc_cache_fd(cache), path, word, sizeof word, &status,
                          &unused) != 1)
        return HC_VISIBILITY_UNKNOWN;
    *heard_ms = hc_file_time_ms(&status.st_mtim);
    return visibility_parse(word);
}

enum hc_visibility hc_visibility_find(const struct hc_cache *cache,
                                      const struct hc_repo *repo, int64_t now_ms)
{
    int64_t heard_ms = 0;
    enum hc_visibility visibility = visibility_read(cache, repo, &heard_ms);
    int64_t age_ms = now_ms - heard_ms;

    if (visibility == HC_VISIBILITY_PUBLIC &&
        (age_ms >= HC_VISIBILITY_MAX_AGE_MS || age_ms <= -HC_VISIBILITY_MAX_AGE_MS))
        return HC_VISIBILITY_UNKNOWN;
    return visibility;
}

enum hc_visibility hc_visibility_find_last(const struct hc_cache *cache,
                                           const struct hc_repo *repo)
{
    int64_t unused;

    return visibility_read(cache, repo, &unused);
}

void hc_visibility_update(const struct hc_cache *cache, const struct hc_repo *repo,
                          enum hc_visibility visibility, int64_t now_ms)
{
    char path[PATH_SIZE];
    struct hc_error unused;

    if (visibility == HC_VISIBILITY_UNKNOWN ||
        hc_visibility_find(cache, repo, now_ms) == visibility)
        return;
    visibility_format_path(path, repo);
    (void)hc_cache_publish(cache, path, visibility_words[visibility],
                           strlen(visibility_words[visibility]), &unused);
}

/* Callers may name any repo: records of repos that were never cached must not pile up. */
void hc_visibility_sweep(const struct hc_cache *cache, int64_t now_ms)
{
    int root = hc_cache_fd(cache);
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(root, records_path, 0);
    struct stat status;

    while (hc_directory_walk_next(&walk)) {
        if (faccessat(root, walk.name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
            fstatat(walk.dir, walk.name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            now_ms - hc_file_time_ms(&status.st_mtim) > RECORD_MAX_AGE_MS)
            (void)unlinkat(walk.dir, walk.name, 0);
    }
}
