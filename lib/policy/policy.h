/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request may do: what its caller may have, whether it may ask the Hub, with which
 * token, and whether an older answer is good enough. The decisions are pure functions,
 * with the time as an argument; only the choice of a token reads a file. Callable from
 * any thread.
 */
#ifndef HC_POLICY_POLICY_H
#define HC_POLICY_POLICY_H

#include "decision.h"

#include <hubcache/error.h>
#include <hubcache/resolver.h>
#include <hubcache/settings.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct hc_repo;

/* All may change while requests run: each decision loads what it needs once. */
struct hc_policy {
    atomic_bool offline;
    atomic_int_least64_t max_staleness_ms;
    _Atomic uint32_t generation; /* of the rules; 0: there are none, nor will there be */
    struct {
        pthread_mutex_t lock; /* zero-initialized; see hc_policy_init() */
        struct hc_rules *rules;
    } shared;
};

void hc_policy_init(struct hc_policy *policy);
void hc_policy_clear(struct hc_policy *policy);

/* From now on these rules hold for decisions that begin. Takes over the caller's hold. */
void hc_policy_set_rules(struct hc_policy *policy, struct hc_rules *fresh);

/* The rules that hold now, which the caller releases; NULL: there is no policy. */
struct hc_rules *hc_policy_hold_rules(struct hc_policy *policy);

/* What a caller asks for. Borrowed. */
struct hc_policy_request {
    const struct hc_target *target; /* of an alias, what it stands for */
    const struct hc_fetch_options *options;
    const char *alias; /* NULL: none */
};

/*
 * May the caller that sends these options (its identity, its token) have `target`? 0, or
 * -1 with POLICY_DENIED and the rule. Asked before any answer, so also about what is
 * cached or in a local directory; `target` is as the request has it, not checked. Takes
 * over the hold of `rules`, which may be NULL; `decision` is to be cleared in every case.
 * It says which files of the target the caller may have.
 */
int hc_policy_authorize(struct hc_rules *rules, const struct hc_policy_request *request,
                        struct hc_decision *decision, struct hc_error *err);

/* What the deciding rule makes of the options: at most its max_staleness, its offline. */
struct hc_fetch_options hc_policy_grant(const struct hc_decision *decision,
                                        const struct hc_fetch_options *options);

/*
 * May the caller change what the cache has of the repo; with NULL, of every repo? 0, or
 * -1 with POLICY_DENIED and the rule "admin". Without a policy, and with one that allows
 * by default and has no rule of `action: admin`, every caller may. Else one that a rule
 * of that action matches, and for NULL one whose rule has neither repos nor types.
 */
int hc_policy_may_administer(struct hc_policy *policy, const struct hc_identity *identity,
                             const struct hc_repo *repo, struct hc_error *err);

/* May the caller change what the cache has of some repo, be that there or not? Else as
 * hc_policy_may_administer() of every repo. */
int hc_policy_may_administer_any(struct hc_policy *policy,
                                 const struct hc_identity *identity,
                                 struct hc_error *err);

/* Whether nothing is hidden from the caller: there is no policy, or a rule of `action:
 * admin` without repos and types matches it. */
bool hc_policy_may_see_all(struct hc_policy *policy, const struct hc_identity *identity);

/* Whether lists show the repo to the caller: a file of a revision may be allowed. */
bool hc_policy_may_see(struct hc_policy *policy, const struct hc_identity *identity,
                       const struct hc_repo *repo);

/* INVALID_OPTIONS: force_download together with local_files_only or offline; a
 * negative max_staleness. */
int hc_policy_check(const struct hc_policy *policy,
                    const struct hc_fetch_options *options, struct hc_error *err);

/* False offline and with local_files_only. */
bool hc_policy_may_ask_hub(const struct hc_policy *policy,
                           const struct hc_fetch_options *options);

/* Whether what the Hub said at `heard_ms` is still good at `now_ms` (both since the
 * epoch). */
bool hc_policy_is_fresh(const struct hc_policy *policy,
                        const struct hc_fetch_options *options, int64_t heard_ms,
                        int64_t now_ms);

/* How long it still is, a day at most; 0: it is not, or for no whole millisecond. */
int64_t hc_policy_fresh_left_ms(const struct hc_policy *policy,
                                const struct hc_fetch_options *options, int64_t heard_ms,
                                int64_t now_ms);

/*
 * Whether the cache may answer although the Hub failed so, by the reference client's
 * table (§2.3): always, but for REVISION_NOT_FOUND, ENTRY_NOT_FOUND, what is_final
 * marks, and a caller that gave up. With `is_own_token` the Hub was asked with the token
 * of the caller: then a refusal is final, too.
 */
bool hc_policy_may_fall_back(const struct hc_error *failure, bool is_own_token);

enum { HC_TOKEN_MAX = 4096 };

/*
 * The token that requests to the Hub carry: that of the caller, else HF_TOKEN, else the
 * content of the token file (§2.6), which is read each time, so that a rotated secret
 * takes effect at once. Fills `token`, "" for none; the caller wipes it. A token with
 * control characters or white space inside is HUB_UNAUTHORIZED: it would forge a header.
 *
 * A token file that is absent or empty means no token, as in the reference client, unless
 * it has held one: `*had_token` (Optional) remembers that. A file that lost its token or
 * cannot be read is INTERNAL, with its path and a time to try again: the Hub has refused
 * nothing, and asking it without a token would get an answer for strangers.
 */
int hc_token_choose(const struct hc_settings *settings, const char *caller_token,
                    atomic_bool *had_token, char token[HC_TOKEN_MAX + 1],
                    struct hc_error *err);

/* The token of a rule's `token_file`, which has to have one: else INTERNAL, with a time
 * to try again. */
int hc_token_read(const char *path, char token[HC_TOKEN_MAX + 1], struct hc_error *err);

#endif
