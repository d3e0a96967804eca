/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public calls: encode the request, make the RPC, decode the response. A client is
 * not written to after it was opened, and each call keeps what it needs on its own stack,
 * so no call needs a lock. snapshot.c has those of snapshots that are kept open.
 *
 * hc_client_resolve_snapshot() is two RPCs: WatchSnapshot, which streams progress events
 * before its result, if the caller has a progress function, else ResolveSnapshot.
 */
#include <hubcache-client/client.h>

#include "base/auto.h"
#include "base/text.h"
#include "channel.h"
#include "client.h"
#include "lease_renewer.h"
#include "message.h"
#include "token_file.h"

#include <errno.h>
#include <hubcache/v1/resolver.pb-c.h>
#include <limits.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define METHOD(name) "/hubcache.v1.Resolver/" name

enum { AGAIN_LEASE_MS = 10 * 1000 };

static const char default_server[] = "127.0.0.1:50051";

struct hc_client {
    struct hc_channel *channel;
    struct hc_lease_renewer *renewer;
    char *mount; /* NULL: none */
};
HC_DEFINE_AUTO(hc_client, hc_client_close)

/* The option, else the variable, else NULL. An empty text counts as not given. */
static const char *option_or_variable(const char *given, const char *variable)
{
    const char *value = given ? given : getenv(variable);

    return value && value[0] != '\0' ? value : NULL;
}

/*
 * Chooses the caller's token, or the file that has it; `*copy` is wiped by the calling
 * function. As for the Hub's own clients, the variable of the token comes first.
 */
static int client_choose_token(struct hc_client_options *options, char **copy,
                               struct hc_error *err)
{
    const char *value = option_or_variable(NULL, "HUBCACHE_TOKEN");

    if (options->bearer_token || options->bearer_token_file) {
        if (options->bearer_token)
            options->bearer_token_file = NULL;
        return hc_token_check(options->bearer_token, "bearer token", err);
    }
    *copy = hc_text_copy(value, err);
    if (value && !*copy)
        return -1;
    if (*copy && hc_text_trim(*copy)[0] != '\0')
        options->bearer_token = *copy;
    else
        options->bearer_token_file = option_or_variable(NULL, "HUBCACHE_TOKEN_FILE");
    return hc_token_check(options->bearer_token, "token in HUBCACHE_TOKEN", err);
}

/* Fills in what the environment says about TLS. */
static int client_choose_tls(struct hc_client_options *options, struct hc_error *err)
{
    const char *tls = option_or_variable(NULL, "HUBCACHE_TLS");

    if (tls && strcmp(tls, "0") != 0 && strcmp(tls, "1") != 0)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "tls",
                             "HUBCACHE_TLS is neither 0 nor 1");
    options->tls = options->tls || (tls && strcmp(tls, "1") == 0);
    options->tls_ca_file = option_or_variable(options->tls_ca_file, "HUBCACHE_TLS_CA");
    options->tls_cert_file =
        option_or_variable(options->tls_cert_file, "HUBCACHE_TLS_CERT");
    options->tls_key_file = option_or_variable(options->tls_key_file, "HUBCACHE_TLS_KEY");
    options->tls_server_name =
        option_or_variable(options->tls_server_name, "HUBCACHE_TLS_SERVER_NAME");
    return 0;
}

/*
 * Checks the options before gRPC does, which refuses metadata with other characters
 * without saying which.
 */
static int client_connect(struct hc_client *client,
                          const struct hc_client_options *options, struct hc_error *err)
{
    const char *server = option_or_variable(options->server, "HUBCACHE_SERVER");
    const char *mount = option_or_variable(options->mount, "HUBCACHE_MOUNT");
    struct hc_client_options resolved = *options;
    char host[HOST_NAME_MAX + 1] = "";
    HC_AUTO_WIPE char *token = NULL;
    struct hc_error unusable;

    if (options->timeout_ms < 0)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "timeout_ms",
                             "the timeout is negative");
    if (client_choose_tls(&resolved, err) < 0 ||
        client_choose_token(&resolved, &token, err) < 0 ||
        hc_token_check(options->hub_token, "Hub token", err) < 0)
        return -1;
    client->mount = hc_text_copy(mount, err);
    if (mount && !client->mount)
        return -1;
    resolved.server = server ? server : default_server;
    resolved.pod = option_or_variable(options->pod, "HUBCACHE_POD");
    if (hc_token_check(resolved.pod, "name of the pod", err) < 0)
        return -1;
    if (!resolved.pod && gethostname(host, sizeof host - 1) == 0 &&
        hc_token_check(host, "name of the host", &unusable) == 0)
        resolved.pod = host;
    client->channel = hc_channel_open(&resolved, err);
    client->renewer = client->channel ? hc_lease_renewer_new(client, err) : NULL;
    return client->renewer ? 0 : -1;
}

