/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What statvfs(3) says is what an unprivileged process may still write; quotas it does
 * not know, so a write may fail all the same.
 */
#include "free_space.h"

#include <inttypes.h>
#include <stdbool.h>
#include <sys/statvfs.h>

static bool volume_find_free(int fd, uint64_t *free_bytes)
{
    struct statvfs volume;

    if (fstatvfs(fd, &volume) < 0 || volume.f_blocks == 0)
        return false;
    *free_bytes = (uint64_t)volume.f_bavail * volume.f_frsize;
    return true;
}

int hc_free_space_check(int fd, uint64_t needed, uint64_t reserved, struct hc_error *err)
{
    uint64_t free_bytes;

    if (!volume_find_free(fd, &free_bytes))
        return 0;
    free_bytes = free_bytes > reserved ? free_bytes - reserved : 0;
    if (needed <= free_bytes)
        return 0;
    (void)hc_fail(err, HC_NO_SPACE,
                  "the cache volume has %" PRIu64 " bytes free (%" PRIu64
                  " more are promised to running downloads), %" PRIu64
                  " are needed: make room, or use a larger volume",
                  free_bytes, reserved, needed);
    err->needed_bytes = needed;
    err->free_bytes = free_bytes;
    return -1;
}

void hc_free_space_describe(int fd, uint64_t needed, struct hc_error *err)
{
    uint64_t free_bytes;

    if (err->reason != HC_NO_SPACE || !volume_find_free(fd, &free_bytes))
        return;
    err->needed_bytes = needed;
    err->free_bytes = free_bytes;
}
