/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files are printed page by page as JSON lines would be, except that a table and a JSON
 * object need all of them: their rows are kept, not their pages.
 */
#include "inventory_output.h"

#include "base/error.h"
#include "base/text.h"
#include "output.h"
#include "repo_filter.h"
#include "repo_spec.h"
#include "table.h"
#include "units.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REFS_MAX = 512 /* bytes of refs in a table */ };

/* --- JSON --------------------------------------------------------------------------- */

static json_t *json_of_time(const Google__Protobuf__Timestamp *when)
{
    char text[HC_UNITS_TEXT_MAX];

    hc_time_format(text, when);
    return text[0] ? json_string(text) : json_null();
}

/* As `hubcache snapshot --json` has it. */
static json_t *json_of_completeness(Hubcache__V1__Completeness completeness)
{
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value(&hubcache__v1__completeness__descriptor,
                                             (int)completeness);

    return json_string(value ? value->name : "COMPLETENESS_UNSPECIFIED");
}

static json_t *json_of_revision(const Hubcache__V1__CachedRevision *revision)
{
    json_t *refs = json_array();

    for (size_t i = 0; i < revision->n_refs; i++)
        (void)json_array_append_new(refs, json_string(revision->refs[i]));
    return json_pack("{ss so so sI sI sI sb}", "commit_hash", revision->commit_hash,
                     "refs", refs, "completeness",
                     json_of_completeness(revision->completeness), "size_bytes",
                     (json_int_t)revision->size_bytes, "file_count",
                     (json_int_t)revision->file_count, "leases",
                     (json_int_t)revision->leases, "pinned", (int)revision->pinned);
}

static json_t *json_of_repo(const Hubcache__V1__CachedRepo *repo)
{
    const char *type = hc_repo_type_name((enum hc_repo_type)repo->repo_type);

    return json_pack("{ss ss sI so s[]}", "repo_id", repo->repo_id, "repo_type",
                     type ? type : "", "size_bytes", (json_int_t)repo->size_bytes,
                     "last_used", json_of_time(repo->last_used), "revisions");
}

/* Prints and releases it. */
static int json_print(json_t *object, struct hc_error *err)
{
    char *text = object ? json_dumps(object, 0) : NULL;

    json_decref(object);
    return hc_output_print_json(text, err);
}

static void json_add_entry(json_t *repo, const struct hc_repo_entry *entry)
{
    json_t *revisions = json_object_get(repo, "revisions");

    if (entry->revision)
        (void)json_array_append_new(revisions, json_of_revision(entry->revision));
    for (size_t i = 0; !entry->revision && i < entry->repo->n_revisions; i++)
        (void)json_array_append_new(revisions,
                                    json_of_revision(entry->repo->revisions[i]));
}

int hc_inventory_print_json(const struct hc_repo_entry *entries, size_t count,
                            struct hc_error *err)
{
    json_t *repos = json_array();
    json_t *by_folder = json_object(); /* revisions of a repo may be apart */

    for (size_t i = 0; i < count; i++) {
        const char *folder = entries[i].repo->cache_path;
        json_t *repo = json_object_get(by_folder, folder);

        if (!repo) {
            repo = json_of_repo(entries[i].repo);
            (void)json_array_append_new(repos, repo);
            (void)json_object_set(by_folder, folder, repo);
        }
        json_add_entry(repo, &entries[i]);
    }
    json_decref(by_folder);
    return json_print(json_pack("{so}", "repos", repos), err);
}

int hc_inventory_print_names(const struct hc_repo_entry *entries, size_t count,
                             struct hc_error *err)
{
    char name[256];

    for (size_t i = 0; i < count; i++) {
        const Hubcache__V1__CachedRepo *repo = entries[i].repo;

        hc_repo_spec_format((enum hc_repo_type)repo->repo_type, repo->repo_id, name);
        hc_text_escape(stdout,
                       entries[i].revision ? entries[i].revision->commit_hash : name, "");
        (void)fputc('\n', stdout);
    }
    return hc_output_flush(err);
}

/* --- tables ------------------------------------------------------------------------- */

static int row_add_size(struct hc_table *table, uint64_t bytes, struct hc_error *err)
{
    char text[HC_UNITS_TEXT_MAX];

    hc_bytes_format(text, bytes);
    return hc_table_add(table, text, err);
}

static int row_add_age(struct hc_table *table, const Google__Protobuf__Timestamp *when,
                       struct hc_error *err)
{
    char text[HC_UNITS_TEXT_MAX];

    hc_age_format(text, when, (int64_t)time(NULL));
    return hc_table_add(table, text, err);
}

