/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: the client gets the error that the hubcached had, with reason, retry delay and
 * link; a failure that no hubcached made is mapped by its code; details that cannot be
 * decoded are treated as if there were none.
 */
#include "test.h"

#include "client/channel_status.h"

#include <google/protobuf/any.pb-c.h>
#include <google/protobuf/duration.pb-c.h>
#include <google/rpc/error_details.pb-c.h>
#include <google/rpc/status.pb-c.h>
#include <protobuf-c/protobuf-c.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { UNIMPLEMENTED = 12, DETAIL_MAX = 4096 };

/* The error that a status with this one detail becomes. */
static struct hc_error fail_with_detail(int code, const ProtobufCMessage *detail)
{
    char type[128], text[] = "in the server's words";
    uint8_t packed[DETAIL_MAX], bytes[DETAIL_MAX];
    Google__Protobuf__Any any;
    Google__Protobuf__Any *details[] = {&any};
    Google__Rpc__Status status;
    struct hc_channel_status reply = {.code = code,
                                      .text = text,
                                      .details = bytes,
                                      .server = "cache.example:50051"};
    struct hc_error err = {0};

    protobuf_c_message_init(&google__protobuf__any__descriptor, &any);
    protobuf_c_message_init(&google__rpc__status__descriptor, &status);
    (void)snprintf(type, sizeof type, "type.googleapis.com/%s", detail->descriptor->name);
    any.type_url = type;
    any.value.data = packed;
    any.value.len = protobuf_c_message_pack(detail, packed);
    status.message = text;
    status.details = details;
    status.n_details = 1;
    reply.details_size = protobuf_c_message_pack(&status.base, bytes);
    assert_int_equal(hc_channel_status_fail(&reply, &err), -1);
    return err;
}

static struct hc_error fail_with_reason(int code, char *reason, char *domain)
{
    Google__Rpc__ErrorInfo info;

    protobuf_c_message_init(&google__rpc__error_info__descriptor, &info);
    info.reason = reason;
    info.domain = domain;
    return fail_with_detail(code, &info.base);
}

static struct hc_error fail_with_metadata(char *reason, char *key, char *value)
{
    Google__Rpc__ErrorInfo__MetadataEntry entry;
    Google__Rpc__ErrorInfo__MetadataEntry *entries[] = {&entry};
    Google__Rpc__ErrorInfo info;
    char domain[] = "hubcache";

    protobuf_c_message_init(&google__rpc__error_info__metadata_entry__descriptor, &entry);
    protobuf_c_message_init(&google__rpc__error_info__descriptor, &info);
    entry.key = key;
    entry.value = value;
    info.reason = reason;
    info.domain = domain;
    info.metadata = entries;
    info.n_metadata = 1;
    return fail_with_detail(HC_STATUS_NOT_FOUND, &info.base);
}

static struct hc_error fail_without_details(int code, const uint8_t *details, size_t size)
{
    struct hc_channel_status reply = {.code = code,
                                      .text = "said gRPC",
                                      .details = details,
                                      .details_size = size,
                                      .server = "cache.example:50051"};
    struct hc_error err = {0};

    assert_int_equal(hc_channel_status_fail(&reply, &err), -1);
    return err;
}

static unsigned fail_with_retry_delay(int64_t seconds, int32_t nanos)
{
    Google__Protobuf__Duration delay;
    Google__Rpc__RetryInfo info;

    protobuf_c_message_init(&google__protobuf__duration__descriptor, &delay);
    protobuf_c_message_init(&google__rpc__retry_info__descriptor, &info);
    delay.seconds = seconds;
    delay.nanos = nanos;
    info.retry_delay = &delay;
    return fail_with_detail(HC_STATUS_UNAVAILABLE, &info.base).retry_after_ms;
}

static void every_reason_survives_the_wire(void **state)
{
    char domain[] = "hubcache", name[64];

    (void)state;
    for (int reason = HC_OK + 1; reason <= HC_CACHE_MISMATCH; reason++) {
        struct hc_error err;

        (void)snprintf(name, sizeof name, "%s", hc_reason_name((enum hc_reason)reason));
        err =
            fail_with_reason((int)hc_reason_status((enum hc_reason)reason), name, domain);
        assert_int_equal(err.reason, reason);
        assert_string_equal(err.message, "in the server's words");
    }
}

