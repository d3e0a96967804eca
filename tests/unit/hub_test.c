/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the Hub gets the requests it expects, its redirects are followed where
 * that is safe, and a response that is incomplete or unsafe is a bad reply.
 */
#include "hub_fixture.h"

#include <base/size.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- metadata ---------------------------------------------------------------------- */

static void a_git_file_is_described_by_two_hops_on_the_hub(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;

    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), 0);

    assert_string_equal(metadata.commit, f->commit);
    assert_string_equal(metadata.etag, "9e26dfeeb6e641a33dae4961196235bdb965b21b");
    assert_int_equal(metadata.size, 2);
    assert_int_equal(test_hub_count(f->server, "HEAD", NULL), 2);
    assert_int_equal(test_hub_count(f->server, "HEAD", "&etag="),
                     1); /* the query is kept */
}

static void what_the_first_answer_says_stands(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;

    hub_fixture_add_rule(f, (struct test_hub_rule){.contains = "resolve-cache",
                                                   .fault = TEST_HUB_HEADER,
                                                   .name = "X-Linked-Etag",
                                                   .text = "\"another\""});
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), 0);
    assert_string_equal(metadata.etag, "9e26dfeeb6e641a33dae4961196235bdb965b21b");
}

static void an_lfs_file_is_described_without_asking_its_storage(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;

    assert_int_equal(hub_fixture_head_file(f, "model.bin", &metadata), 0);

    assert_string_equal(
        metadata.etag,
        "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882");
    assert_int_equal(metadata.size, 10);
    assert_memory_equal(metadata.location, test_hub_cdn(f->server),
                        strlen(test_hub_cdn(f->server)));
    assert_int_equal(test_hub_count_cdn(f->server, NULL), 0);
}

static void odd_names_arrive_encoded(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;

    assert_int_equal(hub_fixture_head_file(f, "sub/a b+c%.txt", &metadata), 0);
    assert_int_not_equal(test_hub_count(f->server, "HEAD",
                                        "/org/m/resolve/main/sub/a%20b%2Bc%25.txt"),
                         0);
}

static void metadata_that_is_incomplete_or_unsafe_is_a_bad_reply(void **state)
{
    static const struct {
        const char *name, *text;
    } rows[] = {
        {"X-Repo-Commit", NULL},
        {"X-Repo-Commit", "notahash"},
        {"X-Linked-Etag", "\"../../evil\""},
        {"X-Linked-Etag", "\"\""},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hc_metadata metadata;

        test_hub_clear_rules(f->server);
        hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_HEADER,
                                                       .name = rows[i].name,
                                                       .text = rows[i].text});
        if (hub_fixture_head_file(f, "model.bin", &metadata) == 0)
            fail_msg("%s: %s", rows[i].name, rows[i].text ? rows[i].text : "(none)");
        assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    }
    /* It is not asked again; without a commit the storage is, which knows none either. */
    assert_int_equal(test_hub_count(f->server, NULL, "/resolve/"), 4);
    assert_int_equal(test_hub_count_cdn(f->server, NULL), 2);
}

static void a_size_that_is_not_told_is_unknown(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;

    hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_HEADER,
                                                   .name = "X-Linked-Size"});
    assert_int_equal(hub_fixture_head_file(f, "model.bin", &metadata), 0);
    assert_true(metadata.size == HC_SIZE_UNKNOWN);
}

static void an_unknown_file_names_the_commit_that_lacks_it(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;

    hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_HEADER,
                                                   .name = "X-Repo-Commit",
                                                   .text = f->commit});
    assert_int_equal(hub_fixture_head_file(f, "absent", &metadata), -1);
    assert_int_equal(f->err.reason, HC_ENTRY_NOT_FOUND);
    assert_string_equal(metadata.commit, f->commit);

    test_hub_clear_rules(f->server);
    hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_HEADER,
                                                   .name = "X-Repo-Commit"});
    assert_int_equal(hub_fixture_head_file(f, "absent", &metadata), -1);
    assert_string_equal(metadata.commit, "");
    assert_int_equal(test_hub_count(f->server, NULL, NULL), 2); /* 404 is final */
}

