/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a verification tells every blob that is wrong, once and with the files that
 * lead to it, in every shape that clients give a cache, and calls nothing wrong that is
 * right, or is being fetched. It moves a corrupt blob to quarantine with its pointers,
 * and leaves no pointer that dangles; a dry run moves nothing.
 */
#include "cache_fixture.h"

#include "blob_id.h"
#include "cache_helper.h"

#include <base/text.h>
#include <cache/pointer.h>
#include <cache/tree_cache.h>
#include <maintenance/quarantine.h>
#include <maintenance/quarantine_limit.h>
#include <maintenance/verification.h>
#include <repo/tree.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define REPO "models--org--name/"
#define OTHER "datasets--org--set/"
#define SNAPSHOT "snapshots/" COMMIT "/"
#define HASH "ab" HEX62
#define HEX62 "cdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789"
#define PAYLOAD "blobs/ab/" HASH

/* ---- helper functions -------------------------------------------------------------- */

struct findings {
    char text[8192]; /* "<kind> <cache path> [<pointer>]… : <action>\n" each */
    struct hc_verify_result result;
    struct hc_verify_progress progress; /* the last one */
};

static int note_finding(void *ctx, struct hc_finding *finding, struct hc_error *err)
{
    struct findings *findings = ctx;
    size_t used = strlen(findings->text), room = sizeof findings->text;
    FILE *out = fmemopen(findings->text + used, room - used, "w");

    (void)err;
    assert_non_null(out);
    (void)fprintf(out, "%s %s", hc_finding_kind_name(finding->kind), finding->cache_path);
    for (size_t i = 0; i < finding->pointer_count; i++)
        (void)fprintf(out, " [%s]", finding->pointers[i]);
    (void)fprintf(out, " : %.40s\n", finding->action);
    assert_int_equal(fclose(out), 0);
    return 0;
}

static void note_progress(void *ctx, const struct hc_verify_progress *progress)
{
    struct findings *findings = ctx;

    assert_true(progress->blobs_done <= progress->blobs_total);
    assert_true(progress->bytes_done <= progress->bytes_total);
    findings->progress = *progress;
}

static struct findings verify(struct fixture *f, struct hc_verify_request request)
{
    struct findings findings = {.text = ""};
    const struct hc_verification verification = {.cache = f->cache,
                                                 .request = &request,
                                                 .found = note_finding,
                                                 .ctx = &findings};

    request.progress = note_progress;
    request.ctx = &findings;
    if (hc_verification_run(&verification, &findings.result, &f->err) < 0)
        fail_msg("%s", f->err.message);
    assert_int_equal(findings.progress.blobs_done, findings.progress.blobs_total);
    assert_int_equal(findings.progress.bytes_done, findings.progress.bytes_total);
    return findings;
}

static struct findings verify_all(struct fixture *f)
{
    return verify(f, (struct hc_verify_request){0});
}

static struct findings verify_dry(struct fixture *f)
{
    return verify(f, (struct hc_verify_request){.dry_run = true});
}

static void make_symlink(const struct fixture *f, const char *target, const char *path)
{
    assert_int_equal(symlinkat(target, hc_cache_fd(f->cache), path), 0);
}

/* Two revisions: a, sub/b and c are the same blob, d is another one. */
static void make_repo(const struct fixture *f, const char *hello)
{
    temp_dir_write(f->dir, REPO "blobs/" HELLO_GIT, hello);
    temp_dir_write(f->dir, REPO "blobs/" HELLO_SHA256, "hello");
    temp_dir_write(f->dir, REPO "refs/main", COMMIT);
    temp_dir_write(f->dir, REPO SNAPSHOT "sub/plain", "plain");
    temp_dir_write(f->dir, REPO "snapshots/" OTHER_COMMIT "/plain", "plain");
    make_symlink(f, "../../blobs/" HELLO_GIT, REPO SNAPSHOT "a");
    make_symlink(f, "../../../blobs/" HELLO_GIT, REPO SNAPSHOT "sub/b");
    make_symlink(f, "../../blobs/" HELLO_GIT, REPO "snapshots/" OTHER_COMMIT "/c");
    make_symlink(f, "../../blobs/" HELLO_SHA256, REPO SNAPSHOT "d");
}

