/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a process waits for the one that downloads a blob as long as that one moves;
 * its progress is reported; if it stalls, the waiting process takes over; and where locks
 * do nothing, claims do the same.
 */
#include "blob_id.h"
#include "cache_fixture.h"
#include "cache_helper.h"

#include <base/heartbeat.h>
#include <base/text.h>
#include <claim/claim.h>
#include <transfer/download_lock.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define FOLDER "models--org--name"
#define LOCK ".locks/" FOLDER "/" HELLO_GIT ".lock"
#define CLAIM ".hubcache/transfers/" FOLDER "/" HELLO_GIT
#define INCOMPLETE HELLO_GIT ".01234567.incomplete"

enum { SOON_MS = 300, NEVER_MS = 1000000 };

/* What was reported of another process, last. */
struct seen {
    atomic_uint_least64_t bytes;
    atomic_bool is_elsewhere;
};

static void note_remote(void *ctx, uint64_t bytes, bool is_remote)
{
    struct seen *seen = ctx;

    if (!is_remote)
        return;
    atomic_store(&seen->bytes, bytes);
    atomic_store(&seen->is_elsewhere, true);
}

static struct hc_blob_request blob_request_of(const struct fixture *f)
{
    return (struct hc_blob_request){.blob = *BLOB_OF(f, HELLO_GIT), .size = 5};
}

static struct hc_download_lock download_lock_of(const struct fixture *f,
                                                const struct hc_blob_request *request)
{
    return (struct hc_download_lock){.cache = f->cache,
                                     .request = request,
                                     .takeover_ms = NEVER_MS};
}

static bool lock_stays; /* it cannot be removed */

int __real_unlinkat(int dir, const char *path, int flags);
int __wrap_unlinkat(int dir, const char *path, int flags);

int __wrap_unlinkat(int dir, const char *path, int flags)
{
    if (lock_stays && strcmp(path, LOCK) == 0) {
        errno = EPERM;
        return -1;
    }
    return __real_unlinkat(dir, path, flags);
}

/* Another client has the lock. */
static int lock_as_another_client(const struct fixture *f)
{
    int fd;

    temp_dir_write(f->dir, LOCK, "");
    fd = openat(hc_cache_fd(f->cache), LOCK, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    return fd;
}

static void claim_elsewhere(const struct fixture *f, unsigned bytes)
{
    char text[512];

    assert_true(hc_format(text, sizeof text,
                          "host=elsewhere.invalid\npid=1\nstart=1\nincomplete=" INCOMPLETE
                          "\nsize=5\nbytes=%u\nranges=0-%u\n",
                          bytes, bytes) > 0);
    temp_dir_write(f->dir, CLAIM, text);
}

static void waiting_ends_at_the_deadline(void **state)
{
    struct fixture *f = *state;
    const struct hc_blob_request request = blob_request_of(f);
    struct hc_download_lock download_lock = download_lock_of(f, &request);
    HC_AUTO_CLOSE int other = lock_as_another_client(f);
    HC_AUTO(hc_cancellation) *call = hc_cancellation_new(hc_monotonic_ms() + 120);

    assert_true(other >= 0);
    download_lock.cancellation = call;
    assert_null(hc_download_lock_take(&download_lock, &f->err));
    assert_int_equal(f->err.reason, HC_DEADLINE_EXCEEDED);
    assert_true(download_lock.waited_ms >= 100);
}

static void a_cancelled_caller_does_not_wait(void **state)
{
    struct fixture *f = *state;
    const struct hc_blob_request request = blob_request_of(f);
    struct hc_download_lock download_lock = download_lock_of(f, &request);
    HC_AUTO_CLOSE int other = lock_as_another_client(f);
    HC_AUTO(hc_cancellation) *call = hc_cancellation_new(HC_NO_DEADLINE);

    assert_true(other >= 0);
    hc_cancellation_cancel(call);
    download_lock.cancellation = call;
    assert_null(hc_download_lock_take(&download_lock, &f->err));
    assert_int_equal(f->err.reason, HC_CANCELLED);
}

struct waiter {
    struct fixture *f;
    struct hc_download_lock download_lock;
    struct seen seen;
    pthread_t thread;
    bool has_lock;
};

static void *waiter_main(void *argument)
{
    struct waiter *waiter = argument;
    struct hc_error err;
    HC_AUTO(hc_blob_lock) *lock = hc_download_lock_take(&waiter->download_lock, &err);

    waiter->has_lock = lock != NULL;
    return NULL;
}

static void waiter_start(struct waiter *waiter, struct fixture *f,
                         const struct hc_blob_request *request)
{
    *waiter = (struct waiter){.f = f, .download_lock = download_lock_of(f, request)};
    waiter->download_lock.note_remote = note_remote;
    waiter->download_lock.ctx = &waiter->seen;
    assert_int_equal(pthread_create(&waiter->thread, NULL, waiter_main, waiter), 0);
}

static void waiter_expect_lock(struct waiter *waiter)
{
    assert_int_equal(pthread_join(waiter->thread, NULL), 0);
    assert_true(waiter->has_lock);
}

/* Waits until the waiter was told that another process has that many bytes. */
static void await_remote_bytes(struct waiter *waiter, uint64_t bytes)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    int64_t give_up = hc_monotonic_ms() + 20000;

    while (!atomic_load(&waiter->seen.is_elsewhere) ||
           atomic_load(&waiter->seen.bytes) != bytes) {
        assert_true(hc_monotonic_ms() < give_up);
        (void)nanosleep(&moment, NULL);
    }
}

