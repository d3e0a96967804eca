/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: totals are those of the records on the volume, whichever process has written
 * or removed them, after each refresh and after each write of this process; a blob that
 * is reserved counts once, for one caller, from the reservation on until its record, or
 * the reservation, is gone; and reservations never exceed a limit together.
 */
#include "blob_id.h"
#include "cache_fixture.h"

#include "random.h"

#include <base/text.h>
#include <cache/fetched_totals.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

enum { THREADS = 8, CALLERS = 3, BLOBS = 12, STEPS = 400 };

static const char *const names[CALLERS] = {"alice", "bob", "carol"};

static struct hc_identity caller(const char *name)
{
    return (struct hc_identity){.kind = "token", .name = name};
}

/* The blob number `n`, of one of three repos. */
static struct hc_blob_id blob_number(unsigned n)
{
    static const char *const folders[] = {"models--org--name", "models--org--other",
                                          "datasets--org--name"};
    static char etags[BLOBS][41];

    (void)snprintf(etags[n], sizeof etags[n], "%040x", n);
    return (struct hc_blob_id){folders[n % 3], etags[n]};
}

static void write_record(const struct hc_cache *cache, unsigned n, const char *name,
                         uint64_t bytes)
{
    const struct hc_identity identity = caller(name);
    const struct hc_blob_request request = {.blob = blob_number(n),
                                            .identity = &identity,
                                            .rule = "r"};
    struct hc_error err;

    assert_int_equal(hc_fetched_write(cache, &request, bytes, &err), 0);
}

static void refresh(const struct hc_cache *cache)
{
    struct hc_error err;

    assert_int_equal(hc_fetched_totals_refresh(cache, 0, NULL, &err), 0);
}

/* Of one caller, over all rules. */
struct sum {
    const char *name; /* NULL: of anonymous ones */
    uint64_t bytes, blobs, reserved_bytes;
};

static void sum_add(void *ctx, const struct hc_fetched_total *total)
{
    struct sum *sum = ctx;
    const char *name = total->identity ? total->identity->name : NULL;

    if (!hc_text_equals(name, sum->name))
        return;
    sum->bytes += total->bytes;
    sum->blobs += total->blobs;
    sum->reserved_bytes += total->reserved_bytes;
}

static struct sum sum_of(const struct hc_cache *cache, const char *name)
{
    struct sum sum = {.name = name};

    hc_fetched_totals_list(cache, sum_add, &sum);
    return sum;
}

static void assert_sum(const struct hc_cache *cache, const char *name, uint64_t bytes,
                       uint64_t reserved_bytes)
{
    const struct sum sum = sum_of(cache, name);

    assert_int_equal(sum.bytes, bytes);
    assert_int_equal(sum.reserved_bytes, reserved_bytes);
}

static struct hc_cache *open_again(const struct fixture *f)
{
    struct hc_error err;
    struct hc_cache *cache = hc_cache_open(f->dir, false, &err);

    assert_non_null(cache);
    return cache;
}

/* ---- what is on the volume --------------------------------------------------------- */

static void an_empty_cache_has_no_totals(void **state)
{
    struct fixture *f = *state;

    refresh(f->cache);
    assert_sum(f->cache, "alice", 0, 0);
}

static void totals_are_those_of_the_records_after_a_restart(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_cache) *other = NULL;

    write_record(f->cache, 0, "alice", 100);
    write_record(f->cache, 1, "alice", 20);
    write_record(f->cache, 2, "bob", 3);
    other = open_again(f);
    refresh(other);
    assert_sum(other, "alice", 120, 0);
    assert_sum(other, "bob", 3, 0);
    assert_int_equal(sum_of(other, "alice").blobs, 2);
}

static void what_this_process_writes_and_removes_counts_without_a_refresh(void **state)
{
    struct fixture *f = *state;
    const struct hc_blob_id first = blob_number(0);

    refresh(f->cache);
    write_record(f->cache, 0, "alice", 100);
    write_record(f->cache, 1, "bob", 7);
    assert_sum(f->cache, "alice", 100, 0);
    write_record(f->cache, 0, "bob", 50); /* another caller has it fetched again */
    assert_sum(f->cache, "alice", 0, 0);
    assert_sum(f->cache, "bob", 57, 0);
    hc_fetched_remove(f->cache, &first);
    assert_sum(f->cache, "bob", 7, 0);
}

