/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries are chained in buckets by a part of their keys, and free ones by the same
 * member. Totals are few, and found by comparing keys.
 */
#include "fetched_table.h"

#include "fetched_totals.h"

#include <base/error.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRIES_MIN = 256, KEY_SIZE = HC_REPO_FOLDER_MAX + HC_FILENAME_MAX + 2 };

/* ---- totals ------------------------------------------------------------------------ */

static bool identity_is_anonymous(const struct hc_identity *identity)
{
    return !identity || (!identity->kind[0] && !identity->name[0]);
}

/* Its texts, each with the NUL that ends it. */
static struct hc_keyed_hash total_key(const struct hc_identity *identity,
                                      const char *rule)
{
    struct hc_keyed_hash key = {0};
    HC_AUTO_FREE char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return key;
    (void)fprintf(out, "%s%c", rule, 0);
    if (!identity_is_anonymous(identity)) {
        (void)fprintf(out, "%s%c%s%c", identity->kind, 0, identity->name, 0);
        for (size_t i = 0; i < identity->group_count; i++)
            (void)fprintf(out, "%s%c", identity->groups[i], 0);
    }
    if (fclose(out) == 0)
        key = hc_keyed_hash_of_bytes(text, size);
    return key;
}

static void total_clear(struct hc_caller_total *total)
{
    free(total->kind);
    free(total->name);
    free(total->rule);
    hc_strings_clear(&total->groups);
}

static int total_init(struct hc_caller_total *total, const struct hc_identity *identity,
                      const char *rule)
{
    struct hc_error unused;
    bool is_named = !identity_is_anonymous(identity);

    total->kind = hc_text_copy(is_named ? identity->kind : "", &unused);
    total->name = hc_text_copy(is_named ? identity->name : "", &unused);
    total->rule = hc_text_copy(rule, &unused);
    for (size_t i = 0; is_named && i < identity->group_count; i++) {
        if (hc_strings_add(&total->groups, identity->groups[i], &unused) < 0)
            return -1;
    }
    return total->kind && total->name && total->rule ? 0 : -1;
}

/* The number of the total; 0 when there are too many, or memory is short. */
uint32_t hc_fetched_table_find_total(struct hc_fetched_table *table,
                                     const struct hc_identity *identity, const char *rule)
{
    struct hc_caller_total *list = table->totals;
    struct hc_caller_total total = {.key = total_key(identity, rule)};

    for (uint32_t i = 1; i < table->total_count; i++) {
        if (hc_keyed_hash_equals(&list[i].key, &total.key))
            return i;
    }
    if (table->total_count > HC_FETCHED_TOTALS_MAX)
        return 0;
    list = reallocarray(list, table->total_count + 1, sizeof *list);
    if (!list)
        return 0;
    table->totals = list;
    if (total_init(&total, identity, rule) < 0) {
        total_clear(&total);
        return 0;
    }
    list[table->total_count] = total;
    return table->total_count++;
}

/* NULL of an anonymous caller. `identity` is filled. */
const struct hc_identity *hc_fetched_table_identity(const struct hc_caller_total *total,
                                                    struct hc_identity *identity)
{
    *identity = (struct hc_identity){
        .kind = total->kind ? total->kind : "",
        .name = total->name ? total->name : "",
        .groups = (const char *const *)total->groups.items,
        .group_count = total->groups.count,
    };
    return identity_is_anonymous(identity) ? NULL : identity;
}

/* ---- entries ----------------------------------------------------------------------- */

struct hc_keyed_hash hc_fetched_key(const struct hc_blob_id *blob)
{
    char text[KEY_SIZE];

    (void)hc_format(text, sizeof text, "%s/%s", blob->folder, blob->etag);
    return hc_keyed_hash_of(text);
}

static uint32_t *entry_bucket(const struct hc_fetched_table *table,
                              const struct hc_keyed_hash *key)
{
    uint64_t hash;

    memcpy(&hash, key->bytes, sizeof hash);
    return &table->buckets[hash % table->entry_capacity];
}

/* 0: there is none. */
uint32_t hc_fetched_table_find(const struct hc_fetched_table *table,
                               const struct hc_keyed_hash *key)
{
    uint32_t i = table->entry_capacity > 0 ? *entry_bucket(table, key) : 0;

    while (i != 0 && !hc_keyed_hash_equals(&table->entries[i].key, key))
        i = table->entries[i].next;
    return i;
}

