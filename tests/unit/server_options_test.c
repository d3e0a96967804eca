/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the file replaces the environment's defaults, and flags replace the file's
 * values, lists as a whole. Durations and sizes may have units. An invalid value is
 * refused with the name of its option.
 */
#include <base/auto.h>
#include <base/error.h>
#include <server/option.h>
#include <server/options.h>

#include <string.h>
#include <test.h>

enum { ARGUMENTS_MAX = 16 };

/* argp permutes and getopt reads a vector of char *. */
static int options_load(struct hc_options *options, const char *const *flags,
                        struct hc_error *err)
{
    const char *arguments[ARGUMENTS_MAX] = {"hubcached"};
    char *mutable[ARGUMENTS_MAX];
    int count = 1;

    for (size_t i = 0; flags[i]; i++)
        arguments[count++] = flags[i];
    memcpy(mutable, arguments, sizeof mutable);
    return hc_options_load(options, count, mutable, err);
}

static void without_flags_the_defaults_hold(void **state)
{
    struct hc_options options;
    struct hc_error err;

    (void)state;
    (void)setenv("HF_HUB_CACHE", "/the/cache", 1); /* NOLINT(concurrency-mt-unsafe) */
    assert_int_equal(options_load(&options, (const char *const[]){NULL}, &err), 0);

    assert_int_equal(options.listen.count, 1);
    assert_string_equal(options.listen.items[0], "127.0.0.1:50051");
    assert_string_equal(options.http_listen, "off");
    assert_string_equal(options.settings.cache_dir, "/the/cache");
    assert_int_equal(options.settings.max_staleness_ms, 60000);
    assert_int_equal(options.settings.connections, 16);
    assert_int_equal(options.settings.download_memory, HC_DOWNLOAD_MEMORY);
    assert_int_equal(options.settings.min_split_size, HC_MIN_SPLIT_SIZE);
    assert_int_equal(options.settings.tree_memory, HC_TREE_MEMORY);
    assert_int_equal(options.settings.confirm_after_ms, HC_CONFIRM_AFTER_MS);
    assert_int_equal(options.workers, 24);
    assert_int_equal(options.disk_workers, 8);
    assert_int_equal(options.queue, 4096);
    assert_int_equal(options.max_connection_age_ms, 1800000);
    assert_int_equal(options.max_connection_idle_ms, 900000);
    assert_int_equal(options.grace_period_ms, 30000);
    assert_string_equal(options.log_level, "info");
    hc_options_clear(&options);
}

static void flags_replace_the_values_and_lists_of_the_file(void **state)
{
    char *dir = temp_dir_make();
    HC_AUTO_FREE char *file = temp_dir_path(dir, "config.yaml");
    struct hc_options options;
    struct hc_error err;

    (void)state;
    temp_dir_write(dir, "config.yaml",
                   "listen: [a:1, b:2]\nlocal-root: [/x, /y]\nworkers: 3\nqueue: 5\n");
    assert_int_equal(options_load(&options,
                                  (const char *const[]){"--listen=c:3", "--config", file,
                                                        "--listen", "d:4", "--workers=7",
                                                        NULL},
                                  &err),
                     0);

    assert_int_equal(options.listen.count, 2);
    assert_string_equal(options.listen.items[0], "c:3");
    assert_string_equal(options.listen.items[1], "d:4");
    assert_int_equal(options.settings.local_root_count, 2);
    assert_int_equal(options.workers, 7);
    assert_int_equal(options.queue, 5);
    hc_options_clear(&options);
    temp_dir_remove(dir);
}

static void durations_may_have_units(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } durations[] = {{"0", 0},       {"90", 90000},  {"500ms", 500},
                     {"60s", 60000}, {"5m", 300000}, {"1h", 3600000}};
    const struct hc_option *option = hc_option_find("grace-period");

    (void)state;
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        struct hc_options options = {0};
        struct hc_error err;

        assert_int_equal(hc_option_set(&options, option, durations[i].text, &err), 0);
        assert_int_equal(options.grace_period_ms, durations[i].ms);
    }
}

static void sizes_are_read_in_powers_of_a_thousand(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } sizes[] = {{"1", 1}, {"20k", 20000}, {"3M", 3000000}, {"4G", UINT64_C(4000000000)}};
    const struct hc_option *option = hc_option_find("bytes-per-second");

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct hc_options options = {0};
        struct hc_error err;

        assert_int_equal(hc_option_set(&options, option, sizes[i].text, &err), 0);
        assert_int_equal(options.settings.bytes_per_second, sizes[i].bytes);
    }
}

