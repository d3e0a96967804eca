/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The links are counted: the connection holds its current one, and each call the one that
 * it began with. gRPC's channel goes with the last of them.
 */
#include "connection.h"

#include "server_address.h"
#include "tls_files.h"

#include <hubcache-client/client.h>

#include <grpc/credentials.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

enum {
    RESPONSE_BYTES_MAX = 64 * 1024 * 1024, /* the listing of a large repo */
    METADATA_BYTES_MAX = 64 * 1024,        /* a status with its details */
    CONNECT_MS = 5000,
    BACKOFF_FIRST_MS = 100,
    BACKOFF_LAST_MS = 1000,
    RECONNECT_WAIT_MS = 300,
    /*
     * Keepalive notices a server whose machine vanished. gRPC servers by default hang up
     * on clients that probe an idle connection more often than every five minutes.
     */
    KEEPALIVE_MS = 310 * 1000,
    LOOKUP_AGAIN_MS = 5000, /* names of replicas that come and go; gRPC has 30 s */
    FILES_AGE_MAX_S = 60,
    ARGUMENTS_MAX = 16
};

struct hc_connection_link {
    grpc_channel *grpc;
    struct hc_tls_texts texts; /* that it was made with */
    size_t uses;               /* guarded by the connection's lock */
};

struct hc_connection {
    struct hc_server_address address;
    struct hc_tls_files tls;
    struct {
        pthread_mutex_t lock;
        struct hc_connection_link *current;
        gpr_timespec looked; /* at the files */
    } shared;
};

/* ---- gRPC's channel ------------------------------------------------------------- */

/* gRPC declares texts of arguments as char *, and copies them. */
static char *grpc_text(const char *text)
{
    union {
        const char *given;
        char *taken;
    } both = {.given = text};

    return both.taken;
}

static void args_add_integer(grpc_channel_args *args, const char *key, int value)
{
    args->args[args->num_args++] = (grpc_arg){.type = GRPC_ARG_INTEGER,
                                              .key = grpc_text(key),
                                              .value.integer = value};
}

static void args_add_text(grpc_channel_args *args, const char *key, const char *value)
{
    args->args[args->num_args++] = (grpc_arg){.type = GRPC_ARG_STRING,
                                              .key = grpc_text(key),
                                              .value.string = grpc_text(value)};
}

