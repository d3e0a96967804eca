/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Revisions that the policy keeps (`keep`): they are fetched before they are asked for,
 * and when the Hub moves one, the new commit is fetched whole before the ref names it.
 * Until then callers get the old commit, which is an ordinary answer, not a stale one.
 *
 * A program that runs for long drives this: at an interval it lists what is kept, asks
 * about each, and fetches what is behind. As long as it does, of a kept revision
 *
 *   - a request without max_staleness of its own is answered from the ref, for three
 *     intervals after the Hub has been heard, and as long as what it said cannot be
 *     fetched. If the Hub cannot be reached for longer, all is as without `keep`.
 *   - a request with max_staleness or force_download is answered as without `keep`,
 *     perhaps with the new commit, but
 *   - the ref moves only with a snapshot that is whole.
 *
 * All calls may be made from any thread. Of one revision, one thread asks and one fetches
 * at a time.
 */
#ifndef HUBCACHE_KEEP_H
#define HUBCACHE_KEEP_H

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

enum { HC_KEEP_INTERVAL_MS = 5 * 60 * 1000 };

struct hc_keep; /* a revision that is kept */

/* How far it is. Times are milliseconds since the epoch; 0: never. */
struct hc_keep_status {
    char repo_id[201];
    enum hc_repo_type repo_type;
    char revision[256];      /* cut, when it is longer */
    char commit[41];         /* that the ref names, and callers get; "": none */
    char newest[41];         /* that the Hub named last; "": not heard yet */
    int64_t heard_ms;        /* when it did */
    int64_t behind_since_ms; /* `newest` is not whole, or not named by the ref */
    bool is_fetching;        /* by this process, */
    bool is_remote;          /* or by another one */
    enum hc_reason reason;   /* of the last failure; HC_OK: none since it went well */
    char message[512];
};

/*
 * The revisions that the policy keeps now. The caller releases each of `*items`, and
 * frees the list. Those that it keeps no longer are forgotten.
 */
HC_PUBLIC int hc_keep_list(struct hc_resolver *resolver, struct hc_keep ***items,
                           size_t *count, struct hc_error *err);

HC_PUBLIC struct hc_keep *hc_keep_hold(struct hc_keep *keep);
HC_PUBLIC void hc_keep_release(struct hc_keep *keep); /* NULL is fine */

/*
 * Whether the cache is behind: 1, then hc_keep_fetch() is to be called; 0. Asks the Hub,
 * unless a process of the volume has done so less than three quarters of the interval
 * ago. -1: the Hub says that the revision cannot be had, or cannot be asked.
 */
HC_PUBLIC int hc_keep_ask(struct hc_resolver *resolver, struct hc_keep *keep,
                          int64_t interval_ms, struct hc_cancellation *cancellation,
                          struct hc_error *err);

/*
 * Fetches the newest commit whole, in the background, and then moves the ref. 1: it is
 * there, and the caller clears `snapshot`, which lists its files; 0: another process of
 * the volume fetches it; -1: the old ref stays.
 */
HC_PUBLIC int hc_keep_fetch(struct hc_resolver *resolver, struct hc_keep *keep,
                            struct hc_cancellation *cancellation,
                            struct hc_snapshot *snapshot, struct hc_error *err);

HC_PUBLIC void hc_keep_look_at(struct hc_keep *keep, struct hc_keep_status *status);

#ifdef __cplusplus
}
#endif

#endif
