/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: the options, the policy and the time that is given decide whether the Hub is
 * asked and whether an older answer will do, and nothing else does.
 */
#include "test.h"

#include <policy/policy.h>

static const struct hc_policy online = {.max_staleness_ms = 60000};
static const struct hc_policy offline = {.offline = true, .max_staleness_ms = 60000};
static const struct hc_fetch_options defaults;

static void offline_and_local_files_only_never_ask_the_hub(void **state)
{
    const struct hc_fetch_options local = {.local_files_only = true};

    (void)state;
    assert_true(hc_policy_may_ask_hub(&online, &defaults));
    assert_false(hc_policy_may_ask_hub(&offline, &defaults));
    assert_false(hc_policy_may_ask_hub(&online, &local));
}

static void assert_invalid(const struct hc_policy *policy,
                           struct hc_fetch_options options, const char *field)
{
    struct hc_error err = {0};

    assert_int_equal(hc_policy_check(policy, &options, &err), -1);
    assert_int_equal(err.reason, HC_INVALID_OPTIONS);
    assert_string_equal(err.field, field);
}

static void force_excludes_what_forbids_asking_the_hub(void **state)
{
    const struct hc_fetch_options force = {.force_download = true};
    const struct hc_fetch_options dry = {.force_download = true, .dry_run = true};
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_policy_check(&online, &force, &err), 0);
    assert_int_equal(hc_policy_check(&online, &dry, &err), 0);
    assert_int_equal(hc_policy_check(&offline, &defaults, &err), 0);
    assert_invalid(&offline, force, "options.force_download");
    assert_invalid(&online,
                   (struct hc_fetch_options){.force_download = true,
                                             .local_files_only = true},
                   "options.force_download");
}

static void a_negative_staleness_is_an_invalid_option(void **state)
{
    (void)state;
    assert_invalid(&online,
                   (struct hc_fetch_options){.has_max_staleness = true,
                                             .max_staleness_ms = -1},
                   "options.max_staleness");
}

static void an_answer_is_good_until_the_limit(void **state)
{
    (void)state;
    assert_true(hc_policy_is_fresh(&online, &defaults, 1000000, 1000000));
    assert_true(hc_policy_is_fresh(&online, &defaults, 1000000, 1060000));
    assert_false(hc_policy_is_fresh(&online, &defaults, 1000000, 1060001));
}

static void the_request_may_ask_for_less_or_more(void **state)
{
    const struct hc_fetch_options now = {.has_max_staleness = true};
    const struct hc_fetch_options day = {.has_max_staleness = true,
                                         .max_staleness_ms = 86400000};

    (void)state;
    assert_false(hc_policy_is_fresh(&online, &now, 1000000, 1000000));
    assert_true(hc_policy_is_fresh(&online, &day, 1000000, 50000000));
}

static void a_clock_far_ahead_makes_nothing_fresh(void **state)
{
    (void)state;
    assert_true(hc_policy_is_fresh(&online, &defaults, 1000100, 1000000));
    assert_false(hc_policy_is_fresh(&online, &defaults, 900000000, 1000000));
    assert_false(hc_policy_is_fresh(&online, &defaults, INT64_MIN, 1000000));
    assert_false(hc_policy_is_fresh(&online, &defaults, INT64_MAX, -1000000));
}

static bool may_fall_back(enum hc_reason reason, bool is_final, bool is_own_token)
{
    const struct hc_error failure = {.reason = reason, .is_final = is_final};

    return hc_policy_may_fall_back(&failure, is_own_token);
}

static void the_cache_answers_only_when_the_hub_cannot(void **state)
{
    static const enum hc_reason fall_back[] = {HC_HUB_UNREACHABLE, HC_HUB_RATE_LIMITED,
                                               HC_REPO_NOT_FOUND,  HC_GATED_REPO,
                                               HC_REPO_DISABLED,   HC_HUB_UNAUTHORIZED,
                                               HC_BAD_HUB_REPLY,   HC_INTERNAL};
    static const enum hc_reason final[] = {HC_REVISION_NOT_FOUND, HC_ENTRY_NOT_FOUND,
                                           HC_CANCELLED, HC_DEADLINE_EXCEEDED};

    (void)state;
    for (size_t i = 0; i < sizeof fall_back / sizeof *fall_back; i++) {
        assert_true(may_fall_back(fall_back[i], false, false));
        assert_false(may_fall_back(fall_back[i], true, false));
    }
    for (size_t i = 0; i < sizeof final / sizeof *final; i++) {
        assert_false(may_fall_back(final[i], false, false));
        assert_false(may_fall_back(final[i], false, true));
    }
}

static void a_refusal_of_the_callers_own_token_permits_no_older_answer(void **state)
{
    static const enum hc_reason refusals[] = {HC_REPO_NOT_FOUND, HC_GATED_REPO,
                                              HC_REPO_DISABLED, HC_HUB_UNAUTHORIZED};
    static const enum hc_reason others[] = {HC_HUB_UNREACHABLE, HC_HUB_RATE_LIMITED,
                                            HC_BAD_HUB_REPLY};

    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        assert_false(may_fall_back(refusals[i], false, true));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_true(may_fall_back(others[i], false, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offline_and_local_files_only_never_ask_the_hub),
        cmocka_unit_test(force_excludes_what_forbids_asking_the_hub),
        cmocka_unit_test(a_negative_staleness_is_an_invalid_option),
        cmocka_unit_test(an_answer_is_good_until_the_limit),
        cmocka_unit_test(the_request_may_ask_for_less_or_more),
        cmocka_unit_test(a_clock_far_ahead_makes_nothing_fresh),
        cmocka_unit_test(the_cache_answers_only_when_the_hub_cannot),
        cmocka_unit_test(a_refusal_of_the_callers_own_token_permits_no_older_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
