/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slot is a comment of the template, "<!--{name}-->", in whose place the function of
 * that name writes. All texts that come from callers, the Hub or the volume go through
 * hc_html_text().
 */
#include "status_page.h"

#include "html.h"
#include "status_cache.h"
#include "status_graph.h"

#include <base/error.h>
#include <base/text.h>

#include <inttypes.h>
#include <openssl/evp.h>
#include <string.h>

extern const char hc_status_html[], hc_status_html_end[];

/* The assembler reads the template; the build names it. */
__asm__(".section .rodata\n"
        ".hidden hc_status_html\n"
        ".hidden hc_status_html_end\n"
        ".global hc_status_html\n"
        ".global hc_status_html_end\n"
        "hc_status_html:\n"
        ".incbin \"" HC_STATUS_HTML "\"\n"
        "hc_status_html_end:\n"
        ".byte 0\n"
        ".previous\n");

static void write_empty(FILE *out, const char *text)
{
    (void)fprintf(out, "<p class=\"empty\">%s</p>", text);
}

/* ---- the head of the page ---------------------------------------------------------- */

static void slot_host(const struct hc_status_facts *facts, FILE *out)
{
    hc_html_text(out, facts->host);
}

static void slot_state(const struct hc_status_facts *facts, FILE *out)
{
    if (facts->is_stopping)
        (void)fputs("<span class=\"state bad\">stopping</span>", out);
    else if (*facts->volume_error)
        (void)fputs("<span class=\"state bad\">volume unusable</span>", out);
    else
        (void)fputs("<span class=\"state good\">serving</span>", out);
    if (facts->is_offline)
        (void)fputs(" <span class=\"state warn\">offline</span>", out);
    (void)fputs(" <span>up ", out);
    hc_html_duration(out, facts->now_ms - facts->started_ms);
    (void)fputs("</span> <span>", out);
    hc_html_time(out, facts->now_ms);
    (void)fputs(" UTC</span>", out);
    if (*facts->volume_error) {
        (void)fputs("<p class=\"alert\" role=\"alert\">", out);
        hc_html_text(out, facts->volume_error);
        (void)fputs("</p>", out);
    }
}

/* ---- key figures ------------------------------------------------------------------- */

static double last_sample(const struct hc_status_facts *facts, enum hc_series series)
{
    const struct hc_samples *samples = &facts->windows[HC_WINDOW_MINUTES];

    return samples->count > 0 ? (double)samples->values[series][samples->count - 1] : 0;
}

static void begin_figure(FILE *out, const char *name)
{
    (void)fprintf(out, "<div><dt>%s</dt><dd>", name);
}

/* Rounded down: 100 % is all of them. */
static void write_hit_share(const struct hc_status_facts *facts, FILE *out)
{
    uint64_t hits = facts->now.values[HC_SERIES_HITS];
    uint64_t all = hits + facts->now.values[HC_SERIES_MISSES];
    unsigned thousandths = all > 0 ? (unsigned)(1000 * (double)hits / (double)all) : 0;

    begin_figure(out, "Answered from the cache");
    if (all > 0)
        (void)fprintf(out, "<b>%u.%u %%</b><small>of ", thousandths / 10,
                      thousandths % 10);
    else
        (void)fputs("<b>–</b><small>of ", out);
    hc_html_count(out, all);
    (void)fputs(" calls</small></dd></div>", out);
}

static void write_calls(const struct hc_status_facts *facts, FILE *out)
{
    begin_figure(out, "Calls in progress");
    (void)fputs("<b>", out);
    hc_html_count(out, facts->now.values[HC_SERIES_CALLS]);
    (void)fprintf(out, "</b><small>%u running, %u queued, clients: %u</small></dd></div>",
                  facts->running_jobs, facts->queued_jobs, facts->client_connections);
}

