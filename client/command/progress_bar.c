/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal is put in no special mode and its cursor is never hidden, so an interrupt
 * leaves it as it was. A bar is drawn over the line before it: a carriage return and the
 * sequence that clears to the end of the line come first. Elsewhere, as in the log of a
 * batch job, control sequences would be noise: there a whole line is printed every
 * LINE_EVERY_MS, and none for a snapshot that is complete sooner.
 */
#include "progress_bar.h"

#include "base/cancellation.h"
#include "base/error.h"
#include "output.h"

#include <hubcache/cancellation.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LINE_EVERY_MS = 5000, BAR_WIDTH = 24, COLUMNS_DEFAULT = 80 };

HC_PRINTF(2, 3)
/* Cuts what does not fit. */
static void text_append(char text[HC_PROGRESS_BAR_TEXT_MAX], const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text + used, HC_PROGRESS_BAR_TEXT_MAX - used, format, args);
    va_end(args);
}

/* The part that is always there: files and bytes, done and in all. */
static void text_append_bytes(const struct hc_client_progress *progress,
                              char text[HC_PROGRESS_BAR_TEXT_MAX])
{
    char done[HC_UNITS_TEXT_MAX], total[HC_UNITS_TEXT_MAX];

    hc_bytes_format(done, progress->bytes_done);
    hc_bytes_format(total, progress->bytes_total);
    text_append(text, "%u/%u files, %s of %s", progress->files_done,
                progress->files_total, done, total);
}

/* The rate is not zero. More bytes than announced leave no time. */
static void text_append_rate(const struct hc_client_progress *progress,
                             char text[HC_PROGRESS_BAR_TEXT_MAX])
{
    char rate[HC_UNITS_TEXT_MAX], left[HC_UNITS_TEXT_MAX];
    uint64_t missing = progress->bytes_total > progress->bytes_done
                           ? progress->bytes_total - progress->bytes_done
                           : 0;

    hc_bytes_format(rate, progress->bytes_per_second);
    hc_duration_format(left, missing / progress->bytes_per_second);
    text_append(text, ", %s/s, %s left", rate, left);
}

/* The least important comes last, where a narrow terminal cuts it off. */
void hc_progress_bar_text(const struct hc_client_progress *progress,
                          char text[HC_PROGRESS_BAR_TEXT_MAX])
{
    text[0] = '\0';
    text_append_bytes(progress, text);
    if (progress->bytes_per_second > 0)
        text_append_rate(progress, text);
    if (progress->waiting_count > 0)
        text_append(text, ", %u fetched by others", progress->waiting_count);
    if (progress->retries > 0)
        text_append(text, progress->retries == 1 ? ", %u retry" : ", %u retries",
                    progress->retries);
}

/*
 * The bar has what the text leaves of the columns. A server that announced too few bytes
 * (the size of a file may be unknown at first) leads to a full bar, never to more.
 */
void hc_progress_bar_line(const struct hc_client_progress *progress, size_t columns,
                          char bar[HC_PROGRESS_BAR_TEXT_MAX])
{
    static const char full[BAR_WIDTH + 1] = "########################";
    static const char empty[BAR_WIDTH + 1] = "------------------------";
    char text[HC_PROGRESS_BAR_TEXT_MAX];
    double part = 0;
    int width, done;

    if (progress->bytes_total > 0)
        part = (double)progress->bytes_done / (double)progress->bytes_total;
    if (part > 1)
        part = 1;
    hc_progress_bar_text(progress, text);
    width = (int)columns - (int)strlen("[] 100% ") - (int)strlen(text);
    if (width < 0)
        width = 0;
    if (width > BAR_WIDTH)
        width = BAR_WIDTH;
    done = (int)(part * width);
    (void)snprintf(bar, HC_PROGRESS_BAR_TEXT_MAX, "[%.*s%.*s] %3d%% %.192s", done, full,
                   width - done, empty, (int)(part * 100), text);
    if (columns < strlen(bar))
        bar[columns] = '\0';
}

bool hc_progress_bar_is_due(struct hc_progress_bar *bar, int64_t now_ms)
{
    if (now_ms < bar->next_ms)
        return false;
    bar->next_ms = now_ms + LINE_EVERY_MS;
    return true;
}

/* One column less than there are: some terminals wrap when the last one is written. */
static size_t terminal_columns(void)
{
    struct winsize size = {0};

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col < 2)
        return COLUMNS_DEFAULT - 1;
    return (size_t)size.ws_col - 1;
}

void hc_progress_bar_begin(struct hc_progress_bar *bar, const char *title)
{
    *bar = (struct hc_progress_bar){
        .title = title,
        .is_terminal = isatty(STDERR_FILENO),
        .next_ms = hc_monotonic_ms() + LINE_EVERY_MS,
    };
}

bool hc_progress_bar_show(void *ctx, const struct hc_client_progress *progress)
{
    struct hc_progress_bar *bar = ctx;
    char text[HC_PROGRESS_BAR_TEXT_MAX];

    if (bar->is_terminal) {
        hc_progress_bar_line(progress, terminal_columns(), text);
        (void)fprintf(stderr, "\r\033[K%s", text);
        (void)fflush(stderr);
        bar->is_drawn = true;
        return true;
    }
    if (hc_progress_bar_is_due(bar, hc_monotonic_ms())) {
        hc_progress_bar_text(progress, text);
        (void)fprintf(stderr, "hubcache: %s: %s\n", bar->title, text);
    }
    return true;
}

void hc_progress_bar_end(struct hc_progress_bar *bar)
{
    if (bar->is_drawn)
        (void)fputs("\r\033[K", stderr);
    bar->is_drawn = false;
}
