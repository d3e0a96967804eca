/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: what the Hub said of a token and a repo holds for that token and that repo
 * alone, to the millisecond as long as it should, and what followed from it is not
 * answered again once it holds no more.
 */
#include <test.h>

#include <base/error.h>
#include <resolver/access_memory.h>

#include <stdio.h>
#include <string.h>

enum { TTL = 600 * 1000, NOW = 5000 };

struct fixture {
    struct hc_access_memory *memory;
    struct hc_memo_term term;
    struct hc_error err;
};

static int memory_set_up(void **state)
{
    static struct fixture f;

    f = (struct fixture){0};
    f.memory = hc_access_memory_new(TTL, &f.err);
    assert_non_null(f.memory);
    *state = &f;
    return 0;
}

static int memory_tear_down(void **state)
{
    struct fixture *f = *state;

    hc_access_memory_free(f->memory);
    return 0;
}

static struct hc_access_key key_of(const char *token, const char *repo)
{
    return (struct hc_access_key){.token = hc_keyed_hash_of(token), .repo = repo};
}

static void grant(struct fixture *f, const char *token, const char *repo)
{
    const struct hc_access_key key = key_of(token, repo);

    hc_access_memory_grant(f->memory, &key, NOW);
}

static void deny(struct fixture *f, const char *token, const char *repo)
{
    const struct hc_access_key key = key_of(token, repo);
    struct hc_error refusal = {.reason = HC_GATED_REPO, .message = "no"};

    hc_access_memory_deny(f->memory, &key, NOW, &refusal);
}

static int find(struct fixture *f, const char *token, const char *repo, int64_t now_ms)
{
    const struct hc_access_key key = key_of(token, repo);

    return hc_access_memory_find(f->memory, &key, now_ms, &f->term, &f->err);
}

static void an_entry_is_of_one_token_and_one_repo(void **state)
{
    struct fixture *f = *state;

    grant(f, "alice", "models--a--b");
    deny(f, "bob", "models--a--b");
    assert_int_equal(find(f, "alice", "models--a--b", NOW), 1);
    assert_int_equal(find(f, "bob", "models--a--b", NOW), -1);
    assert_int_equal(f->err.reason, HC_GATED_REPO);
    assert_string_equal(f->err.message, "no");
    assert_int_equal(find(f, "carol", "models--a--b", NOW), 0);
    assert_int_equal(find(f, "alice", "models--a--c", NOW), 0);
    assert_int_equal(find(f, NULL, "models--a--b", NOW), 0);
    assert_int_equal(find(f, "", "models--a--b", NOW), 0);
}

static void access_takes_the_place_of_a_refusal(void **state)
{
    struct fixture *f = *state;

    deny(f, "alice", "repo");
    grant(f, "alice", "repo");
    assert_int_equal(find(f, "alice", "repo", NOW), 1);
    assert_int_equal(find(f, "alice", "repo", NOW + TTL), 0); /* no refusal behind it */
}

static void access_lasts_for_the_time_to_live(void **state)
{
    struct fixture *f = *state;
    const struct hc_access_key key = key_of("alice", "repo");

    grant(f, "alice", "repo");
    assert_int_equal(find(f, "alice", "repo", NOW + TTL - 1), 1);
    assert_true(f->term.until_ns == INT64_C(1000000) * (NOW + TTL));
    assert_int_equal(find(f, "alice", "repo", NOW + TTL), 0);
    assert_true(hc_access_memory_was_granted(f->memory, &key, NOW + 2 * TTL - 1));
    assert_false(hc_access_memory_was_granted(f->memory, &key, NOW + 2 * TTL));
}

static void a_refusal_lasts_ten_seconds(void **state)
{
    struct fixture *f = *state;
    const struct hc_access_key key = key_of("bob", "repo");

    deny(f, "bob", "repo");
    assert_int_equal(find(f, "bob", "repo", NOW + 9999), -1);
    assert_int_equal(find(f, "bob", "repo", NOW + 10000), 0);
    assert_false(hc_access_memory_was_granted(f->memory, &key, NOW));
}

