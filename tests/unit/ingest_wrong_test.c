/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: bytes that are wrong, lost, of another user or forged are not resumed, and a
 * file that another process has taken over is left alone.
 */
#include "ingest_fixture.h"

#include <base/text.h>

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

static void bytes_known_to_be_wrong_are_not_left(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = content_begin(f);
    char wrong = (char)~content[0];

    assert_non_null(ingest);
    assert_int_equal(hc_ingest_write(ingest, 0, &wrong, 1, &f->err), 0);
    assert_int_equal(content_write(f, ingest, 1, SIZE), 0);
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), -1);
    hc_ingest_drop(ingest);
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

/* The only file of blobs/. */
static void rename_partial(struct fixture *f, const char *to)
{
    HC_AUTO_FREE char *path = temp_dir_path(f->dir, BLOBS);
    DIR *dir = opendir(path);
    const struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)) && entry->d_name[0] == '.')
        ;
    assert_non_null(entry);
    assert_int_equal(renameat(dirfd(dir), entry->d_name, hc_cache_fd(f->cache), to), 0);
    assert_int_equal(closedir(dir), 0);
}

static void bytes_that_are_lost_count_as_wrong(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = content_begin(f);
    HC_AUTO_FREE char *path = temp_dir_path(f->dir, "partial");

    assert_int_equal(content_write(f, ingest, 0, SIZE), 0);
    rename_partial(f, "partial");
    assert_int_equal(truncate(path, PIECE), 0);
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), -1);
    assert_int_equal(f->err.reason, HC_CHECKSUM_MISMATCH);
    assert_int_equal(hc_ingest_restart(ingest, &f->err), 0);
    content_finish(f, ingest, 0);
}

/* Another process took this one for dead, and has published it. */
static void a_restart_keeps_a_file_that_was_taken_over(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = content_begin(f);
    struct stat status;

    assert_int_equal(content_write(f, ingest, 0, HALF), 0);
    rename_partial(f, "theirs");
    assert_int_equal(hc_ingest_restart(ingest, &f->err), 0);
    assert_int_equal(fstatat(hc_cache_fd(f->cache), "theirs", &status, 0), 0);
    assert_int_equal(status.st_size, HALF);
    content_finish(f, ingest, 0);
}

/* A file of HALF bytes of nothing. */
static void fill_file(struct fixture *f, const char *path)
{
    HC_AUTO_FREE char *absolute = temp_dir_path(f->dir, path);

    temp_dir_write(f->dir, path, "");
    assert_int_equal(truncate(absolute, HALF), 0);
}

/* An abandoned claim, with a file of HALF bytes. */
static void forge_claim(struct fixture *f, const char *incomplete, uint64_t size,
                        const char *ranges)
{
    char claim[PATH_MAX], text[2048], path[PATH_MAX];

    assert_true(hc_format(claim, sizeof claim, ".hubcache/transfers/" FOLDER "/%s",
                          content_etag) > 0);
    assert_true(hc_format(text, sizeof text,
                          "host=x\npid=0\nstart=0\nincomplete=%s\nsize=%llu\n"
                          "bytes=%d\nranges=%s\n",
                          incomplete, (unsigned long long)size, HALF, ranges) > 0);
    temp_dir_write(f->dir, claim, text);
    assert_true(hc_format(path, sizeof path, BLOBS "/%s", incomplete) > 0);
    fill_file(f, path);
}

static void a_claim_without_sense_is_not_resumed(void **state)
{
    struct fixture *f = *state;
    char ours[PATH_MAX];
    const struct {
        const char *name, *ranges;
        uint64_t size;
    } forged[] = {
        {ours, "0-20971520", SIZE + 1},              /* of another size */
        {ours, "0-41943041", SIZE},                  /* more than there can be */
        {ours, "0-20971521", SIZE},                  /* more than the file has */
        {ours, "0-1048576,25165824-25165825", SIZE}, /* the same, beyond a hole */
        {ours, "nonsense", SIZE},                    /* */
        {"stranger.01234567.incomplete", "0-20971520", SIZE}, /* of another blob */
    };

    assert_true(hc_format(ours, sizeof ours, "%s.01234567.incomplete", content_etag) > 0);
    for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) {
        struct hc_ingest *ingest;

        forge_claim(f, forged[i].name, forged[i].size, forged[i].ranges);
        ingest = content_begin(f);
        assert_non_null(ingest);
        assert_int_equal(hc_ingest_resumed_bytes(ingest), 0);
        hc_ingest_drop(ingest);
    }
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 1); /* the stranger's */
}

static void a_symlink_is_not_resumed(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest;
    char name[PATH_MAX], path[PATH_MAX];

    assert_true(hc_format(name, sizeof name, "%s.01234567.incomplete", content_etag) > 0);
    assert_true(hc_format(path, sizeof path, BLOBS "/%s", name) > 0);
    forge_claim(f, name, SIZE, "0-20971520");
    fill_file(f, "precious");
    assert_int_equal(unlinkat(hc_cache_fd(f->cache), path, 0), 0);
    assert_int_equal(symlinkat("../../precious", hc_cache_fd(f->cache), path), 0);

    ingest = content_begin(f);
    assert_non_null(ingest);
    assert_int_equal(hc_ingest_resumed_bytes(ingest), 0);
    content_finish(f, ingest, 0);
    assert_true(temp_dir_has(f->dir, "precious"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(bytes_known_to_be_wrong_are_not_left),
        WITH_CACHE(bytes_that_are_lost_count_as_wrong),
        WITH_CACHE(a_restart_keeps_a_file_that_was_taken_over),
        WITH_CACHE(a_claim_without_sense_is_not_resumed),
        WITH_CACHE(a_symlink_is_not_resumed),
    };

    return cmocka_run_group_tests(tests, content_make, content_free);
}
