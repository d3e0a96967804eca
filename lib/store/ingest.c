/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes are hashed as they lie in the page cache, not as they come: so they may come in
 * any order and on many threads, and the hash costs no second read from the disk. No byte
 * is written twice, so what was hashed is what is in the file.
 *
 * The file lies in the blob's own directory: the last step is a rename, and the Hub's own
 * prune finds what a crash leaves behind. The claim comes before the file, so that the
 * sweep knows which partial files are ours.
 */
#include "ingest.h"

#include "duplicate.h"
#include <cache/occupancy.h>
#include <claim/claim.h>

#include <base/file.h>
#include <base/free_space.h>
#include <base/hash.h>
#include <base/size.h>
#include <base/text.h>
#include <cache/fetched.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

enum {
    HASH_CHUNK = 256 * 1024,            /* stays in the processor's cache */
    WRITE_BACK_CHUNK = 16 * 1024 * 1024 /* so that the last flush has little to do */
};

struct hc_ingest {
    const struct hc_cache *cache;
    int fd;
    bool is_committed;
    bool was_taken_over;                 /* the file had gone when it was to be renamed */
    atomic_bool is_unusable;             /* the next ingest must not resume it */
    bool is_size_given;                  /* when it began */
    atomic_uint_least64_t resumed_bytes; /* those of an earlier ingest */
    uint64_t resumed_front;              /* bytes that were there in order */
    atomic_uint_least64_t duplicate_bytes; /* those of another repo's blob */
    enum hc_duplicate_kind duplicate;
    atomic_uint_least64_t hashed; /* bytes the digest has seen */
    uint64_t written_back;        /* bytes the disk has been told to write */
    struct hc_pieces *pieces;     /* of the claim */
    struct hc_digest *digest;
    struct hc_claim *claim;
    char *buffer; /* HASH_CHUNK bytes, once something is hashed */
    char etag[HC_ETAG_MAX + 1];
    char blob[PATH_MAX];
};

/* Git hashes the size before the content: that hash waits for the size. */
static int ingest_start_digest(struct hc_ingest *ingest, uint64_t size,
                               struct hc_error *err)
{
    enum hc_digest_kind kind = hc_digest_kind_of(ingest->etag);

    hc_digest_free(ingest->digest);
    ingest->digest = NULL;
    atomic_store(&ingest->hashed, 0);
    ingest->written_back = 0;
    if (kind == HC_DIGEST_GIT_BLOB && size == HC_SIZE_UNKNOWN)
        return 0;
    ingest->digest = hc_digest_new(kind, size, err);
    return ingest->digest ? 0 : -1;
}

/* A file that is shorter than its claim says has lost bytes with the power; into a file
 * of another user, that user may write bytes that are not hashed. */
static bool ingest_open_partial(struct hc_ingest *ingest)
{
    int root = hc_cache_fd(ingest->cache);
    struct stat status;

    if (hc_pieces_arrived(ingest->pieces) == 0)
        return false;
    ingest->fd = hc_file_open(root, hc_claim_partial_path(ingest->claim), O_RDWR, 0);
    if (ingest->fd >= 0 && fstat(ingest->fd, &status) == 0 && status.st_nlink == 1 &&
        status.st_uid == hc_claim_owner_uid(ingest->claim) &&
        (uint64_t)status.st_size >= hc_pieces_end(ingest->pieces))
        return true;
    hc_auto_close(&ingest->fd);
    ingest->fd = -1;
    (void)unlinkat(root, hc_claim_partial_path(ingest->claim), 0);
    hc_pieces_clear(ingest->pieces);
    return false;
}

/* Under the claim's private name: no other process opens it before the claim says so. */
static int ingest_create_file(struct hc_ingest *ingest, struct hc_error *err)
{
    const char *path = hc_claim_partial_path(ingest->claim);
    int root = hc_cache_fd(ingest->cache);

    ingest->fd = hc_file_create_below(root, path, O_RDWR, err);
    return ingest->fd < 0 ? -1 : 0;
}

static int ingest_open_file(struct hc_ingest *ingest, struct hc_error *err)
{
    if (!ingest_open_partial(ingest))
        return ingest_create_file(ingest, err);
    atomic_store(&ingest->resumed_bytes, hc_pieces_arrived(ingest->pieces));
    ingest->resumed_front = hc_pieces_front(ingest->pieces);
    return 0;
}

