/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lease for an answer: the lease first, then a look at what was answered. A removal
 * that began before the lease was taken has barred the revision (claim/lease_bar.h), or
 * is over, and then the look finds that something is gone; one that begins later finds
 * the lease. The look is a confirmation: the caller has had the answer, and nothing is
 * asked of the Hub.
 */
#include "lease_quota.h"
#include "resolution.h"

#include <base/directory.h>
#include <cache/walk.h>
#include <claim/claim_record.h>
#include <claim/lease.h>
#include <hubcache/lease.h>

#include <inttypes.h>
#include <string.h>

enum { BARRED_PAUSE_MS = 20, BARRED_PAUSES = 250 };

/* The look: 1, 0, -1 as hc_files_look_again(). */
typedef int (*lease_look)(struct hc_resolver *resolver, const void *request,
                          const char *commit, struct hc_error *err);

/* What a request was answered, which caller leases it, and how it is looked at. */
struct answered {
    struct hc_repo repo;
    char commit[HC_COMMIT_SIZE];
    const struct hc_identity *identity; /* borrowed; NULL: anonymous */
    lease_look look;
    const void *request; /* of the look */
};

/* ---- terms ------------------------------------------------------------------------- */

int hc_resolver_check_lease(const struct hc_resolver *resolver,
                            const struct hc_lease_terms *terms, struct hc_error *err)
{
    int64_t max_ms = resolver->settings.max_lease_ms;

    if (terms->duration_ms <= 0)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "options.lease",
                             "the time of a lease must be above 0");
    if (terms->duration_ms > max_ms)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "options.lease",
                             "a lease is for %" PRId64 " seconds at most (--max-lease); "
                             "renew it for as long as the snapshot is used",
                             max_ms / 1000);
    if (terms->pod &&
        (!hc_text_is_utf8(terms->pod) || !hc_text_is_printable(terms->pod) ||
         strlen(terms->pod) >= HC_LEASE_POD_SIZE))
        return hc_fail_field(err, HC_INVALID_OPTIONS, "x-hubcache-pod",
                             "the name of a pod has at most %d bytes of printable UTF-8",
                             HC_LEASE_POD_SIZE - 1);
    return 0;
}

/* ---- taking ------------------------------------------------------------------------ */

/* Waits while another process removes the revision. */
static int lease_take_unbarred(struct hc_resolver *resolver,
                               const struct hc_lease_request *request,
                               struct hc_cancellation *cancellation,
                               struct hc_lease *lease, struct hc_error *err)
{
    for (int i = 0; i < BARRED_PAUSES; i++) {
        int taken = hc_lease_take(resolver->cache, request, lease, err);

        if (taken != 0)
            return taken < 0 ? -1 : 0;
        if (hc_cancellation_sleep(cancellation, BARRED_PAUSE_MS, err) < 0)
            return -1;
    }
    (void)hc_fail(err, HC_BUSY, "commit %.12s of '%s' is being removed; try again",
                  request->commit, request->repo->id);
    err->retry_after_ms = 1000;
    return -1;
}

/* From "<repo folder>/snapshots/<commit>[/…]". */
static int answered_parse(struct answered *answered, const char *cache_path,
                          struct hc_error *err)
{
    const char *commit =
        cache_path ? hc_cache_parse_snapshot_path(cache_path, &answered->repo) : NULL;

    if (commit &&
        hc_format(answered->commit, sizeof answered->commit, "%.*s",
                  (int)strcspn(commit, "/"), commit) > 0 &&
        hc_commit_is_valid(answered->commit))
        return 0;
    return hc_fail_field(err, HC_INVALID_OPTIONS, "cache_path",
                         "'%.200s' is no path of a snapshot: it cannot be leased",
                         cache_path ? cache_path : "");
}

static int lease_take(struct hc_resolver *resolver, const struct answered *answered,
                      const struct hc_lease_terms *terms, struct hc_lease *lease,
                      struct hc_error *err)
{
    const struct hc_identity *identity = answered->identity;
    const struct hc_lease_request request = {.repo = &answered->repo,
                                             .commit = answered->commit,
                                             .kind = identity ? identity->kind : NULL,
                                             .caller = identity ? identity->name : NULL,
                                             .pod = terms->pod,
                                             .duration_ms = terms->duration_ms};

