/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the status page draws: rates and loads of the last ten minutes and of the last
 * day, as samples of fixed number. One thread adds readings, any thread copies.
 */
#ifndef HC_SERVER_SERVER_STATUS_HISTORY_H
#define HC_SERVER_SERVER_STATUS_HISTORY_H

#include <base/auto.h>

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * First what counts up, whose samples are rates by the second; then, from HC_SERIES_CALLS
 * on, loads, whose samples are the highest readings.
 */
enum hc_series {
    HC_SERIES_HITS,
    HC_SERIES_MISSES,
    HC_SERIES_FAILURES,
    HC_SERIES_FETCHED_BYTES,
    HC_SERIES_READ_BYTES,
    HC_SERIES_CALLS,
    HC_SERIES_TRANSFERS,
    HC_SERIES_COUNT
};

enum hc_window { HC_WINDOW_MINUTES, HC_WINDOW_DAY, HC_WINDOW_COUNT };

enum {
    HC_MINUTES_EVERY_MS = 5000,
    HC_DAY_EVERY_MS = 5 * 60 * 1000,
    HC_MINUTES_SAMPLES = 120,
    HC_DAY_SAMPLES = 288,
    HC_SAMPLES_MAX = HC_DAY_SAMPLES
};

/* Counters since the start, and loads right now. */
struct hc_reading {
    uint64_t values[HC_SERIES_COUNT];
};

/* The samples of a window, the oldest first; the last one ended just now. */
struct hc_samples {
    size_t count; /* fewer than the window has while the server is young */
    size_t room;  /* of the window */
    float values[HC_SERIES_COUNT][HC_SAMPLES_MAX];
};

struct hc_status_history {
    struct {
        pthread_mutex_t lock;
        struct {
            struct hc_samples samples;
            int64_t began_ms;        /* the sample that is not complete */
            struct hc_reading start; /* counters then or just after it, and the highest
                                        loads since */
            int64_t start_ms;        /* of the counters */
        } windows[HC_WINDOW_COUNT];
    } shared;
};

/* `now_ms` is on the monotonic clock. */
void hc_status_history_init(struct hc_status_history *history, int64_t now_ms);
void hc_status_history_clear(struct hc_status_history *history);

/* To be called about once a second. */
void hc_status_history_add(struct hc_status_history *history,
                           const struct hc_reading *reading, int64_t now_ms);

void hc_status_history_copy(struct hc_status_history *history, enum hc_window window,
                            struct hc_samples *samples);

#endif