static void text_add(char *text, size_t size, const char *word)
{
    size_t used = strlen(text);

    (void)snprintf(text + used, size - used, "%s%s", used > 0 ? " " : "", word);
}

/* Those of all its revisions, which the caller frees; they are not sorted. */
static char **repo_list_refs(const Hubcache__V1__CachedRepo *repo, size_t *count,
                             struct hc_error *err)
{
    char **refs;

    *count = 0;
    for (size_t i = 0; i < repo->n_revisions; i++)
        *count += repo->revisions[i]->n_refs;
    refs = calloc(*count + 1, sizeof *refs);
    if (!refs)
        (void)hc_fail_memory(err);
    *count = 0;
    for (size_t i = 0; refs && i < repo->n_revisions; i++) {
        for (size_t j = 0; j < repo->revisions[i]->n_refs; j++)
            refs[(*count)++] = repo->revisions[i]->refs[j];
    }
    return refs;
}

static int refs_compare(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static int row_add_refs(struct hc_table *table, char *const *refs, size_t count,
                        struct hc_error *err)
{
    char text[REFS_MAX] = "";

    for (size_t i = 0; i < count; i++)
        text_add(text, sizeof text, refs[i]);
    return hc_table_add(table, text, err);
}

/* "pinned kept 2 leases". */
static int row_add_holds(struct hc_table *table,
                         const Hubcache__V1__CachedRevision *revision,
                         struct hc_error *err)
{
    char holds[64] = "", leases[32];

    if (revision->pinned)
        text_add(holds, sizeof holds, "pinned");
    if (revision->kept)
        text_add(holds, sizeof holds, "kept");
    (void)snprintf(leases, sizeof leases, "%u lease%s", revision->leases,
                   revision->leases == 1 ? "" : "s");
    if (revision->leases > 0)
        text_add(holds, sizeof holds, leases);
    return hc_table_add(table, holds, err);
}

static int row_add_revision(struct hc_table *table, const struct hc_repo_entry *entry,
                            struct hc_error *err)
{
    const Hubcache__V1__CachedRevision *revision = entry->revision;

    return hc_table_add(table, revision->commit_hash, err) == 0 &&
                   row_add_size(table, revision->size_bytes, err) == 0 &&
                   row_add_age(table, revision->last_used, err) == 0 &&
                   row_add_age(table, revision->last_modified, err) == 0 &&
                   hc_table_add(table, hc_completeness_word(revision->completeness),
                                err) == 0 &&
                   row_add_holds(table, revision, err) == 0
               ? row_add_refs(table, revision->refs, revision->n_refs, err)
               : -1;
}

static int row_add_repo(struct hc_table *table, const struct hc_repo_entry *entry,
                        struct hc_error *err)
{
    const Hubcache__V1__CachedRepo *repo = entry->repo;
    size_t count;
    HC_AUTO_FREE char **refs = repo_list_refs(repo, &count, err);

    if (!refs)
        return -1;
    qsort(refs, count, sizeof *refs, refs_compare);
    return row_add_size(table, repo->size_bytes, err) == 0 &&
                   row_add_age(table, repo->last_used, err) == 0 &&
                   row_add_age(table, repo->last_modified, err) == 0
               ? row_add_refs(table, refs, count, err)
               : -1;
}

static int table_add_entry(struct hc_table *table, const struct hc_repo_entry *entry,
                           struct hc_error *err)
{
    char id[256];

    hc_repo_spec_format((enum hc_repo_type)entry->repo->repo_type, entry->repo->repo_id,
                        id);
    if (hc_table_add(table, id, err) < 0)
        return -1;
    return entry->revision ? row_add_revision(table, entry, err)
                           : row_add_repo(table, entry, err);
}

static int compare_repos(const void *left, const void *right)
{
    const struct hc_repo_entry *a = left, *b = right;

    return strcmp(a->repo->cache_path, b->repo->cache_path);
}

/* How many repos the entries are of. */
static size_t entries_count_repos(const struct hc_repo_entry *entries, size_t count)
{
    HC_AUTO_FREE struct hc_repo_entry *sorted = calloc(count + 1, sizeof *sorted);
    size_t repos = 0;

    if (!sorted || count == 0)
        return count;
    memcpy(sorted, entries, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_repos);
    for (size_t i = 0; i < count; i++)
        repos += i == 0 || compare_repos(&sorted[i - 1], &sorted[i]) != 0;
    return repos;
}

static void print_sum(const struct hc_repo_entry *entries, size_t count)
{
    size_t revisions = 0;
    uint64_t bytes = 0;
    char size[HC_UNITS_TEXT_MAX];

    for (size_t i = 0; i < count; i++) {
        revisions += entries[i].revision ? 1 : entries[i].repo->n_revisions;
        bytes += entries[i].revision ? entries[i].revision->size_bytes
                                     : entries[i].repo->size_bytes;
    }
    hc_bytes_format(size, bytes);
    (void)printf("%sFound %zu repo(s) for a total of %zu revision(s) and %s.\n",
                 count > 0 ? "\n" : "", entries_count_repos(entries, count), revisions,
                 size);
}

int hc_inventory_print_table(const struct hc_repo_entry *entries, size_t count,
                             bool has_revisions, struct hc_error *err)
{
    static const char *const repo_columns[] = {
        "ID", ">SIZE", "LAST_ACCESSED", "LAST_MODIFIED", "REFS", NULL};
    static const char *const revision_columns[] = {
        "ID",   "REVISION", ">SIZE", "LAST_ACCESSED", "LAST_MODIFIED", "COMPLETENESS",
        "HELD", "REFS",     NULL};
    HC_AUTO_VALUE(hc_table)
    table = {.columns = has_revisions ? revision_columns : repo_columns};

    for (size_t i = 0; i < count; i++) {
        if (table_add_entry(&table, &entries[i], err) < 0)
            return -1;
    }
    hc_table_print(&table);
    print_sum(entries, count);
    return hc_output_flush(err);
}

/* --- files -------------------------------------------------------------------------- */

/* What is printed when all pages have come. */
struct file_output {
    const struct hc_file_style *style;
    struct hc_table table;
    json_t *files;
    uint64_t bytes;
    size_t count;
};

static void file_output_clear(struct file_output *output)
{
    hc_table_clear(&output->table);
    json_decref(output->files);
}
HC_DEFINE_AUTO_VALUE(file_output, file_output_clear)

static int file_output_add(struct file_output *output,
                           const Hubcache__V1__CachedFile *file, struct hc_error *err)
{
    output->bytes += file->size_bytes;
    output->count++;
    if (output->style->is_json)
        return json_array_append_new(
                   output->files,
                   json_pack("{ss ss sI so so ss sb}", "filename", file->filename, "etag",
                             file->etag, "size_bytes", (json_int_t)file->size_bytes,
                             "last_used", json_of_time(file->last_used), "last_modified",
                             json_of_time(file->last_modified), "cache_path",
                             file->cache_path, "dangling", (int)file->dangling)) == 0
                   ? 0
                   : hc_fail_memory(err);
    if (output->style->is_quiet) {
        hc_text_escape(stdout, file->filename, "");
        (void)fputc('\n', stdout);
        return 0;
    }
    return row_add_size(&output->table, file->size_bytes, err) == 0 &&
                   row_add_age(&output->table, file->last_used, err) == 0 &&
                   row_add_age(&output->table, file->last_modified, err) == 0
               ? hc_table_add(&output->table, file->filename, err)
               : -1;
}

static int file_output_finish(struct file_output *output, const char *commit,
                              struct hc_error *err)
{
    char size[HC_UNITS_TEXT_MAX];

    if (output->style->is_json)
        return json_print(json_pack("{ss so}", "commit_hash", commit, "files",
                                    hc_take(&output->files)),
                          err);
    if (!output->style->is_quiet) {
        hc_table_print(&output->table);
        hc_bytes_format(size, output->bytes);
        (void)printf("\nFound %zu file(s) of revision %s and %s.\n", output->count,
                     commit, size);
    }
    return hc_output_flush(err);
}

int hc_inventory_print_files(struct hc_client *client,
                             Hubcache__V1__ListFilesRequest *request,
                             const struct hc_file_style *style, struct hc_error *err)
{
    static const char *const columns[] = {">SIZE", "LAST_ACCESSED", "LAST_MODIFIED",
                                          "FILE", NULL};
    const struct hc_channel_request call = {
        .method = HC_CACHE_METHOD("ListFiles"),
        .message = &request->base,
        .response = &hubcache__v1__list_files_response__descriptor,
    };
    HC_AUTO_VALUE(file_output)
    output = {.style = style, .table.columns = columns, .files = json_array()};
    HC_AUTO_MESSAGE *page = NULL;
    const Hubcache__V1__ListFilesResponse *response = NULL;

    do {
        ProtobufCMessage *next = hc_cache_call(client, &call, err);

        hc_message_auto(&page); /* whose token the request had */
        page = next;
        response = (const void *)page;
        if (!page)
            return -1;
        for (size_t i = 0; i < response->n_files; i++) {
            if (file_output_add(&output, response->files[i], err) < 0)
                return -1;
        }
        request->page_token = response->next_page_token;
    } while (request->page_token[0] != '\0');
    return file_output_finish(&output, response->commit_hash, err);
}

/* --- usage -------------------------------------------------------------------------- */

static void print_bytes_line(const char *name, uint64_t bytes)
{
    char size[HC_UNITS_TEXT_MAX];

    hc_bytes_format(size, bytes);
    (void)printf("%s: %s\n", name, size);
}

int hc_inventory_print_usage(const Hubcache__V1__GetUsageResponse *usage, size_t count,
                             struct hc_error *err)
{
    static const char *const columns[] = {"ID", ">SIZE", ">FILES", NULL};
    HC_AUTO_VALUE(hc_table) table = {.columns = columns};
    char files[32];

    for (size_t i = 0; i < count; i++) {
        (void)snprintf(files, sizeof files, "%llu",
                       (unsigned long long)usage->repos[i]->file_count);
        if (hc_table_add(&table, usage->repos[i]->name, err) < 0 ||
            row_add_size(&table, usage->repos[i]->size_bytes, err) < 0 ||
            hc_table_add(&table, files, err) < 0)
            return -1;
    }
    hc_table_print(&table);
    (void)fputc('\n', stdout);
    print_bytes_line("total, shared blobs once", usage->size_bytes);
    if (usage->limit_bytes > 0)
        print_bytes_line("limit", usage->limit_bytes);
    print_bytes_line("free on the volume", usage->free_bytes);
    if (usage->free_floor_bytes > 0)
        print_bytes_line("to stay free", usage->free_floor_bytes);
    return hc_output_flush(err);
}

bool hc_usage_key_parse(const char *text, enum hc_usage_key *key)
{
    static const char *const names[] = {[HC_USAGE_BY_REPO] = "repo",
                                        [HC_USAGE_BY_CALLER] = "caller",
                                        [HC_USAGE_BY_RULE] = "rule"};

    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i]) == 0) {
            *key = (enum hc_usage_key)i;
            return true;
        }
    }
    return false;
}