/* 0 when the size is not known: then nothing can be compared with the free space yet. */
static uint64_t ingest_missing_bytes(const struct hc_ingest *ingest)
{
    uint64_t size = hc_pieces_size(ingest->pieces);

    return size == HC_SIZE_UNKNOWN ? 0 : size - hc_pieces_arrived(ingest->pieces);
}

int hc_ingest_check_space(const struct hc_ingest *ingest,
                          struct hc_cancellation *cancellation, struct hc_error *err)
{
    return hc_claim_require_space(ingest->claim, ingest->fd, ingest_missing_bytes(ingest),
                                  cancellation, err);
}

static struct hc_ingest *ingest_new(const struct hc_cache *cache,
                                    const struct hc_blob_request *request,
                                    struct hc_error *err)
{
    HC_AUTO(hc_ingest) *ingest = calloc(1, sizeof *ingest);

    if (!ingest) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    ingest->cache = cache;
    ingest->fd = -1;
    ingest->is_size_given = request->size != HC_SIZE_UNKNOWN;
    if (hc_cache_blob_path(ingest->blob, &request->blob, err) < 0)
        return NULL;
    (void)hc_format(ingest->etag, sizeof ingest->etag, "%s", request->blob.etag);
    return ingest_start_digest(ingest, request->size, err) == 0 ? hc_take(&ingest) : NULL;
}

int hc_ingest_begin(const struct hc_cache *cache, const struct hc_blob_request *request,
                    const struct hc_claim_options *options, struct hc_ingest **ingest,
                    struct hc_error *err)
{
    HC_AUTO(hc_ingest) *begun = ingest_new(cache, request, err);
    int claimed;

    if (!begun)
        return -1;
    claimed = hc_claim_acquire(cache, request, options, &begun->claim, err);
    if (claimed <= 0)
        return claimed;
    begun->pieces = hc_claim_pieces(begun->claim);
    if (ingest_open_file(begun, err) < 0)
        return -1;
    *ingest = hc_take(&begun);
    return 1;
}

int hc_ingest_use_duplicate(struct hc_ingest *ingest,
                            const struct hc_blob_request *request, struct hc_error *err)
{
    const char *path = hc_claim_partial_path(ingest->claim);
    char duplicate[PATH_MAX];

    if (request->size < HC_DUPLICATE_MIN_BYTES || !ingest->is_size_given ||
        !hc_duplicate_find(ingest->cache, &request->blob, request->size, duplicate))
        return 0;
    ingest->duplicate = hc_duplicate_use(ingest->cache, duplicate, ingest->fd, path);
    if (ingest->duplicate == HC_DUPLICATE_NONE)
        return 0;
    if (ingest->duplicate == HC_DUPLICATE_LINKED) {
        /* Read-only: what is written now would change the other repo's blob. */
        hc_auto_close(&ingest->fd);
        ingest->fd = hc_file_open(hc_cache_fd(ingest->cache), path, O_RDONLY, 0);
        if (ingest->fd < 0) {
            (void)hc_file_fail(err, errno, "open", hc_cache_fd(ingest->cache), path);
            (void)unlinkat(hc_cache_fd(ingest->cache), path, 0);
            return -1;
        }
    }
    atomic_store(&ingest->duplicate_bytes, request->size);
    hc_pieces_set_whole(ingest->pieces);
    return 1;
}

static int ingest_write_span(struct hc_ingest *ingest, const struct hc_span *span,
                             const char *bytes, struct hc_error *err)
{
    size_t count = (size_t)(span->end - span->start);

    if (hc_file_write_all_at(ingest->fd, bytes, count, span->start, err) < 0) {
        atomic_store(&ingest->is_unusable, true);
        hc_free_space_describe(ingest->fd, ingest_missing_bytes(ingest), err);
        return hc_context(err, "'%s'", hc_claim_partial_path(ingest->claim));
    }
    hc_pieces_add_arrived(ingest->pieces, span->start, count);
    return 0;
}

