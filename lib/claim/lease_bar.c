/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bar is made as .hubcache/leases/<repo folder>/.bar.<8 hex>, complete, and then
 * renamed to <commit>: rename(2) replaces an empty directory, and refuses any other. A
 * bar in place is never written by another process, so a look at it by the descriptor of
 * its directory cannot mistake a new bar for an old one.
 */
#include "lease_bar.h"

#include "claim_record.h"
#include "lease_directory.h"

#include <base/file.h>
#include <base/heartbeat.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { ATTEMPTS = 5, PRIVATE_NAME_SIZE = 32 };

struct hc_lease_bar {
    struct hc_heartbeat heartbeat;
    const struct hc_cache *cache; /* borrowed */
    int repo_dir;                 /* .hubcache/leases/<repo folder> */
    int dir;                      /* its own */
    int fd;                       /* of the file in it */
    char commit[HC_COMMIT_SIZE];
    struct hc_claim_record record; /* of the heartbeat's thread, once that beats */
};

/* A power loss may leave a bar without its content: then no process touches it. */
static bool bar_is_abandoned(const struct hc_claim_record *record, bool is_whole,
                             int64_t now_ms)
{
    if (is_whole)
        return hc_claim_record_is_abandoned(record, now_ms);
    return record->heartbeat_ms != 0 &&
           llabs(now_ms - record->heartbeat_ms) > HC_HEARTBEAT_TIMEOUT_MS;
}

bool hc_lease_directory_is_barred(int dir, int64_t now_ms)
{
    struct hc_claim_record record;
    int found = hc_claim_record_read(dir, HC_LEASE_BAR_NAME, &record);
    struct stat status;

    if (found >= 0 && bar_is_abandoned(&record, found == 1, now_ms))
        return unlinkat(dir, HC_LEASE_BAR_NAME, 0) < 0 && errno != ENOENT;
    if (found == 1)
        return true;
    /* What cannot be read may be a bar. */
    return fstatat(dir, HC_LEASE_BAR_NAME, &status, AT_SYMLINK_NOFOLLOW) == 0 ||
           !hc_file_is_absent(errno);
}

static void bar_on_heartbeat(struct hc_heartbeat *heartbeat)
{
    struct hc_lease_bar *bar =
        (struct hc_lease_bar *)((char *)heartbeat -
                                offsetof(struct hc_lease_bar, heartbeat));

    (void)hc_claim_record_write(&bar->record, bar->fd);
    (void)futimens(bar->fd, NULL);
}

static void bar_close(struct hc_lease_bar *bar)
{
    hc_auto_close(&bar->fd);
    hc_auto_close(&bar->dir);
    hc_auto_close(&bar->repo_dir);
    bar->fd = bar->dir = bar->repo_dir = -1;
}

static void bar_free(struct hc_lease_bar *bar)
{
    bar_close(bar);
    free(bar);
}

/* The directory under its private name, with its file. -1 and errno. */
static int bar_prepare(struct hc_lease_bar *bar, const char *private)
{
    if (mkdirat(bar->repo_dir, private, 0777) < 0)
        return -1;
    bar->dir = hc_directory_open(bar->repo_dir, private);
    bar->fd = bar->dir < 0 ? -1 : hc_file_create(bar->dir, HC_LEASE_BAR_NAME, O_WRONLY);
    bar->record = hc_claim_record_new(0);
    return bar->fd < 0 ? -1 : hc_claim_record_write(&bar->record, bar->fd);
}

/* A bar that cannot be removed would bar until this process ends: its file is moved where
 * it bars nothing, and where a sweep looks. */
static void bar_move_away(const struct hc_lease_bar *bar)
{
    char private[PRIVATE_NAME_SIZE], path[2 * PRIVATE_NAME_SIZE];
    struct hc_error unused;

    if (hc_file_private_name(private, sizeof private, ".bar", "", &unused) == 0 &&
        hc_format(path, sizeof path, "%s/" HC_LEASE_BAR_NAME, private) > 0 &&
        mkdirat(bar->repo_dir, private, 0777) == 0)
        (void)renameat(bar->dir, HC_LEASE_BAR_NAME, bar->repo_dir, path);
}

