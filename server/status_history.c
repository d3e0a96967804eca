/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A window's samples are in an array that moves by one for each new sample: a few
 * kilobytes every five seconds. If readings come late (the machine slept), their mean
 * stands for each sample that was missed.
 */
#include "status_history.h"

#include <string.h>

static const struct {
    int64_t every_ms;
    size_t room;
} windows[HC_WINDOW_COUNT] = {
    [HC_WINDOW_MINUTES] = {HC_MINUTES_EVERY_MS, HC_MINUTES_SAMPLES},
    [HC_WINDOW_DAY] = {HC_DAY_EVERY_MS, HC_DAY_SAMPLES},
};

void hc_status_history_init(struct hc_status_history *history, int64_t now_ms)
{
    *history = (struct hc_status_history){0};
    (void)pthread_mutex_init(&history->shared.lock, NULL);
    for (size_t i = 0; i < HC_WINDOW_COUNT; i++) {
        history->shared.windows[i].samples.room = windows[i].room;
        history->shared.windows[i].began_ms = now_ms;
        history->shared.windows[i].start_ms = now_ms;
    }
}

void hc_status_history_clear(struct hc_status_history *history)
{
    (void)pthread_mutex_destroy(&history->shared.lock);
}

static void samples_append(struct hc_samples *samples,
                           const float values[HC_SERIES_COUNT])
{
    bool is_full = samples->count == samples->room;

    for (size_t i = 0; i < HC_SERIES_COUNT; i++) {
        float *series = samples->values[i];

        if (is_full)
            memmove(series, series + 1, (samples->room - 1) * sizeof *series);
        series[is_full ? samples->room - 1 : samples->count] = values[i];
    }
    samples->count += !is_full;
}

/* The lock is held. A counter never goes back; if it seems to, nothing was counted. */
static void window_end_samples(struct hc_status_history *history, size_t window,
                               const struct hc_reading *reading, int64_t now_ms)
{
    const uint64_t *start = history->shared.windows[window].start.values;
    int64_t passed_ms = now_ms - history->shared.windows[window].start_ms;
    int64_t ended =
        (now_ms - history->shared.windows[window].began_ms) / windows[window].every_ms;
    float values[HC_SERIES_COUNT];

    for (size_t i = 0; i < HC_SERIES_COUNT; i++) {
        uint64_t now = reading->values[i];

        if (i >= HC_SERIES_CALLS)
            values[i] = (float)(now > start[i] ? now : start[i]);
        else
            values[i] = now > start[i]
                            ? (float)(now - start[i]) * 1000.0F / (float)passed_ms
                            : 0.0F;
    }
    for (int64_t i = 0; i < ended && i < HC_SAMPLES_MAX; i++)
        samples_append(&history->shared.windows[window].samples, values);
    history->shared.windows[window].began_ms += ended * windows[window].every_ms;
    history->shared.windows[window].start = *reading;
    history->shared.windows[window].start_ms = now_ms;
}

void hc_status_history_add(struct hc_status_history *history,
                           const struct hc_reading *reading, int64_t now_ms)
{
    HC_LOCKED(&history->shared.lock);

    for (size_t i = 0; i < HC_WINDOW_COUNT; i++) {
        uint64_t *start = history->shared.windows[i].start.values;

        for (size_t load = HC_SERIES_CALLS; load < HC_SERIES_COUNT; load++) {
            if (start[load] < reading->values[load])
                start[load] = reading->values[load];
        }
        if (now_ms - history->shared.windows[i].began_ms >= windows[i].every_ms)
            window_end_samples(history, i, reading, now_ms);
    }
}

void hc_status_history_copy(struct hc_status_history *history, enum hc_window window,
                            struct hc_samples *samples)
{
    HC_LOCKED(&history->shared.lock);

    *samples = history->shared.windows[window].samples;
}
