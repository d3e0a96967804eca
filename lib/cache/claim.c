/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A claim is written under a private name, renamed to its place and then only rewritten
 * through its descriptor: should somebody else claim the same blob (a volume without
 * flock), each beats into a file of its own, and drop removes the name only while it is
 * still ours. Nothing is flushed: a claim that power loss eats was advice.
 *
 * A predecessor's file is taken over by renaming it: of two who try, one succeeds and the
 * other starts from nothing. The claim is there before, and names both, so that a crash
 * in between loses nothing.
 */
#include "claim.h"

#include "claims.h"
#include "partial.h"

#include <base/call.h>
#include <base/file.h>
#include <base/text.h>

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { BEAT_MS = 1000, BEAT_BYTES = 1024 * 1024 };

struct hc_claim {
    int root; /* borrowed from the cache */
    int fd;   /* -1 when no claim could be written */
    bool is_left;
    struct hc_pieces *pieces; /* borrowed */
    char folder[HC_REPO_FOLDER_MAX + 1];
    char path[PATH_MAX];       /* the claim's own */
    char incomplete[PATH_MAX]; /* where the bytes are */
    struct {
        pthread_mutex_t lock;
        struct hc_record record;
        int64_t beat_ms;
        uint64_t beat_bytes;
    } shared;
};

