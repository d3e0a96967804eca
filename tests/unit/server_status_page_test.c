/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the page and its JSON tell all that there is to tell, and texts that come
 * from callers, the Hub and the volume are texts in both, whatever is in them; the policy
 * lets run what the page has of its own, and nothing else.
 */
#include "test.h"

#include <server/status_page.h>

#include <base/json.h>

#include <openssl/evp.h>
#include <string.h>

/* What a hostile name would try. */
#define HOSTILE "<script>alert(1)</script>\"'&\xff\xe2\x80\xae<!--{options}-->"
#define SHOWN                                                                            \
    "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;\\u00ff\\u202e&lt;!--{"        \
    "options}--&gt;"

struct fixture {
    struct hc_status_facts *facts;
    char *page;
    size_t size;
};

static int facts_set_up(void **state)
{
    static struct fixture f;

    f = (struct fixture){.facts = calloc(1, sizeof *f.facts)};
    assert_non_null(f.facts);
    f.facts->cache_root = "/data/hub";
    f.facts->cache_id = "an-id";
    f.facts->endpoint = "https://huggingface.co";
    f.facts->auth = "none";
    f.facts->options = "listen: [\"127.0.0.1:0\"]\nqueue: 4096\n";
    f.facts->now_ms = 1795950445000;
    f.facts->started_ms = f.facts->now_ms - 3600000;
    for (size_t i = 0; i < HC_WINDOW_COUNT; i++)
        f.facts->windows[i].room = HC_SAMPLES_MAX;
    *state = &f;
    return 0;
}

static int facts_tear_down(void **state)
{
    struct fixture *f = *state;

    free(f->page);
    hc_status_facts_free(f->facts);
    return 0;
}

/* Everything that comes from elsewhere has the text. */
static void fill_facts(struct hc_status_facts *facts, const char *text)
{
    struct hc_status_transfer *transfer = &facts->transfers[facts->listed_transfers++];
    struct hc_recent_failure *failure = &facts->failures[facts->failure_count++];
    struct hc_error err;

    (void)snprintf(facts->host, sizeof facts->host, "%s", text);
    (void)snprintf(facts->volume_error, sizeof facts->volume_error, "%s", text);
    facts->cache_root = facts->cache_id = facts->endpoint = text;
    assert_int_equal(hc_strings_add(&facts->listeners, text, &err), 0);
    facts->has_tls = true;
    (void)snprintf(facts->tls.err.message, sizeof facts->tls.err.message, "%s", text);
    transfer->running = (struct hc_running_transfer){.repo_type = HC_REPO_DATASET,
                                                     .size_bytes = 1000,
                                                     .done_bytes = 420,
                                                     .bytes_per_second = 10,
                                                     .callers = 17,
                                                     .connections = 4,
                                                     .retries = 3};
    (void)snprintf(transfer->repo_id, sizeof transfer->repo_id, "%s", text);
    (void)snprintf(transfer->path, sizeof transfer->path, "%s", text);
    failure->method = "/hubcache.v1.Resolver/ResolveFile";
    failure->reason = HC_HUB_UNREACHABLE;
    failure->last_ms = facts->now_ms - 5000;
    failure->count = 12;
    (void)snprintf(failure->repo_id, sizeof failure->repo_id, "%s", text);
    (void)snprintf(failure->revision, sizeof failure->revision, "%s", text);
    (void)snprintf(failure->caller, sizeof failure->caller, "%s", text);
    (void)snprintf(failure->message, sizeof failure->message, "%s", text);
    facts->kept.states[HC_KEEP_FAILING] = 1;
    facts->behind[0] = (struct hc_keep_status){.repo_type = HC_REPO_MODEL,
                                               .reason = HC_GATED_REPO,
                                               .behind_since_ms = facts->now_ms - 9000};
    (void)snprintf(facts->behind[0].repo_id, sizeof facts->behind[0].repo_id, "%.200s",
                   text);
    (void)snprintf(facts->behind[0].revision, sizeof facts->behind[0].revision, "%.255s",
                   text);
    (void)snprintf(facts->behind[0].message, sizeof facts->behind[0].message, "%.511s",
                   text);
    facts->behind_count = 1;
    facts->has_usage = true;
    facts->usage.repos = calloc(1, sizeof *facts->usage.repos);
    assert_non_null(facts->usage.repos);
    facts->usage.repos[0] = (struct hc_repo_usage){.bytes = 5000, .files = 6};
    (void)snprintf(facts->usage.repos[0].id, sizeof facts->usage.repos[0].id, "%s", text);
    facts->usage.listed = 1;
    facts->usage.repo_count = 1234;
    facts->usage.bytes = 5000;
}

static const char *write_page(struct fixture *f)
{
    FILE *out;

    free(f->page);
    f->page = NULL;
    out = open_memstream(&f->page, &f->size);
    assert_non_null(out);
    hc_status_page_write(f->facts, out);
    assert_int_equal(fclose(out), 0);
    return f->page;
}

static unsigned count_of(const char *page, const char *text)
{
    unsigned count = 0;

    while ((page = strstr(page, text)) != NULL) {
        page += strlen(text);
        count++;
    }
    return count;
}

static void an_idle_server_says_so(void **state)
{
    struct fixture *f = *state;
    const char *page = write_page(f);

    assert_non_null(strstr(page, "serving"));
    assert_non_null(strstr(page, "up 1 h"));
    assert_non_null(strstr(page, "No file is being fetched."));
    assert_non_null(strstr(page, "No call has failed since the start."));
    assert_non_null(strstr(page, "The first scan of the cache is under way."));
    assert_non_null(strstr(page, "queue: 4096\n"));
    assert_null(strstr(page, "<!--"));
}

