/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One row for each thing that can be asked of the control interface:
 *
 *   GET  /_test/log                                     the log as text
 *   POST /_test/log/clear
 *   POST /_test/rules                                   {"fault": "cut", "number": 5, …}
 *   POST /_test/rules/clear
 *   POST /_test/release
 *   GET  /_test/await?count=N[&method=M][&contains=C]   when so many requests have come
 *   GET  /_test/await-stall
 *   POST /_test/add?path=P[&lfs=1]                      the body is the file
 *   POST /_test/add-made-up?path=P&size=N[&seed=N][&lfs=1]
 *   POST /_test/commit?repo=models/org/name[&revision=main]     answers the commit
 *   POST /_test/tag?repo=R&revision=V&commit=C
 *   POST /_test/access?repo=R&access=public|private|gated|disabled
 *   POST /_test/rename?old=R&new=R
 *   POST /_test/load?dir=D
 *   POST /_test/commit-on-404?on=0|1
 *
 * 200 with an answer, 400 with what is wrong.
 */
#include "hub_control.h"

#include "base/auto.h"
#include "hub_answer.h"
#include "hub_content.h"
#include "hub_fault.h"
#include "hub_gate.h"
#include "hub_log.h"
#include "hub_must.h"
#include "hub_state.h"
#include "test_hub.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char *const FAULTS[] = {
    [TEST_HUB_STATUS] = "status",       [TEST_HUB_CLOSE] = "close",
    [TEST_HUB_RESET] = "reset",         [TEST_HUB_CUT] = "cut",
    [TEST_HUB_CUT_RESET] = "cut_reset", [TEST_HUB_STALL] = "stall",
    [TEST_HUB_CORRUPT] = "corrupt",     [TEST_HUB_SHORT] = "short",
    [TEST_HUB_NO_RANGE] = "no_range",   [TEST_HUB_SHORT_RANGE] = "short_range",
    [TEST_HUB_HEADER] = "header",       [TEST_HUB_REDIRECT_LOOP] = "redirect_loop",
    [TEST_HUB_REDIRECT] = "redirect",   [TEST_HUB_DELAY] = "delay",
    [TEST_HUB_THROTTLE] = "throttle",   [TEST_HUB_BODY] = "body",
    [TEST_HUB_CHUNKS] = "chunks",
};

static const char *const ACCESS[] = {
    [TEST_HUB_PUBLIC] = "public",
    [TEST_HUB_PRIVATE] = "private",
    [TEST_HUB_GATED] = "gated",
    [TEST_HUB_DISABLED] = "disabled",
};

static const char *const FIELDS[] = {"method", "contains",      "on_cdn",     "skip",
                                     "times",  "fault",         "number",     "name",
                                     "text",   "retry_after_s", "error_code", "range"};

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The place of `name` in a list of names; -1: it is not there. */
static int find_name(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count && name; i++) {
        if (strcmp(names[i], name) == 0)
            return (int)i;
    }
    return -1;
}

static void fail(struct hub_answer *answer, const char *what)
{
    hub_answer_text(answer, 400, hub_text("%s\n", what));
}

static uint64_t number_of(const struct hub_request *request, const char *name)
{
    const char *text = hub_request_query(request, name);

    return text ? strtoull(text, NULL, 10) : 0;
}

static void get_log(const struct hub_request *request, struct hub_answer *answer)
{
    hub_answer_text(answer, 200, test_hub_log(request->hub));
}

static void clear_log(const struct hub_request *request, struct hub_answer *answer)
{
    (void)answer;
    test_hub_clear_log(request->hub);
}

static const char *text_in(const json_t *rule, const char *name)
{
    return json_string_value(json_object_get(rule, name));
}

static unsigned number_in(const json_t *rule, const char *name)
{
    return (unsigned)json_integer_value(json_object_get(rule, name));
}

/* NULL, or a field that a rule does not have. */
static const char *unknown_field(json_t *rule)
{
    const char *name;
    json_t *value;

    json_object_foreach(rule, name, value)
    {
        if (find_name(FIELDS, COUNT(FIELDS), name) < 0)
            return name;
    }
    return NULL;
}

static void add_parsed_rule(const struct hub_request *request, json_t *json,
                            struct hub_answer *answer)
{
    const char *unknown = unknown_field(json);
    int fault = find_name(FAULTS, COUNT(FAULTS), text_in(json, "fault"));
    struct test_hub_rule rule = {
        .method = text_in(json, "method"),
        .contains = text_in(json, "contains"),
        .range = text_in(json, "range"),
        .on_cdn = json_is_true(json_object_get(json, "on_cdn")),
        .skip = number_in(json, "skip"),
        .times = number_in(json, "times"),
        .number = (uint64_t)json_integer_value(json_object_get(json, "number")),
        .name = text_in(json, "name"),
        .text = text_in(json, "text"),
        .retry_after_s = number_in(json, "retry_after_s"),
        .error_code = text_in(json, "error_code"),
    };