static void what_the_hub_refuses_has_its_reason(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;

    test_hub_set_access(f->server, "models/org/m", TEST_HUB_PRIVATE);
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), -1);
    assert_int_equal(f->err.reason, HC_REPO_NOT_FOUND);

    test_hub_set_access(f->server, "models/org/m", TEST_HUB_GATED);
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), -1);
    assert_int_equal(f->err.reason, HC_GATED_REPO);
    assert_non_null(strstr(f->err.link, "/org/m"));

    test_hub_set_access(f->server, "models/org/m", TEST_HUB_DISABLED);
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), -1);
    assert_int_equal(f->err.reason, HC_REPO_DISABLED);
}

/* ---- redirects --------------------------------------------------------------------- */

static void a_redirect_loop_is_a_bad_reply(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;

    hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_REDIRECT_LOOP});
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    assert_int_equal(test_hub_count(f->server, NULL, NULL), HC_REDIRECTS_MAX + 1);
}

static void a_redirect_to_another_scheme_is_not_followed(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;

    hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_REDIRECT,
                                                   .text = "file:///etc/passwd"});
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
}

static void a_renamed_repo_is_followed(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;

    test_hub_rename(f->server, "models/org/old", "models/org/m");
    assert_int_equal(hc_repo_init(&f->repo, HC_REPO_MODEL, "org/old", &f->err), 0);
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), 0);
    assert_string_equal(metadata.commit, f->commit);
}

/* ---- the commit that was asked for ------------------------------------------------- */

static const char other_commit[] = "ffffffffffffffffffffffffffffffffffffffff";

static void hub_answer_for_another_commit(struct fixture *f)
{
    hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_HEADER,
                                                   .name = "X-Repo-Commit",
                                                   .text = other_commit});
}

static void hub_assert_bad_commit(struct fixture *f, int result)
{
    assert_int_equal(result, -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    assert_non_null(strstr(f->err.message, other_commit));
}

static void metadata_of_another_commit_is_a_bad_reply(void **state)
{
    static const char *const paths[] = {"config.json", "model.bin", "absent"};
    struct fixture *f = *state;
    struct hc_metadata metadata;

    hub_answer_for_another_commit(f);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        const struct hc_repo_file place = {&f->repo, f->commit, paths[i]};

        hub_assert_bad_commit(f, hc_hub_head(f->hub, &place, &f->credentials, &metadata,
                                             &f->err));
        assert_string_equal(metadata.commit, ""); /* no absence is to be remembered */
    }
    assert_int_equal(hub_fixture_head_file(f, "model.bin", &metadata),
                     0); /* a branch may mean any */
    assert_string_equal(metadata.commit, other_commit);
}

static void a_listing_of_another_commit_is_a_bad_reply(void **state)
{
    struct fixture *f = *state;

    hub_answer_for_another_commit(f);
    assert_null(hc_hub_tree(f->hub, &f->repo, f->commit, &f->credentials, &f->err));
    hub_assert_bad_commit(f, -1);
}

static void a_commit_that_means_another_one_is_a_bad_reply(void **state)
{
    struct fixture *f = *state;
    struct hc_revision revision;

    hub_fixture_add_rule(
        f, (struct test_hub_rule){
               .fault = TEST_HUB_BODY,
               .text = "{\"sha\": \"ffffffffffffffffffffffffffffffffffffffff\"}"});
    hub_assert_bad_commit(f, hc_hub_revision(f->hub, &f->repo, f->commit, &f->credentials,
                                             &revision, &f->err));
    assert_int_equal(hc_hub_revision(f->hub, &f->repo, "main", &f->credentials, &revision,
                                     &f->err),
                     0);
}

/* ---- trees ------------------------------------------------------------------------- */

static void a_tree_is_read_page_by_page(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_tree) *tree =
        hc_hub_tree(f->hub, &f->repo, f->commit, &f->credentials, &f->err);

    assert_non_null(tree);
    assert_int_equal(tree->count, 3);
    assert_string_equal(tree->entries[0].path, "config.json");
    assert_string_equal(tree->entries[2].path, "sub/a b+c%.txt");
    assert_int_equal(tree->entries[1].size, 10);
    assert_true(test_hub_count(f->server, "GET", "/tree/") >= 2);
    assert_int_equal(test_hub_count(f->server, "GET", "recursive=true&expand=false"),
                     test_hub_count(f->server, "GET", "/tree/"));
}

