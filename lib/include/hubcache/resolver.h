/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off: the example below keeps its lines */
/*
 * A resolver answers "where is this file (or snapshot) of this repo at this revision"
 * with a path on the cache volume: it looks in local directories, then in the cache,
 * guards offline mode, asks the Hub and downloads when it may, and verifies every byte.
 *
 * One resolver serves any number of threads. Every call blocks until it has an answer,
 * has failed, or `cancellation` (see <hubcache/cancellation.h>) says so; the *_cached
 * variants never block on the network. Requests are borrowed for the time of the call;
 * answers are the caller's to clear. `{0}` is a valid start for every request; members
 * not marked "Required." may stay zero.
 *
 *     #include <hubcache/resolver.h>
 *     #include <stdio.h>
 *
 *     int main(void)
 *     {
 *         struct hc_file_request request = {.repo = {.id = "openai-community/gpt2"},
 *                                           .filename = "config.json"};
 *         struct hc_settings settings = {0};
 *         struct hc_resolver *resolver = NULL;
 *         struct hc_file file;
 *         struct hc_error err = {HC_OK};
 *         int result = hc_settings_load(&settings, &err);
 *
 *         if (result == 0)
 *             resolver = hc_resolver_open(&settings, &err);
 *         if (resolver && hc_resolve_file(resolver, &request, NULL, &file, &err) == 0) {
 *             puts(file.path);
 *             hc_file_clear(&file);
 *         } else {
 *             fprintf(stderr, "%s: %s\n", hc_reason_name(err.reason), err.message);
 *         }
 *         hc_resolver_close(resolver);
 *         hc_settings_clear(&settings);
 *         return err.reason == HC_OK ? 0 : hc_reason_exit(err.reason);
 *     }
 */
/* clang-format on */
#ifndef HUBCACHE_RESOLVER_H
#define HUBCACHE_RESOLVER_H

#include <hubcache/cancellation.h>
#include <hubcache/error.h>
#include <hubcache/repo.h>
#include <hubcache/settings.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct hc_resolver;

/* The numbers are those of hubcache.v1.Source. */
enum hc_source {
    HC_SOURCE_UNSPECIFIED = 0,
    HC_SOURCE_CACHE = 1, /* all bytes were on the volume */
    HC_SOURCE_HUB = 2,   /* bytes, unless there are none, were fetched for this answer */
    HC_SOURCE_LOCAL = 3  /* a directory under a local root */
};

/* The numbers are those of hubcache.v1.Completeness. */
enum hc_completeness {
    HC_COMPLETENESS_UNSPECIFIED = 0,
    HC_COMPLETE = 1, /* every file of the tree that the patterns select is there */
    HC_PARTIAL = 2,  /* `missing` names those that are not there (dry runs only) */
    HC_UNKNOWN = 3   /* no listing of the commit is on disk to compare with */
};

/* What to resolve: a repo at a revision. */
struct hc_target {
    const char *id;         /* Required. "gpt2", "org/name", or a local directory */
    enum hc_repo_type type; /* Optional: model */
    const char *revision;   /* Optional: "main". Branch, tag, refs/pr/N or commit */
};

struct hc_reuse;

/* The identity that asks, as it has been proved. */
struct hc_identity {
    const char *kind; /* how: "token", "jwt", "uid", … */
    const char *name;
    const char *const *groups;
    size_t group_count;
};

struct hc_fetch_options {
    bool local_files_only; /* never ask the Hub */
    bool force_download;   /* ask the Hub for everything, and download all files again */
    bool dry_run;          /* download nothing; the Hub may be asked */
    bool warm; /* after the answer, read its files ahead into the page cache of
                              this machine; not in a dry run */
    bool has_max_staleness;
    int64_t max_staleness_ms; /* with has_max_staleness; 0: ask the Hub now */
    const char *hub_token;    /* Optional: used instead of the resolver's own token. See
                        `hub_access` of <hubcache/settings.h> */
    uint64_t caller;    /* Optional: a number for the identity that asks. Threads and
                        connections are shared fairly among callers */
    bool is_background; /* its downloads give way to those of other requests: they have an
                           eighth of the connections while there are any, and few files
                           come at a time */
    const struct hc_identity *identity; /* Optional: for policy; NULL: anonymous */
    const char *traceparent; /* Optional: a header of W3C's Trace Context, which requests
                                to the endpoint and its mirrors get */
    struct hc_reuse *reuse;  /* Optional, for hubcached: zeroed, gets how long the answer
                               of a look at cache or memory may be given again */
};

struct hc_file_request {
    struct hc_target repo;
    const char *filename;  /* Required. Path within the repo */
    const char *subfolder; /* Optional: put before the file name with a "/" */
    struct hc_fetch_options options;
};