    if (unknown || fault < 0) {
        fail(answer, unknown ? unknown : "fault");
        return;
    }
    rule.fault = (enum test_hub_fault)fault;
    test_hub_rule(request->hub, &rule);
}

static void add_rule(const struct hub_request *request, struct hub_answer *answer)
{
    json_error_t error;
    json_t *json = json_loadb(request->body, request->body_size, 0, &error);

    if (json_is_object(json))
        add_parsed_rule(request, json, answer);
    else
        fail(answer, "the body is no JSON object");
    json_decref(json);
}

static void clear_rules(const struct hub_request *request, struct hub_answer *answer)
{
    (void)answer;
    test_hub_clear_rules(request->hub);
}

static void release(const struct hub_request *request, struct hub_answer *answer)
{
    (void)answer;
    test_hub_release(request->hub);
}

static void await_requests(const struct hub_request *request, struct hub_answer *answer)
{
    const struct hub_log_query query = {.method = hub_request_query(request, "method"),
                                        .contains =
                                            hub_request_query(request, "contains")};

    if (!hub_log_await(request->hub->log, &query, (unsigned)number_of(request, "count")))
        fail(answer, "they did not come");
}

static void await_stall(const struct hub_request *request, struct hub_answer *answer)
{
    if (!hub_gate_await_stall(request->hub->gate))
        fail(answer, "nothing stalled");
}

static void add(const struct hub_request *request, struct hub_answer *answer)
{
    (void)answer;
    test_hub_add(request->hub, hub_request_query(request, "path"), request->body,
                 request->body_size, number_of(request, "lfs") != 0);
}

static void add_made_up(const struct hub_request *request, struct hub_answer *answer)
{
    (void)answer;
    test_hub_add_made_up(request->hub, hub_request_query(request, "path"),
                         number_of(request, "size"), (unsigned)number_of(request, "seed"),
                         number_of(request, "lfs") != 0);
}

static void commit(const struct hub_request *request, struct hub_answer *answer)
{
    const char *revision = hub_request_query(request, "revision");
    char hash[41];

    test_hub_commit(request->hub, hub_request_query(request, "repo"),
                    revision ? revision : "main", hash);
    hub_answer_text(answer, 200, hub_copy(hash));
}

static void tag(const struct hub_request *request, struct hub_answer *answer)
{
    if (!hub_content_tag(request->hub->content, hub_request_query(request, "repo"),
                         hub_request_query(request, "revision"),
                         hub_request_query(request, "commit")))
        fail(answer, "no such commit");
}

static void set_access(const struct hub_request *request, struct hub_answer *answer)
{
    int access = find_name(ACCESS, COUNT(ACCESS), hub_request_query(request, "access"));

    if (access < 0 ||
        !hub_content_set_access(request->hub->content, hub_request_query(request, "repo"),
                                (enum test_hub_access)access))
        fail(answer, "no such repo or access");
}

static void rename_repo(const struct hub_request *request, struct hub_answer *answer)
{
    (void)answer;
    test_hub_rename(request->hub, hub_request_query(request, "old"),
                    hub_request_query(request, "new"));
}

static void load(const struct hub_request *request, struct hub_answer *answer)
{
    (void)answer;
    test_hub_load(request->hub, hub_request_query(request, "dir"));
}

static void commit_on_404(const struct hub_request *request, struct hub_answer *answer)
{
    (void)answer;
    test_hub_set_commit_on_404(request->hub, number_of(request, "on") != 0);
}

static const struct {
    const char *name;
    void (*answer)(const struct hub_request *request, struct hub_answer *answer);
    const char *needs[3]; /* query parameters */
} ROWS[] = {
    {"log", get_log, {0}},
    {"log/clear", clear_log, {0}},
    {"rules", add_rule, {0}},
    {"rules/clear", clear_rules, {0}},
    {"release", release, {0}},
    {"await", await_requests, {"count"}},
    {"await-stall", await_stall, {0}},
    {"add", add, {"path"}},
    {"add-made-up", add_made_up, {"path", "size"}},
    {"commit", commit, {"repo"}},
    {"tag", tag, {"repo", "revision", "commit"}},
    {"access", set_access, {"repo", "access"}},
    {"rename", rename_repo, {"old", "new"}},
    {"load", load, {"dir"}},
    {"commit-on-404", commit_on_404, {"on"}},
};

void hub_control_answer(const struct hub_request *request, struct hub_answer *answer)
{
    const char *name = request->path + strlen(HUB_CONTROL_PATH);
    size_t row = 0;

    while (row < COUNT(ROWS) && strcmp(ROWS[row].name, name) != 0)
        row++;
    if (row == COUNT(ROWS)) {
        fail(answer, "no such control");
        return;
    }
    for (size_t i = 0; i < COUNT(ROWS[row].needs) && ROWS[row].needs[i]; i++) {
        if (!hub_request_query(request, ROWS[row].needs[i])) {
            fail(answer, ROWS[row].needs[i]);
            return;
        }
    }
    hub_answer_text(answer, 200, hub_copy("ok\n"));
    ROWS[row].answer(request, answer);
}
