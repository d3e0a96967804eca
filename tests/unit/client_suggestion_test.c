/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a repo that is named as other programs name it leads to the command that means
 * the same; what may be an id or a directory leads to none.
 */
#include "test.h"

#include "client/command/suggestion.h"

#include <stdio.h>
#include <string.h>

static void assert_suggested(const char *subcommand, const char *repo,
                             const char *expected)
{
    struct hc_resolve_options options = {.repo.id = repo};
    char text[HC_SUGGESTION_MAX];

    assert_true(hc_suggestion_make(subcommand, &options, text));
    assert_string_equal(text, expected);
}

static void assert_not_suggested(const char *repo)
{
    struct hc_resolve_options options = {.repo.id = repo};
    char text[HC_SUGGESTION_MAX];

    assert_false(hc_suggestion_make("file", &options, text));
    assert_string_equal(text, "");
}

static void a_type_before_the_id_is_the_option(void **state)
{
    (void)state;
    assert_suggested("snapshot", "datasets/org/name",
                     "hubcache snapshot org/name --repo-type dataset");
    assert_suggested("snapshot", "spaces/org/name",
                     "hubcache snapshot org/name --repo-type space");
    assert_suggested("snapshot", "models/org/name",
                     "hubcache snapshot org/name --repo-type model");
    assert_suggested("snapshot", "kernels/org/name",
                     "hubcache snapshot org/name --repo-type kernel");
    assert_suggested("snapshot", "datasets/squad",
                     "hubcache snapshot squad --repo-type dataset");
    assert_suggested("file", "datasets/org/name/data/a.csv",
                     "hubcache file org/name data/a.csv --repo-type dataset");
}

static void a_name_of_the_list_of_repos_is_understood(void **state)
{
    (void)state;
    assert_suggested("snapshot", "model/org/name",
                     "hubcache snapshot org/name --repo-type model");
    assert_suggested("snapshot", "dataset/org/name@v1",
                     "hubcache snapshot org/name --repo-type dataset --revision v1");
    assert_not_suggested("model/name"); /* an organization may have this name */
    assert_not_suggested("models");
    assert_not_suggested("modeling/org/name");
}

static void a_revision_after_the_id_is_the_option(void **state)
{
    (void)state;
    assert_suggested("snapshot", "org/name@v1.0",
                     "hubcache snapshot org/name --revision v1.0");
    assert_suggested("snapshot", "gpt2@main", "hubcache snapshot gpt2 --revision main");
    assert_suggested("snapshot", "org/name@refs/pr/12",
                     "hubcache snapshot org/name --revision refs/pr/12");
    assert_suggested("snapshot", "org/name@refs/pr",
                     "hubcache snapshot org/name --revision refs/pr");
    assert_suggested("file", "org/name@refs/convert/parquet/a/b.json",
                     "hubcache file org/name a/b.json --revision refs/convert/parquet");
}

static void an_hf_name_is_understood_whole(void **state)
{
    (void)state;
    assert_suggested("snapshot", "hf://org/name", "hubcache snapshot org/name");
    assert_suggested("file", "hf://datasets/org/name@v1/a.csv",
                     "hubcache file org/name a.csv --repo-type dataset --revision v1");
    assert_suggested("snapshot", "hf://datasets/org/name/a.csv",
                     "hubcache file org/name a.csv --repo-type dataset");
    assert_suggested("download", "hf://org/name/data/",
                     "hubcache snapshot org/name --include 'data/*'");
    assert_suggested("pull", "hf://org/name/a.csv",
                     "hubcache pull org/name --include a.csv");
    assert_suggested("pull", "hf://org/name/data/",
                     "hubcache pull org/name --include 'data/*'");
}

static void a_pages_address_is_understood_whole(void **state)
{
    (void)state;
    assert_suggested("snapshot", "https://huggingface.co/gpt2", "hubcache snapshot gpt2");
    assert_suggested("snapshot", "https://huggingface.co/org/name/",
                     "hubcache snapshot org/name");
    assert_suggested("snapshot", "https://hf.co/datasets/org/name?row=1#x",
                     "hubcache snapshot org/name --repo-type dataset");
    assert_suggested("snapshot", "https://hf.co/org/name/tree/main",
                     "hubcache snapshot org/name --revision main");
    assert_suggested("file", "https://hf.co/gpt2/tree/v1/onnx",
                     "hubcache snapshot gpt2 --include 'onnx/*' --revision v1");
    assert_suggested("file", "https://hf.co/org/name/blob/refs%2Fpr%2F3/a%20b.json",
                     "hubcache file org/name 'a b.json' --revision refs/pr/3");
    assert_suggested("cat", "http://hub:8080/gpt2/resolve/main/x.bin?download=true",
                     "hubcache cat gpt2 x.bin --revision main");
    assert_suggested("file", "https://hf.co/org/name/raw/main/it's",
                     "hubcache file org/name 'it'\\''s' --revision main");
}

static void options_that_the_name_does_not_say_are_kept(void **state)
{
    const char *const names[] = {"a.json", "$b"};
    struct hc_resolve_options options = {.repo = {.id = "org/name@v1",
                                                  .type = HC_REPO_SPACE,
                                                  .revision = "v0"},
                                         .subfolder = "sub",
                                         .filenames = names,
                                         .filename_count = 2};
    char text[HC_SUGGESTION_MAX];

    (void)state;
    assert_true(hc_suggestion_make("file", &options, text));
    assert_string_equal(text, "hubcache file org/name a.json '$b' --repo-type space "
                              "--revision v1 --subfolder sub");
}

static void ids_directories_and_nonsense_suggest_nothing(void **state)
{
    (void)state;
    assert_not_suggested("gpt2");
    assert_not_suggested("org/name");
    assert_not_suggested("a/b/c");
    assert_not_suggested("/data/models/x");
    assert_not_suggested("./x");
    assert_not_suggested("");
    assert_not_suggested("@");
    assert_not_suggested("@v1");
    assert_not_suggested("datasets/");
    assert_not_suggested("hf://");
    assert_not_suggested("https://huggingface.co");
    assert_not_suggested("https://huggingface.co/");
    assert_not_suggested("://");
}

/* A command that is cut would be another one. */
static void a_name_that_is_too_long_suggests_nothing(void **state)
{
    char repo[4096], text[HC_SUGGESTION_MAX];
    struct hc_resolve_options options = {.repo.id = repo};

    (void)state;
    for (size_t length = 0; length + 16 < sizeof repo; length += 61) {
        (void)snprintf(repo, sizeof repo, "datasets/%0*d/%%%0*d@%0*d/'", (int)length / 4,
                       1, (int)length / 4, 2, (int)length / 4, 3);
        assert_int_equal(hc_suggestion_make("file", &options, text), strlen(repo) < 512);
        assert_true(text[0] == '\0' || text[strlen(text) - 1] != ' ');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_type_before_the_id_is_the_option),
        cmocka_unit_test(a_name_of_the_list_of_repos_is_understood),
        cmocka_unit_test(a_revision_after_the_id_is_the_option),
        cmocka_unit_test(an_hf_name_is_understood_whole),
        cmocka_unit_test(a_pages_address_is_understood_whole),
        cmocka_unit_test(options_that_the_name_does_not_say_are_kept),
        cmocka_unit_test(ids_directories_and_nonsense_suggest_nothing),
        cmocka_unit_test(a_name_that_is_too_long_suggests_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
