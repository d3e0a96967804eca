/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a repo id is what the Hub allows and nothing else, and each repo has the
 * folder that the Hub's clients give it.
 */
#include "test.h"

#include <base/error.h>
#include <base/text.h>
#include <repo/repo.h>

#include <string.h>

static void assert_folder(enum hc_repo_type type, const char *id, const char *folder)
{
    struct hc_repo repo;
    struct hc_error err;

    assert_int_equal(hc_repo_init(&repo, type, id, &err), 0);
    assert_string_equal(repo.id, id);
    assert_string_equal(repo.folder, folder);
}

static void each_repo_has_the_folder_of_the_reference(void **state)
{
    (void)state;
    assert_folder(HC_REPO_DEFAULT, "gpt2", "models--gpt2");
    assert_folder(HC_REPO_MODEL, "Org/name", "models--Org--name");
    assert_folder(HC_REPO_DATASET, "org/name", "datasets--org--name");
    assert_folder(HC_REPO_SPACE, "org/name", "spaces--org--name");
    assert_folder(HC_REPO_KERNEL, "org/name", "kernels--org--name");
}

static void ids_of_all_allowed_characters_are_accepted(void **state)
{
    (void)state;
    assert_folder(HC_REPO_MODEL, "_a/b_", "models--_a--b_");
    assert_folder(HC_REPO_MODEL, "a.b-c_d/0.1-2", "models--a.b-c_d--0.1-2");
    assert_folder(HC_REPO_MODEL, "a/b.gitx", "models--a--b.gitx");
}

static void ids_the_hub_does_not_allow_are_refused(void **state)
{
    static const char *const bad[] = {"",     "/",      "a/",          "/a",   "a/b/c",
                                      "a--b", "a/b--c", "a..b",        "..",   "a/..",
                                      "../a", ".a",     "a.",          "-a",   "a-",
                                      "a/-b", "a.git",  "a/b.git",     "a b",  "a\nb",
                                      "a\\b", "a/b\n",  "caf\xc3\xa9", "\xff", "a%2fb",
                                      "a:b",  "~a"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct hc_repo repo;
        struct hc_error err = {0};

        assert_int_equal(hc_repo_init(&repo, HC_REPO_MODEL, bad[i], &err), -1);
        assert_int_equal(err.reason, HC_INVALID_REPO_ID);
        assert_string_equal(err.field, "repo_id");
        assert_true(hc_text_is_utf8(err.message) && hc_text_is_printable(err.message));
    }
}

static void a_name_has_at_most_96_bytes(void **state)
{
    char id[97 + 1 + 97 + 1];
    struct hc_repo repo;
    struct hc_error err;

    (void)state;
    memset(id, 'a', sizeof id);
    id[96] = '\0';
    assert_int_equal(hc_repo_init(&repo, HC_REPO_MODEL, id, &err), 0);
    id[96] = '/';
    id[96 + 1 + 96] = '\0';
    assert_int_equal(hc_repo_init(&repo, HC_REPO_DATASET, id, &err), 0);
    assert_true(strlen(repo.folder) <= HC_REPO_FOLDER_MAX);
    id[96 + 1 + 96] = 'a';
    id[96 + 1 + 97] = '\0';
    assert_int_equal(hc_repo_init(&repo, HC_REPO_MODEL, id, &err), -1);
}

static void an_unknown_type_is_refused(void **state)
{
    const int number = 5;
    enum hc_repo_type unknown;
    struct hc_repo repo;
    struct hc_error err;

    (void)state;
    memcpy(&unknown, &number,
           sizeof unknown); /* as a client of a later version sends it */
    assert_int_equal(hc_repo_init(&repo, unknown, "a", &err), -1);
    assert_int_equal(err.reason, HC_INVALID_OPTIONS);
    assert_string_equal(err.field, "repo_type");
    assert_null(hc_repo_type_name(unknown));
}

static void types_have_names_and_places_in_urls(void **state)
{
    struct hc_repo repo;
    struct hc_error err;

    (void)state;
    assert_string_equal(hc_repo_type_name(HC_REPO_KERNEL), "kernel");
    assert_int_equal(hc_repo_type_from_name("space"), HC_REPO_SPACE);
    assert_int_equal(hc_repo_type_from_name("bucket"), HC_REPO_DEFAULT);
    assert_int_equal(hc_repo_init(&repo, HC_REPO_DATASET, "a", &err), 0);
    assert_string_equal(hc_repo_url_prefix(&repo), "datasets/");
    assert_string_equal(hc_repo_collection(&repo), "datasets");
    assert_int_equal(hc_repo_init(&repo, HC_REPO_DEFAULT, "a", &err), 0);
    assert_int_equal(repo.type, HC_REPO_MODEL);
    assert_string_equal(hc_repo_url_prefix(&repo), "");
    assert_string_equal(hc_repo_collection(&repo), "models");
}

static void a_folder_names_its_repo(void **state)
{
    static const char *const ids[] = {"org/name", "gpt2", "a-b/c.d_e", "Org/M"};
    struct hc_repo repo, parsed;
    struct hc_error err;

    (void)state;
    for (int type = HC_REPO_MODEL; type <= HC_REPO_KERNEL; type++) {
        for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
            assert_int_equal(hc_repo_init(&repo, (enum hc_repo_type)type, ids[i], &err),
                             0);
            assert_true(hc_repo_parse_folder(&parsed, repo.folder));
            assert_int_equal(parsed.type, type);
            assert_string_equal(parsed.id, ids[i]);
            assert_string_equal(parsed.folder, repo.folder);
        }
    }
}

static void other_names_are_no_folders_of_repos(void **state)
{
    static const char *const names[] = {
        "",          "--",          "models",          "models--",      "models----a",
        "blobs",     "models--a--", "models--a--b--c", "buckets--a--b", "--a--b",
        ".locks--a", "modelsx--a",  "models--.--b",    "models--a..b",  "Models--a--b",
    };
    char long_name[HC_REPO_FOLDER_MAX + 100];
    struct hc_repo repo;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_false(hc_repo_parse_folder(&repo, names[i]));
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    memcpy(long_name, "models--", 8);
    assert_false(hc_repo_parse_folder(&repo, long_name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_repo_has_the_folder_of_the_reference),
        cmocka_unit_test(ids_of_all_allowed_characters_are_accepted),
        cmocka_unit_test(ids_the_hub_does_not_allow_are_refused),
        cmocka_unit_test(a_name_has_at_most_96_bytes),
        cmocka_unit_test(an_unknown_type_is_refused),
        cmocka_unit_test(types_have_names_and_places_in_urls),
        cmocka_unit_test(a_folder_names_its_repo),
        cmocka_unit_test(other_names_are_no_folders_of_repos),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