static void save_listing(struct fixture *f, const char *path, const char *blob_id,
                         uint64_t size)
{
    HC_AUTO(hc_tree) *tree = hc_tree_new(&f->err);
    const struct hc_entry entry = {.path = path, .blob_id = blob_id, .size = size};

    assert_int_equal(hc_tree_add(tree, &entry, &f->err), 0);
    assert_int_equal(hc_tree_finish(tree, &f->err), 0);
    assert_int_equal(hc_tree_save(f->cache, &f->repo, COMMIT, tree, &f->err), 0);
}

/* No pointer below the repo leads nowhere, as the reference client's scanner demands. */
static void assert_no_pointer_dangles(struct fixture *f)
{
    struct findings again = verify_dry(f);

    assert_null(strstr(again.text, "dangling"));
    assert_null(strstr(again.text, "corrupt"));
}

/* ---- blobs ------------------------------------------------------------------------- */

static void a_right_cache_has_no_corrupt_blob(void **state)
{
    struct fixture *f = *state;
    struct findings found;

    make_repo(f, "hello");
    found = verify_all(f);
    assert_string_equal(found.text, "unverifiable_blob " REPO SNAPSHOT "sub/plain : \n"
                                    "unverifiable_blob " REPO "snapshots/" OTHER_COMMIT
                                    "/plain : \n");
    assert_int_equal(found.result.blobs, 2);
    assert_int_equal(found.result.bytes, 10);
    assert_int_equal(found.progress.blobs_total, 4);
    assert_int_equal(found.progress.bytes_total, 20);
}

static void a_corrupt_blob_is_moved_with_all_its_pointers(void **state)
{
    struct fixture *f = *state;
    struct findings found;

    make_repo(f, "jello");
    found = verify_all(f);
    assert_int_equal(found.result.findings[HC_CORRUPT_BLOB], 1);
    assert_non_null(strstr(found.text, "corrupt_blob " REPO "blobs/" HELLO_GIT " ["));
    assert_non_null(strstr(found.text, "[" REPO SNAPSHOT "a]"));
    assert_non_null(strstr(found.text, "[" REPO SNAPSHOT "sub/b]"));
    assert_non_null(strstr(found.text, "[" REPO "snapshots/" OTHER_COMMIT "/c]"));
    assert_non_null(strstr(found.text, " : moved to .hubcache/quarantine/"));

    assert_false(temp_dir_has(f->dir, REPO "blobs/" HELLO_GIT));
    assert_false(temp_dir_has(f->dir, REPO SNAPSHOT "a"));
    assert_false(temp_dir_has(f->dir, REPO SNAPSHOT "sub/b"));
    assert_false(temp_dir_has(f->dir, REPO "snapshots/" OTHER_COMMIT "/c"));
    assert_true(temp_dir_has(f->dir, REPO SNAPSHOT "d"));
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/quarantine/models--org--name"), 2);
    assert_true(hc_quarantine_has(f->cache, &f->repo, COMMIT, "sub/b"));
    assert_false(hc_quarantine_has(f->cache, &f->repo, COMMIT, "d"));
    assert_no_pointer_dangles(f);
}

static void a_dry_run_moves_nothing(void **state)
{
    struct fixture *f = *state;
    struct findings found;

    make_repo(f, "jello");
    found = verify_dry(f);
    assert_non_null(strstr(found.text, "corrupt_blob " REPO "blobs/" HELLO_GIT " ["));
    assert_non_null(strstr(found.text, "[" REPO "snapshots/" OTHER_COMMIT "/c]"));
    assert_true(temp_dir_has(f->dir, REPO "blobs/" HELLO_GIT));
    assert_true(temp_dir_has(f->dir, REPO SNAPSHOT "a"));
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/quarantine"), 0);
}

static void what_memory_knows_of_a_corrupt_blob_is_forgotten_at_once(void **state)
{
    struct fixture *f = *state;
    struct hc_memo_term listing;
    struct hc_pointer pointer;
    bool is_due = false;

    make_repo(f, "jello");
    hc_memo_set_interval(hc_cache_memo(f->cache), INT64_C(3600) * 1000);
    assert_int_equal(hc_pointer_find(f->cache, &f->repo, COMMIT, "a", &pointer, &f->err),
                     1);
    listing = hc_tree_term(f->cache, &f->repo, COMMIT);
    (void)verify_all(f);
    assert_false(hc_pointer_recall(f->cache, &f->repo, COMMIT, "a", &pointer, &is_due));
    assert_int_not_equal(hc_tree_term(f->cache, &f->repo, COMMIT).seen, listing.seen);
}

