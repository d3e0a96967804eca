/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open snapshot is its answer and a lease that the client's renewer renews. Of both,
 * what hc_client_snapshot_file() reads does not change, but for the time until which the
 * lease holds, which is one atomic number. So it needs no lock, and one system call: the
 * look at the file, which follows the pointer to its blob.
 */
#include <hubcache-client/snapshot.h>

#include "base/auto.h"
#include "base/cancellation.h"
#include "base/text.h"
#include "client.h"
#include "client_lease.h"
#include "lease_renewer.h"
#include "message.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { LEASE_DEFAULT_MS = 10 * 60 * 1000, RELEASE_LIMIT_MS = 2000 };

struct hc_client_open_snapshot {
    struct hc_client *client; /* borrowed */
    struct hc_client_snapshot answer;
    size_t path_length;
    bool has_lease;
    struct hc_held_lease lease;
};
HC_DEFINE_AUTO(hc_client_open_snapshot, hc_client_snapshot_close)

/* A lease in the answer is renewed from now on; `began_ms` is when it was asked for. */
static int snapshot_hold(struct hc_client_open_snapshot *snapshot, int64_t began_ms,
                         struct hc_error *err)
{
    struct hc_held_lease *lease = &snapshot->lease;

    atomic_init(&lease->until_ms, HC_NO_DEADLINE);
    if (snapshot->answer.source == HC_CLIENT_SOURCE_LOCAL)
        return 0;
    if (!snapshot->answer.lease_id[0])
        return hc_fail(err, HC_INVALID_OPTIONS,
                       "hubcached at '%.128s' gives no leases: its version is too old",
                       hc_client_mount(snapshot->client).server);
    lease->id = snapshot->answer.lease_id;
    atomic_store(&lease->until_ms, began_ms + lease->duration_ms);
    if (hc_lease_renewer_add(hc_client_lease_renewer(snapshot->client), lease, err) < 0)
        return -1;
    snapshot->has_lease = true;
    return 0;
}

/* What took long is the download: the lease begins at its end, at the server. */
static int64_t lease_begin_ms(const struct hc_client_open_snapshot *snapshot,
                              int64_t began_ms)
{
    struct hc_error unused;
    int64_t now_ms = hc_monotonic_ms();

    if (now_ms - began_ms < hc_lease_renewal_due_ms(snapshot->lease.duration_ms) ||
        !snapshot->answer.lease_id[0] ||
        hc_lease_renew_within(snapshot->client, snapshot->answer.lease_id,
                              snapshot->lease.duration_ms, RELEASE_LIMIT_MS, &unused) < 0)
        return began_ms;
    return now_ms;
}

struct hc_client_open_snapshot *
hc_client_snapshot_open(struct hc_client *client,
                        const struct hc_client_snapshot_request *request,
                        struct hc_error *err)
{
    struct hc_client_snapshot_request leased = *request;
    HC_AUTO(hc_client_open_snapshot) *snapshot = calloc(1, sizeof *snapshot);
    int64_t began_ms = hc_monotonic_ms();

    if (!snapshot) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    if (leased.fetch.lease_ms == 0)
        leased.fetch.lease_ms = LEASE_DEFAULT_MS;
    snapshot->client = client;
    snapshot->lease.duration_ms = leased.fetch.lease_ms;
    if (hc_client_resolve_snapshot(client, &leased, &snapshot->answer, err) < 0)
        return NULL;
    snapshot->path_length = strlen(snapshot->answer.path);
    if (snapshot_hold(snapshot, lease_begin_ms(snapshot, began_ms), err) < 0)
        return NULL;
    return hc_take(&snapshot);
}

const struct hc_client_snapshot *
hc_client_snapshot_answer(const struct hc_client_open_snapshot *snapshot)
{
    return &snapshot->answer;
}

/* Relative, without an empty component, "." and "..": it stays below the snapshot. */
static bool filename_is_inside(const char *name)
{
    for (const char *part = name; part; part = strchr(part, '/')) {
        size_t length;

        part += part > name;
        length = strcspn(part, "/");
        if (length == 0 || (length == 1 && part[0] == '.') ||
            (length == 2 && part[0] == '.' && part[1] == '.'))
            return false;
    }
    return true;
}

int hc_client_snapshot_check(const struct hc_client_open_snapshot *snapshot,
                             struct hc_error *err)
{
    int64_t until_ms = atomic_load(&snapshot->lease.until_ms);

    if (hc_monotonic_ms() < until_ms)
        return 0;
    if (until_ms == 0)
        return hc_fail(err, HC_NOT_CACHED,
                       "the lease of snapshot '%.200s' is lost: %.250s",
                       snapshot->answer.cache_path, snapshot->lease.loss.message);
    return hc_fail(err, HC_NOT_CACHED,
                   "the lease of snapshot '%.200s' has ended, because hubcached at "
                   "'%.128s' could not be asked to renew it: open it again",
                   snapshot->answer.cache_path, hc_client_mount(snapshot->client).server);
}

int hc_client_snapshot_file(const struct hc_client_open_snapshot *snapshot,
                            const char *filename, char *path, size_t size,
                            struct hc_error *err)
{
    size_t length = strlen(filename);

    if (hc_client_snapshot_check(snapshot, err) < 0)
        return -1;
    if (!filename_is_inside(filename) || snapshot->path_length + 1 + length >= size)
        return hc_fail_field(err, HC_INVALID_FILENAME, "filename",
                             "'%.200s' is no name within a snapshot, or too long",
                             filename);
    memcpy(path, snapshot->answer.path, snapshot->path_length);
    path[snapshot->path_length] = '/';
    memcpy(path + snapshot->path_length + 1, filename, length + 1);
    if (faccessat(AT_FDCWD, path, F_OK, 0) == 0)
        return 1;
    if (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG || errno == ELOOP)
        return 0;
    return hc_fail_errno(err, errno, "look for '%s'", path);
}

void hc_client_snapshot_close(struct hc_client_open_snapshot *snapshot)
{
    struct hc_error unused;

    if (!snapshot)
        return;
    if (snapshot->has_lease) {
        hc_lease_renewer_remove(hc_client_lease_renewer(snapshot->client),
                                &snapshot->lease);
        if (hc_client_snapshot_check(snapshot, &unused) == 0)
            (void)hc_lease_release_within(snapshot->client, snapshot->lease.id,
                                          RELEASE_LIMIT_MS, &unused);
    }
    hc_client_snapshot_clear(&snapshot->answer);
    free(snapshot);
}
