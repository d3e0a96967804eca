/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reservation is a record like that of a claim (claim_record.h), whose size is what is
 * still reserved. Its states, as its file snapshot.<8 hex> shows them to other replicas:
 *
 *   published  The file is there before the free space is measured, and before the time
 *              is read that ranks it: of two replicas that measure at the same time, the
 *              later one sees the file of the earlier. Until it has its rank, it counts
 *              against all. It is removed at once when the space does not suffice.
 *   waiting    There is no room for it yet. It counts against later ones, but holds no
 *              revision of its repo.
 *   in use     The heartbeat thread writes it once a second; the size shrinks by what
 *              hc_reservation_use() returned a beat ago, since the claim of a blob comes
 *              a little later than that. The thread of the download only adds to the
 *              atomic counter `used`: it never waits for the volume.
 *   dropped    The file is removed, by the thread of the download.
 *   orphaned   Its process died. It counts no more once its pid or heartbeat is missed,
 *              and the next sweep of any replica removes it.
 *
 * What counts against others is the sum over all claim files, read anew for each request:
 * no total is kept that a crash could leave wrong.
 */
#include "reservation.h"

#include <base/file.h>
#include <base/free_space.h>
#include <base/heartbeat.h>
#include <base/size.h>
#include <base/text.h>

#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

enum { PARTIAL_SUFFIX = sizeof ".01234567.incomplete" - 1 };

struct hc_reservation {
    struct hc_heartbeat heartbeat;
    const struct hc_cache *cache; /* borrowed */
    int fd;                       /* -1 when no file could be written */
    char path[PATH_MAX];
    struct hc_claim_record record; /* of the heartbeat's thread, once that beats; other
                                      threads read began_us and partial */
    uint64_t bytes;
    atomic_uint_least64_t used;
    uint64_t used_before; /* at the last beat; of the heartbeat's thread as well */
};

static bool claim_is_earlier(const struct hc_claim_record *a,
                             const struct hc_claim_record *b)
{
    if (a->began_us != b->began_us)
        return a->began_us < b->began_us;
    return strcmp(a->partial, b->partial) < 0;
}

/* Both are called "<etag>.<8 hex>.incomplete". */
static bool partial_is_of_same_blob(const char *a, const char *b)
{
    size_t length = strlen(a);

    return length > PARTIAL_SUFFIX && strlen(b) == length &&
           memcmp(a, b, length - PARTIAL_SUFFIX) == 0;
}

/* The blobs of one may be those of the other: a file of a snapshot and its reservation,
 * or the blob of a claim that was taken over. */
static bool claim_is_for_same_blobs(const struct hc_claim_listing *listing,
                                    const char *folder, const struct hc_claim_record *own)
{
    return strcmp(listing->blob.folder, folder) == 0 &&
           (hc_claim_record_is_reservation(&listing->record) ||
            hc_claim_record_is_reservation(own) ||
            partial_is_of_same_blob(listing->record.partial, own->partial));
}

/*
 * A blob's claim is as early as the reservation that its download has made before: the
 * space of the blob was reserved then.
 */
static void claim_find_rank(const struct hc_cache *cache, const char *folder,
                            struct hc_claim_record *rank, int64_t now_ms)
{
    HC_AUTO_VALUE(hc_claim_listing) listing = hc_claim_listing_open(cache);
    const struct hc_claim_record *other = &listing.record;

    if (hc_claim_record_is_reservation(rank))
        return;
    while (hc_claim_listing_next(&listing)) {
        if (strcmp(listing.blob.folder, folder) == 0 &&
            hc_claim_record_is_reservation(other) && claim_is_earlier(other, rank) &&
            !hc_claim_record_is_abandoned(other, now_ms))
            rank->began_us = other->began_us;
    }
}

/* The sizes were written by other processes, and add up without overflow; an owner is
 * looked up last, since that may read /proc. A heartbeat may change `own` meanwhile, but
 * for the two members that are read here. */
struct hc_claimed hc_claimed_bytes(const struct hc_cache *cache, const char *folder,
                                   const struct hc_claim_record *own, int64_t now_ms)
{
    HC_AUTO_VALUE(hc_claim_listing) listing = hc_claim_listing_open(cache);
    const struct hc_claim_record *other = &listing.record;
    struct hc_claim_record rank = {.began_us = own->began_us};
    struct hc_claimed claimed = {0};

    memcpy(rank.partial, own->partial, sizeof rank.partial);
    claim_find_rank(cache, folder, &rank, now_ms);
    while (hc_claim_listing_next(&listing)) {
        if (!hc_claim_record_is_reservation(other))
            claimed.arrived = hc_size_add(claimed.arrived, other->bytes);
        if (other->size > other->bytes && claim_is_earlier(other, &rank) &&
            !claim_is_for_same_blobs(&listing, folder, own) &&
            !hc_claim_record_is_abandoned(other, now_ms))
            claimed.reserved = hc_size_add(claimed.reserved, other->size - other->bytes);
    }
    return claimed;
}

static void reservation_write(struct hc_reservation *reservation)
{
    struct hc_claim_record *record = &reservation->record;
    uint64_t used = reservation->used_before;

    reservation->used_before = atomic_load(&reservation->used);
    record->size = used < reservation->bytes ? reservation->bytes - used : 0;
    (void)hc_claim_record_write(record, reservation->fd);
    (void)futimens(reservation->fd, NULL);
}

