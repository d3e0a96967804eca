/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: nothing visible is unfinished or wrong, whatever fails. A file and a
 * snapshot are resolved into an empty cache while any one system call on the volume fails
 * (full disk, I/O error) or is the process's last: fault_fixture.h.
 */
#include "fault_fixture.h"

#include <errno.h>
#include <string.h>

enum { CALLS_MIN = 15 };

static int resolve_one_file(struct hc_resolver *resolver, struct hc_error *err)
{
    struct hc_file_request request = {.repo = {.id = "org/model"},
                                      .filename = "weights.bin"};
    struct hc_file file;

    if (hc_resolve_file(resolver, &request, NULL, &file, err) < 0)
        return -1;
    hc_file_clear(&file);
    return 0;
}

static int resolve_snapshot_of_all(struct hc_resolver *resolver, struct hc_error *err)
{
    struct hc_snapshot_request request = {.repo = {.id = "org/model"}};
    struct hc_snapshot snapshot;

    if (hc_resolve_snapshot(resolver, &request, NULL, &snapshot, err) < 0)
        return -1;
    hc_snapshot_clear(&snapshot);
    return 0;
}

static const struct fault_action one = {.name = "file",
                                        .folder = REPO_FOLDER,
                                        .act = resolve_one_file,
                                        .calls_min = CALLS_MIN};
static const struct fault_action all = {.name = "snapshot",
                                        .folder = REPO_FOLDER,
                                        .act = resolve_snapshot_of_all,
                                        .calls_min = CALLS_MIN};

static void a_file_survives_a_full_disk_at_every_call(void **state)
{
    fault_fail_everywhere(*state, &one, ENOSPC);
}

static void a_file_survives_an_io_error_at_every_call(void **state)
{
    fault_fail_everywhere(*state, &one, EIO);
}

static void a_snapshot_survives_a_full_disk_at_every_call(void **state)
{
    fault_fail_everywhere(*state, &all, ENOSPC);
}

static void a_file_survives_death_at_every_call(void **state)
{
    fault_die_everywhere(*state, &one);
}

static void a_snapshot_survives_death_at_every_call(void **state)
{
    fault_die_everywhere(*state, &all);
}

/* The bytes of all files are right, as links or as files. */
static void a_volume_without_symlinks_has_the_files_whatever_it_says(void **state)
{
    static const int of_the_name[] = {ENOSPC, EDQUOT, ENAMETOOLONG, ENOENT};
    struct fixture *f = *state;

    for (int errnum = 1; errnum <= EHWPOISON; errnum++) {
        bool may_fail = !strerrordesc_np(errnum);
        struct hc_error err;

        for (size_t i = 0; i < sizeof of_the_name / sizeof *of_the_name; i++)
            may_fail = may_fail || errnum == of_the_name[i];
        if (may_fail)
            continue;
        fault_start_afresh(f);
        fault_refuse("symlinkat", errnum);
        if (resolve_one_file(f->resolver, &err) < 0 ||
            resolve_snapshot_of_all(f->resolver, &err) < 0)
            fail_msg("errno %d: %s", errnum, err.message);
        fault_disarm();
        fault_assert_nothing_wrong(f, REPO_FOLDER);
    }
}

static int expect_contents(void **state)
{
    static const char *const right[] = {"{\"v\": 1}", "# model\n", "", "nested",
                                        "0123456789abcdef"};

    (void)state;
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        fault_expect_content(right[i], strlen(right[i]));
    return 0;
}

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, resolver_fixture_setup,                        \
                                    resolver_fixture_teardown)

int main(int argc, char **argv)
{
    static const struct fault_action *const actions[] = {&one, &all, NULL};
    const struct CMUnitTest tests[] = {
        test(a_file_survives_a_full_disk_at_every_call),
        test(a_file_survives_an_io_error_at_every_call),
        test(a_snapshot_survives_a_full_disk_at_every_call),
        test(a_volume_without_symlinks_has_the_files_whatever_it_says),
        test(a_file_survives_death_at_every_call),
        test(a_snapshot_survives_death_at_every_call),
    };
    int died = fault_dies(argc, argv, actions);

    return died >= 0 ? died : cmocka_run_group_tests(tests, expect_contents, NULL);
}
