/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A claim is written under a private name, put in its place and then only rewritten
 * through its descriptor: should somebody else claim the same blob all the same, each
 * beats into a file of its own, and drop removes the name only while it is still ours.
 * Nothing is flushed: a claim that power loss eats was advice.
 *
 * Where nobody has a claim, ours is put in place by link(2), which only one of many can.
 * That of somebody who is gone is replaced by rename(2), and then the file is taken over
 * by renaming it: of two who try, one succeeds and the other starts from nothing. The
 * claim is there before, and names both, so that a crash in between loses nothing. That
 * of somebody who may come back is renamed out of the way, and the file is left alone.
 */
#include "claim.h"

#include "claims.h"
#include "heart.h"
#include "partial.h"

#include <base/call.h>
#include <base/file.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { BEAT_MS = HC_HEART_MS * 9 / 10, BEAT_BYTES = 1024 * 1024 };

struct hc_claim {
    struct hc_pulse pulse;
    struct hc_heart *heart; /* borrowed from the cache, as the next */
    int root;
    int fd; /* -1 when no claim could be written */
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

static int write_text(struct hc_claim *claim)
{
    struct hc_record *record = &claim->shared.record;
    char text[HC_RECORD_TEXT_SIZE];
    int length;

    record->bytes = hc_pieces_arrived(claim->pieces);
    hc_pieces_format(claim->pieces, record->ranges);
    length = hc_record_format(record, text);
    if (length < 0 || pwrite(claim->fd, text, (size_t)length, 0) != length ||
        ftruncate(claim->fd, length) < 0)
        return -1;
    (void)futimens(claim->fd, NULL); /* a network filesystem tells this at once */
    return 0;
}

/* A file with the claim in it, under a private name; false when there can be none. */
static bool write_private(struct hc_claim *claim, char private[PATH_MAX])
{
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    struct hc_error unused;

    if (hc_cache_private_path(private, &unused) < 0 ||
        hc_file_mkparents(claim->root, private, &unused) < 0 ||
        hc_file_mkparents(claim->root, claim->path, &unused) < 0)
        return false;
    claim->fd = openat(claim->root, private, flags, 0666);
    if (claim->fd >= 0 && write_text(claim) == 0)
        return true;
    if (claim->fd >= 0)
        (void)unlinkat(claim->root, private, 0);
    return false;
}

static bool has_no_links(int errnum)
{
    return errnum == EPERM || errnum == EOPNOTSUPP || errnum == ENOSYS ||
           errnum == EMLINK;
}

static bool move(int root, const char *from, const char *to)
{
    if (renameat(root, from, root, to) == 0)
        return true;
    (void)unlinkat(root, from, 0);
    return false;
}

/* 1 in its place; 0 somebody else's is there; -1 it cannot be put there. */
static int put_in_place(const struct hc_claim *claim, const char *private, bool replaces)
{
    int root = claim->root;
    int result;

    if (replaces)
        return move(root, private, claim->path) ? 1 : -1;
    result = linkat(root, private, root, claim->path, 0) == 0 ? 1 : -1;
    if (result < 0 && has_no_links(errno))
        return move(root, private, claim->path) ? 1 : -1;
    if (result < 0 && errno == EEXIST)
        result = 0;
    (void)unlinkat(root, private, 0);
    return result;
}

/* False when somebody else was faster; without a file when the volume refuses. */
static bool publish(struct hc_claim *claim, bool replaces)
{
    char private[PATH_MAX];
    int result =
        write_private(claim, private) ? put_in_place(claim, private, replaces) : -1;

    if (result <= 0) {
        hc_auto_close(&claim->fd);
        claim->fd = -1;
    }
    return result != 0;
}

/* Who claimed the blob before; UNKNOWN: the claim cannot be read just now. */
enum standing { NOBODY, GONE, ALIVE, UNKNOWN };

/* What makes no sense is nobody's who could come back, and has no file. */
static enum standing look_before(const struct hc_claim *claim, const char *etag,
                                 struct hc_record *earlier)
{
    int found = hc_record_read(claim->root, claim->path, earlier);
    struct stat status;

