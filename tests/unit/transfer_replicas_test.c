/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: replicas on one volume fetch each byte once, also where flock does nothing
 * or is not there, and a stalled one does not hold up the others. The replicas are
 * two engines of this process, or another process where one is stopped.
 */
#include "blob_id.h"
#include "transfer_fixture.h"

#include <base/auto.h>
#include <claim/claim.h>
#include <claim/sweep.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STALL_AT = 5 * 1024 * 1024, SOON_MS = 1500, REDIRECT_MAX = 1024 };

/* What flock(2) does: it works, succeeds for every caller, or fails with this errno. */
static enum { WORKS, LIES, FAILS } flock_state;
static int flock_errno;

int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);

int __wrap_flock(int fd, int operation)
{
    if (flock_state == WORKS)
        return __real_flock(fd, operation);
    errno = flock_errno;
    return flock_state == LIES ? 0 : -1;
}

static int locks_work_again(void **state)
{
    flock_state = WORKS;
    return transfer_tear_down(state);
}

/* A second engine on the same volume, with its own idea of it. */
struct replica {
    struct fixture *f;
    struct hc_cache *cache;
    struct hc_hub *hub;
    struct hc_transfers *transfers;
    pthread_t thread;
    struct hc_metadata metadata;
    struct hc_transfer report;
    int result;
    struct hc_error err;
};

static void replica_note_report(void *ctx, const struct hc_transfer *transfer)
{
    struct replica *replica = ctx;

    replica->report = *transfer;
}

static void replica_open(struct replica *replica, struct fixture *f, int64_t takeover_ms)
{
    HC_AUTO_FREE char *endpoint = strdup(test_hub_endpoint(f->server));
    const struct hc_settings settings = {.endpoint = endpoint,
                                         .metadata_timeout_s = 5,
                                         .download_timeout_s = 20,
                                         .connections = CONNECTIONS,
                                         .takeover_ms = takeover_ms};

    *replica = (struct replica){.f = f, .metadata = metadata_of(f, "large.bin")};
    replica->cache = hc_cache_open(f->dir, false, &f->err);
    assert_non_null(replica->cache);
    replica->hub = hc_hub_open(&settings, &f->err);
    assert_non_null(replica->hub);
    replica->transfers =
        hc_transfers_open(replica->cache, replica->hub, &settings, &f->err);
    assert_non_null(replica->transfers);
    hc_transfers_observe(replica->transfers, replica_note_report, replica);
}

static void replica_close(struct replica *replica)
{
    hc_transfers_close(replica->transfers);
    hc_hub_close(replica->hub);
    hc_cache_close(replica->cache);
}

static void *replica_main(void *ctx)
{
    struct replica *replica = ctx;
    const struct hc_blob_request request =
        blob_request_of(replica->f, "large.bin", &replica->metadata);
    const struct hc_hub_credentials credentials = {0};
    struct hc_blob_result result;

    replica->result = hc_transfers_fetch(replica->transfers, &request, &credentials,
                                         &result, &replica->err);
    return NULL;
}

static void replica_start(struct replica *replica)
{
    assert_int_equal(pthread_create(&replica->thread, NULL, replica_main, replica), 0);
}

static void replica_expect_success(struct replica *replica)
{
    assert_int_equal(pthread_join(replica->thread, NULL), 0);
    if (replica->result < 0)
        fail_msg("%s", replica->err.message);
}

static void hub_stall_once(struct fixture *f)
{
    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .times = 1,
                                          .fault = TEST_HUB_STALL,
                                          .number = STALL_AT});
}

/* Waits until the replica sees that another one has bytes. */
static void await_remote_bytes(struct replica *replica)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    int64_t give_up = hc_monotonic_ms() + 20000;
    struct hc_transfer_progress progress = {0};

    while (!progress.is_remote || progress.bytes == 0) {
        assert_true(hc_monotonic_ms() < give_up);
        (void)nanosleep(&moment, NULL);
        progress = hc_transfers_progress(replica->transfers,
                                         BLOB_OF(replica->f, replica->metadata.etag));
    }
}

/* One begins, the other sees it and waits; every byte comes once. */
static void expect_one_transfer(struct fixture *f)
{
    struct replica one, two;

    replica_open(&one, f, 0);
    replica_open(&two, f, 0);
    hub_stall_once(f);
    replica_start(&one);
    test_hub_await_stall(f->server);
    replica_start(&two);
    await_remote_bytes(&two);
    test_hub_release(f->server);

    replica_expect_success(&one);
    replica_expect_success(&two);
    assert_in_range(test_hub_bytes_sent(f->server), LARGE_SIZE,
                    LARGE_SIZE + REDIRECT_MAX);
    assert_int_equal(one.report.fetched_bytes, LARGE_SIZE);
    assert_int_equal(two.report.fetched_bytes, 0);
    assert_int_equal(one.report.waited_ms, 0);
    assert_true(two.report.waited_ms > 0);
    replica_close(&one);
    replica_close(&two);
    expect_only_blob(f, "large.bin");
}

static void with_flock_each_byte_comes_once(void **state)
{
    expect_one_transfer(*state);
}

static void where_flock_lies_each_byte_comes_once(void **state)
{
    flock_state = LIES;
    expect_one_transfer(*state);
}

static void where_there_is_no_flock_each_byte_comes_once(void **state)
{
    flock_state = FAILS;
    flock_errno = ENOSYS;
    expect_one_transfer(*state);
}

/* Another process that has begun a transfer, and has stalled. */
static pid_t start_stalled_process(struct fixture *f)
{
    pid_t child;

    hub_stall_once(f);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct replica stuck;

        replica_open(&stuck, f, 0);
        (void)replica_main(&stuck);
        _exit(stuck.result == 0 ? 0 : 1);
    }
    test_hub_await_stall(f->server);
    assert_int_equal(kill(child, SIGSTOP), 0);
    return child;
}

static void process_end(pid_t child)
{
    int status;

    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
}

static void expect_takeover(struct fixture *f)
{
    pid_t child = start_stalled_process(f);
    struct replica replica;

    replica_open(&replica, f, SOON_MS);
    test_hub_clear_rules(f->server);
    replica_start(&replica);
    replica_expect_success(&replica);
    assert_true(replica.report.resumed_bytes > 0); /* a copy of what was there */
    assert_int_equal(replica.report.fetched_bytes + replica.report.resumed_bytes,
                     LARGE_SIZE);
    process_end(child);
    hc_claim_sweep(replica.cache, (int64_t)time(NULL) * 1000);
    replica_close(&replica);
    expect_only_blob(f, "large.bin");
}

static void a_stalled_replica_loses_the_download_lock(void **state)
{
    expect_takeover(*state);
}

static void a_stalled_replica_is_taken_over_where_flock_lies(void **state)
{
    flock_state = LIES;
    expect_takeover(*state);
}

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, transfer_set_up, locks_work_again)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(with_flock_each_byte_comes_once),
        test(where_flock_lies_each_byte_comes_once),
        test(where_there_is_no_flock_each_byte_comes_once),
        test(a_stalled_replica_loses_the_download_lock),
        test(a_stalled_replica_is_taken_over_where_flock_lies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
