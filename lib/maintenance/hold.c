/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is cheap to look at comes first, and a lease before all: "who uses it?" is the
 * question that a caller has. That a transfer is one of this revision, its listing says;
 * without a listing, each transfer of the repo may be.
 */
#include "hold.h"

#include <cache/pin.h>
#include <cache/roll_out.h>
#include <cache/tree_cache.h>
#include <claim/fetching.h>
#include <claim/lease.h>
#include <policy/policy.h>
#include <policy/rules.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef bool hold_look(const struct hc_cache *cache, const struct hc_hold_rules *rules,
                       const struct hc_hold_subject *subject, struct hc_hold *hold);

static bool hold_set(struct hc_hold *hold, enum hc_held_by by, const char *detail)
{
    hold->by = by;
    (void)snprintf(hold->detail, sizeof hold->detail, "%s", detail);
    return true;
}

struct hc_hold hc_hold_of_failure(const struct hc_error *failure)
{
    struct hc_hold hold = {0};

    (void)hold_set(&hold, HC_HELD_BY_FAILURE, failure->message);
    return hold;
}

static bool hold_fail(struct hc_hold *hold, const struct hc_error *failure)
{
    return hold_set(hold, HC_HELD_BY_FAILURE, failure->message);
}

/* ---- lease ------------------------------------------------------------------------- */

static bool hold_set_lease(struct hc_hold *hold, const struct hc_lease *lease)
{
    char until[32] = "";
    time_t seconds = (time_t)(lease->until_ms / 1000);
    struct tm utc;

    if (gmtime_r(&seconds, &utc))
        (void)strftime(until, sizeof until, "%Y-%m-%dT%H:%M:%SZ", &utc);
    hold->by = HC_HELD_BY_LEASE;
    (void)snprintf(hold->detail, sizeof hold->detail, "%.100s%s%.100s uses it until %s",
                   lease->caller[0] ? lease->caller : "an anonymous caller",
                   lease->pod[0] ? " on " : "", lease->pod, until);
    return true;
}

struct hc_hold hc_hold_find_lease(const struct hc_cache *cache,
                                  const struct hc_repo *repo, const char *commit,
                                  int64_t now_ms)
{
    struct hc_hold hold = {0};
    struct hc_error err;
    int held = hc_lease_is_held(cache, repo, commit, now_ms, &err);

    if (held < 0)
        return hc_hold_of_failure(&err);
    if (held == 0)
        return hold;

    HC_AUTO_VALUE(hc_lease_list) list = hc_lease_list(cache, repo, commit, now_ms);

    if (hc_lease_list_next(&list))
        (void)hold_set_lease(&hold, &list.lease);
    else
        (void)hold_set(&hold, HC_HELD_BY_LEASE, "a lease of it has ended just now");
    return hold;
}

static bool hold_look_lease(const struct hc_cache *cache,
                            const struct hc_hold_rules *rules,
                            const struct hc_hold_subject *subject, struct hc_hold *hold)
{
    (void)rules;
    *hold = hc_hold_find_lease(cache, subject->repo, subject->commit, subject->now_ms);
    return hold->by != HC_HELD_BY_NONE;
}

/* ---- pin, keep, retention ---------------------------------------------------------- */

static bool hold_look_pin(const struct hc_cache *cache, const struct hc_hold_rules *rules,
                          const struct hc_hold_subject *subject, struct hc_hold *hold)
{
    struct hc_error err;
    struct hc_pin pin;
    int found = hc_pin_find(cache, subject->repo, subject->commit, &pin, &err);

    (void)rules;
    if (found < 0)
        return hold_fail(hold, &err);
    return found == 1 && hold_set(hold, HC_HELD_BY_PIN, pin.reason);
}

