/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests of the control interface, one row each in CONTROLS:
 *
 *   GET  /_test/log                                     answers the log as text
 *   POST /_test/log/clear
 *   POST /_test/rules                                   {"fault": "cut", "number": 5, …}
 *   POST /_test/rules/clear
 *   POST /_test/release
 *   GET  /_test/await?count=N[&method=M][&contains=C]   answers when N requests came
 *   GET  /_test/await-stall                             answers when an answer is stalled
 *   POST /_test/add?path=P[&lfs=1]                      the body is the file
 *   POST /_test/add-made-up?path=P&size=N[&seed=N][&lfs=1]
 *   POST /_test/commit?repo=models/org/name[&revision=main]     answers the commit
 *   POST /_test/tag?repo=R&revision=V&commit=C
 *   POST /_test/access?repo=R&access=public|private|gated|disabled
 *   POST /_test/grant?repo=R&token=T&on=0|1
 *   POST /_test/rename?old=R&new=R
 *   POST /_test/load?dir=D
 *   POST /_test/commit-on-404?on=0|1
 *
 * The status is 200, or 400 with a body that names the mistake.
 */
#include "hub_control.h"

#include "base/auto.h"
#include "hub_abort.h"
#include "hub_answer.h"
#include "hub_content.h"
#include "hub_log.h"
#include "hub_rules.h"
#include "hub_stalls.h"
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

/* The index of `name` in a list of names; -1: it is not there. */
static int name_index(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count && name; i++) {
        if (strcmp(names[i], name) == 0)
            return (int)i;
    }
    return -1;
}

/* 400: the test that sent the request is wrong. */
static void control_fail(struct hub_answer *answer, const char *what)
{
    hub_answer_text(answer, 400, hub_format("%s\n", what));
}

static uint64_t query_number(const struct hub_request *request, const char *name)
{
    const char *text = hub_request_query(request, name);

    return text ? strtoull(text, NULL, 10) : 0;
}

static void control_log(const struct hub_request *request, struct hub_answer *answer)
{
    hub_answer_text(answer, 200, test_hub_log(request->hub));
}

static void control_clear_log(const struct hub_request *request,
                              struct hub_answer *answer)
{
    (void)answer;
    test_hub_clear_log(request->hub);
}

static const char *rule_text(const json_t *rule, const char *name)
{
    return json_string_value(json_object_get(rule, name));
}

static unsigned rule_number(const json_t *rule, const char *name)
{
    return (unsigned)json_integer_value(json_object_get(rule, name));
}

/* NULL, or a field that a rule does not have. */
static const char *rule_unknown_field(json_t *rule)
{
    const char *name;
    json_t *value;

    json_object_foreach(rule, name, value)
    {
        if (name_index(FIELDS, COUNT(FIELDS), name) < 0)
            return name;
    }
    return NULL;
}

/* The fields of the JSON are the members of struct test_hub_rule. */
static void rule_add(const struct hub_request *request, json_t *json,
                     struct hub_answer *answer)
{
    const char *unknown = rule_unknown_field(json);
    int fault = name_index(FAULTS, COUNT(FAULTS), rule_text(json, "fault"));
    struct test_hub_rule rule = {
        .method = rule_text(json, "method"),
        .contains = rule_text(json, "contains"),
        .range = rule_text(json, "range"),
        .on_cdn = json_is_true(json_object_get(json, "on_cdn")),
        .skip = rule_number(json, "skip"),
        .times = rule_number(json, "times"),
        .number = (uint64_t)json_integer_value(json_object_get(json, "number")),
        .name = rule_text(json, "name"),
        .text = rule_text(json, "text"),
        .retry_after_s = rule_number(json, "retry_after_s"),
        .error_code = rule_text(json, "error_code"),
    };

    if (unknown || fault < 0) {
        control_fail(answer, unknown ? unknown : "fault");
        return;
    }
    rule.fault = (enum test_hub_fault)fault;
    test_hub_rule(request->hub, &rule);
}

static void control_add_rule(const struct hub_request *request, struct hub_answer *answer)
{
    json_error_t error;
    json_t *json = json_loadb(request->body, request->body_size, 0, &error);

    if (json_is_object(json))
        rule_add(request, json, answer);
    else
        control_fail(answer, "the body is no JSON object");
    json_decref(json);
}

static void control_clear_rules(const struct hub_request *request,
                                struct hub_answer *answer)
{
    (void)answer;
    test_hub_clear_rules(request->hub);
}

static void control_release(const struct hub_request *request, struct hub_answer *answer)
{
    (void)answer;
    test_hub_release(request->hub);
}