int hc_ingest_write(struct hc_ingest *ingest, uint64_t at, const void *bytes,
                    size_t count, struct hc_error *err)
{
    uint64_t size = hc_pieces_size(ingest->pieces);
    uint64_t end = at + count;

    if (at > size || count > size - at) {
        atomic_store(&ingest->is_unusable, true);
        return hc_fail(err, HC_BAD_HUB_REPLY,
                       "blob %s: more bytes came than the %" PRIu64 " promised",
                       ingest->etag, size);
    }
    /* What is there already is skipped: a read may begin before the gap it was meant for,
     * when the server sends whole files only. */
    for (uint64_t next = at; next < end;) {
        struct hc_span span = hc_pieces_gap(ingest->pieces, next);

        if (span.start >= end)
            break;
        if (span.start < next)
            return hc_fail(err, HC_INTERNAL,
                           "blob %s: bytes before %" PRIu64 " are missing", ingest->etag,
                           next);
        if (span.end > end)
            span.end = end;
        if (ingest_write_span(ingest, &span, (const char *)bytes + (span.start - at),
                              err) < 0)
            return -1;
        next = span.end;
    }
    hc_claim_heartbeat(ingest->claim);
    return 0;
}

/* A git hash could not begin before: its first bytes are the size. */
int hc_ingest_set_size(struct hc_ingest *ingest, uint64_t size,
                       struct hc_cancellation *cancellation, struct hc_error *err)
{
    uint64_t known = hc_pieces_size(ingest->pieces);

    if (known != HC_SIZE_UNKNOWN ? size != known : size < hc_pieces_end(ingest->pieces)) {
        atomic_store(&ingest->is_unusable, true);
        return hc_fail(err, HC_BAD_HUB_REPLY,
                       "blob %s: it is said to have %" PRIu64
                       " bytes, which others contradict",
                       ingest->etag, size);
    }
    hc_pieces_set_size(ingest->pieces, size);
    if (hc_ingest_check_space(ingest, cancellation, err) < 0)
        return -1;
    return ingest->digest ? 0 : ingest_start_digest(ingest, size, err);
}

bool hc_ingest_is_size_given(const struct hc_ingest *ingest)
{
    return ingest->is_size_given;
}

struct hc_pieces *hc_ingest_pieces(struct hc_ingest *ingest)
{
    return ingest->pieces;
}

uint64_t hc_ingest_resumed_bytes(const struct hc_ingest *ingest)
{
    return atomic_load(&ingest->resumed_bytes);
}

uint64_t hc_ingest_duplicate_bytes(const struct hc_ingest *ingest)
{
    return atomic_load(&ingest->duplicate_bytes);
}

uint64_t hc_ingest_reused_bytes(const struct hc_ingest *ingest)
{
    return hc_ingest_resumed_bytes(ingest) + hc_ingest_duplicate_bytes(ingest);
}

/* Early write-back: the disk works while the network does. It is a hint, so that a
 * failure does not matter. */
static void ingest_write_back(struct hc_ingest *ingest)
{
    uint64_t hashed = atomic_load(&ingest->hashed);
    uint64_t count = hashed - ingest->written_back;

    if (count < WRITE_BACK_CHUNK)
        return;
    (void)sync_file_range(ingest->fd, (off_t)ingest->written_back, (off_t)count,
                          SYNC_FILE_RANGE_WRITE);
    ingest->written_back = hashed;
}

/* The bytes of an earlier ingest are hashed first; while they are, the network need not
 * wait for the hash. */
uint64_t hc_ingest_unhashed(struct hc_ingest *ingest)
{
    uint64_t hashed = atomic_load(&ingest->hashed);
    uint64_t front = hc_pieces_front(ingest->pieces);

    return hashed >= ingest->resumed_front && front > hashed ? front - hashed : 0;
}

/* The next bytes, at most `ready`, into the buffer; 0 when there are none at all. */
static ssize_t ingest_read_next(struct hc_ingest *ingest, uint64_t ready,
                                struct hc_error *err)
{
    const char *path = hc_claim_partial_path(ingest->claim);
    off_t at = (off_t)atomic_load(&ingest->hashed);
    ssize_t count;