static void an_unknown_reason_is_mapped_by_its_code(void **state)
{
    char reason[] = "FROM_THE_FUTURE", domain[] = "hubcache";
    struct hc_error err = fail_with_reason(HC_STATUS_NOT_FOUND, reason, domain);

    (void)state;
    assert_int_equal(hc_reason_exit(err.reason), HC_EXIT_NOT_FOUND);
    assert_string_equal(err.message, "in the server's words");
}

static void a_reason_of_another_domain_is_ignored(void **state)
{
    char reason[] = "NO_SPACE", domain[] = "mesh.example";

    (void)state;
    assert_int_equal(fail_with_reason(HC_STATUS_PERMISSION_DENIED, reason, domain).reason,
                     HC_POLICY_DENIED);
}

static void numbers_and_names_of_the_metadata_are_read(void **state)
{
    char no_space[] = "NO_SPACE", needed[] = "needed_bytes", large[] = "5000000000";
    char incomplete[] = "INCOMPLETE_SNAPSHOT", missing[] = "missing", names[] = "a\nb";
    char count[] = "missing_count", many[] = "70";

    (void)state;
    assert_true(fail_with_metadata(no_space, needed, large).needed_bytes == 5000000000);
    assert_string_equal(fail_with_metadata(incomplete, missing, names).missing, "a\nb");
    assert_int_equal(fail_with_metadata(incomplete, count, many).missing_count, 70);
}

static void a_retry_delay_is_read_and_bounded(void **state)
{
    (void)state;
    assert_int_equal(fail_with_retry_delay(1, 500000000), 1500);
    assert_int_equal(fail_with_retry_delay(-1, 0), 0);
    assert_int_equal(fail_with_retry_delay(INT64_MAX, 0), 24 * 60 * 60 * 1000);
}

static void the_field_at_fault_is_read(void **state)
{
    Google__Rpc__BadRequest__FieldViolation violation;
    Google__Rpc__BadRequest__FieldViolation *violations[] = {&violation};
    Google__Rpc__BadRequest request;
    char field[] = "repo_id";

    protobuf_c_message_init(&google__rpc__bad_request__field_violation__descriptor,
                            &violation);
    protobuf_c_message_init(&google__rpc__bad_request__descriptor, &request);
    (void)state;
    violation.field = field;
    request.field_violations = violations;
    request.n_field_violations = 1;
    assert_string_equal(fail_with_detail(HC_STATUS_INVALID_ARGUMENT, &request.base).field,
                        "repo_id");
}

static void a_link_is_read_whole_or_not_at_all(void **state)
{
    Google__Rpc__Help__Link link;
    Google__Rpc__Help__Link *links[] = {&link};
    Google__Rpc__Help help;
    char url[] = "https://hub.example/org/name", long_url[300];

    protobuf_c_message_init(&google__rpc__help__link__descriptor, &link);
    protobuf_c_message_init(&google__rpc__help__descriptor, &help);
    (void)state;
    help.links = links;
    help.n_links = 1;
    link.url = url;
    assert_string_equal(fail_with_detail(HC_STATUS_PERMISSION_DENIED, &help.base).link,
                        url);
    memset(long_url, 'x', sizeof long_url - 1);
    long_url[sizeof long_url - 1] = '\0';
    link.url = long_url;
    assert_string_equal(fail_with_detail(HC_STATUS_PERMISSION_DENIED, &help.base).link,
                        "");
}

static void a_server_that_is_not_there_is_named_with_the_next_step(void **state)
{
    struct hc_error err = fail_without_details(HC_STATUS_UNAVAILABLE, NULL, 0);

    (void)state;
    assert_int_equal(err.reason, HC_SERVER_UNAVAILABLE);
    assert_non_null(strstr(err.message, "cache.example:50051"));
    assert_non_null(strstr(err.message, "check"));
    assert_non_null(strstr(err.message, "said gRPC"));
}

