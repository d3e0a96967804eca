/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: if another process of the volume puts a FIFO, a device, a socket, a directory
 * or a symlink in the place of a file of the cache, no call waits for it, follows it out
 * of the cache, or fails in another way than these tests say. A call that waits is ended
 * by SIGALRM.
 */
#include "blob_id.h"
#include "cache_fixture.h"
#include "cache_helper.h"

#include <base/file.h>
#include <base/text.h>
#include <cache/no_exist.h>
#include <cache/pointer.h>
#include <cache/ref.h>
#include <cache/tree_cache.h>
#include <claim/claim.h>
#include <claim/sweep.h>
#include <repo/tree.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define FOLDER "models--org--name"
#define REF FOLDER "/refs/main"
#define BLOB FOLDER "/blobs/" HELLO_GIT
#define PARTIAL HELLO_GIT ".01234567.incomplete"
#define POINTER FOLDER "/snapshots/" COMMIT "/a"
#define MARKER FOLDER "/.no_exist/" COMMIT "/a"
#define TREE FOLDER "/trees/" COMMIT ".json"
#define LOCK ".locks/" FOLDER "/" HELLO_GIT ".lock"
#define CLAIM ".hubcache/transfers/" FOLDER "/" HELLO_GIT

enum { TOO_LONG_S = 20, MIB = 1024 * 1024, SIZE = 2 * MIB };

enum special { FIFO, DEVICE, SOCKET, DIRECTORY, DANGLING, OUTSIDE, LOOP, SPECIALS };

static const char *const names[SPECIALS] = {
    "a FIFO",         "a device",        "a socket", "a directory", "a dangling symlink",
    "a link outside", "a link to itself"};

/* A file outside the cache, which no test may change, and a name there, which none may
 * create. */
static char *outside;

static void special_make_link(const char *name, const char *path)
{
    char *target = temp_dir_path(outside, name);

    assert_int_equal(symlink(target, path), 0);
    free(target);
}

static void special_make(enum special special, const char *path)
{
    switch (special) {
    case FIFO:
        assert_int_equal(mkfifo(path, 0666), 0);
        return;
    case DEVICE: /* only root may make one */
        if (mknod(path, S_IFCHR | 0666, makedev(1, 3)) < 0)
            assert_int_equal(mkfifo(path, 0666), 0);
        return;
    case SOCKET:
        assert_int_equal(mknod(path, S_IFSOCK | 0666, 0), 0);
        return;
    case DIRECTORY:
        assert_int_equal(mkdir(path, 0777), 0);
        return;
    case DANGLING:
        special_make_link("gone", path);
        return;
    case OUTSIDE:
        special_make_link("victim", path);
        return;
    default:
        assert_int_equal(symlink(strrchr(path, '/') + 1, path), 0);
    }
}

/* Puts it in the place of `path`, and creates the directories on the way. */
static void special_put(struct fixture *f, enum special special, const char *path)
{
    char *whole = temp_dir_path(f->dir, path);

    assert_int_equal(hc_file_mkparents(hc_cache_fd(f->cache), path, &f->err), 0);
    (void)unlinkat(hc_cache_fd(f->cache), path, 0);
    special_make(special, whole);
    free(whole);
}

/* ---- one call for each kind of file ------------------------------------------------ */

static void with_a_lock(struct fixture *f, enum special special)
{
    struct hc_blob_lock *lock = NULL;

    special_put(f, special, LOCK);
    lock = hc_blob_lock_new(f->cache, BLOB_OF(f, HELLO_GIT), &f->err);
    assert_non_null(lock);
    assert_int_equal(hc_blob_lock_try(lock, &f->err), -1);
    assert_int_equal(f->err.reason, HC_CACHE_IO);
    assert_non_null(strstr(f->err.message, LOCK));
    assert_non_null(strstr(f->err.message, "remove it"));
    assert_false(hc_blob_lock_is_held(f->cache, BLOB_OF(f, HELLO_GIT)));
    hc_blob_lock_release(lock);
}

static void with_a_ref(struct fixture *f, enum special special)
{
    struct hc_ref ref;

    special_put(f, special, REF);
    assert_int_equal(hc_ref_find(f->cache, &f->repo, "main", &ref, &f->err), 0);
    assert_int_equal(hc_ref_update(f->cache, &f->repo, "main", COMMIT, &f->err), 0);
    assert_int_equal(hc_ref_find(f->cache, &f->repo, "main", &ref, &f->err), 1);
    assert_string_equal(ref.commit, COMMIT);
}

static void with_a_marker(struct fixture *f, enum special special)
{
    special_put(f, special, MARKER);
    assert_int_equal(hc_no_exist_find(f->cache, &f->repo, COMMIT, "a", &f->err), 0);
    hc_no_exist_mark(f->cache, &f->repo, COMMIT, "a");
    assert_int_equal(hc_no_exist_find(f->cache, &f->repo, COMMIT, "a", &f->err), 0);
}

static void with_the_cache_id(struct fixture *f, enum special special)
{
    special_put(f, special, ".hubcache/cache-id");
    reopen_cache(f, false);
    assert_int_equal(strlen(hc_cache_id(f->cache)), special == DIRECTORY ? 0 : 36);
}

static void with_the_tag(struct fixture *f, enum special special)
{
    special_put(f, special, "CACHEDIR.TAG");
    hc_cache_write_tag(f->cache);
}

static void with_a_tree(struct fixture *f, enum special special)
{
    struct hc_tree *tree = NULL;

    special_put(f, special, TREE);
    assert_int_equal(hc_tree_load(f->cache, &f->repo, COMMIT, NULL, &tree, &f->err), 0);
}

