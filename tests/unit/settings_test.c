/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: each variable of the environment has the meaning that the reference client
 * gives it.
 */
#include "test.h"

#include <base/error.h>
#include <hubcache/settings.h>

#include <stdlib.h>
#include <string.h>

/* NAME=value lines that stand for a whole environment; settings are cleared by teardown.
 */
static int settings_load(struct hc_settings *settings, const char *const *environment,
                         struct hc_error *err)
{
    assert_int_equal(clearenv(), 0);                      // NOLINT(concurrency-mt-unsafe)
    assert_int_equal(setenv("HOME", "/home/user", 1), 0); // NOLINT(concurrency-mt-unsafe)
    for (; *environment; environment++) {
        char name[64];
        const char *equals = strchr(*environment, '=');

        assert_non_null(equals);
        memcpy(name, *environment, (size_t)(equals - *environment));
        name[equals - *environment] = '\0';
        assert_int_equal(setenv(name, equals + 1, 1), 0); // NOLINT(concurrency-mt-unsafe)
    }
    return hc_settings_load(settings, err);
}

#define ENVIRONMENT(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static struct hc_settings settings_loaded(const char *const *environment)
{
    struct hc_settings settings;
    struct hc_error err;

    assert_int_equal(settings_load(&settings, environment, &err), 0);
    return settings;
}

static void assert_cache_dir(const char *const *environment, const char *expected)
{
    struct hc_settings settings = settings_loaded(environment);

    assert_string_equal(settings.cache_dir, expected);
    hc_settings_clear(&settings);
}

static void an_empty_environment_gives_the_defaults(void **state)
{
    struct hc_settings settings = settings_loaded(ENVIRONMENT());

    (void)state;
    assert_string_equal(settings.cache_dir, "/home/user/.cache/huggingface/hub");
    assert_string_equal(settings.token_file, "/home/user/.cache/huggingface/token");
    assert_string_equal(settings.endpoint, "https://huggingface.co");
    assert_null(settings.token);
    assert_null(settings.user_agent);
    assert_false(settings.offline || settings.no_symlinks || settings.no_implicit_token);
    assert_int_equal(settings.metadata_timeout_s, 10);
    assert_int_equal(settings.download_timeout_s, 10);
    assert_int_equal(settings.max_staleness_ms, 60000);
    assert_int_equal(settings.retries, 5);
    assert_int_equal(settings.retry_base_ms, 250);
    assert_int_equal(settings.snapshot_workers, 0);
    assert_int_equal(settings.connections, 16);
    hc_settings_clear(&settings);
}

static void the_cache_is_where_the_nearest_variable_says(void **state)
{
    (void)state;
    assert_cache_dir(ENVIRONMENT("XDG_CACHE_HOME=/x"), "/x/huggingface/hub");
    assert_cache_dir(ENVIRONMENT("XDG_CACHE_HOME=/x", "HF_HOME=/h/"), "/h/hub");
    assert_cache_dir(ENVIRONMENT("HF_HOME=/h", "HUGGINGFACE_HUB_CACHE=/old"), "/old");
    assert_cache_dir(ENVIRONMENT("HUGGINGFACE_HUB_CACHE=/old", "HF_HUB_CACHE=/new"),
                     "/new");
}

static void set_but_empty_is_the_working_directory(void **state)
{
    (void)state;
    assert_cache_dir(ENVIRONMENT("HF_HUB_CACHE="), ".");
    assert_cache_dir(ENVIRONMENT("HF_HOME="), "hub");
}

static void home_and_variables_are_expanded(void **state)
{
    (void)state;
    assert_cache_dir(ENVIRONMENT("HF_HUB_CACHE=~/c"), "/home/user/c");
    assert_cache_dir(ENVIRONMENT("HF_HUB_CACHE=~"), "/home/user");
    assert_cache_dir(ENVIRONMENT("HOME=/", "HF_HUB_CACHE=~"), "/");
    assert_cache_dir(ENVIRONMENT("HOME=/h/", "HF_HUB_CACHE=~/c"), "/h/c");
    assert_cache_dir(ENVIRONMENT("A=x", "HF_HUB_CACHE=/$A/${A}b/$A-"), "/x/xb/x-");
    assert_cache_dir(ENVIRONMENT("HF_HUB_CACHE=/$NOPE/${NOPE}/$/${"),
                     "/$NOPE/${NOPE}/$/${");
    assert_cache_dir(ENVIRONMENT("HF_HUB_CACHE=~no-such-user/c"), "~no-such-user/c");
    assert_cache_dir(ENVIRONMENT("A=$B", "B=x", "HF_HUB_CACHE=/$A"), "/$B");
}