static void reservation_on_heartbeat(struct hc_heartbeat *heartbeat)
{
    reservation_write(
        (struct hc_reservation *)((char *)heartbeat -
                                  offsetof(struct hc_reservation, heartbeat)));
}

/* A volume that takes no file may have the space all the same: then only this process
 * knows of the reservation. */
static void reservation_publish(struct hc_reservation *reservation)
{
    int root = hc_cache_fd(reservation->cache);
    struct hc_error unused;

    if (hc_file_mkparents(root, reservation->path, &unused) < 0)
        return;
    reservation->fd = hc_file_create(root, reservation->path, O_WRONLY);
    if (reservation->fd < 0)
        return;
    reservation->record.began_us = 0;
    reservation_write(reservation);
    reservation->record.began_us = hc_claim_record_new(0).began_us;
    reservation_write(reservation);
    reservation->heartbeat.beat = reservation_on_heartbeat;
    hc_heartbeats_start(hc_cache_heartbeats(reservation->cache), &reservation->heartbeat);
}

/* There is room for it now. */
static void reservation_grant(struct hc_reservation *reservation)
{
    if (!reservation->heartbeat.beat)
        return;
    hc_heartbeats_stop(hc_cache_heartbeats(reservation->cache), &reservation->heartbeat);
    reservation->record.is_waiting = false;
    reservation_write(reservation);
    hc_heartbeats_start(hc_cache_heartbeats(reservation->cache), &reservation->heartbeat);
}

static struct hc_reservation *reservation_new(const struct hc_cache *cache,
                                              const struct hc_repo *repo, uint64_t bytes,
                                              bool is_waiting, struct hc_error *err)
{
    HC_AUTO(hc_reservation) *reservation = calloc(1, sizeof *reservation);
    char path[PATH_MAX];

    if (!reservation) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    reservation->cache = cache;
    reservation->fd = -1;
    (void)hc_format(path, sizeof path, ".hubcache/transfers/%s/snapshot", repo->folder);
    if (hc_file_private_name(reservation->path, PATH_MAX, path, "", err) < 0)
        return NULL;
    reservation->bytes = bytes;
    reservation->record = hc_claim_record_new(bytes);
    reservation->record.is_waiting = is_waiting;
    (void)hc_format(reservation->record.partial, sizeof reservation->record.partial, "%s",
                    strrchr(reservation->path, '/') + 1);
    if (bytes >= HC_RESERVATION_MIN_BYTES)
        reservation_publish(reservation);
    return hc_take(&reservation);
}

struct reservation_place {
    const struct hc_reservation *own;
    const char *folder;
};

static struct hc_claimed reservation_claimed(const void *ctx)
{
    const struct reservation_place *place = ctx;
    const struct hc_reservation *own = place->own;

    return hc_claimed_bytes(own->cache, place->folder, &own->record,
                            hc_volume_written_ms(own->fd));
}

/* Small reservations are compared with what is free, and no look at others is taken. */
static struct hc_space_request reservation_request(const struct reservation_place *place)
{
    bool is_small = place->own->bytes < HC_RESERVATION_MIN_BYTES;

    return (struct hc_space_request){.fd = hc_cache_fd(place->own->cache),
                                     .folder = place->folder,
                                     .needed = place->own->bytes,
                                     .claimed = is_small ? NULL : reservation_claimed,
                                     .ctx = place};
}

int hc_reservation_try(const struct hc_cache *cache, const struct hc_repo *repo,
                       uint64_t bytes, struct hc_reservation **reservation,
                       struct hc_error *err)
{
    HC_AUTO(hc_reservation) *own = reservation_new(cache, repo, bytes, false, err);
    const struct reservation_place place = {own, repo->folder};
    struct hc_space_request request;

    *reservation = NULL;
    if (!own)
        return -1;
    request = reservation_request(&place);
    if (!hc_free_space_has(hc_cache_free_space(cache), &request))
        return 0;
    if (own->fd >= 0)
        *reservation = hc_take(&own);
    return 1;
}

int hc_reservation_make(const struct hc_cache *cache, const struct hc_repo *repo,
                        uint64_t bytes, struct hc_cancellation *cancellation,
                        struct hc_reservation **reservation, struct hc_error *err)
{
    HC_AUTO(hc_reservation) *own = reservation_new(cache, repo, bytes, true, err);
    const struct reservation_place place = {own, repo->folder};
    struct hc_space_request request;

    *reservation = NULL;
    if (!own)
        return -1;
    request = reservation_request(&place);
    request.cancellation = cancellation;
    if (hc_free_space_require(hc_cache_free_space(cache), &request, err) < 0)
        return -1;
    reservation_grant(own);
    if (own->fd >= 0)
        *reservation = hc_take(&own);
    return 0;
}

void hc_reservation_use(struct hc_reservation *reservation, uint64_t bytes)
{
    if (reservation)
        (void)atomic_fetch_add(&reservation->used, bytes);
}

void hc_reservation_drop(struct hc_reservation *reservation)
{
    if (!reservation)
        return;
    if (reservation->heartbeat.beat) {
        hc_heartbeats_stop(hc_cache_heartbeats(reservation->cache),
                           &reservation->heartbeat);
        (void)unlinkat(hc_cache_fd(reservation->cache), reservation->path, 0);
    }
    hc_auto_close(&reservation->fd);
    free(reservation);
}