static void args_fill(grpc_channel_args *args, const struct hc_connection *connection)
{
    args_add_text(args, GRPC_ARG_PRIMARY_USER_AGENT_STRING,
                  "hubcache-client/" HC_CLIENT_VERSION);
    args_add_integer(args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RESPONSE_BYTES_MAX);
    args_add_integer(args, GRPC_ARG_MAX_METADATA_SIZE, METADATA_BYTES_MAX);
    args_add_integer(args, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_MS);
    args_add_integer(args, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, BACKOFF_FIRST_MS);
    args_add_integer(args, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, BACKOFF_LAST_MS);
    args_add_integer(args, GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS);
    args_add_integer(args, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0); /* 0: no limit */
    /* http_proxy is the way to the Hub, not to a server on this network. */
    args_add_integer(args, GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    args_add_integer(args, GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    if (connection->address.is_balanced) {
        args_add_text(args, GRPC_ARG_LB_POLICY_NAME, "round_robin");
        args_add_integer(args, GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS,
                         LOOKUP_AGAIN_MS);
    }
    if (connection->tls.server_name)
        args_add_text(args, GRPC_SSL_TARGET_NAME_OVERRIDE_ARG,
                      connection->tls.server_name);
}

static grpc_channel_credentials *tls_credentials(const struct hc_tls_texts *texts)
{
    grpc_ssl_pem_key_cert_pair pair = {.private_key = texts->key,
                                       .cert_chain = texts->cert};

    return grpc_ssl_credentials_create_ex(texts->ca, texts->cert ? &pair : NULL, NULL,
                                          NULL);
}

/* Takes the texts over. NULL when memory is short; then they are left alone. */
static struct hc_connection_link *link_new(const struct hc_connection *connection,
                                           struct hc_tls_texts *texts)
{
    grpc_arg room[ARGUMENTS_MAX];
    grpc_channel_args args = {.args = room};
    struct hc_connection_link *link = calloc(1, sizeof *link);
    grpc_channel_credentials *credentials;

    if (!link)
        return NULL;
    link->uses = 1;
    link->texts = *texts;
    *texts = (struct hc_tls_texts){0};
    args_fill(&args, connection);
    credentials = connection->tls.is_wanted ? tls_credentials(&link->texts)
                                            : grpc_insecure_credentials_create();
    link->grpc = grpc_channel_create(connection->address.uri, credentials, &args);
    grpc_channel_credentials_release(credentials);
    return link;
}

static void link_free(struct hc_connection_link *link)
{
    if (link->grpc)
        grpc_channel_destroy(link->grpc);
    hc_tls_texts_clear(&link->texts);
    free(link);
}

/* ---- the links of a connection -------------------------------------------------- */

static struct hc_connection_link *link_take_current(struct hc_connection *connection)
{
    HC_LOCKED(&connection->shared.lock);
    connection->shared.current->uses++;
    return connection->shared.current;
}

/* Whether the files may be others by now. */
static bool link_is_due(struct hc_connection *connection,
                        const struct hc_connection_link *link)
{
    gpr_timespec now = gpr_now(GPR_CLOCK_MONOTONIC);
    bool is_up =
        grpc_channel_check_connectivity_state(link->grpc, 0) == GRPC_CHANNEL_READY;

    HC_LOCKED(&connection->shared.lock);
    if (is_up && gpr_time_cmp(gpr_time_sub(now, connection->shared.looked),
                              gpr_time_from_seconds(FILES_AGE_MAX_S, GPR_TIMESPAN)) < 0)
        return false;
    connection->shared.looked = now;
    return true;
}

/* Puts `next` in the place of `link`, if no other thread was first. Returns what goes. */
static struct hc_connection_link *link_replace(struct hc_connection *connection,
                                               struct hc_connection_link *link,
                                               struct hc_connection_link *next)
{
    HC_LOCKED(&connection->shared.lock);
    if (connection->shared.current != link)
        return next;
    connection->shared.current = next;
    return link;
}

/* Makes a new link current if the files have changed. */
static void link_renew(struct hc_connection *connection, struct hc_connection_link *link)
{
    struct hc_error ignored = {.reason = HC_OK};
    HC_AUTO_VALUE(hc_tls_texts) texts = {0};
    struct hc_connection_link *next;

    if (hc_tls_files_read(&connection->tls, &texts, &ignored) < 0 ||
        hc_tls_texts_is_equal(&texts, &link->texts))
        return;
    next = link_new(connection, &texts);
    if (next)
        hc_connection_drop(connection, link_replace(connection, link, next));
}

struct hc_connection_link *hc_connection_take(struct hc_connection *connection)
{
    struct hc_connection_link *link = link_take_current(connection);

    if (!connection->tls.is_wanted || !link_is_due(connection, link))
        return link;
    link_renew(connection, link);
    hc_connection_drop(connection, link);
    return link_take_current(connection);
}

void hc_connection_drop(struct hc_connection *connection, struct hc_connection_link *link)
{
    bool is_last;

    {
        HC_LOCKED(&connection->shared.lock);
        is_last = --link->uses == 0;
    }
    if (is_last)
        link_free(link);
}

grpc_channel *hc_connection_grpc(const struct hc_connection_link *link)
{
    return link->grpc;
}

const char *hc_connection_flaw(const struct hc_connection_link *link)
{
    return hc_tls_texts_flaw(&link->texts);
}

/* ---- the connection ------------------------------------------------------------- */

static int connection_begin(struct hc_connection *connection,
                            const struct hc_client_options *options, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_tls_texts) texts = {0};

    if (hc_server_address_parse(options->server, &connection->address, err) < 0 ||
        hc_tls_files_init(&connection->tls, options, err) < 0)
        return -1;
    connection->tls.is_wanted |= connection->address.has_tls;
    if (hc_tls_files_read(&connection->tls, &texts, err) < 0)
        return -1;
    grpc_init();
    connection->shared.looked = gpr_now(GPR_CLOCK_MONOTONIC);
    connection->shared.current = link_new(connection, &texts);
    if (connection->shared.current)
        return 0;
    grpc_shutdown();
    return hc_fail_memory(err);
}

struct hc_connection *hc_connection_open(const struct hc_client_options *options,
                                         struct hc_error *err)
{
    HC_AUTO(hc_connection) *connection = calloc(1, sizeof *connection);

    if (!connection) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&connection->shared.lock, NULL);
    return connection_begin(connection, options, err) == 0 ? hc_take(&connection) : NULL;
}

void hc_connection_close(struct hc_connection *connection)
{
    if (!connection)
        return;
    if (connection->shared.current) {
        link_free(connection->shared.current);
        grpc_shutdown();
    }
    hc_tls_files_clear(&connection->tls);
    (void)pthread_mutex_destroy(&connection->shared.lock);
    free(connection);
}

bool hc_connection_has_tls(const struct hc_connection *connection)
{
    return connection->tls.is_wanted;
}

/*
 * gRPC makes progress on a connection only while a thread polls, and a call that fails at
 * once stops polling: a server that came up late would be noticed after many seconds. If
 * an earlier attempt to connect has failed, another one is started at once and given
 * RECONNECT_WAIT_MS.
 */
void hc_connection_await(const struct hc_connection_link *link,
                         grpc_completion_queue *queue, gpr_timespec deadline)
{
    gpr_timespec moment =
        gpr_time_min(deadline,
                     gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                  gpr_time_from_millis(RECONNECT_WAIT_MS, GPR_TIMESPAN)));
    grpc_connectivity_state state = grpc_channel_check_connectivity_state(link->grpc, 1);
    bool has_failed = state == GRPC_CHANNEL_TRANSIENT_FAILURE;
    bool is_in_time = true;

    if (has_failed)
        grpc_channel_reset_connect_backoff(link->grpc);
    while (is_in_time && (state < GRPC_CHANNEL_READY ||
                          (state == GRPC_CHANNEL_TRANSIENT_FAILURE && has_failed))) {
        grpc_channel_watch_connectivity_state(link->grpc, state, moment, queue, queue);
        is_in_time =
            grpc_completion_queue_pluck(queue, queue, gpr_inf_future(GPR_CLOCK_MONOTONIC),
                                        NULL)
                .success;
        state = grpc_channel_check_connectivity_state(link->grpc, 1);
    }
}
