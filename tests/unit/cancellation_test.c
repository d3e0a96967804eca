/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a thread that sleeps or waits for a caller stops when the caller's deadline
 * passes or another thread cancels, and says which of the two it was.
 */
#include "test.h"

#include <base/cancellation.h>
#include <base/error.h>

#include <pthread.h>

enum { LONG_MS = 3600000 };

static void without_a_cancellation_a_wait_never_ends_early(void **state)
{
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_cancellation_check(NULL, &err), 0);
    assert_false(hc_cancellation_is_set(NULL));
    assert_true(hc_cancellation_remaining_ms(NULL) == HC_NO_DEADLINE);
    assert_int_equal(hc_cancellation_sleep(NULL, 1, &err), 0);
}

static void a_cancellation_without_a_deadline_is_not_set(void **state)
{
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_cancellation_check(cancellation, &err), 0);
    assert_true(hc_cancellation_remaining_ms(cancellation) == HC_NO_DEADLINE);
}

static void a_deadline_that_passed_sets_the_cancellation(void **state)
{
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(hc_monotonic_ms() - 1);
    struct hc_error err;

    (void)state;
    assert_true(hc_cancellation_is_set(cancellation));
    assert_int_equal(hc_cancellation_check(cancellation, &err), -1);
    assert_int_equal(err.reason, HC_DEADLINE_EXCEEDED);
    assert_true(hc_cancellation_remaining_ms(cancellation) == 0);
}

static void a_deadline_moves_out_and_never_in(void **state)
{
    int64_t now_ms = hc_monotonic_ms();
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(now_ms - 1);

    (void)state;
    hc_cancellation_extend(cancellation, now_ms + LONG_MS);
    assert_false(hc_cancellation_is_set(cancellation));
    hc_cancellation_extend(cancellation, now_ms - 1);
    assert_false(hc_cancellation_is_set(cancellation));
}

static void a_sleep_lasts_as_long_as_asked(void **state)
{
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    int64_t start_ms = hc_monotonic_ms();
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_cancellation_sleep(cancellation, 20, &err), 0);
    assert_true(hc_monotonic_ms() - start_ms >= 20);
}

static void a_sleep_ends_at_the_deadline(void **state)
{
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(hc_monotonic_ms() + 10);
    int64_t start_ms = hc_monotonic_ms();
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_cancellation_sleep(cancellation, LONG_MS, &err), -1);
    assert_int_equal(err.reason, HC_DEADLINE_EXCEEDED);
    assert_true(hc_monotonic_ms() - start_ms < LONG_MS);
}

static void *cancel_from_another_thread(void *cancellation)
{
    hc_cancellation_cancel(cancellation);
    return NULL;
}

static void a_sleep_ends_when_another_thread_cancels(void **state)
{
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    int64_t start_ms = hc_monotonic_ms();
    struct hc_error err;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, cancel_from_another_thread,
                                    cancellation),
                     0);
    assert_int_equal(hc_cancellation_sleep(cancellation, LONG_MS, &err), -1);
    assert_int_equal(err.reason, HC_CANCELLED);
    assert_true(hc_monotonic_ms() - start_ms < LONG_MS);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(hc_cancellation_is_set(cancellation));
}

/* ---- waits on a condition ---------------------------------------------------------- */

/* An object with news; a thread tells them, or cancels, once the test waits. */
struct news {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool has_news;
    struct hc_cancellation *cancellation;
};

static void news_init(struct news *news, struct hc_cancellation *cancellation)
{
    *news = (struct news){.cancellation = cancellation};
    (void)pthread_mutex_init(&news->lock, NULL);
    hc_condition_init(&news->changed);
}

static void news_destroy(struct news *news)
{
    (void)pthread_cond_destroy(&news->changed);
    (void)pthread_mutex_destroy(&news->lock);
}

/* Waits until there is news: 0, or -1. */
static int news_wait(struct news *news, int64_t ms, struct hc_error *err)
{
    const int64_t until_ms = ms == HC_NO_DEADLINE ? ms : hc_monotonic_ms() + ms;
    int result = 0;

    HC_LOCKED(&news->lock);

    while (result == 0 && !news->has_news && hc_monotonic_ms() < until_ms)
        result = hc_cancellation_wait(news->cancellation, &news->changed, &news->lock, ms,
                                      err);
    return result;
}