static void the_endpoint_has_no_slash_at_its_end(void **state)
{
    struct hc_settings settings =
        settings_loaded(ENVIRONMENT("HF_ENDPOINT=http://hub:1/p//"));

    (void)state;
    assert_string_equal(settings.endpoint, "http://hub:1/p");
    hc_settings_clear(&settings);
}

static void staging_has_an_endpoint_and_a_token_of_its_own(void **state)
{
    struct hc_settings settings =
        settings_loaded(ENVIRONMENT("HUGGINGFACE_CO_STAGING=1", "HF_ENDPOINT=http://x",
                                    "HF_TOKEN_PATH=/t"));

    (void)state;
    assert_string_equal(settings.endpoint, "https://hub-ci.huggingface.co");
    assert_string_equal(settings.token_file,
                        "/home/user/.cache/huggingface_staging/token");
    assert_string_equal(settings.cache_dir, "/home/user/.cache/huggingface/hub");
    hc_settings_clear(&settings);
}

static void assert_offline(const char *const *environment, bool expected)
{
    struct hc_settings settings = settings_loaded(environment);

    assert_int_equal(settings.offline, expected);
    hc_settings_clear(&settings);
}

static void offline_is_the_first_of_two_that_is_not_empty(void **state)
{
    (void)state;
    assert_offline(ENVIRONMENT("HF_HUB_OFFLINE=1"), true);
    assert_offline(ENVIRONMENT("TRANSFORMERS_OFFLINE=yes"), true);
    assert_offline(ENVIRONMENT("HF_HUB_OFFLINE=0", "TRANSFORMERS_OFFLINE=1"), false);
    assert_offline(ENVIRONMENT("HF_HUB_OFFLINE=", "TRANSFORMERS_OFFLINE=1"), true);
}

static void truth_is_one_of_four_words(void **state)
{
    (void)state;
    assert_offline(ENVIRONMENT("HF_HUB_OFFLINE=on"), true);
    assert_offline(ENVIRONMENT("HF_HUB_OFFLINE=True"), true);
    assert_offline(ENVIRONMENT("HF_HUB_OFFLINE=YES"), true);
    assert_offline(ENVIRONMENT("HF_HUB_OFFLINE= 1"), false);
    assert_offline(ENVIRONMENT("HF_HUB_OFFLINE=y"), false);
    assert_offline(ENVIRONMENT("HF_HUB_OFFLINE=t"), false);
    assert_offline(ENVIRONMENT("HF_HUB_OFFLINE=2"), false);
}

static void a_token_is_trimmed_and_an_empty_one_is_none(void **state)
{
    struct hc_settings settings =
        settings_loaded(ENVIRONMENT("HF_TOKEN=", "HUGGING_FACE_HUB_TOKEN= hf_x\n"));

    (void)state;
    assert_string_equal(settings.token, "hf_x");
    hc_settings_clear(&settings);
    settings =
        settings_loaded(ENVIRONMENT("HF_TOKEN= \n", "HUGGING_FACE_HUB_TOKEN=hf_y"));
    assert_null(settings.token);
    hc_settings_clear(&settings);
}

static void assert_timeout(const char *value, unsigned expected)
{
    struct hc_settings settings;
    struct hc_error err;

    assert_int_equal(settings_load(&settings, ENVIRONMENT(value), &err), 0);
    assert_int_equal(settings.metadata_timeout_s, expected);
    hc_settings_clear(&settings);
}

static void a_timeout_is_a_python_integer_and_0_is_the_default(void **state)
{
    (void)state;
    assert_timeout("HF_HUB_ETAG_TIMEOUT=30", 30);
    assert_timeout("HF_HUB_ETAG_TIMEOUT=0", 10);
    assert_timeout("HF_HUB_ETAG_TIMEOUT= +7 ", 7);
    assert_timeout("HF_HUB_ETAG_TIMEOUT=1_0", 10);
}

static void a_timeout_that_is_no_integer_is_refused(void **state)
{
    static const char *const bad[] = {"HF_HUB_ETAG_TIMEOUT=",
                                      "HF_HUB_ETAG_TIMEOUT=2.5",
                                      "HF_HUB_DOWNLOAD_TIMEOUT=ten",
                                      "HF_HUB_DOWNLOAD_TIMEOUT=-1",
                                      "HF_HUB_DOWNLOAD_TIMEOUT=1__0",
                                      "HF_HUB_DOWNLOAD_TIMEOUT=1 0",
                                      "HF_HUB_DOWNLOAD_TIMEOUT=99999999999999999999"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct hc_settings settings;
        struct hc_error err;

        assert_int_equal(settings_load(&settings, ENVIRONMENT(bad[i]), &err), -1);
        assert_int_equal(err.reason, HC_INVALID_OPTIONS);
        assert_non_null(strstr(bad[i], err.field));
        hc_settings_clear(&settings);
    }
}