static void a_busy_server_tells_how_far_it_is(void **state)
{
    struct fixture *f = *state;
    const char *page;

    fill_facts(f->facts, "org/name");
    page = write_page(f);
    assert_non_null(strstr(page, "max=\"1000\" value=\"420\""));
    assert_non_null(strstr(page, "<b>42 %</b> 420 B of 1.00 kB"));
    assert_non_null(strstr(page, "10 B/s"));
    assert_non_null(strstr(page, "59 s")); /* are left */
    assert_non_null(strstr(page, ">17</td>"));
    assert_non_null(strstr(page, "<code>HUB_UNREACHABLE</code>"));
    assert_non_null(strstr(page, "12 times"));
    assert_non_null(strstr(page, "1,234 repos (the 1 largest are listed)"));
    assert_non_null(strstr(page, "volume unusable"));
}

static void more_bytes_than_promised_are_no_more_than_all(void **state)
{
    struct fixture *f = *state;

    fill_facts(f->facts, "org/name");
    f->facts->transfers[0].running.done_bytes = UINT64_MAX / 2;
    assert_non_null(strstr(write_page(f), "<b>100 %</b> 1.00 kB of 1.00 kB"));
    f->facts->transfers[0].running.size_bytes = 0; /* not known */
    assert_non_null(strstr(write_page(f), "9.22 EB</td>"));
}

static void no_text_is_markup(void **state)
{
    struct fixture *f = *state;
    const char *page;
    unsigned scripts = count_of(write_page(f), "<script");

    fill_facts(f->facts, HOSTILE);
    page = write_page(f);

    assert_int_equal(count_of(page, "<script"), scripts);
    assert_int_equal(count_of(page, "alert(1)"), count_of(page, SHOWN));
    assert_in_range(count_of(page, SHOWN), 16, 18);
    assert_null(strchr(page, '\xff'));
    assert_null(strstr(page, "\xe2\x80\xae"));
    assert_int_equal(count_of(page, "queue: 4096"), 1);
}

static json_t *read_json(struct fixture *f)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    json_error_t why;
    json_t *all;

    assert_non_null(out);
    assert_true(hc_status_json_write(f->facts, out));
    assert_int_equal(fclose(out), 0);
    all = json_loadb(text, size, 0, &why);
    free(text);
    if (!all)
        fail_msg("%s", why.text);
    return all;
}

static void the_json_says_the_same(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_JSON *all = NULL;
    const char *repo, *file, *reason, *version;
    json_int_t done, callers, bytes;

    fill_facts(f->facts, HOSTILE);
    all = read_json(f);
    assert_int_equal(
        json_unpack(all,
                    "{s:{s:s}, s:[{s:s, s:s, s:I, s:I}], s:[{s:s}], s:{s:I, s:[{}]}}",
                    "server", "version", &version, "transfers", "repo", &repo, "file",
                    &file, "bytes_done", &done, "waiters", &callers, "failures", "reason",
                    &reason, "cache", "bytes", &bytes, "repos"),
        0);
    assert_string_equal(version, hc_version());
    assert_string_equal(repo,
                        "<script>alert(1)</script>\"'&\\u00ff\\u202e<!--{options}-->");
    assert_string_equal(file, repo);
    assert_int_equal(done, 420);
    assert_int_equal(callers, 17);
    assert_int_equal(bytes, 5000);
    assert_string_equal(reason, "HUB_UNREACHABLE");
}

static void the_json_has_null_for_what_is_not_known(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_JSON *all = read_json(f);

    assert_true(json_is_null(json_object_get(all, "cache")));
    assert_true(json_is_null(json_object_get(json_object_get(all, "server"), "tls")));
    assert_int_equal(json_array_size(json_object_get(all, "transfers")), 0);
}

/* "'sha256-…'" of what is between the tags, as a browser computes it. */
static void assert_hash(const char *page, const char *open, const char *close,
                        const char *policy)
{
    const char *start = strstr(page, open) + strlen(open);
    unsigned char digest[32];
    char expected[80] = "'sha256-";

    assert_int_equal(EVP_Digest(start, (size_t)(strstr(start, close) - start), digest,
                                NULL, EVP_sha256(), NULL),
                     1);
    (void)EVP_EncodeBlock((unsigned char *)expected + strlen(expected), digest, 32);
    assert_non_null(strstr(policy, expected));
}

static void the_policy_names_the_style_and_the_script(void **state)
{
    struct fixture *f = *state;
    char policy[HC_PAGE_POLICY_SIZE];
    struct hc_error err;
    const char *page;

    fill_facts(f->facts, "org/name");
    page = write_page(f);
    assert_int_equal(hc_status_page_policy(policy, &err), 0);
    assert_hash(page, "<style>", "</style>", policy);
    assert_hash(page, "<script>", "</script>", policy);
    assert_true(strncmp(policy, "default-src 'none';", 19) == 0);
    assert_null(strstr(policy, "unsafe"));
    assert_null(strstr(page, "style="));
    assert_null(strstr(page, " onclick"));
    assert_null(strstr(page, "javascript:"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH_FACTS(test)                                                                 \
    cmocka_unit_test_setup_teardown(test, facts_set_up, facts_tear_down)
        WITH_FACTS(an_idle_server_says_so),
        WITH_FACTS(a_busy_server_tells_how_far_it_is),
        WITH_FACTS(more_bytes_than_promised_are_no_more_than_all),
        WITH_FACTS(no_text_is_markup),
        WITH_FACTS(the_json_says_the_same),
        WITH_FACTS(the_json_has_null_for_what_is_not_known),
        WITH_FACTS(the_policy_names_the_style_and_the_script),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
