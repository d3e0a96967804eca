/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the file of --auth-tokens is read whole or not at all; a refusal names the
 * file and the line. A token is found by its hash.
 */
#include <test.h>

#include <base/auto.h>
#include <server/caller_tokens.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The hashes of "alice-secret" and "bob-secret". */
#define ALICE "0c848abb03307b06cf70cd4e29c157dc81af5e94ab3eb1d0c59a120269572376"
#define BOB "9f03ef1533a68d2f506f81ef463c1183a82a6bd40e45613f36e6fe1889cf1b99"
#define NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct hc_caller_tokens *parse(const char *text, struct hc_error *err)
{
    HC_AUTO_FREE char *copy = strdup(text);

    assert_non_null(copy);
    return hc_caller_tokens_parse(copy, strlen(copy), "tokens", err);
}

static struct hc_credential_hash hash_of(const char *hex)
{
    struct hc_credential_hash hash;

    for (size_t i = 0; i < sizeof hash.bytes; i++) {
        const char digits[] = {hex[2 * i], hex[2 * i + 1], '\0'};

        hash.bytes[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
    return hash;
}

/* Borrowed. */
static const struct hc_caller *find(const struct hc_caller_tokens *tokens,
                                    const char *hex)
{
    const struct hc_credential_hash hash = hash_of(hex);

    return hc_caller_tokens_find(tokens, &hash);
}

static void lines_have_a_name_a_hash_and_groups(void **state)
{
    struct hc_error err;
    HC_AUTO(hc_caller_tokens) *tokens =
        parse("# who may call\n\nalice sha256:" ALICE " ops  ml\r\n \t\n"
              "\tbob\tsha256:" BOB,
              &err);
    const struct hc_caller *alice, *bob;

    (void)state;
    assert_non_null(tokens);
    assert_int_equal(hc_caller_tokens_count(tokens), 2);
    alice = find(tokens, ALICE);
    bob = find(tokens, BOB);
    assert_non_null(alice);
    assert_non_null(bob);
    assert_string_equal(alice->name, "alice");
    assert_int_equal(alice->kind, HC_CALLER_TOKEN);
    assert_int_equal(alice->group_count, 2);
    assert_string_equal(alice->groups[0], "ops");
    assert_string_equal(alice->groups[1], "ml");
    assert_string_equal(bob->name, "bob");
    assert_int_equal(bob->group_count, 0);
    assert_true(alice->hash != bob->hash);
    assert_null(find(tokens, NOTHING));
}

static void a_caller_may_have_two_tokens(void **state)
{
    struct hc_error err;
    HC_AUTO(hc_caller_tokens) *tokens =
        parse("alice sha256:" ALICE "\nalice sha256:" BOB "\n", &err);

    (void)state;
    assert_non_null(tokens);
    assert_int_equal(find(tokens, ALICE)->hash, find(tokens, BOB)->hash);
}

static void a_wrong_line_is_refused_by_its_number(void **state)
{
    static const struct {
        const char *text, *message;
    } wrong[] = {
        {"", "auth-tokens: tokens: the file has no token"},
        {"\n# nothing\n", "auth-tokens: tokens: the file has no token"},
        {"alice\n", "line 1: it needs 'name sha256:<hex> [group...]'"},
        {"\n\nalice " ALICE "\n", "line 3: the second word is not 'sha256:'"},
        {"alice sha256:\n", "line 1: the second word is not"},
        {"alice sha256:" ALICE "0\n", "line 1: the second word is not"},
        {"alice sha256:0C848ABB03307B06CF70CD4E29C157DC81AF5E94AB3EB1D0C59A120269572376",
         "line 1: the second word is not"},
        {"alice sha256:0c848abb03307b06cf70cd4e29c157dc81af5e94ab3eb1d0c59a12026957237\n",
         "line 1: the second word is not"},
        {"alice sha256:0c848abb03307b06cf70cd4e29c157dc81af5e94ab3eb1d0c59a12026957237g",
         "line 1: the second word is not"},
        {"alice sha512:" ALICE, "line 1: the second word is not"},
        {"sha256:" ALICE " alice", "line 1: the second word is not"},
        {"alice-secret\nalice", "line 1: it needs"},
        {"alice sha256:" NOTHING, "line 1: it is the hash of an empty token"},
        {"alice sha256:" ALICE "\nbob sha256:" ALICE "\n",
         "line 2: an earlier line has the same token"},
        {"system:serviceaccount:a:b sha256:" ALICE, "line 1: a name cannot begin with"},
        {"uid:0 sha256:" ALICE, "line 1: a name cannot begin with"},
        {"al\x01"
         "ce sha256:" ALICE,
         "line 1: a word is longer than 512 bytes, or has bytes that are not"},
        {"al\xc3\xa9 sha256:" ALICE, "line 1: a word is longer than"},
        {"alice sha256:" ALICE " ops\x7f", "line 1: a word is longer than"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct hc_error err = {.reason = HC_OK};

        assert_null(parse(wrong[i].text, &err));
        assert_int_equal(err.reason, HC_INVALID_OPTIONS);
        if (!strstr(err.message, wrong[i].message) || !strstr(err.message, "tokens"))
            fail_msg("%zu: %s", i, err.message);
        assert_null(strstr(err.message, "alice-secret")); /* a token by mistake */
    }
}

static void a_nul_byte_is_refused(void **state)
{
    char text[] = "alice sha256:" ALICE "\n\0bob";
    struct hc_error err;

    (void)state;
    assert_null(hc_caller_tokens_parse(text, sizeof text - 1, "tokens", &err));
    assert_non_null(strstr(err.message, "NUL"));
}

/* Name, then groups, at the limit and beyond. */
static void words_and_groups_have_limits(void **state)
{
    char name[HC_CALLER_NAME_MAX + 2];
    char text[2048];
    struct hc_error err;

    (void)state;
    for (size_t beyond = 0; beyond < 2; beyond++) {
        HC_AUTO(hc_caller_tokens) *tokens = NULL;

        memset(name, 'x', HC_CALLER_NAME_MAX + beyond);
        name[HC_CALLER_NAME_MAX + beyond] = '\0';
        (void)snprintf(text, sizeof text, "%s sha256:" ALICE, name);
        tokens = parse(text, &err);
        assert_int_equal(tokens == NULL, beyond);
    }
    for (size_t beyond = 0; beyond < 2; beyond++) {
        HC_AUTO(hc_caller_tokens) *tokens = NULL;

        (void)snprintf(text, sizeof text, "alice sha256:" ALICE);
        for (size_t i = 0; i < HC_CALLER_GROUPS_MAX + beyond; i++)
            (void)strcat(text, " g");
        tokens = parse(text, &err);
        assert_int_equal(tokens == NULL, beyond);
    }
}

static void a_file_has_4096_tokens_at_most(void **state)
{
    const size_t line = strlen("a sha256:") + 64 + 1;
    HC_AUTO_FREE char *text = malloc((HC_CALLER_TOKENS_MAX + 1) * line + 1);
    HC_AUTO(hc_caller_tokens) *tokens = NULL;
    struct hc_error err;

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i <= HC_CALLER_TOKENS_MAX; i++)
        (void)sprintf(text + i * line, "a sha256:%064zx\n", i);
    assert_null(parse(text, &err));
    assert_non_null(strstr(err.message, "line 4097: there are more than 4096 tokens"));
    text[HC_CALLER_TOKENS_MAX * line] = '\0';
    tokens = parse(text, &err);
    assert_non_null(tokens);
    assert_int_equal(hc_caller_tokens_count(tokens), HC_CALLER_TOKENS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_have_a_name_a_hash_and_groups),
        cmocka_unit_test(a_caller_may_have_two_tokens),
        cmocka_unit_test(a_wrong_line_is_refused_by_its_number),
        cmocka_unit_test(a_nul_byte_is_refused),
        cmocka_unit_test(words_and_groups_have_limits),
        cmocka_unit_test(a_file_has_4096_tokens_at_most),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
