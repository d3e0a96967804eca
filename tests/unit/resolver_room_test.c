/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a snapshot for which the volume lacks space is refused before its first
 * byte, with the bytes that are needed and free; and only bytes that have to come count.
 */
#include "resolver_fixture.h"

#include <claim/reservation.h>

#include <stdatomic.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, resolver_fixture_setup,                        \
                                    resolver_fixture_teardown)

enum { MIB = 1024 * 1024, BIG = 2 * MIB };

static uint64_t free_bytes; /* that the volume claims to have; 0: what it has */

/* A file of BIG bytes that are free once it is removed; or NULL. */
static char *reclaimable;

int __real_fstatvfs(int fd, struct statvfs *volume);
int __wrap_fstatvfs(int fd, struct statvfs *volume);

int __wrap_fstatvfs(int fd, struct statvfs *volume)
{
    int result = __real_fstatvfs(fd, volume);

    if (free_bytes > 0) {
        volume->f_frsize = 1;
        volume->f_blocks = UINT64_MAX;
        volume->f_bavail = free_bytes;
        if (reclaimable && access(reclaimable, F_OK) < 0)
            volume->f_bavail += BIG;
    }
    return result;
}

static atomic_uint_least64_t used_bytes; /* of what was reserved */

void __real_hc_reservation_use(struct hc_reservation *reserve, uint64_t bytes);
void __wrap_hc_reservation_use(struct hc_reservation *reserve, uint64_t bytes);

void __wrap_hc_reservation_use(struct hc_reservation *reserve, uint64_t bytes)
{
    (void)atomic_fetch_add(&used_bytes, bytes);
    __real_hc_reservation_use(reserve, bytes);
}

/* Two files that are the same, and a third. */
static void commit_large_files(struct fixture *f, const char *repo)
{
    test_hub_add_generated(f->hub, "one.safetensors", BIG, 1, true);
    test_hub_add_generated(f->hub, "same.safetensors", BIG, 1, true);
    test_hub_add_generated(f->hub, "two.safetensors", BIG, 2, true);
    test_hub_commit(f->hub, repo, "main", f->commit);
}

static int resolve_repo_with_free_bytes(struct fixture *f, const char *id, uint64_t room)
{
    const struct hc_snapshot_request request = {.repo = {.id = id}};
    struct hc_snapshot snapshot;
    int result;

    free_bytes = room;
    atomic_store(&used_bytes, 0);
    result = hc_resolve_snapshot(f->resolver, &request, NULL, &snapshot, &f->err);
    free_bytes = 0;
    if (result == 0)
        hc_snapshot_clear(&snapshot);
    return result;
}

static void without_free_space_no_byte_is_requested(void **state)
{
    struct fixture *f = *state;

    commit_large_files(f, "models/org/big");
    assert_int_equal(resolve_repo_with_free_bytes(f, "org/big", 2 * BIG - 1), -1);
    assert_int_equal(f->err.reason, HC_NO_SPACE);
    assert_int_equal(f->err.needed_bytes, 2 * BIG); /* what is the same comes once */
    assert_int_equal(f->err.free_bytes, 2 * BIG - 1);
    assert_non_null(strstr(f->err.message, "org/big"));
    assert_int_equal(test_hub_count_cdn(f->hub, "GET"), 0);
    assert_int_equal(temp_dir_count(f->dir, "models--org--big/blobs"), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

static void the_same_blob_twice_needs_space_once(void **state)
{
    struct fixture *f = *state;

    commit_large_files(f, "models/org/big");
    assert_int_equal(resolve_repo_with_free_bytes(f, "org/big", 2 * BIG), 0);
    assert_int_equal(atomic_load(&used_bytes), 2 * BIG);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

static void a_blob_of_another_repo_needs_no_space(void **state)
{
    struct fixture *f = *state;

    commit_large_files(f, "models/org/big");
    commit_large_files(f, "models/org/fork");
    assert_int_equal(resolve_repo_with_free_bytes(f, "org/big", 0), 0);
    assert_int_equal(resolve_repo_with_free_bytes(f, "org/fork", 1), 0);
    assert_int_equal(atomic_load(&used_bytes), 0);
    assert_int_equal(test_hub_count_cdn(f->hub, "GET"), 2);
}

/* A process abandoned its transfer of a blob of another repo an hour ago. */
static void write_abandoned_partial(struct fixture *f)
{
    static const char etag[] = "0123456789abcdef0123456789abcdef01234567";
    HC_AUTO_FREE char *bytes = calloc(1, BIG + 1);
    char path[PATH_MAX], text[512];

    assert_non_null(bytes);
    memset(bytes, 'x', BIG);
    (void)snprintf(path, sizeof path, "models--a--b/blobs/%s.01234567.incomplete", etag);
    temp_dir_write(f->dir, path, bytes);
    reclaimable = temp_dir_path(f->dir, path);
    (void)snprintf(path, sizeof path, ".hubcache/transfers/models--a--b/%s", etag);
    (void)snprintf(text, sizeof text,
                   "host=\npid=0\nstart=0\nincomplete=%s.01234567.incomplete\n"
                   "size=%d\nbytes=%d\nranges=0-%d\n",
                   etag, 2 * BIG, BIG, BIG);
    temp_dir_write(f->dir, path, text);
}

static void an_abandoned_partial_file_gives_its_space_to_a_download(void **state)
{
    struct fixture *f = *state;

    commit_large_files(f, "models/org/big");
    write_abandoned_partial(f);
    assert_int_equal(resolve_repo_with_free_bytes(f, "org/big", 2 * BIG), 0);
    assert_int_equal(access(reclaimable, F_OK), 0); /* there was enough without it */

    test_hub_add_generated(f->hub, "three.safetensors", BIG, 3, true);
    test_hub_commit(f->hub, "models/org/third", "main", f->commit);
    assert_int_equal(resolve_repo_with_free_bytes(f, "org/third", 1), 0);
    assert_int_equal(access(reclaimable, F_OK), -1);
    free(hc_take(&reclaimable));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(without_free_space_no_byte_is_requested),
        test(the_same_blob_twice_needs_space_once),
        test(a_blob_of_another_repo_needs_no_space),
        test(an_abandoned_partial_file_gives_its_space_to_a_download),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
