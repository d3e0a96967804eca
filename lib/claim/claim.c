/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A claim is written under a private name, put in its place and then only rewritten
 * through its descriptor: should somebody else claim the same blob all the same, each
 * beats into a file of its own, and drop removes the name only while it is still ours.
 * Nothing is flushed: a claim that power loss eats was advice.
 *
 * Where nobody has a claim, ours is put in place by link(2), which only one of many can.
 * How it follows another is in succession.h.
 */
#include "claim.h"

#include "claims.h"
#include "succession.h"
#include <base/heartbeat.h>

#include <base/cancellation.h>
#include <base/digest.h>
#include <base/file.h>
#include <base/size.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { BEAT_MS = HC_HEARTBEAT_MS * 9 / 10, BEAT_BYTES = 1024 * 1024 };

struct hc_claim {
    struct hc_heartbeat heartbeat;
    struct hc_heartbeats *heartbeats; /* borrowed from the cache, as the next */
    int root;
    int fd; /* -1 when no claim could be written */
    bool is_left;
    struct hc_pieces *pieces; /* borrowed */
    char folder[HC_REPO_FOLDER_MAX + 1];
    char path[PATH_MAX];    /* the claim's own */
    char partial[PATH_MAX]; /* where the bytes are */
    struct {
        pthread_mutex_t lock;
        struct hc_claim_record record;
        int64_t beat_ms;
        uint64_t beat_bytes;
    } shared;
};

static int write_text(struct hc_claim *claim)
{
    struct hc_claim_record *record = &claim->shared.record;

    hc_claim_record_set_size(record, hc_pieces_size(claim->pieces));
    record->bytes = hc_pieces_arrived(claim->pieces);
    hc_pieces_format(claim->pieces, record->ranges);
    return hc_claim_record_write(record, claim->fd);
}

static void beat(struct hc_heartbeat *heartbeat)
{
    hc_claim_beat(
        (struct hc_claim *)((char *)heartbeat - offsetof(struct hc_claim, heartbeat)));
}

static void start_beating(struct hc_claim *claim)
{
    if (claim->fd < 0)
        return;
    claim->shared.beat_bytes = hc_pieces_arrived(claim->pieces);
    claim->heartbeat.beat = beat;
    hc_heartbeats_start(claim->heartbeats, &claim->heartbeat);
}

static void forget(struct hc_claim *claim)
{
    hc_auto_close(&claim->fd);
    claim->fd = -1;
}

/* False, for those who say that another claim was in the way. */
static bool withdraw(struct hc_claim *claim, const char *private)
{
    if (claim->fd >= 0)
        (void)unlinkat(claim->root, private, 0);
    forget(claim);
    return false;
}

/* A file with the claim in it, under a private name, where there can be one. */
static void write_private(struct hc_claim *claim, char private[PATH_MAX])
{
    struct hc_error unused;

    if (hc_cache_private_path(private, &unused) < 0 ||
        hc_file_mkparents(claim->root, private, &unused) < 0 ||
        hc_file_mkparents(claim->root, claim->path, &unused) < 0)
        return;
    claim->fd = hc_file_create(claim->root, private, O_WRONLY);
    if (claim->fd >= 0 && write_text(claim) < 0)
        (void)withdraw(claim, private);
}

static bool move(int root, const char *from, const char *to)
{
    if (renameat(root, from, root, to) == 0)
        return true;
    (void)unlinkat(root, from, 0);
    return false;
}

static bool has_no_links(int errnum)
{
    return errnum == EPERM || errnum == EOPNOTSUPP || errnum == ENOSYS ||
           errnum == EMLINK;
}

/* The answer of a network filesystem may have been lost, and been asked for again. */
static bool has_two_names(const struct hc_claim *claim)
{
    struct stat status;

    return fstat(claim->fd, &status) == 0 && status.st_nlink == 2;
}

/* 0 or why not. A sweep may have removed the empty directory. */
static int link_to(int root, const char *from, const char *to)
{
    int failure = linkat(root, from, root, to, 0) == 0 ? 0 : errno;
    struct hc_error unused;

    if (failure == ENOENT && hc_file_mkparents(root, to, &unused) == 0)
        failure = linkat(root, from, root, to, 0) == 0 ? 0 : errno;
    return failure;
}

/* In a place where there is none. False when somebody else was faster. */
static bool link_in_place(struct hc_claim *claim, const char *private)
{
    int root = claim->root;
    int failure = claim->fd < 0 ? 0 : link_to(root, private, claim->path);

    if (failure == EEXIST && has_two_names(claim))
        failure = 0;
    if (has_no_links(failure) && move(root, private, claim->path))
        failure = 0;
    if (failure != 0) {
        (void)withdraw(claim, private);
        return failure != EEXIST;
    }
    if (claim->fd >= 0)
        (void)unlinkat(root, private, 0);
    start_beating(claim);
    return true;
}

