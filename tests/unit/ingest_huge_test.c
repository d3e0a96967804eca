/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a blob of more than 4 GiB is like any other: it is resumed where a transfer
 * ended, hashed and published. Most of it is a hole, which costs no space.
 */
#include "blob_id.h"
#include "cache_fixture.h"
#include "cache_helper.h"

#include <base/text.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "models--org--name"
#define PARTIAL ETAG ".01234567.incomplete"

/* SHA-256 of huge_size zero bytes, by sha256sum. */
#define ETAG "a21402e8b270c4c24f31cad9714d99f265574af2e32bf8908de2d6feca085d10"

enum { MIB = 1024 * 1024 };

static const uint64_t huge_size = 4096 * (uint64_t)MIB + 20000000;
static const uint64_t had = 4104 * (uint64_t)MIB;

/* What a transfer leaves that ended a few megabytes before the end. */
static void huge_leave_most(struct fixture *f)
{
    HC_AUTO_FREE char *file = temp_dir_path(f->dir, FOLDER "/blobs/" PARTIAL);
    char text[512];

    temp_dir_write(f->dir, FOLDER "/blobs/" PARTIAL, "");
    assert_int_equal(truncate(file, (off_t)had), 0);
    assert_true(hc_format(text, sizeof text,
                          "host=x\npid=0\nstart=0\nincomplete=" PARTIAL "\nsize=%llu\n"
                          "bytes=%llu\nranges=0-%llu\n",
                          (unsigned long long)huge_size, (unsigned long long)had,
                          (unsigned long long)had) > 0);
    temp_dir_write(f->dir, ".hubcache/transfers/" FOLDER "/" ETAG, text);
}

static void huge_write_rest(struct fixture *f, struct hc_ingest *ingest)
{
    HC_AUTO_FREE char *zeros = calloc(1, MIB);

    assert_non_null(zeros);
    for (uint64_t at = had; at < huge_size; at += MIB) {
        uint64_t left = huge_size - at;

        assert_int_equal(hc_ingest_write(ingest, at, zeros,
                                         left < MIB ? (size_t)left : MIB, &f->err),
                         0);
    }
}

static void a_blob_of_more_than_4_gib_is_resumed(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *blob = temp_dir_path(f->dir, FOLDER "/blobs/" ETAG);
    struct hc_ingest *ingest;
    struct stat status;

    huge_leave_most(f);
    ingest = begin_ingest(f->cache, BLOB_OF(f, ETAG), huge_size, &f->err);
    assert_non_null(ingest);
    assert_int_equal(hc_ingest_resumed_bytes(ingest), had);
    huge_write_rest(f, ingest);
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), 0);
    hc_ingest_drop(ingest);
    assert_int_equal(stat(blob, &status), 0);
    assert_int_equal(status.st_size, huge_size);
    assert_int_equal(temp_dir_count(f->dir, FOLDER "/blobs"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_blob_of_more_than_4_gib_is_resumed, make_cache,
                                        remove_cache),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
