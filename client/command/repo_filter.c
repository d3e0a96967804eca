/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A filter is a key, an operator and a value. Of a repo, refs, completeness, pins and
 * leases are those of its revisions: one that matches suffices.
 */
#include "repo_filter.h"

#include "base/text.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    enum hc_filter_key key;
} keys[] = {
    {"size", HC_FILTER_SIZE},         {"accessed", HC_FILTER_ACCESSED},
    {"modified", HC_FILTER_MODIFIED}, {"leases", HC_FILTER_LEASES},
    {"type", HC_FILTER_TYPE},         {"refs", HC_FILTER_REFS},
    {"pinned", HC_FILTER_PINNED},     {"completeness", HC_FILTER_COMPLETENESS},
};

/* The longer ones first. */
static const struct {
    const char *text;
    enum hc_filter_operator is;
} operators[] = {
    {"!=", HC_FILTER_DIFFERENT}, {">=", HC_FILTER_AT_LEAST}, {"<=", HC_FILTER_AT_MOST},
    {">", HC_FILTER_MORE},       {"<", HC_FILTER_LESS},      {"=", HC_FILTER_EQUAL},
};

const char *hc_completeness_word(Hubcache__V1__Completeness completeness)
{
    switch (completeness) {
    case HUBCACHE__V1__COMPLETENESS__COMPLETENESS_COMPLETE:
        return "complete";
    case HUBCACHE__V1__COMPLETENESS__COMPLETENESS_PARTIAL:
        return "partial";
    default:
        return "unknown";
    }
}

/* ---- parsing ----------------------------------------------------------------------- */

static bool filter_has_number(const struct hc_repo_filter *filter)
{
    return filter->key <= HC_FILTER_LEASES;
}

/* Takes the key off the start of the text, with the blanks after it. */
static bool filter_take_key(const char **text, struct hc_repo_filter *filter)
{
    size_t length = strcspn(*text, "!<>= ");

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strlen(keys[i].name) != length ||
            strncasecmp(keys[i].name, *text, length) != 0)
            continue;
        filter->key = keys[i].key;
        *text += length;
        *text += strspn(*text, " ");
        return true;
    }
    return false;
}

static bool filter_take_operator(const char **text, struct hc_repo_filter *filter)
{
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (!hc_text_starts(*text, operators[i].text))
            continue;
        filter->is = operators[i].is;
        *text += strlen(operators[i].text);
        *text += strspn(*text, " ");
        return true;
    }
    return false;
}

static int filter_parse_number(const char *text, struct hc_repo_filter *filter)
{
    uint64_t bytes;

    if (filter->key == HC_FILTER_ACCESSED || filter->key == HC_FILTER_MODIFIED)
        return hc_age_parse(text, &filter->number);
    if (hc_bytes_parse(text, &bytes) < 0)
        return -1;
    filter->number = (int64_t)bytes;
    return 0;
}

int hc_repo_filter_parse(const char *text, struct hc_repo_filter *filter,
                         const char **flaw)
{
    *filter = (struct hc_repo_filter){0};
    text += strspn(text, " ");
    *flaw = "its key is none of size, accessed, modified, type, refs, completeness, "
            "pinned and leases";
    if (!filter_take_key(&text, filter))
        return -1;
    *flaw = "there is none of =, !=, >, <, >= and <= after its key";
    if (!filter_take_operator(&text, filter))
        return -1;
    *flaw = "its value is missing";
    filter->text = text;
    if (!*text)
        return -1;
    *flaw = "its value is no size such as 1GB, or no age such as 7d";
    if (filter_has_number(filter))
        return filter_parse_number(text, filter);
    *flaw = "its key is compared with = or != only";
    if (filter->is != HC_FILTER_EQUAL && filter->is != HC_FILTER_DIFFERENT)
        return -1;
    *flaw = "pinned is true or false";
    return filter->key == HC_FILTER_PINNED && strcasecmp(text, "true") != 0 &&
                   strcasecmp(text, "false") != 0
               ? -1
               : 0;
}

/* ---- matching ---------------------------------------------------------------------- */

static bool number_compares(int64_t number, const struct hc_repo_filter *filter)
{
    switch (filter->is) {
    case HC_FILTER_EQUAL:
        return number == filter->number;
    case HC_FILTER_DIFFERENT:
        return number != filter->number;
    case HC_FILTER_LESS:
        return number < filter->number;
    case HC_FILTER_MORE:
        return number > filter->number;
    case HC_FILTER_AT_MOST:
        return number <= filter->number;
    default:
        return number >= filter->number;
    }
}

static const Google__Protobuf__Timestamp *entry_time(const struct hc_repo_entry *entry,
                                                     bool is_modification)
{
    if (entry->revision)
        return is_modification ? entry->revision->last_modified
                               : entry->revision->last_used;
    return is_modification ? entry->repo->last_modified : entry->repo->last_used;
}

static uint64_t entry_size(const struct hc_repo_entry *entry)
{
    return entry->revision ? entry->revision->size_bytes : entry->repo->size_bytes;
}

