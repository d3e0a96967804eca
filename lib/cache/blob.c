/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blob may be a symlink into the store that newer clients share between repos (§1.9).
 */
#include "blob.h"

#include <base/file.h>
#include <base/hash.h>
#include <base/size.h>

#include <errno.h>
#include <sys/stat.h>

bool hc_blob_is_emptied(const char *etag, uint64_t size)
{
    return size == 0 && hc_digest_kind_of(etag) != HC_DIGEST_NONE &&
           !hc_digest_is_of_empty_file(etag);
}

bool hc_blob_size_matches(uint64_t expected, uint64_t size)
{
    return expected == HC_SIZE_UNKNOWN || expected == size;
}

int hc_blob_find(const struct hc_cache *cache, const struct hc_blob_id *blob,
                 uint64_t *size, struct hc_error *err)
{
    char path[PATH_MAX];
    struct stat status;

    if (hc_cache_blob_path(path, blob, err) < 0)
        return -1;
    if (fstatat(hc_cache_fd(cache), path, &status, 0) < 0) {
        if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
            return 0;
        return hc_file_fail(err, errno, "open", hc_cache_fd(cache), path);
    }
    if (!S_ISREG(status.st_mode))
        return 0;
    *size = (uint64_t)status.st_size;
    return !hc_blob_is_emptied(blob->etag, *size);
}