static void what_another_process_writes_and_removes_counts_after_a_refresh(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_cache) *other = open_again(f);
    const struct hc_blob_id first = blob_number(0), third = blob_number(2);

    refresh(f->cache);
    write_record(other, 0, "alice", 100);
    write_record(other, 1, "alice", 20);
    refresh(f->cache);
    assert_sum(f->cache, "alice", 120, 0);
    write_record(other, 1, "bob", 21); /* in a directory that was read just now */
    hc_fetched_remove(other, &first);
    write_record(other, 2, "bob", 1);
    refresh(f->cache);
    assert_sum(f->cache, "alice", 0, 0);
    assert_sum(f->cache, "bob", 22, 0);
    hc_fetched_remove(other, &third);
    assert_int_equal(hc_fetched_sweep(other, hc_epoch_ms()), 0);
    assert_false(temp_dir_has(f->dir, ".hubcache/fetched/datasets--org--name"));
    refresh(f->cache);
    assert_sum(f->cache, "bob", 21, 0);
}

static void a_young_refresh_is_good_enough(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_cache) *other = open_again(f);

    refresh(f->cache);
    write_record(other, 0, "alice", 100);
    assert_int_equal(hc_fetched_totals_refresh(f->cache, 3600 * 1000, NULL, &f->err), 0);
    assert_sum(f->cache, "alice", 0, 0);
    refresh(f->cache);
    assert_sum(f->cache, "alice", 100, 0);
}

static void groups_and_rules_tell_totals_apart(void **state)
{
    struct fixture *f = *state;
    static const char *const groups[] = {"g"};
    const struct hc_identity plain = caller("alice"),
                             grouped = {"token", "alice", groups, 1};
    struct hc_blob_request requests[] = {
        {.blob = blob_number(0), .identity = &plain, .rule = "r"},
        {.blob = blob_number(1), .identity = &grouped, .rule = "r"},
        {.blob = blob_number(2), .identity = &plain, .rule = "s"},
        {.blob = blob_number(3)},
    };
    struct sum sum;

    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        assert_int_equal(hc_fetched_write(f->cache, &requests[i], 1u << i, &f->err), 0);
    refresh(f->cache);
    sum = sum_of(f->cache, "alice");
    assert_int_equal(sum.bytes, 7);
    assert_int_equal(sum.blobs, 3);
    assert_int_equal(sum_of(f->cache, NULL).bytes, 8);
}

static void a_malformed_record_counts_for_no_caller(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, ".hubcache/fetched/models--org--name/" HELLO_GIT, "{\"byt");
    write_record(f->cache, 0, "alice", 5);
    refresh(f->cache);
    assert_sum(f->cache, "alice", 5, 0);
    assert_sum(f->cache, NULL, 0, 0);
}

static void a_directory_that_cannot_be_read_is_said(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_cancellation) *call = hc_cancellation_new(HC_NO_DEADLINE);

    write_record(f->cache, 0, "alice", 5);
    hc_cancellation_cancel(call);
    assert_int_equal(hc_fetched_totals_refresh(f->cache, 0, call, &f->err), -1);
    assert_int_equal(f->err.reason, HC_CANCELLED);
    assert_int_equal(hc_fetched_totals_refresh(f->cache, 3600 * 1000, NULL, &f->err), 0);
    assert_sum(f->cache, "alice", 5, 0);
}

/* ---- reservations ------------------------------------------------------------------ */

static bool counts_all(const void *ctx, const struct hc_identity *identity)
{
    (void)ctx;
    (void)identity;
    return true;
}

static bool counts_one(const void *ctx, const struct hc_identity *identity)
{
    return identity && strcmp(identity->name, ctx) == 0;
}

