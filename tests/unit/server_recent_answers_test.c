/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: an answer is given again to the same caller for the same bytes of the same
 * method, until its facts are too old or this process writes to one of their paths; and
 * what is kept has a bound.
 */
#include <test.h>

#include <base/cancellation.h>
#include <base/error.h>
#include <server/recent_answers.h>

#include <stdio.h>
#include <string.h>

enum { NOW = 1000, METHOD = 3, POLICY = 5 };

struct fixture {
    struct hc_recent_answers *recent;
    struct hc_memo *memo;
    struct hc_answer *answer;
    struct hc_error err;
};

static int recent_set_up(void **state)
{
    static struct fixture f;
    uint8_t *room;

    f.recent = hc_recent_answers_new(&f.err);
    f.memo = hc_memo_new(&f.err);
    f.answer = hc_answer_new_room(4, &room);
    assert_non_null(f.recent);
    assert_non_null(f.memo);
    assert_non_null(f.answer);
    memcpy(room, "path", 4);
    *state = &f;
    return 0;
}

static int recent_tear_down(void **state)
{
    struct fixture *f = *state;

    hc_recent_answers_free(f->recent);
    hc_memo_free(f->memo);
    assert_int_equal(atomic_load(&f->answer->holders), 1);
    hc_answer_release(f->answer);
    return 0;
}

static struct hc_recent_key key_of(const char *request)
{
    return (struct hc_recent_key){.method = METHOD,
                                  .policy = POLICY,
                                  .caller = hc_keyed_hash_of("alice"),
                                  .bytes = (const uint8_t *)request,
                                  .size = strlen(request)};
}

/* Until this process writes to `path`. */
static struct hc_reuse reuse_of(const struct fixture *f, const char *path)
{
    const struct hc_memo_look look = hc_memo_begin_look(f->memo, path);
    const struct hc_memo_term term = hc_memo_look_term(f->memo, &look);
    struct hc_reuse reuse = {0};

    hc_reuse_add(&reuse, &term);
    return reuse;
}

static void keep(struct fixture *f, const char *request, const struct hc_reuse *reuse)
{
    const struct hc_recent_key key = key_of(request);

    hc_recent_answers_add(f->recent, &key, f->answer, reuse);
}

static bool is_kept_by(struct fixture *f, const struct hc_recent_key *key, int64_t now_ns)
{
    HC_AUTO(hc_answer) *found = hc_recent_answers_find(f->recent, key, now_ns);

    assert_true(!found || found == f->answer);
    return found;
}

static bool is_kept(struct fixture *f, const char *request, int64_t now_ns)
{
    const struct hc_recent_key key = key_of(request);

    return is_kept_by(f, &key, now_ns);
}

static void an_answer_is_for_its_method_caller_and_bytes_only(void **state)
{
    struct fixture *f = *state;
    const struct hc_reuse reuse = reuse_of(f, "a");
    struct hc_recent_key key = key_of("request");

    keep(f, "request", &reuse);
    assert_true(is_kept(f, "request", NOW));
    assert_true(is_kept(f, "request", NOW));
    assert_false(is_kept(f, "requests", NOW));
    assert_false(is_kept(f, "tseuqer", NOW));
    key.method++;
    assert_false(is_kept_by(f, &key, NOW));
    key.method = METHOD;
    key.caller = hc_keyed_hash_of("bob");
    assert_false(is_kept_by(f, &key, NOW));
    key.caller = hc_keyed_hash_of(NULL);
    assert_false(is_kept_by(f, &key, NOW));
    key = key_of("request");
    key.policy++;
    assert_false(is_kept_by(f, &key, NOW));
}

