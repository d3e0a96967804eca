/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where this machine sees the cache volume. The server answers with its own path and with
 * the path below the cache root; the second, joined to the mount, is the same file here,
 * if the mount is that volume: its .hubcache/cache-id tells.
 */
#ifndef HC_CLIENT_MOUNT_H
#define HC_CLIENT_MOUNT_H

#include "base/error.h"

struct hc_mount {
    const char *dir;    /* NULL: the server's own paths are good here */
    const char *server; /* for messages */
};

/* CACHE_MISMATCH unless the mount is the volume `cache_id`; "" is not compared. */
int hc_mount_check(const struct hc_mount *mount, const char *cache_id,
                   struct hc_error *err);

/*
 * The file's path on this machine, which the caller frees; an empty `cache_path` is a
 * local directory's file, with the server's path. INTERNAL for a `cache_path` that would
 * leave the mount. NULL on failure.
 */
char *hc_mount_path(const struct hc_mount *mount, const char *server_path,
                    const char *cache_path, struct hc_error *err);

#endif
