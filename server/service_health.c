/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc.health.v1 (grpc/health/v1/health.proto, gRPC's health checking protocol).
 *
 * A watcher is listed when its call starts, gets the state at once and then each change.
 * It leaves the list when its caller leaves, or when the server stops: then the state is
 * its last message, and its call ends, although the protocol lets a watch continue,
 * because an open call would keep the server from ending.
 *
 * The lock guards the state and the list. Messages are sent under it, so that a watcher
 * gets them in the sequence of the changes; to send only starts an operation of gRPC.
 * Calls are finished without it, by the thread that has taken the watcher off the list.
 */
#include "service_health.h"

#include "service_cache.h"
#include "service_resolver.h"

#include <base/error.h>

#include <grpc/health/v1/health.pb-c.h>
#include <pthread.h>
#include <string.h>

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

enum { LEFT_CODE = HC_STATUS_CANCELLED };

/* What a service needs to be SERVING, one thing more from one to the next. */
enum health_need { NEEDS_NOTHING, NEEDS_NO_STOP, NEEDS_VOLUME };

/* The empty name is the server as a whole, as the protocol says. */
static const struct health_name {
    const char *name;
    enum health_need need;
} names[] = {
    {"", NEEDS_VOLUME},
    {HC_RESOLVER_SERVICE, NEEDS_VOLUME},
    {HC_CACHE_SERVICE, NEEDS_VOLUME},
    {"grpc.health.v1.Health", NEEDS_NO_STOP},
    {"grpc.reflection.v1.ServerReflection", NEEDS_NO_STOP},
    {"grpc.reflection.v1alpha.ServerReflection", NEEDS_NO_STOP},
    {"liveness", NEEDS_NOTHING},
};

/* In the call's scratch memory. */
struct watcher {
    struct hc_health_service *health;
    struct hc_rpc_call *call;
    const struct health_name *name; /* NULL: unknown */
    struct watcher *next, **here;   /* `here` NULL: not on the list */
};

_Static_assert(sizeof(struct watcher) <= HC_RPC_SCRATCH,
               "a watcher lives in the scratch memory of its call");

struct hc_health_service {
    struct {
        pthread_mutex_t lock;
        bool is_stopped, is_volume_unusable;
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

/* NULL: out of memory. */
static struct hc_answer *health_answer(int status)
{
    Grpc__Health__V1__HealthCheckResponse message = health_response(status);

    return hc_answer_new(&message.base);
}

/* NULL: the service is unknown. */
static const struct health_name *health_name_find(const ProtobufCMessage *message)
{
    const Grpc__Health__V1__HealthCheckRequest *request = (const void *)message;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(request->service, names[i].name) == 0)
            return &names[i];
    }
    return NULL;
}

/* The lock is held. */
static int health_status(const struct hc_health_service *health,
                         const struct health_name *name)
{
    if (!name)
        return STATUS(SERVICE_UNKNOWN);
    if ((health->shared.is_stopped && name->need >= NEEDS_NO_STOP) ||
        (health->shared.is_volume_unusable && name->need >= NEEDS_VOLUME))
        return STATUS(NOT_SERVING);
    return STATUS(SERVING);
}

static int health_status_now(struct hc_health_service *health,
                             const struct health_name *name)
{
    HC_LOCKED(&health->shared.lock);

    return health_status(health, name);
}

static void health_check(void *ctx, struct hc_rpc_call *call,
                         const ProtobufCMessage *message)
{
    const struct health_name *name = health_name_find(message);
    Grpc__Health__V1__HealthCheckResponse answer;

    if (!name) {
        HC_AUTO(hc_answer) *unknown =
            hc_answer_new_failure(HC_STATUS_NOT_FOUND, HC_OK, "unknown service", NULL);

        hc_rpc_call_finish(call, unknown);
        return;
    }
    answer = health_response(health_status_now(ctx, name));
    hc_rpc_call_reply(call, &answer.base);
}

/* The lock is held. If memory is short, the watcher gets to know the next change only. */
static void watcher_send(struct watcher *watcher)
{
    HC_AUTO(hc_answer) *answer =
        health_answer(health_status(watcher->health, watcher->name));

    if (answer)
        hc_rpc_call_send(watcher->call, answer);
}

/* Sends the state. False: the service has stopped, and the watcher is not listed. */
static bool watcher_add(struct watcher *watcher)
{
    struct hc_health_service *health = watcher->health;
    HC_LOCKED(&health->shared.lock);

    if (health->shared.is_stopped)
        return false;
    watcher->next = health->shared.watchers;
    watcher->here = &health->shared.watchers;
    if (watcher->next)
        watcher->next->here = &watcher->next;
    health->shared.watchers = watcher;
    watcher_send(watcher);
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

/* The last message of a watcher that is not listed, or no more. */
static void watcher_finish(struct watcher *watcher)
{
    HC_AUTO(hc_answer) *last =
        health_answer(health_status_now(watcher->health, watcher->name));

    hc_rpc_call_finish(watcher->call, last);
}

/*
 * Check fails for an unknown service, Watch does not: it may become known. From
 * watcher_add() on, hc_health_service_stop() on the main thread may finish the call.
 */
static void health_watch(void *ctx, struct hc_rpc_call *call,
                         const ProtobufCMessage *message)
{
    struct watcher *watcher = hc_rpc_call_scratch(call);

    *watcher =
        (struct watcher){.health = ctx, .call = call, .name = health_name_find(message)};
    hc_rpc_call_park(call, watcher_leave);
    if (!watcher_add(watcher))
        watcher_finish(watcher);
}

bool hc_health_service_set_volume(struct hc_health_service *health, bool is_usable)
{
    HC_LOCKED(&health->shared.lock);

    if (health->shared.is_volume_unusable == !is_usable)
        return false;
    health->shared.is_volume_unusable = !is_usable;
    for (struct watcher *each = health->shared.watchers; each; each = each->next) {
        if (each->name && each->name->need == NEEDS_VOLUME)
            watcher_send(each);
    }
    return true;
}

void hc_health_service_stop(struct hc_health_service *health)
{
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

        watcher_finish(watcher);
        watcher = next;
    }
}

static const struct hc_rpc_method methods[] = {
    {"/grpc.health.v1.Health/Check", &grpc__health__v1__health_check_request__descriptor,
     health_check, HC_RPC_UNARY, NULL},
    {"/grpc.health.v1.Health/Watch", &grpc__health__v1__health_check_request__descriptor,
     health_watch, HC_RPC_SERVER_STREAMING, NULL},
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