static void a_tree_that_goes_on_elsewhere_or_for_ever_is_a_bad_reply(void **state)
{
    static const char *const links[] = {
        "<http://127.0.0.1:1/api/models/org/m/tree/x>; rel=\"next\"",
        "<file:///etc/passwd>; rel=\"next\"",
        "<?recursive=true&expand=false>; rel=\"next\"",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        test_hub_clear_rules(f->server);
        hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_HEADER,
                                                       .name = "Link",
                                                       .text = links[i]});
        test_hub_clear_log(f->server);
        assert_null(hc_hub_tree(f->hub, &f->repo, f->commit, &f->credentials, &f->err));
        assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
        assert_int_equal(test_hub_count(f->server, NULL, NULL), 1);
    }
}

/* `text` with `value` in the place of its `mark`, if it has one; the caller frees. */
static char *hub_fill_in(const char *text, char mark, const char *value)
{
    const char *at = strchr(text, mark);
    char *filled = NULL;

    if (!at)
        return strdup(text);
    assert_true(asprintf(&filled, "%.*s%s%s", (int)(at - text), text, value, at + 1) > 0);
    return filled;
}

/* The tree of two pages whose first one has this Link header; "@" is the second one. */
static struct hc_tree *hub_tree_by_link(struct fixture *f, const char *text,
                                        const char *origin)
{
    HC_AUTO_FREE char *path = NULL;
    HC_AUTO_FREE char *link = NULL;

    assert_true(asprintf(&path,
                         "%s/api/models/org/m/tree/%s?recursive=true&expand=false&"
                         "limit=2&cursor=2",
                         origin, f->commit) > 0);
    link = hub_fill_in(text, '@', path);

    test_hub_clear_rules(f->server);
    hub_fixture_add_rule(f, (struct test_hub_rule){.contains = "/tree/",
                                                   .times = 1,
                                                   .fault = TEST_HUB_HEADER,
                                                   .name = "Link",
                                                   .text = link});
    return hc_hub_tree(f->hub, &f->repo, f->commit, &f->credentials, &f->err);
}

static void pages_are_found_however_the_link_is_written(void **state)
{
    static const char *const formats[] = {
        "<@>; rel=\"next\"",
        "<@>; rel=next",
        "<@>; rel = \"next\"",
        "<@>; rel=\"next last\"",
        "<@>; title=\"a, <b>; c\"; rel=\"next\"",
        "</x>; rel=\"first\", <@>; REL=NEXT, <y>; rel=\"last\"",
    };
    static const char *const origins[] = {
        "",
        "https://huggingface.co",
        "http://127.0.0.1:1",
        "http://origin.internal/hub",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        for (size_t k = 0; k < sizeof origins / sizeof *origins; k++) {
            HC_AUTO(hc_tree) *tree = hub_tree_by_link(f, formats[i], origins[k]);

            if (!tree || tree->count != 3)
                fail_msg("%s of %s: %s", formats[i], origins[k],
                         tree ? "not all of it" : f->err.message);
        }
    }
}

/* The filling stands before, in and behind the URL of the next page. */
static void pages_are_found_in_a_long_link_header(void **state)
{
    static const size_t sizes[] = {8191, 8192, 9000, 16384, 17000, 30000};
    static const char *const formats[] = {
        "</#>; rel=first, <@>; rel=next",
        "<@&fill=#>; rel=next",
        "<@>; title=\"#\"; rel=next",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        HC_AUTO_FREE char *filling = calloc(1, sizes[i] + 1);

        assert_non_null(filling);
        memset(filling, 'x', sizes[i]);
        for (size_t k = 0; k < sizeof formats / sizeof *formats; k++) {
            HC_AUTO_FREE char *format = hub_fill_in(formats[k], '#', filling);
            HC_AUTO(hc_tree) *tree = hub_tree_by_link(f, format, "");

            if (!tree || tree->count != 3)
                fail_msg("%zu bytes in %s: %s", sizes[i], formats[k],
                         tree ? "not all of it" : f->err.message);
        }
    }
}

