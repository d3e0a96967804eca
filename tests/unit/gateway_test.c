/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: hubs behind gateways, and self-hosted ones, that answer without the Hub's
 * headers or lead to another host, are understood as far as what they say goes.
 */
#include "hub_fixture.h"

#include "raw_server.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define ETAG "9e26dfeeb6e641a33dae4961196235bdb965b21b"
#define END "Connection: close\r\n\r\n"
#define BARE_404 "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n" END
#define BARE_401 "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n" END
#define PRESENT "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n" END "{\"sha\":\"" COMMIT "\"}"
#define NO_REVISION                                                                      \
    "HTTP/1.1 404 Not Found\r\nContent-Length: 32\r\n" END                               \
    "{\"error\":\"Invalid rev id: main\"}"

enum { CALLERS = 8 };

struct gateway {
    struct raw_server *site;
    struct raw_server *other; /* where redirects lead */
    struct hc_hub *hub;
    struct hc_repo repo;
    struct hc_hub_credentials credentials;
    struct hc_error err;
};

static int gateway_set_up(void **state)
{
    struct gateway *g = calloc(1, sizeof *g);

    assert_non_null(g);
    g->site = raw_server_start();
    g->other = raw_server_start();
    g->hub = hub_fixture_open(raw_server_url(g->site), 3);
    assert_int_equal(hc_repo_init(&g->repo, HC_REPO_MODEL, "org/m", &g->err), 0);
    *state = g;
    return 0;
}

static int gateway_tear_down(void **state)
{
    struct gateway *g = *state;

    hc_hub_close(g->hub);
    raw_server_stop(g->site);
    raw_server_stop(g->other);
    free(g);
    return 0;
}

static int gateway_head_at(struct gateway *g, const char *revision,
                           struct hc_metadata *metadata)
{
    const struct hc_repo_file place = {&g->repo, revision, "config.json"};

    return hc_hub_head(g->hub, &place, &g->credentials, metadata, &g->err);
}

static void a_bare_refusal_is_explained_by_one_more_question(void **state)
{
    static const struct {
        const char *head, *revision, *token;
        enum hc_reason reason;
    } rows[] = {
        {BARE_404, PRESENT, NULL, HC_ENTRY_NOT_FOUND},
        {BARE_404, PRESENT, good_token, HC_ENTRY_NOT_FOUND},
        {BARE_404, NO_REVISION, NULL, HC_REVISION_NOT_FOUND},
        {BARE_404, BARE_404, NULL, HC_REPO_NOT_FOUND},
        {BARE_404, BARE_401, NULL, HC_REPO_NOT_FOUND},
        {BARE_404, BARE_401, good_token, HC_HUB_UNAUTHORIZED},
        {BARE_401, PRESENT, NULL, HC_HUB_UNAUTHORIZED},
        {BARE_401, PRESENT, good_token, HC_HUB_UNAUTHORIZED},
        {BARE_401, BARE_401, NULL, HC_REPO_NOT_FOUND},
        {BARE_401, BARE_404, NULL, HC_REPO_NOT_FOUND},
        {BARE_404, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" END "{}", NULL,
         HC_BAD_HUB_REPLY},
    };
    struct gateway *g = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned before = raw_server_count(g->site, " HTTP/1.1");
        struct hc_metadata metadata;

        raw_server_answer(g->site, "HEAD ", rows[i].head);
        raw_server_answer(g->site, "/api/models/org/m/revision/main", rows[i].revision);
        g->credentials.token = rows[i].token;
        assert_int_equal(gateway_head_at(g, "main", &metadata), -1);
        if (g->err.reason != rows[i].reason)
            fail_msg("row %zu: reason %d: %s", i, g->err.reason, g->err.message);
        assert_non_null(strstr(g->err.message, "org/m"));
        assert_string_equal(metadata.commit, "");
        assert_int_equal(raw_server_count(g->site, " HTTP/1.1"), before + 2);
    }
}

static void a_commit_that_is_there_lacks_the_file(void **state)
{
    struct gateway *g = *state;
    struct hc_metadata metadata;

    raw_server_answer(g->site, "HEAD ", BARE_404);
    raw_server_answer(g->site, "/revision/" COMMIT, PRESENT);
    assert_int_equal(gateway_head_at(g, COMMIT, &metadata), -1);
    assert_int_equal(g->err.reason, HC_ENTRY_NOT_FOUND);
    assert_string_equal(metadata.commit, COMMIT);
}

