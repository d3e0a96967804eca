/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of one word. A restricted repo stays so until the Hub says otherwise; a public
 * one may have been made private since, so that its record expires after a day. Whatever
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
    [HC_VISIBILITY_RESTRICTED] = "restricted\n",
};

static const char records_path[] = ".hubcache/visibility";

enum { PATH_SIZE = HC_REPO_FOLDER_MAX + 32, WORD_SIZE = 16 };

static const int64_t RECORD_MAX_AGE_MS = INT64_C(30) * 24 * 60 * 60 * 1000;

static void visibility_format_path(char path[PATH_SIZE], const struct hc_repo *repo)
{
    (void)hc_format(path, PATH_SIZE, "%s/%s", records_path, repo->folder);
}

enum hc_visibility hc_visibility_find(const struct hc_cache *cache,
                                      const struct hc_repo *repo, int64_t now_ms)
{
    char path[PATH_SIZE], word[WORD_SIZE];
    struct stat status;
    struct hc_error unused;
    int64_t age_ms;

    visibility_format_path(path, repo);
    if (hc_file_read_stat(hc_cache_fd(cache), path, word, sizeof word, &status,
                          &unused) != 1)
        return HC_VISIBILITY_UNKNOWN;
    if (strcmp(word, visibility_words[HC_VISIBILITY_RESTRICTED]) == 0)
        return HC_VISIBILITY_RESTRICTED;
    age_ms = now_ms - hc_file_time_ms(&status.st_mtim);
    return strcmp(word, visibility_words[HC_VISIBILITY_PUBLIC]) == 0 &&
                   age_ms < HC_VISIBILITY_MAX_AGE_MS && age_ms > -HC_VISIBILITY_MAX_AGE_MS
               ? HC_VISIBILITY_PUBLIC
               : HC_VISIBILITY_UNKNOWN;
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
