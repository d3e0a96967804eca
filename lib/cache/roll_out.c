/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One JSON object. Other processes write to the volume: what is no commit, no time or no
 * reason counts as not there.
 */
#include "roll_out.h"

#include <base/directory.h>
#include <base/file.h>
#include <base/json.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

static const char records_path[] = ".hubcache/kept";

enum { TEXT_SIZE = 4096, ALIVE_MS = 24 * 60 * 60 * 1000 };

static const int64_t RECORD_MAX_AGE_MS = INT64_C(30) * 24 * 60 * 60 * 1000;

static int roll_out_format_path(char path[PATH_MAX], const struct hc_repo *repo,
                                const char *revision, const char *suffix,
                                struct hc_error *err)
{
    if (hc_format(path, PATH_MAX, "%s/%s/%s%s", records_path, repo->folder, revision,
                  suffix) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "roll-out '%s'", revision);
    return 0;
}

static bool roll_out_decode(const json_t *object, struct hc_roll_out *found)
{
    const char *commit = json_string_value(json_object_get(object, "commit"));
    const char *reason = json_string_value(json_object_get(object, "reason"));
    const char *message = json_string_value(json_object_get(object, "message"));

    if (!commit || (commit[0] && !hc_commit_is_valid(commit)))
        return false;
    (void)hc_format(found->commit, sizeof found->commit, "%s", commit);
    found->heard_ms = json_integer_value(json_object_get(object, "heard_ms"));
    found->behind_since_ms =
        json_integer_value(json_object_get(object, "behind_since_ms"));
    found->reason = reason ? hc_reason_from_name(reason) : HC_OK;
    (void)hc_format(found->message, sizeof found->message, "%s", message ? message : "");
    return true;
}

int hc_roll_out_find(const struct hc_cache *cache, const struct hc_repo *repo,
                     const char *revision, struct hc_roll_out *found)
{
    char path[PATH_MAX], text[TEXT_SIZE];
    HC_AUTO_JSON *object = NULL;
    struct stat status;
    struct hc_error unused;

    *found = (struct hc_roll_out){0};
    if (roll_out_format_path(path, repo, revision, "", &unused) < 0 ||
        hc_file_read_stat(hc_cache_fd(cache), path, text, sizeof text, &status,
                          &unused) != 1)
        return 0;
    object = json_loads(text, 0, NULL);
    if (!object || !roll_out_decode(object, found))
        return 0;
    found->asked_ms = hc_file_time_ms(&status.st_mtim);
    return 1;
}

int hc_roll_out_write(const struct hc_cache *cache, const struct hc_repo *repo,
                      const char *revision, const struct hc_roll_out *roll_out,
                      struct hc_error *err)
{
    HC_AUTO_JSON *object =
        json_pack("{ss sI sI ss ss}", "commit", roll_out->commit, "heard_ms",
                  (json_int_t)roll_out->heard_ms, "behind_since_ms",
                  (json_int_t)roll_out->behind_since_ms, "reason",
                  roll_out->reason == HC_OK ? "" : hc_reason_name(roll_out->reason),
                  "message", hc_text_is_utf8(roll_out->message) ? roll_out->message : "");
    HC_AUTO_FREE char *text = object ? json_dumps(object, 0) : NULL;
    char path[PATH_MAX];

    if (!text)
        return hc_fail_memory(err);
    if (roll_out_format_path(path, repo, revision, "", err) < 0)
        return -1;
    return hc_cache_publish(cache, path, text, strlen(text), err);
}

bool hc_roll_out_lock(const struct hc_cache *cache, const struct hc_repo *repo,
                      const char *revision, int *fd)
{
    int root = hc_cache_fd(cache);
    struct hc_error unused;
    char path[PATH_MAX];

    *fd = -1;
    if (roll_out_format_path(path, repo, revision, ".lock", &unused) < 0 ||
        hc_file_mkparents(root, path, &unused) < 0)
        return true;
    *fd = hc_file_open(root, path, O_RDWR | O_CREAT, 0666);
    if (*fd < 0 || flock(*fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return true;
    (void)close(*fd);
    *fd = -1;
    return false;
}

/* Below the directory of one repo; the walk's path is the revision. */
static bool roll_out_accepts(const struct hc_directory_walk *walk)
{
    return S_ISREG(walk->type) && !hc_text_ends(walk->name, ".lock");
}

/* One that cannot be read may be to any commit, as long as it is fresh. */
static bool roll_out_may_be_to(const struct hc_cache *cache, const struct hc_repo *repo,
                               const struct hc_directory_walk *walk, const char *commit,
                               int64_t now_ms)
{
    struct hc_roll_out found;
    struct stat status;

    if (hc_roll_out_find(cache, repo, walk->path, &found) == 1)
        return strcmp(found.commit, commit) == 0 && found.behind_since_ms > 0 &&
               now_ms - found.asked_ms < ALIVE_MS;
    if (fstatat(walk->dir, walk->name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return !hc_file_is_absent(errno);
    return now_ms - hc_file_time_ms(&status.st_mtim) < ALIVE_MS;
}

bool hc_roll_out_is_to(const struct hc_cache *cache, const struct hc_repo *repo,
                       const char *commit, int64_t now_ms)
{
    char path[PATH_MAX];

    if (hc_format(path, sizeof path, "%s/%s", records_path, repo->folder) < 0)
        return false;

    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_directory_walk(hc_cache_fd(cache), path, HC_DEPTH_MAX);

    walk.accepts = roll_out_accepts;
    while (hc_directory_walk_next(&walk)) {
        if (roll_out_may_be_to(cache, repo, &walk, commit, now_ms))
            return true;
    }
    return walk.is_incomplete;
}

void hc_roll_out_sweep(const struct hc_cache *cache, int64_t now_ms)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_directory_walk(hc_cache_fd(cache), records_path, HC_DEPTH_MAX);
    struct stat status;

    walk.accepts = roll_out_accepts;
    while (hc_directory_walk_next(&walk)) {
        if (fstatat(walk.dir, walk.name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            now_ms - hc_file_time_ms(&status.st_mtim) > RECORD_MAX_AGE_MS)
            (void)unlinkat(walk.dir, walk.name, 0);
    }
}
