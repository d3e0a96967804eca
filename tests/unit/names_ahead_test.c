/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: however a list is read, page after page, each name is there once and in order;
 * one look at the directory serves many pages, also of several lists at a time; a page
 * that does not come next is looked for anew. Long names take no more memory than short
 * ones.
 */
#include "test.h"

#include <base/text.h>
#include <hubcache/inventory.h>
#include <maintenance/names_ahead.h>

#include <stdlib.h>
#include <string.h>

/* A list of names, and how far it has been read. */
struct list {
    uint64_t request;
    unsigned names;
    size_t length; /* of a name at least */
    unsigned read, looks;
    char *token;
    bool is_over;
};

static void list_look(struct list *list, struct hc_page *page)
{
    struct hc_error err;
    char name[PATH_MAX];

    for (unsigned i = list->names; i-- > 0;) {
        (void)snprintf(name, sizeof name, "%05u-%0*d", i, (int)list->length, 0);
        assert_int_equal(hc_page_add(page, name, &err), 0);
        assert_true(page->bytes <= 2 * HC_PAGE_BYTES + sizeof name);
    }
    hc_page_close(page);
    list->looks++;
}

static void page_get(struct hc_names_ahead *ahead, struct list *list, unsigned size,
                     struct hc_page *page)
{
    struct hc_error err;
    int found;

    assert_int_equal(hc_page_open(page, list->request, list->token, size, &err), 0);
    found = hc_names_ahead_find(ahead, page, &err);
    assert_true(found >= 0);
    if (found)
        return;
    list_look(list, page);
    hc_names_ahead_keep(ahead, page);
}

/* Reads the page that comes next. */
static void list_read(struct hc_names_ahead *ahead, struct list *list, unsigned size)
{
    HC_AUTO_VALUE(hc_page) page = {0};
    struct hc_error err;

    page_get(ahead, list, size, &page);
    for (size_t i = 0; i < page.count; i++)
        assert_int_equal(strtoul(page.names[i], NULL, 10), list->read + i);
    list->read += (unsigned)page.count;
    list->is_over = !page.has_more;
    assert_true(page.count > 0 && page.count <= size);
    free(hc_take(&list->token));
    if (!list->is_over)
        list->token = hc_page_token(&page, page.count - 1, &err);
}

static void one_look_serves_all_pages_of_a_list(void **state)
{
    HC_AUTO(hc_names_ahead) *ahead = hc_names_ahead_new(&(struct hc_error){0});

    (void)state;
    for (unsigned size = 1; size < 64; size++) {
        struct list list = {.request = size, .names = 62};

        while (!list.is_over)
            list_read(ahead, &list, size);
        assert_int_equal(list.read, list.names);
        assert_int_equal(list.looks, 1);
    }
}

static void a_long_list_is_looked_at_for_each_part_of_it(void **state)
{
    HC_AUTO(hc_names_ahead) *ahead = hc_names_ahead_new(&(struct hc_error){0});
    struct list list = {.request = 1, .names = 2 * HC_NAMES_AHEAD + 1};

    (void)state;
    while (!list.is_over)
        list_read(ahead, &list, HC_PAGE_MAX);
    assert_int_equal(list.read, list.names);
    assert_int_equal(list.looks, 3);
}

static void long_names_take_no_more_memory(void **state)
{
    HC_AUTO(hc_names_ahead) *ahead = hc_names_ahead_new(&(struct hc_error){0});
    struct list list = {.request = 1, .names = 5000, .length = 4000};

    (void)state;
    while (!list.is_over)
        list_read(ahead, &list, HC_PAGE_MAX);
    assert_int_equal(list.read, list.names);
    assert_true(list.looks > 1);
}

static void lists_are_read_side_by_side(void **state)
{
    HC_AUTO(hc_names_ahead) *ahead = hc_names_ahead_new(&(struct hc_error){0});
    struct list lists[HC_NAMES_AHEAD_LISTS];
    unsigned over = 0;

    (void)state;
    for (unsigned i = 0; i < HC_NAMES_AHEAD_LISTS; i++)
        lists[i] = (struct list){.request = i, .names = 20 + i};
    while (over < HC_NAMES_AHEAD_LISTS) {
        over = 0;
        for (unsigned i = 0; i < HC_NAMES_AHEAD_LISTS; i++) {
            if (!lists[i].is_over)
                list_read(ahead, &lists[i], 3);
            over += lists[i].is_over;
        }
    }
    for (unsigned i = 0; i < HC_NAMES_AHEAD_LISTS; i++) {
        assert_int_equal(lists[i].read, lists[i].names);
        assert_int_equal(lists[i].looks, 1);
    }
}

/* A caller that did not get the answer asks for the page again. */
static void a_page_that_was_given_is_looked_for_again(void **state)
{
    HC_AUTO(hc_names_ahead) *ahead = hc_names_ahead_new(&(struct hc_error){0});
    struct list list = {.request = 1, .names = 20}, again;

    (void)state;
    list_read(ahead, &list, 5);
    again = list;
    again.token = strdup(list.token);
    list_read(ahead, &list, 5);
    list_read(ahead, &again, 5);
    assert_int_equal(again.looks, 2);
    while (!list.is_over)
        list_read(ahead, &list, 5);
    while (!again.is_over)
        list_read(ahead, &again, 5);
    assert_int_equal(list.read, list.names);
    assert_int_equal(again.read, list.names);
}

static void a_new_list_sees_what_is_new(void **state)
{
    HC_AUTO(hc_names_ahead) *ahead = hc_names_ahead_new(&(struct hc_error){0});
    struct list list = {.request = 1, .names = 20}, later = {.request = 1, .names = 21};

    (void)state;
    list_read(ahead, &list, 5);
    while (!later.is_over)
        list_read(ahead, &later, 5);
    assert_int_equal(later.read, 21);
    free(list.token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_look_serves_all_pages_of_a_list),
        cmocka_unit_test(a_long_list_is_looked_at_for_each_part_of_it),
        cmocka_unit_test(long_names_take_no_more_memory),
        cmocka_unit_test(lists_are_read_side_by_side),
        cmocka_unit_test(a_page_that_was_given_is_looked_for_again),
        cmocka_unit_test(a_new_list_sees_what_is_new),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
