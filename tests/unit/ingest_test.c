/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: what had arrived when a transfer ended, by its own will or by kill -9, is
 * there for the next one; what is not ours, too old, wrong or forged is not.
 */
#include "cache_fixture.h"
#include "cache_helper.h"

#include <base/digest.h>
#include <base/text.h>
#include <cache/claim.h>
#include <cache/ingest.h>
#include <cache/lock.h>

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define FOLDER "models--org--name"
#define BLOBS FOLDER "/blobs"

enum { MIB = 1024 * 1024, SIZE = 40 * MIB, HALF = 20 * MIB, PIECE = 8 * MIB };

static char *content; /* SIZE bytes */
static char etag[HC_DIGEST_HEX_MAX + 1];

static int make_content(void **state)
{
    struct hc_error err;
    HC_AUTO(hc_digest) *digest = hc_digest_new(HC_DIGEST_SHA256, SIZE, &err);

    (void)state;
    content = malloc(SIZE);
    if (!content || !digest)
        return -1;
    for (size_t i = 0; i < SIZE; i++)
        content[i] = (char)((i * 2654435761u) >> 13);
    return hc_digest_update(digest, content, SIZE, &err) +
           hc_digest_finish(digest, etag, &err);
}

static int free_content(void **state)
{
    (void)state;
    free(content);
    return 0;
}

static struct hc_ingest *begin(struct fixture *f)
{
    return begin_ingest(f->cache, &f->repo, etag, SIZE, &f->err);
}

static int put(struct fixture *f, struct hc_ingest *ingest, uint64_t from, uint64_t to)
{
    return hc_ingest_write(ingest, from, content + from, (size_t)(to - from), &f->err);
}

/* A process of this host begins a transfer, gets these bytes, and is killed. */
static void crash_with(struct fixture *f, uint64_t from, uint64_t to)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        struct hc_ingest *ingest = begin(f);

        _exit(ingest && put(f, ingest, from, to) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void finish(struct fixture *f, struct hc_ingest *ingest, uint64_t from)
{
    assert_int_equal(put(f, ingest, from, SIZE), 0);
    assert_int_equal(hc_ingest_commit(ingest, &f->err), 0);
    hc_ingest_drop(ingest);
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 1);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

static unsigned sweep_after(struct fixture *f, int64_t ms)
{
    return hc_claim_sweep(f->cache, (int64_t)time(NULL) * 1000 + ms);
}

static void what_a_killed_process_had_is_gone_on_with(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest;

    crash_with(f, 0, HALF);
    ingest = begin(f);
    assert_non_null(ingest);
    assert_int_equal(hc_ingest_inherited(ingest), HALF);
    assert_int_equal(hc_pieces_front(hc_ingest_pieces(ingest)), HALF);
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 1);
    finish(f, ingest, HALF);
}

static void what_arrived_beyond_a_hole_is_gone_on_with(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest;

    crash_with(f, 2 * (uint64_t)PIECE, 3 * (uint64_t)PIECE);
    ingest = begin(f);
    assert_non_null(ingest);
    assert_int_equal(hc_ingest_inherited(ingest), PIECE);
    assert_int_equal(hc_pieces_front(hc_ingest_pieces(ingest)), 0);
    finish(f, ingest, 0);
}

static void what_was_dropped_in_mid_transfer_is_gone_on_with(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = begin(f);

    assert_non_null(ingest);
    assert_int_equal(put(f, ingest, 0, HALF + 1), 0);
    hc_ingest_drop(ingest); /* by a process that lives on */
    ingest = begin(f);
    assert_non_null(ingest);
    assert_int_equal(hc_ingest_inherited(ingest), HALF + 1);
    finish(f, ingest, HALF + 1);
}

static void it_may_go_on_more_than_once(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest;

    crash_with(f, 0, 2 * (uint64_t)MIB);
    crash_with(f, 2 * (uint64_t)MIB, 4 * (uint64_t)MIB);
    crash_with(f, 4 * (uint64_t)MIB, HALF);
    ingest = begin(f);
    assert_non_null(ingest);
    assert_int_equal(hc_ingest_inherited(ingest), HALF);
    finish(f, ingest, HALF);
}

