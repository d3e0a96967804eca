/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests to the hub, in the order of their arrival. An entry is added when a
 * request has arrived and is completed while it is answered. Callable from any thread.
 */
#ifndef HC_SUPPORT_HUB_LOG_H
#define HC_SUPPORT_HUB_LOG_H

#include <stdbool.h>
#include <stdint.h>

struct hub_log;

/* The log alone reads and writes `shared`; the members before it never change. */
struct hub_log_entry {
    bool on_cdn;
    bool is_authorized;
    char *method;
    char *target;
    char *range;       /* NULL: none */
    char *user_agent;  /* NULL: none */
    char *traceparent; /* NULL: none */
    struct {
        unsigned status; /* 0: not answered (yet) */
        uint64_t bytes;
    } shared;
    struct hub_log_entry *next;
};

struct hub_log *hub_log_new(void);
void hub_log_free(struct hub_log *log);

/* Takes `entry`, which stays valid until the log is freed, and wakes waiting threads. */
void hub_log_add(struct hub_log *log, struct hub_log_entry *entry);
void hub_log_status(struct hub_log *log, struct hub_log_entry *entry, unsigned status);
void hub_log_bytes(struct hub_log *log, struct hub_log_entry *entry, uint64_t bytes);

/* Which entries; zero-initialised: all. */
struct hub_log_query {
    const char *method;
    const char *contains;
    bool cdn_only;
    bool hub_only;
    bool authorized_only;
};

unsigned hub_log_count(struct hub_log *log, const struct hub_log_query *query);
uint64_t hub_log_bytes_sent(struct hub_log *log);

/* Waits until `count` entries match; false after 10 seconds. */
bool hub_log_await(struct hub_log *log, const struct hub_log_query *query,
                   unsigned count);

/* The caller frees. */
char *hub_log_text(struct hub_log *log);
void hub_log_clear(struct hub_log *log);

#endif