static void a_status_without_details_is_mapped_by_its_code(void **state)
{
    (void)state;
    assert_int_equal(fail_without_details(HC_STATUS_CANCELLED, NULL, 0).reason,
                     HC_CANCELLED);
    assert_int_equal(fail_without_details(HC_STATUS_DEADLINE_EXCEEDED, NULL, 0).reason,
                     HC_DEADLINE_EXCEEDED);
    assert_int_equal(fail_without_details(HC_STATUS_UNAUTHENTICATED, NULL, 0).reason,
                     HC_CALLER_UNAUTHENTICATED);
    assert_int_equal(fail_without_details(HC_STATUS_RESOURCE_EXHAUSTED, NULL, 0).reason,
                     HC_INTERNAL);
    assert_int_equal(fail_without_details(UNIMPLEMENTED, NULL, 0).reason, HC_INTERNAL);
}

static void details_that_cannot_be_decoded_are_ignored(void **state)
{
    static const uint8_t rubbish[] = {0xff, 0xff, 0xff, 0xff};

    (void)state;
    assert_int_equal(
        fail_without_details(HC_STATUS_UNAVAILABLE, rubbish, sizeof rubbish).reason,
        HC_SERVER_UNAVAILABLE);
}

/* The texts are those of gRPC 1.51. */
static const struct {
    const char *text, *word;
} tls_texts[] = {
    {"Ssl handshake failed: SSL_ERROR_SSL: error:0A000086:SSL routines::certificate "
     "verify "
     "failed",
     "authority"},
    {"ipv4:127.0.0.1:1: Peer name cache.example is not in peer certificate",
     "another name"},
    {"Ssl handshake failed: SSL_ERROR_SSL: error:0A00010B:SSL routines::wrong version "
     "number",
     "does not speak TLS"},
    {"empty address list: ", "no authorities"},
    {"Ssl handshake failed: SSL_ERROR_SSL: error:0A000410:SSL routines::sslv3 alert "
     "handshake "
     "failure",
     "no TLS in common"},
};

static void what_is_wrong_with_tls_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof tls_texts / sizeof *tls_texts; i++) {
        struct hc_channel_status status = {.code = HC_STATUS_UNAVAILABLE,
                                           .text = tls_texts[i].text,
                                           .server = "cache.example:50051",
                                           .has_tls = true};
        struct hc_error err = {.reason = HC_OK};

        assert_true(hc_channel_status_is_tls_failure(&status));
        assert_int_equal(hc_channel_status_fail(&status, &err), -1);
        assert_int_equal(err.reason, HC_SERVER_UNAVAILABLE);
        assert_non_null(strstr(err.message, tls_texts[i].word));
        assert_non_null(strstr(err.message, "cache.example:50051"));
    }
}

/* It may be restarting as well, so the call is made again. */
static void a_server_that_hangs_up_may_want_another_kind_of_connection(void **state)
{
    struct hc_channel_status status = {.code = HC_STATUS_UNAVAILABLE,
                                       .text = "UNAVAILABLE: Socket closed",
                                       .server = "cache.example:50051"};
    struct hc_error err = {.reason = HC_OK};

    (void)state;
    assert_false(hc_channel_status_is_tls_failure(&status));
    (void)hc_channel_status_fail(&status, &err);
    assert_non_null(strstr(err.message, "if it speaks TLS"));
    status.has_tls = true;
    assert_false(hc_channel_status_is_tls_failure(&status));
    (void)hc_channel_status_fail(&status, &err);
    assert_non_null(strstr(err.message, "client certificates"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reason_survives_the_wire),
        cmocka_unit_test(an_unknown_reason_is_mapped_by_its_code),
        cmocka_unit_test(a_reason_of_another_domain_is_ignored),
        cmocka_unit_test(numbers_and_names_of_the_metadata_are_read),
        cmocka_unit_test(a_retry_delay_is_read_and_bounded),
        cmocka_unit_test(the_field_at_fault_is_read),
        cmocka_unit_test(a_link_is_read_whole_or_not_at_all),
        cmocka_unit_test(a_server_that_is_not_there_is_named_with_the_next_step),
        cmocka_unit_test(a_status_without_details_is_mapped_by_its_code),
        cmocka_unit_test(details_that_cannot_be_decoded_are_ignored),
        cmocka_unit_test(what_is_wrong_with_tls_is_named),
        cmocka_unit_test(a_server_that_hangs_up_may_want_another_kind_of_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