static void a_blob_that_is_being_fetched_is_left_out(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_blob_lock) *lock = NULL;

    make_repo(f, "jello");
    lock = take_lock(f->cache, BLOB_OF(f, HELLO_GIT));
    assert_null(strstr(verify_all(f).text, "corrupt"));
    assert_true(temp_dir_has(f->dir, REPO "blobs/" HELLO_GIT));
    hc_blob_lock_release(hc_take(&lock));
    assert_non_null(strstr(verify_all(f).text, "corrupt_blob"));
}

static void hard_links_are_hashed_once_and_each_name_is_moved(void **state)
{
    struct fixture *f = *state;
    int root = hc_cache_fd(f->cache);
    struct findings found;

    temp_dir_write(f->dir, OTHER "blobs/" HELLO_GIT, "hello");
    temp_dir_write(f->dir, OTHER "refs/main", COMMIT);
    temp_dir_write(f->dir, OTHER SNAPSHOT "x", "");
    temp_dir_write(f->dir, REPO "blobs/x", "");
    assert_int_equal(linkat(root, OTHER "blobs/" HELLO_GIT, root, REPO "blobs/" HELLO_GIT,
                            0),
                     0);
    found = verify_all(f);
    assert_int_equal(found.result.blobs, 1);
    assert_int_equal(found.result.findings[HC_CORRUPT_BLOB], 0);

    temp_dir_write(f->dir, OTHER "blobs/" HELLO_GIT, "jello");
    found = verify_all(f);
    assert_int_equal(found.result.findings[HC_CORRUPT_BLOB], 2);
    assert_false(temp_dir_has(f->dir, REPO "blobs/" HELLO_GIT));
    assert_false(temp_dir_has(f->dir, OTHER "blobs/" HELLO_GIT));
}

/* ---- shapes of other clients ------------------------------------------------------- */

static void a_plain_file_is_verified_by_the_listing_of_its_commit(void **state)
{
    struct fixture *f = *state;
    struct findings found;

    temp_dir_write(f->dir, REPO "refs/main", COMMIT);
    temp_dir_write(f->dir, REPO SNAPSHOT "sub/plain", "hello");
    save_listing(f, "sub/plain", HELLO_GIT, 5);
    found = verify_all(f);
    assert_string_equal(found.text, "");
    assert_int_equal(found.result.blobs, 1);

    temp_dir_write(f->dir, REPO SNAPSHOT "sub/plain", "jello");
    found = verify_all(f);
    assert_non_null(strstr(found.text, "corrupt_blob " REPO SNAPSHOT
                                       "sub/plain [" REPO SNAPSHOT "sub/plain] : moved"));
    assert_false(temp_dir_has(f->dir, REPO SNAPSHOT "sub/plain"));
}

static void a_blob_whose_name_is_no_hash_is_verified_by_its_listed_size(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, REPO "blobs/v1", "hello");
    temp_dir_write(f->dir, REPO "refs/main", COMMIT);
    temp_dir_write(f->dir, REPO SNAPSHOT "sub/x", "");
    make_symlink(f, "../../blobs/v1", REPO SNAPSHOT "a");
    save_listing(f, "a", "v1", 5);
    assert_non_null(
        strstr(verify_all(f).text, "unverifiable_blob " REPO "blobs/v1 : \n"));
    save_listing(f, "a", "v1", 6);
    assert_non_null(strstr(verify_all(f).text,
                           "corrupt_blob " REPO "blobs/v1 [" REPO SNAPSHOT "a] : moved"));
}

static void make_shared_store(const struct fixture *f, const char *content)
{
    temp_dir_write(f->dir, "blobs/.huggingface-shared-blobs", "1\n");
    temp_dir_write(f->dir, PAYLOAD, content);
    temp_dir_write(f->dir, PAYLOAD ".refs",
                   REPO "blobs/" HELLO_SHA256 "\n" OTHER "blobs/" HELLO_SHA256 "\n");
    temp_dir_write(f->dir, REPO "refs/main", COMMIT);
    temp_dir_write(f->dir, OTHER "refs/main", COMMIT);
    temp_dir_write(f->dir, REPO "blobs/x", "");
    temp_dir_write(f->dir, OTHER "blobs/x", "");
    temp_dir_write(f->dir, REPO SNAPSHOT "x", "");
    temp_dir_write(f->dir, OTHER SNAPSHOT "x", "");
    make_symlink(f, "../../" PAYLOAD, REPO "blobs/" HELLO_SHA256);
    make_symlink(f, "../../" PAYLOAD, OTHER "blobs/" HELLO_SHA256);
    make_symlink(f, "../../blobs/" HELLO_SHA256, REPO SNAPSHOT "a");
    make_symlink(f, "../../blobs/" HELLO_SHA256, OTHER SNAPSHOT "b");
}

