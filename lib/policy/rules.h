/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of a policy file, compiled: which caller may have what, and under which
 * conditions; the names that stand for a repo at a revision; what is kept; what callers
 * may take up. hc_rules_read() makes them (rules_file.h). From then on they do not
 * change, so any number of threads reads them, members included; a thread that does so
 * holds them. Of the rules the first that matches decides (decision.h).
 *
 * A repo's id and the globs for it are compared without regard to case: to the Hub
 * "Org/Name" is the repo "org/name".
 */
#ifndef HC_POLICY_RULES_H
#define HC_POLICY_RULES_H

#include "globs.h"

#include <base/auto.h>
#include <base/text.h>
#include <hubcache/repo.h>
#include <hubcache/resolver.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HC_RULE_NAME_MAX = 63,     /* bytes */
    HC_RULE_MESSAGE_MAX = 200, /* likewise */
    HC_RULES_MAX = 4096,
    HC_ALIASES_MAX = 4096,
    HC_QUOTAS_MAX = 1024,
    HC_KEPT_MAX = 4096
};

enum hc_rule_action {
    HC_RULE_ALLOW,
    HC_RULE_DENY,
    HC_RULE_ADMIN /* allows, and lets the caller change what the cache has */
};

struct hc_rule {
    char *name;
    char *message; /* NULL: none */
    unsigned line; /* of the file */
    enum hc_rule_action action;

    /* What it matches. */
    struct hc_callers callers;
    struct hc_globs repos;
    unsigned types;            /* a bit 1 << type for each; 0: every one */
    struct hc_globs revisions; /* on the revision as the request names it */
    struct hc_globs files;     /* on the path within the repo */

    /* Under which conditions it allows. */
    bool require_commit;
    bool offline;
    bool has_max_staleness;
    int64_t max_staleness_ms;
    uint64_t max_file_size, max_snapshot_size; /* 0: any */
    int64_t retention_ms;                      /* 0: none */
    char *token_file;                          /* NULL: that of the settings */

    /* Where the Hub has the repo, for every caller; see hc_rules_find_endpoint(). */
    char *endpoint;                          /* NULL: that of the settings */
    unsigned endpoint_line, endpoint_column; /* of the file */
    bool caller_token;                       /* a caller's own token is sent there, too */
};

/* A repo at a revision, of `aliases` and `keep`. */
struct hc_named_revision {
    char *name; /* of the alias; NULL in `keep` */
    char *repo_id;
    enum hc_repo_type type; /* never HC_REPO_DEFAULT */
    char *revision;
    unsigned line, column;
};

/* What the blobs that these callers have had fetched may take up, all together. */
struct hc_quota {
    struct hc_callers callers;
    uint64_t bytes;
    unsigned line;
};

struct hc_decision_memo;
struct path_probe;
struct rule_probe;

struct hc_rules {
    atomic_uint holders;
    uint32_t generation; /* of this process, from 1 on: another one for each file read */
    bool denies;         /* what no rule matches */
    bool has_admin;      /* a rule of that action */
    bool has_endpoints;  /* a rule with one */
    struct hc_rule *items;
    size_t count;
    struct hc_named_revision *aliases; /* sorted by name */
    size_t alias_count;
    struct hc_quota *quotas; /* in the file's order; the first that matches counts */
    size_t quota_count;
    struct hc_named_revision *keep;
    size_t keep_count;
    struct rule_probe *probes;      /* one for each rule: refuses most of them */
    struct path_probe *path_probes; /* likewise, for its files */
    struct hc_decision_memo *memo;  /* NULL: a search costs less */
};

/* What is asked for, and by which caller. */
struct hc_policy_question {
    const struct hc_identity *identity; /* NULL: without one */
    enum hc_repo_type type;
    const char *repo_id;
    const char *revision; /* NULL: any */
};

enum { HC_PROBE_BYTES = 8 };

/* A search for the rules that match a question, which is borrowed. One thread's. */
struct hc_rule_search {
    const struct hc_policy_question *question;
    size_t next;                /* the rule that is looked at next */
    char repo[HC_SUBJECT_SIZE]; /* in lower case; zeros follow both texts */
    size_t repo_length;
    char caller[HC_SUBJECT_SIZE];
    size_t caller_length;
    bool is_unusual; /* too long for a probe, or with a "\\" */
    bool has_groups; /* the caller */
    size_t like;     /* rules of which is_like says whether their repos match */
    bool is_like;
};

void hc_rule_search_begin(struct hc_rule_search *search,
                          const struct hc_policy_question *question);

/*
 * The number of the next rule that matches but for its files, or rules->count. With a
 * revision of NULL the revisions of rules match, whatever they are.
 */
size_t hc_rule_search_next(struct hc_rule_search *search, const struct hc_rules *rules);

/* The first of these rules, by their numbers, whose files match; NULL: none. */
const struct hc_rule *hc_rules_find_file(const struct hc_rules *rules,
                                         const uint16_t *numbers, size_t count,
                                         const char *path);

/* Whether the rule matches but for its callers and its files. */
bool hc_rule_is_about(const struct hc_rule *rule,
                      const struct hc_policy_question *question);

/* Why a rule does not match, in words; "" and true when it does. `path` NULL: the repo as
 * a whole, which rules with `files` do not match. */
bool hc_rule_explain(const struct hc_rule *rule,
                     const struct hc_policy_question *question, const char *path,
                     char reason[256]);

/*
 * What the target's id stands for: 1; 0: the id is no alias, or one of another type; -1
 * with INVALID_REVISION: the target names another revision, too. `rules` NULL: 0.
 */
int hc_rules_find_alias(const struct hc_rules *rules, const struct hc_target *target,
                        const struct hc_named_revision **alias, struct hc_error *err);

/* The first quota for this caller; NULL: none. */
const struct hc_quota *hc_rules_find_quota(const struct hc_rules *rules,
                                           const struct hc_identity *identity);

/*
 * How long after its last use a revision may not be removed: the longest `retention` of
 * the rules that match the repo and one of `names`, the commit and the refs that name it.
 * 0: none. Which callers such a rule is for does not matter.
 */
int64_t hc_rules_retention_ms(const struct hc_rules *rules, enum hc_repo_type type,
                              const char *repo_id, const char *const *names,
                              size_t count);

/*
 * The first rule with an endpoint that matches the repo; NULL: none does. A cache has a
 * repo from one endpoint, so neither callers nor the rule that decides matter.
 */
const struct hc_rule *hc_rules_find_endpoint(const struct hc_rules *rules,
                                             enum hc_repo_type type, const char *repo_id);

/* "allow", "deny", "admin". */
const char *hc_rule_action_name(enum hc_rule_action action);

/* ---- making them ------------------------------------------------------------------- */

/* Empty ones, held once. */
struct hc_rules *hc_rules_new(struct hc_error *err);

/* After the members are filled: compiles the globs. The globs have passed
 * hc_patterns_check(). */
int hc_rules_compile(struct hc_rules *rules, struct hc_error *err);

struct hc_rules *hc_rules_hold(struct hc_rules *rules);
void hc_rules_release(struct hc_rules *rules); /* NULL is fine */
HC_DEFINE_AUTO(hc_rules, hc_rules_release)

#endif