/* The mount as the decoders want it; it borrows from the client. */
struct hc_mount hc_client_mount(const struct hc_client *client)
{
    return (struct hc_mount){.dir = client->mount,
                             .server = hc_channel_server(client->channel)};
}

struct hc_client *hc_client_open(const struct hc_client_options *options,
                                 struct hc_error *err)
{
    HC_AUTO(hc_client) *client = calloc(1, sizeof *client);

    if (!client) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    if (client_connect(client, options, err) < 0)
        return NULL;
    return hc_take(&client);
}

void hc_client_close(struct hc_client *client)
{
    if (!client)
        return;
    hc_lease_renewer_free(client->renewer);
    hc_channel_close(client->channel);
    free(client->mount);
    free(client);
}

struct hc_channel *hc_client_channel(const struct hc_client *client)
{
    return client->channel;
}

struct hc_lease_renewer *hc_client_lease_renewer(struct hc_client *client)
{
    return client->renewer;
}

/*
 * Whether an answer without a lease is gone: evicted, or removed by another client, since
 * the server looked. Without a mount, paths are the server's own and not looked at.
 */
static bool answer_is_gone(const struct hc_client *client,
                           const struct hc_client_fetch *fetch, const char *path,
                           const char *cache_path)
{
    return client->mount && fetch->lease_ms == 0 && !fetch->dry_run && cache_path[0] &&
           access(path, F_OK) < 0 && errno == ENOENT;
}

/*
 * The options of the second attempt. The server may remember the path that is gone; with
 * a lease it looks at the volume, and the caller has time to open the files. The lease
 * ends by itself.
 */
static struct hc_client_fetch fetch_again(const struct hc_client_fetch *fetch)
{
    struct hc_client_fetch again = *fetch;

    again.lease_ms = AGAIN_LEASE_MS;
    again.force_download = false;
    return again;
}

/* The caller has asked for no lease, so it gets no id to renew. */
static void lease_forget(char *lease_id)
{
    lease_id[0] = '\0';
}

/* The message, what it points to, and the response live for this call, on its stack. */
static int client_ask_file(struct hc_client *client,
                           const struct hc_client_file_request *request,
                           struct hc_client_file *file, struct hc_error *err)
{
    struct hc_mount mount = hc_client_mount(client);
    struct hc_message_options options;
    Hubcache__V1__ResolveFileRequest message;
    struct hc_channel_request call = {
        .method = METHOD("ResolveFile"),
        .message = &message.base,
        .response = &hubcache__v1__resolve_file_response__descriptor,
        .takes_lease = request->fetch.lease_ms != 0,
    };
    HC_AUTO_MESSAGE *response = NULL;

    hc_message_encode_file(request, &options, &message);
    response = hc_channel_call(client->channel, &call, err);
    if (!response)
        return -1;
    return hc_message_decode_file(&mount,
                                  (const Hubcache__V1__ResolveFileResponse *)response,
                                  file, err);
}

int hc_client_resolve_file(struct hc_client *client,
                           const struct hc_client_file_request *request,
                           struct hc_client_file *file, struct hc_error *err)
{
    struct hc_client_file_request again = *request;
    struct hc_client_file answer;

    if (client_ask_file(client, request, &answer, err) < 0)
        return -1;
    if (answer_is_gone(client, &request->fetch, answer.path, answer.cache_path)) {
        hc_client_file_clear(&answer);
        again.fetch = fetch_again(&request->fetch);
        if (client_ask_file(client, &again, &answer, err) < 0)
            return -1;
        lease_forget(answer.lease_id);
    }
    *file = answer;
    return 0;
}

