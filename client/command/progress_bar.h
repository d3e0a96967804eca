/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The progress of a snapshot on standard error: a bar that is redrawn in place on a
 * terminal, a line every five seconds elsewhere. Used by one thread.
 */
#ifndef HC_COMMAND_PROGRESS_BAR_H
#define HC_COMMAND_PROGRESS_BAR_H

#include <hubcache-client/client.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hc_progress_bar {
    const char *title; /* the repo */
    bool is_terminal;
    bool is_drawn;   /* the current line shows a bar */
    int64_t next_ms; /* when the next line is due, on the monotonic clock */
};

enum { HC_PROGRESS_BAR_TEXT_MAX = 256 };

/*
 * "3/7 files, 1.2 GB of 3.4 GB, 120.0 MB/s, 0:18 left, 2 fetched by others, 1 retry". The
 * rate and the time left, which follows from it, are there when the rate is known; the
 * last two when they are not zero.
 */
void hc_progress_bar_text(const struct hc_client_progress *progress,
                          char text[HC_PROGRESS_BAR_TEXT_MAX]);

/*
 * "[#####-----]  50% " and the text, in at most `columns`: the bar is shortened first,
 * then the text is cut.
 */
void hc_progress_bar_line(const struct hc_client_progress *progress, size_t columns,
                          char bar[HC_PROGRESS_BAR_TEXT_MAX]);

/* Whether a line is due at `now_ms`; if so, the next one is due five seconds later. */
bool hc_progress_bar_is_due(struct hc_progress_bar *bar, int64_t now_ms);

void hc_progress_bar_begin(struct hc_progress_bar *bar, const char *title);

/* A hc_client_progress_fn; `ctx` is a struct hc_progress_bar. Always returns true. */
bool hc_progress_bar_show(void *ctx, const struct hc_client_progress *progress);

/* Clears the line of the bar, so that the next output starts at its beginning. */
void hc_progress_bar_end(struct hc_progress_bar *bar);

#endif
