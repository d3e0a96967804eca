/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories are walked with fts(3), which does not follow links and has no limit of
 * depth.
 */
#include "temp_dir.h"

#include "base/auto.h"
#include "base/file.h"
#include "hub_abort.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int temp_dir_open(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        hub_abort(dir, strerrordesc_np(errno));
    return fd;
}

static FTS *temp_dir_walk(const char *path)
{
    HC_AUTO_FREE char *copy = hub_strdup(path);
    char *roots[] = {copy, NULL};

    return hub_require(fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL));
}

/* A directory that a test has made read-only could not be emptied. */
static void entry_make_writable(const FTSENT *entry)
{
    (void)chmod(entry->fts_accpath, S_IRWXU);
}

char *temp_dir_make(void)
{
    const char *parent = getenv("TMPDIR"); // NOLINT(concurrency-mt-unsafe)
    char *dir = hub_format("%s/hubcache-test-XXXXXX", parent ? parent : "/tmp");

    if (!mkdtemp(dir))
        hub_abort(dir, strerrordesc_np(errno));
    return dir;
}

/* Directories are visited before and after their files: writable first, removed last. */
void temp_dir_remove(char *dir)
{
    FTS *fts;
    FTSENT *entry;

    if (!dir)
        return;
    fts = temp_dir_walk(dir);
    while ((entry = fts_read(fts)) != NULL) {
        if (entry->fts_info == FTS_D)
            entry_make_writable(entry);
        else if (remove(entry->fts_accpath) < 0)
            hub_abort(entry->fts_path, strerrordesc_np(errno));
    }
    (void)fts_close(fts);
    free(dir);
}

char *temp_dir_path(const char *dir, const char *path)
{
    return hub_format("%s/%s", dir, path);
}

/* Not atomic: no test reads a file while another thread writes it here. */
void temp_dir_write(const char *dir, const char *path, const char *text)
{
    HC_AUTO_CLOSE int root = temp_dir_open(dir);
    HC_AUTO_CLOSE int fd = -1;
    struct hc_error err = {0};

    if (hc_file_mkparents(root, path, &err) < 0)
        hub_abort(path, err.message);
    fd = openat(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        hub_abort(path, strerrordesc_np(errno));
    if (hc_file_write_all(fd, text, strlen(text), &err) < 0)
        hub_abort(path, err.message);
}

char *temp_dir_read(const char *dir, const char *path)
{
    HC_AUTO_FREE char *whole = temp_dir_path(dir, path);
    HC_AUTO_FREE char *content = NULL;
    struct hc_error err = {0};
    struct stat status;
    int found;

    if (stat(whole, &status) < 0) /* of what a pointer points to */
        return NULL;
    content = hub_require(malloc((size_t)status.st_size + 1));
    found = hc_file_read_linked(whole, content, (size_t)status.st_size + 1, &err);
    if (found < 0)
        hub_abort(path, err.message);
    return found > 0 ? hc_take(&content) : NULL;
}

bool temp_dir_has(const char *dir, const char *path)
{
    HC_AUTO_FREE char *whole = temp_dir_path(dir, path);
    struct stat info;

    return lstat(whole, &info) == 0;
}

unsigned temp_dir_count(const char *dir, const char *path)
{
    HC_AUTO_FREE char *whole = temp_dir_path(dir, path);
    FTS *fts = temp_dir_walk(whole);
    FTSENT *entry;
    unsigned count = 0;

    while ((entry = fts_read(fts)) != NULL)
        count += entry->fts_info == FTS_F || entry->fts_info == FTS_SL ||
                 entry->fts_info == FTS_SLNONE;
    (void)fts_close(fts);
    return count;
}
