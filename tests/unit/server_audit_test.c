/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the audit log has a line for each call, also while its file is renamed
 * under load; a file that cannot be written stops no call, and what it lacks is counted.
 */
#include <test.h>

#include <base/auto.h>
#include <base/cancellation.h>
#include <base/error.h>
#include <base/json.h>
#include <pthread.h>
#include <server/audit.h>
#include <server/caller.h>
#include <server/log.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <temp_dir.h>
#include <unistd.h>

enum { CALLS = 18000, ROTATIONS = 3, WAIT_MS = 20000 };

struct fixture {
    char *dir, *path;
    struct hc_request request;
    struct hc_audit *audit;
};

static int audit_set_up(void **state)
{
    static struct fixture f;
    const struct hc_target target = {.id = "org/name"};

    hc_log_set(HC_LOG_ERROR, false);
    f.dir = temp_dir_make();
    f.path = temp_dir_path(f.dir, "audit");
    f.audit = NULL;
    hc_request_init(&f.request, 7, 0, NULL);
    f.request.method = "/hubcache.v1.Resolver/ResolveFile";
    hc_request_set_target(&f.request, &target, "config.json");
    *state = &f;
    return 0;
}

static int audit_tear_down(void **state)
{
    struct fixture *f = *state;

    hc_audit_close(f->audit);
    free(f->path);
    temp_dir_remove(f->dir);
    return 0;
}

static void audit_open(struct fixture *f, const char *path)
{
    struct hc_error err;

    f->audit = hc_audit_open(path, &err);
    if (!f->audit)
        fail_msg("%s", err.message);
}

static void audit_close(struct fixture *f)
{
    hc_audit_close(f->audit);
    f->audit = NULL;
}

static void audit_calls(struct fixture *f, unsigned count)
{
    const struct hc_answer answer = {.message = ""};

    for (unsigned i = 0; i < count; i++) {
        f->request.id++;
        hc_audit_add(f->audit, &f->request, &answer, 42);
    }
}

static json_t *line_at(const char *text, unsigned number)
{
    json_t *parsed;

    for (; number > 0; number--)
        text = strchr(text, '\n') + 1;
    parsed = json_loadb(text, (size_t)(strchr(text, '\n') - text), 0, NULL);
    assert_non_null(parsed);
    return parsed;
}

static unsigned lines_in(const char *text)
{
    unsigned count = 0;

    for (; (text = strchr(text, '\n')); text++)
        count++;
    return count;
}

static void assert_text(const json_t *line, const char *key, const char *value)
{
    assert_string_equal(json_string_value(json_object_get(line, key)), value);
}

static void a_line_says_which_caller_got_what(void **state)
{
    struct fixture *f = *state;
    const char *const groups[] = {"ml", "g\"pu"};
    const struct hc_answer answer = {.message = ""};
    struct hc_error err;
    HC_AUTO(hc_caller)
    *caller = hc_caller_new(HC_CALLER_TOKEN, "alice", groups, 2, &err);
    HC_AUTO_FREE char *text = NULL;
    HC_AUTO_JSON *line = NULL;
    struct stat status;

    f->request.identity = caller;
    (void)strcpy(f->request.peer, "10.0.0.7");
    (void)strcpy(f->request.facts.commit, "0123456789012345678901234567890123456789");
    (void)strcpy(f->request.facts.etag, "e7a6");
    f->request.facts.source = HC_SOURCE_CACHE;
    f->request.facts.files = 1;
    f->request.facts.bytes = 1000;
    audit_open(f, f->path);
    hc_audit_add(f->audit, &f->request, &answer, 1234);
    audit_close(f);

    text = temp_dir_read(f->dir, "audit");
    assert_int_equal(lines_in(text), 1);
    line = line_at(text, 0);
    assert_text(line, "rpc", "hubcache.v1.Resolver/ResolveFile");
    assert_text(line, "caller", "alice");
    assert_text(line, "kind", "token");
    assert_int_equal(json_array_size(json_object_get(line, "groups")), 2);
    assert_text(line, "peer", "10.0.0.7");
    assert_text(line, "repo", "org/name");
    assert_text(line, "type", "model");
    assert_text(line, "revision", "main");
    assert_text(line, "file", "config.json");
    assert_text(line, "commit", "0123456789012345678901234567890123456789");
    assert_text(line, "etag", "e7a6");
    assert_text(line, "source", "cache");
    assert_text(line, "outcome", "OK");
    assert_int_equal(json_integer_value(json_object_get(line, "bytes")), 1000);
    assert_int_equal(strlen(json_string_value(json_object_get(line, "trace_id"))), 32);
    assert_int_equal(stat(f->path, &status), 0);
    assert_int_equal(status.st_mode & 07137, 0);
}

