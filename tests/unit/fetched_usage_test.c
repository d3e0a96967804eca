/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: usage has one row for each name of a caller and for each rule, the largest
 * first and HC_USAGE_NAMES_MAX at most, with the quota that counts for the caller; and of
 * one caller alone when only that one is asked for.
 */
#include "cache_fixture.h"

#include <cache/fetched_totals.h>
#include <maintenance/fetched_usage.h>
#include <policy/rules_file.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

/* A blob of `bytes` for the caller; the anonymous one has the name NULL. */
static void record(struct fixture *f, const char *kind, const char *name,
                   const char *rule, uint64_t bytes)
{
    static unsigned count;
    const struct hc_identity identity = {.kind = kind, .name = name};
    char etag[41];
    const struct hc_blob_request request = {.blob = {f->repo.folder, etag},
                                            .identity = name ? &identity : NULL,
                                            .rule = rule};

    (void)snprintf(etag, sizeof etag, "%040x", count++);
    assert_int_equal(hc_fetched_write(f->cache, &request, bytes, &f->err), 0);
}

static struct hc_rules *read_rules(struct fixture *f, const char *text)
{
    HC_AUTO_FREE char *path = temp_dir_path(f->dir, "policy.yaml");
    struct hc_rules *rules;

    temp_dir_write(f->dir, "policy.yaml", text);
    rules = hc_rules_read(path, &f->err);
    assert_non_null(rules);
    return rules;
}

static void read_usage(struct fixture *f, const struct hc_rules *rules, const char *only,
                       struct hc_fetched_usage *usage)
{
    assert_int_equal(hc_fetched_totals_refresh(f->cache, 0, NULL, &f->err), 0);
    assert_int_equal(hc_fetched_usage_read(f->cache, rules, only, NULL, usage, &f->err),
                     0);
}

static void assert_row(const struct hc_named_usages *names, size_t i, const char *name,
                       uint64_t bytes, uint64_t files)
{
    assert_true(i < names->count);
    assert_string_equal(names->items[i].name, name);
    assert_int_equal(names->items[i].bytes, bytes);
    assert_int_equal(names->items[i].files, files);
}

static void nothing_was_fetched_at_first(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_fetched_usage) usage;

    read_usage(f, NULL, NULL, &usage);
    assert_int_equal(usage.callers.count, 0);
    assert_int_equal(usage.rules.count, 0);
}

static void callers_and_rules_have_one_row_each_the_largest_first(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_fetched_usage) usage;

    record(f, "token", "alice", "a", 10);
    record(f, "jwt", "bob", "b", 25);
    record(f, "jwt", "alice", "b", 20);
    record(f, NULL, NULL, NULL, 5);
    record(f, "token", "alice", "a", 0);
    read_usage(f, NULL, NULL, &usage);

    assert_int_equal(usage.callers.count, 3);
    assert_row(&usage.callers, 0, "alice", 30, 3);
    assert_row(&usage.callers, 1, "bob", 25, 1);
    assert_row(&usage.callers, 2, "", 5, 1);
    assert_int_equal(usage.rules.count, 3);
    assert_row(&usage.rules, 0, "b", 45, 2);
    assert_row(&usage.rules, 1, "a", 10, 2);
    assert_row(&usage.rules, 2, "", 5, 1);
}

static void one_caller_alone_has_no_rules_and_no_others(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_fetched_usage) bob;
    HC_AUTO_VALUE(hc_fetched_usage) anonymous;
    HC_AUTO_VALUE(hc_fetched_usage) unknown;

    record(f, "token", "alice", "a", 10);
    record(f, "token", "bob", "a", 25);
    record(f, NULL, NULL, NULL, 5);
    read_usage(f, NULL, "bob", &bob);
    read_usage(f, NULL, "", &anonymous);
    read_usage(f, NULL, "carol", &unknown);

    assert_int_equal(bob.callers.count + anonymous.callers.count, 2);
    assert_row(&bob.callers, 0, "bob", 25, 1);
    assert_row(&anonymous.callers, 0, "", 5, 1);
    assert_int_equal(unknown.callers.count, 0);
    assert_int_equal(bob.rules.count + anonymous.rules.count + unknown.rules.count, 0);
}

static void a_row_has_the_quota_that_counts_for_the_caller(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_rules) *rules = read_rules(f, "version: 1\ndefault: allow\nquotas:\n"
                                             "- callers: [alice]\n  bytes: 7k\n"
                                             "- callers: [\"a*\", bob]\n  bytes: 9k\n");
    HC_AUTO_VALUE(hc_fetched_usage) usage;

    record(f, "token", "alice", "", 30);
    record(f, "token", "bob", "", 20);
    record(f, "token", "carol", "", 10);
    read_usage(f, rules, NULL, &usage);

    assert_int_equal(usage.callers.items[0].quota_bytes, 7000);
    assert_int_equal(usage.callers.items[1].quota_bytes, 9000);
    assert_int_equal(usage.callers.items[2].quota_bytes, 0);
}

static void the_smallest_rows_beyond_the_limit_are_left_out(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_fetched_usage) full;
    HC_AUTO_VALUE(hc_fetched_usage) cut;
    char name[16];

    for (unsigned i = 1; i <= HC_USAGE_NAMES_MAX; i++) {
        (void)snprintf(name, sizeof name, "c%u", i);
        record(f, "token", name, "r", i);
    }
    read_usage(f, NULL, NULL, &full);
    record(f, "token", "largest", "r", 5000);
    read_usage(f, NULL, NULL, &cut);

    assert_int_equal(full.callers.count, HC_USAGE_NAMES_MAX);
    assert_row(&full.callers, HC_USAGE_NAMES_MAX - 1, "c1", 1, 1);
    assert_int_equal(cut.callers.count, HC_USAGE_NAMES_MAX);
    assert_row(&cut.callers, 0, "largest", 5000, 1);
    assert_row(&cut.callers, HC_USAGE_NAMES_MAX - 1, "c2", 2, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(nothing_was_fetched_at_first),
        WITH_CACHE(callers_and_rules_have_one_row_each_the_largest_first),
        WITH_CACHE(one_caller_alone_has_no_rules_and_no_others),
        WITH_CACHE(a_row_has_the_quota_that_counts_for_the_caller),
        WITH_CACHE(the_smallest_rows_beyond_the_limit_are_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
