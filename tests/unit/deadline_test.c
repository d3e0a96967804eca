/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a caller's deadline ends its request to the Hub in whatever state the
 * connection is: while a connect is not answered, and while a TLS handshake stalls or
 * trickles. So does its leaving, and so does the time limit when there is no deadline.
 * The socket is closed then, and callers with later deadlines get their answer.
 *
 * Time limits are so long, but for one test, that a request which did not observe its
 * deadline would outlast the test.
 */
#include "test.h"

#include "relay.h"
#include "tls_server.h"

#include <base/error.h>
#include <hub/http_exchange.h>
#include <hub/hub.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    SOON_MS = 800,
    SHARED_MS = 2000, /* a second caller is there by then */
    LONG_S = 3600,
    FDS = 1024
};

struct fixture {
    enum relay_fault fault;
    char *dir;
    struct tls_server *site;
    struct relay *relay;
    struct hc_hub *hub;
    struct hc_repo repo;
    struct hc_error err;
};

static struct hc_hub *deadline_open_hub(const struct fixture *f, unsigned timeout_s)
{
    HC_AUTO_FREE char *authority = temp_dir_path(f->dir, "authority.pem");
    HC_AUTO_FREE char *endpoint = strdup(relay_url(f->relay));
    const struct hc_settings settings = {.endpoint = endpoint,
                                         .ca_file = authority,
                                         .metadata_timeout_s = timeout_s};
    struct hc_error err;
    struct hc_hub *hub = hc_hub_open(&settings, &err);

    assert_non_null(hub);
    return hub;
}

/* `*state` points to the fault. */
static int deadline_set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->fault = *(const enum relay_fault *)*state;
    f->dir = temp_dir_make();
    f->site = tls_server_start(f->dir, "authority.pem");
    f->relay = relay_start(tls_server_url(f->site), f->fault);
    f->hub = deadline_open_hub(f, LONG_S);
    assert_int_equal(hc_repo_init(&f->repo, HC_REPO_MODEL, "org/m", &f->err), 0);
    *state = f;
    return 0;
}

static int deadline_tear_down(void **state)
{
    struct fixture *f = *state;

    hc_hub_close(f->hub);
    relay_stop(f->relay);
    tls_server_stop(f->site);
    temp_dir_remove(f->dir);
    free(f);
    return 0;
}

/* ---- sockets of this process --------------------------------------------------------*/

/* How many have a connect under way. */
static unsigned sockets_connecting(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < FDS; fd++) {
        struct tcp_info info;
        socklen_t size = sizeof info;

        count += getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
                 info.tcpi_state == TCP_SYN_SENT;
    }
    return count;
}

/* Returns when there is one; a test that hangs here has failed. */
static void sockets_await_connecting(void)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    while (sockets_connecting() == 0)
        (void)nanosleep(&moment, NULL);
}

/* The `number`-th request waits for the server. */
static void fault_await_met(const struct fixture *f, unsigned number)
{
    if (f->fault == RELAY_DROPS_CONNECTS)
        sockets_await_connecting();
    else
        relay_await_opened(f->relay, number);
}

static void fault_expect_released(const struct fixture *f)
{
    if (f->fault == RELAY_DROPS_CONNECTS)
        assert_int_equal(sockets_connecting(), 0);
    else
        relay_await_closed(f->relay, 1);
}

/* ---- callers ----------------------------------------------------------------------- */

struct caller {
    struct fixture *f;
    struct hc_hub_credentials credentials;
    pthread_t thread;
    int result;
    struct hc_metadata metadata;
    struct hc_error err;
};

static void *caller_main(void *ctx)
{
    struct caller *caller = ctx;
    const struct hc_repo_file file = {&caller->f->repo, "main", "config.json"};

    caller->result = hc_hub_head(caller->f->hub, &file, &caller->credentials,
                                 &caller->metadata, &caller->err);
    return NULL;
}

static void caller_start(struct caller *caller, struct fixture *f, int64_t deadline_ms)
{
    *caller = (struct caller){.f = f};
    caller->credentials.cancellation = hc_cancellation_new(deadline_ms);
    assert_int_equal(pthread_create(&caller->thread, NULL, caller_main, caller), 0);
}