static void a_little_is_not_kept(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = begin(f);

    assert_non_null(ingest);
    assert_int_equal(put(f, ingest, 0, MIB - 1), 0);
    hc_ingest_drop(ingest);
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

static void bytes_that_were_inherited_are_hashed_like_others(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = begin(f);
    char wrong = (char)~content[5];

    assert_non_null(ingest);
    assert_int_equal(hc_ingest_write(ingest, 0, content, 5, &f->err), 0);
    assert_int_equal(hc_ingest_write(ingest, 5, &wrong, 1, &f->err), 0);
    assert_int_equal(put(f, ingest, 6, HALF), 0);
    hc_ingest_drop(ingest);

    ingest = begin(f);
    assert_non_null(ingest);
    assert_int_equal(put(f, ingest, HALF, SIZE), 0);
    assert_int_equal(hc_ingest_commit(ingest, &f->err), -1);
    assert_int_equal(f->err.reason, HC_CHECKSUM_MISMATCH);
    assert_int_equal(hc_ingest_restart(ingest, &f->err), 0);
    assert_int_equal(hc_ingest_inherited(ingest), 0);
    finish(f, ingest, 0);
}

static void what_was_there_keeps_nobody_from_going_ahead(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest;

    crash_with(f, 0, HALF);
    ingest = begin(f);
    assert_int_equal(put(f, ingest, HALF, HALF + PIECE), 0);
    assert_int_equal(hc_ingest_unhashed(ingest), 0); /* as long as that is not hashed */
    while (hc_ingest_unhashed(ingest) == 0)
        assert_int_equal(hc_ingest_hash(ingest, &f->err), 1);
    assert_in_range(hc_ingest_unhashed(ingest), 1, PIECE);
    finish(f, ingest, HALF + PIECE);
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
    struct hc_ingest *ingest = begin(f);
    HC_AUTO_FREE char *path = temp_dir_path(f->dir, "partial");

    assert_int_equal(put(f, ingest, 0, SIZE), 0);
    rename_partial(f, "partial");
    assert_int_equal(truncate(path, PIECE), 0);
    assert_int_equal(hc_ingest_commit(ingest, &f->err), -1);
    assert_int_equal(f->err.reason, HC_CHECKSUM_MISMATCH);
    assert_int_equal(hc_ingest_restart(ingest, &f->err), 0);
    finish(f, ingest, 0);
}

/* Somebody took us for dead, and has published it. */
static void a_restart_spares_what_became_somebody_elses(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = begin(f);
    struct stat status;

    assert_int_equal(put(f, ingest, 0, HALF), 0);
    rename_partial(f, "theirs");
    assert_int_equal(hc_ingest_restart(ingest, &f->err), 0);
    assert_int_equal(fstatat(hc_cache_fd(f->cache), "theirs", &status, 0), 0);
    assert_int_equal(status.st_size, HALF);
    finish(f, ingest, 0);
}

static void bytes_known_to_be_wrong_are_not_left(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = begin(f);
    char wrong = (char)~content[0];

    assert_non_null(ingest);
    assert_int_equal(hc_ingest_write(ingest, 0, &wrong, 1, &f->err), 0);
    assert_int_equal(put(f, ingest, 1, SIZE), 0);
    assert_int_equal(hc_ingest_commit(ingest, &f->err), -1);
    hc_ingest_drop(ingest);
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

static void bytes_that_are_there_are_not_written_again(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = begin(f);
    char *wrong = calloc(1, HALF);

    assert_non_null(ingest);
    assert_non_null(wrong);
    assert_int_equal(put(f, ingest, 0, HALF), 0);
    assert_int_equal(hc_ingest_write(ingest, 0, wrong, HALF, &f->err), 0);
    assert_int_equal(hc_pieces_arrived(hc_ingest_pieces(ingest)), HALF);
    free(wrong);
    finish(f, ingest, HALF - 7);
}

static void the_hash_follows_what_arrives_in_order(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = begin(f);

    assert_non_null(ingest);
    assert_int_equal(put(f, ingest, PIECE, 2 * (uint64_t)PIECE), 0);
    assert_int_equal(hc_ingest_hash(ingest, &f->err), 0);
    assert_int_equal(put(f, ingest, 0, PIECE), 0);
    while (hc_ingest_hash(ingest, &f->err) == 1)
        continue;
    assert_int_equal(hc_ingest_hash(ingest, &f->err), 0);
    finish(f, ingest, 2 * (uint64_t)PIECE);
}

static void the_sweep_keeps_it_for_a_day(void **state)
{
    struct fixture *f = *state;

    crash_with(f, 0, HALF);
    assert_int_equal(sweep_after(f, 0), 0);
    assert_int_equal(sweep_after(f, HC_CLAIM_KEPT_MS - 60000), 0);
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 1);
    assert_int_equal(sweep_after(f, HC_CLAIM_KEPT_MS + 60000), 1);
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

static void the_sweep_does_not_keep_it_when_the_blob_is_there(void **state)
{
    struct fixture *f = *state;
    char blob[PATH_MAX];

    crash_with(f, 0, HALF);
    assert_true(hc_format(blob, sizeof blob, BLOBS "/%s", etag) > 0);
    temp_dir_write(f->dir, blob, "another client was faster");
    assert_int_equal(sweep_after(f, 0), 1);
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 1);
}

static void a_living_transfer_is_not_robbed(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *one = begin(f); /* on a volume without flock */
    struct hc_ingest *two;

    assert_non_null(one);
    assert_int_equal(put(f, one, 0, HALF), 0);
    assert_null(begin(f)); /* its claim is in the way */
    two = take_ingest_over(f->cache, &f->repo, etag, SIZE);
    assert_int_equal(hc_ingest_inherited(two), HALF); /* a copy */
    assert_int_equal(put(f, one, HALF, SIZE), 0);
    assert_int_equal(put(f, two, HALF, SIZE), 0);
    assert_int_equal(hc_ingest_commit(one, &f->err), 0);
    assert_int_equal(hc_ingest_commit(two, &f->err), 0);
    hc_ingest_drop(one);
    hc_ingest_drop(two);
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 1);
}