static void a_link_that_cannot_be_understood_is_not_the_last_page(void **state)
{
    static const char *const formats[] = {
        "@",
        "<@",
        "<@>; rel=\"next",
        "<@> rel=next",
        "<@>; rel=next, <x>; rel=next",
        "<>; rel=next",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        HC_AUTO(hc_tree) *tree = hub_tree_by_link(f, formats[i], "");

        if (tree || f->err.reason != HC_BAD_HUB_REPLY)
            fail_msg("%s: %zu entries", formats[i], tree ? tree->count : 0);
    }
}

static void pages_of_another_listing_are_a_bad_reply(void **state)
{
    static const char *const links[] = {
        "</api/models/org/m/tree/main?cursor=2>; rel=next",
        "</api/models/org/m/revision/main?cursor=2>; rel=next",
        "</org/m/tree/0123456789abcdef0123456789abcdef01234567>; rel=next",
        "<https://other.example>; rel=next",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        assert_null(hub_tree_by_link(f, links[i], ""));
        assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    }
}

static void pages_in_a_circle_are_a_bad_reply(void **state)
{
    struct fixture *f = *state;
    char link[128];

    /* The first page leads to the second, the second to the third, the third to the
     * second. */
    hub_fixture_add_rule(
        f, (struct test_hub_rule){.contains = "expand=false",
                                  .fault = TEST_HUB_HEADER,
                                  .name = "Link",
                                  .text = "<?recursive=true&step=2>; rel=\"next\""});
    for (int step = 2; step <= 3; step++) {
        char target[16];

        (void)snprintf(target, sizeof target, "step=%d", step);
        (void)snprintf(link, sizeof link, "<?recursive=true&step=%d>; rel=\"next\"",
                       5 - step);
        hub_fixture_add_rule(f, (struct test_hub_rule){.contains = target,
                                                       .fault = TEST_HUB_HEADER,
                                                       .name = "Link",
                                                       .text = link});
    }
    assert_null(hc_hub_tree(f->hub, &f->repo, f->commit, &f->credentials, &f->err));
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    assert_non_null(strstr(f->err.message, "circle"));
    assert_in_range(test_hub_count(f->server, NULL, NULL), 3, 6);
}

static void a_listing_that_makes_no_sense_names_the_repo(void **state)
{
    struct fixture *f = *state;

    hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_BODY,
                                                   .text = "<html>login</html>"});
    assert_null(hc_hub_tree(f->hub, &f->repo, f->commit, &f->credentials, &f->err));
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    assert_non_null(strstr(f->err.message, "org/m"));
}

static void connections_are_kept_and_the_client_names_itself(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 3; i++) {
        struct hc_metadata metadata;

        assert_int_equal(hub_fixture_head_file(f, "model.bin", &metadata), 0);
    }
    hub_fixture_expect_log(f, "ua=hubcache/", true);
    hub_fixture_expect_log(f, good_token, false);
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, hub_fixture_set_up, hub_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_git_file_is_described_by_two_hops_on_the_hub),
        TEST(what_the_first_answer_says_stands),
        TEST(an_lfs_file_is_described_without_asking_its_storage),
        TEST(odd_names_arrive_encoded),
        TEST(metadata_that_is_incomplete_or_unsafe_is_a_bad_reply),
        TEST(a_size_that_is_not_told_is_unknown),
        TEST(an_unknown_file_names_the_commit_that_lacks_it),
        TEST(what_the_hub_refuses_has_its_reason),
        TEST(a_redirect_loop_is_a_bad_reply),
        TEST(a_redirect_to_another_scheme_is_not_followed),
        TEST(a_renamed_repo_is_followed),
        TEST(metadata_of_another_commit_is_a_bad_reply),
        TEST(a_listing_of_another_commit_is_a_bad_reply),
        TEST(a_commit_that_means_another_one_is_a_bad_reply),
        TEST(a_tree_is_read_page_by_page),
        TEST(a_tree_that_goes_on_elsewhere_or_for_ever_is_a_bad_reply),
        TEST(pages_are_found_however_the_link_is_written),
        TEST(pages_are_found_in_a_long_link_header),
        TEST(a_link_that_cannot_be_understood_is_not_the_last_page),
        TEST(pages_of_another_listing_are_a_bad_reply),
        TEST(pages_in_a_circle_are_a_bad_reply),
        TEST(a_listing_that_makes_no_sense_names_the_repo),
        TEST(connections_are_kept_and_the_client_names_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
