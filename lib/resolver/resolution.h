/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A resolution: one request on its way from revision to path. The order of its steps is
 * here, once, for a file, for several files and for a snapshot; what differs between them
 * is a struct hc_resolution_kind. One thread works on a resolution.
 *
 *     alias       a name of the policy stands for a repo at a revision
 *     authorize   may this caller have this? Every request passes here, before any
 *                 answer; a directory below a local root by its name there
 *     local       such a directory answers, and nothing else is looked at
 *     check       the repo's id, the revision and the options are refused or accepted;
 *                 whether the Hub is another endpoint, of a rule, for this repo
 *     access      may the caller have this repo, as the Hub says? (access.c). Only with
 *                 HC_HUB_ACCESS_CALLER; before anything of the cache is looked at
 *     remembered  hc_resolve_*_remembered() take the next step from memory, and end there
 *     cached      the cache answers if refs/<revision> is fresh enough, or if the Hub
 *                 must not be asked; hc_resolve_*_cached() end here
 *     describe    the Hub says which commit the revision means and what is in it
 *     ├ fails, a commit that the caller did not name is gone (the branch was
 *     │           rewritten): the ref is expired, and the Hub is asked once more
 *     ├ fails, the Hub cannot be reached, and mirrors are configured: the commit of the
 *     │           old ref is used, mirrors send its bytes, and the answer is stale
 *     └ fails, the cache has an older answer, and policy lets the failure fall back:
 *                 the older answer, stale
 *     fetch       blobs, then pointers, then the ref. A failure ends the resolution,
 *                 unless the bytes contradict a cached listing: then the commit is
 *                 listed anew, and fetched once more
 *
 * An answer is stale, too, when only a mirror named the commit; such a commit is never
 * written to refs/. A mirror is never asked about a restricted repo (cache/visibility.h).
 *
 * A repo that has another endpoint by a rule of the policy has that one alone: neither
 * the Hub of the settings nor a mirror is asked about it, and the tokens meant for the
 * Hub are not sent to it.
 */
#ifndef HC_RESOLVER_RESOLUTION_H
#define HC_RESOLVER_RESOLUTION_H

#include "resolver.h"

#include <cache/visibility.h>

struct hc_patterns;
struct hc_resolution;

/* What one kind of request does in each step. The kind's own struct begins with its
 * struct hc_resolution; see file.c. */
struct hc_resolution_kind {
    /* Optional: -1 if the decision denies a file that the request names. */
    int (*authorize)(struct hc_resolution *resolution, struct hc_error *err);
    /* Fills the answer from `directory`, which is below a local root: 1 or -1. */
    int (*find_local)(struct hc_resolution *resolution, const char *directory,
                      struct hc_error *err);
    /* Fills the answer from the cache: 1 if it has all of it at `commit` ("" when no ref
     * names one), 0 if the Hub has to be asked, -1. */
    int (*find_cached)(struct hc_resolution *resolution, const char *commit,
                       struct hc_error *err);
    /* Asks the Hub what the revision means; no commit in `answer` when it does not
     * say. */
    int (*ask_revision)(struct hc_resolution *resolution, struct hc_revision *answer,
                        struct hc_error *err);
    /* Asks the Hub what to fetch, and leaves the answer alone: 0, or 1 when an earlier
     * call had the same result. */
    int (*describe)(struct hc_resolution *resolution, struct hc_error *err);
    /* Fetches what was described, and fills the answer. */
    int (*fetch)(struct hc_resolution *resolution, struct hc_error *err);
    /* Begins to read the files of the answer ahead. */
    void (*warm)(const struct hc_resolution *resolution);
    /* Empties the answer. */
    void (*clear)(struct hc_resolution *resolution);
};

struct hc_resolution {
    /* Required, set by the kind and borrowed from the request. */
    const struct hc_resolution_kind *kind;
    struct hc_resolver *resolver;
    const struct hc_target *target;
    const struct hc_fetch_options *options;
    struct hc_cancellation *cancellation; /* Optional. */
    const char *path;                     /* Optional: the one file that is asked for */

    /* Optional: nothing looks at the volume, what is remembered of it answers; becomes
     * true when that has to be confirmed. */
    bool *is_due;
    bool looks_at_ref; /* with is_due: except for the ref */

    bool is_confirmation; /* Optional: of the resolver itself, for no caller */
    bool refuses_older;   /* Optional: an older answer is none */
    bool asks_once;       /* Optional: the Hub is asked without retries */
    bool is_whole;        /* Optional: all files of the commit are asked for */

    /* Optional: the commit of an answer that the caller has got: is that still there? The
     * caller may have the repo, and nothing is asked of the Hub. */
    const char *answered;

    bool looks_at_all; /* Optional: what a proof says does not count (cache/proof.h). */

