/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off: the example below keeps its lines */
/*
 * Asks a hubcached where a file or snapshot is, on this machine's mount of the cache
 * volume.
 *
 * A client holds one connection; any number of threads may call it at once. Every call
 * blocks until its answer came, it failed, or its timeout passed. Requests are borrowed
 * for the time of the call; the caller clears the answers. `{0}` is a valid start for
 * every options and request struct; members not marked "Required." may stay zero.
 *
 *     #include <hubcache-client/client.h>
 *     #include <stdio.h>
 *
 *     int main(void)
 *     {
 *         struct hc_client_options options = {.server = "127.0.0.1:50051",
 *                                             .mount = "/models"};
 *         struct hc_client_file_request request = {
 *             .repo = {.id = "openai-community/gpt2"}, .filename = "config.json"};
 *         struct hc_client_file file;
 *         struct hc_error err = {HC_OK};
 *         struct hc_client *client = hc_client_open(&options, &err);
 *
 *         if (!client || hc_client_resolve_file(client, &request, &file, &err) < 0) {
 *             fprintf(stderr, "%s: %s\n", hc_reason_name(err.reason), err.message);
 *             hc_client_close(client);
 *             return hc_reason_exit(err.reason);
 *         }
 *         puts(file.path);
 *         hc_client_file_clear(&file);
 *         hc_client_close(client);
 *         return 0;
 *     }
 *
 * Build with: cc app.c $(pkg-config --cflags --libs hubcache-client)
 * With CMake, from 3.16 on: find_package(hubcache-client 0.1 REQUIRED) and
 * target_link_libraries(app PRIVATE hubcache::client)
 *
 * A call is made again when the server was not reached or the connection broke
 * (UNAVAILABLE or CANCELLED without a reason of hubcache's), when it stops or restarts
 * (SHUTTING_DOWN), has its queue full (BUSY), or asks for a repetition because it has not
 * the newest keys yet (CALLER_UNAUTHENTICATED with a delay): until `wait_ms` have passed
 * since the first failure, within the timeout, after pauses of 0.1 to 1.6 s or the one
 * that the server asks for. Repeating a call is safe, since calls change nothing but what
 * the cache holds. No other failure is retried: failures of the Hub the server has
 * retried itself, and what is wrong with TLS stays wrong.
 *
 * The connection is plain HTTP/2, or HTTP/2 over TLS 1.2 or 1.3 if an option or the
 * address says so. The client sets these arguments of gRPC's channel; all others have
 * gRPC's defaults:
 *
 *     grpc.primary_user_agent                 "hubcache-client/<version>"
 *     grpc.max_receive_message_length         67108864 (an answer)
 *     grpc.max_metadata_size                  65536 (headers or trailers of an answer)
 *     grpc.min_reconnect_backoff_ms           5000 (the time to connect)
 *     grpc.initial_reconnect_backoff_ms       100
 *     grpc.max_reconnect_backoff_ms           1000
 *     grpc.keepalive_time_ms                  310000
 *     grpc.http2.max_pings_without_data       0 (no limit)
 *     grpc.enable_http_proxy                  0
 *     grpc.service_config_disable_resolution  1
 *     grpc.ssl_target_name_override           tls_server_name, if it is set
 *     grpc.lb_policy_name                     "round_robin", for dns:///
 *     grpc.dns_min_time_between_resolutions_ms  5000, for dns:///
 *
 * So a connection that has been silent for 310 s while a call runs is pinged, and lost
 * when no answer comes within 20 s; and the proxies of the environment, which lead to the
 * Hub, are not used.
 * A request may have 16 MiB; the server's side is in hubcached(8), under LIMITS.
 *
 * Failures are those of the server (see hubcache/error.h and the proto file), and those
 * of the client itself: SERVER_UNAVAILABLE (no server answers at the address, or the two
 * sides could not agree on TLS: the message says why, as far as it is known),
 * CACHE_MISMATCH (the mount is not the volume that the server resolves on),
 * DEADLINE_EXCEEDED (the timeout passed), CANCELLED (the progress function returned
 * false).
 */
/* clang-format on */
#ifndef HUBCACHE_CLIENT_H
#define HUBCACHE_CLIENT_H

#include <hubcache/error.h>
#include <hubcache/repo.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct hc_client;

/*
 * Called on the calling thread before a call is made again: with the failure, borrowed,
 * and the milliseconds since the first one.
 */
typedef void (*hc_client_retry_fn)(void *ctx, const struct hc_error *failure,
                                   int64_t waited_ms);

