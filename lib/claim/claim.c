/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A claim file is written under a private name, put into place under its own and from
 * then on only rewritten through its descriptor. When two processes claim one blob all
 * the same, each writes to a file of its own, and drop removes the name only while it is
 * that of its own file. Nothing is flushed: a claim that is lost with the power was
 * advice.
 *
 * What puts it into place depends on the state of the claim that is there (claim.h):
 *
 *   free                link(2), which fails for all processes but one. On a volume
 *                       without links, rename(2).
 *   held                nothing: the caller waits. Unless it has watched that claim
 *                       stall: then as below, but the partial file is copied.
 *   abandoned           a takeover (takeover.h): link(2) to the superseded name decides,
 *                       then rename(2) over the claim.
 *   unreadable          nothing, and the transfer runs without a claim: the file may name
 *                       bytes that another process can use later.
 *
 * The record is guarded by the lock: the heartbeat thread and all threads that bring
 * bytes write it. Everything else is set before the heartbeat starts.
 */
#include "claim.h"

#include "reservation.h"
#include "takeover.h"

#include <base/file.h>
#include <base/free_space.h>
#include <base/hash.h>
#include <base/heartbeat.h>
#include <base/size.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

enum { HEARTBEAT_DUE_MS = HC_HEARTBEAT_MS * 9 / 10, HEARTBEAT_BYTES = 1024 * 1024 };

struct hc_claim {
    struct hc_heartbeat heartbeat;
    const struct hc_cache *cache; /* borrowed */
    int fd;                       /* -1 when no claim could be written */
    bool is_abandoned;
    struct hc_pieces *pieces;
    char folder[HC_REPO_FOLDER_MAX + 1];
    char path[PATH_MAX];    /* of the claim file; "" when that is too long */
    char partial[PATH_MAX]; /* of the partial file */
    struct {
        pthread_mutex_t lock;
        struct hc_claim_record record;
        int64_t heartbeat_ms;
        uint64_t heartbeat_bytes;
    } shared;
};

static int claim_write(struct hc_claim *claim)
{
    struct hc_claim_record *record = &claim->shared.record;

    record->size = hc_pieces_size(claim->pieces);
    record->bytes = hc_pieces_arrived(claim->pieces);
    hc_pieces_format(claim->pieces, record->ranges);
    return hc_claim_record_write(record, claim->fd);
}

static void claim_on_heartbeat(struct hc_heartbeat *heartbeat)
{
    hc_claim_heartbeat(
        (struct hc_claim *)((char *)heartbeat - offsetof(struct hc_claim, heartbeat)));
}

static void claim_start_heartbeat(struct hc_claim *claim)
{
    if (claim->fd < 0)
        return;
    claim->shared.heartbeat_bytes = hc_pieces_arrived(claim->pieces);
    claim->heartbeat.beat = claim_on_heartbeat;
    hc_heartbeats_start(hc_cache_heartbeats(claim->cache), &claim->heartbeat);
}

static void claim_close_file(struct hc_claim *claim)
{
    hc_auto_close(&claim->fd);
    claim->fd = -1;
}

/* Returns false, for the callers that then report another process's claim. */
static bool claim_withdraw(struct hc_claim *claim, const char *private)
{
    if (claim->fd >= 0)
        (void)unlinkat(hc_cache_fd(claim->cache), private, 0);
    claim_close_file(claim);
    return false;
}

/* The claim's file under a private name, if the volume takes one. */
static void claim_write_private(struct hc_claim *claim, char private[PATH_MAX])
{
    int root = hc_cache_fd(claim->cache);
    struct hc_error unused;

    if (hc_cache_private_path(private, &unused) < 0 ||
        hc_file_mkparents(root, private, &unused) < 0 ||
        hc_file_mkparents(root, claim->path, &unused) < 0)
        return;
    claim->fd = hc_file_create(root, private, O_WRONLY);
    if (claim->fd >= 0 && claim_write(claim) < 0)
        (void)claim_withdraw(claim, private);
}

