/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rest of test_hub.h: calls that go to one part of the hub. What cannot be done ends
 * the program, for a test that asks for it is wrong.
 */
#include "test_hub.h"

#include "hub_abort.h"
#include "hub_blob.h"
#include "hub_content.h"
#include "hub_log.h"
#include "hub_rules.h"
#include "hub_stalls.h"
#include "hub_state.h"

void test_hub_add(struct test_hub *hub, const char *path, const void *bytes, size_t size,
                  bool is_lfs)
{
    hub_content_stage(hub->content, path, hub_blob_of_bytes(bytes, size, is_lfs));
}

void test_hub_add_generated(struct test_hub *hub, const char *path, uint64_t size,
                            unsigned seed, bool is_lfs)
{
    hub_content_stage(hub->content, path, hub_blob_generated(size, seed, is_lfs));
}

void test_hub_commit(struct test_hub *hub, const char *repo, const char *revision,
                     char commit[41])
{
    hub_content_commit(hub->content, repo, revision, commit);
}

void test_hub_tag(struct test_hub *hub, const char *repo, const char *revision,
                  const char *commit)
{
    if (!hub_content_tag(hub->content, repo, revision, commit))
        hub_abort("no such commit to tag", commit);
}

void test_hub_set_access(struct test_hub *hub, const char *repo,
                         enum test_hub_access access)
{
    if (!hub_content_set_access(hub->content, repo, access))
        hub_abort("no such repo to give access to", repo);
}

void test_hub_rename(struct test_hub *hub, const char *old_repo, const char *new_repo)
{
    hub_content_rename(hub->content, old_repo, new_repo);
}

void test_hub_load(struct test_hub *hub, const char *dir)
{
    hub_content_load(hub->content, dir);
}

void test_hub_rule(struct test_hub *hub, const struct test_hub_rule *rule)
{
    hub_rules_add(hub->rules, rule);
}

void test_hub_clear_rules(struct test_hub *hub)
{
    hub_rules_clear(hub->rules);
}

void test_hub_release(struct test_hub *hub)
{
    hub_stalls_release(hub->stalls);
}

void test_hub_await(struct test_hub *hub, const char *method, const char *contains,
                    unsigned count)
{
    const struct hub_log_query query = {.method = method, .contains = contains};

    if (!hub_log_await(hub->log, &query, count))
        hub_abort("awaited requests did not come", contains ? contains : "any");
}

void test_hub_await_stall(struct test_hub *hub)
{
    if (!hub_stalls_await_stall(hub->stalls))
        hub_abort("awaited in vain", "nothing stalled");
}

unsigned test_hub_count(struct test_hub *hub, const char *method, const char *contains)
{
    const struct hub_log_query query = {.method = method, .contains = contains};

    return hub_log_count(hub->log, &query);
}

unsigned test_hub_count_cdn(struct test_hub *hub, const char *method)
{
    const struct hub_log_query query = {.method = method, .cdn_only = true};

    return hub_log_count(hub->log, &query);
}

unsigned test_hub_count_authorized(struct test_hub *hub, bool on_cdn)
{
    const struct hub_log_query query = {.cdn_only = on_cdn,
                                        .hub_only = !on_cdn,
                                        .authorized_only = true};

    return hub_log_count(hub->log, &query);
}

uint64_t test_hub_bytes_sent(struct test_hub *hub)
{
    return hub_log_bytes_sent(hub->log);
}

char *test_hub_log(struct test_hub *hub)
{
    return hub_log_text(hub->log);
}

void test_hub_clear_log(struct test_hub *hub)
{
    hub_log_clear(hub->log);
}
