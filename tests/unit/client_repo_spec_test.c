/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a repo of the cache may be named with its type, its revision and a path, as
 * `hf cache` and hf:// do; what names none is refused.
 */
#include "test.h"

#include "client/command/repo_spec.h"

#include <string.h>

static void assert_spec(const char *text, enum hc_repo_type type, const char *id,
                        const char *revision, const char *path)
{
    struct hc_repo_spec spec;
    struct hc_error err;

    assert_int_equal(hc_repo_spec_parse(text, NULL, &spec, &err), 0);
    assert_int_equal(spec.type, type);
    assert_string_equal(spec.id, id);
    assert_string_equal(spec.revision, revision);
    assert_string_equal(spec.path, path);
}

static void assert_refused(const char *text)
{
    struct hc_repo_spec spec;
    struct hc_error err;

    assert_int_equal(hc_repo_spec_parse(text, NULL, &spec, &err), -1);
    assert_int_equal(err.reason, HC_INVALID_REPO_ID);
    assert_string_equal(err.field, "repo_id");
}

static void an_id_alone_is_a_model(void **state)
{
    (void)state;
    assert_spec("gpt2", HC_REPO_MODEL, "gpt2", "", "");
    assert_spec("org/name", HC_REPO_MODEL, "org/name", "", "");
    assert_spec("modeling/name", HC_REPO_MODEL, "modeling/name", "", "");
}

static void a_type_before_the_id_is_taken_singular_and_plural(void **state)
{
    (void)state;
    assert_spec("model/gpt2", HC_REPO_MODEL, "gpt2", "", "");
    assert_spec("dataset/org/name", HC_REPO_DATASET, "org/name", "", "");
    assert_spec("datasets/org/name", HC_REPO_DATASET, "org/name", "", "");
    assert_spec("spaces/org/name", HC_REPO_SPACE, "org/name", "", "");
    assert_spec("kernel/org/name", HC_REPO_KERNEL, "org/name", "", "");
    assert_spec("model/datasets/name", HC_REPO_MODEL, "datasets/name", "", "");
}

static void a_revision_follows_an_at_sign(void **state)
{
    (void)state;
    assert_spec("org/name@v1", HC_REPO_MODEL, "org/name", "v1", "");
    assert_spec("dataset/a/b@feature/x", HC_REPO_DATASET, "a/b", "feature/x", "");
    assert_spec("a/b@refs/pr/1", HC_REPO_MODEL, "a/b", "refs/pr/1", "");
    assert_spec("a/b@c@d", HC_REPO_MODEL, "a/b", "c@d", "");
}

static void a_uri_has_a_path_after_id_or_revision(void **state)
{
    (void)state;
    assert_spec("hf://gpt2", HC_REPO_MODEL, "gpt2", "", "");
    assert_spec("hf://models/org/name", HC_REPO_MODEL, "org/name", "", "");
    assert_spec("hf://datasets/a/b/dir/f.csv", HC_REPO_DATASET, "a/b", "", "dir/f.csv");
    assert_spec("hf://a/b@v1/dir/f", HC_REPO_MODEL, "a/b", "v1", "dir/f");
    assert_spec("hf://a/b@feature%2Fx/f", HC_REPO_MODEL, "a/b", "feature/x", "f");
    assert_spec("hf://a/b@refs/pr/1/f", HC_REPO_MODEL, "a/b", "refs/pr/1", "f");
    assert_spec("hf://a/b@refs/pr/1", HC_REPO_MODEL, "a/b", "refs/pr/1", "");
    assert_spec("hf://a/b@refs/convert/parquet/x", HC_REPO_MODEL, "a/b",
                "refs/convert/parquet", "x");
}

static void options_say_what_the_text_does_not(void **state)
{
    const struct hc_client_repo options = {.type = HC_REPO_DATASET, .revision = "v1"};
    struct hc_repo_spec spec;
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_repo_spec_parse("org/name", &options, &spec, &err), 0);
    assert_int_equal(spec.type, HC_REPO_DATASET);
    assert_string_equal(spec.revision, "v1");
    assert_int_equal(hc_repo_spec_parse("model/org/name@v2", &options, &spec, &err), 0);
    assert_int_equal(spec.type, HC_REPO_MODEL);
    assert_string_equal(spec.revision, "v2");
}

static void a_revision_of_the_options_is_not_cut(void **state)
{
    char revision[HC_REPO_SPEC_TEXT_MAX + 1];
    const struct hc_client_repo options = {.revision = revision};
    struct hc_repo_spec spec;
    struct hc_error err;

    (void)state;
    memset(revision, 'v', sizeof revision - 1);
    revision[sizeof revision - 1] = '\0';
    assert_int_equal(hc_repo_spec_parse("org/name", &options, &spec, &err), -1);
    revision[sizeof revision - 2] = '\0';
    assert_int_equal(hc_repo_spec_parse("org/name", &options, &spec, &err), 0);
    assert_string_equal(spec.revision, revision);
}

static void what_names_no_repo_is_refused(void **state)
{
    char text[HC_REPO_SPEC_TEXT_MAX + 64];

    (void)state;
    assert_refused("");
    assert_refused("model/");
    assert_refused("@main");
    assert_refused("org/name@");
    assert_refused("a/b/c");
    assert_refused("../etc");
    assert_refused("hf://");
    assert_refused("https://host/org/name");
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_refused(text);
    memcpy(text, "org/name@", strlen("org/name@"));
    assert_refused(text);
}

static void a_repo_is_written_as_it_is_read(void **state)
{
    char text[256];

    (void)state;
    hc_repo_spec_format(HC_REPO_DATASET, "org/name", text);
    assert_string_equal(text, "dataset/org/name");
    assert_spec(text, HC_REPO_DATASET, "org/name", "", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_alone_is_a_model),
        cmocka_unit_test(a_type_before_the_id_is_taken_singular_and_plural),
        cmocka_unit_test(a_revision_follows_an_at_sign),
        cmocka_unit_test(a_uri_has_a_path_after_id_or_revision),
        cmocka_unit_test(options_say_what_the_text_does_not),
        cmocka_unit_test(a_revision_of_the_options_is_not_cut),
        cmocka_unit_test(what_names_no_repo_is_refused),
        cmocka_unit_test(a_repo_is_written_as_it_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
