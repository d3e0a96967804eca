/* SPDX-License-Identifier: Apache-2.0 */
#include "status_cache.h"

#include "html.h"

#include <hubcache/keep.h>
#include <hubcache/usage.h>
#include <hubcache/verification.h>

#include <inttypes.h>

/* ---- repos ------------------------------------------------------------------------- */

static void write_repo_row(const struct hc_status_facts *facts,
                           const struct hc_repo_usage *repo, FILE *out)
{
    uint64_t largest = facts->usage.repos[0].bytes;

    (void)fputs("<tr><th scope=\"row\">", out);
    hc_html_repo(out, repo->type, repo->id);
    (void)fprintf(
        out,
        "</th><td class=\"bar\" aria-hidden=\"true\"><svg viewBox=\"0 0 1000 1\" "
        "preserveAspectRatio=\"none\"><rect width=\"%" PRIu64
        "\" height=\"1\"/></svg></td><td class=\"n\" data-label=\"Size\">",
        largest > 0 ? (uint64_t)((double)repo->bytes * 1000 / (double)largest) : 0);
    hc_html_bytes(out, repo->bytes);
    (void)fputs("</td><td class=\"n\" data-label=\"Used\">", out);
    if (repo->last_used_ms > 0)
        hc_html_age(out, facts->now_ms, repo->last_used_ms);
    else
        (void)fputs("–", out);
    (void)fputs("</td><td class=\"n minor\">", out);
    hc_html_count(out, repo->files);
    (void)fputs("</td><td class=\"n minor\">", out);
    hc_html_count(out, repo->revisions);
    (void)fputs("</td></tr>\n", out);
}

static void write_scan(const struct hc_status_facts *facts, FILE *out)
{
    const struct hc_usage *usage = &facts->usage;

    (void)fputs("<p class=\"empty\">", out);
    hc_html_count(out, usage->repo_count);
    (void)fputs(usage->repo_count == 1 ? " repo" : " repos", out);
    if (usage->listed < usage->repo_count)
        (void)fprintf(out,
                      facts->is_limited ? " (%zu that you may see are listed)"
                                        : " (the %zu largest are listed)",
                      usage->listed);
    (void)fputs(", ", out);
    hc_html_count(out, usage->files);
    (void)fputs(usage->files == 1 ? " file, " : " files, ", out);
    hc_html_bytes(out, usage->bytes);
    (void)fputs("; scanned ", out);
    hc_html_age(out, facts->now_ms, usage->began_ms + usage->took_ms);
    (void)fputs(", which took ", out);
    hc_html_duration(out, usage->took_ms);
    (void)fputs(usage->is_incomplete ? ". Parts of the cache could not be read.</p>"
                                     : ".</p>",
                out);
}

/* ---- kept revisions ---------------------------------------------------------------- */

static const char *behind_state(const struct hc_keep_status *behind)
{
    if (behind->is_fetching)
        return "is being fetched";
    if (behind->is_remote)
        return "is fetched by another process";
    return hc_keep_state_name(hc_keep_state(behind));
}

/* One that is kept, and not whole. */
static void write_behind(const struct hc_status_facts *facts,
                         const struct hc_keep_status *behind, FILE *out)
{
    bool is_failing = hc_keep_state(behind) == HC_KEEP_FAILING;

    (void)fputs("<tr><th scope=\"row\">", out);
    hc_html_repo(out, behind->repo_type, behind->repo_id);
    (void)fputs(" <small>", out);
    hc_html_text(out, behind->revision);
    (void)fprintf(out, "</small></th><td class=\"%s\">%s", is_failing ? "bad" : "",
                  behind_state(behind));
    if (behind->behind_since_ms > 0) {
        (void)fputs(", behind since ", out);
        hc_html_age(out, facts->now_ms, behind->behind_since_ms);
    }
    (void)fputs("</td><td class=\"message\">", out);
    hc_html_text(out, behind->message);
    (void)fputs("</td></tr>\n", out);
}