struct hc_client_options {
    /*
     * Optional: "host:port", "unix:/path", "https://host:port" (over TLS) or
     * "dns:///host:port". If NULL, HUBCACHE_SERVER, else "127.0.0.1:50051".
     *
     * With dns:/// calls go in turn to all addresses that the name has, and pass over
     * those that do not answer, as for replicas behind a headless Service of Kubernetes;
     * otherwise all go to the first address that answers. The name is looked up again
     * when a connection is lost.
     */
    const char *server;

    /*
     * Optional: where this machine mounts the cache root. If NULL, HUBCACHE_MOUNT;
     * without both, answers have the server's own paths. With a mount, each answer
     * compares its .hubcache/cache-id with the server's: CACHE_MISMATCH when they differ.
     */
    const char *mount;

    /*
     * Optional: the caller's token for hubcached. Printable ASCII without spaces. If it
     * is NULL, the token in the file `bearer_token_file`; without both, HUBCACHE_TOKEN,
     * else the file HUBCACHE_TOKEN_FILE, else the call shows no token. A file is read for
     * each call, so it may change; without a token in it the call is INVALID_OPTIONS.
     */
    const char *bearer_token;
    const char *bearer_token_file;

    /* Optional: the caller's own Hub token, likewise; used instead of the server's. */
    const char *hub_token;

    /* Optional: what this client calls itself in lists of leases, such as the name of its
     * pod; printable ASCII. If NULL, HUBCACHE_POD, else the name of the host. */
    const char *pod;

    /* Optional: the limit of each call in milliseconds; 0: none, as for a long
     * download. */
    int64_t timeout_ms;

    /* Optional: how long a call is made again while the server is out of reach or busy,
     * in milliseconds; 0: 30 s; negative: each call is made once. */
    int64_t wait_ms;
    hc_client_retry_fn retry; /* Optional. */
    void *retry_ctx;          /* Optional: given to it. */

    /*
     * Optional: TLS, if any of these five is set, or the variable of the same name:
     * HUBCACHE_TLS=1, HUBCACHE_TLS_CA, HUBCACHE_TLS_CERT, HUBCACHE_TLS_KEY,
     * HUBCACHE_TLS_SERVER_NAME. An option comes before its variable. Tokens are sent
     * without TLS, too, as inside a cluster whose network is trusted.
     *
     * The files are PEM. `tls_ca_file` has the authorities that may have signed the
     * server's certificate; NULL: the system's (or those in the file that the variable
     * GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names). `tls_cert_file`, with the certificates
     * between it and the authority after it, and `tls_key_file` are what the client
     * shows: both or none; the key has no password. The certificate of the server must be
     * for `tls_server_name`; NULL: for the host of the address.
     *
     * The files are read when the client is opened, and again when a call finds no
     * connection, or a minute after the last time: if they have changed, that call makes
     * a new connection with them, while calls that are running end on the old one. Files
     * that cannot be used then leave things as they are.
     */
    bool tls;
    const char *tls_ca_file;
    const char *tls_cert_file;
    const char *tls_key_file;
    const char *tls_server_name;
};

struct hc_client_repo {
    const char *id;         /* Required. */
    enum hc_repo_type type; /* Optional: model. */
    const char *revision;   /* Optional: "main". */
};

/* See FetchOptions of the proto file. */
struct hc_client_fetch {
    bool local_files_only;
    bool force_download;
    bool dry_run;
    bool warm; /* the server reads the files ahead on its machine, not on this one */
    bool has_max_staleness;
    int64_t max_staleness_ms;
    int64_t lease_ms; /* the files stay for so long; 0: no lease. See lease_id of the
                         answers, and <hubcache-client/snapshot.h> */
};

struct hc_client_file_request {
    struct hc_client_repo repo;
    const char *filename;  /* Required. */
    const char *subfolder; /* Optional. */
    struct hc_client_fetch fetch;
};

struct hc_client_files_request {
    struct hc_client_repo repo;
    const char *const *filenames; /* Required. */
    size_t filename_count;
    const char *subfolder; /* Optional. */
    bool allow_missing;
    struct hc_client_fetch fetch;
};

/* The progress of a snapshot. Files that were on disk already count as done. */
struct hc_client_progress {
    unsigned files_total, files_done;
    uint64_t bytes_total, bytes_done;
    uint64_t bytes_per_second;       /* over the last few seconds; 0: not known yet */
    const char *const *active_files; /* being fetched; borrowed for the call */
    size_t active_count;
    unsigned waiting_count; /* active files that another process is fetching */
    unsigned retries;       /* requests for bytes that were repeated so far */
};

