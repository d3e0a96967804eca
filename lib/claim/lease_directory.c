/* SPDX-License-Identifier: Apache-2.0 */
/*
 * To remove a lease is three steps, because another process may renew it between the look
 * at its mtime and unlink(2): it gets the name "<name>.ended", under which no process
 * renews it; its mtime is looked at again; and it is removed, or gets its name back. In
 * each state the directory has an entry, so that no bar can take its place. A process may
 * die after each step: the next look at "<name>.ended" does the rest.
 */
#include "lease_directory.h"

#include "lease.h"
#include "lease_bar.h"

#include <base/auto.h>
#include <base/directory.h>
#include <base/file.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define ENDED_SUFFIX ".ended"

enum {
    CLOCK_SET_BACK_MS = 3600 * 1000, /* no two replicas' clocks differ by so much */
    ENDED_SIZE = HC_LEASE_NAME_LENGTH + sizeof ENDED_SUFFIX
};

int hc_lease_directory_open(int root, const struct hc_repo *repo, const char *commit)
{
    const char *const names[] = {".hubcache", "leases", repo->folder, commit, NULL};

    return hc_directory_open_nested(root, names);
}

/* Makes the directory `name` if need be, and opens it. -1 and errno. A bar may have made
 * it without a flush, so that one for a lease is flushed also when it is there. */
static int directory_make(int above, const char *name, bool is_for_lease)
{
    if (mkdirat(above, name, 0777) < 0 && errno != EEXIST)
        return -1;
    if (is_for_lease)
        (void)fsync(above); /* some network filesystems cannot */
    return hc_directory_open(above, name);
}

int hc_lease_directory_make(int root, const struct hc_repo *repo, const char *commit)
{
    const char *const names[] = {".hubcache", "leases", repo->folder, commit};
    int dir = hc_lease_directory_open(root, repo, commit);

    if (dir >= 0 || errno != ENOENT)
        return dir;
    dir = directory_make(root, names[0], commit);
    for (size_t i = 1; dir >= 0 && i < sizeof names / sizeof *names && names[i]; i++) {
        HC_AUTO_CLOSE int above = dir;

        dir = directory_make(above, names[i], commit);
    }
    return dir;
}

bool hc_lease_directory_is_gone(int errnum)
{
    return errnum == ENOENT || errnum == ESTALE;
}

int hc_lease_end_ms(int dir, const char *name, int64_t *until_ms)
{
    struct stat status;

    if (fstatat(dir, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return hc_lease_directory_is_gone(errno) ? 0 : -1;
    if (!S_ISREG(status.st_mode))
        return 0;
    *until_ms = hc_file_time_ms(&status.st_mtim);
    return 1;
}

/* Removes "<name>.ended", or gives it its name back, unless a newer lease has that. */
static bool ended_lease_settle(int dir, const char *ended, const char *name,
                               int64_t now_ms)
{
    int64_t until_ms = 0;

    if (hc_lease_end_ms(dir, ended, &until_ms) != 1)
        return false;
    if (until_ms + HC_LEASE_GRACE_MS <= now_ms)
        return unlinkat(dir, ended, 0) == 0;
    if (hc_lease_end_ms(dir, name, &until_ms) == 1)
        (void)unlinkat(dir, ended, 0);
    else
        (void)renameat(dir, ended, dir, name);
    return false;
}

/* Also when another process renews it at the same time: then either the lease is gone for
 * both, or it stays. */
static bool lease_remove_ended(int dir, const char *name, int64_t now_ms)
{
    char ended[ENDED_SIZE];
    int64_t until_ms;

    if (hc_lease_end_ms(dir, name, &until_ms) != 1 ||
        until_ms + HC_LEASE_GRACE_MS > now_ms ||
        hc_format(ended, sizeof ended, "%s" ENDED_SUFFIX, name) < 0 ||
        renameat(dir, name, dir, ended) < 0)
        return false;
    return ended_lease_settle(dir, ended, name, now_ms);
}

/*
 * A clock that was a year ahead when a lease was written, and is set back, must not make
 * the lease hold for a year: it gets its whole duration once more. The ctime is when its
 * mtime was set. Only its owner may date a file; for others it is left.
 */
static void lease_date_again(int dir, const char *name, int64_t now_ms)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};
    struct stat status;
    int64_t until_ms;

    if (fstatat(dir, name, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
        hc_file_time_ms(&status.st_ctim) <= now_ms + CLOCK_SET_BACK_MS)
        return;
    until_ms =
        now_ms + hc_file_time_ms(&status.st_mtim) - hc_file_time_ms(&status.st_ctim);
    times[1].tv_sec = until_ms / 1000;
    times[1].tv_nsec = until_ms % 1000 * 1000000;
    (void)utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW);
}

unsigned hc_lease_clean_entry(int dir, const char *entry, int64_t now_ms)
{
    char name[HC_LEASE_NAME_LENGTH + 1];
    bool is_ended = strlen(entry) == ENDED_SIZE - 1 && hc_text_ends(entry, ENDED_SUFFIX);

    (void)snprintf(name, sizeof name, "%.*s", HC_LEASE_NAME_LENGTH, entry);
    if (strcmp(entry, HC_LEASE_BAR_NAME) == 0)
        (void)hc_lease_directory_is_barred(dir, now_ms);
    else if (!hc_lease_name_is_valid(name) || (!is_ended && strcmp(name, entry) != 0))
        return 0;
    else if (is_ended)
        return ended_lease_settle(dir, entry, name, now_ms);
    else if (lease_remove_ended(dir, entry, now_ms))
        return 1;
    else
        lease_date_again(dir, entry, now_ms);
    return 0;
}

bool hc_lease_directory_clean(int dir, int64_t now_ms)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(dir, ".", 0);

    while (hc_directory_walk_next(&walk))
        (void)hc_lease_clean_entry(walk.dir, walk.name, now_ms);
    return hc_directory_count(dir, ".", 1) > 0;
}
