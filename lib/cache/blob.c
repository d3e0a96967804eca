/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ingest hashes what it writes as it writes it, so that commit reads nothing. The
 * bytes go to the blob's own directory: the last step is a rename, and the Hub's own
 * prune finds what a crash leaves behind.
 */
#include "blob.h"

#include "claim.h"

#include <base/digest.h>
#include <base/file.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

struct hc_ingest {
    int root; /* borrowed from the cache */
    int fd;
    bool is_committed;
    uint64_t size;
    atomic_uint_least64_t offset;
    struct hc_digest *digest;
    struct hc_claim *claim;
    char etag[HC_ETAG_MAX + 1];
    char blob[PATH_MAX];
    char incomplete[PATH_MAX];
};

int hc_blob_find(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *etag, uint64_t *size, struct hc_error *err)
{
    char blob[PATH_MAX];
    struct stat status;

    if (hc_cache_blob_path(blob, repo, etag, err) < 0)
        return -1;
    if (fstatat(hc_cache_fd(cache), blob, &status, 0) < 0) {
        if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
            return 0;
        return hc_fail_errno(err, errno, "stat '%s'", blob);
    }
    if (!S_ISREG(status.st_mode))
        return 0;
    *size = (uint64_t)status.st_size;
    return 1;
}

static int start_digest(struct hc_ingest *ingest, struct hc_error *err)
{
    hc_digest_free(ingest->digest);
    ingest->digest = hc_digest_new(hc_digest_kind_of(ingest->etag), ingest->size, err);
    return ingest->digest ? 0 : -1;
}

/* The claim comes first: what a crash leaves behind is always somebody's. */
static int claim_name(struct hc_ingest *ingest, const struct hc_cache *cache,
                      const struct hc_repo *repo, struct hc_error *err)
{
    if (hc_file_private_name(ingest->incomplete, sizeof ingest->incomplete, ingest->blob,
                             ".incomplete", err) < 0)
        return -1;
    ingest->claim = hc_claim_make(cache, repo, ingest->etag,
                                  strrchr(ingest->incomplete, '/') + 1, err);
    return ingest->claim ? 0 : -1;
}

static int create_incomplete(struct hc_ingest *ingest, struct hc_error *err)
{
    const char *path = ingest->incomplete;

    if (hc_file_mkparents(ingest->root, path, err) < 0)
        return -1;
    ingest->fd = openat(ingest->root, path,
                        O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (ingest->fd < 0)
        return hc_fail_errno(err, errno, "create '%s'", path);
    return 0;
}

struct hc_ingest *hc_ingest_begin(const struct hc_cache *cache,
                                  const struct hc_repo *repo, const char *etag,
                                  uint64_t size, struct hc_error *err)
{
    HC_AUTO(hc_ingest) *ingest = calloc(1, sizeof *ingest);

    if (!ingest) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    ingest->root = hc_cache_fd(cache);
    ingest->fd = -1;
    ingest->size = size;
    atomic_init(&ingest->offset, 0);
    if (hc_cache_blob_path(ingest->blob, repo, etag, err) < 0)
        return NULL;
    (void)hc_format(ingest->etag, sizeof ingest->etag, "%s", etag);
    if (start_digest(ingest, err) < 0 || claim_name(ingest, cache, repo, err) < 0 ||
        create_incomplete(ingest, err) < 0)
        return NULL;
    return hc_take(&ingest);
}

/* What a person needs to know about a full volume. */
static void describe_space(const struct hc_ingest *ingest, struct hc_error *err)
{
    struct statvfs volume;

    if (err->reason != HC_NO_SPACE || fstatvfs(ingest->fd, &volume) < 0)
        return;
    err->needed_bytes = ingest->size - hc_ingest_offset(ingest);
    err->free_bytes = (uint64_t)volume.f_bavail * volume.f_frsize;
}

int hc_ingest_write(struct hc_ingest *ingest, const void *bytes, size_t count,
                    struct hc_error *err)
{
    uint64_t offset = hc_ingest_offset(ingest);

    if (count > ingest->size - offset)
        return hc_fail(err, HC_BAD_HUB_REPLY,
                       "blob %s: more bytes came than the %" PRIu64 " promised",
                       ingest->etag, ingest->size);
    if (hc_file_write_all(ingest->fd, bytes, count, err) < 0) {
        /* A part of them may have been written: whoever tries again must not append to
         * it. */
        (void)lseek(ingest->fd, (off_t)offset, SEEK_SET);
        describe_space(ingest, err);
        return hc_context(err, "'%s'", ingest->incomplete);
    }
    if (hc_digest_update(ingest->digest, bytes, count, err) < 0)
        return -1;
    atomic_store(&ingest->offset, offset + count);
    hc_claim_beat(ingest->claim, offset + count);
    return 0;
}

uint64_t hc_ingest_offset(const struct hc_ingest *ingest)
{
    return atomic_load(&ingest->offset);
}

int hc_ingest_restart(struct hc_ingest *ingest, struct hc_error *err)
{
    if (ftruncate(ingest->fd, 0) < 0 || lseek(ingest->fd, 0, SEEK_SET) < 0)
        return hc_fail_errno(err, errno, "truncate '%s'", ingest->incomplete);
    atomic_store(&ingest->offset, 0);
    return start_digest(ingest, err);
}

static int verify(struct hc_ingest *ingest, struct hc_error *err)
{
    char hex[HC_DIGEST_HEX_MAX + 1];
    uint64_t offset = hc_ingest_offset(ingest);

    if (offset != ingest->size)
        return hc_fail(err, HC_BAD_HUB_REPLY,
                       "blob %s: %" PRIu64 " bytes came, %" PRIu64 " were promised",
                       ingest->etag, offset, ingest->size);
    if (hc_digest_finish(ingest->digest, hex, err) < 0)
        return -1;
    if (hex[0] != '\0' && strcmp(hex, ingest->etag) != 0)
        return hc_fail(err, HC_CHECKSUM_MISMATCH, "blob %s: the bytes hash to %s",
                       ingest->etag, hex);
    return 0;
}

int hc_ingest_commit(struct hc_ingest *ingest, struct hc_error *err)
{
    if (verify(ingest, err) < 0)
        return -1;
    if (fsync(ingest->fd) < 0) {
        (void)hc_fail_errno(err, errno, "fsync '%s'", ingest->incomplete);
        describe_space(ingest, err);
        return -1;
    }
    if (renameat(ingest->root, ingest->incomplete, ingest->root, ingest->blob) < 0)
        return hc_fail_errno(err, errno, "rename to '%s'", ingest->blob);
    ingest->is_committed = true;
    return hc_file_sync_parent(ingest->root, ingest->blob, err);
}

void hc_ingest_drop(struct hc_ingest *ingest)
{
    if (!ingest)
        return;
    if (ingest->fd >= 0 && !ingest->is_committed)
        (void)unlinkat(ingest->root, ingest->incomplete, 0);
    hc_auto_close(&ingest->fd);
    hc_claim_drop(ingest->claim);
    hc_digest_free(ingest->digest);
    free(ingest);
}