/* Called on the thread that resolves. Returning false ends the call with CANCELLED. */
typedef bool (*hc_client_progress_fn)(void *ctx,
                                      const struct hc_client_progress *progress);

/* The answer may have 64 MiB, about 100,000 files; a call with `progress` lists any
 * number. */
struct hc_client_snapshot_request {
    struct hc_client_repo repo;
    const char *const *allow_patterns; /* Optional: all files. */
    size_t allow_count;
    const char *const *ignore_patterns; /* Optional. */
    size_t ignore_count;
    bool list_files;
    struct hc_client_fetch fetch;
    hc_client_progress_fn progress; /* Optional: with it the call is WatchSnapshot. */
    void *progress_ctx;
};

/* The numbers are those of hubcache.v1.Source and hubcache.v1.Completeness. */
enum hc_client_source {
    HC_CLIENT_SOURCE_UNSPECIFIED = 0,
    HC_CLIENT_SOURCE_CACHE = 1,
    HC_CLIENT_SOURCE_HUB = 2,
    HC_CLIENT_SOURCE_LOCAL = 3
};

enum hc_client_completeness {
    HC_CLIENT_COMPLETENESS_UNSPECIFIED = 0,
    HC_CLIENT_COMPLETE = 1,
    HC_CLIENT_PARTIAL = 2,
    HC_CLIENT_UNKNOWN = 3
};

struct hc_client_file {
    char *path;       /* on this machine's mount */
    char *cache_path; /* relative to the cache root; "" for a local directory's file */
    char *filename;
    char *commit_hash;
    char *etag;
    char *cache_id; /* of the volume; NULL for a file in a list, which has one for all */
    char *lease_id; /* likewise; "": there is no lease */
    uint64_t size_bytes;
    enum hc_client_source source;
    bool stale;
};

struct hc_client_files {
    struct hc_client_file *items;
    size_t count;
    char **missing; /* only with allow_missing */
    size_t missing_count;
    char *commit_hash;
    char *cache_id;
    char *lease_id;
};

struct hc_client_snapshot {
    char *path; /* on this machine's mount */
    char *cache_path;
    char *commit_hash;
    char *cache_id;
    char *lease_id; /* "": there is no lease */
    enum hc_client_completeness completeness;
    enum hc_client_source source;
    bool stale;
    char **missing; /* the first 100 */
    size_t missing_listed;
    uint32_t missing_total;
    char **excluded; /* files that the server's policy denies, left out: the first 100 */
    size_t excluded_listed;
    uint32_t excluded_total;
    uint32_t file_count;          /* that are selected, with those that are missing */
    uint64_t size_bytes;          /* of these */
    uint64_t downloaded_bytes;    /* that came from the Hub for this call */
    struct hc_client_file *files; /* only with list_files */
    size_t listed;
};

/*
 * Receives the next bytes of a file, on the thread that reads; they are borrowed for the
 * call. While it runs, the server sends no more than fits into the connection's window.
 * Returning false ends the read with CANCELLED.
 */
typedef bool (*hc_client_bytes_fn)(void *ctx, const void *bytes, size_t count);

/* Receives the file once, before its first byte; borrowed. Returning false: likewise. */
typedef bool (*hc_client_file_fn)(void *ctx, const struct hc_client_file *file);

struct hc_client_read_request {
    struct hc_client_file_request file; /* Required; not with fetch.dry_run. */
    uint64_t offset;                    /* Optional: the first byte. */
    uint64_t length;          /* Optional: at most so many bytes; 0: to the end. */
    hc_client_file_fn begin;  /* Optional. */
    hc_client_bytes_fn bytes; /* Required. */
    void *ctx;                /* Optional: given to both. */
};

/*
 * Called as bytes are saved; `bytes_done` falls when the file is read once more from the
 * start. Returning false ends the call with CANCELLED.
 */
typedef bool (*hc_client_saved_fn)(void *ctx, uint64_t bytes_done, uint64_t bytes_total);

struct hc_client_save_request {
    struct hc_client_file_request file; /* Required; not with fetch.dry_run. */
    int fd; /* Required: a regular file, open for reading and writing. */
    hc_client_saved_fn progress; /* Optional. */
    void *progress_ctx;
};

struct hc_client_info {
    char *version;
    char *cache_root; /* on the server's machine */
    char *cache_id;   /* of its volume */
    char *endpoint;   /* the Hub's base URL */
    bool offline;     /* it does not ask the Hub */
};

/*
 * Copies `options`. Connects at the first call, which is therefore the one that notices a
 * server that is not there. NULL on failure: INVALID_OPTIONS for a server that is no
 * address, a token with other characters, a negative timeout, and files of TLS that
 * cannot be used.
 */
