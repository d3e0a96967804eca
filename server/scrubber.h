/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scrubs the cache (<hubcache/verification.h>): a thread looks now and then whether a
 * pass is due on this volume, and makes it. What it knows of passes, also of those of
 * other processes, is kept for the metrics and the status page, which wait for no volume.
 */
#ifndef HC_SERVER_SCRUBBER_H
#define HC_SERVER_SCRUBBER_H

#include "verify_counts.h"

#include <base/auto.h>

struct hc_scrubber;

/*
 * `interval_ms` 0: it never scrubs. At most `bytes_per_second` are read; 0: no limit.
 * Resolver and counts are borrowed until close.
 */
struct hc_scrubber_settings {
    struct hc_resolver *resolver;
    struct hc_verify_counts *counts;
    int64_t interval_ms;
    uint64_t bytes_per_second;
};

struct hc_scrubber *hc_scrubber_open(const struct hc_scrubber_settings *settings,
                                     struct hc_error *err);

/* Ends a pass that is under way, and waits for it; it is continued later. */
void hc_scrubber_close(struct hc_scrubber *scrubber);
HC_DEFINE_AUTO(hc_scrubber, hc_scrubber_close)

struct hc_scrubber_status {
    bool is_on;                         /* there is an interval */
    bool is_running;                    /* this process is making a pass */
    struct hc_verify_progress progress; /* of what is left of it */
    struct hc_scrub_state state;        /* as of a minute ago at most */
};

void hc_scrubber_read(struct hc_scrubber *scrubber, struct hc_scrubber_status *status);

void hc_scrubber_write_metrics(struct hc_scrubber *scrubber, FILE *out);

#endif