static bool claim_rename(int root, const char *from, const char *to)
{
    if (renameat(root, from, root, to) == 0)
        return true;
    (void)unlinkat(root, from, 0);
    return false;
}

static bool volume_has_no_links(int errnum)
{
    return errnum == EPERM || errnum == EOPNOTSUPP || errnum == ENOSYS ||
           errnum == EMLINK;
}

/* Whether a link(2) that failed was made: a network filesystem that has lost the answer
 * asks again, and is told that the name exists. */
static bool claim_has_two_names(const struct hc_claim *claim)
{
    struct stat status;

    return fstat(claim->fd, &status) == 0 && status.st_nlink == 2;
}

/* 0 or errno. Another process's sweep may have removed the empty directory meanwhile. */
static int claim_link(int root, const char *from, const char *to)
{
    int failure = linkat(root, from, root, to, 0) == 0 ? 0 : errno;
    struct hc_error unused;

    if (failure == ENOENT && hc_file_mkparents(root, to, &unused) == 0)
        failure = linkat(root, from, root, to, 0) == 0 ? 0 : errno;
    return failure;
}

/* Free → held. False when another process was faster. */
static bool claim_link_in_place(struct hc_claim *claim, const char *private)
{
    int root = hc_cache_fd(claim->cache);
    int failure = claim->fd < 0 ? 0 : claim_link(root, private, claim->path);

    if (failure == EEXIST && claim_has_two_names(claim))
        failure = 0;
    if (volume_has_no_links(failure) && claim_rename(root, private, claim->path))
        failure = 0;
    if (failure != 0) {
        (void)claim_withdraw(claim, private);
        return failure != EEXIST;
    }
    if (claim->fd >= 0)
        (void)unlinkat(root, private, 0);
    claim_start_heartbeat(claim);
    return true;
}

/* Bytes that no hash will check are not resumed. */
static bool takeover_is_useful(const struct hc_claim *claim,
                               const struct hc_takeover *takeover)
{
    const struct hc_claim_record *earlier = &takeover->earlier;
    uint64_t size = hc_pieces_size(claim->pieces);

    return hc_digest_kind_of(takeover->blob->etag) != HC_DIGEST_NONE &&
           earlier->partial[0] && (size == HC_SIZE_UNKNOWN || earlier->size == size) &&
           hc_claim_record_is_worth_keeping(earlier, HC_PARTIAL_KEEP_MS,
                                            takeover->now_ms);
}

/* The successor's record names the earlier partial file, and what is in it, before that
 * is renamed: should this process die in between, the next one finds the bytes. */
static bool takeover_announce(struct hc_claim *claim, const struct hc_takeover *takeover)
{
    const struct hc_claim_record *earlier = &takeover->earlier;
    struct hc_claim_record *record = &claim->shared.record;
    bool is_useful = takeover_is_useful(claim, takeover) &&
                     hc_pieces_parse(claim->pieces, earlier->ranges);

    memcpy(record->previous, earlier->partial, sizeof record->previous);
    if (claim->fd >= 0)
        (void)claim_write(claim);
    return is_useful;
}

/* A copy may take minutes, so the heartbeat runs meanwhile; the record names its bytes
 * only once they are there. */
static void takeover_finish(struct hc_claim *claim, const struct hc_takeover *takeover,
                            bool is_useful, struct hc_cancellation *cancellation)
{
    struct hc_claim_record *record = &claim->shared.record;

    claim_start_heartbeat(claim);
    if (is_useful && !hc_takeover_adopt_partial(takeover, record->partial, cancellation))
        hc_pieces_clear(claim->pieces);
    else if (is_useful && takeover->state == HC_CLAIM_HELD)
        (void)hc_pieces_parse(claim->pieces, takeover->earlier.ranges);
    hc_takeover_end(takeover);
    HC_LOCKED(&claim->shared.lock);
    record->previous[0] = '\0';
}