    /* Set by alias and authorize; `target` and `options` lead to them, then. */
    struct hc_decision decision; /* which files the caller may have */
    struct hc_target meant;      /* what an alias stands for; borrows from the rules */
    struct hc_fetch_options granted;
    const char *alias;      /* NULL: none; of the rules, likewise */
    bool has_own_staleness; /* the caller itself says how old the ref may be */
    bool is_file_denied; /* authorize failed because of a file that the request names */

    /* Set by the check. */
    struct hc_repo repo;
    const char *revision; /* never NULL */
    bool is_commit;       /* the revision is one */
    bool may_ask_hub;
    const struct hc_rule *endpoint_rule; /* the repo comes from its endpoint; NULL: from
                                            that of the settings */

    /* Set by describe. */
    char commit[HC_COMMIT_SIZE]; /* what the revision means */
    struct hc_tree *tree;        /* the commit's listing; NULL for one file */

    /* How the Hub is asked, and what its answers so far mean for the next. */
    struct hc_hub_credentials credentials;
    char ref_commit[HC_COMMIT_SIZE]; /* of the old ref; "": none, or a commit is named */
    enum hc_visibility visibility;   /* from the cache, or from an answer of the Hub */
    bool uses_old_ref;               /* the Hub cannot be asked: ref_commit is used */
    bool is_ref_lost;                /* ref_commit is gone from the Hub */
    bool asked_by_commit;            /* the last question was about a commit that the
                                        caller did not name */
    bool is_listing_wrong;           /* the bytes are not what a cached listing says */
    bool must_relist;                /* so cached listings do not count */
    bool is_stale;                   /* of the answer */
    struct hc_error *stale_cause;    /* with is_stale: why the Hub's answer is missing */
};

/*
 * Runs the steps: 1 answered; 0 the Hub has to be asked, and `asks_hub` is false; -1. The
 * answer is empty unless 1 is returned. Afterwards is_stale says whether it is stale.
 */
int hc_resolution_run(struct hc_resolution *resolution, bool asks_hub,
                      struct hc_error *err);

/*
 * The same from memory alone (cache/memo.h), without a system call: 1 answered; 0 the
 * volume has to be looked at; -1 the request fails in any case. `is_due` of the
 * resolution is set by its kind.
 */
int hc_resolution_recall(struct hc_resolution *resolution, struct hc_error *err);

/* As hc_resolution_run(): the steps from the check on, of a resolution whose decision is
 * made. */
int hc_resolution_continue(struct hc_resolution *resolution, bool asks_hub,
                           struct hc_error *err);

/* At the end: gives back what the decision holds. */
void hc_resolution_clear(struct hc_resolution *resolution);

/* ---- for the kinds ----------------------------------------------------------------- */

/* The check: INVALID_* for a bad repo id, a bad revision or options that exclude each
 * other; before any I/O. */
int hc_resolution_check(struct hc_resolution *resolution, struct hc_error *err);

/* For a fetch that failed, as `err` says, at what a listing describes; always -1. */
int hc_resolution_suspect_listing(struct hc_resolution *resolution,
                                  const struct hc_error *err);

/* ---- authorization.c --------------------------------------------------------------- */

/* The step alias: replaces a name of the policy by the repo and revision that it stands
 * for. An alias of another type than the request names is none. `rules` NULL: without a
 * policy. */
int hc_resolution_replace_alias(struct hc_resolution *resolution,
                                const struct hc_rules *rules, struct hc_error *err);

/*
 * May this caller have this? The only place where that is decided, for every kind, for
 * local directories and for hits, before anything is looked at. The target is as the
 * request has it, not checked yet; of a local directory, its name below the local root,
 * `local_id`, because many ids lead to it. What the resolver looks at for itself is for
 * no caller. Takes over the hold of `held`, which may be NULL.
 */
int hc_resolution_authorize(struct hc_resolution *resolution, struct hc_rules *held,
                            const char *local_id, struct hc_error *err);

/* May the caller have the file, of this size or HC_SIZE_UNKNOWN? POLICY_DENIED. */
int hc_resolution_authorize_file(const struct hc_resolution *resolution, const char *path,
                                 uint64_t size, struct hc_error *err);

/* The rule that allows the file; "" without a policy. */
void hc_resolution_name_rule(const struct hc_resolution *resolution, const char *path,
                             char rule[HC_RULE_NAME_MAX + 1]);

/* Of the rule that lets the caller have the file; NULL: the default, or no policy. */
const char *hc_resolution_rule_name(const struct hc_resolution *resolution,
                                    const char *path, uint64_t size);

/* May the caller have the answer as a whole? POLICY_DENIED when all of its files are
 * denied, or when they have more bytes than the rule allows. */
int hc_resolution_authorize_snapshot(const struct hc_resolution *resolution,
                                     const struct hc_snapshot *snapshot,
                                     struct hc_error *err);

