/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of the volume each repo of a cache takes, and when it was used last. It is
 * found by a scan of the cache, which takes a look at every blob and is therefore made
 * slowly, on a thread of the program's own, and rarely.
 */
#ifndef HUBCACHE_USAGE_H
#define HUBCACHE_USAGE_H

#include <hubcache/cancellation.h>
#include <hubcache/error.h>
#include <hubcache/repo.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct hc_repos_request;
struct hc_resolver;

enum { HC_USAGE_REPOS_MAX = 1000 }; /* that a scan lists */

struct hc_repo_usage {
    enum hc_repo_type type;
    char id[201];
    uint64_t bytes; /* of its blobs, each once; one that repos share counts in each */
    uint64_t occupied_bytes; /* room of these in whole blocks, likewise */
    uint64_t files;          /* blobs, and files that are no pointers to one */
    unsigned revisions;      /* snapshots */
    int64_t last_used_ms;    /* since the epoch: the newest atime; 0: there is no file */
};

struct hc_usage {
    struct hc_repo_usage *repos; /* the largest ones, the largest first */
    size_t listed;
    uint64_t repo_count; /* of all, as the next two */
    uint64_t bytes;      /* each blob once, also one that repos share */
    uint64_t files;
    uint64_t occupied_bytes; /* room of all in whole blocks, and of partial files without
                                a claim */
    uint64_t limit_bytes;    /* cache_limit of the settings; 0: none */
    uint64_t floor_bytes;    /* free_floor of the settings; 0: none */
    int64_t began_ms;        /* the scan, since the epoch */
    int64_t took_ms;         /* the scan, with its pauses */
    bool is_incomplete; /* a folder could not be read, or shared files were too many */
};

/*
 * Scans the cache: for about 20 ms at a time, followed by three times as long a pause. 0;
 * -1: the cancellation (Optional) ended it, or INTERNAL. May hang as the volume does. The
 * caller clears `usage`, also after a failure. Callable from any thread, as all of these.
 */
HC_PUBLIC int hc_resolver_scan_usage(const struct hc_resolver *resolver,
                                     struct hc_cancellation *cancellation,
                                     struct hc_usage *usage, struct hc_error *err);

/*
 * The same without pauses, for a caller that waits for it. The repos that it lists are
 * those that `request` selects (<hubcache/inventory.h>; its page is not used); all else
 * is about the whole cache. Callers that ask for the same at the same time share a scan.
 * -1: INVALID_PATTERN, too.
 */
HC_PUBLIC int hc_resolver_measure_usage(struct hc_resolver *resolver,
                                        const struct hc_repos_request *request,
                                        struct hc_cancellation *cancellation,
                                        struct hc_usage *usage, struct hc_error *err);
HC_PUBLIC void hc_usage_clear(struct hc_usage *usage);

/* ---- by caller and rule ------------------------------------------------------------ */

struct hc_fetch_options;

enum { HC_USAGE_NAMES_MAX = 1000 }; /* callers, or rules, that are listed */

struct hc_named_usage {
    char *name;           /* "" for anonymous callers, and for no rule */
    uint64_t bytes;       /* of the blobs on the volume that were fetched for it */
    uint64_t files;       /* these blobs */
    uint64_t quota_bytes; /* of the caller's quota, which it may share; 0: it has none */
};

struct hc_named_usages {
    struct hc_named_usage *items; /* the largest first */
    size_t count;
};

struct hc_fetched_usage {
    struct hc_named_usages callers;
    struct hc_named_usages rules; /* of the policy, by which blobs were fetched */
};

/*
 * What hubcache has fetched, by the records of the volume, at most ten seconds old. A
 * caller (`options`, for its identity) that may not administer every repo sees itself
 * alone, and no rules; NULL: the program itself. The first call looks at every record,
 * and may take long. The caller clears `usage`, also after a failure.
 */
HC_PUBLIC int hc_resolver_fetched_usage(struct hc_resolver *resolver,
                                        const struct hc_fetch_options *options,
                                        struct hc_cancellation *cancellation,
                                        struct hc_fetched_usage *usage,
                                        struct hc_error *err);
HC_PUBLIC void hc_fetched_usage_clear(struct hc_fetched_usage *usage);

#ifdef __cplusplus
}
#endif

#endif
