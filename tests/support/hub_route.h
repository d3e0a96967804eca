/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The route that a URL of the hub takes: which answer it asks for, and the repo, revision
 * and path that it names. A route owns its strings. Whether there is such a repo, only
 * hub_content.h tells. Used by one thread at a time.
 */
#ifndef HC_SUPPORT_HUB_ROUTE_H
#define HC_SUPPORT_HUB_ROUTE_H

#include "base/auto.h"

#include <stdbool.h>
#include <stddef.h>

enum hub_route_kind {
    HUB_ROUTE_NOWHERE,
    HUB_ROUTE_RESOLVE,       /* [datasets/]<id>/resolve/<revision>/<path> */
    HUB_ROUTE_RESOLVE_CACHE, /* api/resolve-cache/<type>s/<id>/<commit>/<path> */
    HUB_ROUTE_INFO,          /* api/<type>s/<id>[/revision/<revision>] */
    HUB_ROUTE_TREE           /* api/<type>s/<id>/tree/<revision>[/<path>] */
};

struct hub_route {
    enum hub_route_kind kind;
    bool is_api;
    char *repo;     /* "models/org/name" */
    char *revision; /* decoded */
    char *path;     /* decoded; "" for none */
    char *rest;     /* the part after the repo, not decoded */
};

/* `path` is the raw path of a URL, without the query. */
void hub_route_parse(const char *path, struct hub_route *route);
void hub_route_clear(struct hub_route *route);
HC_DEFINE_AUTO_VALUE(hub_route, hub_route_clear)

/* Undoes percent-encoding; the caller frees. */
char *hub_url_decode(const char *text, size_t length);

/* Percent-encodes all but unreserved characters and those of `safe`; the caller frees. */
char *hub_url_encode(const char *text, const char *safe);

/* The path of the same route in another repo, for a redirect; the caller frees. */
char *hub_route_moved(const struct hub_route *route, const char *new_repo);

#endif