static void bar_withdraw(const struct hc_lease_bar *bar, const char *name)
{
    if (bar->fd >= 0 && unlinkat(bar->dir, HC_LEASE_BAR_NAME, 0) < 0 &&
        !hc_file_is_absent(errno))
        bar_move_away(bar);
    (void)unlinkat(bar->repo_dir, name, AT_REMOVEDIR);
}

/* 1; 0 when the directory in its place has an entry that stays; -1 and errno. */
static int bar_put_in_place(const struct hc_lease_bar *bar, const char *private)
{
    int64_t now_ms = hc_volume_written_ms(bar->fd);

    for (int i = 0; i < ATTEMPTS; i++) {
        HC_AUTO_CLOSE int leases = -1;

        if (renameat(bar->repo_dir, private, bar->repo_dir, bar->commit) == 0)
            return 1;
        if (errno != ENOTEMPTY && errno != EEXIST)
            return -1;
        leases = hc_directory_open(bar->repo_dir, bar->commit);
        if (leases >= 0 && hc_lease_directory_clean(leases, now_ms))
            return 0;
    }
    return 0;
}

/* As bar_put_in_place(); nothing is left behind unless it is 1. A sweep may remove a
 * directory that has no file yet: then errno is ENOENT, and the next attempt succeeds. */
static int bar_make(struct hc_lease_bar *bar, const struct hc_repo *repo)
{
    char private[PRIVATE_NAME_SIZE];
    struct hc_error unused;
    int result = -1, errnum = 0;

    bar->repo_dir = hc_lease_directory_make(hc_cache_fd(bar->cache), repo, NULL);
    if (bar->repo_dir < 0 ||
        hc_file_private_name(private, sizeof private, ".bar", "", &unused) < 0)
        return -1;
    if (bar_prepare(bar, private) == 0)
        result = bar_put_in_place(bar, private);
    errnum = errno;
    if (result != 1)
        bar_withdraw(bar, private);
    errno = errnum;
    return result;
}

int hc_lease_bar(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *commit, struct hc_lease_bar **bar, struct hc_error *err)
{
    struct hc_lease_bar *made = calloc(1, sizeof *made);
    int result;

    if (!made)
        return hc_fail_memory(err);
    *made = (struct hc_lease_bar){.cache = cache, .repo_dir = -1, .dir = -1, .fd = -1};
    (void)hc_format(made->commit, sizeof made->commit, "%s", commit);
    result = bar_make(made, repo);
    for (int i = 1; i < ATTEMPTS && result < 0 && hc_lease_directory_is_gone(errno);
         i++) {
        bar_close(made);
        result = bar_make(made, repo);
    }
    if (result < 0)
        (void)hc_fail_errno(err, errno, "bar leases of commit %.12s of '%s'", commit,
                            repo->id);
    if (result != 1) {
        bar_free(made);
        return result;
    }
    made->heartbeat.beat = bar_on_heartbeat;
    hc_heartbeats_start(hc_cache_heartbeats(cache), &made->heartbeat);
    *bar = made;
    return 1;
}

bool hc_lease_bar_holds(const struct hc_lease_bar *bar)
{
    HC_AUTO_CLOSE int dir = hc_directory_open(bar->repo_dir, bar->commit);

    return dir >= 0 && hc_file_is_named(dir, HC_LEASE_BAR_NAME, bar->fd);
}

/* rmdir(2) refuses a directory that has a lease: one that was just taken, and finds next
 * that it is not barred any more. */
void hc_lease_unbar(struct hc_lease_bar *bar)
{
    if (!bar)
        return;
    hc_heartbeats_stop(hc_cache_heartbeats(bar->cache), &bar->heartbeat);
    bar_withdraw(bar, bar->commit);
    bar_free(bar);
}