struct hc_files_request {
    struct hc_target repo;
    const char *const *filenames; /* Required. */
    size_t filename_count;
    const char *subfolder;
    bool allow_missing; /* list files that do not exist instead of failing */
    struct hc_fetch_options options;
};

/* How far a snapshot is. Arrays and names are borrowed for the call. */
struct hc_progress {
    unsigned files_total;
    unsigned files_done;
    uint64_t bytes_total;
    uint64_t bytes_done; /* on the volume, whether they arrived or were there before */
    uint64_t bytes_per_second;       /* over the network, in the last few seconds */
    const char *const *active_files; /* files that are being fetched */
    size_t active_count;
    unsigned waiting_count; /* active files that another process is fetching */
    unsigned retries;       /* requests for bytes that had to be repeated, so far */
};

/* Called every quarter of a second while files arrive, on the resolving thread. */
typedef void (*hc_progress_fn)(void *ctx, const struct hc_progress *progress);

struct hc_snapshot_request {
    struct hc_target repo;
    const char *const *allow_patterns; /* Optional: none selects every file */
    size_t allow_count;
    const char *const *ignore_patterns;
    size_t ignore_count;
    bool list_files; /* fill hc_snapshot.files */
    struct hc_fetch_options options;
    hc_progress_fn progress; /* Optional. */
    void *progress_ctx;
};

struct hc_file {
    char *path;             /* absolute, on this machine's mount */
    const char *cache_path; /* in `path`: relative to the cache root; "" when local */
    const char *filename;   /* in `path`: the name within the repo, with subfolder */
    uint64_t size_bytes;    /* 0 also when a dry run cannot find it out */
    enum hc_source source;
    bool stale;           /* the Hub should have been asked and could not be: this is its
                             last answer, or that of a mirror */
    char rule[64];        /* of the policy that allows it, or "default"; "": no policy */
    char commit_hash[41]; /* "" when local */
    char etag[201]; /* the name of the blob: the Hub's etag, or when that is no hash a
                             name that only this file has; "" when not known */
};

struct hc_files {
    struct hc_file *items; /* in the order of the request, without the missing */
    size_t count;
    char **missing;
    size_t missing_count;
    char commit_hash[41];
};

struct hc_snapshot {
    char *path;             /* the snapshot's directory, absolute */
    const char *cache_path; /* inside `path` */
    char commit_hash[41];
    enum hc_completeness completeness;
    enum hc_source source;
    bool stale;
    unsigned file_count;       /* files that the patterns select */
    uint64_t size_bytes;       /* their size, all together */
    uint64_t downloaded_bytes; /* for this answer */
    char **missing;            /* the first HC_MISSING_MAX names */
    size_t missing_listed;
    unsigned missing_total; /* how many there are in all */
    struct hc_file *files;  /* only with list_files */
    size_t listed;
    char **excluded; /* files that policy denies to the caller, although the patterns
                        select them: the first HC_MISSING_MAX names. They do not count */
    size_t excluded_listed;
    unsigned excluded_total; /* how many there are in all */
    char rule[64];           /* of the policy, for files that no rule names */
};

enum {
    HC_MISSING_MAX = 100,               /* names of missing files in one answer */
    HC_PATTERNS_MAX = 1000,             /* patterns in one request */
    HC_PATTERN_MAX = 1024,              /* bytes of one pattern */
    HC_MATCHES_MAX = 250 * 1000 * 1000, /* patterns times files of one request */
    HC_FILENAMES_MAX = 10000            /* file names in one request */
};

/* A transfer of one blob that has ended. Strings are borrowed for the call. */
struct hc_transfer {
    const char *repo_id;
    enum hc_repo_type repo_type;
    const char *path; /* a file that has this blob */
    const char *etag;
    enum hc_reason reason;  /* HC_OK: the blob is there; else why it is not */
    uint64_t size_bytes;    /* of the blob */
    uint64_t fetched_bytes; /* received from the Hub, useful or not */
    uint64_t resumed_bytes; /* left by an earlier transfer */
    uint64_t shared_bytes;  /* cloned or linked from another repo of this cache */
    uint64_t duration_ms;   /* in all */
    uint64_t waited_ms;     /* of these, for another process that fetched the blob */
    unsigned connections;   /* the most at a time */
    unsigned retries;       /* requests that had to be repeated */
};

/* Called on a thread of the transfer; must not call the resolver. */
typedef void (*hc_transfer_fn)(void *ctx, const struct hc_transfer *transfer);