/* Abandoned or stalled → held. False when another process takes it over. */
static bool claim_take_over(struct hc_claim *claim, const struct hc_takeover *takeover,
                            const char *private, struct hc_cancellation *cancellation)
{
    bool is_useful;

    if (!hc_takeover_begin(takeover))
        return claim_withdraw(claim, private);
    is_useful = takeover->state == HC_CLAIM_ABANDONED
                    ? takeover_announce(claim, takeover)
                    : takeover_is_useful(claim, takeover);
    if (claim->fd >= 0 && !claim_rename(hc_cache_fd(claim->cache), private, claim->path))
        claim_close_file(claim);
    takeover_finish(claim, takeover, is_useful, cancellation);
    return true;
}

/* False when another process holds the blob's claim. True without a claim file when the
 * volume refuses one. */
static bool claim_put_in_place(struct hc_claim *claim, const struct hc_blob_id *blob,
                               const struct hc_claim_options *options)
{
    struct hc_takeover takeover = {.root = hc_cache_fd(claim->cache),
                                   .path = claim->path,
                                   .blob = blob};
    char private[PATH_MAX];

    claim_write_private(claim, private);
    takeover.uid = hc_claim_owner_uid(claim);
    takeover.now_ms = hc_volume_written_ms(claim->fd);
    hc_takeover_inspect(&takeover);
    switch (takeover.state) {
    case HC_CLAIM_UNREADABLE:
        (void)claim_withdraw(claim, private);
        return true;
    case HC_CLAIM_HELD:
        if (!options->stalled || strcmp(options->stalled, takeover.partial) != 0)
            return claim_withdraw(claim, private);
        return claim_take_over(claim, &takeover, private, options->cancellation);
    case HC_CLAIM_ABANDONED:
        return claim_take_over(claim, &takeover, private, options->cancellation);
    default:
        return claim_link_in_place(claim, private);
    }
}

static int claim_name_files(struct hc_claim *claim, const struct hc_blob_id *blob,
                            struct hc_error *err)
{
    char path[PATH_MAX];

    if (hc_format(path, sizeof path, "%s/blobs/%s", blob->folder, blob->etag) < 0 ||
        hc_file_private_name(claim->partial, PATH_MAX, path, ".incomplete", err) < 0)
        return -1;
    if (hc_format(claim->shared.record.partial, NAME_MAX + 1, "%s",
                  strrchr(claim->partial, '/') + 1) < 0 ||
        hc_format(claim->path, PATH_MAX, ".hubcache/transfers/%s/%s", blob->folder,
                  blob->etag) < 0)
        claim->path[0] = '\0'; /* the transfer runs without a claim */
    return 0;
}

static struct hc_claim *claim_new(const struct hc_cache *cache,
                                  const struct hc_blob_request *request,
                                  uint64_t piece_length, struct hc_error *err)
{
    HC_AUTO(hc_claim) *claim = calloc(1, sizeof *claim);

    if (!claim) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&claim->shared.lock, NULL);
    claim->cache = cache;
    claim->fd = -1;
    claim->shared.heartbeat_ms = hc_monotonic_ms();
    claim->shared.record = hc_claim_record_new(request->size);
    (void)hc_format(claim->folder, sizeof claim->folder, "%s", request->blob.folder);
    claim->pieces = hc_pieces_new(request->size, piece_length, err);
    return claim->pieces && claim_name_files(claim, &request->blob, err) == 0
               ? hc_take(&claim)
               : NULL;
}

int hc_claim_acquire(const struct hc_cache *cache, const struct hc_blob_request *request,
                     const struct hc_claim_options *options, struct hc_claim **claim,
                     struct hc_error *err)
{
    HC_AUTO(hc_claim) *own = claim_new(cache, request, options->piece_length, err);

    if (!own)
        return -1;
    if (own->path[0] && !claim_put_in_place(own, &request->blob, options))
        return 0;
    *claim = hc_take(&own);
    return 1;
}

struct hc_pieces *hc_claim_pieces(const struct hc_claim *claim)
{
    return claim->pieces;
}

