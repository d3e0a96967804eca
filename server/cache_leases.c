/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lease is found by its id, which says where its file is; then the caller's right to it
 * is checked. The id itself is a secret, so no message and no line of the log has it.
 */
#include "cache_leases.h"

#include "cache_codec.h"
#include "cached_target.h"
#include "codec.h"

#include <base/error.h>
#include <base/text.h>

#include <hubcache/lease.h>

HC_DEFINE_AUTO_VALUE(hc_leases, hc_leases_clear)

/* For the log and for a failure: which repo and commit the lease is of. */
static void call_set_subject(struct hc_blocking_call *call, const struct hc_lease *lease)
{
    const struct hc_target target = {.id = lease->repo_id,
                                     .type = lease->repo_type,
                                     .revision = lease->commit_hash};

    hc_request_set_target(hc_blocking_call_request(call), &target, NULL);
}

/* 1; 0: it has ended. */
static int call_find_lease(const struct hc_cache_service *service,
                           struct hc_blocking_call *call, const char *id,
                           struct hc_lease *lease, struct hc_error *err)
{
    int found = hc_resolver_find_lease(service->resolver, id, lease, err);

    if (found >= 0)
        call_set_subject(call, lease);
    return found;
}

static int fail_ended(const struct hc_lease *lease, struct hc_error *err)
{
    return hc_fail(err, HC_NOT_CACHED,
                   "the lease of commit %.12s of '%s' has ended, and what it protected "
                   "may be gone: resolve again with a new lease",
                   lease->commit_hash, lease->repo_id);
}

static int fail_of_other(const struct hc_lease *lease, struct hc_error *err)
{
    (void)hc_fail(err, HC_POLICY_DENIED,
                  "the lease of commit %.12s of '%s' is another caller's",
                  lease->commit_hash, lease->repo_id);
    (void)hc_format(err->rule, sizeof err->rule, "lease");
    return -1;
}

static int encode_lease(const struct hc_lease *lease, struct hc_arena *arena,
                        Hubcache__V1__Lease *message, struct hc_error *err)
{
    hubcache__v1__lease__init(message);
    message->lease_id = hc_unconst(lease->id);
    message->repo_id = hc_unconst(lease->repo_id);
    message->repo_type = (Hubcache__V1__RepoType)lease->repo_type;
    message->commit_hash = hc_unconst(lease->commit_hash);
    message->caller = hc_unconst(lease->caller);
    message->pod = hc_unconst(lease->pod);
    if (hc_encode_time(lease->since_ms, arena, &message->since, err) < 0)
        return -1;
    return hc_encode_time(lease->until_ms, arena, &message->until, err);
}

int hc_cache_renew_lease(void *ctx, struct hc_blocking_call *call,
                         const ProtobufCMessage *message, struct hc_error *err)
{
    const struct hc_cache_service *service = ctx;
    const Hubcache__V1__RenewLeaseRequest *request = (const void *)message;
    const struct hc_fetch_options options = hc_blocking_call_options(call);
    Hubcache__V1__RenewLeaseResponse response;
    struct hc_lease_terms terms = {0};
    Hubcache__V1__Lease encoded;
    struct hc_lease lease;
    int found;

    if (request->lease &&
        hc_decode_duration(request->lease, "lease", &terms.duration_ms, err) < 0)
        return -1;
    if (hc_resolver_check_lease(service->resolver, &terms, err) < 0)
        return -1;
    found = call_find_lease(service, call, request->lease_id, &lease, err);
    if (found == 1 && !hc_lease_is_of(&lease, options.identity))
        return fail_of_other(&lease, err);
    if (found >= 0)
        found = hc_resolver_renew_lease(service->resolver, request->lease_id, &terms,
                                        &lease, err);
    if (found < 1)
        return found < 0 ? -1 : fail_ended(&lease, err);
    hubcache__v1__renew_lease_response__init(&response);
    response.lease = &encoded;
    if (encode_lease(&lease, hc_blocking_call_arena(call), &encoded, err) < 0)
        return -1;
    return hc_blocking_call_reply(call, &response.base, err);
}

int hc_cache_release_lease(void *ctx, struct hc_blocking_call *call,
                           const ProtobufCMessage *message, struct hc_error *err)
{
    const struct hc_cache_service *service = ctx;
    const Hubcache__V1__ReleaseLeaseRequest *request = (const void *)message;
    const struct hc_fetch_options options = hc_blocking_call_options(call);
    Hubcache__V1__ReleaseLeaseResponse response;
    struct hc_lease lease;
    int found = call_find_lease(service, call, request->lease_id, &lease, err);

    if (found < 0 || (found == 1 && hc_resolver_may_end_lease(service->resolver, &lease,
                                                              options.identity, err) < 0))
        return -1;
    if (found == 1 &&
        hc_resolver_release_lease(service->resolver, request->lease_id, err) < 0)
        return -1;
    hubcache__v1__release_lease_response__init(&response);
    return hc_blocking_call_reply(call, &response.base, err);
}

static int encode_leases(const struct hc_leases *leases, struct hc_arena *arena,
                         Hubcache__V1__ListLeasesResponse *response, struct hc_error *err)
{
    Hubcache__V1__Lease *messages;

    hubcache__v1__list_leases_response__init(response);
    messages = hc_arena_take(arena, (leases->count + 1) * sizeof *messages);
    response->leases =
        hc_arena_take(arena, (leases->count + 1) * sizeof *response->leases);
    if (!messages || !response->leases)
        return hc_fail_memory(err);
    for (size_t i = 0; i < leases->count; i++) {
        if (encode_lease(&leases->items[i], arena, &messages[i], err) < 0)
            return -1;
        response->leases[i] = &messages[i];
    }
    response->n_leases = leases->count;
    if (leases->next_page_token)
        response->next_page_token = leases->next_page_token;
    return 0;
}

int hc_cache_list_leases(void *ctx, struct hc_blocking_call *call,
                         const ProtobufCMessage *message, struct hc_error *err)
{
    const struct hc_cache_service *service = ctx;
    const Hubcache__V1__ListLeasesRequest *asked = (const void *)message;
    struct hc_leases_request request = {.mine = asked->mine,
                                        .page_size = asked->page_size,
                                        .page_token = asked->page_token,
                                        .options = hc_blocking_call_options(call)};
    HC_AUTO_VALUE(hc_leases) leases = {0};
    Hubcache__V1__ListLeasesResponse response;

    if (hc_decode_cached_target(asked->repo_id, asked->repo_type, asked->revision,
                                &request.repo, err) < 0 ||
        (*asked->repo_id && hc_cached_target_take(service, call, &request.repo, err) < 0))
        return -1;
    if (hc_resolver_list_leases(service->resolver, &request, &leases, err) < 0 ||
        encode_leases(&leases, hc_blocking_call_arena(call), &response, err) < 0)
        return -1;
    return hc_blocking_call_reply(call, &response.base, err);
}
