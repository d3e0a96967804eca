/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of methods. To add one: a row here, and its function, a hc_blocking_fn, in
 * the file of its noun, cache_<noun>.c. Each message is the request of one method alone.
 */
#include "service_cache.h"

#include "cache_eviction.h"
#include "cache_inventory.h"
#include "cache_leases.h"
#include "cache_policy.h"
#include "cache_prefetch.h"
#include "cache_removal.h"
#include "cache_verification.h"

#include <base/error.h>

#include <assert.h>
#include <hubcache/v1/cache.pb-c.h>

#define PATH(name) "/" HC_CACHE_SERVICE "/" name

/* Row of a method that is called as its function and the message of its request are. */
#define ROW(method, name, kind)                                                          \
    {PATH(method), &hubcache__v1__##name##_request__descriptor, hc_cache_##name,         \
     HC_RPC_##kind}

/* In the sequence of the contract. */
static const struct hc_blocking_method methods[] = {
    ROW("ListRepos", list_repos, UNARY),
    ROW("ListRevisions", list_revisions, UNARY),
    ROW("ListFiles", list_files, UNARY),
    ROW("GetUsage", get_usage, UNARY),
    ROW("DeleteRevisions", delete_revisions, UNARY),
    ROW("Prune", prune, UNARY),
    ROW("Evict", evict, UNARY),
    ROW("Pin", pin, UNARY),
    ROW("Unpin", unpin, UNARY),
    ROW("RenewLease", renew_lease, UNARY),
    ROW("ReleaseLease", release_lease, UNARY),
    ROW("ListLeases", list_leases, UNARY),
    ROW("Verify", verify, SERVER_STREAMING),
    ROW("TestPolicy", test_policy, UNARY),
};

enum { METHODS = sizeof methods / sizeof *methods };

/* The edge knows the method, whose row has the message's type. */
static void service_start(void *ctx, struct hc_rpc_call *call,
                          const ProtobufCMessage *message)
{
    struct hc_cache_service *service = ctx;

    for (size_t i = 0; i < METHODS; i++) {
        if (methods[i].request == message->descriptor) {
            hc_blocking_call_start(service->workers, call, &methods[i], service);
            return;
        }
    }
    assert(false);
}

static void service_start_prefetch(void *ctx, struct hc_rpc_call *call,
                                   const ProtobufCMessage *message)
{
    const struct hc_cache_service *service = ctx;

    (void)message;
    hc_prefetches_start(service->prefetches, call);
}

struct hc_cache_service *hc_cache_service_new(struct hc_resolver *resolver,
                                              struct hc_workers *workers,
                                              struct hc_verify_counts *verify_counts,
                                              struct hc_error *err)
{
    HC_AUTO(hc_cache_service) *service = calloc(1, sizeof *service);

    if (!service) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    service->resolver = resolver;
    service->workers = workers;
    service->verify_counts = verify_counts;
    service->prefetches = hc_prefetches_open(resolver, err);
    return service->prefetches ? hc_take(&service) : NULL;
}

void hc_cache_service_set_audit(struct hc_cache_service *service, struct hc_audit *audit)
{
    hc_prefetches_set_audit(service->prefetches, audit);
}

void hc_cache_service_free(struct hc_cache_service *service)
{
    if (!service)
        return;
    hc_prefetches_close(service->prefetches);
    free(service);
}

int hc_cache_service_serve(struct hc_cache_service *service, struct hc_rpc *rpc,
                           struct hc_error *err)
{
    for (size_t i = 0; i < METHODS; i++)
        service->rows[i] = (struct hc_rpc_method){.path = methods[i].path,
                                                  .request = methods[i].request,
                                                  .start = service_start,
                                                  .kind = methods[i].kind};
    service->rows[METHODS] =
        (struct hc_rpc_method){.path = PATH("Prefetch"),
                               .request = &hubcache__v1__prefetch_request__descriptor,
                               .start = service_start_prefetch,
                               .kind = HC_RPC_SERVER_STREAMING};
    return hc_rpc_add(rpc, service->rows, METHODS + 1, service, err);
}
