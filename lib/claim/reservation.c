/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record (claim_record.h) like that of a claim, whose size is what is still spoken for. It is
 * written anew with the heartbeat only.
 */
#include "reservation.h"

#include "claims.h"
#include "free_space.h"
#include <base/heartbeat.h>

#include <base/file.h>
#include <base/text.h>

#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

struct hc_reservation {
    struct hc_heartbeat heartbeat;
    struct hc_heartbeats *heartbeats; /* borrowed from the cache, as the next */
    int root;
    int fd;
    char path[PATH_MAX];
    struct hc_claim_record record; /* the heart's, once it beats */
    uint64_t bytes;
    atomic_uint_least64_t used;
};

static void reservation_write(struct hc_reservation *reservation)
{
    uint64_t used = atomic_load(&reservation->used);

    reservation->record.size = used < reservation->bytes ? reservation->bytes - used : 0;
    (void)hc_claim_record_write(&reservation->record, reservation->fd);
    (void)futimens(reservation->fd, NULL);
}

static void reservation_on_heartbeat(struct hc_heartbeat *heartbeat)
{
    reservation_write(
        (struct hc_reservation *)((char *)heartbeat -
                                  offsetof(struct hc_reservation, heartbeat)));
}

/* Without a file there is room all the same, only nobody else knows. */
static void reservation_publish(struct hc_reservation *reservation)
{
    struct hc_error unused;

    if (hc_file_mkparents(reservation->root, reservation->path, &unused) < 0)
        return;
    reservation->fd = hc_file_create(reservation->root, reservation->path, O_WRONLY);
    if (reservation->fd < 0)
        return;
    reservation_write(reservation);
    reservation->heartbeat.beat = reservation_on_heartbeat;
    hc_heartbeats_start(reservation->heartbeats, &reservation->heartbeat);
}

static struct hc_reservation *reservation_new(const struct hc_cache *cache,
                                              const struct hc_repo *repo, uint64_t bytes,
                                              struct hc_error *err)
{
    HC_AUTO(hc_reservation) *reservation = calloc(1, sizeof *reservation);
    char path[PATH_MAX];

    if (!reservation) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    reservation->heartbeats = hc_cache_heartbeats(cache);
    reservation->root = hc_cache_fd(cache);
    reservation->fd = -1;
    (void)hc_format(path, sizeof path, ".hubcache/transfers/%s/snapshot", repo->folder);
    if (hc_file_private_name(reservation->path, PATH_MAX, path, "", err) < 0)
        return NULL;
    reservation->bytes = bytes;
    reservation->record = hc_claim_record_new(bytes);
    (void)hc_format(reservation->record.partial, sizeof reservation->record.partial, "%s",
                    strrchr(reservation->path, '/') + 1);
    return hc_take(&reservation);
}

int hc_reservation_make(const struct hc_cache *cache, const struct hc_repo *repo,
                        uint64_t bytes, struct hc_reservation **reservation,
                        struct hc_error *err)
{
    HC_AUTO(hc_reservation) *own = reservation_new(cache, repo, bytes, err);
    uint64_t others;

    *reservation = NULL;
    if (!own)
        return -1;
    if (bytes < HC_RESERVATION_MIN_BYTES)
        return hc_free_space_check(own->root, bytes, 0, err);
    reservation_publish(own); /* first, so that of two who check one sees the other */
    others = hc_reserved_bytes(cache, repo->folder, &own->record,
                               hc_volume_written_ms(own->fd));
    if (hc_free_space_check(own->root, bytes, others, err) < 0)
        return -1;
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
        hc_heartbeats_stop(reservation->heartbeats, &reservation->heartbeat);
        (void)unlinkat(reservation->root, reservation->path, 0);
    }
    hc_auto_close(&reservation->fd);
    free(reservation);
}
