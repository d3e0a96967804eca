/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of one word. What is restricted stays so until the Hub says otherwise; what was
 * public may have been closed since, so that is good for a day only.
 */
#include "visibility.h"

#include <base/directory.h>
#include <base/file.h>
#include <base/text.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static const char *const words[] = {
    [HC_VISIBILITY_PUBLIC] = "public\n",
    [HC_VISIBILITY_RESTRICTED] = "restricted\n",
};

static const char records_path[] = ".hubcache/visibility";

enum { PATH_SIZE = HC_REPO_FOLDER_MAX + 32, WORD_SIZE = 16 };

static const int64_t FORGOTTEN_MS = INT64_C(30) * 24 * 60 * 60 * 1000;

static void format_path(char path[PATH_SIZE], const struct hc_repo *repo)
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

    format_path(path, repo);
    if (hc_file_read_stat(hc_cache_fd(cache), path, word, sizeof word, &status,
                          &unused) != 1)
        return HC_VISIBILITY_UNKNOWN;
    if (strcmp(word, words[HC_VISIBILITY_RESTRICTED]) == 0)
        return HC_VISIBILITY_RESTRICTED;
    age_ms = now_ms - hc_file_time_ms(&status.st_mtim);
    return strcmp(word, words[HC_VISIBILITY_PUBLIC]) == 0 &&
                   age_ms < HC_VISIBILITY_GOOD_MS && age_ms > -HC_VISIBILITY_GOOD_MS
               ? HC_VISIBILITY_PUBLIC
               : HC_VISIBILITY_UNKNOWN;
}

void hc_visibility_hear(const struct hc_cache *cache, const struct hc_repo *repo,
                        enum hc_visibility visibility, int64_t now_ms)
{
    char path[PATH_SIZE];
    struct hc_error unused;

    if (visibility == HC_VISIBILITY_UNKNOWN ||
        hc_visibility_find(cache, repo, now_ms) == visibility)
        return;
    format_path(path, repo);
    (void)hc_cache_publish(cache, path, words[visibility], strlen(words[visibility]),
                           &unused);
}

/* Callers may name any repo: what is known of those that were never cached goes. */
void hc_visibility_sweep(const struct hc_cache *cache, int64_t now_ms)
{
    int root = hc_cache_fd(cache);
    HC_AUTO_CLOSEDIR DIR *dir = hc_directory_stream(root, records_path);
    int records = dir ? dirfd(dir) : -1;
    const char *name;
    struct stat status;

    while (records >= 0 && (name = hc_directory_next(dir))) {
        if (faccessat(root, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
            fstatat(records, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            now_ms - hc_file_time_ms(&status.st_mtim) > FORGOTTEN_MS)
            (void)unlinkat(records, name, 0);
    }
}