static int client_ask_files(struct hc_client *client,
                            const struct hc_client_files_request *request,
                            struct hc_client_files *files, struct hc_error *err)
{
    struct hc_mount mount = hc_client_mount(client);
    struct hc_message_options options;
    Hubcache__V1__ResolveFilesRequest message;
    struct hc_channel_request call = {
        .method = METHOD("ResolveFiles"),
        .message = &message.base,
        .response = &hubcache__v1__resolve_files_response__descriptor,
        .takes_lease = request->fetch.lease_ms != 0,
    };
    HC_AUTO_MESSAGE *response = NULL;

    hc_message_encode_files(request, &options, &message);
    response = hc_channel_call(client->channel, &call, err);
    if (!response)
        return -1;
    return hc_message_decode_files(&mount,
                                   (const Hubcache__V1__ResolveFilesResponse *)response,
                                   files, err);
}

static bool files_are_gone(const struct hc_client *client,
                           const struct hc_client_fetch *fetch,
                           const struct hc_client_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        if (answer_is_gone(client, fetch, files->items[i].path,
                           files->items[i].cache_path))
            return true;
    }
    return false;
}

int hc_client_resolve_files(struct hc_client *client,
                            const struct hc_client_files_request *request,
                            struct hc_client_files *files, struct hc_error *err)
{
    struct hc_client_files_request again = *request;
    struct hc_client_files answer;

    if (client_ask_files(client, request, &answer, err) < 0)
        return -1;
    if (files_are_gone(client, &request->fetch, &answer)) {
        hc_client_files_clear(&answer);
        again.fetch = fetch_again(&request->fetch);
        if (client_ask_files(client, &again, &answer, err) < 0)
            return -1;
        lease_forget(answer.lease_id);
    }
    *files = answer;
    return 0;
}

/* A call of WatchSnapshot. */
struct watch {
    const struct hc_client_snapshot_request *request;
    struct hc_mount mount;
    struct hc_client_snapshot listed; /* the files of a long list, so far */
    struct hc_error failure;          /* of this side, which then ends the call */
};

static void watch_release(struct watch *watch)
{
    hc_client_snapshot_clear(&watch->listed);
}
HC_DEFINE_AUTO_VALUE(watch, watch_release)

/*
 * Passes progress on to the caller's function, and keeps files. The result, which is the
 * last event, is what hc_channel_call() returns.
 */
static bool watch_receive(void *ctx, const ProtobufCMessage *message)
{
    struct watch *watch = ctx;
    const struct hc_client_snapshot_request *request = watch->request;
    const Hubcache__V1__WatchSnapshotResponse *event =
        (const Hubcache__V1__WatchSnapshotResponse *)message;
    struct hc_client_progress progress;

    if (event->event_case == HUBCACHE__V1__WATCH_SNAPSHOT_RESPONSE__EVENT_FILES)
        return hc_message_add_files(&watch->mount, event->files, &watch->listed,
                                    &watch->failure) == 0;
    if (event->event_case != HUBCACHE__V1__WATCH_SNAPSHOT_RESPONSE__EVENT_PROGRESS)
        return true;
    hc_message_decode_progress(event->progress, &progress);
    return request->progress(request->progress_ctx, &progress);
}

/* Before another attempt, which lists the files anew. */
static bool watch_restart(void *ctx, bool *has_progress)
{
    struct watch *watch = ctx;

    *has_progress = false;
    hc_client_snapshot_clear(&watch->listed);
    return true;
}

static int watch_finish(struct watch *watch,
                        const Hubcache__V1__WatchSnapshotResponse *last,
                        struct hc_client_snapshot *snapshot, struct hc_error *err)
{
    if (last->event_case != HUBCACHE__V1__WATCH_SNAPSHOT_RESPONSE__EVENT_RESULT)
        return hc_fail(err, HC_INTERNAL, "hubcached at '%.128s' ended without a result",
                       watch->mount.server);
    if (hc_message_decode_snapshot(&watch->mount, last->result, snapshot, err) < 0)
        return -1;
    if (snapshot->listed == 0) {
        snapshot->files = hc_take(&watch->listed.files);
        snapshot->listed = watch->listed.listed;
        watch->listed.listed = 0;
    }
    return 0;
}