/* A symlink to a regular file is a blob: so clients share blobs between repos (§1.9). */
static void with_a_blob(struct fixture *f, enum special special)
{
    const struct hc_repo_file place = {&f->repo, COMMIT, "a"};
    bool is_there = special == OUTSIDE;
    uint64_t size;

    special_put(f, special, BLOB);
    assert_int_equal(hc_blob_find(f->cache, BLOB_OF(f, HELLO_GIT), &size, &f->err),
                     is_there);
    reopen_cache(f, true); /* so that the blob is opened, and copied */
    assert_int_equal(hc_pointer_link(f->cache, &place, HELLO_GIT, false, &f->err),
                     !is_there);
}

static void with_a_pointer(struct fixture *f, enum special special)
{
    const struct hc_repo_file place = {&f->repo, COMMIT, "a"};
    struct hc_pointer pointer;

    temp_dir_write(f->dir, BLOB, "hello");
    special_put(f, special, POINTER);
    assert_int_equal(hc_pointer_find(f->cache, &f->repo, COMMIT, "a", &pointer, &f->err),
                     special == OUTSIDE);
    assert_int_equal(hc_pointer_link(f->cache, &place, HELLO_GIT, true, &f->err), 0);
    assert_file_content(f, POINTER, "hello");
}

/* The transfer starts, with a claim where it can have one. */
static void with_a_claim(struct fixture *f, enum special special)
{
    struct hc_ingest *ingest;

    special_put(f, special, CLAIM);
    (void)hc_claim_sweep(f->cache, hc_volume_now_ms(f->cache));
    ingest = begin_ingest(f->cache, BLOB_OF(f, HELLO_GIT), SIZE, &f->err);
    assert_non_null(ingest);
    assert_int_equal(hc_ingest_resumed_bytes(ingest), 0);
    hc_ingest_drop(ingest);
}

/* The claim of a dead process names it, and says that a mebibyte of it has arrived. */
static void with_a_partial_file(struct fixture *f, enum special special)
{
    struct hc_ingest *ingest;
    char text[512];

    assert_true(hc_format(text, sizeof text,
                          "host=\npid=0\nstart=1\nincomplete=" PARTIAL
                          "\nsize=%d\nbytes=%d\nranges=0-%d\n",
                          SIZE, MIB, MIB) > 0);
    temp_dir_write(f->dir, CLAIM, text);
    special_put(f, special, FOLDER "/blobs/" PARTIAL);
    ingest = begin_ingest(f->cache, BLOB_OF(f, HELLO_GIT), SIZE, &f->err);
    assert_non_null(ingest);
    assert_int_equal(hc_ingest_resumed_bytes(ingest), 0);
    assert_int_equal(hc_ingest_write(ingest, 0, "hello", 5, &f->err), 0);
    hc_ingest_drop(ingest);
}

/* ---- each call with each special file ---------------------------------------------- */

static void assert_outside_is_as_it_was(void)
{
    char *text = temp_dir_read(outside, "victim");

    assert_string_equal(text, "victim");
    assert_int_equal(temp_dir_count(outside, ""), 1);
    free(text);
}

static void with_each_special_file(void (*act)(struct fixture *f, enum special special))
{
    for (int special = 0; special < SPECIALS; special++) {
        void *state = NULL;

        assert_int_equal(make_cache(&state), 0);
        print_message("with %s\n", names[special]);
        (void)alarm(TOO_LONG_S);
        act(state, (enum special)special);
        (void)alarm(0);
        assert_outside_is_as_it_was();
        assert_int_equal(remove_cache(&state), 0);
    }
}

#define EACH(name, act)                                                                  \
    static void name(void **state)                                                       \
    {                                                                                    \
        (void)state;                                                                     \
        with_each_special_file(act);                                                     \
    }

EACH(a_lock_that_is_no_file_is_refused_and_named, with_a_lock)
EACH(a_ref_that_is_no_file_is_absent_and_replaced, with_a_ref)
EACH(a_marker_that_is_no_file_is_absent_and_stays, with_a_marker)
EACH(a_cache_id_that_is_no_file_is_replaced, with_the_cache_id)
EACH(a_tag_that_is_no_file_is_of_no_interest, with_the_tag)
EACH(a_tree_that_is_no_file_is_absent, with_a_tree)
EACH(a_blob_that_leads_to_no_file_is_absent, with_a_blob)
EACH(a_pointer_that_leads_to_no_file_is_replaced, with_a_pointer)
EACH(a_claim_that_is_no_file_is_in_no_transfers_way, with_a_claim)
EACH(a_partial_file_that_is_no_file_is_not_gone_on_with, with_a_partial_file)

static int outside_setup(void **state)
{
    (void)state;
    outside = temp_dir_make();
    temp_dir_write(outside, "victim", "victim");
    return 0;
}

static int outside_teardown(void **state)
{
    (void)state;
    temp_dir_remove(outside);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lock_that_is_no_file_is_refused_and_named),
        cmocka_unit_test(a_ref_that_is_no_file_is_absent_and_replaced),
        cmocka_unit_test(a_marker_that_is_no_file_is_absent_and_stays),
        cmocka_unit_test(a_cache_id_that_is_no_file_is_replaced),
        cmocka_unit_test(a_tag_that_is_no_file_is_of_no_interest),
        cmocka_unit_test(a_tree_that_is_no_file_is_absent),
        cmocka_unit_test(a_blob_that_leads_to_no_file_is_absent),
        cmocka_unit_test(a_pointer_that_leads_to_no_file_is_replaced),
        cmocka_unit_test(a_claim_that_is_no_file_is_in_no_transfers_way),
        cmocka_unit_test(a_partial_file_that_is_no_file_is_not_gone_on_with),
    };

    return cmocka_run_group_tests(tests, outside_setup, outside_teardown);
}
