/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in a cache: its repos, their revisions, and the files of these, with their
 * sizes, last use, refs and what protects them. Everything is read from the volume when
 * it is asked for. Clients change a cache at any time, so a list is of about that moment.
 *
 * Lists have pages. The caller gets a token with each page but the last one, and passes
 * it with the otherwise unchanged request to get the next page; INVALID_OPTIONS (field
 * "page_token") for a token of another request. A page may have fewer items than asked
 * for. The caller clears a list, also after a failure.
 *
 * Functions return 0, or -1 with `err` set: as the cancellation says (which is Optional),
 * INVALID_* for a wrong request, CACHE_IO or INTERNAL. Requests are borrowed for the
 * call. They block on the volume, and hang as it does. Callable from any thread.
 */
#ifndef HUBCACHE_INVENTORY_H
#define HUBCACHE_INVENTORY_H

#include <hubcache/cancellation.h>
#include <hubcache/error.h>
#include <hubcache/repo.h>
#include <hubcache/resolver.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { HC_PAGE_MAX = 1000 }; /* items of a page */

/* A snapshot of the cache. Times, here and below, are milliseconds since the epoch; 0:
 * there is no blob that has one. */
struct hc_cached_revision {
    char commit_hash[41];
    char **refs; /* sorted */
    size_t ref_count;
    enum hc_completeness completeness; /* never UNSPECIFIED */
    uint64_t size_bytes;               /* lengths of its blobs, each once */
    unsigned file_count;               /* files of the snapshot */
    unsigned leases;                   /* that have not ended */
    bool is_pinned;
    bool is_kept;             /* by the policy */
    int64_t last_used_ms;     /* the newest atime of its blobs */
    int64_t last_modified_ms; /* the newest mtime of its blobs */
    uint64_t freeable_bytes; /* room, in whole blocks, of the blobs that no other revision
                                 and no other repo has */
};

struct hc_cached_repo {
    enum hc_repo_type type;
    char id[201];
    char cache_path[221]; /* its folder below the cache root */
    uint64_t size_bytes;  /* lengths of the blobs of its snapshots, each once */
    unsigned file_count;  /* these blobs */
    int64_t last_used_ms; /* of these blobs, as for a revision, like the next */
    int64_t last_modified_ms;
    struct hc_cached_revision *revisions; /* sorted by commit; only with_revisions */
    size_t revision_count;
    char *warning; /* what the reference client's scanner calls corrupt; NULL: nothing */
};

struct hc_repos_request {
    const char *const *repo_ids; /* Optional: globs; none: every repo */
    size_t repo_id_count;
    const enum hc_repo_type *repo_types; /* Optional: none: every type */
    size_t repo_type_count;
    bool with_revisions;
    unsigned page_size;     /* Optional: 0, and more than HC_PAGE_MAX: HC_PAGE_MAX */
    const char *page_token; /* Optional: of the page before; NULL, "": the first page */
    struct hc_fetch_options options; /* for policy: the caller's identity */
};

struct hc_cached_repos {
    struct hc_cached_repo *items; /* sorted by cache_path */
    size_t count;
    char *next_page_token; /* NULL: this is the last page */
};

struct hc_revisions_request {
    struct hc_target repo; /* its revision is not used */
    unsigned page_size;    /* as in hc_repos_request, like the next two */
    const char *page_token;
    struct hc_fetch_options options;
};

struct hc_cached_revisions {
    struct hc_cached_revision *items; /* sorted by commit */
    size_t count;
    char *next_page_token;
};

/* A file of a snapshot. */
struct hc_cached_file {
    char *filename;
    char *cache_path;     /* of the pointer, below the cache root */
    char etag[201];       /* of its blob; "" for a file that is no pointer to one */
    uint64_t size_bytes;  /* its length; 0 when it is dangling */
    int64_t last_used_ms; /* of the blob, as the next */
    int64_t last_modified_ms;
    bool is_dangling; /* the pointer leads nowhere */
};

struct hc_cached_files_request {
    struct hc_target repo; /* its revision: a commit, or a ref that the cache knows; NULL
                              or "": main */
    unsigned page_size;    /* as in hc_repos_request, like the next two */
    const char *page_token;
    struct hc_fetch_options options;
};

struct hc_cached_files {
    char commit_hash[41];
    struct hc_cached_file *items; /* sorted by name */
    size_t count;
    char *next_page_token;
};

/* Lists the repos that the caller may resolve. With revisions, a page ends early when it
 * has 5000 of them, but a repo is never divided. */
HC_PUBLIC int hc_resolver_list_repos(struct hc_resolver *resolver,
                                     const struct hc_repos_request *request,
                                     struct hc_cancellation *cancellation,
                                     struct hc_cached_repos *repos, struct hc_error *err);
HC_PUBLIC void hc_cached_repos_clear(struct hc_cached_repos *repos);

/* NOT_CACHED: there is no such repo, or the caller may not resolve it. */
HC_PUBLIC int hc_resolver_list_revisions(struct hc_resolver *resolver,
                                         const struct hc_revisions_request *request,
                                         struct hc_cancellation *cancellation,
                                         struct hc_cached_revisions *revisions,
                                         struct hc_error *err);
HC_PUBLIC void hc_cached_revisions_clear(struct hc_cached_revisions *revisions);

/* NOT_CACHED: likewise, or the cache has no such revision. */
HC_PUBLIC int hc_resolver_list_files(struct hc_resolver *resolver,
                                     const struct hc_cached_files_request *request,
                                     struct hc_cancellation *cancellation,
                                     struct hc_cached_files *files, struct hc_error *err);
HC_PUBLIC void hc_cached_files_clear(struct hc_cached_files *files);

#ifdef __cplusplus
}
#endif

#endif