static void entry_link(struct hc_fetched_table *table, uint32_t i)
{
    struct hc_fetched_entry *entry = &table->entries[i];
    uint32_t *bucket = entry_bucket(table, &entry->key);

    entry->next = *bucket;
    *bucket = i;
}

/* Makes room for twice as many, when no entry is free. */
static int entries_grow(struct hc_fetched_table *table)
{
    uint32_t capacity = table->entry_capacity;
    uint32_t wanted = capacity > 0 ? 2 * capacity : ENTRIES_MIN;
    struct hc_fetched_entry *entries;
    uint32_t *buckets;

    if (wanted < capacity)
        return -1;
    entries = reallocarray(table->entries, wanted, sizeof *entries);
    if (!entries)
        return -1;
    table->entries = entries;
    buckets = calloc(wanted, sizeof *buckets);
    if (!buckets)
        return -1;
    free(table->buckets);
    table->buckets = buckets;
    table->entry_capacity = wanted;
    if (capacity == 0)
        table->entry_count = 1;
    for (uint32_t i = 1; i < table->entry_count; i++)
        entry_link(table, i);
    return 0;
}

/* 0 when memory is short. */
uint32_t hc_fetched_table_add(struct hc_fetched_table *table,
                              const struct hc_keyed_hash *key)
{
    uint32_t i = table->free_entry;

    if (i != 0)
        table->free_entry = table->entries[i].next;
    else if (table->entry_count < table->entry_capacity || entries_grow(table) == 0)
        i = table->entry_count++;
    if (i == 0)
        return 0;
    table->entries[i] = (struct hc_fetched_entry){.key = *key};
    entry_link(table, i);
    return i;
}

void hc_fetched_table_remove(struct hc_fetched_table *table, uint32_t i)
{
    struct hc_fetched_entry *entry = &table->entries[i];
    uint32_t *link = entry_bucket(table, &entry->key);

    while (*link != i)
        link = &table->entries[*link].next;
    *link = entry->next;
    entry->next = table->free_entry;
    table->free_entry = i;
}

/* Counts it for its total, or no more. */
void hc_fetched_table_count(struct hc_fetched_table *table,
                            const struct hc_fetched_entry *entry, bool counts)
{
    struct hc_caller_total *total = &table->totals[entry->total];
    uint64_t *bytes = entry->inode != 0 ? &total->bytes : &total->reserved_bytes;

    *bytes += counts ? entry->bytes : -entry->bytes;
    if (entry->inode != 0)
        total->blobs += counts ? 1 : (uint64_t)-1;
}

struct hc_fetched_entry *hc_fetched_table_record(struct hc_fetched_table *table,
                                                 const struct hc_keyed_hash *key,
                                                 const struct hc_fetched_record *record)
{
    uint32_t i = hc_fetched_table_find(table, key);
    struct hc_fetched_entry *entry;

    if (i != 0)
        hc_fetched_table_count(table, &table->entries[i], false);
    else
        i = hc_fetched_table_add(table, key);
    if (i == 0)
        return NULL;
    entry = &table->entries[i];
    entry->total = record->total;
    entry->bytes = record->bytes;
    entry->inode = record->inode;
    hc_fetched_table_count(table, entry, true);
    return entry;
}

/* Its record, if it has one, is gone. */
void hc_fetched_table_forget(struct hc_fetched_table *table, uint32_t i)
{
    struct hc_fetched_entry *entry = &table->entries[i];

    hc_fetched_table_count(table, entry, false);
    entry->inode = 0;
    if (entry->reservations > 0)
        hc_fetched_table_count(table, entry, true);
    else
        hc_fetched_table_remove(table, i);
}

/* ---- the table --------------------------------------------------------------------- */

int hc_fetched_table_init(struct hc_fetched_table *table, struct hc_error *err)
{
    table->totals = calloc(1, sizeof *table->totals);
    if (!table->totals)
        return hc_fail_memory(err);
    table->total_count = 1;
    return 0;
}

void hc_fetched_table_clear(struct hc_fetched_table *table)
{
    for (uint32_t i = 0; i < table->total_count; i++)
        total_clear(&table->totals[i]);
    free(table->totals);
    free(table->entries);
    free(table->buckets);
}
