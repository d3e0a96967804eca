/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blobs that the pointers of one repo lead to, each once, with what stat(2) says of
 * it and whose it is: that of one revision, or of several. Blobs are found by their
 * names, as the reference client's scanner does; what has no blob (a plain file, a
 * pointer that leads elsewhere) gets an entry of its own.
 *
 * Entries are numbered as they are added, so that those of a revision that are new can be
 * looked at together, side by side if the volume is slow. One thread uses a table; only
 * hc_blob_table_look() may be called by several, for different numbers.
 */
#ifndef HC_MAINTENANCE_BLOB_TABLE_H
#define HC_MAINTENANCE_BLOB_TABLE_H

#include <base/auto.h>
#include <base/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* Owners of a blob; revisions are numbered from 1 on. */
#define HC_BLOB_OF_NONE UINT32_C(0)
#define HC_BLOB_OF_OTHERS (UINT32_MAX - 1) /* a folder named like no commit */
#define HC_BLOB_OF_SEVERAL UINT32_MAX

struct hc_cached_blob {
    uint64_t size;
    uint64_t room; /* on the volume; 0: it was not looked at, or is not there */
    int64_t used_ms, modified_ms;
    uint32_t owner;
    uint32_t seen; /* by the revision that was read last */
    size_t name;   /* of its etag among the names of the table */
    bool is_there;
    bool is_linked;  /* it has other names, such as those of other repos */
    bool is_payload; /* of the store that newer clients share (§1.9) */
};

struct hc_blob_table {
    struct hc_cached_blob *items;
    size_t count, capacity;
    char *names; /* the etags, each with its NUL; the first one is "" */
    size_t names_size, names_capacity;
    uint32_t *slots; /* by the hash of the name: a number and one; 0: free */
    size_t slot_count;
};

/* The number of the blob, which is added if it is new. -1: memory is short. */
int64_t hc_blob_table_find(struct hc_blob_table *table, const char *etag,
                           struct hc_error *err);

/* Adds a file that is no blob, likewise. */
int64_t hc_blob_table_add(struct hc_blob_table *table, const struct stat *status,
                          struct hc_error *err);

/* The etag, borrowed until the next blob is added; "": it is no blob. */
const char *hc_blob_table_name(const struct hc_blob_table *table, size_t number);

/* Looks at the blob number `number` in the directory `blobs`. */
void hc_blob_table_look(struct hc_blob_table *table, int blobs, size_t number);

void hc_blob_table_clear(struct hc_blob_table *table);
HC_DEFINE_AUTO_VALUE(hc_blob_table, hc_blob_table_clear)

#endif
