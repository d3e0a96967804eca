/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: an error has a reason for programs and a message for people, which is UTF-8
 * whatever it is made of. Every reason has its name, status and exit code.
 */
#include "test.h"

#include <base/error.h>
#include <base/text.h>

#include <errno.h>
#include <string.h>

static void a_failure_sets_reason_and_message(void **state)
{
    struct hc_error err = {.retry_after_ms = 7, .field = "old"};

    (void)state;
    assert_int_equal(hc_fail(&err, HC_BAD_HUB_REPLY, "no %s", "commit"), -1);
    assert_int_equal(err.reason, HC_BAD_HUB_REPLY);
    assert_string_equal(err.message, "no commit");
    assert_int_equal(err.retry_after_ms, 0);
    assert_string_equal(err.field, "");
}

static void a_bad_request_names_its_field(void **state)
{
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_fail_field(&err, HC_INVALID_REPO_ID, "repo_id", "bad"), -1);
    assert_string_equal(err.field, "repo_id");
}

static void context_goes_before_the_message(void **state)
{
    struct hc_error err;

    (void)state;
    (void)hc_fail(&err, HC_BUSY, "full");
    err.retry_after_ms = 9;
    assert_int_equal(hc_context(&err, "fetch '%s'", "a"), -1);
    assert_string_equal(err.message, "fetch 'a': full");
    assert_int_equal(err.reason, HC_BUSY);
    assert_int_equal(err.retry_after_ms, 9);
}

static void a_message_may_quote_the_error_it_replaces(void **state)
{
    struct hc_error err;

    (void)state;
    (void)hc_fail(&err, HC_BUSY, "inner");
    (void)hc_fail(&err, HC_INTERNAL, "outer (%s)", err.message);
    assert_string_equal(err.message, "outer (inner)");
}

static void errno_is_mapped_to_a_reason(void **state)
{
    static const struct {
        int errnum;
        enum hc_reason reason;
    } rows[] = {{EROFS, HC_CACHE_READ_ONLY}, {EACCES, HC_CACHE_READ_ONLY},
                {EPERM, HC_CACHE_READ_ONLY}, {ENOSPC, HC_NO_SPACE},
                {EDQUOT, HC_NO_SPACE},       {ENOMEM, HC_INTERNAL},
                {EIO, HC_CACHE_IO},          {ENOTDIR, HC_CACHE_IO}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hc_error err;

        assert_int_equal(hc_fail_errno(&err, rows[i].errnum, "open 'x'"), -1);
        assert_int_equal(err.reason, rows[i].reason);
        assert_true(hc_text_starts(err.message, "open 'x': "));
        assert_non_null(strstr(err.message, strerrordesc_np(rows[i].errnum)));
    }
}

static void a_long_message_is_cut_and_stays_utf8(void **state)
{
    struct hc_error err;
    char text[1200];

    (void)state;
    for (size_t shift = 0; shift < 2; shift++) {
        memset(text, 'a', shift);
        for (size_t i = shift; i + 2 < sizeof text; i += 2)
            memcpy(text + i, "\xc3\xa9", 3);
        (void)hc_fail(&err, HC_BUSY, "%s", text);
        assert_int_equal(strlen(err.message), sizeof err.message - 1);
        assert_true(hc_text_is_utf8(err.message));
        (void)hc_context(&err, "%s", text);
        assert_true(hc_text_is_utf8(err.message));
    }
}

static void bytes_that_are_not_utf8_do_not_reach_the_message(void **state)
{
    struct hc_error err;

    (void)state;
    (void)hc_fail(&err, HC_BUSY, "a%sb", "\xff\xc3");
    assert_string_equal(err.message, "a??b");
}

static void every_reason_has_a_name_that_leads_back_to_it(void **state)
{
    (void)state;
    for (int i = HC_OK; i <= HC_CACHE_MISMATCH; i++) {
        enum hc_reason reason = (enum hc_reason)i;

        assert_int_equal(hc_reason_from_name(hc_reason_name(reason)), reason);
    }
    assert_int_equal(hc_reason_from_name("NONSENSE"), HC_OK);
}

static void reasons_have_the_status_and_exit_of_the_contract(void **state)
{
    (void)state;
    assert_string_equal(hc_reason_name(HC_NOT_CACHED), "NOT_CACHED");
    assert_int_equal(hc_reason_status(HC_NOT_CACHED), HC_STATUS_NOT_FOUND);
    assert_int_equal(hc_reason_exit(HC_NOT_CACHED), HC_EXIT_NOT_FOUND);
    assert_int_equal(hc_reason_status(HC_CHECKSUM_MISMATCH), HC_STATUS_DATA_LOSS);
    assert_int_equal(hc_reason_status(HC_HUB_UNREACHABLE), HC_STATUS_UNAVAILABLE);
    assert_int_equal(hc_reason_exit(HC_GATED_REPO), HC_EXIT_DENIED);
    assert_int_equal(hc_reason_exit(HC_INVALID_OPTIONS), HC_EXIT_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_sets_reason_and_message),
        cmocka_unit_test(a_bad_request_names_its_field),
        cmocka_unit_test(context_goes_before_the_message),
        cmocka_unit_test(a_message_may_quote_the_error_it_replaces),
        cmocka_unit_test(errno_is_mapped_to_a_reason),
        cmocka_unit_test(a_long_message_is_cut_and_stays_utf8),
        cmocka_unit_test(bytes_that_are_not_utf8_do_not_reach_the_message),
        cmocka_unit_test(every_reason_has_a_name_that_leads_back_to_it),
        cmocka_unit_test(reasons_have_the_status_and_exit_of_the_contract),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
