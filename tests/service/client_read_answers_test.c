/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: hc_client_read_file() believes no answer that is not what it asked for,
 * mixes no two files, and asks again for the rest only. The answers come from a server in
 * this process that says what the test wants.
 */
#include "service_fixture.h"

#include <base/auto.h>
#include <hubcache-client/client.h>
#include <server/rpc.h>

#include <stdatomic.h>

enum { ANSWERS_MAX = 3, SCRIPT_SIZE = 1000 };

/* The answers to one call after the other: a message and the end. */
struct script {
    struct {
        bool has_file;
        uint64_t size, offset, count;
        const char *etag;
        bool is_cut; /* SHUTTING_DOWN follows the message, instead of OK */
    } answers[ANSWERS_MAX];
    atomic_uint calls;
    uint64_t asked_offset, asked_length; /* by the last call */
};

static bool accept_bytes(void *ctx, const void *bytes, size_t count)
{
    (void)bytes;
    *(uint64_t *)ctx += count;
    return true;
}

static void script_leave(struct hc_rpc_call *call)
{
    (void)call; /* it is finished already */
}

static void script_cut(struct hc_rpc_call *call,
                       const Hubcache__V1__ReadFileResponse *message)
{
    const struct hc_error err = {.reason = HC_SHUTTING_DOWN, .retry_after_ms = 1};
    HC_AUTO(hc_answer) *bytes = hc_answer_new(&message->base);
    HC_AUTO(hc_answer) *failure = hc_answer_of_error(&err, NULL, NULL);

    hc_rpc_call_hold(call);
    hc_rpc_call_park(call, script_leave);
    hc_rpc_call_send(call, bytes);
    hc_rpc_call_finish(call, failure);
    hc_rpc_call_release(call);
}

static void script_answer(void *service, struct hc_rpc_call *call,
                          const ProtobufCMessage *request)
{
    struct script *script = service;
    const Hubcache__V1__ReadFileRequest *asked = (const void *)request;
    unsigned n = atomic_fetch_add(&script->calls, 1);
    Hubcache__V1__ReadFileResponse message = HUBCACHE__V1__READ_FILE_RESPONSE__INIT;
    Hubcache__V1__ResolvedFile file;
    uint8_t zeros[2 * SCRIPT_SIZE] = {0};

    hubcache__v1__resolved_file__init(&file);
    assert_true(n < ANSWERS_MAX);
    script->asked_offset = asked->offset;
    script->asked_length = asked->length;
    file.filename = (char[]){"zeros"};
    file.etag = hc_unconst(script->answers[n].etag ? script->answers[n].etag : "");
    file.size_bytes = script->answers[n].size;
    message.file = script->answers[n].has_file ? &file : NULL;
    message.offset = script->answers[n].offset;
    message.data.data = zeros;
    message.data.len = script->answers[n].count;
    if (script->answers[n].is_cut)
        script_cut(call, &message);
    else
        hc_rpc_call_reply(call, &message.base);
}

/* Reads the file of the script from `offset` on; the number of bytes that came. */
static uint64_t read_script(struct script *script, uint64_t offset, uint64_t length,
                            struct hc_error *err)
{
    const struct hc_rpc_limits limits = {.connections = 16};
    static const struct hc_rpc_method methods[] = {
        {.path = METHOD("ReadFile"),
         .request = &hubcache__v1__read_file_request__descriptor,
         .start = script_answer,
         .kind = HC_RPC_SERVER_STREAMING}};
    HC_AUTO(hc_rpc) *rpc = hc_rpc_open(&limits, NULL, NULL, err);
    char address[128];
    struct hc_client *client;
    uint64_t count = 0;
    const struct hc_client_read_request request = {.file = {.repo = {.id = "org/name"},
                                                            .filename = "zeros"},
                                                   .offset = offset,
                                                   .length = length,
                                                   .bytes = accept_bytes,
                                                   .ctx = &count};

    assert_non_null(rpc);
    assert_int_equal(hc_rpc_add(rpc, methods, 1, script, err), 0);
    assert_int_equal(hc_rpc_listen(rpc, "127.0.0.1:0", address, sizeof address, err), 0);
    assert_int_equal(hc_rpc_start(rpc, err), 0);
    client = hc_client_open(&(struct hc_client_options){.server = address,
                                                        .timeout_ms = 60000},
                            err);
    assert_non_null(client);
    *err = (struct hc_error){.reason = HC_OK};
    (void)hc_client_read_file(client, &request, NULL, err);
    print_message("%s: %s\n", hc_reason_name(err->reason), err->message);
    hc_client_close(client);
    return count;
}

