/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a sample of a counter is its rate, one of a load its peak; a window has as
 * many samples as it has room for, the newest last, also when readings come late; a graph
 * of them stays in its frame.
 */
#include "test.h"

#include <server/status_graph.h>
#include <server/status_history.h>

#include <base/auto.h>

#include <string.h>

enum { START_MS = 1000 };

struct fixture {
    struct hc_status_history history;
    struct hc_samples samples;
};

static int history_set_up(void **state)
{
    static struct fixture f;

    hc_status_history_init(&f.history, START_MS);
    *state = &f;
    return 0;
}

static int history_tear_down(void **state)
{
    struct fixture *f = *state;

    hc_status_history_clear(&f->history);
    return 0;
}

static void history_read(struct fixture *f, int64_t at_ms, uint64_t hits, uint64_t calls)
{
    const struct hc_reading reading = {
        .values = {[HC_SERIES_HITS] = hits, [HC_SERIES_CALLS] = calls}};

    hc_status_history_add(&f->history, &reading, START_MS + at_ms);
}

static const struct hc_samples *history_minutes(struct fixture *f)
{
    hc_status_history_copy(&f->history, HC_WINDOW_MINUTES, &f->samples);
    return &f->samples;
}

static void assert_value(const struct hc_samples *samples, enum hc_series series,
                         size_t number, unsigned expected)
{
    double difference = (double)samples->values[series][number] - expected;

    assert_true(difference > -0.01 && difference < 0.01);
}

static void a_young_server_has_no_samples(void **state)
{
    struct fixture *f = *state;

    history_read(f, 4999, 10, 1);
    assert_int_equal(history_minutes(f)->count, 0);
    assert_int_equal(history_minutes(f)->room, HC_MINUTES_SAMPLES);
}

static void samples_are_rates_and_peaks(void **state)
{
    struct fixture *f = *state;

    history_read(f, 1000, 20, 7);
    history_read(f, 5000, 50, 2);
    history_read(f, 9000, 60, 1);
    history_read(f, 10000, 70, 1);

    assert_int_equal(history_minutes(f)->count, 2);
    assert_value(history_minutes(f), HC_SERIES_HITS, 0, 10);
    assert_value(history_minutes(f), HC_SERIES_HITS, 1, 4);
    assert_value(history_minutes(f), HC_SERIES_CALLS, 0, 7);
    assert_value(history_minutes(f), HC_SERIES_CALLS, 1, 2);
}

/* Readings come once a second, and seldom just when a sample ends. */
static void a_rate_is_over_the_time_between_its_readings(void **state)
{
    struct fixture *f = *state;

    history_read(f, 5900, 590, 0);
    history_read(f, 10000, 1000, 0);
    history_read(f, 15500, 1550, 0);
    assert_int_equal(history_minutes(f)->count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_value(history_minutes(f), HC_SERIES_HITS, i, 100);
}

static void the_oldest_samples_give_way(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 1; i <= HC_MINUTES_SAMPLES + 5; i++)
        history_read(f, (int64_t)i * HC_MINUTES_EVERY_MS, 0, i);
    assert_int_equal(history_minutes(f)->count, HC_MINUTES_SAMPLES);
    assert_value(history_minutes(f), HC_SERIES_CALLS, 0, 6);
    assert_value(history_minutes(f), HC_SERIES_CALLS, HC_MINUTES_SAMPLES - 1,
                 HC_MINUTES_SAMPLES + 5);
}

static void a_late_reading_fills_the_samples_that_were_missed(void **state)
{
    struct fixture *f = *state;

    history_read(f, 20000, 200, 3);
    assert_int_equal(history_minutes(f)->count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_value(history_minutes(f), HC_SERIES_HITS, i, 10);
    history_read(f, (int64_t)365 * 86400 * 1000, 200, 0);
    assert_int_equal(history_minutes(f)->count, HC_MINUTES_SAMPLES);
    history_read(f, (int64_t)365 * 86400 * 1000 + 5000, 250, 0);
    assert_value(history_minutes(f), HC_SERIES_HITS, HC_MINUTES_SAMPLES - 1, 10);
}

static void a_counter_that_goes_back_counts_nothing(void **state)
{
    struct fixture *f = *state;

    history_read(f, 5000, 100, 0);
    history_read(f, 10000, 90, 0);
    assert_value(history_minutes(f), HC_SERIES_HITS, 1, 0);
}

static void the_day_has_samples_of_its_own(void **state)
{
    struct fixture *f = *state;

    history_read(f, HC_DAY_EVERY_MS, 3000, 1);
    hc_status_history_copy(&f->history, HC_WINDOW_DAY, &f->samples);
    assert_int_equal(f->samples.count, 1);
    assert_int_equal(f->samples.room, HC_DAY_SAMPLES);
    assert_value(&f->samples, HC_SERIES_HITS, 0, 10);
}

static void a_scale_ends_at_a_round_figure(void **state)
{
    (void)state;
    assert_int_equal((int)hc_graph_scale(0, 1), 1);
    assert_int_equal((int)hc_graph_scale(1, 1), 1);
    assert_int_equal((int)hc_graph_scale(1.1, 1), 2);
    assert_int_equal((int)hc_graph_scale(3, 1), 5);
    assert_int_equal((int)hc_graph_scale(51, 1), 100);
    assert_int_equal((int)hc_graph_scale(10, 1000), 1000);
    assert_int_equal((int)hc_graph_scale(4001, 1000), 5000);
}

static char *graph_of(const struct hc_samples *samples)
{
    static const struct hc_graph graph = {.title = "Calls",
                                          .unit = "/s",
                                          .lines = {{HC_SERIES_HITS, "hits"}}};
    char *page = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&page, &size);

    assert_non_null(out);
    hc_status_graph_write(&graph, samples, "10 minutes", out);
    assert_int_equal(fclose(out), 0);
    return page;
}

static void a_graph_has_the_newest_sample_at_its_right(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *empty = graph_of(history_minutes(f));
    HC_AUTO_FREE char *page = NULL;

    assert_non_null(strstr(empty, "no sample yet"));
    history_read(f, 5000, 50, 0);
    history_read(f, 10000, 125, 0);
    page = graph_of(history_minutes(f));

    assert_non_null(strstr(page, "d=\"M118 50L119 25\"")); /* 10 and 15 of 20 */
    assert_non_null(strstr(page, "hits <b>15/s</b> <small>max 15/s"));
    assert_null(strstr(page, "style="));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH_HISTORY(test)                                                               \
    cmocka_unit_test_setup_teardown(test, history_set_up, history_tear_down)
        WITH_HISTORY(a_young_server_has_no_samples),
        WITH_HISTORY(samples_are_rates_and_peaks),
        WITH_HISTORY(a_rate_is_over_the_time_between_its_readings),
        WITH_HISTORY(the_oldest_samples_give_way),
        WITH_HISTORY(a_late_reading_fills_the_samples_that_were_missed),
        WITH_HISTORY(a_counter_that_goes_back_counts_nothing),
        WITH_HISTORY(the_day_has_samples_of_its_own),
        cmocka_unit_test(a_scale_ends_at_a_round_figure),
        WITH_HISTORY(a_graph_has_the_newest_sample_at_its_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
