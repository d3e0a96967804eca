/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ref is one small file; that of a revision with slashes is in nested directories, and
 * the pull request refs/pr/1 is the file refs/refs/pr/1 (§1.1).
 *
 * The reference client writes the ref before the bytes arrive; here it is the last thing
 * to be written, and what it names is flushed before it, so that neither a failed
 * download nor a power loss leaves a ref to a snapshot that is not there.
 */
#include "ref.h"

#include "memo.h"
#include "pointer.h"

#include <base/directory.h>
#include <base/file.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { REF_CONTENT_MAX = 256 }; /* a commit, and white space that an editor added */

static int ref_format_path(char path[PATH_MAX], const struct hc_repo *repo,
                           const char *revision, struct hc_error *err)
{
    if (hc_format(path, PATH_MAX, "%s/refs/%s", repo->folder, revision) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "ref '%s'", revision);
    return 0;
}

bool hc_ref_parse(char *content, char commit[HC_COMMIT_SIZE])
{
    if (!hc_commit_is_valid(hc_text_trim(content)))
        return false;
    memcpy(commit, content, HC_COMMIT_SIZE);
    return true;
}

/* 1 and the commit, from the memo unless a stat(2) shows that the file changed; 0; -1. */
static int ref_read(const struct hc_cache *cache, const struct hc_memo_look *look,
                    struct stat *status, struct hc_ref *ref, struct hc_error *err)
{
    struct hc_memo *memo = hc_cache_memo(cache);
    const char *path = look->path;
    char content[REF_CONTENT_MAX];
    struct hc_memo_fact fact = {0};
    int found;

    if (fstatat(hc_cache_fd(cache), path, status, AT_SYMLINK_NOFOLLOW) < 0)
        return hc_file_is_absent(errno)
                   ? 0
                   : hc_file_fail(err, errno, "open", hc_cache_fd(cache), path);
    if (!S_ISREG(status->st_mode))
        return 0;
    if (hc_memo_find(memo, look, status, &fact)) {
        memcpy(ref->commit, fact.text, HC_COMMIT_SIZE);
        ref->term = fact.term;
        return 1;
    }
    ref->term = fact.term;
    found =
        hc_file_read_stat(hc_cache_fd(cache), path, content, sizeof content, status, err);
    if (found <= 0 || !hc_ref_parse(content, ref->commit))
        return found < 0 ? -1 : 0;
    memcpy(fact.text, ref->commit, HC_COMMIT_SIZE);
    hc_memo_store(memo, look, status, &fact);
    return 1;
}

int hc_ref_find(const struct hc_cache *cache, const struct hc_repo *repo,
                const char *revision, struct hc_ref *ref, struct hc_error *err)
{
    struct hc_memo *memo = hc_cache_memo(cache);
    struct hc_memo_look look;
    char path[PATH_MAX];
    struct stat status;
    int found;

    if (hc_commit_is_valid(revision))
        return 0;
    if (ref_format_path(path, repo, revision, err) < 0)
        return -1;
    look = hc_memo_begin_look(memo, path);
    found = ref_read(cache, &look, &status, ref, err);
    if (found == 1)
        ref->confirmed_ms = hc_file_time_ms(&status.st_mtim);
    else
        hc_memo_store_absent(memo, &look);
    return found;
}

int hc_ref_find_commit(const struct hc_cache *cache, const struct hc_repo *repo,
                       const char *revision, char commit[HC_COMMIT_SIZE],
                       struct hc_error *err)
{
    struct hc_ref ref;
    int found;

    if (hc_commit_is_valid(revision)) {
        memcpy(commit, revision, HC_COMMIT_SIZE);
        return 1;
    }
    if (hc_revision_check(revision, err) < 0)
        return -1;
    found = hc_ref_find(cache, repo, revision, &ref, err);
    if (found == 1)
        memcpy(commit, ref.commit, HC_COMMIT_SIZE);
    return found;
}

bool hc_ref_recall(const struct hc_cache *cache, const struct hc_repo *repo,
                   const char *revision, struct hc_ref *ref, bool *is_due)
{
    struct hc_memo_fact fact;
    struct hc_error unused;
    char path[PATH_MAX];

    if (hc_commit_is_valid(revision) ||
        ref_format_path(path, repo, revision, &unused) < 0 ||
        !hc_memo_recall(hc_cache_memo(cache), path, &fact))
        return false;
    memcpy(ref->commit, fact.text, HC_COMMIT_SIZE);
    ref->confirmed_ms = fact.mtime_ms;
    ref->term = fact.term;
    *is_due = *is_due || fact.is_due;
    return true;
}