static bool hold_look_keep(const struct hc_cache *cache,
                           const struct hc_hold_rules *rules,
                           const struct hc_hold_subject *subject, struct hc_hold *hold)
{
    const struct hc_strings *refs = subject->refs;

    (void)cache;
    if (!rules || !rules->is_kept)
        return false;
    if (rules->is_kept(rules->ctx, subject->repo, subject->commit))
        return hold_set(hold, HC_HELD_BY_KEEP, "the policy keeps the commit");
    for (size_t i = 0; refs && i < refs->count; i++) {
        if (rules->is_kept(rules->ctx, subject->repo, refs->items[i])) {
            (void)hold_set(hold, HC_HELD_BY_KEEP, "");
            (void)snprintf(hold->detail, sizeof hold->detail, "the policy keeps '%.200s'",
                           refs->items[i]);
            return true;
        }
    }
    return false;
}

static int64_t subject_retention_ms(const struct hc_hold_rules *rules,
                                    const struct hc_hold_subject *subject)
{
    size_t count = subject->refs ? subject->refs->count : 0;
    HC_AUTO_FREE const char **names = calloc(count + 1, sizeof *names);

    if (!names)
        return INT64_MAX;
    names[0] = subject->commit;
    for (size_t i = 0; i < count; i++)
        names[i + 1] = subject->refs->items[i];
    return rules->retention_ms(rules->ctx, subject->repo, names, count + 1);
}

static bool hold_look_retention(const struct hc_cache *cache,
                                const struct hc_hold_rules *rules,
                                const struct hc_hold_subject *subject,
                                struct hc_hold *hold)
{
    int64_t keep_ms, age_ms = subject->now_ms - subject->last_used_ms;

    (void)cache;
    if (!rules || !rules->retention_ms)
        return false;
    keep_ms = subject_retention_ms(rules, subject);
    if (keep_ms <= 0 || age_ms >= keep_ms)
        return false;
    (void)hold_set(hold, HC_HELD_BY_RETENTION, "");
    (void)snprintf(hold->detail, sizeof hold->detail,
                   "used %" PRId64 " s ago, and the policy retains it for %" PRId64 " s",
                   age_ms / 1000, keep_ms / 1000);
    return true;
}

/* The new commit of a kept revision: no ref names it yet, and it may lack files. */
static bool hold_look_roll_out(const struct hc_cache *cache,
                               const struct hc_hold_rules *rules,
                               const struct hc_hold_subject *subject,
                               struct hc_hold *hold)
{
    (void)rules;
    return hc_roll_out_is_to(cache, subject->repo, subject->commit, subject->now_ms) &&
           hold_set(hold, HC_HELD_BY_KEEP, "a kept revision is rolled out to it");
}

/* ---- transfers --------------------------------------------------------------------- */

/* Whether a file of the listing is not in the snapshot. */
static bool snapshot_is_incomplete(const struct hc_cache *cache,
                                   const struct hc_hold_subject *subject,
                                   const struct hc_tree *tree)
{
    struct hc_error unused;
    char path[PATH_MAX];

    for (size_t i = 0; i < tree->count; i++) {
        if (tree->entries[i].is_safe &&
            (hc_cache_snapshot_path(path, subject->repo, subject->commit,
                                    tree->entries[i].path, &unused) < 0 ||
             faccessat(hc_cache_fd(cache), path, F_OK, AT_SYMLINK_NOFOLLOW) < 0))
            return true;
    }
    return false;
}

/* The etag that both a listing and a transfer have; NULL: none. */
static const char *tree_find_fetched(const struct hc_tree *tree,
                                     const struct hc_fetching *fetching)
{
    for (size_t i = 0; fetching->etags.count > 0 && i < tree->count; i++) {
        if (hc_fetching_has(fetching, hc_entry_etag(&tree->entries[i])))
            return tree->entries[i].path;
    }
    return NULL;
}

static bool hold_compare_transfers(const struct hc_cache *cache,
                                   const struct hc_hold_subject *subject,
                                   const struct hc_fetching *fetching,
                                   struct hc_hold *hold)
{
    HC_AUTO(hc_tree) *tree = NULL;
    struct hc_error err;
    int found = hc_tree_load(cache, subject->repo, subject->commit, NULL, &tree, &err);
    const char *path;