/* Reserves one blob for the caller, within a limit of its own. */
static int reserve_blob(const struct hc_cache *cache, unsigned n, const char *name,
                        const struct hc_fetched_request *limits,
                        struct hc_fetched_reservation **reservation)
{
    const struct hc_identity identity = caller(name);
    const struct hc_blob_id blob = blob_number(n);
    struct hc_fetched_want want = {blob.etag, limits->wants ? limits->wants->bytes : 10};
    struct hc_fetched_request request = *limits;
    struct hc_fetched_balance balance;
    struct hc_error err;

    request.folder = blob.folder;
    request.identity = &identity;
    request.wants = &want;
    request.count = 1;
    return hc_fetched_reserve(cache, &request, &balance, reservation, &err);
}

static void reserved_bytes_fit_the_limit_or_are_refused(void **state)
{
    struct fixture *f = *state;
    struct hc_fetched_request limits = {.counts = counts_all};
    struct hc_fetched_reservation *reservation;

    write_record(f->cache, 0, "alice", 90);
    refresh(f->cache);
    for (uint64_t limit = 98; limit <= 102; limit++) { /* 100 are needed */
        limits.limit = limit;
        assert_int_equal(reserve_blob(f->cache, 1, "alice", &limits, &reservation),
                         limit >= 100);
        assert_sum(f->cache, "alice", 90, limit >= 100 ? 10 : 0);
        if (limit >= 100)
            hc_fetched_reservation_drop(reservation);
    }
    assert_sum(f->cache, "alice", 90, 0);
}

static void a_blob_that_counts_already_is_reserved_beyond_every_limit(void **state)
{
    struct fixture *f = *state;
    const struct hc_fetched_request limits = {.counts = counts_all, .limit = 10},
                                    none = {.counts = counts_all, .limit = 0};
    struct hc_fetched_reservation *first, *second, *third;

    refresh(f->cache);
    assert_int_equal(reserve_blob(f->cache, 0, "alice", &limits, &first), 1);
    assert_int_equal(reserve_blob(f->cache, 0, "bob", &none, &second), 1);
    assert_sum(f->cache, "alice", 0, 10);
    assert_sum(f->cache, "bob", 0, 0);
    hc_fetched_reservation_drop(first); /* the blob is fetched for bob, now */
    assert_sum(f->cache, "alice", 0, 10);
    write_record(f->cache, 0, "bob", 10);
    assert_sum(f->cache, "alice", 0, 0);
    assert_sum(f->cache, "bob", 10, 0);
    assert_int_equal(reserve_blob(f->cache, 0, "carol", &none, &third), 1);
    hc_fetched_reservation_drop(third);
    hc_fetched_reservation_drop(second);
    assert_sum(f->cache, "bob", 10, 0);
}

static void a_record_takes_the_place_of_a_reservation(void **state)
{
    struct fixture *f = *state;
    const struct hc_fetched_request limits = {.counts = counts_all, .limit = 10};
    const struct hc_blob_id blob = blob_number(0);
    struct hc_fetched_reservation *reservation;

    refresh(f->cache);
    assert_int_equal(reserve_blob(f->cache, 0, "alice", &limits, &reservation), 1);
    write_record(f->cache, 0, "alice", 12);
    assert_sum(f->cache, "alice", 12, 0);
    hc_fetched_remove(f->cache, &blob); /* and is fetched once more */
    assert_sum(f->cache, "alice", 0, 12);
    hc_fetched_reservation_drop(reservation);
    assert_sum(f->cache, "alice", 0, 0);
}

static void what_another_process_has_fetched_meanwhile_counts_after_the_drop(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_cache) *other = open_again(f);
    const struct hc_fetched_request limits = {.counts = counts_all, .limit = 10};
    struct hc_fetched_reservation *reservation;

    refresh(f->cache);
    assert_int_equal(reserve_blob(f->cache, 0, "alice", &limits, &reservation), 1);
    write_record(other, 0, "bob", 10);
    hc_fetched_reservation_drop(reservation);
    assert_int_equal(hc_fetched_totals_refresh(f->cache, 3600 * 1000, NULL, &f->err), 0);
    assert_sum(f->cache, "bob", 10, 0);
}

