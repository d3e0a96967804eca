/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: the search finds each thing that nothing refers to, once and by its kind, and
 * nothing that is in use, young, locked or claimed.
 */
#include "cache_fixture.h"

#include "blob_id.h"
#include "cache_helper.h"

#include <base/text.h>
#include <maintenance/leftovers.h>

#include <string.h>
#include <sys/stat.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define REPO "models--org--name/"
#define PAYLOAD "a" HEX63
#define HEX63 "bcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789"

/* ---- helper functions -------------------------------------------------------------- */

struct findings {
    char text[4096]; /* "<kind> <cache path> <etag> <commit>\n" each */
};

static int note_leftover(void *ctx, const struct hc_leftover *leftover,
                         struct hc_error *err)
{
    struct findings *findings = ctx;
    size_t used = strlen(findings->text);

    (void)err;
    assert_true(hc_format(findings->text + used, sizeof findings->text - used,
                          "%s %s %s %.4s\n", hc_finding_kind_name(leftover->kind),
                          leftover->cache_path, leftover->etag, leftover->commit) > 0);
    return 0;
}

/* As long after now as is said. */
static struct findings find_after(struct fixture *f, int64_t ms)
{
    struct findings findings = {""};
    const struct hc_leftovers search = {.cache = f->cache,
                                        .now_ms = hc_epoch_ms() + ms,
                                        .age_ms = HC_LEFTOVER_AGE_MS,
                                        .found = note_leftover,
                                        .ctx = &findings};

    assert_int_equal(hc_leftovers_find(&search, &f->repo, &f->err), 0);
    assert_int_equal(hc_leftovers_find_payloads(&search, &f->err), 0);
    return findings;
}

static struct findings find_old(struct fixture *f)
{
    return find_after(f, HC_LEFTOVER_AGE_MS + 60 * 1000);
}

static void make_symlink(const struct fixture *f, const char *target, const char *path)
{
    assert_int_equal(symlinkat(target, hc_cache_fd(f->cache), path), 0);
}

/* A snapshot with one pointer to one blob, and its ref. */
static void make_whole_repo(struct fixture *f)
{
    temp_dir_write(f->dir, REPO "blobs/" HELLO_GIT, "hello");
    temp_dir_write(f->dir, REPO "refs/main", COMMIT);
    temp_dir_write(f->dir, REPO "snapshots/" COMMIT "/sub/x", "a plain file");
    make_symlink(f, "../../blobs/" HELLO_GIT, REPO "snapshots/" COMMIT "/a");
}

/* ---- tests ------------------------------------------------------------------------- */

static void a_whole_repo_has_no_leftovers(void **state)
{
    struct fixture *f = *state;

    make_whole_repo(f);
    assert_string_equal(find_old(f).text, "");
}

static void each_kind_of_leftover_is_found_once(void **state)
{
    struct fixture *f = *state;
    struct findings found;

    make_whole_repo(f);
    temp_dir_write(f->dir, REPO "blobs/" HELLO_SHA256, "hello");
    temp_dir_write(f->dir, REPO "blobs/" HELLO_GIT ".0123abcd.incomplete", "he");
    temp_dir_write(f->dir, REPO "blobs/legacy.incomplete", "he");
    make_symlink(f, "nowhere", REPO "blobs/." HELLO_GIT ".0123abcd.shared");
    temp_dir_write(f->dir, REPO "blobs/tmp_01234567-89ab-cdef-0123-456789abcdef", "");
    make_symlink(f, "../../../blobs/gone", REPO "snapshots/" COMMIT "/sub/d");
    temp_dir_write(f->dir, REPO "refs/v1", OTHER_COMMIT);
    temp_dir_write(f->dir, REPO "refs/v2.0123abcd.tmp", COMMIT);
    found = find_old(f);

    assert_non_null(strstr(found.text, "orphan_blob " REPO "blobs/" HELLO_SHA256
                                       " " HELLO_SHA256 " \n"));
    assert_non_null(strstr(found.text, "stray_temporary " REPO "blobs/" HELLO_GIT
                                       ".0123abcd.incomplete " HELLO_GIT " \n"));
    assert_non_null(
        strstr(found.text, "stray_temporary " REPO "blobs/legacy.incomplete legacy \n"));
    assert_non_null(strstr(found.text, "stray_temporary " REPO "blobs/." HELLO_GIT
                                       ".0123abcd.shared " HELLO_GIT " \n"));
    assert_non_null(strstr(found.text,
                           "stray_temporary " REPO
                           "blobs/tmp_01234567-89ab-cdef-0123-456789abcdef  \n"));
    assert_non_null(strstr(found.text, "dangling_pointer " REPO "snapshots/" COMMIT
                                       "/sub/d gone 1111\n"));
    assert_non_null(strstr(found.text, "dangling_ref " REPO "refs/v1  2222\n"));
    assert_non_null(
        strstr(found.text, "stray_temporary " REPO "refs/v2.0123abcd.tmp  \n"));
    {
        unsigned lines = 0;

        for (const char *c = found.text; *c; c++)
            lines += *c == '\n';
        assert_int_equal(lines, 8);
    }
}

