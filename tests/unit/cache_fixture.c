/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Permissions do not bind root, which tests may run as: a read-only cache also changes
 * the effective user.
 */
#include "cache_fixture.h"

#include <base/text.h>

#include <fcntl.h>
#include <fts.h>
#include <sys/stat.h>
#include <time.h>

enum { UNPRIVILEGED_UID = 65534 };

int make_cache(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->dir = temp_dir_make();
    f->cache = hc_cache_open(f->dir, false, &f->err);
    assert_non_null(f->cache);
    assert_int_equal(hc_repo_init(&f->repo, HC_REPO_MODEL, "org/name", &f->err), 0);
    *state = f;
    return 0;
}

int remove_cache(void **state)
{
    struct fixture *f = *state;

    hc_cache_close(f->cache);
    temp_dir_remove(f->dir);
    free(f);
    return 0;
}

void reopen_cache(struct fixture *f, bool no_symlinks)
{
    hc_cache_close(f->cache);
    f->cache = hc_cache_open(f->dir, no_symlinks, &f->err);
    assert_non_null(f->cache);
}

void assert_file_content(const struct fixture *f, const char *path, const char *text)
{
    HC_AUTO_FREE char *content = temp_dir_read(f->dir, path);

    assert_non_null(content);
    assert_string_equal(content, text);
}

unsigned file_mode_of(const struct fixture *f, const char *path)
{
    struct stat status;

    assert_int_equal(fstatat(hc_cache_fd(f->cache), path, &status, AT_SYMLINK_NOFOLLOW),
                     0);
    return status.st_mode & 07777;
}

void assert_link(const struct fixture *f, const char *path, const char *target)
{
    char found[PATH_MAX] = "";

    assert_true(readlinkat(hc_cache_fd(f->cache), path, found, sizeof found - 1) > 0);
    assert_string_equal(found, target);
}

void age_file(const struct fixture *f, const char *path, long seconds)
{
    time_t then = time(NULL) - seconds;
    const struct timespec both[2] = {{.tv_sec = then}, {.tv_sec = then}};

    assert_int_equal(utimensat(hc_cache_fd(f->cache), path, both, AT_SYMLINK_NOFOLLOW),
                     0);
}

static void change_directories(const char *dir, mode_t mode)
{
    char copy[PATH_MAX];
    char *roots[] = {copy, NULL};
    FTS *walk;
    FTSENT *entry;

    assert_true(hc_format(copy, sizeof copy, "%s", dir) > 0);
    walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    assert_non_null(walk);
    while ((entry = fts_read(walk))) {
        if (entry->fts_info == FTS_D)
            assert_int_equal(chmod(entry->fts_accpath, mode), 0);
    }
    (void)fts_close(walk);
}

void make_cache_read_only(const struct fixture *f)
{
    change_directories(f->dir, 0555);
    if (geteuid() == 0)
        assert_int_equal(seteuid(UNPRIVILEGED_UID), 0);
}

void make_cache_writable(const struct fixture *f)
{
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    change_directories(f->dir, 0755);
}
