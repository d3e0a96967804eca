/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The revisions of a cache in the order in which an eviction takes them: the least
 * recently used first. A scan looks at every blob once; the list is then good for many
 * evictions, each of which looks again at the few revisions that it takes.
 *
 * The last use of a revision is the newest atime of its blobs, or the time at which its
 * snapshot changed, if that is later: hubcached sets the atime once a minute at most when
 * it answers a blob's path, and reads by others set it where the volume is mounted so
 * (relatime: once a day). A list belongs to one thread at a time.
 */
#ifndef HC_MAINTENANCE_CANDIDATES_H
#define HC_MAINTENANCE_CANDIDATES_H

#include <base/cancellation.h>
#include <base/text.h>
#include <cache/cache.h>

#include <stdint.h>
#include <sys/stat.h>

struct hc_candidate {
    const char *folder; /* of the repo; owned by the list */
    char commit[HC_COMMIT_SIZE];
    int64_t last_used_ms; /* since the epoch */
    /* Room of its plain files, and of the blobs that no other revision of the repo has
     * whose last use is later: what its removal frees after those of all before it. */
    uint64_t bytes;
};

/* Zero-initialise it. */
struct hc_candidates {
    struct hc_candidate *items; /* the least recently used first, then by name */
    size_t count;
    size_t capacity;
    struct hc_strings folders;
    /* Repos with blobs that no revision leads to, and the room of these. */
    struct hc_strings orphaned;
    uint64_t orphan_bytes;
    int64_t scanned_ms; /* when the last scan ended, hc_monotonic_ms() */
    int64_t took_ms;
};

/* Replaces the list. -1: cancelled, or memory is short; the list is empty then. */
int hc_candidates_scan(struct hc_candidates *list, const struct hc_cache *cache,
                       struct hc_cancellation *cancellation, struct hc_error *err);

/* After last uses have changed. */
void hc_candidates_sort(struct hc_candidates *list);

void hc_candidates_clear(struct hc_candidates *list);
HC_DEFINE_AUTO_VALUE(hc_candidates, hc_candidates_clear)

/* The room that the removal of one name of a file frees. */
uint64_t hc_candidate_file_room(const struct stat *status);

/* The last use of a revision as of now; -1: it is gone. */
int64_t hc_candidate_last_used(const struct hc_cache *cache,
                               const struct hc_candidate *candidate);

#endif