static void a_request_is_reserved_as_a_whole_or_not_at_all(void **state)
{
    struct fixture *f = *state;
    const struct hc_fetched_want wants[] = {{HELLO_GIT, 4},
                                            {HELLO_SHA256, 4},
                                            {HELLO_GIT, 4},
                                            {"a/path with a name", 4}};
    struct hc_fetched_request request = {.folder = f->repo.folder,
                                         .wants = wants,
                                         .count = 4,
                                         .limit = 11,
                                         .counts = counts_all};
    struct hc_fetched_balance balance;
    struct hc_fetched_reservation *reservation;

    refresh(f->cache);
    assert_int_equal(hc_fetched_reserve(f->cache, &request, &balance, &reservation,
                                        &f->err),
                     0);
    assert_int_equal(balance.needed, 12); /* a blob that has two names is needed once */
    assert_int_equal(balance.used, 0);
    assert_sum(f->cache, NULL, 0, 0);
    request.limit = 12;
    assert_int_equal(hc_fetched_reserve(f->cache, &request, &balance, &reservation,
                                        &f->err),
                     1);
    assert_sum(f->cache, NULL, 0, 12);
    hc_fetched_reservation_drop(reservation);
    assert_sum(f->cache, NULL, 0, 0);
}

static void callers_that_do_not_count_leave_the_limit_alone(void **state)
{
    struct fixture *f = *state;
    const struct hc_fetched_request limits = {.counts = counts_one,
                                              .ctx = "alice",
                                              .limit = 10};
    struct hc_fetched_reservation *reservation;

    write_record(f->cache, 0, "bob", 1000);
    refresh(f->cache);
    assert_int_equal(reserve_blob(f->cache, 1, "alice", &limits, &reservation), 1);
    hc_fetched_reservation_drop(reservation);
}

/* Sums at the limit of what 64 bits hold do not wrap. */
static void huge_records_do_not_wrap(void **state)
{
    struct fixture *f = *state;
    const struct hc_fetched_request limits = {.counts = counts_all, .limit = 1000};
    struct hc_fetched_reservation *reservation;

    write_record(f->cache, 0, "alice", INT64_MAX);
    write_record(f->cache, 1, "bob", INT64_MAX);
    write_record(f->cache, 2, "carol", INT64_MAX);
    refresh(f->cache);
    assert_int_equal(reserve_blob(f->cache, 3, "alice", &limits, &reservation), 0);
}

/* ---- threads ----------------------------------------------------------------------- */

struct contender {
    pthread_t thread;
    const struct hc_cache *cache;
    unsigned n;
    bool is_reserved;
    struct hc_fetched_reservation *reservation;
};

static void *contender_run(void *ctx)
{
    const struct hc_fetched_request limits = {.counts = counts_all, .limit = 35};
    struct contender *contender = ctx;

    refresh(contender->cache);
    contender->is_reserved = reserve_blob(contender->cache, contender->n, names[0],
                                          &limits, &contender->reservation) == 1;
    return NULL;
}

static void threads_never_exceed_a_limit_together(void **state)
{
    struct fixture *f = *state;
    struct contender contenders[THREADS];
    unsigned reserved = 0;

    for (unsigned i = 0; i < THREADS; i++) {
        contenders[i] = (struct contender){.cache = f->cache, .n = i};
        assert_int_equal(pthread_create(&contenders[i].thread, NULL, contender_run,
                                        &contenders[i]),
                         0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(contenders[i].thread, NULL), 0);
        reserved += contenders[i].is_reserved;
    }
    assert_int_equal(reserved, 3); /* of 10 bytes each */
    assert_sum(f->cache, names[0], 0, 30);
    for (unsigned i = 0; i < THREADS; i++)
        hc_fetched_reservation_drop(contenders[i].reservation);
}

/* ---- a model beside it ------------------------------------------------------------- */

static uint64_t random_below(struct random_source *random, uint64_t limit)
{
    return random_between(random, 0, limit - 1);
}

/* What the totals should be of. */
struct model {
    int caller[BLOBS]; /* of the record, or the first reservation; -1: none */
    bool is_recorded[BLOBS];
    uint64_t bytes[BLOBS];
    struct hc_fetched_reservation *reservations[BLOBS];
};