static int fetched_add_row(struct hc_table *table, const Hubcache__V1__Usage *row,
                           bool has_quota, struct hc_error *err)
{
    char files[32];

    (void)snprintf(files, sizeof files, "%llu", (unsigned long long)row->file_count);
    if (hc_table_add(table, row->name[0] ? row->name : "-", err) < 0 ||
        row_add_size(table, row->size_bytes, err) < 0 ||
        hc_table_add(table, files, err) < 0)
        return -1;
    if (!has_quota)
        return 0;
    return row->quota_bytes > 0 ? row_add_size(table, row->quota_bytes, err)
                                : hc_table_add(table, "-", err);
}

int hc_inventory_print_fetched(const Hubcache__V1__GetUsageResponse *usage,
                               enum hc_usage_key key, struct hc_error *err)
{
    static const char *const caller_columns[] = {"CALLER", ">SIZE", ">FILES", ">QUOTA",
                                                 NULL};
    static const char *const rule_columns[] = {"RULE", ">SIZE", ">FILES", NULL};
    bool is_caller = key == HC_USAGE_BY_CALLER;
    HC_AUTO_VALUE(hc_table)
    table = {.columns = is_caller ? caller_columns : rule_columns};
    Hubcache__V1__Usage *const *rows = is_caller ? usage->callers : usage->rules;
    size_t count = is_caller ? usage->n_callers : usage->n_rules;

