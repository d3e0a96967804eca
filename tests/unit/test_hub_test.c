/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the test hub answers as spec/hub-wire.md says, and logs every request. The
 * other tests rely on it.
 */
#include "test_hub_fixture.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* --- answers -------------------------------------------------------------------------
 */

static void a_git_file_redirects_to_its_commit_and_names_its_blob(void **state)
{
    const struct fixture *f = *state;

    HC_AUTO_VALUE(response) first = hub_fixture_head(f, GIT_PATH);
    HC_AUTO_VALUE(response)
    last = hub_fixture_request(f, (struct http_request){.path = GIT_PATH,
                                                        .is_head = true,
                                                        .follows = true});

    assert_int_equal(first.status, 307);
    assert_has(first, "\r\nLocation: /api/resolve-cache/models/org/name/");
    assert_has(first, "/sub/dir/a%20b.txt?%2Forg%2Fname%2Fresolve%2Fmain%2F");
    assert_has(first, "X-Linked-Etag: \"d1f857b3cc128d202d3547d90541d78e7761853e\"\r\n");
    assert_has(first, f->commit);
    assert_has_not(first, "\r\nETag:");
    assert_has_not(first, "X-Linked-Size");
    assert_has_not(first, "Content-Length: 4\r\n");
    assert_int_equal(last.status, 200);
    assert_has(last, "\r\nETag: \"d1f857b3cc128d202d3547d90541d78e7761853e\"\r\n");
    assert_has(last, "Content-Length: 4\r\n");
}

static void an_lfs_file_comes_from_the_cdn_under_a_signed_url(void **state)
{
    const struct fixture *f = *state;

    HC_AUTO_VALUE(response) first = hub_fixture_head(f, LFS_PATH);
    HC_AUTO_VALUE(response) last = hub_fixture_get(f, LFS_PATH);

    assert_int_equal(first.status, 302);
    assert_has(first, test_hub_cdn(f->hub));
    assert_has(first, "X-Linked-Size: 300000\r\n");
    assert_has(first, "X-Xet-Hash: ");
    assert_int_equal(last.status, 200);
    assert_int_equal(last.size, LFS_SIZE);
    assert_int_equal(test_hub_count_cdn(f->hub, "GET"), 1);
}

static void the_cdn_refuses_a_url_whose_signature_is_wrong(void **state)
{
    const struct fixture *f = *state;
    HC_AUTO_VALUE(response) first = hub_fixture_head(f, LFS_PATH);
    char *location = strstr(first.headers, "Location: ") + strlen("Location: ");

    location[strcspn(location, "\r")] = '\0';
    location[strlen(location) - 1] ^= 1;
    HC_AUTO_VALUE(response) refused = hub_fixture_get(f, location);

    assert_int_equal(refused.status, 403);
}

static void any_range_of_generated_bytes_equals_that_part_of_the_whole(void **state)
{
    const struct fixture *f = *state;

    HC_AUTO_VALUE(response) whole = hub_fixture_get(f, LFS_PATH);
    HC_AUTO_VALUE(response)
    part = hub_fixture_request(f, (struct http_request){.path = LFS_PATH,
                                                        .range = "65533-131075",
                                                        .follows = true});
    HC_AUTO_VALUE(response)
    tail = hub_fixture_request(f, (struct http_request){.path = LFS_PATH,
                                                        .range = "299990-",
                                                        .follows = true});
    HC_AUTO_VALUE(response)
    outside = hub_fixture_request(f, (struct http_request){.path = LFS_PATH,
                                                           .range = "300000-",
                                                           .follows = true});

    assert_int_equal(part.status, 206);
    assert_has(part, "Content-Range: bytes 65533-131075/300000\r\n");
    assert_int_equal(part.size, 65543);
    assert_memory_equal(part.body, whole.body + 65533, part.size);
    assert_int_equal(tail.size, 10);
    assert_memory_equal(tail.body, whole.body + 299990, tail.size);
    assert_int_equal(outside.status, 416);
}

static void a_branch_named_with_slashes_and_a_short_hash_are_revisions(void **state)
{
    const struct fixture *f = *state;
    char path[128];

    test_hub_tag(f->hub, "models/org/name", "refs/pr/1", f->commit);
    (void)snprintf(path, sizeof path, "/org/name/resolve/%.7s/config.json", f->commit);
    HC_AUTO_VALUE(response)
    by_ref = hub_fixture_get(f, "/org/name/resolve/refs%2Fpr%2F1/config.json");
    HC_AUTO_VALUE(response) by_hash = hub_fixture_get(f, path);

    assert_string_equal(by_ref.body, "{}");
    assert_string_equal(by_hash.body, "{}");
}

