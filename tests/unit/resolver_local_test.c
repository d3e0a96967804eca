/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of local roots: a directory below one of them wins over the Hub, and
 * nothing outside of them can be reached, whether by "..", by an absolute path or by a
 * symlink.
 */
#include "resolver_fixture.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct local_root {
    struct fixture *f;
    char *root;
};

static int local_root_setup(void **state)
{
    struct local_root *local_root = calloc(1, sizeof *local_root);
    void *inner = NULL;

    assert_non_null(local_root);
    (void)resolver_fixture_setup(&inner);
    local_root->f = inner;
    local_root->root = temp_dir_make();
    temp_dir_write(local_root->root, "own/config.json", "local");
    temp_dir_write(local_root->root, "own/sub/a.txt", "abc");
    temp_dir_write(local_root->f->dir, "secret.txt", "secret");
    assert_int_equal(hc_settings_add_local_root(&local_root->f->settings,
                                                local_root->root, &local_root->f->err),
                     0);
    resolver_fixture_reopen(local_root->f, false);
    *state = local_root;
    return 0;
}

static int local_root_teardown(void **state)
{
    struct local_root *local_root = *state;
    void *inner = local_root->f;

    (void)resolver_fixture_teardown(&inner);
    temp_dir_remove(local_root->root);
    free(local_root);
    return 0;
}

static int resolve_local_file(struct local_root *local_root, const char *id,
                              const char *filename, struct hc_file *file)
{
    struct hc_file_request request = {.repo = {.id = id}, .filename = filename};

    return hc_resolve_file(local_root->f->resolver, &request, NULL, file,
                           &local_root->f->err);
}

static void a_directory_is_found_by_name_and_by_path(void **state)
{
    struct local_root *local_root = *state;
    char *path = temp_dir_path(local_root->root, "own");
    struct hc_file file;

    assert_int_equal(resolve_local_file(local_root, "own", "config.json", &file), 0);
    assert_int_equal(file.source, HC_SOURCE_LOCAL);
    assert_string_equal(file.cache_path, "");
    assert_string_equal(file.filename, "config.json");
    assert_file_content(&file, "local");
    hc_file_clear(&file);

    assert_int_equal(resolve_local_file(local_root, path, "sub/a.txt", &file), 0);
    assert_int_equal(file.size_bytes, 3);
    hc_file_clear(&file);
    free(path);
}

static void a_file_that_is_not_there_is_not_asked_of_the_hub(void **state)
{
    struct local_root *local_root = *state;
    struct hc_file file;

    assert_int_equal(resolve_local_file(local_root, "own", "nothing", &file), -1);
    assert_int_equal(local_root->f->err.reason, HC_ENTRY_NOT_FOUND);
    assert_int_equal(test_hub_count(local_root->f->hub, NULL, NULL), 0);
}

static void nothing_outside_the_root_can_be_reached(void **state)
{
    struct local_root *local_root = *state;
    char *link = temp_dir_path(local_root->root, "own/link.txt");
    char *target = temp_dir_path(local_root->f->dir, "secret.txt");
    char *way_out = temp_dir_path(local_root->root, "../");
    struct hc_file file;

    assert_int_equal(symlink(target, link), 0);

    assert_int_equal(resolve_local_file(local_root, "own", "link.txt", &file), -1);
    assert_int_equal(local_root->f->err.reason, HC_ENTRY_NOT_FOUND);
    assert_int_equal(resolve_local_file(local_root, local_root->f->dir, "secret.txt",
                                        &file),
                     -1);
    assert_int_equal(local_root->f->err.reason, HC_INVALID_REPO_ID);
    assert_int_equal(resolve_local_file(local_root, way_out, "etc/passwd", &file), -1);
    assert_int_equal(local_root->f->err.reason, HC_INVALID_REPO_ID);
    free(link);
    free(target);
    free(way_out);
}

static void a_local_snapshot_counts_what_is_there(void **state)
{
    struct local_root *local_root = *state;
    struct hc_snapshot_request request = {.repo = {.id = "own"}, .list_files = true};
    struct hc_snapshot answer;

    assert_int_equal(hc_resolve_snapshot(local_root->f->resolver, &request, NULL, &answer,
                                         &local_root->f->err),
                     0);
    assert_int_equal(answer.source, HC_SOURCE_LOCAL);
    assert_int_equal(answer.completeness, HC_UNKNOWN);
    assert_int_equal(answer.file_count, 2);
    assert_int_equal(answer.listed, 2);
    assert_int_equal(answer.size_bytes, 8);
    hc_snapshot_clear(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_directory_is_found_by_name_and_by_path,
                                        local_root_setup, local_root_teardown),
        cmocka_unit_test_setup_teardown(a_file_that_is_not_there_is_not_asked_of_the_hub,
                                        local_root_setup, local_root_teardown),
        cmocka_unit_test_setup_teardown(nothing_outside_the_root_can_be_reached,
                                        local_root_setup, local_root_teardown),
        cmocka_unit_test_setup_teardown(a_local_snapshot_counts_what_is_there,
                                        local_root_setup, local_root_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