/* A transfer of one blob that runs. Strings are borrowed for the call. */
struct hc_running_transfer {
    const char *repo_id;
    enum hc_repo_type repo_type;
    const char *path; /* a file that has this blob */
    const char *etag;
    uint64_t size_bytes;       /* of the blob; 0: not known yet */
    uint64_t done_bytes;       /* of these, on the volume */
    uint64_t bytes_per_second; /* in the last few seconds */
    uint64_t age_ms;
    unsigned callers;     /* requests of this process that want it */
    unsigned connections; /* that bring bytes now */
    unsigned retries;     /* requests that had to be repeated so far */
    bool is_remote;       /* another process fetches it */
};

/* Must neither block nor call the resolver. */
typedef void (*hc_running_transfer_fn)(void *ctx,
                                       const struct hc_running_transfer *transfer);

/* An answer that is stale, and why. Strings are borrowed for the call. */
struct hc_stale {
    const char *repo_id;
    enum hc_repo_type repo_type;
    const char *revision;
    enum hc_reason reason; /* why the Hub could not be asked */
    const char *message;   /* of that failure */
};

/* Called for every stale answer, on the resolving thread; must not call the resolver. */
typedef void (*hc_stale_fn)(void *ctx, const struct hc_stale *stale);

/*
 * Opens the cache, whose directory is made when it is absent, and removes what crashed
 * processes left behind. NULL on failure. `settings` is copied.
 */
HC_PUBLIC struct hc_resolver *hc_resolver_open(const struct hc_settings *settings,
                                               struct hc_error *err);

/* -1: what hc_resolver_open() would say of the settings without looking at the volume. */
HC_PUBLIC int hc_resolver_check_settings(const struct hc_settings *settings,
                                         struct hc_error *err);

/*
 * From any thread, while calls run: from now on `offline`, `max_staleness_ms`,
 * `confirm_after_ms`, `tree_memory`, `requests_per_second` and `bytes_per_second` of
 * `settings` hold. Its other members are for hc_resolver_open() alone.
 */
HC_PUBLIC void hc_resolver_change(struct hc_resolver *resolver,
                                  const struct hc_settings *settings);

/*
 * Reads `policy_file` of the settings again, from any thread, while calls run: calls that
 * begin later are decided by it, and each call by one file as a whole. -1,
 * INVALID_OPTIONS with file, line and column: it is wrong, and the rules of before hold.
 * Without such a file, 0.
 */
HC_PUBLIC int hc_resolver_load_policy(struct hc_resolver *resolver, struct hc_error *err);

/* Another number for each policy that was read; 0: there is none. */
HC_PUBLIC uint32_t hc_resolver_policy_generation(const struct hc_resolver *resolver);

/*
 * Whether the token of the settings can be sent: -1 as a request without a token of its
 * own would fail, because of the token file. Having no token is no failure.
 */
HC_PUBLIC int hc_resolver_check_token(struct hc_resolver *resolver, struct hc_error *err);

/* `fn` is called after every transfer. To be set before the first request. */
HC_PUBLIC void hc_resolver_watch(struct hc_resolver *resolver, hc_transfer_fn fn,
                                 void *ctx);

/* `fn` is called for every stale answer. To be set before the first request. */
HC_PUBLIC void hc_resolver_watch_stale(struct hc_resolver *resolver, hc_stale_fn fn,
                                       void *ctx);

/*
 * Removes what crashed processes and abandoned transfers left behind, as opening does. A
 * process that runs for long should call it every few minutes, from any thread.
 */
HC_PUBLIC void hc_resolver_sweep(struct hc_resolver *resolver);

/*
 * Whether the volume still answers at the path of the cache root; may hang as the volume
 * does. A volume that is full or read-only answers. If it has been mounted again, the
 * resolver continues on the new mount. -1: CACHE_IO, CACHE_READ_ONLY (no permission), or
 * INTERNAL when the process lacks memory or descriptors to find out. From any thread.
 */
HC_PUBLIC int hc_resolver_check_volume(struct hc_resolver *resolver,
                                       struct hc_error *err);

/* Bytes of the volume, and of these what is free for this process. May hang as the volume
 * does. False: it cannot say. */
HC_PUBLIC bool hc_resolver_volume_space(const struct hc_resolver *resolver,
                                        uint64_t *size, uint64_t *available);

/* Blobs that are being fetched right now, and the connections that are used for them. */
HC_PUBLIC void hc_resolver_count(struct hc_resolver *resolver, unsigned *transfers,
                                 unsigned *connections);

/* Bytes that `warm` has read ahead since the start, and bytes that it left, because half
 * of the available memory had no room for them. */
HC_PUBLIC void hc_resolver_count_warmed(const struct hc_resolver *resolver,
                                        uint64_t *warmed, uint64_t *left);

/* Calls `fn` for each blob that is being fetched right now, in no order. */
HC_PUBLIC void hc_resolver_list_transfers(struct hc_resolver *resolver,
                                          hc_running_transfer_fn fn, void *ctx);