static void pages_of_a_tree_have_every_entry_once(void **state)
{
    const struct fixture *f = *state;
    static const char tree[] = "/api/models/org/name/tree/main?recursive=true";
    char second_path[128], third_path[128];

    (void)snprintf(second_path, sizeof second_path, "%s&cursor=2", tree);
    (void)snprintf(third_path, sizeof third_path, "%s&cursor=4", tree);
    HC_AUTO_VALUE(response) first = hub_fixture_get(f, tree);
    HC_AUTO_VALUE(response) second = hub_fixture_get(f, second_path);
    HC_AUTO_VALUE(response) third = hub_fixture_get(f, third_path);

    assert_has(first, "cursor=2>; rel=\"next\"");
    assert_has(second, "cursor=4>; rel=\"next\"");
    assert_has_not(third, "rel=\"next\"");
    assert_has_not(first, "X-Repo-Commit");
    assert_non_null(strstr(first.body, "\"config.json\""));
    assert_non_null(strstr(first.body, "\"empty\""));
    assert_non_null(strstr(second.body, "\"pointerSize\":131"));
    assert_non_null(strstr(second.body, "\"path\":\"sub\""));
    assert_null(strstr(second.body, "\"empty\""));
    assert_null(strstr(third.body, "\"path\":\"sub\""));
    assert_non_null(strstr(third.body, "\"path\":\"sub/dir\""));
    assert_non_null(strstr(third.body, "\"sub/dir/a b.txt\""));
}

static void missing_things_are_refused_with_the_hubs_errors(void **state)
{
    const struct fixture *f = *state;

    HC_AUTO_VALUE(response) entry = hub_fixture_head(f, "/org/name/resolve/main/none");
    HC_AUTO_VALUE(response)
    revision = hub_fixture_head(f, "/org/name/resolve/none/config.json");
    HC_AUTO_VALUE(response)
    repo = hub_fixture_head(f, "/org/none/resolve/main/config.json");
    HC_AUTO_VALUE(response)
    known =
        hub_fixture_request(f, (struct http_request){.path = "/org/none/resolve/main/x",
                                                     .token = "good",
                                                     .is_head = true});
    HC_AUTO_VALUE(response)
    wrong = hub_fixture_request(f, (struct http_request){.path = GIT_PATH,
                                                         .token = "bad",
                                                         .is_head = true});

    assert_int_equal(entry.status, 404);
    assert_has(entry, "X-Error-Code: EntryNotFound\r\n");
    assert_has(entry, "X-Repo-Commit: ");
    assert_int_equal(revision.status, 404);
    assert_has(revision, "X-Error-Code: RevisionNotFound\r\n");
    assert_int_equal(repo.status, 401);
    assert_has_not(repo, "X-Error-Code");
    assert_has(repo, "X-Error-Message: Invalid username or password.\r\n");
    assert_int_equal(known.status, 404);
    assert_has(known, "X-Error-Code: RepoNotFound\r\n");
    assert_int_equal(wrong.status, 401);
    assert_has(wrong, "Invalid credentials in Authorization header\r\n");
}

static void a_missing_entry_names_its_commit_only_when_told_to(void **state)
{
    const struct fixture *f = *state;

    test_hub_set_commit_on_404(f->hub, false);
    HC_AUTO_VALUE(response) entry = hub_fixture_head(f, "/org/name/resolve/main/none");

    assert_has(entry, "X-Error-Code: EntryNotFound\r\n");
    assert_has_not(entry, "X-Repo-Commit");
}

static void access_is_refused_without_the_token_and_to_disabled_repos(void **state)
{
    const struct fixture *f = *state;

    test_hub_set_access(f->hub, "models/org/name", TEST_HUB_PRIVATE);
    HC_AUTO_VALUE(response) hidden = hub_fixture_head(f, GIT_PATH);
    HC_AUTO_VALUE(response)
    shown = hub_fixture_request(f, (struct http_request){.path = GIT_PATH,
                                                         .token = "good",
                                                         .is_head = true});
    test_hub_set_access(f->hub, "models/org/name", TEST_HUB_GATED);
    HC_AUTO_VALUE(response) gated = hub_fixture_head(f, GIT_PATH);
    test_hub_set_access(f->hub, "models/org/name", TEST_HUB_DISABLED);
    HC_AUTO_VALUE(response) disabled = hub_fixture_head(f, GIT_PATH);

    assert_int_equal(hidden.status, 401);
    assert_int_equal(shown.status, 307);
    assert_int_equal(gated.status, 403);
    assert_has(gated, "X-Error-Code: GatedRepo\r\n");
    assert_int_equal(disabled.status, 403);
    assert_has(disabled, "Access to this resource is disabled.\r\n");
}

/* The hub of the fixture knows one valid token; another one is that of no account. */
static void access_that_is_granted_can_be_taken_away(void **state)
{
    static const enum test_hub_access kinds[] = {TEST_HUB_PRIVATE, TEST_HUB_GATED};
    static const char *const refusals[] = {"X-Error-Code: RepoNotFound\r\n",
                                           "X-Error-Code: GatedRepo\r\n"};
    const struct fixture *f = *state;
    const struct http_request head = {.path = GIT_PATH, .token = "good", .is_head = true};

    for (size_t i = 0; i < 2; i++) {
        test_hub_set_access(f->hub, "models/org/name", kinds[i]);
        test_hub_set_granted(f->hub, "models/org/name", "good", true);
        HC_AUTO_VALUE(response) shown = hub_fixture_request(f, head);
        test_hub_set_granted(f->hub, "models/org/name", "good", false);
        HC_AUTO_VALUE(response) refused = hub_fixture_request(f, head);

        assert_int_equal(shown.status, 307);
        assert_has(refused, refusals[i]);
    }
}

