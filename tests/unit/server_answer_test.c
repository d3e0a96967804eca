/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the answer of a failure has the status of its reason and the details that
 * a program needs, in valid UTF-8, and fits into a trailer, whatever the request
 * contained.
 */
#include <base/error.h>
#include <server/answer.h>

#include <google/rpc/error_details.pb-c.h>
#include <google/rpc/status.pb-c.h>
#include <hubcache/v1/resolver.pb-c.h>
#include <string.h>
#include <test.h>

enum { TRAILER_MAX = 8192 };

static ProtobufCMessage *status_detail(const struct hc_answer *answer,
                                       const ProtobufCMessageDescriptor *type)
{
    Google__Rpc__Status *status =
        google__rpc__status__unpack(NULL, answer->size, answer->bytes);
    ProtobufCMessage *found = NULL;

    assert_non_null(status);
    assert_int_equal(status->code, answer->code);
    assert_string_equal(status->message, answer->message);
    for (size_t i = 0; i < status->n_details; i++) {
        const Google__Protobuf__Any *any = status->details[i];

        if (strcmp(strrchr(any->type_url, '/') + 1, type->name) == 0)
            found =
                protobuf_c_message_unpack(type, NULL, any->value.len, any->value.data);
    }
    google__rpc__status__free_unpacked(status, NULL);
    return found;
}

/* Fails unless the ErrorInfo has `key` = `value`; NULL: unless it lacks `key`. */
static void assert_info(const struct hc_answer *answer, const char *key,
                        const char *value)
{
    ProtobufCMessage *message =
        status_detail(answer, &google__rpc__error_info__descriptor);
    const Google__Rpc__ErrorInfo *info = (const void *)message;
    const char *found = NULL;

    for (size_t i = 0; i < info->n_metadata; i++) {
        if (strcmp(info->metadata[i]->key, key) == 0)
            found = info->metadata[i]->value;
    }
    if (value)
        assert_string_equal(found, value);
    else
        assert_null(found);
    protobuf_c_message_free_unpacked(message, NULL);
}

static void every_reason_has_its_name_and_status(void **state)
{
    (void)state;
    for (int reason = HC_INVALID_REPO_ID; reason <= HC_INTERNAL; reason++) {
        struct hc_error err = {.reason = (enum hc_reason)reason, .message = "why"};
        struct hc_answer *answer = hc_answer_of_error(&err, NULL, NULL);
        ProtobufCMessage *message =
            status_detail(answer, &google__rpc__error_info__descriptor);
        const Google__Rpc__ErrorInfo *info = (const void *)message;

        assert_int_equal(answer->code, hc_reason_status(err.reason));
        assert_string_equal(info->reason, hc_reason_name(err.reason));
        assert_string_equal(info->domain, "hubcache");
        protobuf_c_message_free_unpacked(message, NULL);
        hc_answer_release(answer);
    }
}

/* The contract lists all reasons of a server; those of the client library come after. */
static void the_contract_lists_every_reason(void **state)
{
    const ProtobufCEnumDescriptor *listed = &hubcache__v1__error_reason__descriptor;
    unsigned n;

    (void)state;
    assert_string_equal(listed->values[0].name, "ERROR_REASON_UNSPECIFIED");
    for (n = 1; n < listed->n_values; n++) {
        assert_int_equal(listed->values[n].value, n);
        assert_string_equal(listed->values[n].name, hc_reason_name((enum hc_reason)n));
    }
    assert_int_equal(n, HC_SERVER_UNAVAILABLE);
}

static void a_failure_names_the_request_as_far_as_it_is_known(void **state)
{
    const struct hc_target target = {.id = "org/name", .revision = "main"};
    struct hc_error err;
    struct hc_answer *answer;

    (void)state;
    (void)hc_fail(&err, HC_NOT_CACHED, "not there");
    answer = hc_answer_of_error(&err, &target, NULL);

    assert_info(answer, "repo_id", "org/name");
    assert_info(answer, "repo_type", "model");
    assert_info(answer, "revision", "main");
    assert_info(answer, "filename", NULL);
    hc_answer_release(answer);
}

/* For a request with several files the failure itself names the file. */
static void a_failure_names_its_file(void **state)
{
    const struct hc_target target = {.id = "org/name", .revision = "main"};
    struct hc_error err;
    struct hc_answer *answers[3];

    (void)state;
    (void)hc_fail(&err, HC_CHECKSUM_MISMATCH, "wrong");
    (void)hc_fail_about_file(&err, "sub/file.bin");
    answers[0] = hc_answer_of_error(&err, &target, NULL);
    answers[1] = hc_answer_of_error(&err, NULL, NULL);
    answers[2] = hc_answer_of_error(&err, &target, "as/asked");
    assert_info(answers[0], "filename", "sub/file.bin");
    assert_info(answers[1], "filename", "sub/file.bin");
    assert_info(answers[2], "filename", "as/asked");
    for (size_t i = 0; i < 3; i++)
        hc_answer_release(answers[i]);
}

static void a_failure_has_its_numbers_and_names(void **state)
{
    struct hc_error full = {.reason = HC_NO_SPACE,
                            .needed_bytes = 5000000000,
                            .free_bytes = 7};
    struct hc_error partial = {.reason = HC_INCOMPLETE_SNAPSHOT,
                               .missing_count = 2,
                               .missing = "a\nb"};
    struct hc_answer *no_space = hc_answer_of_error(&full, NULL, NULL);
    struct hc_answer *incomplete = hc_answer_of_error(&partial, NULL, NULL);

    (void)state;
    assert_info(no_space, "needed_bytes", "5000000000");
    assert_info(no_space, "free_bytes", "7");
    assert_info(incomplete, "missing", "a\nb");
    assert_info(incomplete, "missing_count", "2");
    hc_answer_release(no_space);
    hc_answer_release(incomplete);
}