static void a_waiter_gets_the_lock_after_its_release(void **state)
{
    struct fixture *f = *state;
    const struct hc_blob_request request = blob_request_of(f);
    int other = lock_as_another_client(f);
    struct waiter waiter;

    waiter_start(&waiter, f, &request);
    assert_int_equal(close(other), 0);
    waiter_expect_lock(&waiter);
    assert_string_equal(waiter.download_lock.stalled, "");
}

static void a_lock_file_that_was_removed_meanwhile_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    const struct hc_blob_request request = blob_request_of(f);
    HC_AUTO_CLOSE int other = lock_as_another_client(f);
    struct waiter waiter;

    assert_true(other >= 0);
    waiter_start(&waiter, f, &request);
    assert_int_equal(unlinkat(hc_cache_fd(f->cache), LOCK, 0), 0);
    waiter_expect_lock(&waiter);
    assert_true(temp_dir_has(f->dir, LOCK));
}

static void the_progress_of_another_replica_is_reported(void **state)
{
    struct fixture *f = *state;
    const struct hc_blob_request request = blob_request_of(f);
    int other = lock_as_another_client(f);
    struct waiter waiter;

    claim_elsewhere(f, 2);
    waiter_start(&waiter, f, &request);
    await_remote_bytes(&waiter, 2);
    claim_elsewhere(f, 4);
    await_remote_bytes(&waiter, 4);
    assert_int_equal(close(other), 0);
    waiter_expect_lock(&waiter);
}

static void the_progress_of_another_client_is_reported(void **state)
{
    struct fixture *f = *state;
    const struct hc_blob_request request = blob_request_of(f);
    int other = lock_as_another_client(f);
    struct waiter waiter;

    temp_dir_write(f->dir, FOLDER "/blobs/" INCOMPLETE, "he");
    waiter_start(&waiter, f, &request);
    await_remote_bytes(&waiter, 2);
    assert_int_equal(close(other), 0);
    waiter_expect_lock(&waiter);
}

static void a_stalled_holder_loses_the_lock(void **state)
{
    struct fixture *f = *state;
    const struct hc_blob_request request = blob_request_of(f);
    struct hc_download_lock download_lock = download_lock_of(f, &request);
    HC_AUTO_CLOSE int other = lock_as_another_client(f);
    HC_AUTO(hc_blob_lock) *lock = NULL;

    assert_true(other >= 0);
    claim_elsewhere(f, 2);
    download_lock.takeover_ms = SOON_MS;
    lock = hc_download_lock_take(&download_lock, &f->err);
    assert_non_null(lock);
    assert_string_equal(download_lock.stalled, INCOMPLETE);
    assert_true(download_lock.waited_ms >= SOON_MS);
    assert_true(hc_blob_lock_is_held(f->cache, BLOB_OF(f, HELLO_GIT)));
}