static void refusals_of_callers_are_there_and_other_services_are_not(void **state)
{
    struct fixture *f = *state;
    const struct hc_answer ok = {.message = ""};
    const struct hc_answer refused = {.code = HC_STATUS_UNAUTHENTICATED,
                                      .reason = HC_CALLER_UNAUTHENTICATED,
                                      .message = "no"};
    HC_AUTO_FREE char *text = NULL;
    HC_AUTO_JSON *line = NULL;

    audit_open(f, f->path);
    f->request.method = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    hc_audit_add(f->audit, &f->request, &ok, 1);
    hc_audit_add(f->audit, &f->request, &refused, 1);
    audit_close(f);

    text = temp_dir_read(f->dir, "audit");
    assert_int_equal(lines_in(text), 1);
    line = line_at(text, 0);
    assert_text(line, "outcome", "CALLER_UNAUTHENTICATED");
}

/* Every now and then the file is renamed, as logrotate(8) does. */
static void nothing_is_lost_when_the_file_is_renamed_under_load(void **state)
{
    struct fixture *f = *state;
    unsigned lines = 0;
    char name[32];

    audit_open(f, f->path);
    for (unsigned i = 0; i < ROTATIONS; i++) {
        HC_AUTO_FREE char *renamed = NULL;
        int64_t end_ms = hc_monotonic_ms() + WAIT_MS;

        (void)snprintf(name, sizeof name, "audit.%u", i);
        renamed = temp_dir_path(f->dir, name);
        audit_calls(f, CALLS / ROTATIONS / 2);
        assert_int_equal(rename(f->path, renamed), 0);
        audit_calls(f, CALLS / ROTATIONS / 2);
        hc_audit_reopen(f->audit);
        while (access(f->path, F_OK) != 0) {
            assert_true(hc_monotonic_ms() < end_ms);
            (void)usleep(1000);
        }
    }
    audit_close(f);

    for (unsigned i = 0; i <= ROTATIONS; i++) {
        HC_AUTO_FREE char *text = NULL;

        (void)snprintf(name, sizeof name, i < ROTATIONS ? "audit.%u" : "audit", i);
        text = temp_dir_read(f->dir, name);
        lines += lines_in(text);
    }
    assert_int_equal(lines, CALLS);
}

static void await_failure(struct fixture *f, bool is_failing)
{
    int64_t end_ms = hc_monotonic_ms() + WAIT_MS;
    struct hc_audit_counts counts;

    do {
        assert_true(hc_monotonic_ms() < end_ms);
        (void)usleep(1000);
        hc_audit_count(f->audit, &counts);
    } while (counts.is_failing != is_failing);
}

static void lines_wait_while_the_disk_is_full(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *text = NULL;

    assert_int_equal(symlink("/dev/full", f->path), 0);
    audit_open(f, f->path);
    audit_calls(f, 100);
    await_failure(f, true);
    audit_calls(f, 100);
    assert_int_equal(unlink(f->path), 0); /* the next file is on another disk */
    await_failure(f, false);
    audit_close(f);

    text = temp_dir_read(f->dir, "audit");
    assert_int_equal(lines_in(text), 200);
}

static void what_a_full_disk_costs_is_counted(void **state)
{
    struct fixture *f = *state;
    struct hc_audit_counts counts;

    audit_open(f, "/dev/full");
    audit_calls(f, 1);
    await_failure(f, true);
    audit_calls(f, 3 * HC_AUDIT_BYTES_MAX / 256); /* each takes more than 256 bytes */
    hc_audit_count(f->audit, &counts);
    assert_true(counts.lost > 0);
    assert_int_equal(counts.lines + counts.lost, 1 + 3 * HC_AUDIT_BYTES_MAX / 256);
}

static void a_file_that_cannot_be_made_is_a_wrong_option(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *path = temp_dir_path(f->dir, "no/such/dir");
    struct hc_error err;

    assert_null(hc_audit_open(path, &err));
    assert_int_equal(err.reason, HC_INVALID_OPTIONS);
    assert_non_null(strstr(err.message, "audit-log"));
    assert_int_equal(hc_audit_check(path, &err), -1);
    assert_int_equal(err.reason, HC_INVALID_OPTIONS);
    assert_int_equal(hc_audit_check(f->path, &err), 0);
    assert_false(temp_dir_has(f->dir, "audit"));
    assert_int_equal(hc_audit_check("/dev/full", &err), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, audit_set_up, audit_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_line_says_which_caller_got_what),
        TEST(refusals_of_callers_are_there_and_other_services_are_not),
        TEST(nothing_is_lost_when_the_file_is_renamed_under_load),
        TEST(lines_wait_while_the_disk_is_full),
        TEST(what_a_full_disk_costs_is_counted),
        TEST(a_file_that_cannot_be_made_is_a_wrong_option),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
