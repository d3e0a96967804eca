/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far a snapshot is, on standard error: a bar that redraws itself on a terminal, a
 * line every few seconds elsewhere. Used by one thread.
 */
#ifndef HC_COMMAND_PROGRESS_BAR_H
#define HC_COMMAND_PROGRESS_BAR_H

#include <hubcache-client/client.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hc_progress_bar_state {
    const char *title; /* the repo */
    bool is_terminal;
    bool is_drawn;   /* a bar stands on the current line */
    int64_t next_ms; /* when the next line is due, on the monotonic clock */
};

enum { HC_PROGRESS_BAR_TEXT_MAX = 256 };

/*
 * "3/7 files, 1.2 GB of 3.4 GB, 120.0 MB/s, 0:18 left, 2 fetched by others, 1 retry". The
 * time left is a guess from the rate, and there is none without one; the last two are
 * there when they are not zero.
 */
void hc_progress_bar_text(const struct hc_client_progress *progress,
                          char text[HC_PROGRESS_BAR_TEXT_MAX]);

/* "[#####-----]  50% " and the text; the bar gives way first when `columns` are few. */
void hc_progress_bar_line(const struct hc_client_progress *progress, size_t columns,
                          char bar[HC_PROGRESS_BAR_TEXT_MAX]);

/* Whether a line is due at `now_ms`; if so, the next one is in five seconds. */
bool hc_progress_bar_is_due(struct hc_progress_bar_state *view, int64_t now_ms);

void hc_progress_bar_begin(struct hc_progress_bar_state *view, const char *title);

/* A hc_client_progress_fn; `view` is a struct hc_progress_bar_state. Never gives up. */
bool hc_progress_bar_show(void *view, const struct hc_client_progress *progress);

/* Clears the bar's line, so that what follows starts at its beginning. */
void hc_progress_bar_end(struct hc_progress_bar_state *view);

#endif