static void write_fetched(const struct hc_status_facts *facts, FILE *out)
{
    begin_figure(out, "Fetched from the Hub");
    (void)fputs("<b>", out);
    hc_html_bytes(out, (uint64_t)last_sample(facts, HC_SERIES_FETCHED_BYTES));
    (void)fputs("/s</b><small>", out);
    hc_html_bytes(out, facts->now.values[HC_SERIES_FETCHED_BYTES]);
    (void)fputs(" since the start</small></dd></div>", out);
}

static void write_cache_size(const struct hc_status_facts *facts, FILE *out)
{
    begin_figure(out, "Cache");
    (void)fputs("<b>", out);
    if (facts->has_usage)
        hc_html_bytes(out, facts->usage.bytes);
    else
        (void)fputs("–", out);
    (void)fputs("</b><small>", out);
    if (facts->space.is_known) {
        hc_html_bytes(out, facts->space.available);
        (void)fputs(" of ", out);
        hc_html_bytes(out, facts->space.size);
        (void)fputs(" free", out);
    }
    if (facts->room.limit_bytes > 0) {
        (void)fputs("; limit ", out);
        hc_html_bytes(out, facts->room.limit_bytes);
    }
    (void)fputs("</small></dd></div>", out);
}

static void write_failed(const struct hc_status_facts *facts, FILE *out)
{
    uint64_t failed = facts->now.values[HC_SERIES_FAILURES];

    begin_figure(out, "Calls failed");
    (void)fputs(failed > 0 ? "<b class=\"bad\">" : "<b>", out);
    hc_html_count(out, failed);
    (void)fputs("</b><small>", out);
    if (facts->failure_count > 0) {
        (void)fputs("last ", out);
        hc_html_age(out, facts->now_ms, facts->failures[0].last_ms);
    } else {
        (void)fputs("since the start", out);
    }
    (void)fputs("</small></dd></div>", out);
}

static void slot_figures(const struct hc_status_facts *facts, FILE *out)
{
    write_hit_share(facts, out);
    write_calls(facts, out);
    write_fetched(facts, out);
    write_cache_size(facts, out);
    write_failed(facts, out);
}

/* ---- graphs ------------------------------------------------------------------------ */

static void write_graphs(const struct hc_status_facts *facts, enum hc_window window,
                         const char *span, FILE *out)
{
    static const struct hc_graph graphs[] = {
        {.title = "Calls",
         .unit = "/s",
         .lines = {{HC_SERIES_HITS, "hits"},
                   {HC_SERIES_MISSES, "misses"},
                   {HC_SERIES_FAILURES, "failures"}}},
        {.title = "Throughput",
         .unit = "/s",
         .is_of_bytes = true,
         .lines = {{HC_SERIES_FETCHED_BYTES, "fetched"}, {HC_SERIES_READ_BYTES, "read"}}},
        {.title = "Load",
         .unit = "",
         .lines = {{HC_SERIES_CALLS, "calls in progress"},
                   {HC_SERIES_TRANSFERS, "files being fetched"}}},
    };

    for (size_t i = 0; i < sizeof graphs / sizeof *graphs; i++)
        hc_status_graph_write(&graphs[i], &facts->windows[window], span, out);
}

static void slot_minutes(const struct hc_status_facts *facts, FILE *out)
{
    write_graphs(facts, HC_WINDOW_MINUTES, "10 minutes", out);
}

static void slot_day(const struct hc_status_facts *facts, FILE *out)
{
    write_graphs(facts, HC_WINDOW_DAY, "24 hours", out);
}

/* ---- transfers --------------------------------------------------------------------- */

static void write_progress(const struct hc_running_transfer *running, FILE *out)
{
    bool is_known = running->size_bytes > 0;
    uint64_t done = running->done_bytes;

    if (is_known && done > running->size_bytes)
        done = running->size_bytes;
    if (is_known)
        (void)fprintf(out,
                      "<progress aria-label=\"progress\" max=\"%" PRIu64
                      "\" value=\"%" PRIu64 "\"></progress> <b>%" PRIu64 " %%</b> ",
                      running->size_bytes, done, done * 100 / running->size_bytes);
    hc_html_bytes(out, done);
    if (is_known) {
        (void)fputs(" of ", out);
        hc_html_bytes(out, running->size_bytes);
    }
}

