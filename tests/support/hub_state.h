/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a running test hub and of one request to it. The parts of a hub have locks
 * of their own; the rest does not change while it runs. A request belongs to the thread
 * of its connection.
 */
#ifndef HC_SUPPORT_HUB_STATE_H
#define HC_SUPPORT_HUB_STATE_H

#include "test_hub.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct MHD_Connection;
struct MHD_Daemon;
struct hub_content;
struct hub_stalls;
struct hub_log;
struct hub_log_entry;
struct hub_rules;

struct hub_port {
    struct test_hub *hub;
    bool is_cdn;
    struct MHD_Daemon *daemon;
    char *url; /* "http://127.0.0.1:<port>" */
};

struct test_hub {
    struct hub_port endpoint;
    struct hub_port cdn;
    struct hub_content *content;
    struct hub_stalls *stalls;
    struct hub_log *log;
    struct hub_rules *rules;
    char *valid_token; /* NULL: every token is valid */
    unsigned page_size;
    bool no_xet;
    atomic_bool commit_on_404;
};

struct hub_request {
    struct test_hub *hub;
    struct MHD_Connection *connection;
    bool on_cdn;
    bool is_begun;
    char *method;
    char *target;      /* path and query, not decoded */
    char *path;        /* of the target, not decoded */
    const char *range; /* NULL: none */
    const char *token; /* of "Authorization: Bearer <token>", NULL: none */
    char *body;        /* of a request to the control interface */
    size_t body_size;
    unsigned releases;           /* of stalls, when the request arrived */
    struct hub_log_entry *entry; /* NULL for the control interface */
};

/* A query parameter, decoded and borrowed; NULL: it is not there. */
const char *hub_request_query(const struct hub_request *request, const char *name);

#endif