static void a_lock_that_cannot_be_replaced_is_waited_for_until_the_deadline(void **state)
{
    struct fixture *f = *state;
    const struct hc_blob_request request = blob_request_of(f);
    struct hc_download_lock download_lock = download_lock_of(f, &request);
    HC_AUTO_CLOSE int other = lock_as_another_client(f);
    HC_AUTO(hc_cancellation) *call =
        hc_cancellation_new(hc_monotonic_ms() + 3 * (int64_t)SOON_MS);

    assert_true(other >= 0);
    lock_stays = true;
    download_lock.takeover_ms = SOON_MS;
    download_lock.cancellation = call;
    assert_null(hc_download_lock_take(&download_lock, &f->err));
    lock_stays = false;
    assert_int_equal(f->err.reason, HC_DEADLINE_EXCEEDED);
}

static void a_holder_with_a_heartbeat_keeps_the_lock(void **state)
{
    struct fixture *f = *state;
    const struct hc_blob_request request = blob_request_of(f);
    const struct hc_claim_options options = {0};
    struct hc_download_lock download_lock = download_lock_of(f, &request);
    HC_AUTO_CLOSE int other = lock_as_another_client(f);
    HC_AUTO(hc_cancellation) *call =
        hc_cancellation_new(hc_monotonic_ms() + 6 * HC_HEARTBEAT_MS);
    struct hc_claim *claim = NULL;

    assert_true(other >= 0);
    assert_int_equal(hc_claim_acquire(f->cache, &request, &options, &claim, &f->err), 1);
    download_lock.cancellation = call;
    download_lock.takeover_ms =
        4 * HC_HEARTBEAT_MS; /* it has a heartbeat, though no byte comes */
    assert_null(hc_download_lock_take(&download_lock, &f->err));
    assert_int_equal(f->err.reason, HC_DEADLINE_EXCEEDED);
    hc_claim_drop(claim);
}

static void a_claim_that_is_removed_ends_the_wait(void **state)
{
    struct fixture *f = *state;
    const struct hc_blob_request request = blob_request_of(f);
    struct hc_download_lock download_lock = download_lock_of(f, &request);

    assert_int_equal(hc_download_lock_await_claim(&download_lock, &f->err), 0);
    assert_string_equal(download_lock.stalled, "");
}

static void a_blob_that_exists_ends_the_wait(void **state)
{
    struct fixture *f = *state;
    const struct hc_blob_request request = blob_request_of(f);
    struct hc_download_lock download_lock = download_lock_of(f, &request);

    claim_elsewhere(f, 2);
    temp_dir_write(f->dir, FOLDER "/blobs/" HELLO_GIT, "hello");
    assert_int_equal(hc_download_lock_await_claim(&download_lock, &f->err), 0);
    assert_string_equal(download_lock.stalled, "");
}

static void a_stalled_claim_is_taken_over(void **state)
{
    struct fixture *f = *state;
    const struct hc_blob_request request = blob_request_of(f);
    struct hc_download_lock download_lock = download_lock_of(f, &request);

    claim_elsewhere(f, 2);
    assert_int_equal(hc_download_lock_await_claim(&download_lock, &f->err), 0);
    assert_string_equal(download_lock.stalled, INCOMPLETE);
    assert_true(download_lock.waited_ms >= HC_CLAIM_LEASE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(waiting_ends_at_the_deadline),
        WITH_CACHE(a_cancelled_caller_does_not_wait),
        WITH_CACHE(a_waiter_gets_the_lock_after_its_release),
        WITH_CACHE(a_lock_file_that_was_removed_meanwhile_is_not_waited_for),
        WITH_CACHE(the_progress_of_another_replica_is_reported),
        WITH_CACHE(the_progress_of_another_client_is_reported),
        WITH_CACHE(a_stalled_holder_loses_the_lock),
        WITH_CACHE(a_lock_that_cannot_be_replaced_is_waited_for_until_the_deadline),
        WITH_CACHE(a_holder_with_a_heartbeat_keeps_the_lock),
        WITH_CACHE(a_claim_that_is_removed_ends_the_wait),
        WITH_CACHE(a_blob_that_exists_ends_the_wait),
        WITH_CACHE(a_stalled_claim_is_taken_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