static void a_renamed_repo_redirects_to_its_new_name(void **state)
{
    const struct fixture *f = *state;

    test_hub_rename(f->hub, "models/org/name", "models/new/name");
    HC_AUTO_VALUE(response)
    moved = hub_fixture_head(f, "/org/name/resolve/refs%2Fpr%2F1/x?y=1");
    HC_AUTO_VALUE(response) file = hub_fixture_get(f, GIT_PATH);

    assert_int_equal(moved.status, 307);
    assert_has(moved, "Location: /new/name/resolve/refs%2Fpr%2F1/x?y=1\r\n");
    assert_string_equal(file.body, "deep");
}

/* --- the log -------------------------------------------------------------------------
 */

static void the_log_has_every_request_and_no_token(void **state)
{
    const struct fixture *f = *state;

    HC_AUTO_VALUE(response) before = hub_fixture_head(f, GIT_PATH);
    test_hub_clear_log(f->hub);
    HC_AUTO_VALUE(response)
    response = hub_fixture_request(f, (struct http_request){.path = LFS_PATH,
                                                            .range = "0-9",
                                                            .token = "good",
                                                            .follows = true});
    HC_AUTO_FREE char *log = test_hub_log(f->hub);

    assert_int_equal(before.status, 307);
    assert_int_equal(response.status, 206);
    assert_non_null(strstr(log, "hub GET /org/name/resolve/main/model.safetensors 302 "));
    assert_non_null(strstr(log, " 206 10 range=bytes=0-9 auth=no "));
    assert_null(strstr(log, "good"));
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 2);
    assert_int_equal(test_hub_count_authorized(f->hub, false), 1);
    assert_int_equal(test_hub_count_authorized(f->hub, true), 0);
}

static void *request_after_a_pause(void *state)
{
    HC_AUTO_VALUE(response) response = hub_fixture_get(state, GIT_PATH);

    return response.outcome == CURLE_OK ? state : NULL;
}

static void awaiting_ends_when_the_request_has_come(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    void *result;

    assert_int_equal(pthread_create(&thread, NULL, request_after_a_pause, f), 0);
    test_hub_await(f->hub, "GET", "/api/resolve-cache/", 1);

    assert_int_equal(test_hub_count(f->hub, "GET", "/org/name/resolve/"), 1);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_non_null(result);
}

static void a_directory_of_repos_is_served_with_its_revisions(void **state)
{
    const struct fixture *f = *state;
    char *dir = temp_dir_make();

    temp_dir_write(dir, "datasets/a/b/refs%2Fpr%2F2/sub/x.bin", "weights");
    temp_dir_write(dir, "datasets/a/b/refs%2Fpr%2F2/y.txt", "text");
    temp_dir_write(dir, "datasets/a/b/refs%2Fpr%2F2/.git/config", "no");
    test_hub_load(f->hub, dir);
    HC_AUTO_VALUE(response)
    lfs = hub_fixture_get(f, "/datasets/a/b/resolve/refs%2Fpr%2F2/sub/x.bin");
    HC_AUTO_VALUE(response)
    git = hub_fixture_get(f, "/datasets/a/b/resolve/refs%2Fpr%2F2/y.txt");
    HC_AUTO_VALUE(response)
    none = hub_fixture_get(f, "/datasets/a/b/resolve/refs%2Fpr%2F2/.git/config");

    assert_string_equal(lfs.body, "weights");
    assert_string_equal(git.body, "text");
    assert_int_equal(none.status, 404);
    assert_int_equal(test_hub_count_cdn(f->hub, "GET"), 1);
    assert_int_equal(temp_dir_count(dir, ""), 3);
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_HUB(a_git_file_redirects_to_its_commit_and_names_its_blob),
        WITH_HUB(an_lfs_file_comes_from_the_cdn_under_a_signed_url),
        WITH_HUB(the_cdn_refuses_a_url_whose_signature_is_wrong),
        WITH_HUB(any_range_of_generated_bytes_equals_that_part_of_the_whole),
        WITH_HUB(a_branch_named_with_slashes_and_a_short_hash_are_revisions),
        WITH_HUB(pages_of_a_tree_have_every_entry_once),
        WITH_HUB(missing_things_are_refused_with_the_hubs_errors),
        WITH_HUB(a_missing_entry_names_its_commit_only_when_told_to),
        WITH_HUB(access_is_refused_without_the_token_and_to_disabled_repos),
        WITH_HUB(access_that_is_granted_can_be_taken_away),
        WITH_HUB(a_renamed_repo_redirects_to_its_new_name),
        WITH_HUB(the_log_has_every_request_and_no_token),
        WITH_HUB(awaiting_ends_when_the_request_has_come),
        WITH_HUB(a_directory_of_repos_is_served_with_its_revisions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