static void control_await(const struct hub_request *request, struct hub_answer *answer)
{
    const struct hub_log_query query = {.method = hub_request_query(request, "method"),
                                        .contains =
                                            hub_request_query(request, "contains")};

    if (!hub_log_await(request->hub->log, &query,
                       (unsigned)query_number(request, "count")))
        control_fail(answer, "the awaited requests did not come");
}

static void control_await_stall(const struct hub_request *request,
                                struct hub_answer *answer)
{
    if (!hub_stalls_await_stall(request->hub->stalls))
        control_fail(answer, "nothing stalled");
}

static void control_add(const struct hub_request *request, struct hub_answer *answer)
{
    (void)answer;
    test_hub_add(request->hub, hub_request_query(request, "path"), request->body,
                 request->body_size, query_number(request, "lfs") != 0);
}

static void control_add_generated(const struct hub_request *request,
                                  struct hub_answer *answer)
{
    (void)answer;
    test_hub_add_generated(request->hub, hub_request_query(request, "path"),
                           query_number(request, "size"),
                           (unsigned)query_number(request, "seed"),
                           query_number(request, "lfs") != 0);
}

static void control_commit(const struct hub_request *request, struct hub_answer *answer)
{
    const char *revision = hub_request_query(request, "revision");
    char hash[41];

    test_hub_commit(request->hub, hub_request_query(request, "repo"),
                    revision ? revision : "main", hash);
    hub_answer_text(answer, 200, hub_strdup(hash));
}

static void control_tag(const struct hub_request *request, struct hub_answer *answer)
{
    if (!hub_content_tag(request->hub->content, hub_request_query(request, "repo"),
                         hub_request_query(request, "revision"),
                         hub_request_query(request, "commit")))
        control_fail(answer, "no such commit");
}

static void control_set_access(const struct hub_request *request,
                               struct hub_answer *answer)
{
    int access = name_index(ACCESS, COUNT(ACCESS), hub_request_query(request, "access"));

    if (access < 0 ||
        !hub_content_set_access(request->hub->content, hub_request_query(request, "repo"),
                                (enum test_hub_access)access))
        control_fail(answer, "no such repo or access");
}

static void control_grant(const struct hub_request *request, struct hub_answer *answer)
{
    if (!hub_content_set_granted(request->hub->content,
                                 hub_request_query(request, "repo"),
                                 hub_request_query(request, "token"),
                                 query_number(request, "on") != 0))
        control_fail(answer, "no such repo");
}

static void control_rename(const struct hub_request *request, struct hub_answer *answer)
{
    (void)answer;
    test_hub_rename(request->hub, hub_request_query(request, "old"),
                    hub_request_query(request, "new"));
}

static void control_load(const struct hub_request *request, struct hub_answer *answer)
{
    (void)answer;
    test_hub_load(request->hub, hub_request_query(request, "dir"));
}

static void control_commit_on_404(const struct hub_request *request,
                                  struct hub_answer *answer)
{
    (void)answer;
    test_hub_set_commit_on_404(request->hub, query_number(request, "on") != 0);
}

static const struct {
    const char *name;
    void (*answer)(const struct hub_request *request, struct hub_answer *answer);
    const char *needs[3]; /* query parameters */
} CONTROLS[] = {
    {"log", control_log, {0}},
    {"log/clear", control_clear_log, {0}},
    {"rules", control_add_rule, {0}},
    {"rules/clear", control_clear_rules, {0}},
    {"release", control_release, {0}},
    {"await", control_await, {"count"}},
    {"await-stall", control_await_stall, {0}},
    {"add", control_add, {"path"}},
    {"add-made-up", control_add_generated, {"path", "size"}},
    {"commit", control_commit, {"repo"}},
    {"tag", control_tag, {"repo", "revision", "commit"}},
    {"access", control_set_access, {"repo", "access"}},
    {"grant", control_grant, {"repo", "token", "on"}},
    {"rename", control_rename, {"old", "new"}},
    {"load", control_load, {"dir"}},
    {"commit-on-404", control_commit_on_404, {"on"}},
};

/* Control requests are neither logged nor subject to rules; see test_hub.c. */
void hub_control_answer(const struct hub_request *request, struct hub_answer *answer)
{
    const char *name = request->path + strlen(HUB_CONTROL_PATH);
    size_t row = 0;

    while (row < COUNT(CONTROLS) && strcmp(CONTROLS[row].name, name) != 0)
        row++;
    if (row == COUNT(CONTROLS)) {
        control_fail(answer, "no such control");
        return;
    }
    for (size_t i = 0; i < COUNT(CONTROLS[row].needs) && CONTROLS[row].needs[i]; i++) {
        if (!hub_request_query(request, CONTROLS[row].needs[i])) {
            control_fail(answer, CONTROLS[row].needs[i]);
            return;
        }
    }
    hub_answer_text(answer, 200, hub_strdup("ok\n"));
    CONTROLS[row].answer(request, answer);
}