static void caller_finish(struct caller *caller)
{
    assert_int_equal(pthread_join(caller->thread, NULL), 0);
    hc_cancellation_free(caller->credentials.cancellation);
}

static void caller_finish_failed(struct caller *caller, enum hc_reason reason)
{
    caller_finish(caller);
    assert_int_equal(caller->result, -1);
    assert_int_equal(caller->err.reason, reason);
}

static void a_deadline_ends_it(void **state)
{
    struct fixture *f = *state;
    struct caller caller;

    caller_start(&caller, f, hc_monotonic_ms() + SOON_MS);

    caller_finish_failed(&caller, HC_DEADLINE_EXCEEDED);
    fault_expect_released(f);
}

static void a_caller_that_leaves_ends_it(void **state)
{
    struct fixture *f = *state;
    struct caller caller;

    caller_start(&caller, f, HC_NO_DEADLINE);
    fault_await_met(f, 1);
    hc_cancellation_cancel(caller.credentials.cancellation);

    caller_finish_failed(&caller, HC_CANCELLED);
    fault_expect_released(f);
}

static void the_time_limit_ends_it_without_a_deadline(void **state)
{
    struct fixture *f = *state;
    struct caller caller;

    hc_hub_close(f->hub);
    f->hub = deadline_open_hub(f, 1);
    caller_start(&caller, f, HC_NO_DEADLINE);

    caller_finish_failed(&caller, HC_HUB_UNREACHABLE);
    fault_expect_released(f);
}

/* They share a query; the second caller asks when the first one has left. */
static void a_caller_with_a_later_deadline_goes_on(void **state)
{
    struct fixture *f = *state;
    struct caller hasty, patient;

    caller_start(&hasty, f, hc_monotonic_ms() + SHARED_MS);
    fault_await_met(f, 1);
    caller_start(&patient, f, hc_monotonic_ms() + (int64_t)LONG_S * 1000);
    caller_finish_failed(&hasty, HC_DEADLINE_EXCEEDED);
    fault_await_met(f, 2);
    relay_release(f->relay);

    caller_finish(&patient);
    assert_int_equal(patient.result, 0);
    assert_int_equal(patient.metadata.size, 2);
    fault_expect_released(f);
}

/* The proxy accepts the connection, and says nothing to CONNECT. */
static void a_deadline_ends_the_wait_for_a_proxy(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_http_pool) *pool = hc_http_pool_open("test", NULL, 0, &f->err);
    HC_AUTO(hc_cancellation) *soon = hc_cancellation_new(hc_monotonic_ms() + SOON_MS);
    const struct hc_http_request request = {.url = "https://hub.example/",
                                            .timeout_s = LONG_S,
                                            .cancellation = soon};
    struct hc_hub_response response;

    /* NOLINTBEGIN(concurrency-mt-unsafe): the relay's thread reads no variables */
    assert_int_equal(setenv("https_proxy", strstr(relay_url(f->relay), "127."), 1), 0);
    assert_int_equal(hc_http_perform(pool, &request, &response, &f->err), -1);
    assert_int_equal(unsetenv("https_proxy"), 0);
    /* NOLINTEND(concurrency-mt-unsafe) */

    assert_int_equal(f->err.reason, HC_DEADLINE_EXCEEDED);
    fault_expect_released(f);
}

static enum relay_fault no_connect = RELAY_DROPS_CONNECTS;
static enum relay_fault stall = RELAY_KEEPS_ANSWERS;
static enum relay_fault trickle = RELAY_TRICKLES_ANSWERS;

#define TEST(name, fault)                                                                \
    {#name " (" #fault ")", name, deadline_set_up, deadline_tear_down, &(fault)}
#define EACH_FAULT(name) TEST(name, no_connect), TEST(name, stall), TEST(name, trickle)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH_FAULT(a_deadline_ends_it),
        EACH_FAULT(a_caller_that_leaves_ends_it),
        EACH_FAULT(the_time_limit_ends_it_without_a_deadline),
        EACH_FAULT(a_caller_with_a_later_deadline_goes_on),
        TEST(a_deadline_ends_the_wait_for_a_proxy, stall),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
