/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names are collected until there are twice as many as a page has; then they are sorted
 * and the larger half is dropped. From then on the largest name that is left is a bound:
 * a name above it is not copied at all.
 */
#include "page.h"

#include <base/hash.h>
#include <base/text.h>
#include <hubcache/inventory.h>

#include <inttypes.h>
#include <string.h>

enum { HASH_DIGITS = 16 };

int hc_page_open(struct hc_page *page, uint64_t request, const char *token, unsigned size,
                 struct hc_error *err)
{
    char hash[HASH_DIGITS + 2];

    *page = (struct hc_page){
        .request = request,
        .after = "",
        .asked = size == 0 || size > HC_PAGE_MAX ? HC_PAGE_MAX : size,
    };
    (void)hc_format(hash, sizeof hash, "%016" PRIx64 "-", request);
    if (token && *token) {
        if (!hc_text_starts(token, hash))
            return hc_fail_field(err, HC_INVALID_OPTIONS, "page_token",
                                 "page_token is not that of a page of such a list");
        page->after = token + strlen(hash);
    }
    return hc_page_widen(page, page->asked, err);
}

int hc_page_widen(struct hc_page *page, size_t size, struct hc_error *err)
{
    char **wider = reallocarray(page->names, 2 * size, sizeof *wider);

    if (!wider)
        return hc_fail_memory(err);
    page->names = wider;
    page->size = size;
    return 0;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static bool page_is_too_wide(const struct hc_page *page)
{
    return page->count > page->size ||
           (page->bytes > HC_PAGE_BYTES && page->count > page->asked);
}

static void page_cut(struct hc_page *page)
{
    qsort(page->names, page->count, sizeof *page->names, compare_names);
    for (; page_is_too_wide(page); page->has_more = true) {
        char *name = page->names[--page->count];

        page->bytes -= strlen(name) + 1;
        free(name);
    }
    if (page->has_more)
        page->size = page->count;
}

bool hc_page_wants(const struct hc_page *page, const char *name)
{
    return strcmp(name, page->after) > 0;
}

/* After the first cut the names up to `size` are sorted, and the last is the bound. */
static bool page_is_beyond(const struct hc_page *page, const char *name)
{
    return page->has_more && strcmp(name, page->names[page->size - 1]) > 0;
}

int hc_page_add(struct hc_page *page, const char *name, struct hc_error *err)
{
    char *copy;

    if (!hc_page_wants(page, name) || page_is_beyond(page, name))
        return 0;
    copy = hc_text_copy(name, err);
    if (!copy)
        return -1;
    page->names[page->count++] = copy;
    page->bytes += strlen(copy) + 1;
    if (page->count == 2 * page->size ||
        (page->bytes > (size_t)2 * HC_PAGE_BYTES && page->count > page->asked))
        page_cut(page);
    return 0;
}

void hc_page_close(struct hc_page *page)
{
    page_cut(page);
}

char *hc_page_token(const struct hc_page *page, size_t last, struct hc_error *err)
{
    const char *name = page->names[last];
    size_t size = HASH_DIGITS + 2 + strlen(name);
    char *token = malloc(size);

    if (!token) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)hc_format(token, size, "%016" PRIx64 "-%s", page->request, name);
    return token;
}

void hc_page_clear(struct hc_page *page)
{
    while (page->count > 0)
        free(page->names[--page->count]);
    free(page->names);
    *page = (struct hc_page){0};
}
