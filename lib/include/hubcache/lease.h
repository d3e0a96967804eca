/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lease says that a caller uses a snapshot until a time: until then nothing of hubcache
 * removes the snapshot's files. It is a file on the cache volume, so that every replica
 * sees it, and it ends by itself.
 *
 * A caller resolves, and then takes a lease of what was answered. A lease is only given
 * while the answer is still there:
 *
 *     do {
 *         hc_resolve_snapshot(resolver, &request, NULL, &snapshot, &err);
 *         terms.cache_path = snapshot.cache_path;
 *         leased = hc_resolver_lease_snapshot(resolver, &request, &terms, &lease, &err);
 *     } while (leased == 0);
 *
 * All functions but those that say so block on the volume. Requests and terms are
 * borrowed for the call. Callable from any thread.
 */
#ifndef HUBCACHE_LEASE_H
#define HUBCACHE_LEASE_H

#include <hubcache/resolver.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    HC_LEASE_ID_SIZE = 304,     /* bytes, with the NUL: here and below */
    HC_LEASE_KIND_SIZE = 16,    /* of what proved the caller's identity */
    HC_LEASE_CALLER_SIZE = 513, /* of the caller's name */
    HC_LEASE_POD_SIZE = 254     /* of what the client calls itself */
};

/* A value, copyable. */
struct hc_lease {
    char id[HC_LEASE_ID_SIZE]; /* an opaque text, and a secret of the caller */
    char repo_id[201];
    enum hc_repo_type repo_type;
    char commit_hash[41];
    char kind[HC_LEASE_KIND_SIZE];     /* hc_identity.kind; "": anonymous */
    char caller[HC_LEASE_CALLER_SIZE]; /* hc_identity.name */
    char pod[HC_LEASE_POD_SIZE];
    int64_t since_ms; /* milliseconds since the epoch by the volume's clock */
    int64_t until_ms;
};

struct hc_lease_terms {
    int64_t duration_ms;    /* Required: from now on, above 0; at most
                               hc_settings.max_lease_ms */
    const char *cache_path; /* Required to take a lease: of the answer, or of a file */
    const char *pod;        /* Optional: what the client calls itself, printable UTF-8 of
                               fewer than HC_LEASE_POD_SIZE bytes */
    struct hc_cancellation *cancellation; /* Optional. */
};

/*
 * -1 when no lease may have these terms, without I/O: INVALID_OPTIONS. The functions
 * below check them, too.
 */
HC_PUBLIC int hc_resolver_check_lease(const struct hc_resolver *resolver,
                                      const struct hc_lease_terms *terms,
                                      struct hc_error *err);

/*
 * Take a lease, for the caller of the request, of the commit that was answered, and look
 * whether all that the request asks for is there: 1 and the lease. 0: something was
 * removed before the lease was taken; there is none, and the caller resolves again. -1:
 * POLICY_DENIED with the rule "leases-per-caller"; CACHE_READ_ONLY, NO_SPACE or CACHE_IO:
 * the volume takes no lease; BUSY: the revision is being removed for longer than a few
 * seconds; INVALID_OPTIONS, also for a path that is none of the cache.
 */
HC_PUBLIC int hc_resolver_lease_file(struct hc_resolver *resolver,
                                     const struct hc_file_request *request,
                                     const struct hc_lease_terms *terms,
                                     struct hc_lease *lease, struct hc_error *err);
HC_PUBLIC int hc_resolver_lease_files(struct hc_resolver *resolver,
                                      const struct hc_files_request *request,
                                      const struct hc_lease_terms *terms,
                                      struct hc_lease *lease, struct hc_error *err);
HC_PUBLIC int hc_resolver_lease_snapshot(struct hc_resolver *resolver,
                                         const struct hc_snapshot_request *request,
                                         const struct hc_lease_terms *terms,
                                         struct hc_lease *lease, struct hc_error *err);

/* Finds a lease, of whatever caller: 1 and the lease; 0: it has ended; -1:
 * INVALID_OPTIONS (field "lease_id"): `id` is none; CACHE_IO. */
HC_PUBLIC int hc_resolver_find_lease(const struct hc_resolver *resolver, const char *id,
                                     struct hc_lease *lease, struct hc_error *err);

/*
 * Whether a lease is the identity's own (NULL: anonymous callers, which are one): the
 * kind and the name are equal. No I/O.
 */
HC_PUBLIC bool hc_lease_is_of(const struct hc_lease *lease,
                              const struct hc_identity *identity);

/* Gives a lease a new end, `terms->duration_ms` from now; whose it is, the caller has
 * checked. Returns as hc_resolver_find_lease(), and INVALID_OPTIONS for the terms. */
HC_PUBLIC int hc_resolver_renew_lease(struct hc_resolver *resolver, const char *id,
                                      const struct hc_lease_terms *terms,
                                      struct hc_lease *lease, struct hc_error *err);

/* Ends a lease, likewise: 1; 0: it has ended before; -1. */
HC_PUBLIC int hc_resolver_release_lease(struct hc_resolver *resolver, const char *id,
                                        struct hc_error *err);

/* May the caller end the lease? Its own, and those of repos that it may administer. 0, or
 * -1 with POLICY_DENIED. No I/O. */
HC_PUBLIC int hc_resolver_may_end_lease(struct hc_resolver *resolver,
                                        const struct hc_lease *lease,
                                        const struct hc_identity *identity,
                                        struct hc_error *err);

/* Which leases; zero-initialised: all that the caller, `options.identity`, may see. */
struct hc_leases_request {
    struct hc_target repo; /* Optional; its revision is a commit, or a ref of the cache */
    bool mine;             /* only those of the caller itself */
    unsigned page_size;    /* Optional: at most HC_PAGE_MAX of <hubcache/inventory.h>,
                              which is the default */
    const char *page_token; /* Optional: of the page before */
    struct hc_fetch_options options;
};

struct hc_leases {
    /* Sorted by repo and commit, the oldest first. Their ids are "" where the caller may
     * not end them. */
    struct hc_lease *items;
    size_t count;
    char *next_page_token; /* NULL: this is the last page */
};

/* 0, and the caller clears the list; -1: INVALID_*, and `leases` is left alone. A ref
 * that the cache does not know has none. */
HC_PUBLIC int hc_resolver_list_leases(struct hc_resolver *resolver,
                                      const struct hc_leases_request *request,
                                      struct hc_leases *leases, struct hc_error *err);
HC_PUBLIC void hc_leases_clear(struct hc_leases *leases);

/* What this process has done since the resolver was opened; but `held` is of the volume,
 * as of the last sweep, and what this process has done since. No I/O. */
struct hc_lease_counts {
    uint64_t held;
    uint64_t taken;
    uint64_t renewed;
    uint64_t released;
    uint64_t expired; /* removed by a sweep of this process */
    uint64_t lost;    /* they had ended when a caller renewed them */
};

HC_PUBLIC void hc_resolver_count_leases(struct hc_resolver *resolver,
                                        struct hc_lease_counts *counts);

#ifdef __cplusplus
}
#endif

#endif