static void a_refusal_takes_the_place_of_access(void **state)
{
    struct fixture *f = *state;
    const struct hc_access_key key = key_of("alice", "repo");

    grant(f, "alice", "repo");
    deny(f, "alice", "repo");
    assert_int_equal(find(f, "alice", "repo", NOW), -1);
    assert_false(hc_access_memory_was_granted(f->memory, &key, NOW));
}

/* Answers that followed from access are kept elsewhere, with its term. */
static void what_followed_from_access_ends_with_it(void **state)
{
    struct fixture *f = *state;
    const struct hc_access_key key = key_of(NULL, "repo");
    struct hc_reuse reuse = {0};

    grant(f, NULL, "repo");
    assert_int_equal(find(f, NULL, "repo", NOW), 1);
    hc_reuse_add(&reuse, &f->term);
    grant(f, "alice", "repo");
    deny(f, "bob", "repo");
    assert_true(hc_reuse_is_valid(&reuse, f->term.until_ns - 1));
    assert_false(hc_reuse_is_valid(&reuse, f->term.until_ns));
    hc_access_memory_forget(f->memory, &key);
    assert_false(hc_reuse_is_valid(&reuse, 0));
    assert_int_equal(find(f, NULL, "repo", NOW), 0);

    grant(f, NULL, "repo");
    assert_int_equal(find(f, NULL, "repo", NOW), 1);
    reuse = (struct hc_reuse){0};
    hc_reuse_add(&reuse, &f->term);
    deny(f, NULL, "repo");
    assert_false(hc_reuse_is_valid(&reuse, 0));
}

static void nothing_is_remembered_without_time_to_live(void **state)
{
    struct fixture *f = *state;

    hc_access_memory_free(f->memory);
    f->memory = hc_access_memory_new(0, &f->err);
    grant(f, "alice", "repo");
    deny(f, "bob", "repo");
    assert_int_equal(find(f, "alice", "repo", NOW), 0);
    assert_int_equal(find(f, "bob", "repo", NOW), 0);
}

static void there_is_a_bound(void **state)
{
    struct fixture *f = *state;
    unsigned found = 0;
    char repo[32];

    for (int i = 0; i < 2 * HC_ACCESS_SLOTS; i++) {
        (void)snprintf(repo, sizeof repo, "models--org--%d", i);
        grant(f, NULL, repo);
    }
    for (int i = 0; i < 2 * HC_ACCESS_SLOTS; i++) {
        (void)snprintf(repo, sizeof repo, "models--org--%d", i);
        found += find(f, NULL, repo, NOW) == 1;
    }
    assert_true(found <= HC_ACCESS_SLOTS && found > HC_ACCESS_SLOTS / 4);
    found = 0;
    for (int i = 0; i < 2 * HC_ACCESS_DENIED_SLOTS; i++) {
        (void)snprintf(repo, sizeof repo, "models--org--%d", i);
        deny(f, NULL, repo);
    }
    for (int i = 0; i < 2 * HC_ACCESS_DENIED_SLOTS; i++) {
        (void)snprintf(repo, sizeof repo, "models--org--%d", i);
        found += find(f, NULL, repo, NOW) == -1;
    }
    assert_true(found <= HC_ACCESS_DENIED_SLOTS && found > HC_ACCESS_DENIED_SLOTS / 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, memory_set_up, memory_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_entry_is_of_one_token_and_one_repo),
        TEST(access_takes_the_place_of_a_refusal),
        TEST(access_lasts_for_the_time_to_live),
        TEST(a_refusal_lasts_ten_seconds),
        TEST(a_refusal_takes_the_place_of_access),
        TEST(what_followed_from_access_ends_with_it),
        TEST(nothing_is_remembered_without_time_to_live),
        TEST(there_is_a_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
