/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: requests have the URL that the Hub expects, whatever characters a name
 * has, and a token never follows a redirect to another scheme, host or port.
 */
#include "test.h"

#include <hub/url.h>

#include <string.h>

static const char endpoint[] = "https://hub.example";

static struct hc_repo url_repo_of(enum hc_repo_type type, const char *id)
{
    struct hc_repo repo;
    struct hc_error err;

    assert_int_equal(hc_repo_init(&repo, type, id, &err), 0);
    return repo;
}

static void a_file_is_asked_for_under_its_encoded_name(void **state)
{
    static const struct {
        enum hc_repo_type type;
        const char *id, *revision, *path, *url;
    } rows[] = {
        {HC_REPO_MODEL, "gpt2", "main", "config.json", "/gpt2/resolve/main/config.json"},
        {HC_REPO_MODEL, "org/m", "refs/pr/1", "a/b.txt",
         "/org/m/resolve/refs%2Fpr%2F1/a/b.txt"},
        {HC_REPO_DATASET, "org/d", "v1.0", "x y+z%.txt",
         "/datasets/org/d/resolve/v1.0/x%20y%2Bz%25.txt"},
        {HC_REPO_SPACE, "org/s", "main", "a\\b?c#d&e", //
         "/spaces/org/s/resolve/main/a%5Cb%3Fc%23d%26e"},
        {HC_REPO_KERNEL, "org/k", "main", "\xc3\xa9~_-.so",
         "/kernels/org/k/resolve/main/%C3%A9~_-.so"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hc_repo repo = url_repo_of(rows[i].type, rows[i].id);
        char url[HC_URL_MAX];
        struct hc_error err;

        assert_int_equal(hc_url_resolve(url, endpoint, &repo, rows[i].revision,
                                        rows[i].path, &err),
                         0);
        assert_memory_equal(url, endpoint, strlen(endpoint));
        assert_string_equal(url + strlen(endpoint), rows[i].url);
    }
}

static void the_api_is_asked_by_collection(void **state)
{
    struct hc_repo model = url_repo_of(HC_REPO_MODEL, "gpt2");
    struct hc_repo dataset = url_repo_of(HC_REPO_DATASET, "org/d");
    char url[HC_URL_MAX];
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_url_revision(url, endpoint, &model, "feature/x", &err), 0);
    assert_string_equal(url, "https://hub.example/api/models/gpt2/revision/feature%2Fx");
    assert_int_equal(hc_url_tree(url, endpoint, &dataset, "abc", &err), 0);
    assert_string_equal(url, "https://hub.example/api/datasets/org/d/tree/abc"
                             "?recursive=true&expand=false");
}

static void a_name_whose_url_is_too_long_is_refused(void **state)
{
    struct hc_repo repo = url_repo_of(HC_REPO_MODEL, "gpt2");
    char path[HC_URL_MAX / 3 + 1];
    char url[HC_URL_MAX];
    struct hc_error err;

    (void)state;
    memset(path, ' ', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_int_equal(hc_url_resolve(url, endpoint, &repo, "main", path, &err), -1);
    assert_int_equal(err.reason, HC_INVALID_FILENAME);
    assert_string_equal(err.field, "filename");
    assert_int_equal(hc_url_revision(url, endpoint, &repo, path, &err), -1);
    assert_int_equal(err.reason, HC_INVALID_REVISION);
}

static void a_location_is_seen_from_where_it_was_given(void **state)
{
    static const char base[] = "https://hub.example:8443/org/m/resolve/main/f?x=1";
    static const struct {
        const char *location, *url;
    } rows[] = {
        {"/api/resolve-cache/models/org/m/c/f?%2Forg%2Fm=&etag=%22a%22",
         "https://hub.example:8443/api/resolve-cache/models/org/m/c/"
         "f?%2Forg%2Fm=&etag=%22a%22"},
        {"other", "https://hub.example:8443/org/m/resolve/main/other"},
        {"?page=2", "https://hub.example:8443/org/m/resolve/main/f?page=2"},
        {"//cdn.example/x", "https://cdn.example/x"},
        {"http://cdn.example/a?Signature=b~c", "http://cdn.example/a?Signature=b~c"},
        {"http://cdn.example/a b", "http://cdn.example/a%20b"},
        {"../../../../../up", "https://hub.example:8443/up"},
        {"http://cdn.example/a?b#c d", "http://cdn.example/a?b"},
        {"", NULL},
        {"file:///etc/passwd", NULL},
        {"ftp://cdn.example/x", NULL},
        {"gopher://cdn.example/x", NULL},
        {"javascript:alert(1)", NULL},
        {"http://user:secret@cdn.example/x", NULL},
        {"//user@cdn.example/x", NULL},
        {"http://", NULL},
        {"http://cdn.example/\x01", NULL},
        {"http://cdn.example:99999/", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char url[HC_URL_MAX];
        bool is_good = hc_url_join(url, base, rows[i].location);

        if (is_good != (rows[i].url != NULL))
            fail_msg("'%s' is%s accepted", rows[i].location, is_good ? "" : " not");
        if (is_good)
            assert_string_equal(url, rows[i].url);
    }
}

static void a_location_that_does_not_fit_is_refused(void **state)
{
    char location[HC_URL_MAX + 8] = "/";
    char url[HC_URL_MAX];

    (void)state;
    memset(location + 1, 'a', sizeof location - 2);
    location[sizeof location - 1] = '\0';
    assert_false(hc_url_join(url, endpoint, location));
}

static void an_origin_is_scheme_host_and_port(void **state)
{
    static const struct {
        const char *a, *b;
        bool is_same;
    } rows[] = {
        {"https://h.example/a", "https://h.example/b?c", true},
        {"https://h.example/", "https://H.EXAMPLE:443/", true},
        {"http://h.example:80/", "http://h.example", true},
        {"http://h.example/", "https://h.example/", false},
        {"https://h.example/", "http://h.example/", false},
        {"https://h.example/", "https://h.example:8443/", false},
        {"https://h.example/", "https://h.example.evil/", false},
        {"https://h.example/", "https://sub.h.example/", false},
        {"https://h.example/", "https://evil.example/h.example", false},
        {"https://h.example/", "https://h.example@evil.example/", false},
        {"https://h.example/", "https://evil.example#@h.example/", false},
        {"https://h.example/", "no url", false},
        {"", "", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (hc_url_same_origin(rows[i].a, rows[i].b) != rows[i].is_same)
            fail_msg("'%s' and '%s'", rows[i].a, rows[i].b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_asked_for_under_its_encoded_name),
        cmocka_unit_test(the_api_is_asked_by_collection),
        cmocka_unit_test(a_name_whose_url_is_too_long_is_refused),
        cmocka_unit_test(a_location_is_seen_from_where_it_was_given),
        cmocka_unit_test(a_location_that_does_not_fit_is_refused),
        cmocka_unit_test(an_origin_is_scheme_host_and_port),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
