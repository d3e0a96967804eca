/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: pages of any size have each name of a list once and in order, in whatever
 * sequence the names come; a name that is there all the time is on one page, also when
 * others come and go between two pages. A token of another request is refused.
 */
#include "random.h"
#include "test.h"

#include <base/text.h>
#include <hubcache/inventory.h>
#include <maintenance/page.h>

#include <string.h>

enum { NAMES = 60, NAME_SIZE = 16, REQUEST = 7 };

static void name_format(char name[NAME_SIZE], unsigned number)
{
    (void)snprintf(name, NAME_SIZE, "name-%03u", number);
}

/* Adds those of the names that `is_there` says, in a random sequence. */
static void page_fill(struct hc_page *page, const bool *is_there,
                      struct random_source *random)
{
    unsigned order[NAMES];
    char name[NAME_SIZE];
    struct hc_error err;

    for (unsigned i = 0; i < NAMES; i++) {
        unsigned j = (unsigned)random_between(random, 0, i);

        order[i] = order[j];
        order[j] = i;
    }
    for (unsigned i = 0; i < NAMES; i++) {
        name_format(name, order[i]);
        if (is_there[order[i]])
            assert_int_equal(hc_page_add(page, name, &err), 0);
    }
    hc_page_close(page);
}

/* Reads all pages; names at odd places come and go. Counts how often each is seen. */
static void list_read(unsigned size, struct random_source *random, bool has_changes,
                      unsigned seen[NAMES])
{
    HC_AUTO_FREE char *token = NULL;
    char last[NAME_SIZE] = "";
    bool has_more = true;
    struct hc_error err;

    while (has_more) {
        HC_AUTO_VALUE(hc_page) page = {0};
        bool is_there[NAMES];

        for (unsigned i = 0; i < NAMES; i++)
            is_there[i] = i % 2 == 0 || !has_changes || random_next(random) % 2 == 0;
        assert_int_equal(hc_page_open(&page, REQUEST, token, size, &err), 0);
        page_fill(&page, is_there, random);
        assert_true(page.count <= size);
        assert_true(page.count == size || !page.has_more);
        for (size_t i = 0; i < page.count; i++) {
            assert_true(strcmp(last, page.names[i]) < 0);
            (void)snprintf(last, sizeof last, "%s", page.names[i]);
            seen[strtoul(last + strlen("name-"), NULL, 10)]++;
        }
        has_more = page.has_more;
        free(token);
        token = has_more ? hc_page_token(&page, page.count - 1, &err) : NULL;
    }
}

static void pages_of_any_size_have_each_name_once(void **state)
{
    struct random_source random;

    (void)state;
    random_begin(&random, "pages");
    for (unsigned size = 1; size <= NAMES + 2; size++) {
        unsigned seen[NAMES] = {0};

        list_read(size, &random, false, seen);
        for (unsigned i = 0; i < NAMES; i++)
            assert_int_equal(seen[i], 1);
    }
}

static void a_name_that_stays_is_on_one_page_while_others_change(void **state)
{
    struct random_source random;

    (void)state;
    random_begin(&random, "changing pages");
    for (unsigned size = 1; size <= NAMES + 2; size++) {
        unsigned seen[NAMES] = {0};

        list_read(size, &random, true, seen);
        for (unsigned i = 0; i < NAMES; i += 2)
            assert_int_equal(seen[i], 1);
        for (unsigned i = 1; i < NAMES; i += 2)
            assert_true(seen[i] <= 1);
    }
}

static void a_size_of_none_or_too_many_is_the_most(void **state)
{
    HC_AUTO_VALUE(hc_page) none = {0};
    HC_AUTO_VALUE(hc_page) many = {0};
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_page_open(&none, REQUEST, NULL, 0, &err), 0);
    assert_int_equal(hc_page_open(&many, REQUEST, "", HC_PAGE_MAX + 1, &err), 0);
    assert_int_equal(none.size, HC_PAGE_MAX);
    assert_int_equal(many.size, HC_PAGE_MAX);
}

static void a_token_of_another_request_is_refused(void **state)
{
    static const char *const tokens[] = {"x", "0000000000000008-name-001",
                                         "0000000000000007", "0000000000000007name"};
    struct hc_error err;

    (void)state;
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        HC_AUTO_VALUE(hc_page) page = {0};

        assert_int_equal(hc_page_open(&page, REQUEST, tokens[i], 1, &err), -1);
        assert_int_equal(err.reason, HC_INVALID_OPTIONS);
        assert_string_equal(err.field, "page_token");
    }
}

static void an_empty_list_has_one_page_without_a_token(void **state)
{
    HC_AUTO_VALUE(hc_page) page = {0};
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_page_open(&page, REQUEST, NULL, 5, &err), 0);
    hc_page_close(&page);
    assert_int_equal(page.count, 0);
    assert_false(page.has_more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_of_any_size_have_each_name_once),
        cmocka_unit_test(a_name_that_stays_is_on_one_page_while_others_change),
        cmocka_unit_test(a_size_of_none_or_too_many_is_the_most),
        cmocka_unit_test(a_token_of_another_request_is_refused),
        cmocka_unit_test(an_empty_list_has_one_page_without_a_token),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