static void a_right_payload_is_hashed_once_for_all_repos(void **state)
{
    struct fixture *f = *state;
    struct findings found;

    make_shared_store(f, "hello");
    found = verify_all(f);
    assert_null(strstr(found.text, "corrupt"));
    assert_int_equal(found.result.blobs, 1);
}

static void a_corrupt_payload_goes_with_the_links_of_every_repo(void **state)
{
    struct fixture *f = *state;
    struct findings found;

    make_shared_store(f, "jello");
    found = verify_all(f);
    assert_int_equal(found.result.findings[HC_CORRUPT_BLOB], 1);
    assert_non_null(strstr(found.text, "[" REPO SNAPSHOT "a]"));
    assert_non_null(strstr(found.text, "[" OTHER SNAPSHOT "b]"));
    assert_false(temp_dir_has(f->dir, PAYLOAD));
    assert_false(temp_dir_has(f->dir, PAYLOAD ".refs"));
    assert_false(temp_dir_has(f->dir, REPO "blobs/" HELLO_SHA256));
    assert_false(temp_dir_has(f->dir, OTHER "blobs/" HELLO_SHA256));
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/quarantine/blobs"), 2);
    assert_no_pointer_dangles(f);
}

static void a_payload_that_is_right_for_another_repo_stays(void **state)
{
    struct fixture *f = *state;

    make_shared_store(f, "hello");
    temp_dir_write(f->dir, PAYLOAD ".refs",
                   REPO "blobs/" HELLO_SHA256 "\n" OTHER "blobs/" HASH "\n");
    assert_int_equal(unlinkat(hc_cache_fd(f->cache), OTHER "blobs/" HELLO_SHA256, 0), 0);
    make_symlink(f, "../../" PAYLOAD, OTHER "blobs/" HASH);
    assert_int_equal(verify_all(f).result.findings[HC_CORRUPT_BLOB], 1);
    assert_true(temp_dir_has(f->dir, PAYLOAD));
    assert_false(temp_dir_has(f->dir, OTHER "blobs/" HASH));
    assert_true(temp_dir_has(f->dir, REPO "blobs/" HELLO_SHA256));
}

static void a_payload_without_a_manifest_stays(void **state)
{
    struct fixture *f = *state;

    make_shared_store(f, "jello");
    assert_int_equal(unlinkat(hc_cache_fd(f->cache), PAYLOAD ".refs", 0), 0);
    assert_int_equal(verify_all(f).result.findings[HC_CORRUPT_BLOB], 2);
    assert_true(temp_dir_has(f->dir, PAYLOAD));
    assert_false(temp_dir_has(f->dir, REPO "blobs/" HELLO_SHA256));
}

/* ---- selection --------------------------------------------------------------------- */

static void a_selector_names_repo_revision_and_files(void **state)
{
    static const char *const d[] = {"d"};
    struct fixture *f = *state;
    struct hc_verify_selector selector = {.repo = {.id = "org/name", .revision = "main"},
                                          .patterns = d,
                                          .pattern_count = 1};
    const struct hc_verify_request request = {.selectors = &selector,
                                              .selector_count = 1};
    struct findings found;

    make_repo(f, "jello");
    temp_dir_write(f->dir, OTHER "blobs/" HELLO_GIT, "jello");
    found = verify(f, request);
    assert_string_equal(found.text, "");
    assert_int_equal(found.result.blobs, 1);

    selector.pattern_count = 0;
    selector.repo.revision = OTHER_COMMIT;
    found = verify(f, request);
    assert_int_equal(found.result.findings[HC_CORRUPT_BLOB], 1);
    assert_true(temp_dir_has(f->dir, OTHER "blobs/" HELLO_GIT));
}