/* Bytes received from the Hub since the start, those of running transfers included. */
HC_PUBLIC uint64_t hc_resolver_received(const struct hc_resolver *resolver);

/* No call may be running. NULL is fine. */
HC_PUBLIC void hc_resolver_close(struct hc_resolver *resolver);

/* Borrowed until the resolver is closed. `cache_id` is "" on a volume never written
 * to. */
HC_PUBLIC const char *hc_resolver_cache_root(const struct hc_resolver *resolver);
HC_PUBLIC const char *hc_resolver_cache_id(const struct hc_resolver *resolver);
HC_PUBLIC const char *hc_resolver_endpoint(const struct hc_resolver *resolver);
HC_PUBLIC bool hc_resolver_is_offline(const struct hc_resolver *resolver);

/*
 * Answers from the disk alone: 1 with an answer, 0 when the Hub has to be asked (if only
 * whether it gives the repo to the caller), -1 when the request fails whatever the Hub
 * would say. A handful of system calls, no lock.
 */
HC_PUBLIC int hc_resolve_file_cached(struct hc_resolver *resolver,
                                     const struct hc_file_request *request,
                                     struct hc_file *file, struct hc_error *err);
HC_PUBLIC int hc_resolve_files_cached(struct hc_resolver *resolver,
                                      const struct hc_files_request *request,
                                      struct hc_files *files, struct hc_error *err);
HC_PUBLIC int hc_resolve_snapshot_cached(struct hc_resolver *resolver,
                                         const struct hc_snapshot_request *request,
                                         struct hc_snapshot *snapshot,
                                         struct hc_error *err);

/*
 * The same from memory alone: 1 with an answer, 0 when *_cached has to look, -1 when the
 * request fails in any case. No system call: callable where nothing may wait. See
 * `confirm_after_ms` of <hubcache/settings.h> for how old an answer may be. An answer
 * that is about to be too old is looked at again by a thread of the resolver. Lists of
 * more than a hundred files of a snapshot are not remembered, nor anything when there are
 * local roots.
 */
HC_PUBLIC int hc_resolve_file_remembered(struct hc_resolver *resolver,
                                         const struct hc_file_request *request,
                                         struct hc_file *file, struct hc_error *err);
HC_PUBLIC int hc_resolve_files_remembered(struct hc_resolver *resolver,
                                          const struct hc_files_request *request,
                                          struct hc_files *files, struct hc_error *err);
HC_PUBLIC int hc_resolve_snapshot_remembered(struct hc_resolver *resolver,
                                             const struct hc_snapshot_request *request,
                                             struct hc_snapshot *snapshot,
                                             struct hc_error *err);

/* The same, but the ref is looked at: one system call. */
HC_PUBLIC int hc_resolve_snapshot_proved(struct hc_resolver *resolver,
                                         const struct hc_snapshot_request *request,
                                         struct hc_snapshot *snapshot,
                                         struct hc_error *err);

/* Whether the median look at a file of the volume takes a tenth of a millisecond or
 * more. */
HC_PUBLIC bool hc_resolver_is_volume_slow(const struct hc_resolver *resolver);

/* 0 with an answer; -1 with one of the reasons of <hubcache/error.h>. `cancellation` may
 * be NULL. */
HC_PUBLIC int hc_resolve_file(struct hc_resolver *resolver,
                              const struct hc_file_request *request,
                              struct hc_cancellation *cancellation, struct hc_file *file,
                              struct hc_error *err);

/* All files are of one commit. */
HC_PUBLIC int hc_resolve_files(struct hc_resolver *resolver,
                               const struct hc_files_request *request,
                               struct hc_cancellation *cancellation,
                               struct hc_files *files, struct hc_error *err);
HC_PUBLIC int hc_resolve_snapshot(struct hc_resolver *resolver,
                                  const struct hc_snapshot_request *request,
                                  struct hc_cancellation *cancellation,
                                  struct hc_snapshot *snapshot, struct hc_error *err);

/*
 * Opens a file for reading by the path of an answer (hc_file.path), without waiting for
 * anything but the volume. 1: the caller closes `*fd`, whose bytes stay what they are
 * when the file is replaced or evicted. 0: it is not there any more. -1: CACHE_IO, also
 * when symlinks lead it out of the cache root and of every local root.
 */
HC_PUBLIC int hc_resolver_open_file(const struct hc_resolver *resolver, const char *path,
                                    int *fd, struct hc_error *err);

HC_PUBLIC void hc_file_clear(struct hc_file *file);
HC_PUBLIC void hc_files_clear(struct hc_files *files);
HC_PUBLIC void hc_snapshot_clear(struct hc_snapshot *snapshot);

/* The version of the library, "0.1.0". */
HC_PUBLIC const char *hc_version(void);

#ifdef __cplusplus
}
#endif

#endif
