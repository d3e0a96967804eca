/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of one snapshot, a page of them at a time: first the names of the page, then
 * what stat(2) says of their blobs. Callable from any thread.
 */
#ifndef HC_MAINTENANCE_FILE_INVENTORY_H
#define HC_MAINTENANCE_FILE_INVENTORY_H

#include "page.h"

#include <base/cancellation.h>
#include <cache/cache.h>
#include <hubcache/inventory.h>

HC_DEFINE_AUTO_VALUE(hc_cached_files, hc_cached_files_clear)

struct hc_file_inventory {
    const struct hc_cache *cache;
    const struct hc_repo *repo;
    const char *commit;
    struct hc_cancellation *cancellation; /* Optional. */
};

/* Adds the names and closes the page. 1; 0: there is no such snapshot; -1. */
int hc_file_inventory_add_names(const struct hc_file_inventory *inventory,
                                struct hc_page *page, struct hc_error *err);

/* The files of that page which are still there. */
int hc_file_inventory_read(const struct hc_file_inventory *inventory,
                           const struct hc_page *page, struct hc_cached_files *files,
                           struct hc_error *err);

#endif