static void what_is_selected_and_not_there_is_not_cached(void **state)
{
    static const char *const revisions[] = {"v1", COMMIT, "main"};
    struct fixture *f = *state;
    struct hc_verify_selector selector = {.repo = {.id = "org/name"}};
    const struct hc_verify_request request = {.selectors = &selector,
                                              .selector_count = 1};
    const struct hc_verification verification = {.cache = f->cache, .request = &request};
    struct hc_verify_result result = {0};

    assert_int_equal(hc_verification_run(&verification, &result, &f->err), -1);
    assert_int_equal(f->err.reason, HC_NOT_CACHED);
    temp_dir_write(f->dir, REPO "refs/main", COMMIT);
    for (size_t i = 0; i < 3; i++) {
        selector.repo.revision = revisions[i];
        assert_int_equal(hc_verification_run(&verification, &result, &f->err), -1);
        assert_int_equal(f->err.reason, HC_NOT_CACHED);
    }
    selector.repo.revision = "../main";
    assert_int_equal(hc_verification_run(&verification, &result, &f->err), -1);
    assert_int_equal(f->err.reason, HC_INVALID_REVISION);
}

static void a_pass_continues_after_a_position(void **state)
{
    struct hc_verify_position after = {.folder = "models--org--name",
                                       .path = "blobs/" HELLO_GIT};
    const struct hc_verify_request request = {0};
    struct fixture *f = *state;
    const struct hc_verification verification = {.cache = f->cache,
                                                 .request = &request,
                                                 .after = &after,
                                                 .is_idle = true};
    struct hc_verify_result result = {0};

    make_repo(f, "jello");
    temp_dir_write(f->dir, OTHER "blobs/" HELLO_GIT, "jello"); /* its folder is before */
    assert_int_equal(hc_verification_run(&verification, &result, &f->err), 0);
    assert_int_equal(result.findings[HC_CORRUPT_BLOB], 0);
    assert_int_equal(result.blobs, 0);
    strcpy(after.path, "blobs/" HELLO_SHA256);
    assert_int_equal(hc_verification_run(&verification, &result, &f->err), 0);
    assert_int_equal(result.findings[HC_CORRUPT_BLOB], 1);
    assert_int_equal(result.blobs, 1);
    assert_true(temp_dir_has(f->dir, OTHER "blobs/" HELLO_GIT));
}

/* ---- the quarantine's limit -------------------------------------------------------- */

static void the_quarantine_gives_way_to_age_and_to_downloads(void **state)
{
    struct fixture *f = *state;

    make_repo(f, "jello");
    (void)verify_all(f);
    assert_int_equal(hc_quarantine_sweep(f->cache, hc_epoch_ms()), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/quarantine"), 2);
    assert_int_equal(hc_quarantine_sweep(f->cache,
                                         hc_epoch_ms() + HC_QUARANTINE_AGE_MS + 1000),
                     1);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/quarantine"), 0);

    temp_dir_write(f->dir, REPO "blobs/" HELLO_GIT, "jello");
    (void)verify_all(f);
    assert_true(hc_quarantine_reclaim(f->cache, NULL, 1, NULL) > 0);
    assert_true(temp_dir_count(f->dir, ".hubcache/quarantine") < 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_right_cache_has_no_corrupt_blob),
        WITH_CACHE(a_corrupt_blob_is_moved_with_all_its_pointers),
        WITH_CACHE(a_dry_run_moves_nothing),
        WITH_CACHE(what_memory_knows_of_a_corrupt_blob_is_forgotten_at_once),
        WITH_CACHE(a_blob_that_is_being_fetched_is_left_out),
        WITH_CACHE(hard_links_are_hashed_once_and_each_name_is_moved),
        WITH_CACHE(a_plain_file_is_verified_by_the_listing_of_its_commit),
        WITH_CACHE(a_blob_whose_name_is_no_hash_is_verified_by_its_listed_size),
        WITH_CACHE(a_right_payload_is_hashed_once_for_all_repos),
        WITH_CACHE(a_corrupt_payload_goes_with_the_links_of_every_repo),
        WITH_CACHE(a_payload_that_is_right_for_another_repo_stays),
        WITH_CACHE(a_payload_without_a_manifest_stays),
        WITH_CACHE(a_selector_names_repo_revision_and_files),
        WITH_CACHE(what_is_selected_and_not_there_is_not_cached),
        WITH_CACHE(a_pass_continues_after_a_position),
        WITH_CACHE(the_quarantine_gives_way_to_age_and_to_downloads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