static void limits_of_downloads_come_from_the_file_and_from_flags(void **state)
{
    char *dir = temp_dir_make();
    HC_AUTO_FREE char *file = temp_dir_path(dir, "config.yaml");
    struct hc_options options;
    struct hc_error err;

    (void)state;
    temp_dir_write(dir, "config.yaml",
                   "download-memory: 8M\nmin-split-size: 1G\ntakeover-after: 1m\n"
                   "confirm-after: 250ms\n"
                   "hub-access: caller\nhub-access-ttl: 1h\n"
                   "tree-memory: 9M\n");
    assert_int_equal(options_load(&options,
                                  (const char *const[]){"--config", file,
                                                        "--connections=4",
                                                        "--min-split-size=16M", NULL},
                                  &err),
                     0);

    assert_int_equal(options.settings.connections, 4);
    assert_int_equal(options.settings.download_memory, 8000000);
    assert_int_equal(options.settings.min_split_size, 16000000);
    assert_int_equal(options.settings.tree_memory, 9000000);
    assert_int_equal(options.settings.takeover_ms, 60000);
    assert_int_equal(options.settings.hub_access, HC_HUB_ACCESS_CALLER);
    assert_int_equal(options.settings.hub_access_ttl_ms, 3600 * 1000);
    assert_int_equal(options.settings.confirm_after_ms, 250);
    hc_options_clear(&options);
    temp_dir_remove(dir);
}

static void mirrors_keep_their_sequence(void **state)
{
    struct hc_options options;
    struct hc_error err;

    (void)state;
    assert_int_equal(options_load(&options,
                                  (const char *const[]){"--mirror=http://a", "--mirror",
                                                        "http://b", NULL},
                                  &err),
                     0);
    assert_int_equal(options.settings.mirror_count, 2);
    assert_string_equal(options.settings.mirrors[0], "http://a");
    assert_string_equal(options.settings.mirrors[1], "http://b");
    hc_options_clear(&options);
}

static void values_that_would_fail_at_the_start_are_refused(void **state)
{
    static const struct {
        const char *flag, *value, *message;
    } bad[] = {{"--mirror", "foo", "mirror: 'foo' is no http"},
               {"--mirror", "https://h/?a", "mirror: 'https://h/?a' is no http"},
               {"--mirror", "https://user:secret@host", "mirror: no credentials"},
               {"--mirror", "ftp://user:secret@host", "mirror: no credentials"},
               {"--endpoint", "https://user:secret@host", "endpoint: no credentials"},
               {"--hub-access", "call", "hub-access: 'call' is not server|caller"},
               {"--takeover-after", "0", "takeover-after: 0ms is less than 2s"},
               {"--takeover-after", "1999ms", "takeover-after: 1999ms is less"},
               {"--keep-interval", "999ms", "keep-interval: 999ms is less than 1s"},
               {"--ca-file", "/no/such/file",
                "ca-file: cannot read '/no/such/file': No"}};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct hc_options options;
        struct hc_error err;

        assert_int_equal(
            options_load(&options, (const char *const[]){bad[i].flag, bad[i].value, NULL},
                         &err),
            -1);
        assert_int_equal(err.reason, HC_INVALID_OPTIONS);
        assert_string_equal(err.field, bad[i].flag + 2);
        assert_non_null(strstr(err.message, bad[i].message));
        assert_null(strstr(err.message, "secret"));
        hc_options_clear(&options);
    }
}

static void an_invalid_value_is_refused_by_the_name_of_its_option(void **state)
{
    static const char *const bad[][2] = {{"grace-period", "-1s"},
                                         {"grace-period", "1w"},
                                         {"grace-period", ""},
                                         {"grace-period", "1 s"},
                                         {"bytes-per-second", "0"},
                                         {"bytes-per-second", "1kB"},
                                         {"bytes-per-second", "99999999999T"},
                                         {"download-memory", "0"},
                                         {"download-memory", "32MiB"},
                                         {"min-split-size", "-1"},
                                         {"workers", "0"},
                                         {"workers", "1000001"},
                                         {"workers", "+1"},
                                         {"workers", "1x"},
                                         {"offline", "yes"},
                                         {"log-level", "warning"},
                                         {"log-level", "info|warn"},
                                         {"log-format", ""},
                                         {"cache-dir", ""},
                                         {"listen", "a\nb"},
                                         {"grace-period", "99999999999999999999"}};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct hc_options options = {0};
        struct hc_error err = {0};

        assert_int_equal(hc_option_set(&options, hc_option_find(bad[i][0]), bad[i][1],
                                       &err),
                         -1);
        assert_int_equal(err.reason, HC_INVALID_OPTIONS);
        assert_string_equal(err.field, bad[i][0]);
        hc_options_clear(&options);
    }
}

