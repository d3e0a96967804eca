/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a histogram counts each duration in the ranges that it belongs to, and
 * callers make a bounded number of time series, however many there are.
 */
#include <test.h>

#include <base/auto.h>
#include <base/error.h>
#include <pthread.h>
#include <server/caller_counts.h>
#include <server/exposition.h>
#include <server/histogram.h>
#include <string.h>

enum { CALLERS = 10000, THREADS = 4 };

static unsigned lines_in(const char *text, const char *part)
{
    unsigned n = 0;

    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        n++;
    return n;
}

static void assert_has(const char *text, const char *line)
{
    if (!strstr(text, line))
        fail_msg("no '%s' in:\n%s", line, text);
}

static void a_duration_counts_in_each_range_that_it_fits(void **state)
{
    static struct hc_histogram histogram;
    HC_AUTO_FREE char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    (void)state;
    hc_histogram_record(&histogram, 0);
    hc_histogram_record(&histogram, 100);
    hc_histogram_record(&histogram, 101);
    hc_histogram_record(&histogram, 7200 * 1000000L);
    hc_histogram_record(&histogram, 7200 * 1000000L + 1);
    hc_histogram_write(&histogram, "d", "a=\"b\"", out);
    assert_int_equal(fclose(out), 0);

    assert_has(text, "d_bucket{a=\"b\",le=\"0.0001\"} 2\n");
    assert_has(text, "d_bucket{a=\"b\",le=\"0.0003\"} 3\n");
    assert_has(text, "d_bucket{a=\"b\",le=\"1800\"} 3\n");
    assert_has(text, "d_bucket{a=\"b\",le=\"7200\"} 4\n");
    assert_has(text, "d_bucket{a=\"b\",le=\"+Inf\"} 5\n");
    assert_has(text, "d_sum{a=\"b\"} 14400.000202\n");
    assert_has(text, "d_count{a=\"b\"} 5\n");
}

static void a_histogram_of_nothing_has_no_samples(void **state)
{
    static struct hc_histogram histogram;
    HC_AUTO_FREE char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    (void)state;
    hc_histogram_write(&histogram, "d", "a=\"b\"", out);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, "");
}

struct run {
    struct hc_caller_counts *counts;
    struct hc_caller **callers;
};

static void *run_count(void *ctx)
{
    struct run *run = ctx;

    for (size_t i = 0; i < CALLERS; i++)
        hc_caller_counts_add(run->counts, run->callers[i], i % 2 == 0);
    return NULL;
}

static void many_callers_make_few_series_and_each_call_counts(void **state)
{
    static struct hc_caller *callers[CALLERS];
    struct hc_error err;
    HC_AUTO(hc_caller_counts) *counts = hc_caller_counts_new(&err);
    struct run run = {.counts = counts, .callers = callers};
    pthread_t threads[THREADS];
    HC_AUTO_FREE char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    unsigned long total = 0;

    (void)state;
    for (size_t i = 0; i < CALLERS; i++) {
        char name[32];

        (void)snprintf(name, sizeof name, "caller\n\"%zu", i);
        callers[i] = hc_caller_new(HC_CALLER_TOKEN, name, NULL, 0, &err);
        assert_non_null(callers[i]);
    }
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_count, &run), 0);
    for (size_t i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    hc_caller_counts_write(counts, out);
    assert_int_equal(fclose(out), 0);

    assert_int_equal(lines_in(text, "kind=\"token\""), HC_CALLERS_COUNTED);
    assert_int_equal(lines_in(text, "{caller=\"\",kind=\"other\""), 2);
    assert_has(text, "{caller=\"caller\\n\\\"0\",kind=\"token\",outcome=\"ok\"} 4\n");
    for (const char *at = strstr(text, "} "); at; at = strstr(at + 1, "} "))
        total += strtoul(at + 2, NULL, 10);
    assert_int_equal(total, THREADS * CALLERS);
    for (size_t i = 0; i < CALLERS; i++)
        hc_caller_release(callers[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_duration_counts_in_each_range_that_it_fits),
        cmocka_unit_test(a_histogram_of_nothing_has_no_samples),
        cmocka_unit_test(many_callers_make_few_series_and_each_call_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
