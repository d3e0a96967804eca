/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A resolution: one request that the disk alone could not answer, on its way from
 * revision to path. It holds the one rule, for files and snapshots alike, of what is asked
 * again and what takes the place of an answer that the Hub does not give:
 *
 *     learn     the Hub says what the revision means and what is in that commit
 *     ├ fails, a commit that the caller did not name is gone (the branch was rewritten):
 *     │         the remembered ref counts no more, and the Hub is asked once again
 *     ├ fails, the Hub cannot be asked, and mirrors may be: the remembered commit has to
 *     │         do, and they bring its bytes; the answer is stale
 *     └ fails, an older answer is on disk and the failure allows it: that, stale
 *     obtain    bytes, pointers, ref; a failure is the answer, unless the bytes contradict
 *               the listing they were asked by: it is listed anew, once
 *
 * An answer is stale, too, when only a mirror said what the name means; such a commit is
 * never written to refs/. A restricted repo (cache/visibility.h) is asked of no mirror.
 */
#ifndef HC_RESOLVER_HUB_RESOLUTION_H
#define HC_RESOLVER_HUB_RESOLUTION_H

#include "resolver.h"

#include <cache/visibility.h>

struct hc_hub_resolution {
    const struct hc_resolution *resolution;
    struct hc_hub_credentials credentials;
    char token[HC_TOKEN_MAX + 1];
    char ref_commit[HC_COMMIT_SIZE]; /* refs/<revision>; "": none, or a commit is named */
    enum hc_visibility visibility;   /* on record, or heard since */
    bool is_at_old_ref;              /* the remembered commit has to do */
    bool is_ref_lost;                /* the remembered commit is gone */
    bool
        asked_by_commit; /* the last question was about one that the caller did not name */
    bool is_listing_wrong; /* bytes are not what a listing from disk said */
    bool must_relist;      /* so it counts no more */
    bool is_stale;
    struct hc_error
        stale_cause; /* with is_stale: why the Hub's own word is not to be had */
};

/* How one kind of request is resolved. */
struct hc_resolution_steps {
    /* Fills the answer from the disk if it is whole at `commit`: 1; else 0 or -1. */
    int (*find_cached)(void *ctx, const char *commit, struct hc_error *err);
    /* Asks what is to be obtained: 0; 1 when it was asked before and is the same; does not
     * touch the answer. */
    int (*describe)(void *ctx, struct hc_hub_resolution *hub_resolution,
                    struct hc_error *err);
    /* Obtains it, and fills the answer. */
    int (*fetch)(void *ctx, struct hc_hub_resolution *hub_resolution,
                 struct hc_error *err);
    void (*clear)(void *ctx); /* empties the answer */
    void (*mark_stale)(void *ctx);
    void *ctx;
};

int hc_resolution_run(const struct hc_resolution_steps *steps,
                      const struct hc_resolution *resolution,
                      struct hc_cancellation *cancellation, struct hc_error *err);

/* ---- for the steps */

/* What the disk says that the revision means, as far as that counts here. */
int hc_resolution_reread_ref(const struct hc_hub_resolution *hub_resolution,
                             struct hc_local_ref *local_ref, struct hc_error *err);

/* On whose behalf the Hub is asked about `revision`: a name that the Hub has given a
 * meaning before is not asked of a mirror. */
struct hc_hub_credentials
hc_resolution_credentials(struct hc_hub_resolution *hub_resolution, const char *revision);

/* What was said of the name, perhaps to another caller; of the repo, by /revision; and of
 * a file at `revision`. */
void hc_resolution_note_revision(struct hc_hub_resolution *hub_resolution,
                                 const struct hc_revision *answer);
void hc_resolution_note_repo(struct hc_hub_resolution *hub_resolution,
                             const struct hc_revision *answer);
void hc_resolution_note_file(struct hc_hub_resolution *hub_resolution,
                             const char *revision, const struct hc_metadata *metadata);

/* The bytes could not be had as a listing described them, as `err` says; always -1. */
int hc_resolution_suspect_listing(struct hc_hub_resolution *hub_resolution,
                                  const struct hc_error *err);

/* Records that the name means `commit`, if the Hub itself just said so. */
int hc_resolution_write_ref(const struct hc_hub_resolution *hub_resolution,
                            const char *commit, struct hc_error *err);

#endif