static void write_kept(const struct hc_status_facts *facts, FILE *out)
{
    const unsigned *states = facts->kept.states;
    unsigned count = 0;

    for (unsigned i = 0; i < HC_KEEP_STATES; i++)
        count += states[i];
    if (count == 0)
        return;
    (void)fprintf(out, "<p class=\"empty\">%u kept %s", count,
                  count == 1 ? "revision" : "revisions");
    for (unsigned i = 0; i < HC_KEEP_STATES; i++) {
        if (states[i] > 0)
            (void)fprintf(out, ", %u %s", states[i],
                          hc_keep_state_name((enum hc_keep_state)i));
    }
    (void)fputs(".</p>\n", out);
    if (facts->behind_count == 0)
        return;
    (void)fputs("<table><thead><tr><th scope=\"col\">Kept</th><th scope=\"col\">State"
                "</th><th scope=\"col\">Message</th></tr></thead><tbody>\n",
                out);
    for (size_t i = 0; i < facts->behind_count; i++)
        write_behind(facts, &facts->behind[i], out);
    (void)fputs("</tbody></table>\n", out);
}

/* ---- the scrub --------------------------------------------------------------------- */

/* Of the last pass, what is still wrong. */
static void write_scrub_result(const struct hc_verify_result *last, FILE *out)
{
    uint64_t corrupt = last->findings[HC_CORRUPT_BLOB];
    uint64_t unreadable = last->findings[HC_UNREADABLE_BLOB];

    hc_html_count(out, last->blobs);
    (void)fputs(" blobs, ", out);
    hc_html_bytes(out, last->bytes);
    (void)fprintf(out,
                  ", <span class=\"%s\">%" PRIu64 " corrupt, %" PRIu64
                  " unreadable</span>",
                  corrupt + unreadable > 0 ? "bad" : "", corrupt, unreadable);
    if (last->not_repaired > 0)
        (void)fprintf(out, ", %" PRIu64 " files not fetched again", last->not_repaired);
}

static void write_scrub(const struct hc_status_facts *facts, FILE *out)
{
    const struct hc_scrubber_status *scrub = &facts->scrub;
    const struct hc_scrub_state *state = &scrub->state;

    if (!scrub->is_on)
        return;
    (void)fputs("<p class=\"empty\">Scrub: ", out);
    if (state->last_ended_ms > 0) {
        (void)fputs("the last pass ended ", out);
        hc_html_age(out, facts->now_ms, state->last_ended_ms);
        (void)fputs(": ", out);
        write_scrub_result(&state->last, out);
    } else {
        (void)fputs("no pass has ended yet", out);
    }
    if (scrub->is_running) {
        (void)fputs("; this process has hashed ", out);
        hc_html_bytes(out, scrub->progress.bytes_done);
        (void)fputs(" of ", out);
        hc_html_bytes(out, scrub->progress.bytes_total);
    } else if (state->pass_began_ms > 0) {
        (void)fputs("; another process makes a pass", out);
    }
    (void)fputs(".</p>\n", out);
}

/* ---- the section ------------------------------------------------------------------- */

void hc_status_cache_write(const struct hc_status_facts *facts, FILE *out)
{
    const struct hc_usage *usage = &facts->usage;

    write_kept(facts, out);
    write_scrub(facts, out);
    if (!facts->has_usage) {
        (void)fputs("<p class=\"empty\">The first scan of the cache is under way.</p>",
                    out);
        return;
    }
    write_scan(facts, out);
    if (usage->listed == 0)
        return;
    (void)fputs("<table><thead><tr><th scope=\"col\">Repo</th><td "
                "class=\"bar\"></td><th scope=\"col\" class=\"n\">Size</th><th "
                "scope=\"col\" class=\"n\">Last use</th><th scope=\"col\" class=\"n "
                "minor\">Files</th><th scope=\"col\" class=\"n minor\">Revisions</th>"
                "</tr></thead><tbody>\n",
                out);
    for (size_t i = 0; i < usage->listed; i++)
        write_repo_row(facts, &usage->repos[i], out);
    (void)fputs("</tbody></table>", out);
}
