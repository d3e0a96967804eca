/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of hubcache.v1.Resolver: a caller's request becomes a message, and a
 * response becomes the answer that the caller gets, with paths on this machine's mount.
 *
 * A server answers with its own path and with the path below the cache root. The second,
 * joined to the mount, is the same file on this machine, if the mount is that volume: the
 * id in its .hubcache/cache-id tells. Callable from any thread.
 */
#ifndef HC_CLIENT_MESSAGE_H
#define HC_CLIENT_MESSAGE_H

#include <hubcache-client/client.h>

#include <google/protobuf/duration.pb-c.h>
#include <hubcache/v1/resolver.pb-c.h>
#include <protobuf-c/protobuf-c.h>

/* An unpacked message that its scope owns: HC_AUTO_MESSAGE *response = NULL; */
#define HC_AUTO_MESSAGE __attribute__((cleanup(hc_message_auto))) ProtobufCMessage

static inline void hc_message_auto(ProtobufCMessage *const *message)
{
    if (*message)
        protobuf_c_message_free_unpacked(*message, NULL);
}

/* What an encoded request points to; it must live until the message is packed. */
struct hc_message_options {
    Google__Protobuf__Duration max_staleness, lease;
    Hubcache__V1__FetchOptions fetch;
};

void hc_message_set_duration(Google__Protobuf__Duration *duration, int64_t ms);

/* Encoders. The message borrows the strings of `request` and points to `options`. */
void hc_message_encode_file(const struct hc_client_file_request *request,
                            struct hc_message_options *options,
                            Hubcache__V1__ResolveFileRequest *message);
void hc_message_encode_files(const struct hc_client_files_request *request,
                             struct hc_message_options *options,
                             Hubcache__V1__ResolveFilesRequest *message);
void hc_message_encode_snapshot(const struct hc_client_snapshot_request *request,
                                struct hc_message_options *options,
                                Hubcache__V1__ResolveSnapshotRequest *message);

struct hc_mount {
    const char *dir;    /* Borrowed; NULL: the server's own paths are valid here. */
    const char *server; /* Borrowed; named in messages. */
};

/*
 * Decoders. The caller clears the answer; on failure it is left alone. INTERNAL for a
 * response without its parts, else as hc_mount_check() and hc_mount_path() say.
 */
int hc_message_decode_file(const struct hc_mount *mount,
                           const Hubcache__V1__ResolveFileResponse *response,
                           struct hc_client_file *file, struct hc_error *err);

/*
 * Adds the files of an event of WatchSnapshot to those of `snapshot`, which are complete
 * when its result comes. The mount is compared with the server's volume only then.
 */
int hc_message_add_files(const struct hc_mount *mount,
                         const Hubcache__V1__SnapshotFiles *event,
                         struct hc_client_snapshot *snapshot, struct hc_error *err);

/* A file without its cache id: the mount is not compared with the server's volume. */
int hc_message_decode_resolved(const struct hc_mount *mount,
                               const Hubcache__V1__ResolvedFile *resolved,
                               struct hc_client_file *file, struct hc_error *err);
int hc_message_decode_files(const struct hc_mount *mount,
                            const Hubcache__V1__ResolveFilesResponse *response,
                            struct hc_client_files *files, struct hc_error *err);
int hc_message_decode_snapshot(const struct hc_mount *mount,
                               const Hubcache__V1__ResolveSnapshotResponse *response,
                               struct hc_client_snapshot *snapshot, struct hc_error *err);
int hc_message_decode_info(const Hubcache__V1__GetServerInfoResponse *response,
                           struct hc_client_info *info, struct hc_error *err);

/* `progress` borrows the names of `event`. */
void hc_message_decode_progress(const Hubcache__V1__SnapshotProgress *event,
                                struct hc_client_progress *progress);

/* CACHE_MISMATCH unless the mount is the volume `cache_id`; "" is not compared. */
int hc_mount_check(const struct hc_mount *mount, const char *cache_id,
                   struct hc_error *err);

/*
 * The file's path on this machine; the caller frees. An empty `cache_path` belongs to a
 * file of a local directory, which keeps the server's path. NULL on failure: INTERNAL for
 * a `cache_path` that leads out of the mount.
 */
char *hc_mount_path(const struct hc_mount *mount, const char *server_path,
                    const char *cache_path, struct hc_error *err);

#endif
