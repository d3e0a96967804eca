/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages name the next step themselves; a hint adds only what the command alone knows,
 * which is its own options. Durations and sizes have one table of units each.
 *
 * JSON is made with json_pack(), whose format "o" takes over a value and passes on the
 * failure of one that is NULL, so only the last result is checked. Names of enums are
 * those of the proto file, as protobuf's own JSON has them; a number without a name, from
 * a newer server, is printed as the unspecified one.
 *
 * Text from the network may hold sequences that a terminal obeys. It is escaped wherever
 * a person reads it; only a path on a pipe is printed as it is, because a program opens
 * it.
 */
#include "output.h"

#include "base/error.h"
#include "base/text.h"

#include <errno.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void hc_duration_format(char text[HC_UNITS_TEXT_MAX], uint64_t seconds)
{
    unsigned second = (unsigned)(seconds % 60);
    unsigned minute = (unsigned)(seconds / 60 % 60);

    if (seconds < 3600)
        (void)snprintf(text, HC_UNITS_TEXT_MAX, "%u:%02u", minute, second);
    else
        (void)snprintf(text, HC_UNITS_TEXT_MAX, "%llu:%02u:%02u",
                       (unsigned long long)(seconds / 3600), minute, second);
}

/* One digit after the point, as `ls -h` and the Hub's pages have it. */
void hc_bytes_format(char text[HC_UNITS_TEXT_MAX], uint64_t bytes)
{
    static const char *const names[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes / 1000;
    size_t i = 0;

    if (bytes < 1000) {
        (void)snprintf(text, HC_UNITS_TEXT_MAX, "%u B", (unsigned)bytes);
        return;
    }
    /* A value that would be printed as 1000.0 belongs to the next unit. */
    for (; value >= 999.95 && i + 1 < sizeof names / sizeof *names; i++)
        value /= 1000;
    (void)snprintf(text, HC_UNITS_TEXT_MAX, "%.1f %s", value, names[i]);
}

static const char *json_source_name(enum hc_client_source source)
{
    static const char *const names[] = {
        [HC_CLIENT_SOURCE_UNSPECIFIED] = "SOURCE_UNSPECIFIED",
        [HC_CLIENT_SOURCE_CACHE] = "SOURCE_CACHE",
        [HC_CLIENT_SOURCE_HUB] = "SOURCE_HUB",
        [HC_CLIENT_SOURCE_LOCAL] = "SOURCE_LOCAL",
    };

    return names[(size_t)source < sizeof names / sizeof *names ? source : 0];
}

static const char *json_completeness_name(enum hc_client_completeness completeness)
{
    static const char *const names[] = {
        [HC_CLIENT_COMPLETENESS_UNSPECIFIED] = "COMPLETENESS_UNSPECIFIED",
        [HC_CLIENT_COMPLETE] = "COMPLETENESS_COMPLETE",
        [HC_CLIENT_PARTIAL] = "COMPLETENESS_PARTIAL",
        [HC_CLIENT_UNKNOWN] = "COMPLETENESS_UNKNOWN",
    };

    return names[(size_t)completeness < sizeof names / sizeof *names ? completeness : 0];
}

/* The fields of hubcache.v1.ResolvedFile. */
static json_t *json_of_file(const struct hc_client_file *file)
{
    return json_pack("{ss ss ss ss ss sI ss sb}", "path", file->path, "cache_path",
                     file->cache_path, "filename", file->filename, "commit_hash",
                     file->commit_hash, "etag", file->etag, "size_bytes",
                     (json_int_t)file->size_bytes, "source",
                     json_source_name(file->source), "stale", (int)file->stale);
}

/* An empty list is an empty array and not left out, so that scripts may always index
 * it. */
static json_t *json_of_files(const struct hc_client_file *files, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; array && i < count; i++) {
        if (json_array_append_new(array, json_of_file(&files[i])) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *json_of_texts(char *const *texts, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; array && i < count; i++) {
        if (json_array_append_new(array, json_string(texts[i])) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* Takes over `object`. NULL when it is NULL or cannot be written. */
static char *json_line(json_t *object)
{
    char *line = object ? json_dumps(object, 0) : NULL;

    json_decref(object);
    return line;
}

/* An answer of this process's own making has none. */
static const char *text_or_empty(const char *text)
{
    return text ? text : "";
}

/* The fields of both answers, of one file and of several. */
char *hc_output_json_of_file(const struct hc_client_file *file)
{
    return json_line(json_pack("{so so s[] ss ss ss}", "file", json_of_file(file),
                               "files", json_of_files(file, 1), "missing", "commit_hash",
                               file->commit_hash, "cache_id", file->cache_id, "lease_id",
                               text_or_empty(file->lease_id)));
}

char *hc_output_json_of_files(const struct hc_client_files *files)
{
    return json_line(
        json_pack("{so so ss ss ss}", "files", json_of_files(files->items, files->count),
                  "missing", json_of_texts(files->missing, files->missing_count),
                  "commit_hash", files->commit_hash, "cache_id", files->cache_id,
                  "lease_id", text_or_empty(files->lease_id)));
}

char *hc_output_json_of_snapshot(const struct hc_client_snapshot *snapshot)
{
    return json_line(json_pack(
        "{ss ss ss ss so sI sI sI sI ss sb ss ss so so sI}", "path", snapshot->path,
        "cache_path", snapshot->cache_path, "commit_hash", snapshot->commit_hash,
        "completeness", json_completeness_name(snapshot->completeness), "missing",
        json_of_texts(snapshot->missing, snapshot->missing_listed), "missing_total",
        (json_int_t)snapshot->missing_total, "file_count",
        (json_int_t)snapshot->file_count, "size_bytes", (json_int_t)snapshot->size_bytes,
        "downloaded_bytes", (json_int_t)snapshot->downloaded_bytes, "source",
        json_source_name(snapshot->source), "stale", (int)snapshot->stale, "cache_id",
        snapshot->cache_id, "lease_id", text_or_empty(snapshot->lease_id), "files",
        json_of_files(snapshot->files, snapshot->listed), "excluded",
        json_of_texts(snapshot->excluded, snapshot->excluded_listed), "excluded_total",
        (json_int_t)snapshot->excluded_total));
}

char *hc_output_json_of_info(const struct hc_client_info *info)
{
    return json_line(json_pack("{ss ss ss sb ss}", "version", info->version, "cache_root",
                               info->cache_root, "cache_id", info->cache_id, "offline",
                               (int)info->offline, "endpoint", info->endpoint));
}

static const char *status_name(enum hc_status status)
{
    static const char *const names[] = {
        [HC_STATUS_OK] = "OK",
        [HC_STATUS_CANCELLED] = "CANCELLED",
        [HC_STATUS_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
        [HC_STATUS_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
        [HC_STATUS_NOT_FOUND] = "NOT_FOUND",
        [HC_STATUS_PERMISSION_DENIED] = "PERMISSION_DENIED",
        [HC_STATUS_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
        [HC_STATUS_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
        [HC_STATUS_INTERNAL] = "INTERNAL",
        [HC_STATUS_UNAVAILABLE] = "UNAVAILABLE",
        [HC_STATUS_DATA_LOSS] = "DATA_LOSS",
        [HC_STATUS_UNAUTHENTICATED] = "UNAUTHENTICATED",
    };

    return names[status];
}

static int json_set_text(json_t *object, const char *key, const char *text)
{
    if (!text || text[0] == '\0')
        return 0;
    return json_object_set_new(object, key, json_string(text));
}

/* A number that is 0 says nothing of its kind. */
static int json_set_number(json_t *object, const char *key, uint64_t number)
{
    if (number == 0)
        return 0;
    return json_object_set_new(object, key, json_integer((json_int_t)number));
}

/* The names are those of ErrorInfo's metadata; `field`, `link` are of other details. */
static json_t *json_of_metadata(const struct hc_error *err,
                                const struct hc_client_repo *repo)
{
    json_t *object = json_object();

    if (object && json_set_text(object, "repo_id", repo->id) == 0 &&
        json_set_text(object, "repo_type",
                      repo->id ? hc_repo_type_name(repo->type) : NULL) == 0 &&
        json_set_text(object, "revision", repo->revision) == 0 &&
        json_set_text(object, "filename", err->filename) == 0 &&
        json_set_text(object, "field", err->field) == 0 &&
        json_set_text(object, "link", err->link) == 0 &&
        json_set_text(object, "missing", err->missing) == 0 &&
        json_set_number(object, "missing_count", err->missing_count) == 0 &&
        json_set_text(object, "rule", err->rule) == 0 &&
        json_set_text(object, "rule_message", err->rule_message) == 0 &&
        json_set_text(object, "alternative", err->alternative) == 0 &&
        json_set_number(object, "needed_bytes", err->needed_bytes) == 0 &&
        json_set_number(object, "free_bytes", err->free_bytes) == 0)
        return object;
    json_decref(object);
    return NULL;
}

char *hc_output_json_of_failure(const struct hc_error *err, const char *hint,
                                const struct hc_client_repo *repo)
{
    return json_line(json_pack(
        "{s{ss ss ss ss si sI so}}", "error", "reason", hc_reason_name(err->reason),
        "status", status_name(hc_reason_status(err->reason)), "message", err->message,
        "hint", hint, "exit_code", (int)hc_reason_exit(err->reason), "retry_delay_ms",
        (json_int_t)err->retry_after_ms, "metadata", json_of_metadata(err, repo)));
}

/* The name of the command stands before each line, as it may be one of many in a
 * script. */
static void print_message(const char *message)
{
    (void)fputs("hubcache: ", stderr);
    hc_text_escape(stderr, message, "");
    (void)fputc('\n', stderr);
}

/*
 * Prints the missing files of INCOMPLETE_SNAPSHOT, one a line. The error holds the first
 * names only, separated by newlines, and the number of all.
 */
static void print_missing_names(const struct hc_error *err)
{
    char names[sizeof err->missing];
    char *rest = names;
    unsigned listed = 0;

    memcpy(names, err->missing, sizeof names);
    for (const char *name = strsep(&rest, "\n"); name; name = strsep(&rest, "\n")) {
        if (name[0] == '\0')
            continue;
        (void)fputs("  missing: ", stderr);
        hc_text_escape(stderr, name, "");
        (void)fputc('\n', stderr);
        listed++;
    }
    if (listed > 0 && err->missing_count > listed)
        (void)fprintf(stderr, "  and %u more\n", err->missing_count - listed);
}

void hc_output_hint(const struct hc_error *err, char *hint, unsigned size)
{
    const char *token = "to use your own Hub token, put it into HUBCACHE_HUB_TOKEN or "
                        "give --hub-token-file FILE";

    hint[0] = '\0';
    if (err->retry_after_ms > 0)
        (void)snprintf(hint, size, "try again in %u s",
                       err->retry_after_ms / 1000 + (err->retry_after_ms % 1000 != 0));
    else if (err->link[0] != '\0')
        (void)snprintf(hint, size, "see %s; %s", err->link, token);
    else if (err->reason == HC_HUB_UNAUTHORIZED)
        (void)snprintf(hint, size, "%s", token);
    else if (err->reason == HC_CALLER_UNAUTHENTICATED)
        (void)snprintf(hint, size,
                       "put the token for hubcache into HUBCACHE_TOKEN or give "
                       "--token-file FILE");
}

int hc_output_print_failure(const struct hc_error *err, const char *hint)
{
    print_message(err->message);
    print_missing_names(err);
    if (hint[0] != '\0')
        print_message(hint);
    return (int)hc_reason_exit(err->reason);
}

void hc_output_print_note(const char *message)
{
    print_message(message);
}

/* A full disk or a closed pipe shows only now: stdio buffers what was printed. */
int hc_output_flush(struct hc_error *err)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    return hc_fail(err, HC_INTERNAL, "standard output: %s", strerrordesc_np(errno));
}

void hc_output_print_field(const char *name, const char *value)
{
    (void)printf("%s: ", name);
    hc_text_escape(stdout, value, "");
    (void)fputc('\n', stdout);
}

/* A program that reads the output gets the bytes that open(2) takes. */
int hc_output_print_path(const char *text, struct hc_error *err)
{
    if (isatty(STDOUT_FILENO))
        hc_text_escape(stdout, text, "");
    else
        (void)fputs(text, stdout);
    (void)fputc('\n', stdout);
    return hc_output_flush(err);
}

int hc_output_print_json(char *json, struct hc_error *err)
{
    int result;

    if (!json)
        return hc_fail(
            err, HC_INTERNAL,
            "the answer cannot be written as JSON: is the mount's path UTF-8?");
    hc_text_escape(stdout, json,
                   ""); /* \uXXXX is JSON too: a parser sees no difference */
    (void)fputc('\n', stdout);
    result = hc_output_flush(err);
    free(json);
    return result;
}
