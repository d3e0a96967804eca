/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A holder is stalled when neither its claim file (mtime, bytes) nor, for clients that
 * have none, any partial file of the blob has changed for as long as the caller allows.
 * Other clients write blobs/<etag>.incomplete or blobs/<etag>.<8 hex>.incomplete (§1.5).
 *
 * link(2) decides which process takes a claim over: it is atomic on every filesystem that
 * has it, NFS included, where flock may do nothing. On a volume without links every
 * process that tries goes on, and the same bytes may be fetched twice; the partial files
 * have different names, so that none is written by two.
 */
#include "takeover.h"

#include "partial.h"

#include <base/file.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { POLL_INTERVAL_MS = 250, HEX_DIGITS = 8, CRASHED_AFTER_MS = 4000 };

void hc_claim_holder_init(struct hc_claim_holder *holder, const struct hc_cache *cache,
                          const struct hc_blob_id *blob, int64_t now_ms)
{
    *holder = (struct hc_claim_holder){.cache = cache,
                                       .blob = *blob,
                                       .progressed_ms = now_ms,
                                       .polled_ms = now_ms - POLL_INTERVAL_MS};
}

/* A process that is gone holds no lock, so its claim is no reason to wait; for a caller
 * that has the lock (`only_claims`) it is, until that claim is taken over. */
static bool holder_read_claim(struct hc_claim_holder *holder, uint64_t *signature)
{
    struct hc_claim_record record;

    if (hc_claim_record_find(hc_cache_fd(holder->cache), &holder->blob, &record) != 1 ||
        (!holder->only_claims && hc_claim_record_owner_is_gone(&record)))
        return false;
    holder->bytes = record.bytes;
    memcpy(holder->partial, record.partial, sizeof holder->partial);
    *signature = (uint64_t)record.heartbeat_ms + record.bytes;
    return true;
}

static bool holder_read_files(struct hc_claim_holder *holder, uint64_t *signature)
{
    uint64_t largest, found;

    if (!hc_partial_measure(hc_cache_fd(holder->cache), &holder->blob, &largest, &found))
        return false;
    if (!holder->has_claim)
        holder->bytes = largest;
    *signature = found;
    return true;
}

/* The files are looked at only when the claim has not changed: it may have outlived its
 * owner, while another client has the lock and writes. */
static void holder_read(struct hc_claim_holder *holder, int64_t now_ms)
{
    uint64_t claim = 0, files = holder->files_signature;

    holder->polled_ms = now_ms;
    holder->bytes = 0;
    holder->partial[0] = '\0';
    holder->has_claim = holder_read_claim(holder, &claim);
    holder->is_present = holder->has_claim;
    if (!holder->only_claims && claim == holder->claim_signature &&
        holder_read_files(holder, &files))
        holder->is_present = true;
    if (claim != holder->claim_signature || files != holder->files_signature)
        holder->progressed_ms = now_ms;
    holder->claim_signature = claim;
    holder->files_signature = files;
}

bool hc_claim_holder_poll(struct hc_claim_holder *holder, int64_t now_ms)
{
    if (now_ms - holder->polled_ms < POLL_INTERVAL_MS)
        return false;
    holder_read(holder, now_ms);
    return true;
}

bool hc_claim_holder_is_stalled(struct hc_claim_holder *holder, int64_t for_ms,
                                int64_t now_ms)
{
    if (now_ms - holder->progressed_ms < for_ms)
        return false;
    holder_read(holder, now_ms);
    return now_ms - holder->progressed_ms >= for_ms;
}

/*
 * A malformed claim, or one that names a file of another blob, has no owner that could
 * come back and no partial file: it is abandoned with nothing to resume. An abandoned
 * claim whose owner died in mid-takeover has its bytes under the previous name.
 */