static void write_rate(uint64_t bytes_per_second, FILE *out)
{
    if (bytes_per_second == 0) {
        (void)fputs("<b class=\"warn\">0 B/s</b>", out);
        return;
    }
    hc_html_bytes(out, bytes_per_second);
    (void)fputs("/s", out);
}

/* How long the rest takes at this rate. */
static void write_time_left(const struct hc_running_transfer *running, FILE *out)
{
    uint64_t left = running->size_bytes > running->done_bytes
                        ? running->size_bytes - running->done_bytes
                        : 0;

    if (left == 0 || running->bytes_per_second == 0)
        (void)fputs("–", out);
    else
        hc_html_duration(out, (int64_t)(left / running->bytes_per_second) * 1000 + 1000);
}

static void write_transfer(const struct hc_status_transfer *transfer, FILE *out)
{
    const struct hc_running_transfer *running = &transfer->running;

    (void)fputs("<tr><th scope=\"row\">", out);
    hc_html_repo(out, running->repo_type, transfer->repo_id);
    (void)fputs(" <bdi class=\"file\">", out);
    hc_html_text(out, transfer->path);
    (void)fputs("</bdi></th><td class=\"progress\">", out);
    write_progress(running, out);
    (void)fputs("</td><td class=\"n\" data-label=\"Rate\">", out);
    write_rate(running->bytes_per_second, out);
    (void)fputs("</td><td class=\"n\" data-label=\"Left\">", out);
    write_time_left(running, out);
    (void)fprintf(out,
                  "</td><td class=\"n\" data-label=\"Waiters\">%u</td>"
                  "<td class=\"n minor\">",
                  running->callers);
    if (running->is_remote)
        (void)fputs("other process", out);
    else
        (void)fprintf(out, "%u", running->connections);
    (void)fprintf(out, "</td><td class=\"n minor\">%u</td><td class=\"n minor\">",
                  running->retries);
    hc_html_duration(out, (int64_t)running->age_ms);
    (void)fputs("</td></tr>\n", out);
}

static void slot_transfers(const struct hc_status_facts *facts, FILE *out)
{
    uint64_t all = facts->now.values[HC_SERIES_TRANSFERS];

    if (facts->listed_transfers == 0) {
        write_empty(out, facts->is_limited ? "No file that you may see is being fetched."
                                           : "No file is being fetched.");
        return;
    }
    (void)fputs("<table><thead><tr><th scope=\"col\">File</th><th scope=\"col\">Progress"
                "</th><th scope=\"col\" class=\"n\">Rate</th><th scope=\"col\" "
                "class=\"n\">Left</th><th scope=\"col\" class=\"n\">Waiters</th>"
                "<th scope=\"col\" class=\"n minor\">Connections</th><th scope=\"col\" "
                "class=\"n minor\">Retries</th><th scope=\"col\" class=\"n minor\">For"
                "</th></tr></thead><tbody>\n",
                out);
    for (size_t i = 0; i < facts->listed_transfers; i++)
        write_transfer(&facts->transfers[i], out);
    (void)fputs("</tbody></table>", out);
    if (all > facts->listed_transfers)
        (void)fprintf(out, "<p class=\"empty\">%s%zu%s of %" PRIu64 ".</p>",
                      facts->is_limited ? "" : "The ", facts->listed_transfers,
                      facts->is_limited ? "" : " oldest", all);
}

/* ---- failures ---------------------------------------------------------------------- */

