/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: callers that measure the usage of a cache at the same time share one scan,
 * and each has its own copy; but for callers that select other repos, callers from which
 * the policy hides repos, and a caller that gave up, whose failure is its own.
 */
#include "resolver_fixture.h"

#include "temp_dir.h"

#include <cache/usage.h>
#include <hubcache/inventory.h>
#include <resolver/resolver.h>

#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#define test(name) cmocka_unit_test_setup_teardown(name, usage_setup, usage_teardown)

enum { CALLERS = 4 };

static const struct hc_identity alice = {.kind = "token", .name = "alice"};
static const struct hc_identity bob = {.kind = "token", .name = "bob"};

/* The rest is hidden from bob; alice administers every repo. */
static const char hiding[] =
    "version: 1\n"
    "rules:\n"
    "- {name: admin, callers: [alice], action: admin}\n"
    "- {name: no-model, callers: [bob], repos: ['org/*'], action: deny}\n";

static struct hc_resolver *resolver;
static atomic_uint scans, first_fails;

int __real_hc_usage_list(const struct hc_cache *cache,
                         const struct hc_usage_filter *filter,
                         struct hc_cancellation *cancellation, struct hc_usage *usage,
                         struct hc_error *err);
int __wrap_hc_usage_list(const struct hc_cache *cache,
                         const struct hc_usage_filter *filter,
                         struct hc_cancellation *cancellation, struct hc_usage *usage,
                         struct hc_error *err);

/* Callers that have joined a scan. */
static unsigned callers_joined(void)
{
    const struct hc_single_flight *flight;
    unsigned joined = 0;

    HC_LOCKED(&resolver->queries.shared.lock);
    LIST_FOREACH(flight, &resolver->queries.shared.list, link)
    joined += flight->callers;
    return joined;
}

/* No scan ends before every caller has joined one, or scans by itself. */
int __wrap_hc_usage_list(const struct hc_cache *cache,
                         const struct hc_usage_filter *filter,
                         struct hc_cancellation *cancellation, struct hc_usage *usage,
                         struct hc_error *err)
{
    bool is_first = atomic_fetch_add(&scans, 1) == 0;

    while (is_first && callers_joined() < CALLERS && atomic_load(&scans) < CALLERS)
        (void)sched_yield();
    if (is_first && atomic_load(&first_fails) > 0)
        return hc_fail(err, HC_CANCELLED, "the caller gave up");
    return __real_hc_usage_list(cache, filter, cancellation, usage, err);
}

struct measuring {
    const char *repo_id; /* NULL: every repo */
    const struct hc_identity *identity;
    struct hc_usage usage;
    struct hc_error err;
    int result;
    pthread_t thread;
};

static void *measure(void *ctx)
{
    struct measuring *measuring = ctx;
    const struct hc_repos_request request = {.repo_ids = &measuring->repo_id,
                                             .repo_id_count = measuring->repo_id ? 1 : 0,
                                             .options = {.identity =
                                                             measuring->identity}};

    measuring->result = hc_resolver_measure_usage(resolver, &request, NULL,
                                                  &measuring->usage, &measuring->err);
    return NULL;
}

static void measure_all(struct measuring all[CALLERS])
{
    for (size_t i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&all[i].thread, NULL, measure, &all[i]), 0);
    for (size_t i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_join(all[i].thread, NULL), 0);
}

static void clear_all(struct measuring all[CALLERS])
{
    for (size_t i = 0; i < CALLERS; i++)
        hc_usage_clear(&all[i].usage);
}

static void assert_lists(const struct measuring *measuring, size_t count)
{
    assert_int_equal(measuring->result, 0);
    assert_int_equal(measuring->usage.listed, count);
    assert_int_equal(measuring->usage.repo_count, 1);
    if (count > 0)
        assert_string_equal(measuring->usage.repos[0].id, "org/model");
}

static int usage_setup(void **state)
{
    struct fixture *f;
    struct hc_file file;

    (void)resolver_fixture_setup(state);
    f = *state;
    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    hc_file_clear(&file);
    resolver = f->resolver;
    atomic_store(&scans, 0);
    atomic_store(&first_fails, 0);
    return 0;
}

static int usage_teardown(void **state)
{
    return resolver_fixture_teardown(state);
}

static void callers_at_the_same_time_share_one_scan(void **state)
{
    struct measuring all[CALLERS] = {0};

    (void)state;
    measure_all(all);
    assert_int_equal(atomic_load(&scans), 1);
    for (size_t i = 0; i < CALLERS; i++) {
        assert_lists(&all[i], 1);
        assert_int_equal(all[i].usage.began_ms, all[0].usage.began_ms);
        assert_true(i == 0 || all[i].usage.repos != all[0].usage.repos);
    }
    clear_all(all);
}

static void callers_that_select_other_repos_do_not(void **state)
{
    struct measuring all[CALLERS] = {{0},
                                     {.repo_id = "org/*"},
                                     {.repo_id = "other/*"},
                                     {.repo_id = "o*"}};

    (void)state;
    measure_all(all);
    assert_int_equal(atomic_load(&scans), CALLERS);
    for (size_t i = 0; i < CALLERS; i++)
        assert_lists(&all[i], i == 2 ? 0 : 1);
    clear_all(all);
}

static void a_caller_that_sees_less_scans_by_itself(void **state)
{
    struct fixture *f = *state;
    struct measuring all[CALLERS] = {{.identity = &alice},
                                     {.identity = &bob},
                                     {.identity = &bob},
                                     {.identity = &bob}};
    char *dir = temp_dir_make(), path[PATH_MAX];

    temp_dir_write(dir, "policy.yaml", hiding);
    (void)snprintf(path, sizeof path, "%s/policy.yaml", dir);
    f->settings.policy_file = strdup(path);
    resolver_fixture_reopen(f, false);
    resolver = f->resolver;
    temp_dir_remove(dir);

    measure_all(all);
    for (size_t i = 0; i < CALLERS; i++)
        assert_lists(&all[i], i == 0 ? 1 : 0);
    clear_all(all);
}

static void the_next_caller_scans_when_one_gives_up(void **state)
{
    struct measuring all[CALLERS] = {0};
    size_t failed = 0;

    (void)state;
    atomic_store(&first_fails, 1);
    measure_all(all);
    assert_int_equal(atomic_load(&scans), 2);
    for (size_t i = 0; i < CALLERS; i++) {
        if (all[i].result == 0)
            assert_lists(&all[i], 1);
        else
            failed++;
    }
    assert_int_equal(failed, 1);
    clear_all(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(callers_at_the_same_time_share_one_scan),
        test(callers_that_select_other_repos_do_not),
        test(a_caller_that_sees_less_scans_by_itself),
        test(the_next_caller_scans_when_one_gives_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