static void errors_in_files_name_their_line(void **state)
{
    static const char *const bad[][2] = {
        {"queue: 1\nnope: 2\n", "line 2: there is no option 'nope'"},
        {"queue: 1\nconfig: x\n", "line 2: there is no option 'config'"},
        {"queue: many\n", "line 1: queue: 'many' is not"},
        {"\n\nqueue: [1, 2]\n", "line 3: queue: the option has one value, not a list"},
        {"listen: {a: b}\n", "line 1: listen: the value must be a scalar"},
        {"queue: 1\n  x: [\n", "line "},
        {"- a\n", "must consist of 'option: value' lines"}};
    char *dir = temp_dir_make();
    HC_AUTO_FREE char *file = temp_dir_path(dir, "config.yaml");

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct hc_options options;
        struct hc_error err = {0};

        temp_dir_write(dir, "config.yaml", bad[i][0]);
        assert_int_equal(options_load(&options,
                                      (const char *const[]){"--config", file, NULL},
                                      &err),
                         -1);
        assert_int_equal(err.reason, HC_INVALID_OPTIONS);
        assert_non_null(strstr(err.message, bad[i][1]));
        hc_options_clear(&options);
    }
    temp_dir_remove(dir);
}

static void a_token_file_from_an_option_replaces_the_environments_token(void **state)
{
    char *dir = temp_dir_make();
    HC_AUTO_FREE char *file = temp_dir_path(dir, "token");
    struct hc_options options;
    struct hc_error err;

    (void)state;
    temp_dir_write(dir, "token", "hf_of_the_file");
    /* NOLINTNEXTLINE(concurrency-mt-unsafe) */
    (void)setenv("HF_TOKEN", "hf_of_the_environment", 1);
    assert_int_equal(options_load(&options,
                                  (const char *const[]){"--token-file", file, NULL},
                                  &err),
                     0);

    assert_null(options.settings.token);
    assert_string_equal(options.settings.token_file, file);
    (void)unsetenv("HF_TOKEN"); /* NOLINT(concurrency-mt-unsafe) */
    hc_options_clear(&options);
    temp_dir_remove(dir);
}

/* As a reload reads them: argp is not asked twice. */
static void options_are_loaded_again_from_the_file_of_now(void **state)
{
    char *dir = temp_dir_make();
    HC_AUTO_FREE char *file = temp_dir_path(dir, "config.yaml");
    struct hc_options first, again;
    struct hc_error err;

    (void)state;
    temp_dir_write(dir, "config.yaml", "queue: 5\nlisten: [a:1]\nlog-level: warn\n");
    assert_int_equal(options_load(&first,
                                  (const char *const[]){"--config", file, "--workers=7",
                                                        "--local-root=/x", NULL},
                                  &err),
                     0);
    temp_dir_write(dir, "config.yaml", "queue: 6\nlisten: [a:1]\nworkers: 8\n");
    assert_int_equal(hc_options_load_again(&again, &first, &err), 0);

    for (size_t i = 0; i < hc_option_count; i++) {
        const struct hc_option *option = &hc_option_table[i];
        bool has_changed =
            strcmp(option->name, "queue") == 0 || strcmp(option->name, "log-level") == 0;

        assert_int_equal(hc_option_is_equal(&first, &again, option), !has_changed);
    }
    assert_int_equal(again.queue, 6);
    assert_string_equal(again.log_level, "info");
    hc_options_clear(&again);
    temp_dir_write(dir, "config.yaml", "queue: none\n");
    assert_int_equal(hc_options_load_again(&again, &first, &err), -1);
    hc_options_clear(&again);
    hc_options_clear(&first);
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_flags_the_defaults_hold),
        cmocka_unit_test(flags_replace_the_values_and_lists_of_the_file),
        cmocka_unit_test(durations_may_have_units),
        cmocka_unit_test(sizes_are_read_in_powers_of_a_thousand),
        cmocka_unit_test(limits_of_downloads_come_from_the_file_and_from_flags),
        cmocka_unit_test(mirrors_keep_their_sequence),
        cmocka_unit_test(values_that_would_fail_at_the_start_are_refused),
        cmocka_unit_test(an_invalid_value_is_refused_by_the_name_of_its_option),
        cmocka_unit_test(errors_in_files_name_their_line),
        cmocka_unit_test(a_token_file_from_an_option_replaces_the_environments_token),
        cmocka_unit_test(options_are_loaded_again_from_the_file_of_now),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