static void model_write(struct model *model, const struct hc_cache *cache, unsigned n,
                        struct random_source *random)
{
    model->caller[n] = (int)random_below(random, CALLERS);
    model->bytes[n] = random_below(random, 1000);
    model->is_recorded[n] = true;
    write_record(cache, n, names[model->caller[n]], model->bytes[n]);
}

static void model_remove(struct model *model, const struct hc_cache *cache, unsigned n)
{
    const struct hc_blob_id blob = blob_number(n);

    hc_fetched_remove(cache, &blob);
    model->is_recorded[n] = false;
    if (!model->reservations[n])
        model->caller[n] = -1;
}

static void model_reserve(struct model *model, const struct hc_cache *cache, unsigned n,
                          struct random_source *random)
{
    const struct hc_fetched_want want = {.bytes = random_below(random, 1000)};
    const struct hc_fetched_request limits = {.counts = counts_all,
                                              .limit = UINT64_MAX,
                                              .wants = &want};
    int of = (int)random_below(random, CALLERS);

    if (model->reservations[n]) {
        hc_fetched_reservation_drop(hc_take(&model->reservations[n]));
        if (!model->is_recorded[n])
            model->caller[n] = -1;
        return;
    }
    assert_int_equal(reserve_blob(cache, n, names[of], &limits, &model->reservations[n]),
                     1);
    if (model->caller[n] < 0) {
        model->caller[n] = of;
        model->bytes[n] = want.bytes;
    }
}

static void model_assert(const struct model *model, const struct hc_cache *cache)
{
    for (int of = 0; of < CALLERS; of++) {
        uint64_t bytes = 0, reserved_bytes = 0;

        for (unsigned n = 0; n < BLOBS; n++) {
            if (model->caller[n] == of)
                *(model->is_recorded[n] ? &bytes : &reserved_bytes) += model->bytes[n];
        }
        assert_sum(cache, names[of], bytes, reserved_bytes);
    }
}

/* Another process writes and removes half of the time; then a refresh follows. */
static void totals_are_those_of_a_model(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_cache) *other = open_again(f);
    struct random_source random;
    struct model model = {0};

    for (unsigned n = 0; n < BLOBS; n++)
        model.caller[n] = -1;
    random_begin(&random, "totals");
    refresh(f->cache);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned n = (unsigned)random_below(&random, BLOBS);
        bool is_other = random_below(&random, 2) == 0;
        const struct hc_cache *cache = is_other ? other : f->cache;

        switch (random_below(&random, 3)) {
        case 0:
            model_write(&model, cache, n, &random);
            break;
        case 1:
            model_remove(&model, cache, n);
            break;
        default:
            model_reserve(&model, f->cache, n, &random);
        }
        if (is_other)
            refresh(f->cache);
        model_assert(&model, f->cache);
    }
    for (unsigned n = 0; n < BLOBS; n++)
        hc_fetched_reservation_drop(model.reservations[n]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(an_empty_cache_has_no_totals),
        WITH_CACHE(totals_are_those_of_the_records_after_a_restart),
        WITH_CACHE(what_this_process_writes_and_removes_counts_without_a_refresh),
        WITH_CACHE(what_another_process_writes_and_removes_counts_after_a_refresh),
        WITH_CACHE(a_young_refresh_is_good_enough),
        WITH_CACHE(groups_and_rules_tell_totals_apart),
        WITH_CACHE(a_malformed_record_counts_for_no_caller),
        WITH_CACHE(a_directory_that_cannot_be_read_is_said),
        WITH_CACHE(reserved_bytes_fit_the_limit_or_are_refused),
        WITH_CACHE(a_blob_that_counts_already_is_reserved_beyond_every_limit),
        WITH_CACHE(a_record_takes_the_place_of_a_reservation),
        WITH_CACHE(what_another_process_has_fetched_meanwhile_counts_after_the_drop),
        WITH_CACHE(a_request_is_reserved_as_a_whole_or_not_at_all),
        WITH_CACHE(callers_that_do_not_count_leave_the_limit_alone),
        WITH_CACHE(huge_records_do_not_wrap),
        WITH_CACHE(threads_never_exceed_a_limit_together),
        WITH_CACHE(totals_are_those_of_a_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