static int64_t now_ms_of_day(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int write_text(struct hc_claim *claim)
{
    struct hc_record *record = &claim->shared.record;
    char text[HC_RECORD_TEXT_SIZE];
    int length;

    record->bytes = hc_pieces_arrived(claim->pieces);
    hc_pieces_format(claim->pieces, record->ranges);
    length = hc_record_format(record, text);
    if (length < 0 || pwrite(claim->fd, text, (size_t)length, 0) != length)
        return -1;
    return ftruncate(claim->fd, length);
}

/* Puts the claim in its place, or leaves it without a file. */
static void publish(struct hc_claim *claim)
{
    char private[PATH_MAX];
    struct hc_error unused;

    if (hc_cache_private_path(private, &unused) < 0 ||
        hc_file_mkparents(claim->root, private, &unused) < 0 ||
        hc_file_mkparents(claim->root, claim->path, &unused) < 0)
        return;
    claim->fd = openat(claim->root, private,
                       O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (claim->fd < 0)
        return;
    if (write_text(claim) == 0 &&
        renameat(claim->root, private, claim->root, claim->path) == 0)
        return;
    (void)unlinkat(claim->root, private, 0);
    hc_auto_close(&claim->fd);
    claim->fd = -1;
}

/* 1 when there is an earlier claim, of somebody who is gone. */
static bool find_predecessor(const struct hc_claim *claim, const char *etag,
                             struct hc_record *earlier)
{
    if (!hc_record_read(claim->root, claim->path, earlier) ||
        !hc_record_is_abandoned(earlier, now_ms_of_day()) ||
        !hc_partial_is_of(earlier->incomplete, etag))
        return false;
    if (!hc_partial_is_of(earlier->previous, etag))
        earlier->previous[0] = '\0';
    if (earlier->previous[0] &&
        !hc_partial_exists(claim->root, claim->folder, earlier->incomplete))
        memcpy(earlier->incomplete, earlier->previous, sizeof earlier->incomplete);
    return true;
}

static bool is_of_use(const struct hc_claim *claim, const struct hc_record *earlier)
{
    return earlier->size == hc_pieces_size(claim->pieces) &&
           hc_record_is_worth_keeping(earlier, now_ms_of_day()) &&
           hc_pieces_parse(claim->pieces, earlier->ranges);
}

/* Our claim hides the older one, and with it what its owner left behind. */
static void succeed(struct hc_claim *claim, const char *etag)
{
    struct hc_record *record = &claim->shared.record;
    struct hc_record earlier;
    bool is_found = find_predecessor(claim, etag, &earlier);
    bool is_useful = is_found && is_of_use(claim, &earlier);

    if (is_found)
        memcpy(record->previous, earlier.incomplete, sizeof record->previous);
    publish(claim);
    if (is_useful && !hc_partial_rename(claim->root, claim->folder, earlier.incomplete,
                                        record->incomplete))
        hc_pieces_clear(claim->pieces);
    if (is_found)
        (void)hc_partial_remove(claim->root, claim->folder, earlier.incomplete);
    record->previous[0] = '\0';
}

static int name_files(struct hc_claim *claim, const struct hc_repo *repo,
                      const char *etag, struct hc_error *err)
{
    char blob[PATH_MAX];

    if (hc_format(blob, sizeof blob, "%s/blobs/%s", repo->folder, etag) < 0 ||
        hc_file_private_name(claim->incomplete, PATH_MAX, blob, ".incomplete", err) < 0)
        return -1;
    if (hc_format(claim->shared.record.incomplete, NAME_MAX + 1, "%s",
                  strrchr(claim->incomplete, '/') + 1) < 0 ||
        hc_format(claim->path, PATH_MAX, ".hubcache/transfers/%s/%s", repo->folder,
                  etag) < 0)
        claim->path[0] = '\0'; /* a transfer without a claim */
    return 0;
}

struct hc_claim *hc_claim_make(const struct hc_cache *cache, const struct hc_repo *repo,
                               const char *etag, struct hc_pieces *pieces,
                               struct hc_error *err)
{
    HC_AUTO(hc_claim) *claim = calloc(1, sizeof *claim);

    if (!claim) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&claim->shared.lock, NULL);
    claim->root = hc_cache_fd(cache);
    claim->fd = -1;
    claim->pieces = pieces;
    claim->shared.beat_ms = hc_monotonic_ms();
    claim->shared.record.owner = hc_process_self();
    claim->shared.record.size = hc_pieces_size(pieces);
    claim->shared.record.since_ms = now_ms_of_day();
    (void)hc_format(claim->folder, sizeof claim->folder, "%s", repo->folder);
    if (name_files(claim, repo, etag, err) < 0)
        return NULL;
    if (claim->path[0])
        succeed(claim, etag);
    claim->shared.beat_bytes = hc_pieces_arrived(pieces);
    return hc_take(&claim);
}

const char *hc_claim_path(const struct hc_claim *claim)
{
    return claim->incomplete;
}

static bool is_due(const struct hc_claim *claim, uint64_t arrived, int64_t now_ms)
{
    return now_ms - claim->shared.beat_ms >= BEAT_MS ||
           arrived >= claim->shared.beat_bytes + BEAT_BYTES;
}

void hc_claim_beat(struct hc_claim *claim)
{
    uint64_t arrived = hc_pieces_arrived(claim->pieces);
    int64_t now_ms = hc_monotonic_ms();

    /* Who finds it locked leaves it to who is at it. */
    if (claim->fd < 0 || pthread_mutex_trylock(&claim->shared.lock) != 0)
        return;
    if (is_due(claim, arrived, now_ms)) {
        claim->shared.beat_ms = now_ms;
        claim->shared.beat_bytes = arrived;
        (void)write_text(claim);
    }
    (void)pthread_mutex_unlock(&claim->shared.lock);
}

bool hc_claim_leave(struct hc_claim *claim)
{
    if (claim->fd < 0)
        return false;
    claim->shared.record.owner.pid = 0;
    claim->shared.record.owner.start = 0;
    claim->is_left = write_text(claim) == 0;
    return claim->is_left;
}

struct reservation {
    const struct hc_record *ours;
    int64_t now_ms;
    uint64_t bytes;
};

static bool is_earlier(const struct hc_record *a, const struct hc_record *b)
{
    if (a->since_ms != b->since_ms)
        return a->since_ms < b->since_ms;
    return strcmp(a->incomplete, b->incomplete) < 0;
}

static void add_need(void *ctx, const struct hc_claims_entry *entry)
{
    struct reservation *reservation = ctx;
    const struct hc_record *record = &entry->record;

    if (!hc_record_is_abandoned(record, reservation->now_ms) &&
        is_earlier(record, reservation->ours) && record->size > record->bytes)
        reservation->bytes += record->size - record->bytes;
}

uint64_t hc_claim_reserved(const struct hc_cache *cache, const struct hc_claim *claim)
{
    struct reservation reservation = {.ours = &claim->shared.record,
                                      .now_ms = now_ms_of_day()};

    hc_claims_each(cache, add_need, &reservation);
    return reservation.bytes;
}

void hc_claim_drop(struct hc_claim *claim)
{
    struct stat ours, theirs;

    if (!claim)
        return;
    if (claim->fd >= 0 && !claim->is_left && fstat(claim->fd, &ours) == 0 &&
        fstatat(claim->root, claim->path, &theirs, AT_SYMLINK_NOFOLLOW) == 0 &&
        ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev)
        (void)unlinkat(claim->root, claim->path, 0);
    hc_auto_close(&claim->fd);
    (void)pthread_mutex_destroy(&claim->shared.lock);
    free(claim);
}