    if (found < 0)
        return hold_fail(hold, &err);
    hold->spares_files = !fetching->has_reservation && !fetching->has_foreign &&
                         (found == 0 || snapshot_is_incomplete(cache, subject, tree));
    if (found == 0)
        return hold_set(hold, HC_HELD_BY_TRANSFER,
                        "a file of the repo is being fetched, and there is no listing of "
                        "this commit");
    path = tree_find_fetched(tree, fetching);
    if (path) {
        (void)hold_set(hold, HC_HELD_BY_TRANSFER, "");
        (void)snprintf(hold->detail, sizeof hold->detail, "'%.200s' is being fetched",
                       path);
        return true;
    }
    return fetching->has_reservation && snapshot_is_incomplete(cache, subject, tree) &&
           hold_set(hold, HC_HELD_BY_TRANSFER, "a snapshot of the repo is being fetched");
}

/* What is no pointer, or is gone, may be. */
static bool file_is_fetched(const struct hc_cache *cache,
                            const struct hc_hold_subject *subject,
                            const struct hc_fetching *fetching)
{
    char path[PATH_MAX], target[PATH_MAX];
    struct hc_error unused;
    ssize_t length = -1;
    const char *name;

    if (hc_cache_snapshot_path(path, subject->repo, subject->commit, subject->path,
                               &unused) == 0)
        length = readlinkat(hc_cache_fd(cache), path, target, sizeof target - 1);
    if (length < 0)
        return true;
    target[length] = '\0';
    name = strrchr(target, '/');
    return hc_fetching_has(fetching, name ? name + 1 : target);
}

static bool hold_look_transfer(const struct hc_cache *cache,
                               const struct hc_hold_rules *rules,
                               const struct hc_hold_subject *subject,
                               struct hc_hold *hold)
{
    HC_AUTO_VALUE(hc_fetching) fetching = {0};
    struct hc_error err;

    (void)rules;
    if (hc_fetching_read(&fetching, cache, subject->repo, subject->now_ms, &err) < 0)
        return hold_fail(hold, &err);
    if (!hc_fetching_is_any(&fetching) ||
        !hold_compare_transfers(cache, subject, &fetching, hold))
        return false;
    return !subject->path || !hold->spares_files ||
           file_is_fetched(cache, subject, &fetching);
}

/* ---- the rules of a policy --------------------------------------------------------- */

/* Ids of repos are compared as the rules do: case does not matter. */
static bool policy_keeps(void *policy, const struct hc_repo *repo, const char *revision)
{
    HC_AUTO(hc_rules) *rules = hc_policy_hold_rules(policy);

    for (size_t i = 0; rules && i < rules->keep_count; i++) {
        const struct hc_named_revision *kept = &rules->keep[i];

        if (kept->type == repo->type && strcasecmp(kept->repo_id, repo->id) == 0 &&
            strcmp(kept->revision, revision) == 0)
            return true;
    }
    return false;
}

static int64_t policy_retention_ms(void *policy, const struct hc_repo *repo,
                                   const char *const *names, size_t count)
{
    HC_AUTO(hc_rules) *rules = hc_policy_hold_rules(policy);

    return rules ? hc_rules_retention_ms(rules, repo->type, repo->id, names, count) : 0;
}

struct hc_hold_rules hc_hold_rules_of(struct hc_policy *policy)
{
    return (struct hc_hold_rules){policy_keeps, policy_retention_ms, policy};
}

/* ---- the interface ----------------------------------------------------------------- */

struct hc_hold hc_hold_find(const struct hc_cache *cache,
                            const struct hc_hold_rules *rules,
                            const struct hc_hold_subject *subject)
{
    static hold_look *const looks[] = {hold_look_lease,     hold_look_pin,
                                       hold_look_keep,      hold_look_roll_out,
                                       hold_look_retention, hold_look_transfer};
    struct hc_hold hold = {0};

    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
        if (looks[i](cache, rules, subject, &hold))
            return hold;
    }
    return (struct hc_hold){0};
}
