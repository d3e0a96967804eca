/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off: the example below keeps its lines */
/*
 * Keeps a snapshot open: its files stay on the cache volume, and are found without asking
 * the server, until it is closed. For programs that open many files of a model, or the
 * same ones again and again.
 *
 *     #include <hubcache-client/snapshot.h>
 *     #include <stdio.h>
 *
 *     int main(void)
 *     {
 *         struct hc_client_options options = {.mount = "/models"};
 *         struct hc_client_snapshot_request request = {
 *             .repo = {.id = "openai-community/gpt2"}};
 *         struct hc_client_open_snapshot *snapshot = NULL;
 *         struct hc_error err = {HC_OK};
 *         struct hc_client *client = hc_client_open(&options, &err);
 *         char path[4096];
 *
 *         if (client)
 *             snapshot = hc_client_snapshot_open(client, &request, &err);
 *         if (snapshot && hc_client_snapshot_file(snapshot, "config.json", path,
 *                                                 sizeof path, &err) == 1)
 *             puts(path);
 *         if (err.reason != HC_OK)
 *             fprintf(stderr, "%s: %s\n", hc_reason_name(err.reason), err.message);
 *         hc_client_snapshot_close(snapshot);
 *         hc_client_close(client);
 *         return hc_reason_exit(err.reason);
 *     }
 *
 * An open snapshot has a lease, which a thread of the client renews when a third of its
 * time has passed; one thread for all snapshots of a client. While the server is away,
 * the thread tries again every second, at first; the lease holds until its time is over,
 * so a restart of the server is not noticed. A lease can be lost: the server was away for
 * longer, an operator has released it, or this process was stopped. Then
 * hc_client_snapshot_file() and hc_client_snapshot_check() fail with NOT_CACHED, once and
 * for all, and the program opens the snapshot again. Files that it has open stay
 * readable.
 *
 * Callable from any thread. A child of fork(2) has no thread that renews: it opens its
 * own client.
 */
/* clang-format on */
#ifndef HUBCACHE_CLIENT_SNAPSHOT_H
#define HUBCACHE_CLIENT_SNAPSHOT_H

#include <hubcache-client/client.h>

#ifdef __cplusplus
extern "C" {
#endif

struct hc_client_open_snapshot;

/*
 * Resolves as hc_client_resolve_snapshot() does, with a lease of
 * `request->fetch.lease_ms`, or of ten minutes if that is 0. NULL on failure. A snapshot
 * in a local directory of the server has no lease, and is never lost. To be closed before
 * the client.
 */
HC_PUBLIC struct hc_client_open_snapshot *
hc_client_snapshot_open(struct hc_client *client,
                        const struct hc_client_snapshot_request *request,
                        struct hc_error *err);

/* What was answered; borrowed until the close. */
HC_PUBLIC const struct hc_client_snapshot *
hc_client_snapshot_answer(const struct hc_client_open_snapshot *snapshot);

/*
 * The path of a file of the snapshot, on this machine's mount: 1. 0: the snapshot has no
 * such file, or `request` did not select it. -1: NOT_CACHED: the lease is lost; CACHE_IO:
 * the mount does not answer; INVALID_FILENAME: the name leads out of the snapshot, or the
 * path does not fit into `size` bytes. One system call, no lock, no call of the server.
 */
HC_PUBLIC int hc_client_snapshot_file(const struct hc_client_open_snapshot *snapshot,
                                      const char *filename, char *path, size_t size,
                                      struct hc_error *err);

/*
 * Whether the lease holds: 0, or -1 with NOT_CACHED and why it is lost. Without a system
 * call.
 */
HC_PUBLIC int hc_client_snapshot_check(const struct hc_client_open_snapshot *snapshot,
                                       struct hc_error *err);

/* Ends the lease; waits for the server for two seconds at most. NULL is fine. */
HC_PUBLIC void hc_client_snapshot_close(struct hc_client_open_snapshot *snapshot);

#ifdef __cplusplus
}
#endif

#endif