HC_PUBLIC struct hc_client *hc_client_open(const struct hc_client_options *options,
                                           struct hc_error *err);

/* No call may be running. Wipes its copies of the tokens. NULL is fine. */
HC_PUBLIC void hc_client_close(struct hc_client *client);

/*
 * 0, and the caller clears the answer; -1 with `err` set, and the answer is left alone.
 * The files of hc_client_resolve_files() come from one commit, in the order of the
 * request.
 *
 * An answer without a lease may be evicted at any time. On a client with a mount, the
 * path is looked at before the call returns: if it is gone, the call is made once more,
 * and its files stay for ten seconds more, or it fails as that call does.
 */
HC_PUBLIC int hc_client_resolve_file(struct hc_client *client,
                                     const struct hc_client_file_request *request,
                                     struct hc_client_file *file, struct hc_error *err);
HC_PUBLIC int hc_client_resolve_files(struct hc_client *client,
                                      const struct hc_client_files_request *request,
                                      struct hc_client_files *files,
                                      struct hc_error *err);
HC_PUBLIC int hc_client_resolve_snapshot(struct hc_client *client,
                                         const struct hc_client_snapshot_request *request,
                                         struct hc_client_snapshot *snapshot,
                                         struct hc_error *err);

/*
 * Gives a lease a new end, `lease_ms` from now, above 0. 0; -1: NOT_CACHED: it has ended,
 * and the files may be gone; POLICY_DENIED: it is another caller's; INVALID_OPTIONS: more
 * than the server allows, or `lease_id` is none.
 */
HC_PUBLIC int hc_client_renew_lease(struct hc_client *client, const char *lease_id,
                                    int64_t lease_ms, struct hc_error *err);

/* Ends a lease: 0; -1: POLICY_DENIED, INVALID_OPTIONS, likewise. One that has ended
 * before is no failure. */
HC_PUBLIC int hc_client_release_lease(struct hc_client *client, const char *lease_id,
                                      struct hc_error *err);

/* What the server says of itself. 0, and the caller clears `info`; -1. */
HC_PUBLIC int hc_client_get_info(struct hc_client *client, struct hc_client_info *info,
                                 struct hc_error *err);

/*
 * Reads a file through the server, for a machine without the cache volume. The server
 * resolves it first, as in hc_client_resolve_file(), and downloads it if it has to.
 *
 * If the connection breaks or the server restarts, the read goes on from the byte that it
 * has reached: `bytes` receives each byte once, in order. The eight attempts count from
 * the last one that brought bytes. The commit of the first answer holds for all of them.
 *
 * The bytes of a whole file (offset 0, length 0) are hashed as they pass, and compared
 * with the etag at the end, if that is a hash (see etag of the proto file):
 * CHECKSUM_MISMATCH when they differ, after `bytes` has received them all. Bytes in the
 * wrong place, too few or too many are INTERNAL. CACHE_IO: the server cannot read the
 * file.
 *
 * 0, and the caller clears `file`, whose `path` is the server's own and whose `cache_id`
 * is NULL; -1 with `err` set, and `file` is left alone. `file` may be NULL.
 */
HC_PUBLIC int hc_client_read_file(struct hc_client *client,
                                  const struct hc_client_read_request *request,
                                  struct hc_client_file *file, struct hc_error *err);

/*
 * Reads a file likewise into the descriptor `request->fd`, from its byte 0 on. Bytes that
 * it has already are taken as the start of the file, so that a call that failed can be
 * continued in the same or a later process: they are hashed, and only the rest is read.
 * If the whole does not have the hash of the etag, or `fd` has more bytes than the file,
 * it is emptied, and read once more from the start.
 *
 * 0: `fd` has all bytes of the file, verified; they are not flushed to the disk, and the
 * position of `fd` is undefined. -1: it has the start of the file; after
 * CHECKSUM_MISMATCH, nothing. CACHE_IO and NO_SPACE: `fd` cannot be read or written, or
 * the server cannot read the file.
 */
HC_PUBLIC int hc_client_save_file(struct hc_client *client,
                                  const struct hc_client_save_request *request,
                                  struct hc_client_file *file, struct hc_error *err);

/* Free what an answer owns, and leave it zero. */
HC_PUBLIC void hc_client_file_clear(struct hc_client_file *file);
HC_PUBLIC void hc_client_files_clear(struct hc_client_files *files);
HC_PUBLIC void hc_client_snapshot_clear(struct hc_client_snapshot *snapshot);
HC_PUBLIC void hc_client_info_clear(struct hc_client_info *info);

#ifdef __cplusplus
}
#endif

#endif
