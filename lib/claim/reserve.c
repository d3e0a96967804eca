/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record (record.h) like that of a claim, whose size is what is still spoken for. It is
 * written anew with the heartbeat only.
 */
#include "reserve.h"

#include "claims.h"
#include "room.h"
#include <base/heartbeat.h>

#include <base/file.h>
#include <base/text.h>

#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

struct hc_reserve {
    struct hc_heartbeat heartbeat;
    struct hc_heartbeats *heartbeats; /* borrowed from the cache, as the next */
    int root;
    int fd;
    char path[PATH_MAX];
    struct hc_claim_record record; /* the heart's, once it beats */
    uint64_t bytes;
    atomic_uint_least64_t used;
};

static void write_record(struct hc_reserve *reserve)
{
    uint64_t used = atomic_load(&reserve->used);

    reserve->record.size = used < reserve->bytes ? reserve->bytes - used : 0;
    (void)hc_claim_record_write(&reserve->record, reserve->fd);
    (void)futimens(reserve->fd, NULL);
}

static void beat(struct hc_heartbeat *heartbeat)
{
    write_record((struct hc_reserve *)((char *)heartbeat -
                                       offsetof(struct hc_reserve, heartbeat)));
}

/* Without a file there is room all the same, only nobody else knows. */
static void publish(struct hc_reserve *reserve)
{
    struct hc_error unused;

    if (hc_file_mkparents(reserve->root, reserve->path, &unused) < 0)
        return;
    reserve->fd = hc_file_create(reserve->root, reserve->path, O_WRONLY);
    if (reserve->fd < 0)
        return;
    write_record(reserve);
    reserve->heartbeat.beat = beat;
    hc_heartbeats_start(reserve->heartbeats, &reserve->heartbeat);
}

static struct hc_reserve *make(const struct hc_cache *cache, const struct hc_repo *repo,
                               uint64_t bytes, struct hc_error *err)
{
    HC_AUTO(hc_reserve) *reserve = calloc(1, sizeof *reserve);
    char path[PATH_MAX];

    if (!reserve) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    reserve->heartbeats = hc_cache_heartbeats(cache);
    reserve->root = hc_cache_fd(cache);
    reserve->fd = -1;
    (void)hc_format(path, sizeof path, ".hubcache/transfers/%s/snapshot", repo->folder);
    if (hc_file_private_name(reserve->path, PATH_MAX, path, "", err) < 0)
        return NULL;
    reserve->bytes = bytes;
    reserve->record = hc_claim_record_new(bytes);
    (void)hc_format(reserve->record.partial, sizeof reserve->record.partial, "%s",
                    strrchr(reserve->path, '/') + 1);
    return hc_take(&reserve);
}

int hc_reserve_make(const struct hc_cache *cache, const struct hc_repo *repo,
                    uint64_t bytes, struct hc_reserve **reserve, struct hc_error *err)
{
    HC_AUTO(hc_reserve) *made = make(cache, repo, bytes, err);
    uint64_t others;

    *reserve = NULL;
    if (!made)
        return -1;
    if (bytes < HC_ROOM_WORTH_BYTES)
        return hc_room_check(made->root, bytes, 0, err);
    publish(made); /* first, so that of two who check one sees the other */
    others = hc_claims_needs(cache, repo->folder, &made->record,
                             hc_volume_written_ms(made->fd));
    if (hc_room_check(made->root, bytes, others, err) < 0)
        return -1;
    *reserve = hc_take(&made);
    return 0;
}

void hc_reserve_use(struct hc_reserve *reserve, uint64_t bytes)
{
    if (reserve)
        (void)atomic_fetch_add(&reserve->used, bytes);
}

void hc_reserve_drop(struct hc_reserve *reserve)
{
    if (!reserve)
        return;
    if (reserve->heartbeat.beat) {
        hc_heartbeats_stop(reserve->heartbeats, &reserve->heartbeat);
        (void)unlinkat(reserve->root, reserve->path, 0);
    }
    hc_auto_close(&reserve->fd);
    free(reserve);
}