/* What no hash will check is not gone on with. */
static bool is_of_use(const struct hc_claim *claim, const struct hc_succession *after,
                      int64_t now_ms)
{
    const struct hc_claim_record *earlier = &after->earlier;
    uint64_t size = hc_pieces_size(claim->pieces);

    return hc_digest_kind_of(after->etag) != HC_DIGEST_NONE && earlier->partial[0] &&
           (size == HC_SIZE_UNKNOWN || earlier->size == size) &&
           hc_claim_record_is_worth_keeping(earlier, now_ms);
}

/* Our record tells of the earlier one's file, and what is in it, before it is renamed. */
static bool announce(struct hc_claim *claim, const struct hc_succession *after,
                     int64_t now_ms)
{
    const struct hc_claim_record *earlier = &after->earlier;
    struct hc_claim_record *record = &claim->shared.record;
    bool is_useful = is_of_use(claim, after, now_ms) &&
                     hc_pieces_parse(claim->pieces, earlier->ranges);

    memcpy(record->previous, earlier->partial, sizeof record->previous);
    if (claim->fd >= 0)
        (void)write_text(claim);
    return is_useful;
}

/* A copy takes its time: it is not there before it is. */
static void inherit(struct hc_claim *claim, const struct hc_succession *after,
                    bool is_useful, struct hc_cancellation *call)
{
    struct hc_claim_record *record = &claim->shared.record;

    start_beating(claim);
    if (is_useful && !hc_succession_take(after, record->partial, call))
        hc_pieces_clear(claim->pieces);
    else if (is_useful && after->standing == HC_STANDING_ALIVE)
        (void)hc_pieces_parse(claim->pieces, after->earlier.ranges);
    hc_succession_finish(after);
    (void)pthread_mutex_lock(&claim->shared.lock);
    record->previous[0] = '\0';
    (void)pthread_mutex_unlock(&claim->shared.lock);
}

/* Ours in the place of an earlier one. */
static bool follow(struct hc_claim *claim, const struct hc_claim_wish *wish,
                   const struct hc_succession *after, const char *private, int64_t now_ms)
{
    bool is_useful;

    if (!hc_succession_enter(after, now_ms))
        return withdraw(claim, private);
    is_useful = after->standing == HC_STANDING_GONE ? announce(claim, after, now_ms)
                                                    : is_of_use(claim, after, now_ms);
    if (claim->fd >= 0 && !move(claim->root, private, claim->path))
        forget(claim);
    inherit(claim, after, is_useful, wish->call);
    return true;
}

static bool is_stuck(const struct hc_claim_wish *wish, const struct hc_succession *after)
{
    return wish->stuck && strcmp(wish->stuck, after->claimed) == 0;
}

/* False: somebody else's is in its place. Without a file when the volume refuses it. */
static bool put(struct hc_claim *claim, const struct hc_claim_wish *wish)
{
    struct hc_succession after = {.root = claim->root,
                                  .folder = claim->folder,
                                  .path = claim->path,
                                  .etag = wish->etag};
    char private[PATH_MAX];
    int64_t now_ms;

    write_private(claim, private);
    after.uid = hc_claim_uid(claim);
    now_ms = hc_volume_written_ms(claim->fd);
    hc_succession_look(&after, now_ms);
    switch (after.standing) {
    case HC_STANDING_UNKNOWN: /* that one may name a file */
        (void)withdraw(claim, private);
        return true;
    case HC_STANDING_ALIVE:
        if (!is_stuck(wish, &after))
            return withdraw(claim, private);
        return follow(claim, wish, &after, private, now_ms);
    case HC_STANDING_GONE:
        return follow(claim, wish, &after, private, now_ms);
    default:
        return link_in_place(claim, private);
    }
}

static int name_files(struct hc_claim *claim, const struct hc_repo *repo,
                      const char *etag, struct hc_error *err)
{
    char blob[PATH_MAX];

    if (hc_format(blob, sizeof blob, "%s/blobs/%s", repo->folder, etag) < 0 ||
        hc_file_private_name(claim->partial, PATH_MAX, blob, ".incomplete", err) < 0)
        return -1;
    if (hc_format(claim->shared.record.partial, NAME_MAX + 1, "%s",
                  strrchr(claim->partial, '/') + 1) < 0 ||
        hc_format(claim->path, PATH_MAX, ".hubcache/transfers/%s/%s", repo->folder,
                  etag) < 0)
        claim->path[0] = '\0'; /* a transfer without a claim */
    return 0;
}

