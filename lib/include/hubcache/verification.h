/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verification: every blob is hashed and compared with its name, and what is wrong or
 * left over is told. A corrupt blob is moved to .hubcache/quarantine with the pointers
 * that lead to it, so that the next resolution fetches it again; or it is fetched again
 * at once, and then its path stays, if the volume has hard links. Files are read at idle
 * I/O priority, and the page cache is left as it was.
 *
 * A blob that is fetched, replaced or removed meanwhile is passed over. Another
 * verification, or another client, may have repaired by then what this one finds. It may
 * hang as the volume does. Callable from any thread.
 */
#ifndef HUBCACHE_VERIFICATION_H
#define HUBCACHE_VERIFICATION_H

#include <hubcache/cancellation.h>
#include <hubcache/error.h>
#include <hubcache/finding.h>
#include <hubcache/resolver.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Files of a repo of the cache. Borrowed for the call. */
struct hc_verify_selector {
    struct hc_target repo; /* Required; its revision is a commit, a ref that the cache
                              knows, or NULL: every revision */
    const char *const *patterns; /* Optional: only files that match; none: every file */
    size_t pattern_count;
};

/* A total grows when clients add files meanwhile. */
struct hc_verify_progress {
    uint64_t blobs_total, blobs_done; /* done: hashed, or passed over */
    uint64_t bytes_total, bytes_done;
    uint64_t blobs_hashed, bytes_hashed; /* of those that are done */
};

/* Both are called on the verifying thread: `progress` before each blob, and ten times a
 * second while one is hashed. */
typedef void (*hc_finding_fn)(void *ctx, const struct hc_finding *finding);
typedef void (*hc_verify_progress_fn)(void *ctx,
                                      const struct hc_verify_progress *progress);

struct hc_verify_request {
    const struct hc_verify_selector *selectors; /* Optional: none: the whole cache */
    size_t selector_count;
    bool dry_run;                   /* move nothing, and fetch nothing */
    bool repair;                    /* fetch corrupt and missing files again */
    uint64_t bytes_per_second;      /* Optional: at most so many are read; 0: no limit */
    hc_finding_fn found;            /* Optional. */
    hc_verify_progress_fn progress; /* Optional. */
    void *ctx;
    struct hc_fetch_options options; /* of the repairs */
};

struct hc_verify_result {
    uint64_t blobs, bytes;               /* that were hashed */
    uint64_t findings[HC_FINDING_KINDS]; /* of each kind */
    uint64_t repaired;                   /* files that were fetched again */
    uint64_t not_repaired;               /* files that should have been, and could not */
};

/*
 * 0; -1: POLICY_DENIED (the caller of `options` may not administer a selected repo, or
 * without selectors every repo), NOT_CACHED (a selected repo or revision is not in the
 * cache), INVALID_*, as the cancellation says (Optional), or INTERNAL; `result` then says
 * how far it came. That something is wrong with the cache is no failure.
 */
HC_PUBLIC int hc_resolver_verify(struct hc_resolver *resolver,
                                 const struct hc_verify_request *request,
                                 struct hc_cancellation *cancellation,
                                 struct hc_verify_result *result, struct hc_error *err);

/*
 * A scrub verifies the whole cache again and again, a pass in an interval, with repairs
 * as far as the Hub may be asked. Of all processes of a volume one scrubs at a time, with
 * idle priority for CPU and disk; its progress is on the volume
 * (.hubcache/scrub.json), so that the next process continues there.
 */
struct hc_scrub_request {
    int64_t interval_ms; /* Required: from the end of a pass to the start of the next */
    uint64_t bytes_per_second;      /* Optional: 0: no limit */
    hc_finding_fn found;            /* Optional. */
    hc_verify_progress_fn progress; /* Optional: of what is left of the pass */
    void *ctx;
};

/* As the volume has it, for all its processes. Times are since the epoch; 0: none. */
struct hc_scrub_state {
    int64_t pass_began_ms; /* of a pass that has not ended */
    char pass_path[4096];  /* the file, below the cache root, that it has reached */
    int64_t last_began_ms; /* of the last pass that has ended, as the next two */
    int64_t last_ended_ms;
    struct hc_verify_result last;
    struct hc_verify_result pass; /* so far */
};

/*
 * Makes a pass, or continues one, if one is due and no other process is at it. 1: it has
 * ended; 0: none is due here now; -1: as the cancellation says, or INTERNAL. `result` is
 * what this call has done of it.
 */
HC_PUBLIC int hc_resolver_scrub(struct hc_resolver *resolver,
                                const struct hc_scrub_request *request,
                                struct hc_cancellation *cancellation,
                                struct hc_verify_result *result, struct hc_error *err);

/* 1; 0: there has been no scrub, or its state cannot be read. */
HC_PUBLIC int hc_resolver_scrub_state(const struct hc_resolver *resolver,
                                      struct hc_scrub_state *state);

#ifdef __cplusplus
}
#endif

#endif
