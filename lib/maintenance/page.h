/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One page of a long list of names, which is made from the whole list in any sequence:
 * the smallest names after the last one of the page before. Memory is that of a page,
 * however long the list is. A name that is in the list all the time is on one page, also
 * when others come and go between two pages.
 *
 * The token of a page is the last name of the page, with a hash of what the request asks
 * for, so that a token of another request is noticed. A page belongs to one thread.
 */
#ifndef HC_MAINTENANCE_PAGE_H
#define HC_MAINTENANCE_PAGE_H

#include <base/auto.h>
#include <base/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hc_page {
    uint64_t request;  /* its hash */
    const char *after; /* "": the first page; borrowed */
    size_t asked;      /* names that the page has in the end … */
    size_t size;       /* … and as many as are collected: more after hc_page_widen() */
    char **names;      /* sorted after hc_page_close() */
    size_t count, bytes;
    bool has_more; /* names after these */
};

/* `token` is NULL or "" for the first page, and borrowed. `size` 0: as many as there may
 * be, HC_PAGE_MAX. INVALID_OPTIONS (field "page_token"): it is no token of such a
 * request. */
int hc_page_open(struct hc_page *page, uint64_t request, const char *token, unsigned size,
                 struct hc_error *err);

enum { HC_PAGE_BYTES = 4 * 1024 * 1024 };

/* Before the first name: collects `size` names, the others for pages that come next; if
 * they are long, as many as have HC_PAGE_BYTES, and those of the page. */
int hc_page_widen(struct hc_page *page, size_t size, struct hc_error *err);

/* Whether the page may have that name: for what is costly to find out about it. */
bool hc_page_wants(const struct hc_page *page, const char *name);

/* Copies the name, unless it is not of this page. */
int hc_page_add(struct hc_page *page, const char *name, struct hc_error *err);

/* All names are added. */
void hc_page_close(struct hc_page *page);

/* The token of a page that ends with the name number `last`, which the caller frees. */
char *hc_page_token(const struct hc_page *page, size_t last, struct hc_error *err);

void hc_page_clear(struct hc_page *page);
HC_DEFINE_AUTO_VALUE(hc_page, hc_page_clear)

#endif
