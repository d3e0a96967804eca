/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Hub's URLs (spec/hub-cache.md §2.2): everything but unreserved characters
 * percent-encoded, "/" kept in file names and encoded in revisions.
 */
#ifndef HC_HUB_URL_H
#define HC_HUB_URL_H

#include "hub.h"

#include <stdbool.h>

/* <endpoint>/[datasets/|…]<id>/resolve/<revision>/<path>; INVALID_FILENAME when that is
 * longer than HC_URL_MAX - 1. */
int hc_url_resolve(char url[HC_URL_MAX], const char *endpoint, const struct hc_repo *repo,
                   const char *revision, const char *path, struct hc_error *err);

/* <endpoint>/api/<collection>/<id>/revision/<revision>; INVALID_REVISION when that is too
 * long, as with the next one. */
int hc_url_revision(char url[HC_URL_MAX], const char *endpoint,
                    const struct hc_repo *repo, const char *revision,
                    struct hc_error *err);

/* <endpoint>/api/<collection>/<id>/tree/<commit>?recursive=true&expand=false. */
int hc_url_tree(char url[HC_URL_MAX], const char *endpoint, const struct hc_repo *repo,
                const char *commit, struct hc_error *err);

/*
 * The page of a listing that `link` names, as `endpoint` has it: path from /api/ on and
 * query of `link`, whatever its host. False unless it lists `revision`, and fits.
 */
bool hc_url_page(char url[HC_URL_MAX], const char *endpoint, const char *revision,
                 const char *link);

/* Copies the text, not the buffer. */
void hc_url_copy(char url[HC_URL_MAX], const char *from);

/*
 * `location` seen from `base`, by the rules of RFC 3986, without its fragment. False
 * unless it is http or https, names no user, and fits.
 */
bool hc_url_join(char url[HC_URL_MAX], const char *base, const char *location);

/* Same scheme, host and port: where a token may go along. An upgrade from http to https
 * does not count. */
bool hc_url_same_origin(const char *a, const char *b);

#endif
