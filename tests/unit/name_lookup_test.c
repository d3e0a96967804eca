/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a caller that waits for the lookup of a name may leave, and need not wait
 * longer than for a connection; and when the lookup ends at last, nothing of it is left.
 * The test's own lookup stands in for the C library's.
 */
#include "test.h"

#include <base/cancellation.h>
#include <hub/http_exchange.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LOOKUP_S = 8, FDS = 1024 };

static sem_t may_end;

/* Finds no address, but late. */
HC_PUBLIC int getaddrinfo(const char *name, const char *service,
                          const struct addrinfo *hints, struct addrinfo **found)
{
    struct timespec until;

    (void)name, (void)service, (void)hints;
    *found = NULL;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LOOKUP_S;
    while (sem_timedwait(&may_end, &until) < 0 && errno == EINTR)
        continue;
    return EAI_AGAIN;
}

static int lookup_set_up(void **state)
{
    *state = &may_end;
    return sem_init(&may_end, 0, 0);
}

static int lookup_tear_down(void **state)
{
    (void)state;
    return sem_destroy(&may_end);
}

static unsigned lookup_count_fds(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < FDS; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* One exchange with a host whose name is being looked up. */
static int lookup_perform(struct hc_http_pool *pool, unsigned timeout_s,
                          struct hc_cancellation *cancellation, struct hc_error *err)
{
    const struct hc_http_request request = {.url = "http://slow.example/",
                                            .timeout_s = timeout_s,
                                            .cancellation = cancellation};
    struct hc_hub_response reply;

    return hc_http_perform(pool, &request, &reply, err);
}

static void lookup_await_fds(unsigned count)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    for (int i = 0; i < 10000 && lookup_count_fds() != count; i++)
        (void)nanosleep(&moment, NULL);
    assert_int_equal(lookup_count_fds(), count);
}

static void a_lookup_that_hangs_does_not_keep_a_caller_that_leaves(void **state)
{
    int64_t start_ms = hc_monotonic_ms();
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(start_ms + 300);
    unsigned fds = lookup_count_fds();
    struct hc_error err;
    struct hc_http_pool *pool = hc_http_pool_open("test", NULL, 0, &err);

    assert_int_equal(lookup_perform(pool, 60, cancellation, &err), -1);
    assert_int_equal(err.reason, HC_DEADLINE_EXCEEDED);
    assert_true(hc_monotonic_ms() - start_ms < LOOKUP_S * 500);

    hc_http_pool_close(pool);
    (void)sem_post(*state);
    lookup_await_fds(fds);
}

static void a_lookup_is_part_of_the_time_to_connect(void **state)
{
    int64_t start_ms = hc_monotonic_ms();
    unsigned fds = lookup_count_fds();
    struct hc_error err;
    struct hc_http_pool *pool = hc_http_pool_open("test", NULL, 0, &err);

    for (int i = 0; i < 2; i++) { /* with the same handle */
        assert_int_equal(lookup_perform(pool, 1, NULL, &err), -1);
        assert_int_equal(err.reason, HC_HUB_UNREACHABLE);
    }
    assert_true(hc_monotonic_ms() - start_ms < LOOKUP_S * 500);

    (void)sem_post(*state);
    (void)sem_post(*state);
    hc_http_pool_close(pool);
    lookup_await_fds(fds);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, lookup_set_up, lookup_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_lookup_that_hangs_does_not_keep_a_caller_that_leaves),
        TEST(a_lookup_is_part_of_the_time_to_connect),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
