/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names are in one block of memory, and found by open addressing: a repo may have a
 * million blobs, each of which takes about 130 bytes here.
 */
#include "blob_table.h"

#include <base/file.h>
#include <base/hash.h>

#include <fcntl.h>
#include <string.h>

enum { FIRST_ROOM = 64, FIRST_NAMES_ROOM = 4096, BLOCK = 512 /* of st_blocks */ };

/* ---- memory ------------------------------------------------------------------------ */

static int table_reserve_item(struct hc_blob_table *table, struct hc_error *err)
{
    size_t room = table->capacity ? 2 * table->capacity : FIRST_ROOM;
    struct hc_cached_blob *grown;

    if (table->count < table->capacity)
        return 0;
    grown = reallocarray(table->items, room, sizeof *grown);
    if (!grown)
        return hc_fail_memory(err);
    table->items = grown;
    table->capacity = room;
    return 0;
}

static int table_reserve_name(struct hc_blob_table *table, size_t size,
                              struct hc_error *err)
{
    size_t room = table->names_capacity ? table->names_capacity : FIRST_NAMES_ROOM;
    char *grown;

    while (room < table->names_size + size + 1)
        room *= 2;
    if (room == table->names_capacity)
        return 0;
    grown = realloc(table->names, room);
    if (!grown)
        return hc_fail_memory(err);
    table->names = grown;
    table->names_capacity = room;
    if (table->names_size == 0)
        table->names[table->names_size++] = '\0';
    return 0;
}

static size_t slot_find(const struct hc_blob_table *table, const char *etag)
{
    size_t mask = table->slot_count - 1;
    size_t slot = (size_t)hc_hash_bytes(HC_HASH_START, etag, strlen(etag)) & mask;

    while (table->slots[slot] != 0 &&
           strcmp(hc_blob_table_name(table, table->slots[slot] - 1), etag) != 0)
        slot = (slot + 1) & mask;
    return slot;
}

/* At most half of the slots are taken. */
static int table_reserve_slot(struct hc_blob_table *table, struct hc_error *err)
{
    size_t count = table->slot_count ? 2 * table->slot_count : (size_t)2 * FIRST_ROOM;
    uint32_t *slots;

    if (2 * (table->count + 1) <= table->slot_count)
        return 0;
    slots = calloc(count, sizeof *slots);
    if (!slots)
        return hc_fail_memory(err);
    free(table->slots);
    table->slots = slots;
    table->slot_count = count;
    for (size_t i = 0; i < table->count; i++) {
        const char *name = hc_blob_table_name(table, i);

        if (*name)
            table->slots[slot_find(table, name)] = (uint32_t)i + 1;
    }
    return 0;
}

/* ---- entries ----------------------------------------------------------------------- */

static void blob_set(struct hc_cached_blob *blob, const struct stat *status)
{
    blob->size = (uint64_t)status->st_size;
    blob->room = (uint64_t)status->st_blocks * BLOCK;
    blob->used_ms = hc_file_time_ms(&status->st_atim);
    blob->modified_ms = hc_file_time_ms(&status->st_mtim);
    blob->is_there = true;
}

int64_t hc_blob_table_find(struct hc_blob_table *table, const char *etag,
                           struct hc_error *err)
{
    size_t size = strlen(etag) + 1;
    size_t slot;

    if (table_reserve_slot(table, err) < 0)
        return -1;
    slot = slot_find(table, etag);
    if (table->slots[slot] != 0)
        return table->slots[slot] - 1;
    if (table_reserve_item(table, err) < 0 || table_reserve_name(table, size, err) < 0)
        return -1;
    table->items[table->count] = (struct hc_cached_blob){.name = table->names_size};
    memcpy(table->names + table->names_size, etag, size);
    table->names_size += size;
    table->slots[slot] = (uint32_t)table->count + 1;
    return (int64_t)table->count++;
}

int64_t hc_blob_table_add(struct hc_blob_table *table, const struct stat *status,
                          struct hc_error *err)
{
    if (table_reserve_item(table, err) < 0 || table_reserve_name(table, 0, err) < 0)
        return -1;
    table->items[table->count] = (struct hc_cached_blob){.owner = HC_BLOB_OF_NONE};
    blob_set(&table->items[table->count], status);
    table->items[table->count].is_linked = status->st_nlink > 1;
    return (int64_t)table->count++;
}

const char *hc_blob_table_name(const struct hc_blob_table *table, size_t number)
{
    return table->names + table->items[number].name;
}

void hc_blob_table_look(struct hc_blob_table *table, int blobs, size_t number)
{
    struct hc_cached_blob *blob = &table->items[number];
    const char *name = hc_blob_table_name(table, number);
    struct stat status;

    if (blob->is_there || fstatat(blobs, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    blob->is_payload = S_ISLNK(status.st_mode);
    blob->is_linked = !blob->is_payload && status.st_nlink > 1;
    if (blob->is_payload && fstatat(blobs, name, &status, 0) < 0)
        return;
    if (S_ISREG(status.st_mode))
        blob_set(blob, &status);
}

void hc_blob_table_clear(struct hc_blob_table *table)
{
    free(table->items);
    free(table->names);
    free(table->slots);
    *table = (struct hc_blob_table){0};
}