static void write_failure(const struct hc_recent_failure *failure, FILE *out)
{
    const char *slash = strrchr(failure->method, '/');

    (void)fputs("<tr><td class=\"when\">", out);
    hc_html_time(out, failure->last_ms);
    if (failure->count > 1) {
        (void)fputs(" <small>", out);
        hc_html_count(out, failure->count);
        (void)fputs(" times</small>", out);
    }
    (void)fputs("</td><th scope=\"row\"><code>", out);
    hc_html_text(out, hc_status_reason(failure));
    (void)fputs("</code> <small>", out);
    hc_html_text(out, slash ? slash + 1 : failure->method);
    (void)fputs("</small></th><td class=\"repo\">", out);
    if (*failure->repo_id)
        hc_html_repo(out, failure->repo_type, failure->repo_id);
    if (*failure->revision) {
        (void)fputs(" <bdi class=\"file\">", out);
        hc_html_text(out, failure->revision);
        (void)fputs("</bdi>", out);
    }
    (void)fputs("</td><td class=\"message\">", out);
    hc_html_text(out, failure->message);
    (void)fputs("</td><td class=\"minor\"><bdi>", out);
    hc_html_text(out, *failure->caller ? failure->caller : "–");
    (void)fputs("</bdi></td></tr>\n", out);
}

static void slot_failures(const struct hc_status_facts *facts, FILE *out)
{
    if (facts->failure_count == 0) {
        write_empty(out, facts->is_limited
                             ? "No call for a repo that you may see has failed."
                             : "No call has failed since the start.");
        return;
    }
    (void)fputs("<table><thead><tr><th scope=\"col\">Last (UTC)</th><th scope=\"col\">"
                "Reason</th><th scope=\"col\">Repo</th><th scope=\"col\">Message</th>"
                "<th scope=\"col\" class=\"minor\">Caller</th></tr></thead><tbody>\n",
                out);
    for (size_t i = 0; i < facts->failure_count; i++)
        write_failure(&facts->failures[i], out);
    (void)fputs("</tbody></table>", out);
}

/* ---- the server -------------------------------------------------------------------- */

static void write_fact(FILE *out, const char *name, const char *text)
{
    (void)fprintf(out, "<div><dt>%s</dt><dd>", name);
    hc_html_text(out, *text ? text : "–");
    (void)fputs("</dd></div>\n", out);
}

static void write_certificate(const struct hc_status_facts *facts, FILE *out)
{
    const struct hc_tls_state *tls = &facts->tls;

    (void)fputs("<div><dt>Certificate</dt><dd>expires ", out);
    hc_html_time(out, tls->end_s * 1000);
    (void)fputs(" UTC<br><small>read ", out);
    hc_html_age(out, facts->now_ms, tls->since_s * 1000);
    (void)fprintf(out, ", replaced %" PRIu64 " times</small></dd></div>\n",
                  tls->replaced);
    if (*tls->err.message) {
        (void)fputs("<div><dt>Newer certificate files are wrong</dt><dd class=\"bad\">",
                    out);
        hc_html_text(out, tls->err.message);
        (void)fputs("</dd></div>\n", out);
    }
}

static void write_policy(const struct hc_status_facts *facts, FILE *out)
{
    const struct hc_policy_state *policy = &facts->policy;

    (void)fputs("<div><dt>Policy</dt><dd>read ", out);
    hc_html_age(out, facts->now_ms, policy->since_s * 1000);
    (void)fprintf(out, "<br><small>read again %" PRIu64 " times</small></dd></div>\n",
                  policy->replaced);
    if (*policy->error) {
        (void)fputs("<div><dt>The newer policy is wrong</dt><dd class=\"bad\">", out);
        hc_html_text(out, policy->error);
        (void)fputs("</dd></div>\n", out);
    }
}

static void write_reload(const struct hc_status_facts *facts, FILE *out)
{
    const struct hc_reload_status *reload = &facts->reload;

    (void)fprintf(out, "<div><dt>Reload %s</dt><dd%s>",
                  reload->has_failed ? "failed" : "done",
                  reload->has_failed ? " class=\"bad\"" : "");
    hc_html_time(out, reload->last_s * 1000);
    (void)fputs(" UTC<br><small>", out);
    hc_html_text(out, reload->message);
    (void)fputs("</small></dd></div>\n", out);
}

