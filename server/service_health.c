/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc.health.v1 (grpc/health/v1/health.proto, gRPC's health checking protocol). The
 * server is SERVING until it stops, and NOT_SERVING from then on.
 *
 * A watcher is listed when its call starts, and gets the state at once. It leaves the
 * list when its caller leaves, or when the server stops: then NOT_SERVING is its last
 * message, and its call ends, although the protocol lets a watch continue, because an
 * open call would keep the server from ending. The lock guards the list; calls are
 * finished without it, by the thread that has taken the watcher off the list.
 */
#include "service_health.h"

#include "service_resolver.h"

#include <base/error.h>

#include <grpc/health/v1/health.pb-c.h>
#include <pthread.h>
#include <string.h>

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

enum { LEFT_CODE = HC_STATUS_CANCELLED };

/* In the call's scratch memory. */
struct watcher {
    struct hc_health_service *health;
    struct hc_rpc_call *call;
    struct watcher *next, **here; /* `here` NULL: not on the list */
};

_Static_assert(sizeof(struct watcher) <= HC_RPC_SCRATCH,
               "a watcher lives in the scratch memory of its call");

struct hc_health_service {
    struct {
        pthread_mutex_t lock;
        bool is_stopped;
        struct watcher *watchers;
    } shared;
};

static Grpc__Health__V1__HealthCheckResponse health_response(int status)
{
    Grpc__Health__V1__HealthCheckResponse message;

    grpc__health__v1__health_check_response__init(&message);
    message.status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)status;
    return message;
}

/* The empty name is the server as a whole, as the protocol says. */
static bool service_is_known(const ProtobufCMessage *message)
{
    const Grpc__Health__V1__HealthCheckRequest *request = (const void *)message;

    return *request->service == '\0' ||
           strcmp(request->service, HC_RESOLVER_SERVICE) == 0;
}

static bool health_is_stopped(struct hc_health_service *health)
{
    HC_LOCKED(&health->shared.lock);

    return health->shared.is_stopped;
}

static void health_check(void *ctx, struct hc_rpc_call *call,
                         const ProtobufCMessage *message)
{
    HC_AUTO(hc_answer) *unknown = NULL;
    Grpc__Health__V1__HealthCheckResponse answer;

    if (!service_is_known(message)) {
        unknown =
            hc_answer_new_failure(HC_STATUS_NOT_FOUND, HC_OK, "unknown service", NULL);
        hc_rpc_call_finish(call, unknown);
        return;
    }
    answer =
        health_response(health_is_stopped(ctx) ? STATUS(NOT_SERVING) : STATUS(SERVING));
    hc_rpc_call_reply(call, &answer.base);
}

/* False: the service has stopped, and the watcher is not on the list. */
static bool watcher_add(struct hc_health_service *health, struct watcher *watcher)
{
    HC_LOCKED(&health->shared.lock);

    if (health->shared.is_stopped)
        return false;
    watcher->next = health->shared.watchers;
    watcher->here = &health->shared.watchers;
    if (watcher->next)
        watcher->next->here = &watcher->next;
    health->shared.watchers = watcher;
    return true;
}

/* False: hc_health_service_stop() has taken it off the list, and finishes its call. */
static bool watcher_remove(struct watcher *watcher)
{
    HC_LOCKED(&watcher->health->shared.lock);

    if (!watcher->here)
        return false;
    *watcher->here = watcher->next;
    if (watcher->next)
        watcher->next->here = watcher->here;
    watcher->here = NULL;
    return true;
}

static void watcher_leave(struct hc_rpc_call *call)
{
    struct watcher *watcher = hc_rpc_call_scratch(call);
    HC_AUTO(hc_answer) *end = NULL;

    if (!watcher_remove(watcher))
        return;
    end = hc_answer_new_failure(LEFT_CODE, HC_CANCELLED, "the watcher left", NULL);
    hc_rpc_call_finish(call, end);
}

/*
 * From watcher_add() on, hc_health_service_stop() on the main thread may finish the call;
 * to send to a finished call is harmless.
 */
static void health_watch(void *ctx, struct hc_rpc_call *call,
                         const ProtobufCMessage *message)
{
    struct watcher *watcher = hc_rpc_call_scratch(call);
    /* Check fails for an unknown service, Watch does not: it may become known. */
    int status = service_is_known(message) ? STATUS(SERVING) : STATUS(SERVICE_UNKNOWN);
    Grpc__Health__V1__HealthCheckResponse now;
    HC_AUTO(hc_answer) *answer = NULL;
    bool goes_on;

    *watcher = (struct watcher){.health = ctx, .call = call};
    hc_rpc_call_park(call, watcher_leave);
    goes_on = watcher_add(ctx, watcher);
    now = health_response(goes_on ? status : STATUS(NOT_SERVING));
    answer = hc_answer_new(&now.base);
    if (!goes_on)
        hc_rpc_call_finish(call, answer);
    else if (answer)
        hc_rpc_call_send(call, answer);
}

void hc_health_service_stop(struct hc_health_service *health)
{
    Grpc__Health__V1__HealthCheckResponse last = health_response(STATUS(NOT_SERVING));
    HC_AUTO(hc_answer) *answer = hc_answer_new(&last.base);
    struct watcher *watcher;

    {
        HC_LOCKED(&health->shared.lock);

        health->shared.is_stopped = true;
        watcher = hc_take(&health->shared.watchers);
        for (struct watcher *each = watcher; each; each = each->next)
            each->here = NULL;
    }
    while (watcher) {
        struct watcher *next = watcher->next;

        hc_rpc_call_finish(watcher->call, answer);
        watcher = next;
    }
}

static const struct hc_rpc_method methods[] = {
    {"/grpc.health.v1.Health/Check", &grpc__health__v1__health_check_request__descriptor,
     health_check, HC_RPC_UNARY},
    {"/grpc.health.v1.Health/Watch", &grpc__health__v1__health_check_request__descriptor,
     health_watch, HC_RPC_SERVER_STREAMING},
};

struct hc_health_service *hc_health_service_new(struct hc_error *err)
{
    struct hc_health_service *health = calloc(1, sizeof *health);

    if (!health) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&health->shared.lock, NULL);
    return health;
}

void hc_health_service_free(struct hc_health_service *health)
{
    if (!health)
        return;
    (void)pthread_mutex_destroy(&health->shared.lock);
    free(health);
}

int hc_health_service_serve(struct hc_health_service *health, struct hc_rpc *rpc,
                            struct hc_error *err)
{
    return hc_rpc_add(rpc, methods, sizeof methods / sizeof *methods, health, err);
}