uid_t hc_claim_owner_uid(const struct hc_claim *claim)
{
    struct stat status;

    return claim->fd >= 0 && fstat(claim->fd, &status) == 0 ? status.st_uid : geteuid();
}

const char *hc_claim_partial_path(const struct hc_claim *claim)
{
    return claim->partial;
}

static struct hc_claimed claim_claimed(const void *ctx)
{
    const struct hc_claim *claim = ctx;

    return hc_claimed_bytes(claim->cache, claim->folder, &claim->shared.record,
                            hc_volume_written_ms(claim->fd));
}

int hc_claim_require_space(const struct hc_claim *claim, int fd, uint64_t needed,
                           struct hc_cancellation *cancellation, struct hc_error *err)
{
    bool is_small = needed < HC_RESERVATION_MIN_BYTES;
    const struct hc_space_request request = {.fd = fd,
                                             .folder = claim->folder,
                                             .needed = needed,
                                             .claimed = is_small ? NULL : claim_claimed,
                                             .ctx = claim,
                                             .cancellation = cancellation};

    return hc_free_space_require(hc_cache_free_space(claim->cache), &request, err);
}

/* A thread that finds the lock taken leaves it to the one that is writing just then. A
 * network filesystem may keep written bytes to itself for a while, but tells a new mtime
 * at once. */
void hc_claim_heartbeat(struct hc_claim *claim)
{
    uint64_t arrived = hc_pieces_arrived(claim->pieces);
    int64_t now_ms = hc_monotonic_ms();
    bool is_due;

    if (claim->fd < 0 || pthread_mutex_trylock(&claim->shared.lock) != 0)
        return;
    is_due = now_ms - claim->shared.heartbeat_ms >= HEARTBEAT_DUE_MS;
    if (is_due || arrived >= claim->shared.heartbeat_bytes + HEARTBEAT_BYTES) {
        claim->shared.heartbeat_bytes = arrived;
        (void)claim_write(claim);
    }
    if (is_due) {
        claim->shared.heartbeat_ms = now_ms;
        (void)futimens(claim->fd, NULL);
    }
    (void)pthread_mutex_unlock(&claim->shared.lock);
}

/* A claim file without a name is found by no other process. */
static bool claim_is_linked(const struct hc_claim *claim)
{
    struct stat status;

    return claim->fd >= 0 && fstat(claim->fd, &status) == 0 && status.st_nlink > 0;
}

bool hc_claim_abandon(struct hc_claim *claim)
{
    if (!claim_is_linked(claim))
        return false;
    HC_LOCKED(&claim->shared.lock);
    claim->shared.record.owner.pid = 0;
    claim->shared.record.owner.start = 0;
    claim->is_abandoned = claim_write(claim) == 0;
    return claim->is_abandoned;
}

uint64_t hc_claim_arrived_bytes(const struct hc_cache *cache,
                                const struct hc_blob_id *blob)
{
    struct hc_claim_record record;

    return hc_claim_record_find(hc_cache_fd(cache), blob, &record) == 1 ? record.bytes
                                                                        : 0;
}

/*
 * A successor's claim may be in its place by now: then this one has the superseded name.
 */
static void claim_remove_file(const struct hc_claim *claim)
{
    int root = hc_cache_fd(claim->cache);
    char superseded[PATH_MAX];

    if (hc_file_is_named(root, claim->path, claim->fd))
        (void)unlinkat(root, claim->path, 0);
    else if (hc_superseded_claim_path(superseded, claim->path,
                                      claim->shared.record.partial))
        (void)unlinkat(root, superseded, 0);
}

void hc_claim_drop(struct hc_claim *claim)
{
    if (!claim)
        return;
    if (claim->heartbeat.beat)
        hc_heartbeats_stop(hc_cache_heartbeats(claim->cache), &claim->heartbeat);
    if (claim->fd >= 0 && !claim->is_abandoned)
        claim_remove_file(claim);
    hc_auto_close(&claim->fd);
    hc_pieces_free(claim->pieces);
    (void)pthread_mutex_destroy(&claim->shared.lock);
    free(claim);
}
