/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The id is read at each answer: it is one small file, and a volume may be mounted anew
 * under a running client.
 */
#include "mount.h"

#include "base/file.h"
#include "base/text.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int hc_mount_check(const struct hc_mount *mount, const char *cache_id,
                   struct hc_error *err)
{
    char path[PATH_MAX], here[128];
    int found;

    if (!mount->dir || cache_id[0] == '\0')
        return 0;
    if (hc_format(path, sizeof path, "%s/.hubcache/cache-id", mount->dir) < 0)
        return hc_fail(err, HC_CACHE_MISMATCH, "mount '%.200s…' is too long a path",
                       mount->dir);
    found = hc_file_read(AT_FDCWD, path, here, sizeof here, err);
    if (found < 0)
        return hc_context(err, "which volume is mounted here?");
    if (found == 0)
        return hc_fail(
            err, HC_CACHE_MISMATCH,
            "'%.128s' is not where the cache volume of hubcached at '%.128s' is "
            "mounted (cache id '%.64s'): it has no .hubcache/cache-id; mount "
            "the volume there, or give its place with --mount or HUBCACHE_MOUNT",
            mount->dir, mount->server, cache_id);
    if (strcmp(hc_text_trim(here), cache_id) == 0)
        return 0;
    return hc_fail(
        err, HC_CACHE_MISMATCH,
        "another volume is mounted at '%.128s' (cache id '%.64s') than hubcached "
        "at '%.128s' resolves on (cache id '%.64s'); mount that volume, or give "
        "its place with --mount or HUBCACHE_MOUNT",
        mount->dir, here, mount->server, cache_id);
}

/* Relative, and each part a name. */
static bool path_is_below(const char *path)
{
    for (const char *part = path;; part++) {
        size_t length = strcspn(part, "/");

        if (length == 0 || (length == 1 && part[0] == '.') ||
            (length == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        part += length;
        if (*part == '\0')
            return true;
    }
}

/* "/" when the mount is "/" and "/models" when it is "/models/". */
static int dir_length(const char *dir)
{
    size_t length = strlen(dir);

    while (length > 0 && dir[length - 1] == '/')
        length--;
    return (int)length;
}

char *hc_mount_path(const struct hc_mount *mount, const char *server_path,
                    const char *cache_path, struct hc_error *err)
{
    char *path;

    if (cache_path[0] != '\0' && !path_is_below(cache_path)) {
        (void)hc_fail(
            err, HC_INTERNAL,
            "hubcached at '%.128s' answered with '%.200s', which is no path below "
            "a cache root",
            mount->server, cache_path);
        return NULL;
    }
    if (!mount->dir || cache_path[0] == '\0')
        return hc_text_copy(server_path, err);
    if (asprintf(&path, "%.*s/%s", dir_length(mount->dir), mount->dir, cache_path) >= 0)
        return path;
    (void)hc_fail_memory(err);
    return NULL;
}
