/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A row for each repo, revision or file that is removed. Of what is kept the reason
 * matters, so it is a sentence.
 */
#include "removal_output.h"

#include "base/text.h"
#include "output.h"
#include "repo_spec.h"
#include "table.h"
#include "units.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

enum { COMMIT_SHOWN = 8, NOTE_SIZE = 1024 };

static const char *held_by_word(Hubcache__V1__HeldBy held_by)
{
    switch (held_by) {
    case HUBCACHE__V1__HELD_BY__HELD_BY_LEASE:
        return "lease";
    case HUBCACHE__V1__HELD_BY__HELD_BY_PIN:
        return "pin";
    case HUBCACHE__V1__HELD_BY__HELD_BY_KEEP:
        return "keep";
    case HUBCACHE__V1__HELD_BY__HELD_BY_TRANSFER:
        return "transfer";
    case HUBCACHE__V1__HELD_BY__HELD_BY_FAILURE:
        return "failure";
    case HUBCACHE__V1__HELD_BY__HELD_BY_RETENTION:
        return "retention";
    default:
        return "unknown";
    }
}

/* ---- the table --------------------------------------------------------------------- */

static int table_add_removed(struct hc_table *table, const Hubcache__V1__Removed *removed,
                             struct hc_error *err)
{
    char repo[256], commit[16], freed[HC_UNITS_TEXT_MAX], used[HC_UNITS_TEXT_MAX];
    const char *const cells[] = {repo,  commit, removed->filename,
                                 freed, used,   removed->detail};

    hc_repo_spec_format((enum hc_repo_type)removed->repo_type, removed->repo_id, repo);
    (void)snprintf(commit, sizeof commit, "%.*s", COMMIT_SHOWN, removed->commit_hash);
    hc_bytes_format(freed, removed->freed_bytes);
    hc_age_format(used, removed->last_used, (int64_t)time(NULL));
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        if (hc_table_add(table, cells[i][0] ? cells[i] : "-", err) < 0)
            return -1;
    }
    return 0;
}

static void print_kept(const Hubcache__V1__Kept *kept)
{
    char repo[256], note[NOTE_SIZE];

    hc_repo_spec_format((enum hc_repo_type)kept->repo_type, kept->repo_id, repo);
    (void)snprintf(note, sizeof note, "kept: %s%s%.*s (%s%s%s)", repo,
                   kept->commit_hash[0] ? "@" : "", COMMIT_SHOWN, kept->commit_hash,
                   held_by_word(kept->held_by), kept->detail[0] ? ": " : "",
                   kept->detail);
    hc_output_print_note(note);
}

/* What the server's answer has no place for. */
static void print_more(uint64_t total, size_t listed, const char *verb)
{
    char note[NOTE_SIZE];

    if (total <= listed)
        return;
    (void)snprintf(note, sizeof note, "%" PRIu64 " more %s", total - listed, verb);
    hc_output_print_note(note);
}

int hc_removal_print(const struct hc_removal_output *output, struct hc_error *err)
{
    static const char *const columns[] = {"ID",        "REVISION", "FILE", ">FREED",
                                          "LAST_USED", "WHY",      NULL};
    HC_AUTO_VALUE(hc_table) table = {.columns = columns};
    char freed[HC_UNITS_TEXT_MAX], note[NOTE_SIZE];

    for (size_t i = 0; i < output->removed_count; i++) {
        if (table_add_removed(&table, output->removed[i], err) < 0)
            return -1;
    }
    if (output->removed_count > 0)
        hc_table_print(&table);
    if (hc_output_flush(err) < 0)
        return -1;
    print_more(output->removed_total, output->removed_count, "go");
    for (size_t i = 0; i < output->kept_count; i++)
        print_kept(output->kept[i]);
    print_more(output->kept_total, output->kept_count, "are kept");
    hc_bytes_format(freed, output->freed_bytes);
    (void)snprintf(note, sizeof note, "%s %s free", freed,
                   output->is_planned ? "would become" : "became");
    hc_output_print_note(note);
    return 0;
}

/* ---- JSON -------------------------------------------------------------------------- */

static json_t *json_of_removed(const Hubcache__V1__Removed *removed)
{
    const char *type = hc_repo_type_name((enum hc_repo_type)removed->repo_type);
    char used[HC_UNITS_TEXT_MAX];

    hc_time_format(used, removed->last_used);
    return json_pack("{ss ss ss ss sI so ss}", "repo_id", removed->repo_id, "repo_type",
                     type ? type : "", "commit_hash", removed->commit_hash, "filename",
                     removed->filename, "freed_bytes", (json_int_t)removed->freed_bytes,
                     "last_used", used[0] ? json_string(used) : json_null(), "detail",
                     removed->detail);
}

static json_t *json_of_kept(const Hubcache__V1__Kept *kept)
{
    const char *type = hc_repo_type_name((enum hc_repo_type)kept->repo_type);

    return json_pack("{ss ss ss ss ss}", "repo_id", kept->repo_id, "repo_type",
                     type ? type : "", "commit_hash", kept->commit_hash, "held_by",
                     held_by_word(kept->held_by), "detail", kept->detail);
}

json_t *hc_removal_json(const struct hc_removal_output *output)
{
    json_t *removed = json_array(), *kept = json_array();

    for (size_t i = 0; i < output->removed_count; i++)
        (void)json_array_append_new(removed, json_of_removed(output->removed[i]));
    for (size_t i = 0; i < output->kept_count; i++)
        (void)json_array_append_new(kept, json_of_kept(output->kept[i]));
    return json_pack("{so so sI sI sI sb}", "removed", removed, "kept", kept,
                     "removed_total", (json_int_t)output->removed_total, "kept_total",
                     (json_int_t)output->kept_total, "freed_bytes",
                     (json_int_t)output->freed_bytes, "dry_run", (int)output->is_planned);
}

bool hc_removal_has_failed(const struct hc_removal_output *output)
{
    for (size_t i = 0; i < output->kept_count; i++) {
        if (output->kept[i]->held_by == HUBCACHE__V1__HELD_BY__HELD_BY_FAILURE)
            return true;
    }
    return false;
}
