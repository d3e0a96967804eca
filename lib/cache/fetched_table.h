/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which blob counts for which caller and rule: entries, one for each blob, and totals,
 * one for each caller and rule. The state of an entry, and what it counts for:
 *
 *     reserved   no record is known: for the total of its first reservation
 *                → recorded: this process writes the record, or finds it
 *                → gone: its last reservation is dropped
 *     recorded   for the total of the record's caller and rule, reserved or not
 *                → reserved, or gone: the record is removed
 *
 * A value; its owner (fetched_totals.c) guards it.
 */
#ifndef HC_CACHE_FETCHED_TABLE_H
#define HC_CACHE_FETCHED_TABLE_H

#include <base/hash.h>
#include <base/text.h>
#include <hubcache/resolver.h>
#include <repo/blob_request.h>

#include <stdbool.h>
#include <stdint.h>

struct hc_fetched_entry {
    struct hc_keyed_hash key; /* of folder and etag */
    uint64_t inode;           /* of the record; 0: there is none */
    uint64_t bytes;
    uint32_t total;
    uint32_t folder;  /* its number; 0: it was never read from the volume */
    uint32_t reading; /* of the folder, that has seen it last */
    uint32_t reservations;
    uint32_t next; /* in its bucket, or of the free ones */
};

/* Of one caller and one rule. */
struct hc_caller_total {
    struct hc_keyed_hash key;
    char *kind, *name, *rule;
    struct hc_strings groups;
    uint64_t bytes, blobs, reserved_bytes;
};

struct hc_fetched_table {
    struct hc_fetched_entry *entries; /* number 0 is not used: it ends a chain */
    uint32_t entry_count;             /* used ones and free ones, the first included */
    uint32_t entry_capacity;
    uint32_t free_entry;
    uint32_t *buckets;              /* entry_capacity of them */
    struct hc_caller_total *totals; /* number 0 is that of all that are too many */
    uint32_t total_count;
};

/* What a record says of its blob. */
struct hc_fetched_record {
    uint32_t total;
    uint64_t bytes;
    uint64_t inode;
};

/* Of a zeroed table. */
int hc_fetched_table_init(struct hc_fetched_table *table, struct hc_error *err);
void hc_fetched_table_clear(struct hc_fetched_table *table);

/* The number of the total; 0 when there are too many, or memory is short. */
uint32_t hc_fetched_table_find_total(struct hc_fetched_table *table,
                                     const struct hc_identity *identity,
                                     const char *rule);

/* NULL of an anonymous caller. `identity` is filled, and borrows. */
const struct hc_identity *hc_fetched_table_identity(const struct hc_caller_total *total,
                                                    struct hc_identity *identity);

struct hc_keyed_hash hc_fetched_key(const struct hc_blob_id *blob);

/* The number of an entry; 0: there is none, or memory is short. */
uint32_t hc_fetched_table_find(const struct hc_fetched_table *table,
                               const struct hc_keyed_hash *key);
uint32_t hc_fetched_table_add(struct hc_fetched_table *table,
                              const struct hc_keyed_hash *key);
void hc_fetched_table_remove(struct hc_fetched_table *table, uint32_t i);

/* Counts it for its total, or no more. */
void hc_fetched_table_count(struct hc_fetched_table *table,
                            const struct hc_fetched_entry *entry, bool counts);

/* The blob has this record now. NULL when memory is short. */
struct hc_fetched_entry *hc_fetched_table_record(struct hc_fetched_table *table,
                                                 const struct hc_keyed_hash *key,
                                                 const struct hc_fetched_record *record);

/* Its record, if it has one, is gone. */
void hc_fetched_table_forget(struct hc_fetched_table *table, uint32_t i);

#endif