static void *news_tell(void *argument)
{
    struct news *news = argument;

    HC_LOCKED(&news->lock);

    news->has_news = true;
    (void)pthread_cond_broadcast(&news->changed);
    return NULL;
}

static void a_wait_ends_with_news(void **state)
{
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    struct hc_cancellation *cancellations[] = {cancellation, NULL};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct news news;
        struct hc_error err;
        pthread_t thread;

        news_init(&news, cancellations[i]);
        assert_int_equal(pthread_create(&thread, NULL, news_tell, &news), 0);
        assert_int_equal(news_wait(&news, HC_NO_DEADLINE, &err), 0);
        assert_true(news.has_news);
        assert_int_equal(pthread_join(thread, NULL), 0);
        news_destroy(&news);
    }
}

/* The loop of a waiter asks for news first. */
static void news_are_preferred_to_a_cancellation(void **state)
{
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    struct hc_error err;
    struct news news;

    (void)state;
    news_init(&news, cancellation);
    (void)news_tell(&news);
    hc_cancellation_cancel(cancellation);
    assert_int_equal(news_wait(&news, HC_NO_DEADLINE, &err), 0);
    news.has_news = false;
    assert_int_equal(news_wait(&news, HC_NO_DEADLINE, &err), -1);
    news_destroy(&news);
}

static void a_wait_ends_at_its_limit(void **state)
{
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    int64_t start_ms = hc_monotonic_ms();
    struct hc_error err;
    struct news news;

    (void)state;
    news_init(&news, cancellation);
    assert_int_equal(news_wait(&news, 20, &err), 0);
    assert_false(news.has_news);
    assert_true(hc_monotonic_ms() - start_ms >= 20);
    news_destroy(&news);
}

static void a_wait_ends_when_another_thread_cancels(void **state)
{
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    int64_t start_ms = hc_monotonic_ms();
    struct hc_error err;
    struct news news;
    pthread_t thread;

    (void)state;
    news_init(&news, cancellation);
    assert_int_equal(pthread_create(&thread, NULL, cancel_from_another_thread,
                                    cancellation),
                     0);
    assert_int_equal(news_wait(&news, LONG_MS, &err), -1);
    assert_int_equal(err.reason, HC_CANCELLED);
    assert_true(hc_monotonic_ms() - start_ms < LONG_MS);
    assert_int_equal(pthread_join(thread, NULL), 0);
    news_destroy(&news);
}

static void a_wait_ends_at_the_deadline(void **state)
{
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(hc_monotonic_ms() + 10);
    int64_t start_ms = hc_monotonic_ms();
    struct hc_error err;
    struct news news;

    (void)state;
    news_init(&news, cancellation);
    assert_int_equal(news_wait(&news, HC_NO_DEADLINE, &err), -1);
    assert_int_equal(err.reason, HC_DEADLINE_EXCEEDED);
    assert_true(hc_monotonic_ms() - start_ms < LONG_MS);
    news_destroy(&news);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_cancellation_a_wait_never_ends_early),
        cmocka_unit_test(a_cancellation_without_a_deadline_is_not_set),
        cmocka_unit_test(a_deadline_that_passed_sets_the_cancellation),
        cmocka_unit_test(a_deadline_moves_out_and_never_in),
        cmocka_unit_test(a_sleep_lasts_as_long_as_asked),
        cmocka_unit_test(a_sleep_ends_at_the_deadline),
        cmocka_unit_test(a_sleep_ends_when_another_thread_cancels),
        cmocka_unit_test(a_wait_ends_with_news),
        cmocka_unit_test(news_are_preferred_to_a_cancellation),
        cmocka_unit_test(a_wait_ends_at_its_limit),
        cmocka_unit_test(a_wait_ends_when_another_thread_cancels),
        cmocka_unit_test(a_wait_ends_at_the_deadline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
