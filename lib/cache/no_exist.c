/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Markers of files that a commit does not have.
 */
#include "no_exist.h"

#include <base/file.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static int format_path(char marker[PATH_MAX], const struct hc_repo *repo,
                       const char *commit, const char *path, struct hc_error *err)
{
    if (hc_format(marker, PATH_MAX, "%s/.no_exist/%s/%s", repo->folder, commit, path) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "marker of '%s'", path);
    return 0;
}

int hc_no_exist_find(const struct hc_cache *cache, const struct hc_repo *repo,
                     const char *commit, const char *path, struct hc_error *err)
{
    char marker[PATH_MAX];
    struct stat status;

    if (format_path(marker, repo, commit, path, err) < 0)
        return -1;
    if (fstatat(hc_cache_fd(cache), marker, &status, 0) == 0)
        return S_ISREG(status.st_mode) ? 1 : 0;
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ENAMETOOLONG)
        return 0;
    return hc_fail_errno(err, errno, "stat '%s'", marker);
}

void hc_no_exist_mark(const struct hc_cache *cache, const struct hc_repo *repo,
                      const char *commit, const char *path)
{
    char marker[PATH_MAX];
    struct hc_error unused;
    int fd;

    if (format_path(marker, repo, commit, path, &unused) < 0 ||
        hc_file_mkparents(hc_cache_fd(cache), marker, &unused) < 0)
        return;
    fd = openat(hc_cache_fd(cache), marker, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    hc_auto_close(&fd);
}