static void the_other_switches_are_read(void **state)
{
    struct hc_settings settings = settings_loaded(
        ENVIRONMENT("HF_HUB_DISABLE_SYMLINKS=1", "HF_HUB_DISABLE_IMPLICIT_TOKEN=ON",
                    "HF_HUB_USER_AGENT_ORIGIN=me", "HF_TOKEN_PATH=~/t"));

    (void)state;
    assert_true(settings.no_symlinks);
    assert_true(settings.no_implicit_token);
    assert_string_equal(settings.user_agent, "me");
    assert_string_equal(settings.token_file, "/home/user/t");
    hc_settings_clear(&settings);
}

static void assert_ca_file(const char *const *environment, const char *expected)
{
    struct hc_settings settings = settings_loaded(environment);

    assert_string_equal(settings.ca_file, expected);
    hc_settings_clear(&settings);
}

static void authorities_are_where_the_clients_look_for_them(void **state)
{
    struct hc_settings settings = settings_loaded(ENVIRONMENT("SSL_CERT_FILE="));

    (void)state;
    assert_null(settings.ca_file);
    hc_settings_clear(&settings);
    assert_ca_file(ENVIRONMENT("CURL_CA_BUNDLE=/c"), "/c");
    assert_ca_file(ENVIRONMENT("CURL_CA_BUNDLE=/c", "REQUESTS_CA_BUNDLE=/r"), "/r");
    assert_ca_file(ENVIRONMENT("REQUESTS_CA_BUNDLE=/r", "SSL_CERT_DIR=/d"), "/d");
    assert_ca_file(ENVIRONMENT("SSL_CERT_DIR=/d", "SSL_CERT_FILE=/f"), "/f");
}

static void local_roots_are_copied_in_order(void **state)
{
    struct hc_settings settings = {0};
    struct hc_error err;
    char dir[] = "/a";

    (void)state;
    assert_int_equal(hc_settings_add_local_root(&settings, dir, &err), 0);
    dir[1] = 'b';
    assert_int_equal(hc_settings_add_local_root(&settings, dir, &err), 0);
    assert_int_equal(settings.local_root_count, 2);
    assert_string_equal(settings.local_roots[0], "/a");
    assert_string_equal(settings.local_roots[1], "/b");
    hc_settings_clear(&settings);
    assert_int_equal(settings.local_root_count, 0);
}

static void mirrors_are_copied_in_order(void **state)
{
    struct hc_settings settings = {0};
    struct hc_error err;
    char url[] = "http://a";

    (void)state;
    assert_int_equal(hc_settings_add_mirror(&settings, url, &err), 0);
    url[7] = 'b';
    assert_int_equal(hc_settings_add_mirror(&settings, url, &err), 0);
    assert_int_equal(settings.mirror_count, 2);
    assert_string_equal(settings.mirrors[0], "http://a");
    assert_string_equal(settings.mirrors[1], "http://b");
    hc_settings_clear(&settings);
    assert_int_equal(settings.mirror_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_environment_gives_the_defaults),
        cmocka_unit_test(the_cache_is_where_the_nearest_variable_says),
        cmocka_unit_test(set_but_empty_is_the_working_directory),
        cmocka_unit_test(home_and_variables_are_expanded),
        cmocka_unit_test(the_endpoint_has_no_slash_at_its_end),
        cmocka_unit_test(staging_has_an_endpoint_and_a_token_of_its_own),
        cmocka_unit_test(offline_is_the_first_of_two_that_is_not_empty),
        cmocka_unit_test(truth_is_one_of_four_words),
        cmocka_unit_test(a_token_is_trimmed_and_an_empty_one_is_none),
        cmocka_unit_test(a_timeout_is_a_python_integer_and_0_is_the_default),
        cmocka_unit_test(a_timeout_that_is_no_integer_is_refused),
        cmocka_unit_test(the_other_switches_are_read),
        cmocka_unit_test(authorities_are_where_the_clients_look_for_them),
        cmocka_unit_test(local_roots_are_copied_in_order),
        cmocka_unit_test(mirrors_are_copied_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
