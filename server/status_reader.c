/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A failure's message may name any repo, if the failure is of none: such a failure is for
 * administrators and for the caller that has seen it.
 */
#include "status_reader.h"

#include <policy/policy.h>
#include <repo/repo.h>

#include <string.h>

struct hc_status_reader hc_status_reader_of(struct hc_policy *policy,
                                            const struct hc_identity *identity)
{
    return (struct hc_status_reader){policy, identity,
                                     hc_policy_may_see_all(policy, identity)};
}

bool hc_status_reader_sees(const struct hc_status_reader *reader, enum hc_repo_type type,
                           const char *repo_id)
{
    struct hc_repo repo;
    struct hc_error unused;

    return reader->sees_all ||
           (hc_repo_init(&repo, type, repo_id, &unused) == 0 &&
            hc_policy_may_see(reader->policy, reader->identity, &repo));
}

static void limit_repos(const struct hc_status_reader *reader, struct hc_usage *usage)
{
    size_t count = 0;

    for (size_t i = 0; i < usage->listed; i++) {
        if (hc_status_reader_sees(reader, usage->repos[i].type, usage->repos[i].id))
            usage->repos[count++] = usage->repos[i];
    }
    usage->listed = count;
}

/* An anonymous reader has no calls of its own: callers without a name are many. */
static bool failure_is_of(const struct hc_recent_failure *failure,
                          const struct hc_identity *identity)
{
    return identity && identity->name && *identity->name &&
           strcmp(failure->caller, identity->name) == 0;
}

static void limit_failures(const struct hc_status_reader *reader,
                           struct hc_status_facts *facts)
{
    size_t count = 0;

    for (size_t i = 0; i < facts->failure_count; i++) {
        struct hc_recent_failure *failure = &facts->failures[i];
        bool is_own = failure_is_of(failure, reader->identity);

        if (*failure->repo_id
                ? !hc_status_reader_sees(reader, failure->repo_type, failure->repo_id)
                : !is_own)
            continue;
        if (!is_own)
            failure->caller[0] = '\0';
        facts->failures[count++] = *failure;
    }
    facts->failure_count = count;
}

static void limit_behind(const struct hc_status_reader *reader,
                         struct hc_status_facts *facts)
{
    size_t count = 0;

    for (size_t i = 0; i < facts->behind_count; i++) {
        if (hc_status_reader_sees(reader, facts->behind[i].repo_type,
                                  facts->behind[i].repo_id))
            facts->behind[count++] = facts->behind[i];
    }
    facts->behind_count = count;
}

void hc_status_reader_limit(const struct hc_status_reader *reader,
                            struct hc_status_facts *facts)
{
    facts->is_limited = !reader->sees_all;
    if (!facts->is_limited)
        return;
    limit_repos(reader, &facts->usage);
    limit_failures(reader, facts);
    limit_behind(reader, facts);
}