    if (found < 0)
        return UNKNOWN;
    if (found == 0 || !hc_partial_is_of(earlier->incomplete, etag)) {
        earlier->incomplete[0] = '\0';
        return fstatat(claim->root, claim->path, &status, AT_SYMLINK_NOFOLLOW) == 0
                   ? GONE
                   : NOBODY;
    }
    if (!hc_record_is_abandoned(earlier, hc_record_now_ms()))
        return ALIVE;
    if (hc_partial_is_of(earlier->previous, etag) &&
        !hc_partial_exists(claim->root, claim->folder, earlier->incomplete))
        memcpy(earlier->incomplete, earlier->previous, sizeof earlier->incomplete);
    return GONE;
}

static bool is_of_use(const struct hc_claim *claim, const struct hc_record *earlier)
{
    return earlier->incomplete[0] && earlier->size == hc_pieces_size(claim->pieces) &&
           hc_record_is_worth_keeping(earlier, hc_record_now_ms()) &&
           hc_pieces_parse(claim->pieces, earlier->ranges);
}

/* Where the claim goes that another one takes over: "<path>.<8 hex of its file>". */
static bool name_tomb(char tomb[PATH_MAX], const struct hc_claim *claim,
                      const char *incomplete)
{
    const char *hex = strrchr(incomplete, '.') - 8; /* it is a partial's name */

    return hc_format(tomb, PATH_MAX, "%s.%.8s", claim->path, hex) > 0;
}

static void bury(const struct hc_claim *claim, const struct hc_record *earlier)
{
    char tomb[PATH_MAX];

    if (name_tomb(tomb, claim, earlier->incomplete))
        (void)renameat(claim->root, claim->path, claim->root, tomb);
}

static bool take_bytes(const struct hc_claim *claim, const struct hc_record *earlier,
                       enum standing standing)
{
    const char *ours = claim->shared.record.incomplete;

    return standing == GONE
               ? hc_partial_rename(claim->root, claim->folder, earlier->incomplete, ours)
               : hc_partial_copy(claim->root, claim->folder, earlier->incomplete, ours);
}

/* Our claim hides the older one, and with it what its owner left behind. False: another
 * one is in its place. */
static bool succeed(struct hc_claim *claim, const struct hc_claim_wish *wish)
{
    struct hc_record *record = &claim->shared.record;
    struct hc_record earlier;
    enum standing standing = look_before(claim, wish->etag, &earlier);
    bool is_useful;

    if (standing == UNKNOWN)
        return true; /* without a claim: that one may name a file */
    if (standing == ALIVE && !wish->takes_over)
        return false;
    is_useful = standing != NOBODY && is_of_use(claim, &earlier);
    if (standing == ALIVE)
        bury(claim, &earlier);
    else
        memcpy(record->previous, earlier.incomplete, sizeof record->previous);
    if (!publish(claim, standing == GONE))
        return false;
    if (is_useful && !take_bytes(claim, &earlier, standing))
        hc_pieces_clear(claim->pieces);
    if (standing == GONE && earlier.incomplete[0])
        (void)hc_partial_remove(claim->root, claim->folder, earlier.incomplete);
    record->previous[0] = '\0';
    return true;
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

static void beat(struct hc_pulse *pulse)
{
    hc_claim_beat((struct hc_claim *)((char *)pulse - offsetof(struct hc_claim, pulse)));
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
    claim->heart = hc_cache_heart(cache);
    claim->root = hc_cache_fd(cache);
    claim->fd = -1;
    claim->pieces = wish->pieces;
    claim->shared.beat_ms = hc_monotonic_ms();
    claim->shared.record = hc_record_new(hc_pieces_size(wish->pieces));
    (void)hc_format(claim->folder, sizeof claim->folder, "%s", wish->repo->folder);
    return name_files(claim, wish->repo, wish->etag, err) < 0 ? NULL : hc_take(&claim);
}

int hc_claim_make(const struct hc_cache *cache, const struct hc_claim_wish *wish,
                  struct hc_claim **claim, struct hc_error *err)
{
    HC_AUTO(hc_claim) *made = make(cache, wish, err);

    if (!made)
        return -1;
    if (made->path[0] && !succeed(made, wish))
        return 0;
    made->shared.beat_bytes = hc_pieces_arrived(wish->pieces);
    if (made->fd >= 0) {
        made->pulse.beat = beat;
        hc_heart_add(made->heart, &made->pulse);
    }
    *claim = hc_take(&made);
    return 1;
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
    struct hc_record record;

    return hc_record_find(hc_cache_fd(cache), repo->folder, etag, &record) == 1
               ? record.bytes
               : 0;
}

uint64_t hc_claim_reserved(const struct hc_cache *cache, const struct hc_claim *claim)
{
    return hc_claims_needs(cache, claim->folder, &claim->shared.record);
}

static bool is_in_place(const struct hc_claim *claim)
{
    struct stat ours, theirs;

    return fstat(claim->fd, &ours) == 0 &&
           fstatat(claim->root, claim->path, &theirs, AT_SYMLINK_NOFOLLOW) == 0 &&
           ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev;
}

static void remove_file(const struct hc_claim *claim)
{
    char tomb[PATH_MAX];

    if (is_in_place(claim))
        (void)unlinkat(claim->root, claim->path, 0);
    else if (name_tomb(tomb, claim, claim->shared.record.incomplete))
        (void)unlinkat(claim->root, tomb, 0);
}

void hc_claim_drop(struct hc_claim *claim)
{
    if (!claim)
        return;
    if (claim->pulse.beat)
        hc_heart_remove(claim->heart, &claim->pulse);
    if (claim->fd >= 0 && !claim->is_left)
        remove_file(claim);
    hc_auto_close(&claim->fd);
    (void)pthread_mutex_destroy(&claim->shared.lock);
    free(claim);
}