static void slot_server(const struct hc_status_facts *facts, FILE *out)
{
    write_fact(out, "Version", hc_version());
    (void)fputs("<div><dt>Started</dt><dd>", out);
    hc_html_time(out, facts->started_ms);
    (void)fputs(" UTC</dd></div>\n", out);
    for (size_t i = 0; i < facts->listeners.count; i++)
        write_fact(out, "Listens on", facts->listeners.items[i]);
    write_fact(out, "Cache root", facts->cache_root);
    write_fact(out, "Cache id", facts->cache_id);
    write_fact(out, "Hub", facts->endpoint);
    write_fact(out, "Offline", facts->is_offline ? "yes" : "no");
    write_fact(out, "Authentication", facts->auth);
    if (facts->has_tls)
        write_certificate(facts, out);
    if (facts->has_policy)
        write_policy(facts, out);
    if (facts->reload.last_s > 0)
        write_reload(facts, out);
}

static void slot_options(const struct hc_status_facts *facts, FILE *out)
{
    HC_AUTO_FREE char *copy = strdup(facts->options);
    char *rest = copy;
    const char *line;

    while ((line = strsep(&rest, "\n")) != NULL) {
        hc_html_text(out, line);
        (void)fputc('\n', out);
    }
}

/* ---- the whole --------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*write)(const struct hc_status_facts *facts, FILE *out);
} slots[] = {
    {"host", slot_host},         {"state", slot_state},
    {"figures", slot_figures},   {"minutes", slot_minutes},
    {"day", slot_day},           {"transfers", slot_transfers},
    {"failures", slot_failures}, {"cache", hc_status_cache_write},
    {"server", slot_server},     {"options", slot_options},
};

static void write_slot(const struct hc_status_facts *facts, const char *name,
                       size_t length, FILE *out)
{
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        if (strlen(slots[i].name) == length && memcmp(slots[i].name, name, length) == 0)
            slots[i].write(facts, out);
    }
}

void hc_status_page_write(const struct hc_status_facts *facts, FILE *out)
{
    static const char open[] = "<!--{", close[] = "}-->";
    const char *at = hc_status_html;
    const char *slot;

    while ((slot = strstr(at, open)) != NULL) {
        const char *name = slot + strlen(open);
        const char *end = strstr(name, close);

        (void)fwrite(at, 1, (size_t)(slot - at), out);
        if (!end)
            return;
        write_slot(facts, name, (size_t)(end - name), out);
        at = end + strlen(close);
    }
    (void)fputs(at, out);
}

/* The hash, in base64, of what is between two tags of the template (CSP 3, 2.3.1). */
static bool hash_element(const char *open, const char *close, char hash[48])
{
    const char *start = strstr(hc_status_html, open);
    const char *end = start ? strstr(start, close) : NULL;
    unsigned char digest[32];

    if (!start || !end)
        return false;
    start += strlen(open);
    if (!EVP_Digest(start, (size_t)(end - start), digest, NULL, EVP_sha256(), NULL))
        return false;
    (void)EVP_EncodeBlock((unsigned char *)hash, digest, sizeof digest);
    return true;
}

int hc_status_page_policy(char policy[HC_PAGE_POLICY_SIZE], struct hc_error *err)
{
    char style[48], script[48];

    if (!hash_element("<style>", "</style>", style) ||
        !hash_element("<script>", "</script>", script) ||
        hc_format(policy, HC_PAGE_POLICY_SIZE,
                  "default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; "
                  "connect-src 'self'; img-src data:; base-uri 'none'; "
                  "form-action 'none'; frame-ancestors 'none'",
                  style, script) < 0)
        return hc_fail(err, HC_INTERNAL, "the status page has no style or no script");
    return 0;
}