    if (!ingest->buffer)
        ingest->buffer = malloc(HASH_CHUNK);
    if (!ingest->buffer)
        return hc_fail_memory(err);
    do
        count = pread(ingest->fd, ingest->buffer, ready < HASH_CHUNK ? ready : HASH_CHUNK,
                      at);
    while (count < 0 && errno == EINTR);
    if (count > 0)
        return count;
    atomic_store(&ingest->is_unusable, true);
    return count < 0 ? hc_fail_errno(err, errno, "read '%s'", path)
                     : hc_fail(err, HC_CHECKSUM_MISMATCH, "'%s' lost bytes", path);
}

int hc_ingest_hash_next(struct hc_ingest *ingest, struct hc_error *err)
{
    uint64_t ready = hc_pieces_front(ingest->pieces) - atomic_load(&ingest->hashed);
    ssize_t count;

    if (ready == 0 || !ingest->digest)
        return 0;
    count = ingest_read_next(ingest, ready, err);
    if (count < 0)
        return -1;
    if (hc_digest_update(ingest->digest, ingest->buffer, (size_t)count, err) < 0)
        return -1;
    (void)atomic_fetch_add(&ingest->hashed, (uint64_t)count);
    ingest_write_back(ingest);
    return 1;
}

/* In a new file: the old one may be another repo's too, or another process may have taken
 * it over meanwhile. */
int hc_ingest_restart(struct hc_ingest *ingest, struct hc_error *err)
{
    hc_auto_close(&ingest->fd);
    ingest->fd = -1;
    (void)unlinkat(hc_cache_fd(ingest->cache), hc_claim_partial_path(ingest->claim), 0);
    hc_pieces_clear(ingest->pieces);
    if (!ingest->is_size_given)
        hc_pieces_set_size(ingest->pieces, HC_SIZE_UNKNOWN);
    if (ingest_create_file(ingest, err) < 0)
        return -1;
    atomic_store(&ingest->resumed_bytes, 0);
    atomic_store(&ingest->duplicate_bytes, 0);
    ingest->resumed_front = 0;
    ingest->duplicate = HC_DUPLICATE_NONE;
    atomic_store(&ingest->is_unusable, false);
    return ingest_start_digest(ingest, hc_pieces_size(ingest->pieces), err);
}

/* The file has the blob's bytes and no others: an earlier transfer may have written more
 * than its claim says, and what lies beyond the end is not hashed. */
static int ingest_trim_file(const struct hc_ingest *ingest, struct hc_error *err)
{
    off_t size = (off_t)hc_pieces_size(ingest->pieces);
    struct stat status;

    if (fstat(ingest->fd, &status) == 0 &&
        (status.st_size == size ||
         (status.st_size > size && ingest->duplicate != HC_DUPLICATE_LINKED &&
          ftruncate(ingest->fd, size) == 0)))
        return 0;
    return hc_fail(err, HC_CHECKSUM_MISMATCH, "'%s' has lost bytes or got more",
                   hc_claim_partial_path(ingest->claim));
}

/* An etag that is no hash has nothing to compare with: `hex` is "" then. */
static int ingest_verify(struct hc_ingest *ingest, struct hc_error *err)
{
    char hex[HC_DIGEST_HEX_MAX + 1];
    uint64_t arrived = hc_pieces_arrived(ingest->pieces);
    uint64_t size = hc_pieces_size(ingest->pieces);
    int result = 1;

    if (arrived != size)
        return hc_fail(err, HC_BAD_HUB_REPLY,
                       "blob %s: %" PRIu64 " bytes came, %" PRIu64 " were promised",
                       ingest->etag, arrived, size);
    while (result == 1)
        result = hc_ingest_hash_next(ingest, err);
    if (result < 0 || hc_digest_finish(ingest->digest, hex, err) < 0)
        return -1;
    if (hex[0] == '\0' || strcmp(hex, ingest->etag) == 0)
        result = ingest_trim_file(ingest, err);
    else
        result = hc_fail(err, HC_CHECKSUM_MISMATCH, "blob %s: the bytes hash to %s",
                         ingest->etag, hex);
    if (result < 0)
        atomic_store(&ingest->is_unusable, true);
    return result;
}

/* What the blob that a commit replaces has taken. */
static uint64_t ingest_replaced_bytes(const struct hc_ingest *ingest)
{
    struct stat status;

    return fstatat(hc_cache_fd(ingest->cache), ingest->blob, &status,
                   AT_SYMLINK_NOFOLLOW) == 0 &&
                   S_ISREG(status.st_mode)
               ? hc_occupancy_of_file(&status)
               : 0;
}