/* ---- credentials.c ----------------------------------------------------------------- */

/* The rule by which the repo comes from another endpoint than the settings name; NULL:
 * none. The decision holds the rule: a resolution that runs keeps its endpoint when the
 * policy changes. */
const struct hc_rule *
hc_resolution_find_endpoint_rule(const struct hc_resolution *resolution);

/* The caller's own token, if it is for the endpoint that is asked; NULL. */
const char *hc_resolution_own_token(const struct hc_resolution *resolution);

/* The endpoint for the credentials; NULL: that of the settings. */
int hc_resolution_choose_endpoint(const struct hc_resolution *resolution,
                                  struct hc_endpoint **endpoint, struct hc_error *err);

/* The token that the Hub is asked with; "": none. */
int hc_resolution_choose_token(const struct hc_resolution *resolution,
                               char token[HC_TOKEN_MAX + 1], struct hc_error *err);

/* With what the Hub is asked about `revision`. A mirror is not asked about a name for
 * which the Hub itself has named a commit before. */
struct hc_hub_credentials hc_resolution_credentials(struct hc_resolution *resolution,
                                                    const char *revision);

/* ---- ref.c ------------------------------------------------------------------------- */

/*
 * What refs/<revision> says: 1 when `commit` can be used as it is, 0 when the Hub has to
 * be asked and `commit` is what it said before, or "".
 */
int hc_resolution_read_ref(const struct hc_resolution *resolution,
                           char commit[HC_COMMIT_SIZE], struct hc_error *err);

/* Records that the revision means the resolution's commit, if the Hub itself said so. A
 * revision that is kept (keep.h) moves only with a whole snapshot. */
int hc_resolution_write_ref(const struct hc_resolution *resolution, struct hc_error *err);

/* Whether the ref may name that commit from now on. */
bool hc_resolution_may_move_ref(const struct hc_resolution *resolution,
                                const char *commit);

/* ---- hub_answers.c ----------------------------------------------------------------- */

/* Whether there are mirrors that have this repo. */
bool hc_resolution_has_mirrors(const struct hc_resolution *resolution);

/* An answer to a token does not say whether the Hub would give the same without one, so
 * the Hub is asked about the repo, once a day. */
void hc_resolution_ask_visibility(struct hc_resolution *resolution);

/*
 * Takes in a failure that may be the Hub's refusal of the repo. A repo that is hidden
 * from a caller is not public; a refused token says nothing about the repo. Callers may
 * name repos that do not exist: without mirrors, a refusal is only recorded of a repo
 * that was public.
 */
void hc_resolution_note_refusal(struct hc_resolution *resolution,
                                const struct hc_error *err);

/* Take in what the Hub, or a mirror, answered: about the name, perhaps to another caller;
 * about the repo, by /revision; about a file at `revision`. */
void hc_resolution_note_revision(struct hc_resolution *resolution,
                                 const struct hc_revision *answer);
void hc_resolution_note_repo(struct hc_resolution *resolution,
                             const struct hc_revision *answer);
void hc_resolution_note_file(struct hc_resolution *resolution, const char *revision,
                             const struct hc_metadata *metadata);

/* ---- not_cached.c ------------------------------------------------------------------ */

/* NOT_CACHED for the file `path`, or with NULL for a snapshot: says why the Hub is not
 * asked, what the cache has instead, and the way out. */
int hc_resolution_fail_not_cached(const struct hc_resolution *resolution,
                                  const char *path, struct hc_error *err);

/* ---- access.c ---------------------------------------------------------------------- */

enum hc_access_depth {
    HC_ACCESS_BY_MEMORY, /* without a system call */
    HC_ACCESS_BY_VOLUME,
    HC_ACCESS_BY_HUB
};

/*
 * 1: the caller may have the repo; 0: what may be looked at does not tell; -1: it may
 * not, or the Hub could not say. After the check.
 */
int hc_resolution_check_access(struct hc_resolution *resolution,
                               enum hc_access_depth depth, struct hc_error *err);

/* The Hub has said whether the repo is public; it has refused the repo to the caller. */
void hc_resolution_note_access(const struct hc_resolution *resolution,
                               enum hc_visibility visibility);
void hc_resolution_deny_access(const struct hc_resolution *resolution,
                               const struct hc_error *refusal);

/* ---- alternative.c ----------------------------------------------------------------- */

/*
 * For a request with a denied file, as `err` says: if the commit has a file that the
 * caller may have instead, `err` says so, too. -1; or 0: the listing of the commit is not
 * in the cache, and `asks_hub` is false.
 */
int hc_resolution_offer_alternative(const struct hc_resolution *resolution, bool asks_hub,
                                    struct hc_error *err);

/* ---- blob.c ------------------------------------------------------------------------ */

