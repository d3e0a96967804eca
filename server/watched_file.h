/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of the configuration that may change while the server runs: rewritten, replaced
 * by rename, or reached through a symlink that is swapped, as Kubernetes does when a
 * mounted Secret or ConfigMap changes. It is looked at again and again; there is no
 * inotify, which does not see changes that another machine makes on a shared volume. One
 * thread uses it at a time.
 */
#ifndef HC_SERVER_WATCHED_FILE_H
#define HC_SERVER_WATCHED_FILE_H

#include <hubcache/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

struct hc_watched_file {
    const char *path;   /* Required; borrowed. */
    struct stat status; /* as of the last look; zero: no look yet, or no file */
    bool was_looked_at;
};

/* True at the first look, and when the file is another one since the last look. */
bool hc_watched_file_has_changed(struct hc_watched_file *file);

/*
 * Its content with a NUL after the `*size` bytes, which the caller frees. NULL:
 * INVALID_OPTIONS with the path, also for what is no regular file or has more than `most`
 * bytes.
 */
char *hc_watched_file_read(const struct hc_watched_file *file, size_t most, size_t *size,
                           struct hc_error *err);

#endif