    if (hc_resolver_check_lease(resolver, terms, err) < 0 ||
        hc_lease_quota_add(resolver->lease_quota, resolver->cache, identity,
                           hc_monotonic_ms(), err) < 0)
        return -1;
    if (lease_take_unbarred(resolver, &request, terms->cancellation, lease, err) == 0)
        return 0;
    hc_lease_quota_remove(resolver->lease_quota, identity);
    return -1;
}

/* What the caller was answered is not there any more: so says a lookup that must not ask
 * the Hub. */
static bool answer_is_gone(int found, const struct hc_error *err)
{
    return found == 0 || (found < 0 && (err->reason == HC_NOT_CACHED ||
                                        err->reason == HC_ENTRY_NOT_FOUND ||
                                        err->reason == HC_INCOMPLETE_SNAPSHOT ||
                                        err->reason == HC_REVISION_NOT_FOUND));
}

static void lease_give_back(struct hc_resolver *resolver, const struct hc_lease *lease,
                            const struct hc_identity *identity)
{
    struct hc_error unused;

    (void)hc_lease_release(resolver->cache, lease->id, &unused);
    hc_lease_quota_remove(resolver->lease_quota, identity);
}

/* A removal may have been another host's: what this one has read of the directories
 * before must not answer the look. A walk opens each of them. */
static void answered_refresh(const struct answered *answered,
                             const struct hc_cache *cache)
{
    char path[PATH_MAX];
    struct hc_error unused;

    (void)hc_format(path, sizeof path, "%s/blobs", answered->repo.folder);
    hc_directory_refresh(hc_cache_fd(cache), path);
    if (hc_cache_snapshot_path(path, &answered->repo, answered->commit, NULL, &unused) <
        0)
        return;
    hc_directory_refresh(hc_cache_fd(cache), path);

    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_files(cache, &answered->repo, answered->commit);

    while (hc_directory_walk_next(&walk))
        continue;
}

static int answer_lease(struct hc_resolver *resolver, const struct answered *answered,
                        const struct hc_lease_terms *terms, struct hc_lease *lease,
                        struct hc_error *err)
{
    struct hc_error failure = {0};
    int found;

    if (lease_take(resolver, answered, terms, lease, err) < 0)
        return -1;
    answered_refresh(answered, resolver->cache);
    found = answered->look(resolver, answered->request, answered->commit, &failure);
    if (found == 1) {
        (void)atomic_fetch_add(&resolver->leases.taken, 1);
        (void)atomic_fetch_add(&resolver->leases.held, 1);
        return 1;
    }
    lease_give_back(resolver, lease, answered->identity);
    if (answer_is_gone(found, &failure))
        return 0;
    *err = failure;
    return -1;
}

/* Of the options of a request, what the look needs. */
static struct hc_fetch_options look_options(const struct hc_fetch_options *options)
{
    return (struct hc_fetch_options){.local_files_only = true,
                                     .caller = options->caller,
                                     .identity = options->identity};
}

static int files_look(struct hc_resolver *resolver, const void *request,
                      const char *commit, struct hc_error *err)
{
    return hc_files_look_again(resolver, request, commit, err);
}

int hc_resolver_lease_files(struct hc_resolver *resolver,
                            const struct hc_files_request *request,
                            const struct hc_lease_terms *terms, struct hc_lease *lease,
                            struct hc_error *err)
{
    struct hc_files_request look = *request;
    struct answered answered = {.identity = request->options.identity,
                                .look = files_look,
                                .request = &look};

    look.options = look_options(&request->options);
    if (answered_parse(&answered, terms->cache_path, err) < 0)
        return -1;
    return answer_lease(resolver, &answered, terms, lease, err);
}

int hc_resolver_lease_file(struct hc_resolver *resolver,
                           const struct hc_file_request *request,
                           const struct hc_lease_terms *terms, struct hc_lease *lease,
                           struct hc_error *err)
{
    const struct hc_files_request one = {.repo = request->repo,
                                         .filenames = &request->filename,
                                         .filename_count = 1,
                                         .subfolder = request->subfolder,
                                         .options = request->options};

    return hc_resolver_lease_files(resolver, &one, terms, lease, err);
}

