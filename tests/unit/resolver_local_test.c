/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of local roots: a directory below one of them wins over the Hub, and
 * nothing outside of them can be reached, be it by "..", by an absolute path or by a
 * symlink.
 */
#include "resolver_fixture.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct place {
    struct fixture *f;
    char *root;
};

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    void *inner = NULL;

    assert_non_null(place);
    (void)resolver_fixture_setup(&inner);
    place->f = inner;
    place->root = temp_dir_make();
    temp_dir_write(place->root, "own/config.json", "local");
    temp_dir_write(place->root, "own/sub/a.txt", "abc");
    temp_dir_write(place->f->dir, "secret.txt", "secret");
    assert_int_equal(hc_settings_add_local_root(&place->f->settings, place->root,
                                                &place->f->err),
                     0);
    resolver_fixture_reopen(place->f, false);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    void *inner = place->f;

    (void)resolver_fixture_teardown(&inner);
    temp_dir_remove(place->root);
    free(place);
    return 0;
}

static int resolve_in(struct place *place, const char *id, const char *filename,
                      struct hc_file *file)
{
    struct hc_file_request request = {.repo = {.id = id}, .filename = filename};

    return hc_resolve_file(place->f->resolver, &request, NULL, file, &place->f->err);
}

static void a_directory_is_found_by_name_and_by_path(void **state)
{
    struct place *place = *state;
    char *path = temp_dir_path(place->root, "own");
    struct hc_file file;

    assert_int_equal(resolve_in(place, "own", "config.json", &file), 0);
    assert_int_equal(file.source, HC_SOURCE_LOCAL);
    assert_string_equal(file.cache_path, "");
    assert_string_equal(file.filename, "config.json");
    assert_content(&file, "local");
    hc_file_clear(&file);

    assert_int_equal(resolve_in(place, path, "sub/a.txt", &file), 0);
    assert_int_equal(file.size_bytes, 3);
    hc_file_clear(&file);
    free(path);
}

static void a_file_that_is_not_there_is_not_asked_of_the_hub(void **state)
{
    struct place *place = *state;
    struct hc_file file;

    assert_int_equal(resolve_in(place, "own", "nothing", &file), -1);
    assert_int_equal(place->f->err.reason, HC_ENTRY_NOT_FOUND);
    assert_int_equal(test_hub_count(place->f->hub, NULL, NULL), 0);
}

static void nothing_outside_the_root_can_be_reached(void **state)
{
    struct place *place = *state;
    char *link = temp_dir_path(place->root, "own/link.txt");
    char *target = temp_dir_path(place->f->dir, "secret.txt");
    char *way_out = temp_dir_path(place->root, "../");
    struct hc_file file;

    assert_int_equal(symlink(target, link), 0);

    assert_int_equal(resolve_in(place, "own", "link.txt", &file), -1);
    assert_int_equal(place->f->err.reason, HC_ENTRY_NOT_FOUND);
    assert_int_equal(resolve_in(place, place->f->dir, "secret.txt", &file), -1);
    assert_int_equal(place->f->err.reason, HC_INVALID_REPO_ID);
    assert_int_equal(resolve_in(place, way_out, "etc/passwd", &file), -1);
    assert_int_equal(place->f->err.reason, HC_INVALID_REPO_ID);
    free(link);
    free(target);
    free(way_out);
}

static void a_local_snapshot_counts_what_is_there(void **state)
{
    struct place *place = *state;
    struct hc_snapshot_request request = {.repo = {.id = "own"}, .list_files = true};
    struct hc_snapshot answer;

    assert_int_equal(hc_resolve_snapshot(place->f->resolver, &request, NULL, &answer,
                                         &place->f->err),
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
        cmocka_unit_test_setup_teardown(a_directory_is_found_by_name_and_by_path, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_file_that_is_not_there_is_not_asked_of_the_hub,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_outside_the_root_can_be_reached, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_local_snapshot_counts_what_is_there, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
