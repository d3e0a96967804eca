/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list is known by its request and by the name after which it continues, so that only
 * the page that comes next finds it. One lock guards all, held while names are moved.
 */
#include "names_ahead.h"

#include <base/text.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Names [next, count) of a list; no names: an empty place. */
struct ahead_list {
    uint64_t request, used;
    char *after;
    char **names;
    size_t next, count;
    bool has_more; /* than these */
};

struct hc_names_ahead {
    struct {
        pthread_mutex_t lock;
        struct ahead_list lists[HC_NAMES_AHEAD_LISTS];
        uint64_t uses;
    } shared;
};

static void ahead_list_clear(struct ahead_list *list)
{
    while (list->count > list->next)
        free(list->names[--list->count]);
    free(list->names);
    free(list->after);
    *list = (struct ahead_list){0};
}

HC_DEFINE_AUTO_VALUE(ahead_list, ahead_list_clear)

struct hc_names_ahead *hc_names_ahead_new(struct hc_error *err)
{
    struct hc_names_ahead *ahead = calloc(1, sizeof *ahead);

    if (!ahead) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&ahead->shared.lock, NULL);
    return ahead;
}

void hc_names_ahead_free(struct hc_names_ahead *ahead)
{
    if (!ahead)
        return;
    for (size_t i = 0; i < HC_NAMES_AHEAD_LISTS; i++)
        ahead_list_clear(&ahead->shared.lists[i]);
    (void)pthread_mutex_destroy(&ahead->shared.lock);
    free(ahead);
}

/* ---- the next page ----------------------------------------------------------------- */

static bool ahead_list_follows(const struct ahead_list *list, const struct hc_page *page)
{
    return list->names && list->request == page->request &&
           strcmp(list->after, page->after) == 0;
}

/* The list continues after the last name of the page; without memory, it is over. */
static void ahead_list_go_on(struct ahead_list *list, const char *last)
{
    struct hc_error unused;

    free(list->after);
    list->after = list->next < list->count ? hc_text_copy(last, &unused) : NULL;
    if (!list->after)
        ahead_list_clear(list);
}

static void ahead_list_move(struct ahead_list *list, struct hc_page *page)
{
    while (page->count < page->asked && list->next < list->count)
        page->names[page->count++] = list->names[list->next++];
    page->has_more = list->has_more || list->next < list->count;
    ahead_list_go_on(list, page->names[page->count - 1]);
}

int hc_names_ahead_find(struct hc_names_ahead *ahead, struct hc_page *page,
                        struct hc_error *err)
{
    {
        HC_LOCKED(&ahead->shared.lock);

        for (size_t i = 0; i < HC_NAMES_AHEAD_LISTS; i++) {
            struct ahead_list *list = &ahead->shared.lists[i];

            if (!ahead_list_follows(list, page))
                continue;
            list->used = ++ahead->shared.uses;
            ahead_list_move(list, page);
            return 1;
        }
    }
    return hc_page_widen(page, HC_NAMES_AHEAD, err);
}

/* ---- after a look ------------------------------------------------------------------ */

/* The place of the same request, else the one that was used last longest ago. */
static struct ahead_list *ahead_find_place(struct hc_names_ahead *ahead, uint64_t request)
{
    struct ahead_list *place = &ahead->shared.lists[0];

    for (size_t i = 0; i < HC_NAMES_AHEAD_LISTS; i++) {
        struct ahead_list *list = &ahead->shared.lists[i];

        if (list->names && list->request == request)
            return list;
        if (list->used < place->used)
            place = list;
    }
    return place;
}

/* Its names from `asked` on; none, if memory is short. */
static struct ahead_list page_take_rest(struct hc_page *page)
{
    struct hc_error unused;
    struct ahead_list rest = {.request = page->request, .has_more = page->has_more};
    size_t count = page->count - page->asked;

    rest.after = hc_text_copy(page->names[page->asked - 1], &unused);
    rest.names = rest.after ? calloc(count, sizeof *rest.names) : NULL;
    while (page->count > page->asked) {
        char *name = page->names[--page->count];

        if (rest.names)
            rest.names[page->count - page->asked] = name;
        else
            free(name);
    }
    rest.count = rest.names ? count : 0;
    page->has_more = true;
    return rest;
}

void hc_names_ahead_keep(struct hc_names_ahead *ahead, struct hc_page *page)
{
    HC_AUTO_VALUE(ahead_list) rest = {0}; /* at the end: the one that it replaces */
    struct ahead_list *place;

    if (page->count <= page->asked)
        return;
    rest = page_take_rest(page);
    if (!rest.names)
        return;
    HC_LOCKED(&ahead->shared.lock); /* released before that one is freed */

    place = ahead_find_place(ahead, rest.request);
    rest.used = ++ahead->shared.uses;
    {
        struct ahead_list replaced = *place;

        *place = rest;
        rest = replaced;
    }
}