static int snapshot_look(struct hc_resolver *resolver, const void *request,
                         const char *commit, struct hc_error *err)
{
    return hc_snapshot_look_again(resolver, request, commit, err);
}

int hc_resolver_lease_snapshot(struct hc_resolver *resolver,
                               const struct hc_snapshot_request *request,
                               const struct hc_lease_terms *terms, struct hc_lease *lease,
                               struct hc_error *err)
{
    struct hc_snapshot_request look = *request;
    struct answered answered = {.identity = request->options.identity,
                                .look = snapshot_look,
                                .request = &look};

    look.options = look_options(&request->options);
    look.list_files = false;
    look.progress = NULL;
    if (answered_parse(&answered, terms->cache_path, err) < 0)
        return -1;
    return answer_lease(resolver, &answered, terms, lease, err);
}

/* ---- one lease by its id ----------------------------------------------------------- */

int hc_resolver_find_lease(const struct hc_resolver *resolver, const char *id,
                           struct hc_lease *lease, struct hc_error *err)
{
    return hc_lease_find(resolver->cache, id, lease, err);
}

bool hc_lease_is_of(const struct hc_lease *lease, const struct hc_identity *identity)
{
    return strcmp(lease->kind, identity ? identity->kind : "") == 0 &&
           strcmp(lease->caller, identity ? identity->name : "") == 0;
}

int hc_resolver_renew_lease(struct hc_resolver *resolver, const char *id,
                            const struct hc_lease_terms *terms, struct hc_lease *lease,
                            struct hc_error *err)
{
    int found;

    if (hc_resolver_check_lease(resolver, terms, err) < 0)
        return -1;
    found = hc_lease_renew(resolver->cache, id, terms->duration_ms, lease, err);
    if (found >= 0)
        (void)atomic_fetch_add(found == 1 ? &resolver->leases.renewed
                                          : &resolver->leases.lost,
                               1);
    return found;
}

/* The identity of a lease that is read from the volume. */
static struct hc_identity lease_identity(const struct hc_lease *lease)
{
    return (struct hc_identity){.kind = lease->kind, .name = lease->caller};
}

int hc_resolver_release_lease(struct hc_resolver *resolver, const char *id,
                              struct hc_error *err)
{
    struct hc_lease lease;
    int was_held = hc_lease_find(resolver->cache, id, &lease, err);
    struct hc_identity identity = lease_identity(&lease);
    int released = was_held < 0 ? -1 : hc_lease_release(resolver->cache, id, err);

    if (released != 1 || was_held != 1)
        return released;
    hc_lease_quota_remove(resolver->lease_quota, &identity);
    (void)atomic_fetch_add(&resolver->leases.released, 1);
    (void)atomic_fetch_sub(&resolver->leases.held, 1);
    return 1;
}

int hc_resolver_may_end_lease(struct hc_resolver *resolver, const struct hc_lease *lease,
                              const struct hc_identity *identity, struct hc_error *err)
{
    struct hc_repo repo;

    if (hc_lease_is_of(lease, identity))
        return 0;
    if (hc_repo_init(&repo, lease->repo_type, lease->repo_id, err) < 0)
        return -1;
    return hc_policy_may_administer(&resolver->policy, identity, &repo, err);
}

/* ---- counts ------------------------------------------------------------------------ */

void hc_resolver_count_leases(struct hc_resolver *resolver,
                              struct hc_lease_counts *counts)
{
    int64_t held = atomic_load(&resolver->leases.held);

    *counts = (struct hc_lease_counts){
        .held = held > 0 ? (uint64_t)held : 0,
        .taken = atomic_load(&resolver->leases.taken),
        .renewed = atomic_load(&resolver->leases.renewed),
        .released = atomic_load(&resolver->leases.released),
        .expired = atomic_load(&resolver->leases.expired),
        .lost = atomic_load(&resolver->leases.lost),
    };
}

void hc_resolver_sweep_leases(struct hc_resolver *resolver, int64_t now_ms)
{
    unsigned held;
    unsigned removed = hc_lease_sweep(resolver->cache, now_ms, &held);

    (void)atomic_fetch_add(&resolver->leases.expired, removed);
    atomic_store(&resolver->leases.held, held);
}