static void a_refusal_with_a_text_costs_no_more_questions(void **state)
{
    struct gateway *g = *state;
    struct hc_metadata metadata;

    raw_server_answer(g->site, "HEAD ",
                      "HTTP/1.1 401 Unauthorized\r\n"
                      "X-Error-Message: Invalid username or password.\r\n"
                      "Content-Length: 0\r\n" END);
    assert_int_equal(gateway_head_at(g, "main", &metadata), -1);
    assert_int_equal(g->err.reason, HC_REPO_NOT_FOUND);
    assert_int_equal(raw_server_count(g->site, " HTTP/1.1"), 1);
}

static void a_bare_refusal_of_a_revision_or_a_tree_is_explained(void **state)
{
    struct gateway *g = *state;
    struct hc_revision answer;

    raw_server_answer(g->site, "/revision/", BARE_404);
    assert_int_equal(hc_hub_revision(g->hub, &g->repo, "main", &g->credentials, &answer,
                                     &g->err),
                     -1);
    assert_int_equal(g->err.reason, HC_REPO_NOT_FOUND);
    raw_server_answer(g->site, "/revision/", NO_REVISION);
    assert_int_equal(hc_hub_revision(g->hub, &g->repo, "main", &g->credentials, &answer,
                                     &g->err),
                     -1);
    assert_int_equal(g->err.reason, HC_REVISION_NOT_FOUND);
    assert_int_equal(raw_server_count(g->site, " HTTP/1.1"), 2);

    raw_server_answer(g->site, "/tree/", BARE_404);
    assert_null(hc_hub_tree(g->hub, &g->repo, COMMIT, &g->credentials, &g->err));
    assert_int_equal(g->err.reason, HC_REVISION_NOT_FOUND);
}

/* A caller on a thread of its own, asking for a file of its own. */
struct asker {
    struct gateway *g;
    char path[16];
    pthread_t thread;
    enum hc_reason reason;
};

static void *gateway_ask(void *ctx)
{
    struct asker *asker = ctx;
    const struct hc_repo_file place = {&asker->g->repo, "main", asker->path};
    struct hc_metadata metadata;
    struct hc_error err = {0};

    (void)hc_hub_head(asker->g->hub, &place, &asker->g->credentials, &metadata, &err);
    asker->reason = err.reason;
    return NULL;
}

/* The site takes one connection at a time, so that the askers come together. */
static void callers_that_ask_together_share_the_question(void **state)
{
    struct gateway *g = *state;
    struct asker askers[CALLERS];

    raw_server_answer(g->site, "HEAD ", BARE_404);
    raw_server_answer(g->site, "/revision/main", PRESENT);
    for (int i = 0; i < CALLERS; i++) {
        askers[i] = (struct asker){.g = g};
        (void)snprintf(askers[i].path, sizeof askers[i].path, "f%d", i);
        assert_int_equal(pthread_create(&askers[i].thread, NULL, gateway_ask, &askers[i]),
                         0);
    }
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_join(askers[i].thread, NULL), 0);
        assert_int_equal(askers[i].reason, HC_ENTRY_NOT_FOUND);
    }
    assert_int_equal(raw_server_count(g->site, "HEAD "), CALLERS);
    assert_in_range(raw_server_count(g->site, "/revision/"), 1, CALLERS);
}

/* An answer that leads to the same path of the other host; the caller frees. */
static char *gateway_lead_on(const struct gateway *g, const char *line,
                             const char *headers)
{
    char *answer = NULL;

    assert_true(asprintf(&answer,
                         "HTTP/1.1 %s\r\nLocation: %s/elsewhere\r\n%sContent-Length: "
                         "0\r\n" END,
                         line, raw_server_url(g->other), headers) > 0);
    return answer;
}

