/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the status page and /status.json tell: it is gathered here from the parts of the
 * server, so that both say the same. Nothing here waits for the volume or the Hub.
 * Callable from any thread.
 */
#ifndef HC_SERVER_SERVER_STATUS_H
#define HC_SERVER_SERVER_STATUS_H

#include "gauges.h"
#include "keeper.h"
#include "metrics.h"
#include "options.h"
#include "policy_file.h"
#include "recent_failures.h"
#include "reload.h"
#include "scrubber.h"
#include "status_history.h"
#include "tls.h"
#include "volume_probe.h"

#include <base/text.h>
#include <hubcache/maintenance.h>
#include <hubcache/usage.h>

struct hc_server_status;

enum {
    HC_STATUS_TRANSFERS_MAX = 100, /* that are listed */
    HC_STATUS_PATH_SIZE = 512,
    HC_STATUS_BEHIND_MAX = 20
};

/* `resolver` is borrowed. For the calls: before the edge is opened. */
struct hc_server_status *hc_server_status_open(const struct hc_options *options,
                                               struct hc_resolver *resolver,
                                               struct hc_error *err);
void hc_server_status_close(struct hc_server_status *status);
HC_DEFINE_AUTO(hc_server_status, hc_server_status_close)

/* Once: `gauges` are copied, `tls` is borrowed and may be NULL; begins to scan the
 * cache. */
int hc_server_status_start(struct hc_server_status *status,
                           const struct hc_gauges *gauges, struct hc_tls *tls,
                           struct hc_error *err);

/* Borrowed, from the start on. */
struct hc_usage_scanner *hc_server_status_usage(const struct hc_server_status *status);

/* A call is over. Any thread, also with a NULL status. */
void hc_server_status_add_call(struct hc_server_status *status,
                               const struct hc_request *request,
                               const struct hc_answer *answer);

/* Copied. */
int hc_server_status_set_listeners(struct hc_server_status *status,
                                   const struct hc_strings *bound, struct hc_error *err);

/* About once a second, after the start. `volume_error`: why it is unusable, or
 * NULL; `space` is copied. */
void hc_server_status_tend(struct hc_server_status *status, const char *volume_error,
                           const struct hc_volume_space *space, int64_t now_ms);

/* Calls are not served any more. */
void hc_server_status_stop(struct hc_server_status *status);

/* --- what there is to tell -----------------------------------------------------------
 */

struct hc_status_transfer {
    char repo_id[HC_REQUEST_REPO_SIZE];
    char path[HC_STATUS_PATH_SIZE];
    struct hc_running_transfer running; /* but for its texts, which are gone */
};

struct hc_status_facts {
    const char *cache_root, *cache_id, *endpoint; /* borrowed, as the next */
    const char *options; /* those of the start: a line "name: value" for each */
    const char *auth;    /* a token is "required", "optional" or "none" is checked */
    char host[65];
    int64_t now_ms, started_ms; /* since the epoch */
    bool is_stopping, is_offline;
    bool is_limited;        /* lists have what the reader may see, sums have all */
    char volume_error[512]; /* "": it is usable */
    struct hc_volume_space space;
    struct hc_room_status room;
    struct hc_strings listeners;
    bool has_tls;
    struct hc_tls_state tls;
    bool has_policy;
    struct hc_policy_state policy;
    struct hc_reload_status reload;

    struct hc_reading now; /* counters since the start, and loads */
    unsigned running_jobs, queued_jobs, connections, client_connections;
    struct hc_samples windows[HC_WINDOW_COUNT];

    struct hc_status_transfer transfers[HC_STATUS_TRANSFERS_MAX]; /* the oldest first */
    size_t listed_transfers;

    struct hc_recent_failure failures[HC_RECENT_FAILURES_MAX];
    size_t failure_count;

    struct hc_keeper_counts kept;
    struct hc_keep_status behind[HC_STATUS_BEHIND_MAX]; /* kept, but not whole */
    size_t behind_count;

    struct hc_scrubber_status scrub;

    bool has_usage; /* a scan has ended */
    struct hc_usage usage;
};

/* What the policy lets the reader see (status_reader.h). NULL: memory is short. */
struct hc_status_facts *hc_server_status_read(struct hc_server_status *status,
                                              const struct hc_identity *reader,
                                              size_t repos_max, struct hc_error *err);
void hc_status_facts_free(struct hc_status_facts *facts);
HC_DEFINE_AUTO(hc_status_facts, hc_status_facts_free)

/* What a failure is called: its reason, or OTHER. */
const char *hc_status_reason(const struct hc_recent_failure *failure);

#endif
