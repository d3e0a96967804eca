/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list has a row for each total at first; then rows of one name become one.
 */
#include "fetched_usage.h"

#include <base/error.h>
#include <base/size.h>
#include <base/text.h>
#include <cache/fetched_totals.h>

#include <stdlib.h>
#include <string.h>

struct usage_reading {
    const struct hc_rules *rules;
    const char *only;
    struct hc_fetched_usage *usage;
    struct hc_error *err;
    bool has_failed;
};

static int names_add(struct hc_named_usages *names, const struct hc_named_usage *row,
                     struct hc_error *err)
{
    struct hc_named_usage *items;

    /* As many as a power of two are full. */
    if ((names->count & (names->count - 1)) == 0) {
        items = reallocarray(names->items, names->count > 0 ? 2 * names->count : 1,
                             sizeof *items);
        if (!items)
            return hc_fail_memory(err);
        names->items = items;
    }
    items = &names->items[names->count];
    *items = *row;
    items->name = hc_text_copy(row->name, err);
    if (!items->name)
        return -1;
    names->count++;
    return 0;
}

static uint64_t quota_bytes(const struct hc_rules *rules,
                            const struct hc_identity *identity)
{
    const struct hc_quota *quota = rules ? hc_rules_find_quota(rules, identity) : NULL;

    return quota ? quota->bytes : 0;
}

/* A hc_fetched_total_fn. What is only reserved is not on the volume. */
static void usage_add_total(void *ctx, const struct hc_fetched_total *total)
{
    struct usage_reading *reading = ctx;
    const char *caller = total->identity ? total->identity->name : "";
    struct hc_named_usage row = {.bytes = total->bytes, .files = total->blobs};
    HC_AUTO_FREE char *name = NULL;

    if (reading->has_failed || total->blobs == 0 ||
        (reading->only && strcmp(caller, reading->only) != 0))
        return;
    if (!reading->only) {
        row.name = name = hc_text_copy(total->rule, reading->err);
        reading->has_failed =
            !name || names_add(&reading->usage->rules, &row, reading->err) < 0;
    }
    if (reading->has_failed)
        return;
    free(name);
    row.name = name = hc_text_copy(caller, reading->err);
    row.quota_bytes = quota_bytes(reading->rules, total->identity);
    reading->has_failed =
        !name || names_add(&reading->usage->callers, &row, reading->err) < 0;
}

static int row_compare_names(const void *a, const void *b)
{
    return strcmp(((const struct hc_named_usage *)a)->name,
                  ((const struct hc_named_usage *)b)->name);
}

static int row_compare_bytes(const void *a, const void *b)
{
    const struct hc_named_usage *one = a, *other = b;

    if (one->bytes != other->bytes)
        return one->bytes < other->bytes ? 1 : -1;
    return strcmp(one->name, other->name);
}

static void names_cut(struct hc_named_usages *names, size_t count)
{
    while (names->count > count)
        free(names->items[--names->count].name);
}

/* One row for each name, the largest first. */
static void names_merge(struct hc_named_usages *names)
{
    size_t kept = 0;

    if (names->count == 0)
        return;
    qsort(names->items, names->count, sizeof *names->items, row_compare_names);
    for (size_t i = 1; i < names->count; i++) {
        struct hc_named_usage *row = &names->items[i], *last = &names->items[kept];

        if (strcmp(row->name, last->name) != 0) {
            names->items[++kept] = *row;
            continue;
        }
        last->bytes = hc_size_add(last->bytes, row->bytes);
        last->files += row->files;
        if (last->quota_bytes == 0)
            last->quota_bytes = row->quota_bytes;
        free(row->name);
    }
    names->count = kept + 1;
    qsort(names->items, names->count, sizeof *names->items, row_compare_bytes);
    names_cut(names, HC_USAGE_NAMES_MAX);
}

int hc_fetched_usage_read(const struct hc_cache *cache, const struct hc_rules *rules,
                          const char *only, struct hc_cancellation *cancellation,
                          struct hc_fetched_usage *usage, struct hc_error *err)
{
    struct usage_reading reading = {.rules = rules,
                                    .only = only,
                                    .usage = usage,
                                    .err = err};

    *usage = (struct hc_fetched_usage){0};
    if (hc_fetched_totals_refresh(cache, HC_FETCHED_USAGE_AGE_MS, cancellation, err) < 0)
        return -1;
    hc_fetched_totals_list(cache, usage_add_total, &reading);
    names_merge(&usage->callers);
    names_merge(&usage->rules);
    return reading.has_failed ? -1 : 0;
}

void hc_fetched_usage_clear(struct hc_fetched_usage *usage)
{
    names_cut(&usage->callers, 0);
    names_cut(&usage->rules, 0);
    free(usage->callers.items);
    free(usage->rules.items);
    *usage = (struct hc_fetched_usage){0};
}
