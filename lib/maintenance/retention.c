/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Here is which revisions may expire at all; which of them are old enough is looked at
 * where all holds are, and once more before the removal of each.
 */
#include "retention.h"

#include "pointed_blobs.h"

#include <base/cancellation.h>
#include <base/text.h>
#include <cache/fetched.h>
#include <cache/walk.h>

#include <stdlib.h>
#include <string.h>

/* The rules of one pass, and the repo that it has reached. */
struct retention_pass {
    const struct hc_cache *cache;
    const struct hc_rules *rules;
    const struct hc_repo *repo;
};

static bool rules_have_retention(const struct hc_rules *rules)
{
    for (size_t i = 0; i < rules->count; i++) {
        if (rules->items[i].retention_ms > 0)
            return true;
    }
    return false;
}

/* A rule that the policy does not have any more has no retention. */
static bool rule_has_retention(const struct hc_rules *rules, const char *name)
{
    for (size_t i = 0; i < rules->count; i++) {
        if (strcmp(rules->items[i].name, name) == 0)
            return rules->items[i].retention_ms > 0;
    }
    return false;
}

static bool blob_has_retention(const struct retention_pass *pass, const char *etag)
{
    const struct hc_blob_id blob = {pass->repo->folder, etag};
    HC_AUTO_VALUE(hc_fetched) fetched = {0};
    struct hc_error unused;

    return hc_fetched_read(pass->cache, &blob, &fetched, &unused) == 1 &&
           rule_has_retention(pass->rules, fetched.rule);
}

/* Whether a rule with a retention has let in each blob, and there is one. */
static bool revision_was_let_in(const struct retention_pass *pass, const char *commit)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_files(pass->cache, pass->repo, commit);
    HC_AUTO_VALUE(hc_pointed_blobs) blobs = {0};
    struct hc_error unused;

    if (hc_pointed_blobs_read(&blobs, &walk, &unused) < 0)
        return false;
    for (size_t i = 0; i < blobs.count; i++) {
        if (!blob_has_retention(pass, blobs.items[i].etag))
            return false;
    }
    return blobs.count > 0;
}

/* Whether a rule with a retention matches the commit, or a ref that names it. */
static bool revision_has_retention(const struct retention_pass *pass, const char *commit)
{
    HC_AUTO_VALUE(hc_strings) names = {0};
    struct hc_error unused;

    return hc_repo_find_refs(pass->cache, pass->repo, commit, &names, &unused) >= 0 &&
           hc_strings_add(&names, commit, &unused) == 0 &&
           hc_rules_retention_ms(pass->rules, pass->repo->type, pass->repo->id,
                                 (const char *const *)names.items, names.count) > 0;
}

static int repo_list_commits(const struct retention_pass *pass,
                             struct hc_strings *commits, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_snapshots(pass->cache, pass->repo);

    while (hc_directory_walk_next(&walk)) {
        if (revision_has_retention(pass, walk.path) &&
            revision_was_let_in(pass, walk.path) &&
            hc_strings_add(commits, walk.path, err) < 0)
            return -1;
    }
    return 0;
}

static int repo_expire(const struct retention_pass *pass, struct hc_removal *removal,
                       struct hc_error *err)
{
    HC_AUTO_VALUE(hc_strings) commits = {0};
    struct hc_removal_request request = {.repo = pass->repo,
                                         .detail = "not used within its retention"};

    if (repo_list_commits(pass, &commits, err) < 0)
        return -1;
    if (commits.count == 0) /* a request without commits is for the whole repo */
        return 0;
    request.commits = (const char *const *)commits.items;
    request.commit_count = commits.count;
    return hc_removal_take(removal, &request, err);
}

int hc_retention_expire(const struct hc_cache *cache, struct hc_policy *policy,
                        const struct hc_retention_options *options,
                        struct hc_removal_result *result, struct hc_error *err)
{
    const struct hc_hold_rules hold_rules = hc_hold_rules_of(policy);
    const struct hc_removal_options removal_options = {.rules = &hold_rules,
                                                       .is_dry_run = options->is_dry_run};
    HC_AUTO(hc_rules) *rules = hc_policy_hold_rules(policy);
    HC_AUTO(hc_removal) *removal = NULL;
    HC_AUTO_VALUE(hc_directory_walk) walk = {0};
    struct hc_repo repo;

    if (!rules || !rules_have_retention(rules))
        return 0;
    removal = hc_removal_new(cache, &removal_options, result, err);
    if (!removal)
        return -1;
    walk = hc_walk_repos(cache);
    while (hc_walk_next_repo(&walk, &repo)) {
        const struct retention_pass pass = {cache, rules, &repo};

        if (hc_cancellation_check(options->cancellation, err) < 0 ||
            repo_expire(&pass, removal, err) < 0)
            return -1;
    }
    return 0;
}
