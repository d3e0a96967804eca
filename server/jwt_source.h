/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the keys of --auth-jwt-keys come from: a file, which is read again when it
 * changes, or a URL, which is asked once a minute, and sooner when a token names a key
 * that is not known, but at most once in five seconds. A read may wait for the network;
 * one thread at a time.
 */
#ifndef HC_SERVER_JWT_SOURCE_H
#define HC_SERVER_JWT_SOURCE_H

#include <base/auto.h>

#include <hubcache/error.h>
#include <stdbool.h>
#include <stdint.h>

struct hc_cancellation;
struct hc_jwt_keys;
struct hc_jwt_source;

/* Texts are borrowed. */
struct hc_jwt_source_settings {
    const char *location;   /* Required: a path, or a URL of http or https */
    const char *ca_file;    /* Optional: certificate authorities, for a URL */
    const char *token_file; /* Optional: has the token to ask a URL with */
};

bool hc_jwt_location_is_url(const char *location);

/* Borrows both; `end` ends a read that waits. */
struct hc_jwt_source *hc_jwt_source_new(const struct hc_jwt_source_settings *settings,
                                        struct hc_cancellation *end,
                                        struct hc_error *err);
void hc_jwt_source_free(struct hc_jwt_source *source);
HC_DEFINE_AUTO(hc_jwt_source, hc_jwt_source_free)

/* The next read of a file is due, whether or not the file has changed. */
void hc_jwt_source_expire(struct hc_jwt_source *source);

/*
 * Reads the keys if that is due at `now_ms`; `is_wanted`: a token named a key that is not
 * known. 1: there are new keys, which the calling function frees. 0: nothing is due, or
 * the keys are the same. -1: they cannot be read, or are no keys.
 */
int hc_jwt_source_read(struct hc_jwt_source *source, int64_t now_ms, bool is_wanted,
                       struct hc_jwt_keys **keys, struct hc_error *err);

#endif