static void answers_that_are_not_what_was_asked_for_are_refused(void **state)
{
    static const struct {
        bool has_file;
        uint64_t size, offset, count; /* of the answer */
        uint64_t from, length;        /* of the request */
        enum hc_reason reason;
        uint64_t passed; /* bytes that the caller gets */
    } cases[] = {
        {true, 10, 0, 10, 0, 0, HC_OK, 10},
        {true, 10, 4, 6, 4, 0, HC_OK, 6},
        {true, 10, 4, 3, 4, 3, HC_OK, 3},
        {false, 10, 0, 10, 0, 0, HC_INTERNAL, 0}, /* names no file */
        {true, 10, 1, 9, 0, 0, HC_INTERNAL, 0},   /* a gap */
        {true, 10, 3, 7, 4, 0, HC_INTERNAL, 0},   /* a byte twice */
        {true, 10, 0, 11, 0, 0, HC_INTERNAL, 0},  /* longer than the file */
        {true, 10, 4, 4, 4, 3, HC_INTERNAL, 0},   /* more than was asked for */
        {true, 10, 0, 9, 0, 0, HC_INTERNAL, 9},   /* ends too early */
        {true, 10, 4, 2, 4, 3, HC_INTERNAL, 2},
        {true, 10, 0, 0, 0, 0, HC_INTERNAL, 0},
        {true, 3, 4, 0, 4, 0, HC_INTERNAL, 0}, /* an offset beyond its end */
        {true, UINT64_MAX, 4, 2, 4, UINT64_MAX, HC_INTERNAL, 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct script script = {0};
        struct hc_error err;
        uint64_t passed;

        script.answers[0].has_file = cases[i].has_file;
        script.answers[0].size = cases[i].size;
        script.answers[0].offset = cases[i].offset;
        script.answers[0].count = cases[i].count;
        passed = read_script(&script, cases[i].from, cases[i].length, &err);
        if (err.reason != cases[i].reason || passed != cases[i].passed)
            fail_msg("case %zu: %s", i, hc_reason_name(err.reason));
        assert_int_equal(atomic_load(&script.calls), 1);
        assert_int_equal(script.asked_offset, cases[i].from);
    }
}

static void a_file_that_changes_between_two_attempts_is_not_mixed(void **state)
{
    struct script script = {0};
    struct hc_error err;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        script.answers[i].has_file = true;
        script.answers[i].size = 10;
        script.answers[i].offset = 5 * i;
        script.answers[i].count = 5;
        script.answers[i].etag = i == 0 ? "one" : "other";
        script.answers[i].is_cut = i == 0;
    }

    assert_int_equal(read_script(&script, 0, 0, &err), 5);
    assert_int_equal(err.reason, HC_INTERNAL);
    assert_int_equal(atomic_load(&script.calls), 2);
    assert_int_equal(script.asked_offset, 5);
}

static void a_retry_asks_for_the_rest_of_a_range(void **state)
{
    struct script script = {0};
    struct hc_error err;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        script.answers[i].has_file = true;
        script.answers[i].size = 100;
        script.answers[i].offset = 20 + 5 * i;
        script.answers[i].count = 5;
        script.answers[i].is_cut = i == 0;
    }

    assert_int_equal(read_script(&script, 20, 10, &err), 10);
    assert_int_equal(err.reason, HC_OK);
    assert_int_equal(script.asked_offset, 25);
    assert_int_equal(script.asked_length, 5);
}

static void a_call_that_breaks_after_its_last_byte_is_not_made_again(void **state)
{
    struct script script = {0};
    struct hc_error err;

    (void)state;
    script.answers[0].has_file = true;
    script.answers[0].size = script.answers[0].count = 10;
    script.answers[0].is_cut = true;

    assert_int_equal(read_script(&script, 0, 0, &err), 10);
    assert_int_equal(err.reason, HC_OK);
    assert_int_equal(atomic_load(&script.calls), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_that_are_not_what_was_asked_for_are_refused),
        cmocka_unit_test(a_file_that_changes_between_two_attempts_is_not_mixed),
        cmocka_unit_test(a_retry_asks_for_the_rest_of_a_range),
        cmocka_unit_test(a_call_that_breaks_after_its_last_byte_is_not_made_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
