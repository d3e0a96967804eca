/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a header "traceparent" counts only if it is valid, as W3C's Trace Context
 * says; its trace goes on, and any other call begins a new one. No two spans are equal.
 */
#include <test.h>

#include <server/trace.h>
#include <string.h>

#define ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"

static bool is_valid(const char *header)
{
    struct hc_trace trace = {.span = 0};

    return hc_trace_parse(&trace, header, strlen(header));
}

static void a_valid_header_is_continued_by_a_new_span(void **state)
{
    static const char header[] = "00-" ID "-" SPAN "-01";
    struct hc_trace_source source;
    struct hc_trace trace;
    char id[HC_TRACE_ID_SIZE], sent[HC_TRACEPARENT_SIZE];

    (void)state;
    hc_trace_source_init(&source);
    trace = hc_trace_begin(&source, header, strlen(header));
    hc_trace_format_id(&trace, id);
    hc_trace_format(&trace, sent);
    assert_string_equal(id, ID);
    assert_true(is_valid(sent));
    assert_memory_equal(sent, header, strlen("00-" ID "-"));
    assert_string_equal(sent + strlen(sent) - 3, "-01");
    assert_null(strstr(sent, SPAN));
}

static void a_header_that_is_not_valid_begins_a_new_trace(void **state)
{
    static const char *const headers[] = {
        "",
        "00",
        "00-" ID "-" SPAN,
        "00-" ID "-" SPAN "-0",
        "00-" ID "-" SPAN "-01-",
        "00-" ID "-" SPAN "-01x",
        "00-" ID "-" SPAN "-0g",
        "00-" ID "-" SPAN "_01",
        "00_" ID "-" SPAN "-01",
        "ff-" ID "-" SPAN "-01",
        "0g-" ID "-" SPAN "-01",
        " 00-" ID "-" SPAN "-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01",
        "00-00000000000000000000000000000000-" SPAN "-01",
        "00-" ID "-0000000000000000-01",
        "01-" ID "-" SPAN "-01.what",
    };
    struct hc_trace_source source;

    (void)state;
    hc_trace_source_init(&source);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct hc_trace trace = hc_trace_begin(&source, headers[i], strlen(headers[i]));
        char sent[HC_TRACEPARENT_SIZE];

        if (is_valid(headers[i]))
            fail_msg("'%s' is valid", headers[i]);
        hc_trace_format(&trace, sent);
        assert_true(is_valid(sent));
        assert_null(strstr(sent, ID));
        assert_string_equal(sent + strlen(sent) - 3, "-00");
    }
}

static void a_later_version_may_have_more(void **state)
{
    (void)state;
    assert_true(is_valid("01-" ID "-" SPAN "-01"));
    assert_true(is_valid("cc-" ID "-" SPAN "-01-what-the-future-will-be-like"));
}

static void unknown_flags_are_not_passed_on(void **state)
{
    static const char header[] = "00-" ID "-" SPAN "-ff";
    struct hc_trace trace = {.span = 0};
    char sent[HC_TRACEPARENT_SIZE];

    (void)state;
    assert_true(hc_trace_parse(&trace, header, strlen(header)));
    hc_trace_format(&trace, sent);
    assert_string_equal(sent, "00-" ID "-" SPAN "-01");
}

static void no_trace_has_no_header(void **state)
{
    const struct hc_trace none = {.span = 0};
    char sent[HC_TRACEPARENT_SIZE];

    (void)state;
    hc_trace_format(&none, sent);
    assert_string_equal(sent, "");
}

static void spans_and_traces_differ(void **state)
{
    enum { MANY = 1000 };
    static struct hc_trace traces[MANY];
    struct hc_trace_source source;

    (void)state;
    hc_trace_source_init(&source);
    for (size_t i = 0; i < MANY; i++) {
        traces[i] = hc_trace_begin(&source, NULL, 0);
        for (size_t other = 0; other < i; other++) {
            assert_int_not_equal(traces[i].span, traces[other].span);
            assert_int_not_equal(traces[i].id[0], traces[other].id[0]);
            assert_int_not_equal(traces[i].id[1], traces[other].id[1]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_valid_header_is_continued_by_a_new_span),
        cmocka_unit_test(a_header_that_is_not_valid_begins_a_new_trace),
        cmocka_unit_test(a_later_version_may_have_more),
        cmocka_unit_test(unknown_flags_are_not_passed_on),
        cmocka_unit_test(no_trace_has_no_header),
        cmocka_unit_test(spans_and_traces_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
