/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is removed from a cache: revisions and files that a caller names, what nothing
 * refers to, and what was used least recently when the volume is short of room. Nothing
 * that is in use is removed; the result says what was left, and why. A removal names
 * revisions by repo and commit together: forks have the same commits.
 *
 * Functions return 0, or -1 with `err` set, unless they say otherwise. Requests are
 * borrowed for the call; `cancellation` is Optional. The caller clears a result, also
 * after a failure: it then has what was removed before.
 *
 * Removals may run at the same time as resolutions and as each other, in any process of
 * the volume. They may hang as the volume does. Callable from any thread, except where it
 * is said.
 */
#ifndef HUBCACHE_MAINTENANCE_H
#define HUBCACHE_MAINTENANCE_H

#include <hubcache/cancellation.h>
#include <hubcache/error.h>
#include <hubcache/finding.h>
#include <hubcache/repo.h>
#include <hubcache/resolver.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What holds a revision, in the order in which it is looked for. */
enum hc_held_by {
    HC_HELD_BY_NONE = 0,
    HC_HELD_BY_LEASE = 1,    /* a caller uses it */
    HC_HELD_BY_PIN = 2,      /* it is pinned */
    HC_HELD_BY_KEEP = 3,     /* the policy keeps it */
    HC_HELD_BY_TRANSFER = 4, /* it is being fetched */
    HC_HELD_BY_FAILURE = 5,  /* it cannot be read or removed */
    HC_HELD_BY_RETENTION = 6 /* it was used too recently */
};

/* A revision, a file of it, or a repo that was removed, or in a dry run would be. */
struct hc_removed {
    enum hc_repo_type repo_type;
    char repo_id[201];
    char commit_hash[41]; /* "": the folder of the repo, with its last revision */
    char *filename;       /* NULL: the whole revision */
    uint64_t freed_bytes; /* room on the volume, in whole blocks */
    int64_t last_used_ms; /* since the epoch; 0: unknown */
    const char *detail;   /* why it was chosen, in words; static */
};

/* A revision that is selected, but held, and so was left. */
struct hc_kept {
    enum hc_repo_type repo_type;
    char repo_id[201];
    char commit_hash[41];
    enum hc_held_by held_by;
    char detail[256]; /* the lease, the reason of the pin, or the failure, in words */
};

struct hc_removal_result {
    struct hc_removed *removed; /* in the order of removal */
    size_t removed_count;
    struct hc_kept *kept;
    size_t kept_count;
    uint64_t freed_bytes;   /* in whole blocks, of all together, each blob once; in a dry
                               run what would be freed */
    uint64_t removed_files; /* blobs and plain files */
    uint64_t missing_bytes; /* of an eviction: all else is held; 0: enough is free */
};

struct hc_evict_request {
    uint64_t bytes; /* to free; 0: what cache_limit and free_floor ask for */
    bool dry_run;   /* only say what would be removed */
    struct hc_fetch_options options; /* for policy: the caller's identity */
};

/*
 * Makes room: removes revisions, the least recently used first. `kept` has what was used
 * even less recently, but is held: 1000 rows at most. With `bytes` 0, if anything has to
 * be freed, a twentieth of the limit more is freed. `missing_bytes` says what is missing
 * when all else is held. -1: POLICY_DENIED (the caller may not administer every repo), as
 * the cancellation says, or INTERNAL.
 */
HC_PUBLIC int hc_resolver_evict(struct hc_resolver *resolver,
                                const struct hc_evict_request *request,
                                struct hc_cancellation *cancellation,
                                struct hc_removal_result *result, struct hc_error *err);

/*
 * For one thread of the program's own, once a minute: measures what the cache takes, at
 * first, and then every ten minutes, or less often, so that scans take a tenth of the
 * time at most; and evicts what other clients have put into the cache beyond cache_limit
 * and free_floor. Does nothing when neither is set. -1: as the cancellation says, or
 * INTERNAL.
 */
HC_PUBLIC int hc_resolver_tend_room(struct hc_resolver *resolver,
                                    struct hc_cancellation *cancellation,
                                    struct hc_removal_result *result,
                                    struct hc_error *err);

/*
 * For the same thread: removes revisions that were not used within the `retention` of the
 * policy's rules that let them in. Looks once an hour; does nothing in between, or when
 * no rule has a retention.
 */
HC_PUBLIC int hc_resolver_expire(struct hc_resolver *resolver,
                                 struct hc_cancellation *cancellation,
                                 struct hc_removal_result *result, struct hc_error *err);

/* What is known without a look at the volume. The counts are of this process, since the
 * resolver was opened. */
struct hc_room_status {
    bool is_measured;        /* the cache was scanned, by this process or another one */
    uint64_t occupied_bytes; /* that the cache takes, in whole blocks; if is_measured */
    uint64_t limit_bytes;    /* 0: none */
    uint64_t floor_bytes;    /* 0: none */
    uint64_t evicted_bytes, evicted_revisions;
    uint64_t held_bytes; /* that the last eviction passed over, because they are held */
    uint64_t refusals;   /* downloads for which there was no room */
    unsigned evictions_running;
};
HC_PUBLIC void hc_resolver_room(const struct hc_resolver *resolver,
                                struct hc_room_status *status);