static struct hc_claim *make(const struct hc_cache *cache,
                             const struct hc_claim_wish *wish, struct hc_error *err)
{
    HC_AUTO(hc_claim) *claim = calloc(1, sizeof *claim);

    if (!claim) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&claim->shared.lock, NULL);
    claim->heartbeats = hc_cache_heartbeats(cache);
    claim->root = hc_cache_fd(cache);
    claim->fd = -1;
    claim->pieces = wish->pieces;
    claim->shared.beat_ms = hc_monotonic_ms();
    claim->shared.record = hc_claim_record_new(hc_pieces_size(wish->pieces));
    (void)hc_format(claim->folder, sizeof claim->folder, "%s", wish->repo->folder);
    return name_files(claim, wish->repo, wish->etag, err) < 0 ? NULL : hc_take(&claim);
}

int hc_claim_make(const struct hc_cache *cache, const struct hc_claim_wish *wish,
                  struct hc_claim **claim, struct hc_error *err)
{
    HC_AUTO(hc_claim) *made = make(cache, wish, err);

    if (!made)
        return -1;
    if (made->path[0] && !put(made, wish))
        return 0;
    *claim = hc_take(&made);
    return 1;
}

uid_t hc_claim_uid(const struct hc_claim *claim)
{
    struct stat status;

    return claim->fd >= 0 && fstat(claim->fd, &status) == 0 ? status.st_uid : geteuid();
}

const char *hc_claim_path(const struct hc_claim *claim)
{
    return claim->partial;
}

void hc_claim_beat(struct hc_claim *claim)
{
    uint64_t arrived = hc_pieces_arrived(claim->pieces);
    int64_t now_ms = hc_monotonic_ms();
    bool is_time;

    /* Who finds it locked leaves it to who is at it. */
    if (claim->fd < 0 || pthread_mutex_trylock(&claim->shared.lock) != 0)
        return;
    is_time = now_ms - claim->shared.beat_ms >= BEAT_MS;
    if (is_time || arrived >= claim->shared.beat_bytes + BEAT_BYTES) {
        claim->shared.beat_bytes = arrived;
        (void)write_text(claim);
    }
    if (is_time) {
        claim->shared.beat_ms = now_ms;
        (void)futimens(claim->fd, NULL); /* a network filesystem tells this at once */
    }
    (void)pthread_mutex_unlock(&claim->shared.lock);
}

/* Nobody would find it in a record that has no name any more. */
static bool can_be_found(const struct hc_claim *claim)
{
    struct stat status;

    return claim->fd >= 0 && fstat(claim->fd, &status) == 0 && status.st_nlink > 0;
}

bool hc_claim_leave(struct hc_claim *claim)
{
    if (!can_be_found(claim))
        return false;
    (void)pthread_mutex_lock(&claim->shared.lock);
    claim->shared.record.owner.pid = 0;
    claim->shared.record.owner.start = 0;
    claim->is_left = write_text(claim) == 0;
    (void)pthread_mutex_unlock(&claim->shared.lock);
    return claim->is_left;
}

uint64_t hc_claim_left(const struct hc_cache *cache, const struct hc_repo *repo,
                       const char *etag)
{
    struct hc_claim_record record;

    return hc_claim_record_find(hc_cache_fd(cache), repo->folder, etag, &record) == 1
               ? record.bytes
               : 0;
}

uint64_t hc_claim_reserved(const struct hc_cache *cache, const struct hc_claim *claim)
{
    return hc_claims_needs(cache, claim->folder, &claim->shared.record,
                           hc_volume_written_ms(claim->fd));
}

static void remove_file(const struct hc_claim *claim)
{
    char tomb[PATH_MAX];

    if (hc_file_is_named(claim->root, claim->path, claim->fd))
        (void)unlinkat(claim->root, claim->path, 0);
    else if (hc_succession_tomb(tomb, claim->path, claim->shared.record.partial))
        (void)unlinkat(claim->root, tomb, 0);
}

void hc_claim_drop(struct hc_claim *claim)
{
    if (!claim)
        return;
    if (claim->heartbeat.beat)
        hc_heartbeats_stop(claim->heartbeats, &claim->heartbeat);
    if (claim->fd >= 0 && !claim->is_left)
        remove_file(claim);
    hc_auto_close(&claim->fd);
    (void)pthread_mutex_destroy(&claim->shared.lock);
    free(claim);
}