/* While the claim is still there: readers see the bytes twice rather than not at all. */
static void ingest_count(const struct hc_ingest *ingest, uint64_t replaced)
{
    struct hc_occupancy *occupancy = hc_cache_occupancy(ingest->cache);
    struct stat status;

    if (fstat(ingest->fd, &status) == 0)
        hc_occupancy_add(occupancy, hc_occupancy_of_file(&status));
    if (replaced > 0)
        hc_occupancy_remove(occupancy, replaced);
}

/* The bytes are on the disk before their name is: after a power loss a blob is whole or
 * not there. Another writer may have been faster; its blob has the same bytes. */
static int ingest_publish(struct hc_ingest *ingest, struct hc_error *err)
{
    const char *path = hc_claim_partial_path(ingest->claim);
    int root = hc_cache_fd(ingest->cache);
    uint64_t replaced;

    if (fsync(ingest->fd) < 0) {
        (void)hc_fail_errno(err, errno, "fsync '%s'", path);
        hc_free_space_describe(ingest->fd, hc_pieces_size(ingest->pieces), err);
        return -1;
    }
    replaced = ingest_replaced_bytes(ingest);
    if (renameat(root, path, root, ingest->blob) < 0) {
        ingest->was_taken_over = errno == ENOENT;
        return hc_file_fail(err, errno, "rename to", root, ingest->blob);
    }
    ingest->is_committed = true;
    ingest_count(ingest, replaced);
    return hc_file_sync_parent(root, ingest->blob, err);
}

/* Before the blob is there: a crash in between leaves a record without a blob, which is
 * swept. What a duplicate brought takes no room, and does not count. */
static void ingest_record(const struct hc_ingest *ingest,
                          const struct hc_blob_request *request)
{
    uint64_t bytes = hc_pieces_size(ingest->pieces) - hc_ingest_duplicate_bytes(ingest);
    struct hc_error unused;

    (void)hc_fetched_write(ingest->cache, request, bytes, &unused);
}

/* Of a blob that is not there; unless the process that has taken it over may have written
 * the record. */
static void ingest_take_record_back(const struct hc_ingest *ingest,
                                    const struct hc_blob_request *request)
{
    if (!ingest->was_taken_over &&
        faccessat(hc_cache_fd(ingest->cache), ingest->blob, F_OK, 0) < 0)
        hc_fetched_remove(ingest->cache, &request->blob);
}

int hc_ingest_commit(struct hc_ingest *ingest, const struct hc_blob_request *request,
                     struct hc_error *err)
{
    if (ingest_verify(ingest, err) < 0)
        return -1;
    if (request)
        ingest_record(ingest, request);
    if (ingest_publish(ingest, err) == 0)
        return 0;
    if (request)
        ingest_take_record_back(ingest, request);
    atomic_store(&ingest->is_unusable, true);
    return -1;
}

bool hc_ingest_was_taken_over(const struct hc_ingest *ingest)
{
    return ingest->was_taken_over;
}

/* Whether what has arrived stays, for the next transfer of the blob. Bytes that no hash
 * can check are not resumed. */
static bool ingest_keep_partial(struct hc_ingest *ingest)
{
    return !atomic_load(&ingest->is_unusable) && ingest->duplicate == HC_DUPLICATE_NONE &&
           hc_digest_kind_of(ingest->etag) != HC_DIGEST_NONE &&
           hc_pieces_arrived(ingest->pieces) >= HC_PARTIAL_KEEP_BYTES &&
           hc_claim_abandon(ingest->claim);
}

void hc_ingest_drop(struct hc_ingest *ingest)
{
    if (!ingest)
        return;
    if (ingest->fd >= 0 && !ingest->is_committed && !ingest_keep_partial(ingest))
        (void)unlinkat(hc_cache_fd(ingest->cache), hc_claim_partial_path(ingest->claim),
                       0);
    hc_auto_close(&ingest->fd);
    hc_claim_drop(ingest->claim);
    hc_digest_free(ingest->digest);
    free(ingest->buffer);
    free(ingest);
}
