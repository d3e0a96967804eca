/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: each stale answer is counted by its reason; a reason gets one line at
 * once, and then at most one a minute, which counts the answers since the last line.
 */
#include <server/request_log.h>

#include <test.h>

static void a_reason_has_a_line_at_once_and_then_one_a_minute(void **state)
{
    struct hc_error err;
    struct hc_request_log *log = hc_request_log_new(NULL, &err);
    unsigned count;

    (void)state;
    assert_non_null(log);
    assert_true(hc_request_log_admits_stale(log, HC_HUB_UNREACHABLE, -5, &count));
    assert_int_equal(count, 1);
    for (int64_t at = -4; at < HC_STALE_LINE_EVERY_MS - 5; at += 1000)
        assert_false(hc_request_log_admits_stale(log, HC_HUB_UNREACHABLE, at, &count));
    assert_false(hc_request_log_admits_stale(log, HC_HUB_UNREACHABLE,
                                             HC_STALE_LINE_EVERY_MS - 6, &count));
    assert_true(hc_request_log_admits_stale(log, HC_HUB_UNREACHABLE,
                                            HC_STALE_LINE_EVERY_MS - 5, &count));
    assert_int_equal(count, 62);
    hc_request_log_free(log);
}

static void each_reason_has_its_own_lines(void **state)
{
    struct hc_error err;
    struct hc_request_log *log = hc_request_log_new(NULL, &err);
    unsigned count;

    (void)state;
    for (int reason = 1; reason < HC_REASON_COUNT; reason++) {
        assert_true(
            hc_request_log_admits_stale(log, (enum hc_reason)reason, 1000, &count));
        assert_int_equal(count, 1);
    }
    hc_request_log_free(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reason_has_a_line_at_once_and_then_one_a_minute),
        cmocka_unit_test(each_reason_has_its_own_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