void hc_takeover_inspect(struct hc_takeover *takeover)
{
    struct hc_claim_record *earlier = &takeover->earlier;
    int root = takeover->root;
    int found = hc_claim_record_read(root, takeover->path, earlier);
    struct stat status;

    takeover->state = HC_CLAIM_ABANDONED;
    memcpy(takeover->partial, earlier->partial, sizeof takeover->partial);
    if (found < 0) {
        takeover->state = HC_CLAIM_UNREADABLE;
    } else if (found == 0 || !hc_partial_is_of(earlier->partial, takeover->blob->etag)) {
        takeover->partial[0] = earlier->partial[0] = '\0';
        if (fstatat(root, takeover->path, &status, AT_SYMLINK_NOFOLLOW) < 0)
            takeover->state = HC_CLAIM_FREE;
    } else if (!hc_claim_record_is_abandoned(earlier, takeover->now_ms)) {
        takeover->state = HC_CLAIM_HELD;
    } else if (hc_partial_is_of(earlier->previous, takeover->blob->etag) &&
               !hc_partial_exists(root, takeover->blob->folder, earlier->partial)) {
        memcpy(earlier->partial, earlier->previous, sizeof earlier->partial);
    }
}

bool hc_superseded_claim_path(char superseded[PATH_MAX], const char *path,
                              const char *partial)
{
    const char *dot = strrchr(partial, '.');

    return dot && dot - partial >= HEX_DIGITS &&
           hc_format(superseded, PATH_MAX, "%s.%.*s", path, HEX_DIGITS,
                     dot - HEX_DIGITS) > 0;
}

/* Its ctime is that of the link, or of a later heartbeat: when both are long past, the
 * process that made the link died before its rename. */
static bool superseded_is_old(int root, const char *superseded, int64_t now_ms)
{
    struct stat status;

    return fstatat(root, superseded, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           now_ms - hc_file_time_ms(&status.st_ctim) >= CRASHED_AFTER_MS;
}

/* Another claim may have come to that place after it was inspected, and been linked. */
static bool superseded_is_inspected_one(const struct hc_takeover *takeover,
                                        const char *superseded)
{
    struct hc_claim_record record;

    return hc_claim_record_read(takeover->root, superseded, &record) == 1 &&
           hc_partial_is_of(record.partial, takeover->blob->etag) &&
           strcmp(record.partial, takeover->partial) == 0;
}

bool hc_takeover_begin(const struct hc_takeover *takeover)
{
    int root = takeover->root;
    const char *path = takeover->path;
    char superseded[PATH_MAX];
    int linked;

    if (!hc_superseded_claim_path(superseded, path, takeover->partial))
        return true; /* without a partial file there is nothing to win */
    linked = linkat(root, path, root, superseded, 0);
    if (linked < 0 && errno == EEXIST &&
        superseded_is_old(root, superseded, takeover->now_ms)) {
        (void)unlinkat(root, superseded, 0);
        linked = linkat(root, path, root, superseded, 0);
    }
    if (linked < 0)
        return errno != EEXIST && errno != ENOENT; /* a volume without links */
    if (superseded_is_inspected_one(takeover, superseded))
        return true;
    (void)unlinkat(root, superseded, 0);
    return false;
}

/* The file of another user is copied even when its owner is gone: that user may have it
 * open for writing, and the Hub's clients resume files of their own. */
bool hc_takeover_adopt_partial(const struct hc_takeover *takeover, const char *name,
                               struct hc_cancellation *cancellation)
{
    const char *partial = takeover->earlier.partial;
    int root = takeover->root;

    return takeover->state == HC_CLAIM_ABANDONED &&
                   hc_partial_belongs_to(root, takeover->blob->folder, partial,
                                         takeover->uid)
               ? hc_partial_rename(root, takeover->blob->folder, partial, name)
               : hc_partial_copy(root, takeover->blob->folder, partial, name,
                                 cancellation);
}

void hc_takeover_end(const struct hc_takeover *takeover)
{
    const char *partial = takeover->earlier.partial;
    char superseded[PATH_MAX];

    if (takeover->state != HC_CLAIM_ABANDONED || !partial[0])
        return;
    (void)hc_partial_remove(takeover->root, takeover->blob->folder, partial);
    if (hc_superseded_claim_path(superseded, takeover->path, takeover->partial))
        (void)unlinkat(takeover->root, superseded, 0);
}