    for (size_t i = 0; i < count; i++) {
        if (fetched_add_row(&table, rows[i], is_caller, err) < 0)
            return -1;
    }
    hc_table_print(&table);
    return hc_output_flush(err);
}

static json_t *json_of_usages(Hubcache__V1__Usage *const *rows, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(
            array, json_pack("{ss sI sI sI}", "name", rows[i]->name, "size_bytes",
                             (json_int_t)rows[i]->size_bytes, "file_count",
                             (json_int_t)rows[i]->file_count, "quota_bytes",
                             (json_int_t)rows[i]->quota_bytes));
    return array;
}

int hc_inventory_print_usage_json(const Hubcache__V1__GetUsageResponse *usage,
                                  size_t count, struct hc_error *err)
{
    return json_print(json_pack("{sI sI sI sI sI so so so so}", "size_bytes",
                                (json_int_t)usage->size_bytes, "file_count",
                                (json_int_t)usage->file_count, "limit_bytes",
                                (json_int_t)usage->limit_bytes, "free_bytes",
                                (json_int_t)usage->free_bytes, "free_floor_bytes",
                                (json_int_t)usage->free_floor_bytes, "repos",
                                json_of_usages(usage->repos, count), "callers",
                                json_of_usages(usage->callers, usage->n_callers), "rules",
                                json_of_usages(usage->rules, usage->n_rules), "scanned",
                                json_of_time(usage->scanned)),
                      err);
}