static void a_failure_has_the_time_to_wait_and_a_page_to_read(void **state)
{
    struct hc_error err = {.reason = HC_HUB_RATE_LIMITED, .retry_after_ms = 61500};
    struct hc_error gated = {.reason = HC_GATED_REPO, .link = "https://hub/org/name"};
    struct hc_answer *later = hc_answer_of_error(&err, NULL, NULL);
    struct hc_answer *elsewhere = hc_answer_of_error(&gated, NULL, NULL);
    ProtobufCMessage *retry = status_detail(later, &google__rpc__retry_info__descriptor);
    ProtobufCMessage *help = status_detail(elsewhere, &google__rpc__help__descriptor);
    const Google__Rpc__RetryInfo *retry_info = (const void *)retry;
    const Google__Rpc__Help *links = (const void *)help;

    (void)state;
    assert_int_equal(retry_info->retry_delay->seconds, 61);
    assert_int_equal(retry_info->retry_delay->nanos, 500000000);
    assert_string_equal(links->links[0]->url, "https://hub/org/name");
    assert_null(status_detail(elsewhere, &google__rpc__retry_info__descriptor));
    assert_null(status_detail(later, &google__rpc__bad_request__descriptor));
    protobuf_c_message_free_unpacked(retry, NULL);
    protobuf_c_message_free_unpacked(help, NULL);
    hc_answer_release(later);
    hc_answer_release(elsewhere);
}

/* Its key may be known soon; the Hub's own refusal stays. */
static void a_caller_may_be_asked_to_try_again_but_not_a_hub_token(void **state)
{
    struct hc_error caller = {.reason = HC_CALLER_UNAUTHENTICATED,
                              .retry_after_ms = 2000};
    struct hc_error hub = {.reason = HC_HUB_UNAUTHORIZED, .retry_after_ms = 2000};
    struct hc_answer *later = hc_answer_of_error(&caller, NULL, NULL);
    struct hc_answer *never = hc_answer_of_error(&hub, NULL, NULL);
    ProtobufCMessage *retry = status_detail(later, &google__rpc__retry_info__descriptor);

    (void)state;
    assert_non_null(retry);
    assert_null(status_detail(never, &google__rpc__retry_info__descriptor));
    protobuf_c_message_free_unpacked(retry, NULL);
    hc_answer_release(later);
    hc_answer_release(never);
}

static void a_failure_names_the_field_at_fault(void **state)
{
    struct hc_error err;
    struct hc_answer *answer;
    ProtobufCMessage *message;
    const Google__Rpc__BadRequest *bad;

    (void)state;
    (void)hc_fail_field(&err, HC_INVALID_REVISION, "revision", "no revision");
    answer = hc_answer_of_error(&err, NULL, NULL);
    message = status_detail(answer, &google__rpc__bad_request__descriptor);
    bad = (const void *)message;

    assert_int_equal(bad->n_field_violations, 1);
    assert_string_equal(bad->field_violations[0]->field, "revision");
    assert_string_equal(bad->field_violations[0]->description, "no revision");
    protobuf_c_message_free_unpacked(message, NULL);
    hc_answer_release(answer);
}

static void bytes_that_are_not_utf8_do_not_get_out(void **state)
{
    const struct hc_target target = {.id = "a\xff"
                                           "b"};
    struct hc_error err;
    struct hc_answer *answer;

    (void)state;
    (void)hc_fail(&err, HC_INVALID_REPO_ID, "'a\xff\xc3' \xc3\xa9");
    answer = hc_answer_of_error(&err, &target, NULL);

    assert_string_equal(answer->message, "'a?"
                                         "?' \xc3\xa9");
    assert_info(answer, "repo_id", "a?b");
    hc_answer_release(answer);
}

static void the_longest_failure_fits_into_a_trailer(void **state)
{
    static char huge[1 << 20];
    const struct hc_target target = {.id = huge,
                                     .type = HC_REPO_KERNEL,
                                     .revision = huge};
    struct hc_error err = {.reason = HC_INCOMPLETE_SNAPSHOT, .retry_after_ms = 1};
    struct hc_answer *answer;

    (void)state;
    memset(huge, 'x', sizeof huge - 1);
    memset(err.message, 'm', sizeof err.message - 1);
    memset(err.missing, 'n', sizeof err.missing - 1);
    memset(err.link, 'l', sizeof err.link - 1);
    memset(err.field, 'f', sizeof err.field - 1);
    answer = hc_answer_of_error(&err, &target, huge);

    assert_true(answer->size * 4 / 3 + 3 * strlen(answer->message) < TRAILER_MAX);
    assert_info(answer, "missing_count", "0");
    hc_answer_release(answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reason_has_its_name_and_status),
        cmocka_unit_test(the_contract_lists_every_reason),
        cmocka_unit_test(a_failure_names_the_request_as_far_as_it_is_known),
        cmocka_unit_test(a_failure_names_its_file),
        cmocka_unit_test(a_failure_has_its_numbers_and_names),
        cmocka_unit_test(a_failure_has_the_time_to_wait_and_a_page_to_read),
        cmocka_unit_test(a_caller_may_be_asked_to_try_again_but_not_a_hub_token),
        cmocka_unit_test(a_failure_names_the_field_at_fault),
        cmocka_unit_test(bytes_that_are_not_utf8_do_not_get_out),
        cmocka_unit_test(the_longest_failure_fits_into_a_trailer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