/*
 * Fetches a blob if the caller's quota has room for it, and makes the pointer to it.
 * `request` is made by the caller and passed unchanged to the source of the bytes. A
 * failure of the volume is reported together with the file that was to be kept on it.
 */
int hc_resolution_fetch_blob(const struct hc_resolution *resolution,
                             const struct hc_blob_request *request,
                             const struct hc_hub_credentials *credentials,
                             struct hc_blob_result *result, struct hc_error *err);

/* The same for an entry of the tree, of which the quota knows; an etag that the listing
 * lacks is asked of the Hub. */
int hc_resolution_fetch_entry(const struct hc_resolution *resolution,
                              const struct hc_entry *entry,
                              const struct hc_hub_credentials *credentials,
                              struct hc_blob_result *result, struct hc_error *err);

/* ---- quota.c ----------------------------------------------------------------------- */

struct hc_fetched_reservation;

/* Before a byte is fetched: NO_SPACE when the caller's quota has too little left. The
 * reservation is NULL without a quota; it is dropped when the blobs are there. */
int hc_resolution_reserve_blob(const struct hc_resolution *resolution,
                               const struct hc_blob_request *request,
                               struct hc_fetched_reservation **reservation,
                               struct hc_error *err);
int hc_resolution_reserve_entries(const struct hc_resolution *resolution,
                                  const struct hc_entry *const *entries, size_t count,
                                  struct hc_fetched_reservation **reservation,
                                  struct hc_error *err);

/* ---- revision.c -------------------------------------------------------------------- */

/*
 * Asks the kind's question what the revision means, unless another thread is asking it,
 * or the ref is fresh by now. 0, and no commit in `answer` when the Hub did not say. Not
 * for force_download.
 */
int hc_resolution_share_revision(struct hc_resolution *resolution,
                                 struct hc_revision *answer, struct hc_error *err);

/* The steps of the kinds that use the tree of a commit. */
int hc_revision_ask(struct hc_resolution *resolution, struct hc_revision *answer,
                    struct hc_error *err);
int hc_revision_describe(struct hc_resolution *resolution, struct hc_error *err);

/* ---- confirm.c --------------------------------------------------------------------- */

/* Has what memory answered looked at by a thread of the pool for lookups. */
void hc_confirm_files(const struct hc_resolution *resolution, const char *const *paths,
                      size_t count);
/* With `looks_at_all`, each of its files, whatever a proof says. */
void hc_confirm_snapshot(const struct hc_resolution *resolution,
                         const struct hc_patterns *patterns, bool looks_at_all);

/* ---- files.c and snapshot.c, for confirm.c ----------------------------------------- */

/* Answer the request as hc_resolve_*_cached() do, for no caller, and for what that
 * remembers. */
void hc_files_confirm(struct hc_resolver *resolver,
                      const struct hc_files_request *request);
/* `decision`: which files of it are of interest. */
void hc_snapshot_confirm(struct hc_resolver *resolver,
                         const struct hc_snapshot_request *request,
                         const struct hc_decision *decision, bool looks_at_all);

/* ---- files.c and snapshot.c, for lease.c ------------------------------------------- */

/* Whether what the request was answered, at `commit`, is still on the volume: 1, 0, or -1
 * as a request that must not ask the Hub fails. */
int hc_files_look_again(struct hc_resolver *resolver,
                        const struct hc_files_request *request, const char *commit,
                        struct hc_error *err);
int hc_snapshot_look_again(struct hc_resolver *resolver,
                           const struct hc_snapshot_request *request, const char *commit,
                           struct hc_error *err);

/* ---- file.c, for files.c as well --------------------------------------------------- */

/* One file of one commit, from the cache: 1 found, 0 not there, -1 (ENTRY_NOT_FOUND:
 * marked in .no_exist). */
int hc_resolution_find_file(const struct hc_resolution *resolution, const char *commit,
                            const char *path, struct hc_file *file, struct hc_error *err);

/* ---- resolved_file.c --------------------------------------------------------------- */

/* Where a file of the commit is, or would be, and the rule that allows it; the rest of
 * `file` is zero. The caller clears it. */
int hc_resolution_place_file(const struct hc_resolution *resolution, const char *commit,
                             const char *path, struct hc_file *file,
                             struct hc_error *err);

/* The same of an entry, with what the listing says, as if it still had to be fetched. */
int hc_resolution_place_entry(const struct hc_resolution *resolution, const char *commit,
                              const struct hc_entry *entry, struct hc_file *file,
                              struct hc_error *err);

/* ---- keep.c ------------------------------------------------------------------------ */

/* For no caller: the snapshot as the Hub has it now. What only a mirror said is stale. */
int hc_snapshot_keep(struct hc_resolver *resolver,
                     const struct hc_snapshot_request *request,
                     struct hc_cancellation *cancellation, struct hc_snapshot *snapshot,
                     struct hc_error *err);

#endif
