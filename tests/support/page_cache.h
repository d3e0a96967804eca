/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in the page cache of a file. Failures abort the test program.
 */
#ifndef HC_SUPPORT_PAGE_CACHE_H
#define HC_SUPPORT_PAGE_CACHE_H

#include <stdint.h>

/* Takes the file out of the page cache, unless its file system lives in memory. */
void page_cache_drop(const char *path);

/* Bytes of the file that are in the page cache, in whole pages. */
uint64_t page_cache_resident(const char *path);

#endif