/* An entry without a time matches no age. */
static bool filter_matches_age(const struct hc_repo_filter *filter,
                               const struct hc_repo_entry *entry, int64_t now_s)
{
    const Google__Protobuf__Timestamp *time =
        entry_time(entry, filter->key == HC_FILTER_MODIFIED);

    return time && number_compares(now_s - time->seconds, filter);
}

static bool revision_has_ref(const Hubcache__V1__CachedRevision *revision,
                             const char *ref)
{
    for (size_t i = 0; i < revision->n_refs; i++) {
        if (strcasecmp(revision->refs[i], ref) == 0)
            return true;
    }
    return false;
}

/* What is equal, for a filter of that key; leases are compared as they are. */
static bool filter_matches_revision(const struct hc_repo_filter *filter,
                                    const Hubcache__V1__CachedRevision *revision)
{
    switch (filter->key) {
    case HC_FILTER_REFS:
        return revision_has_ref(revision, filter->text);
    case HC_FILTER_COMPLETENESS:
        return strcasecmp(hc_completeness_word(revision->completeness), filter->text) ==
               0;
    case HC_FILTER_PINNED:
        return revision->pinned == (strcasecmp(filter->text, "true") == 0);
    default:
        return number_compares(revision->leases, filter);
    }
}

static bool filter_matches_revisions(const struct hc_repo_filter *filter,
                                     const struct hc_repo_entry *entry)
{
    if (entry->revision)
        return filter_matches_revision(filter, entry->revision);
    for (size_t i = 0; i < entry->repo->n_revisions; i++) {
        if (filter_matches_revision(filter, entry->repo->revisions[i]))
            return true;
    }
    return false;
}

static bool filter_matches_type(const struct hc_repo_filter *filter,
                                const struct hc_repo_entry *entry)
{
    const char *type = hc_repo_type_name((enum hc_repo_type)entry->repo->repo_type);

    return type && strcasecmp(type, filter->text) == 0;
}

bool hc_repo_filter_matches(const struct hc_repo_filter *filter,
                            const struct hc_repo_entry *entry, int64_t now_s)
{
    bool is_equal;

    if (filter->key == HC_FILTER_SIZE)
        return number_compares((int64_t)entry_size(entry), filter);
    if (filter->key == HC_FILTER_ACCESSED || filter->key == HC_FILTER_MODIFIED)
        return filter_matches_age(filter, entry, now_s);
    if (filter->key == HC_FILTER_LEASES)
        return filter_matches_revisions(filter, entry);
    is_equal = filter->key == HC_FILTER_TYPE ? filter_matches_type(filter, entry)
                                             : filter_matches_revisions(filter, entry);
    return is_equal == (filter->is == HC_FILTER_EQUAL);
}

/* ---- order ------------------------------------------------------------------------- */

bool hc_repo_order_parse(const char *text, struct hc_repo_order *order)
{
    static const char *const names[] = {"name", "size", "accessed", "modified"};
    size_t length = strcspn(text, ":");

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i]) != length || strncasecmp(names[i], text, length) != 0)
            continue;
        order->key = (enum hc_order_key)i;
        order->is_descending = text[length] ? strcasecmp(text + length, ":desc") == 0
                                            : order->key != HC_ORDER_NAME;
        return text[length] == '\0' || order->is_descending ||
               strcasecmp(text + length, ":asc") == 0;
    }
    return false;
}

static int compare_numbers(int64_t left, int64_t right)
{
    return (left > right) - (left < right);
}

static int compare_times(const struct hc_repo_entry *left,
                         const struct hc_repo_entry *right, bool is_modification)
{
    const Google__Protobuf__Timestamp *a = entry_time(left, is_modification);
    const Google__Protobuf__Timestamp *b = entry_time(right, is_modification);
    int order = compare_numbers(a ? a->seconds : 0, b ? b->seconds : 0);

    return order != 0 ? order : compare_numbers(a ? a->nanos : 0, b ? b->nanos : 0);
}

static int compare_names(const struct hc_repo_entry *left,
                         const struct hc_repo_entry *right)
{
    int order = strcmp(left->repo->cache_path, right->repo->cache_path);

    if (order == 0 && left->revision && right->revision)
        order = strcmp(left->revision->commit_hash, right->revision->commit_hash);
    return order;
}

static int compare_entries(const void *left, const void *right, void *ctx)
{
    const struct hc_repo_order *by = ctx;
    int order = 0;

    if (by->key == HC_ORDER_SIZE)
        order = compare_numbers((int64_t)entry_size(left), (int64_t)entry_size(right));
    else if (by->key != HC_ORDER_NAME)
        order = compare_times(left, right, by->key == HC_ORDER_MODIFIED);
    else
        order = compare_names(left, right);
    if (order == 0)
        return compare_names(left, right);
    return by->is_descending ? -order : order;
}

void hc_repo_order_sort(const struct hc_repo_order *order, struct hc_repo_entry *entries,
                        size_t count)
{
    struct hc_repo_order by = *order;

    qsort_r(entries, count, sizeof *entries, compare_entries, &by);
}
