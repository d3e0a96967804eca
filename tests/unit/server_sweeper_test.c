/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the cache is swept periodically, one sweep at a time. A sweep that hangs
 * delays only the thread that closes the sweeper, and none begins after the close.
 */
#include <test.h>

#include <hubcache/error.h>
#include <pthread.h>
#include <server/sweeper.h>
#include <stdatomic.h>

/* Each sweep waits for the test at both barriers, until is_free is set. */
static pthread_barrier_t begun, may_end;
static atomic_bool is_free;
static atomic_uint sweeping, swept;

void __wrap_hc_resolver_sweep(struct hc_resolver *resolver);

void __wrap_hc_resolver_sweep(struct hc_resolver *resolver)
{
    (void)resolver;
    if (atomic_fetch_add(&sweeping, 1) > 0)
        abort();
    if (!atomic_load(&is_free)) {
        (void)pthread_barrier_wait(&begun);
        (void)pthread_barrier_wait(&may_end);
    }
    (void)atomic_fetch_add(&swept, 1);
    (void)atomic_fetch_sub(&sweeping, 1);
}

static int sweeper_set_up(void **state)
{
    (void)state;
    (void)pthread_barrier_init(&begun, NULL, 2);
    (void)pthread_barrier_init(&may_end, NULL, 2);
    atomic_store(&is_free, false);
    atomic_store(&swept, 0);
    return 0;
}

static int sweeper_tear_down(void **state)
{
    (void)state;
    (void)pthread_barrier_destroy(&begun);
    (void)pthread_barrier_destroy(&may_end);
    return 0;
}

static struct hc_sweeper *open_sweeper(int64_t every_ms)
{
    struct hc_error err;
    struct hc_sweeper *sweeper = hc_sweeper_open(NULL, every_ms, &err);

    assert_non_null(sweeper);
    return sweeper;
}

static void a_sweep_that_hangs_delays_no_caller_until_the_close(void **state)
{
    struct hc_sweeper *sweeper = open_sweeper(1);

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        (void)pthread_barrier_wait(&begun);
        assert_int_equal(atomic_load(&swept), i); /* the sweep hangs, the test runs */
        atomic_store(&is_free, i == 2);
        (void)pthread_barrier_wait(&may_end);
    }
    hc_sweeper_close(sweeper);

    assert_true(atomic_load(&swept) >= 3);
    assert_int_equal(atomic_load(&sweeping), 0);
}

static void a_close_does_not_wait_for_the_next_sweep(void **state)
{
    (void)state;
    hc_sweeper_close(open_sweeper(INT64_C(3600) * 1000));
    assert_int_equal(atomic_load(&swept), 0);
}

int main(void)
{
#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, sweeper_set_up, sweeper_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_sweep_that_hangs_delays_no_caller_until_the_close),
        TEST(a_close_does_not_wait_for_the_next_sweep),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
