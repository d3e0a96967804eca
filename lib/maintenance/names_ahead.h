/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of the pages that come next: a look at a directory of a million names finds those
 * of many pages, so that not every page needs one. What is made and removed meanwhile is
 * seen by the next look. Few lists at a time, each up to a page of HC_NAMES_AHEAD names
 * or HC_PAGE_BYTES; those of a list that is not read on are dropped when others need the
 * place. Callable from any thread.
 */
#ifndef HC_MAINTENANCE_NAMES_AHEAD_H
#define HC_MAINTENANCE_NAMES_AHEAD_H

#include "page.h"

struct hc_names_ahead;

enum { HC_NAMES_AHEAD = 32000, HC_NAMES_AHEAD_LISTS = 4 };

struct hc_names_ahead *hc_names_ahead_new(struct hc_error *err);
void hc_names_ahead_free(struct hc_names_ahead *ahead);
HC_DEFINE_AUTO(hc_names_ahead, hc_names_ahead_free)

/* Whether the names of the page are known: then they are in it, and it is closed. Else it
 * is made wider, for names of other pages, too. -1: memory is short. */
int hc_names_ahead_find(struct hc_names_ahead *ahead, struct hc_page *page,
                        struct hc_error *err);

/* After a look: takes the names of other pages out of it. */
void hc_names_ahead_keep(struct hc_names_ahead *ahead, struct hc_page *page);

#endif