/*
 * Branches come and go: `release` may become `release/v1`, or the other way round. A ref
 * whose file is in the way of another's name is obsolete, for git cannot have both. If it
 * cannot be removed, the revision has no ref, and the Hub is asked again next time.
 */
static int ref_write(const struct hc_cache *cache, const struct hc_repo *repo,
                     const char *path, const char *commit, struct hc_error *err)
{
    int root = hc_cache_fd(cache);
    size_t top = strlen(repo->folder) + strlen("/refs");
    struct hc_error first;
    int cleared = 0;

    if (hc_cache_publish(cache, path, commit, strlen(commit), &first) < 0) {
        cleared = hc_directory_remove_obstacle(root, top, path, S_IFREG);
        if (cleared == 0)
            *err = first;
        if (cleared <= 0)
            return cleared < 0 ? 0 : -1;
        if (hc_cache_publish(cache, path, commit, strlen(commit), err) < 0)
            return -1;
    }
    return hc_file_sync_parent(root, path, err);
}

static bool snapshot_exists(const struct hc_cache *cache, const struct hc_repo *repo,
                            const char *commit)
{
    char path[PATH_MAX];
    struct hc_error unused;

    if (hc_cache_snapshot_path(path, repo, commit, NULL, &unused) < 0)
        return false;
    hc_directory_refresh(hc_cache_fd(cache), path);
    return faccessat(hc_cache_fd(cache), path, F_OK, 0) == 0;
}

/* A removal of the snapshot looks for refs after it is gone, and this looks for the
 * snapshot after the ref is there: one of the two sees the other. */
static int ref_write_checked(const struct hc_cache *cache, const struct hc_repo *repo,
                             const char *path, const char *commit, struct hc_error *err)
{
    bool existed = snapshot_exists(cache, repo, commit);

    if (ref_write(cache, repo, path, commit, err) < 0)
        return -1;
    if (existed && !snapshot_exists(cache, repo, commit))
        (void)unlinkat(hc_cache_fd(cache), path, 0);
    return 0;
}

/* A read-only volume refuses: then the Hub is asked again next time, no more. */
static bool ref_confirm_at(const struct hc_cache *cache, const struct hc_repo *repo,
                           const char *revision, const char *commit, const char *path)
{
    struct hc_ref known;
    struct hc_error unused;

    if (hc_ref_find(cache, repo, revision, &known, &unused) != 1 ||
        strcmp(known.commit, commit) != 0)
        return false;
    (void)utimensat(hc_cache_fd(cache), path, NULL, AT_SYMLINK_NOFOLLOW);
    hc_memo_forget(hc_cache_memo(cache), path);
    return true;
}

void hc_ref_confirm(const struct hc_cache *cache, const struct hc_repo *repo,
                    const char *revision, const char *commit)
{
    char path[PATH_MAX];
    struct hc_error unused;

    if (ref_format_path(path, repo, revision, &unused) == 0)
        (void)ref_confirm_at(cache, repo, revision, commit, path);
}

int hc_ref_update(const struct hc_cache *cache, const struct hc_repo *repo,
                  const char *revision, const char *commit, struct hc_error *err)
{
    char path[PATH_MAX];
    int result;

    if (strcmp(revision, commit) == 0)
        return 0;
    if (hc_commit_is_valid(revision))
        return hc_fail(err, HC_BAD_HUB_REPLY, "commit %s cannot mean commit %s", revision,
                       commit);
    if (ref_format_path(path, repo, revision, err) < 0)
        return -1;
    if (ref_confirm_at(cache, repo, revision, commit, path))
        return 0;
    /* The snapshot that a ref names is on the disk before the ref is. */
    if (hc_pointer_sync(cache, &(const struct hc_repo_file){repo, commit, NULL}, err) < 0)
        return -1;
    result = ref_write_checked(cache, repo, path, commit, err);
    hc_memo_forget(hc_cache_memo(cache), path);
    return result;
}

void hc_ref_expire(const struct hc_cache *cache, const struct hc_repo *repo,
                   const char *revision)
{
    const struct timespec never[] = {{0}, {0}};
    char path[PATH_MAX];
    struct hc_error unused;

    if (ref_format_path(path, repo, revision, &unused) < 0)
        return;
    (void)utimensat(hc_cache_fd(cache), path, never, AT_SYMLINK_NOFOLLOW);
    hc_memo_forget(hc_cache_memo(cache), path);
}