static void what_is_young_is_no_leftover(void **state)
{
    struct fixture *f = *state;

    make_whole_repo(f);
    temp_dir_write(f->dir, REPO "blobs/" HELLO_SHA256, "hello");
    age_file(f, REPO "blobs/" HELLO_SHA256, 100000); /* its ctime tells */
    temp_dir_write(f->dir, REPO "refs/v1", OTHER_COMMIT);
    assert_string_equal(find_after(f, HC_LEFTOVER_AGE_MS - 60 * 1000).text, "");
    assert_non_null(strstr(find_old(f).text, "orphan_blob"));
}

static void what_another_process_fetches_is_no_leftover(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_blob_lock) *lock = take_lock(f->cache, BLOB_OF(f, HELLO_SHA256));

    assert_non_null(lock);
    make_whole_repo(f);
    temp_dir_write(f->dir, REPO "blobs/" HELLO_SHA256, "hello");
    temp_dir_write(f->dir, REPO "blobs/" HELLO_SHA256 ".0123abcd.incomplete", "he");
    make_symlink(f, "../../blobs/" HELLO_SHA256, REPO "snapshots/" COMMIT "/b");
    assert_string_equal(find_old(f).text, "");
}

static void a_partial_file_that_a_claim_names_is_no_stray(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_ingest) *ingest = NULL;

    make_whole_repo(f);
    ingest = begin_ingest(f->cache, BLOB_OF(f, HELLO_SHA256), 5, &f->err);
    assert_non_null(ingest);
    assert_string_equal(find_old(f).text, "");
}

static void a_chain_into_the_shared_store_is_in_use(void **state)
{
    static const char store[] = "../../blobs/ab/" PAYLOAD;
    struct fixture *f = *state;

    make_whole_repo(f);
    temp_dir_write(f->dir, "blobs/.huggingface-shared-blobs", "1\n");
    temp_dir_write(f->dir, "blobs/ab/" PAYLOAD, "hello");
    temp_dir_write(f->dir, "blobs/ab/" PAYLOAD ".refs", REPO "blobs/" HELLO_SHA256 "\n");
    make_symlink(f, store, REPO "blobs/" HELLO_SHA256);
    make_symlink(f, "../../blobs/" HELLO_SHA256, REPO "snapshots/" COMMIT "/b");
    assert_string_equal(find_old(f).text, "");
}

static void a_payload_is_an_orphan_only_if_its_manifest_says_so(void **state)
{
    struct fixture *f = *state;

    make_whole_repo(f);
    temp_dir_write(f->dir, "blobs/.huggingface-shared-blobs", "1\n");
    temp_dir_write(f->dir, "blobs/ab/" PAYLOAD, "hello");
    assert_string_equal(find_old(f).text, ""); /* no manifest: another client's matter */

    temp_dir_write(f->dir, "blobs/ab/" PAYLOAD ".refs",
                   "models--gone--x/blobs/" HELLO_SHA256 "\n../../etc/passwd\n" REPO
                   "blobs/" HELLO_GIT "\n");
    assert_string_equal(find_old(f).text, "orphan_payload blobs/ab/" PAYLOAD "  \n");

    temp_dir_write(f->dir, "blobs/.huggingface-shared-blobs", "2\n");
    assert_string_equal(find_old(f).text, "");
}

static void a_dangling_chain_dangles_at_the_pointer(void **state)
{
    struct fixture *f = *state;
    struct findings found;

    make_whole_repo(f);
    make_symlink(f, "../../blobs/ab/" PAYLOAD, REPO "blobs/" HELLO_SHA256);
    make_symlink(f, "../../blobs/" HELLO_SHA256, REPO "snapshots/" COMMIT "/b");
    found = find_old(f);
    assert_string_equal(found.text, "dangling_pointer " REPO "snapshots/" COMMIT
                                    "/b " HELLO_SHA256 " 1111\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_whole_repo_has_no_leftovers),
        WITH_CACHE(each_kind_of_leftover_is_found_once),
        WITH_CACHE(what_is_young_is_no_leftover),
        WITH_CACHE(what_another_process_fetches_is_no_leftover),
        WITH_CACHE(a_partial_file_that_a_claim_names_is_no_stray),
        WITH_CACHE(a_chain_into_the_shared_store_is_in_use),
        WITH_CACHE(a_payload_is_an_orphan_only_if_its_manifest_says_so),
        WITH_CACHE(a_dangling_chain_dangles_at_the_pointer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