/* Whether or not it may be given again. */
static void an_equal_answer_is_known_for_a_second(void **state)
{
    struct fixture *f = *state;
    const struct hc_reuse none = {0};
    const struct hc_recent_key other = key_of("other");
    struct hc_recent_key key = key_of("request");
    int64_t before_ns = hc_monotonic_ns();
    uint8_t *room;
    HC_AUTO(hc_answer) *equal = hc_answer_new_room(4, &room);

    memcpy(room, "path", 4);
    assert_false(hc_recent_answers_have(f->recent, &key, equal, before_ns));
    keep(f, "request", &none);
    assert_true(hc_recent_answers_have(f->recent, &key, equal, before_ns));
    assert_false(hc_recent_answers_have(f->recent, &other, equal, before_ns));
    assert_true(
        hc_recent_answers_have(f->recent, &key, equal, before_ns + HC_RECENT_NS - 1));
    assert_false(
        hc_recent_answers_have(f->recent, &key, equal, hc_monotonic_ns() + HC_RECENT_NS));
    key.policy++;
    assert_false(hc_recent_answers_have(f->recent, &key, equal, before_ns));
    key.policy--;
    room[0]++;
    assert_false(hc_recent_answers_have(f->recent, &key, equal, before_ns));
}

static void an_answer_ends_when_this_process_writes_to_a_path_of_it(void **state)
{
    struct fixture *f = *state;
    const struct hc_reuse reuse = reuse_of(f, "a");

    keep(f, "request", &reuse);
    hc_memo_forget(f->memo, "b");
    assert_true(is_kept(f, "request", NOW));
    hc_memo_forget(f->memo, "a");
    assert_false(is_kept(f, "request", NOW));
    keep(f, "request", &reuse); /* an answer from before the write */
    assert_false(is_kept(f, "request", NOW));
}

static void an_answer_ends_with_its_time(void **state)
{
    struct fixture *f = *state;
    const int64_t end = INT64_MAX - 1;
    struct hc_reuse reuse = reuse_of(f, "a");

    hc_reuse_limit(&reuse, end);
    keep(f, "request", &reuse);
    assert_true(is_kept(f, "request", end - 1));
    assert_false(is_kept(f, "request", end));
}

static void an_answer_without_facts_or_that_is_over_is_not_given(void **state)
{
    struct fixture *f = *state;
    struct hc_reuse reuse = {0};

    keep(f, "request", &reuse);
    assert_false(is_kept(f, "request", NOW));
    reuse = reuse_of(f, "a");
    hc_reuse_limit(&reuse, 1);
    keep(f, "request", &reuse);
    assert_false(is_kept(f, "request", NOW));
}

static void a_new_answer_replaces_the_one_of_its_slot(void **state)
{
    struct fixture *f = *state;
    const struct hc_reuse reuse = reuse_of(f, "a");
    char request[32];

    for (int i = 0; i < 3 * HC_RECENT_ANSWERS; i++) {
        (void)snprintf(request, sizeof request, "request %d", i);
        keep(f, request, &reuse);
        assert_true(is_kept(f, request, NOW));
    }
    assert_true(atomic_load(&f->answer->holders) <= HC_RECENT_ANSWERS + 1);
}

static void a_large_request_or_answer_is_not_kept(void **state)
{
    struct fixture *f = *state;
    const struct hc_reuse reuse = reuse_of(f, "a");
    char request[HC_RECENT_REQUEST_MAX + 2] = "";
    struct hc_answer large = {.size = HC_RECENT_ANSWER_MAX + 1, .holders = 1};
    struct hc_recent_key key;

    memset(request, 'x', HC_RECENT_REQUEST_MAX);
    keep(f, request, &reuse);
    assert_true(is_kept(f, request, NOW));
    request[HC_RECENT_REQUEST_MAX] = 'x';
    keep(f, request, &reuse);
    assert_false(is_kept(f, request, NOW));

    key = key_of("request");
    hc_recent_answers_add(f->recent, &key, &large, &reuse);
    assert_null(hc_recent_answers_find(f->recent, &key, NOW));
}

#define test(name) cmocka_unit_test_setup_teardown(name, recent_set_up, recent_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(an_answer_is_for_its_method_caller_and_bytes_only),
        test(an_equal_answer_is_known_for_a_second),
        test(an_answer_ends_when_this_process_writes_to_a_path_of_it),
        test(an_answer_ends_with_its_time),
        test(an_answer_without_facts_or_that_is_over_is_not_given),
        test(a_new_answer_replaces_the_one_of_its_slot),
        test(a_large_request_or_answer_is_not_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
