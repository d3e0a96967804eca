/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the volume is usable as the newest probe says. While a probe hangs it is
 * usable up to the limit and unusable after it, as seen by threads that do not wait; with
 * the answer it is what that says. A probe that failed for lack of memory or descriptors
 * changes nothing.
 */
#include <test.h>

#include <base/error.h>
#include <hubcache/cancellation.h>
#include <pthread.h>
#include <server/volume_probe.h>
#include <stdatomic.h>
#include <string.h>

enum { LIMIT_MS = 1000 };

/* Each probe waits for the test at both barriers, until is_free is set. */
static pthread_barrier_t begun, may_answer;
static atomic_bool is_free;
static atomic_int reason; /* of the next answer */

int __wrap_hc_resolver_check_volume(struct hc_resolver *resolver, struct hc_error *err);
bool __wrap_hc_resolver_volume_space(const struct hc_resolver *resolver, uint64_t *size,
                                     uint64_t *available);

bool __wrap_hc_resolver_volume_space(const struct hc_resolver *resolver, uint64_t *size,
                                     uint64_t *available)
{
    (void)resolver;
    *size = 1000;
    *available = 100;
    return true;
}

int __wrap_hc_resolver_check_volume(struct hc_resolver *resolver, struct hc_error *err)
{
    enum hc_reason answer;

    (void)resolver;
    if (!atomic_load(&is_free)) {
        (void)pthread_barrier_wait(&begun);
        (void)pthread_barrier_wait(&may_answer);
    }
    answer = (enum hc_reason)atomic_load(&reason);
    return answer == HC_OK ? 0 : hc_fail(err, answer, "the volume says so");
}

static int probe_set_up(void **state)
{
    struct hc_error err;

    (void)pthread_barrier_init(&begun, NULL, 2);
    (void)pthread_barrier_init(&may_answer, NULL, 2);
    atomic_store(&is_free, false);
    atomic_store(&reason, HC_OK);
    *state = hc_volume_probe_open(NULL, 1, LIMIT_MS, &err);
    assert_non_null(*state);
    (void)pthread_barrier_wait(&begun);
    return 0;
}

static int probe_tear_down(void **state)
{
    atomic_store(&is_free, true);
    (void)pthread_barrier_wait(&may_answer);
    hc_volume_probe_close(*state);
    (void)pthread_barrier_destroy(&begun);
    (void)pthread_barrier_destroy(&may_answer);
    return 0;
}

/* Lets the probe that is under way answer, and waits until the next one has begun. */
static void probe_answer(enum hc_reason answer)
{
    atomic_store(&reason, answer);
    (void)pthread_barrier_wait(&may_answer);
    (void)pthread_barrier_wait(&begun);
}

static bool is_usable_in(struct hc_volume_probe *probe, int64_t ms, struct hc_error *err)
{
    return hc_volume_probe_is_usable(probe, hc_monotonic_ms() + ms, err);
}

static void a_volume_is_usable_until_a_probe_says_otherwise(void **state)
{
    struct hc_error err;

    assert_true(is_usable_in(*state, 0, &err));
    probe_answer(HC_OK);
    assert_true(is_usable_in(*state, 0, &err));
    probe_answer(HC_CACHE_IO);
    assert_false(is_usable_in(*state, 0, &err));
    assert_string_equal(err.message, "the volume says so");
    probe_answer(HC_OK);
    assert_true(is_usable_in(*state, 0, &err));
}

static void a_probe_that_hangs_makes_it_unusable_after_the_limit(void **state)
{
    struct hc_error err;
    int64_t before_ms = hc_monotonic_ms();

    probe_answer(HC_OK); /* the next one begins between the two times, and hangs */
    assert_true(hc_volume_probe_is_usable(*state, before_ms + LIMIT_MS, &err));
    assert_false(is_usable_in(*state, LIMIT_MS + 1, &err));
    assert_int_equal(err.reason, HC_CACHE_IO);
    assert_non_null(strstr(err.message, "has not answered for 1"));
    probe_answer(HC_OK);
    assert_true(is_usable_in(*state, 0, &err));
}

static void the_space_is_known_while_the_volume_answers(void **state)
{
    struct hc_volume_space space;

    hc_volume_probe_space(*state, &space); /* the first probe has no answer yet */
    assert_false(space.is_known);
    probe_answer(HC_OK);
    hc_volume_probe_space(*state, &space);
    assert_true(space.is_known);
    assert_int_equal(space.size, 1000);
    assert_int_equal(space.available, 100);
    probe_answer(HC_CACHE_IO);
    hc_volume_probe_space(*state, &space);
    assert_false(space.is_known);
}

static void a_lack_of_the_process_changes_nothing(void **state)
{
    struct hc_error err;

    probe_answer(HC_INTERNAL);
    assert_true(is_usable_in(*state, 0, &err));
    probe_answer(HC_CACHE_READ_ONLY); /* permission denied */
    assert_false(is_usable_in(*state, 0, &err));
    probe_answer(HC_INTERNAL);
    assert_false(is_usable_in(*state, 0, &err));
    assert_int_equal(err.reason, HC_CACHE_READ_ONLY);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, probe_set_up, probe_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_volume_is_usable_until_a_probe_says_otherwise),
        TEST(a_probe_that_hangs_makes_it_unusable_after_the_limit),
        TEST(the_space_is_known_while_the_volume_answers),
        TEST(a_lack_of_the_process_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