/* A file of HALF bytes of nothing. */
static void make_file(struct fixture *f, const char *path)
{
    HC_AUTO_FREE char *absolute = temp_dir_path(f->dir, path);

    temp_dir_write(f->dir, path, "");
    assert_int_equal(truncate(absolute, HALF), 0);
}

/* A claim that nobody owns, with a file of HALF bytes. */
static void forge(struct fixture *f, const char *incomplete, uint64_t size,
                  const char *ranges)
{
    char claim[PATH_MAX], text[2048], path[PATH_MAX];

    assert_true(
        hc_format(claim, sizeof claim, ".hubcache/transfers/" FOLDER "/%s", etag) > 0);
    assert_true(hc_format(text, sizeof text,
                          "host=x\npid=0\nstart=0\nincomplete=%s\nsize=%llu\n"
                          "bytes=%d\nranges=%s\n",
                          incomplete, (unsigned long long)size, HALF, ranges) > 0);
    temp_dir_write(f->dir, claim, text);
    assert_true(hc_format(path, sizeof path, BLOBS "/%s", incomplete) > 0);
    make_file(f, path);
}

static void what_makes_no_sense_is_not_gone_on_with(void **state)
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

    assert_true(hc_format(ours, sizeof ours, "%s.01234567.incomplete", etag) > 0);
    for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) {
        struct hc_ingest *ingest;

        forge(f, forged[i].name, forged[i].size, forged[i].ranges);
        ingest = begin(f);
        assert_non_null(ingest);
        assert_int_equal(hc_ingest_inherited(ingest), 0);
        hc_ingest_drop(ingest);
    }
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 1); /* the stranger's */
}

static void a_symlink_is_not_gone_on_with(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest;
    char name[PATH_MAX], path[PATH_MAX];

    assert_true(hc_format(name, sizeof name, "%s.01234567.incomplete", etag) > 0);
    assert_true(hc_format(path, sizeof path, BLOBS "/%s", name) > 0);
    forge(f, name, SIZE, "0-20971520");
    make_file(f, "precious");
    assert_int_equal(unlinkat(hc_cache_fd(f->cache), path, 0), 0);
    assert_int_equal(symlinkat("../../precious", hc_cache_fd(f->cache), path), 0);

    ingest = begin(f);
    assert_non_null(ingest);
    assert_int_equal(hc_ingest_inherited(ingest), 0);
    finish(f, ingest, 0);
    assert_true(temp_dir_has(f->dir, "precious"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(what_a_killed_process_had_is_gone_on_with),
        WITH_CACHE(what_arrived_beyond_a_hole_is_gone_on_with),
        WITH_CACHE(what_was_dropped_in_mid_transfer_is_gone_on_with),
        WITH_CACHE(it_may_go_on_more_than_once),
        WITH_CACHE(a_little_is_not_kept),
        WITH_CACHE(bytes_that_were_inherited_are_hashed_like_others),
        WITH_CACHE(what_was_there_keeps_nobody_from_going_ahead),
        WITH_CACHE(bytes_that_are_lost_count_as_wrong),
        WITH_CACHE(a_restart_spares_what_became_somebody_elses),
        WITH_CACHE(bytes_known_to_be_wrong_are_not_left),
        WITH_CACHE(bytes_that_are_there_are_not_written_again),
        WITH_CACHE(the_hash_follows_what_arrives_in_order),
        WITH_CACHE(the_sweep_keeps_it_for_a_day),
        WITH_CACHE(the_sweep_does_not_keep_it_when_the_blob_is_there),
        WITH_CACHE(a_living_transfer_is_not_robbed),
        WITH_CACHE(what_makes_no_sense_is_not_gone_on_with),
        WITH_CACHE(a_symlink_is_not_gone_on_with),
    };

    return cmocka_run_group_tests(tests, make_content, free_content);
}