static int client_watch_snapshot(struct hc_client *client,
                                 const struct hc_client_snapshot_request *request,
                                 struct hc_client_snapshot *snapshot,
                                 struct hc_error *err)
{
    HC_AUTO_VALUE(watch) watch = {.request = request, .mount = hc_client_mount(client)};
    struct hc_message_options options;
    Hubcache__V1__ResolveSnapshotRequest inner;
    Hubcache__V1__WatchSnapshotRequest message =
        HUBCACHE__V1__WATCH_SNAPSHOT_REQUEST__INIT;
    struct hc_channel_request call = {
        .method = METHOD("WatchSnapshot"),
        .message = &message.base,
        .response = &hubcache__v1__watch_snapshot_response__descriptor,
        .takes_lease = request->fetch.lease_ms != 0,
        .each = watch_receive,
        .resume = watch_restart,
        .ctx = &watch,
    };
    HC_AUTO_MESSAGE *response = NULL;

    hc_message_encode_snapshot(request, &options, &inner);
    message.snapshot = &inner;
    response = hc_channel_call(client->channel, &call, err);
    if (!response) {
        if (watch.failure.reason != HC_OK)
            *err = watch.failure;
        return -1;
    }
    return watch_finish(&watch, (const Hubcache__V1__WatchSnapshotResponse *)response,
                        snapshot, err);
}

static int client_ask_snapshot(struct hc_client *client,
                               const struct hc_client_snapshot_request *request,
                               struct hc_client_snapshot *snapshot, struct hc_error *err)
{
    struct hc_mount mount = hc_client_mount(client);
    struct hc_message_options options;
    Hubcache__V1__ResolveSnapshotRequest message;
    struct hc_channel_request call = {
        .method = METHOD("ResolveSnapshot"),
        .message = &message.base,
        .response = &hubcache__v1__resolve_snapshot_response__descriptor,
        .takes_lease = request->fetch.lease_ms != 0,
    };
    HC_AUTO_MESSAGE *response = NULL;

    if (request->progress)
        return client_watch_snapshot(client, request, snapshot, err);
    hc_message_encode_snapshot(request, &options, &message);
    response = hc_channel_call(client->channel, &call, err);
    if (!response)
        return -1;
    return hc_message_decode_snapshot(
        &mount, (const Hubcache__V1__ResolveSnapshotResponse *)response, snapshot, err);
}

int hc_client_resolve_snapshot(struct hc_client *client,
                               const struct hc_client_snapshot_request *request,
                               struct hc_client_snapshot *snapshot, struct hc_error *err)
{
    struct hc_client_snapshot_request again = *request;
    struct hc_client_snapshot answer;

    if (client_ask_snapshot(client, request, &answer, err) < 0)
        return -1;
    if (answer_is_gone(client, &request->fetch, answer.path, answer.cache_path)) {
        hc_client_snapshot_clear(&answer);
        again.fetch = fetch_again(&request->fetch);
        if (client_ask_snapshot(client, &again, &answer, err) < 0)
            return -1;
        lease_forget(answer.lease_id);
    }
    *snapshot = answer;
    return 0;
}

int hc_client_get_info(struct hc_client *client, struct hc_client_info *info,
                       struct hc_error *err)
{
    Hubcache__V1__GetServerInfoRequest message =
        HUBCACHE__V1__GET_SERVER_INFO_REQUEST__INIT;
    struct hc_channel_request call = {
        .method = METHOD("GetServerInfo"),
        .message = &message.base,
        .response = &hubcache__v1__get_server_info_response__descriptor,
    };
    HC_AUTO_MESSAGE *response = hc_channel_call(client->channel, &call, err);

    if (!response)
        return -1;
    return hc_message_decode_info((const Hubcache__V1__GetServerInfoResponse *)response,
                                  info, err);
}