/* Files of a repo of the cache, or a revision, or a repo. Borrowed for the call. */
struct hc_removal_selector {
    struct hc_target repo; /* Required; its revision is a commit, a ref that the cache
                              knows, or NULL or "": every revision */
    const char *const *patterns; /* Optional: only files that match; none: every file */
    size_t pattern_count;
};

struct hc_delete_request {
    const struct hc_removal_selector *selectors; /* Required. */
    size_t selector_count;                       /* at least 1 */
    bool dry_run;                                /* only say what would be removed */
    struct hc_fetch_options options;             /* for policy: the caller's identity */
};

/*
 * Removes what is selected, and nothing that is held. -1: NOT_CACHED (a selected repo or
 * revision is not in the cache), INVALID_*, POLICY_DENIED (the caller may not administer
 * a selected repo): then nothing is removed; or as the cancellation says, or INTERNAL.
 */
HC_PUBLIC int hc_resolver_delete(struct hc_resolver *resolver,
                                 const struct hc_delete_request *request,
                                 struct hc_cancellation *cancellation,
                                 struct hc_removal_result *result, struct hc_error *err);

enum {
    HC_PRUNE_UNUSED_MS = 60 * 60 * 1000, /* since the last use of what is removed */
    HC_PRUNED_FILES_MAX = 1000           /* that a result lists */
};

struct hc_prune_request {
    const char *const *repo_ids; /* Optional: globs; none: every repo */
    size_t repo_id_count;
    const enum hc_repo_type *repo_types; /* Optional: none: every type */
    size_t repo_type_count;
    /* Optional: only revisions whose last use is so long ago, and pointers without a blob
     * that are as old (an hour suffices); 0: HC_PRUNE_UNUSED_MS; less than 0: all of
     * them. */
    int64_t unused_for_ms;
    bool dry_run;                    /* only say what would be removed */
    struct hc_fetch_options options; /* for policy: the caller's identity */
};

/* A file that nothing refers to. */
struct hc_pruned_file {
    enum hc_finding_kind kind;
    char *cache_path; /* below the cache root */
    uint64_t size_bytes;
    bool is_removed; /* false: in a dry run, or because it could not be removed */
};

struct hc_prune_result {
    struct hc_removal_result revisions; /* that no ref names */
    struct hc_pruned_file *files;       /* HC_PRUNED_FILES_MAX at most */
    size_t file_count;
    uint64_t file_total;   /* files that nothing refers to, with those not listed */
    uint64_t file_removed; /* of these; in a dry run none */
    uint64_t freed_bytes;  /* of revisions and files; in a dry run what would be freed */
    uint64_t file_bytes;   /* of the files alone */
    unsigned repos_denied; /* that the caller may see, but not administer */
};

/*
 * Removes what nothing refers to from the repos that the caller may administer: revisions
 * that no ref names, blobs that no pointer leads to, pointers and refs that lead nowhere,
 * temporary files that no process writes any more, payloads of the shared store that no
 * repo refers to (these only without globs and types, and for a caller that may
 * administer every repo). -1: INVALID_PATTERN, POLICY_DENIED (the caller may administer
 * none of these repos), as the cancellation says, or INTERNAL.
 */
HC_PUBLIC int hc_resolver_prune(struct hc_resolver *resolver,
                                const struct hc_prune_request *request,
                                struct hc_cancellation *cancellation,
                                struct hc_prune_result *result, struct hc_error *err);

/* What this process has removed since the resolver was opened: files, and the room that
 * they had. No I/O. */
struct hc_removal_counts {
    uint64_t deleted_files, deleted_bytes; /* hc_resolver_delete() */
    uint64_t pruned_files, pruned_bytes;   /* hc_resolver_prune() */
};
HC_PUBLIC void hc_resolver_count_removed(struct hc_resolver *resolver,
                                         struct hc_removal_counts *counts);

enum { HC_PIN_REASON_MAX = 200 /* bytes */ };

struct hc_pin_request {
    struct hc_target repo; /* Required; its revision is a commit, or a ref that the cache
                              knows: then the commit that it names now. NULL: main */
    const char *reason;    /* Optional: why, for people: UTF-8 of at most
                              HC_PIN_REASON_MAX bytes. Not used to unpin */
    struct hc_fetch_options options; /* for policy: the caller's identity */
};

/* Pins a revision: nothing removes it until it is unpinned. `commit` is what is pinned.
 * -1: NOT_CACHED (the cache has no such revision), INVALID_*, POLICY_DENIED, CACHE_*. */
HC_PUBLIC int hc_resolver_pin(struct hc_resolver *resolver,
                              const struct hc_pin_request *request, char commit[41],
                              struct hc_error *err);

/* Removes a pin: 1: the commit was pinned; 0: it was not. A commit need not be in the
 * cache; -1: NOT_CACHED when the revision is a ref that the cache does not know, else as
 * above. */
HC_PUBLIC int hc_resolver_unpin(struct hc_resolver *resolver,
                                const struct hc_pin_request *request, char commit[41],
                                struct hc_error *err);

HC_PUBLIC void hc_removal_result_clear(struct hc_removal_result *result);
HC_PUBLIC void hc_prune_result_clear(struct hc_prune_result *result);

#ifdef __cplusplus
}
#endif

#endif