static void a_question_is_followed_to_another_host_without_the_token(void **state)
{
    static const char *const lines[] = {"301 Moved", "302 Found", "303 See Other",
                                        "307 Temporary", "308 Permanent"};
    struct gateway *g = *state;

    g->credentials.token = good_token;
    raw_server_answer(g->other, "/elsewhere",
                      "HTTP/1.1 200 OK\r\nX-Repo-Commit: " COMMIT "\r\nETag: \"" ETAG
                      "\"\r\nContent-Length: 2\r\n" END);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        HC_AUTO_FREE char *answer = gateway_lead_on(g, lines[i], "");
        struct hc_metadata metadata;

        raw_server_answer(g->site, "HEAD ", answer);
        if (gateway_head_at(g, "main", &metadata) != 0)
            fail_msg("%s: %s", lines[i], g->err.message);
        assert_string_equal(metadata.commit, COMMIT);
        assert_string_equal(metadata.etag, ETAG);
        assert_int_equal(metadata.size, 2);
        assert_non_null(strstr(metadata.location, "/elsewhere"));
    }
    assert_int_equal(raw_server_count(g->other, "HEAD "), 5);
    assert_int_equal(raw_server_count(g->other, "uthorization"), 0);
    assert_int_equal(raw_server_count(g->site, "uthorization"), 5);
}

static void a_file_that_is_described_is_not_asked_about_elsewhere(void **state)
{
    struct gateway *g = *state;
    HC_AUTO_FREE char *answer =
        gateway_lead_on(g, "302 Found",
                        "X-Repo-Commit: " COMMIT "\r\nX-Linked-Etag: \"" ETAG
                        "\"\r\nX-Linked-Size: 2\r\n");
    struct hc_metadata metadata;

    raw_server_answer(g->site, "HEAD ", answer);
    assert_int_equal(gateway_head_at(g, "main", &metadata), 0);
    assert_int_equal(metadata.size, 2);
    assert_int_equal(raw_server_count(g->other, " HTTP/1.1"), 0);
}

/* The storage's is the Xet hash. */
static void an_etag_of_the_storage_names_no_file(void **state)
{
    struct gateway *g = *state;
    HC_AUTO_FREE char *answer =
        gateway_lead_on(g, "302 Found", "X-Repo-Commit: " COMMIT "\r\n");
    struct hc_metadata metadata;

    raw_server_answer(g->site, "HEAD ", answer);
    raw_server_answer(g->other, "/elsewhere",
                      "HTTP/1.1 200 OK\r\nETag: \"" ETAG
                      "\"\r\nContent-Length: 2\r\n" END);
    assert_int_equal(gateway_head_at(g, "main", &metadata), -1);
    assert_int_equal(g->err.reason, HC_BAD_HUB_REPLY);
    assert_non_null(strstr(g->err.message, "without an ETag"));
}

static void what_another_host_says_in_the_hubs_words_counts(void **state)
{
    struct gateway *g = *state;
    HC_AUTO_FREE char *answer = gateway_lead_on(g, "308 Permanent", "");
    struct hc_metadata metadata;

    raw_server_answer(g->site, "HEAD ", answer);
    raw_server_answer(g->other, "/elsewhere",
                      "HTTP/1.1 404 Not Found\r\nX-Error-Code: EntryNotFound\r\n"
                      "X-Repo-Commit: " COMMIT "\r\nContent-Length: 0\r\n" END);
    assert_int_equal(gateway_head_at(g, "main", &metadata), -1);
    assert_int_equal(g->err.reason, HC_ENTRY_NOT_FOUND);
    assert_string_equal(metadata.commit, COMMIT);

    raw_server_answer(g->other, "/elsewhere", BARE_404);
    assert_int_equal(gateway_head_at(g, "main", &metadata), -1);
    assert_int_equal(g->err.reason, HC_BAD_HUB_REPLY);
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, gateway_set_up, gateway_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_bare_refusal_is_explained_by_one_more_question),
        TEST(a_commit_that_is_there_lacks_the_file),
        TEST(a_refusal_with_a_text_costs_no_more_questions),
        TEST(a_bare_refusal_of_a_revision_or_a_tree_is_explained),
        TEST(callers_that_ask_together_share_the_question),
        TEST(a_question_is_followed_to_another_host_without_the_token),
        TEST(a_file_that_is_described_is_not_asked_about_elsewhere),
        TEST(an_etag_of_the_storage_names_no_file),
        TEST(what_another_host_says_in_the_hubs_words_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
