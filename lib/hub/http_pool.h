/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all HTTP exchanges of a Hub share: curl handles with the connections that each
 * keeps open, the certificate authorities to trust, the user agent, and the bandwidth.
 * The handle used last is used first, so that few threads keep few connections warm.
 * Callable from any thread.
 */
#ifndef HC_HUB_HTTP_POOL_H
#define HC_HUB_HTTP_POOL_H

#include "bucket.h"

#include <base/auto.h>

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct hc_error;

enum { HC_CURL_HANDLES_IDLE_MAX = 64 };

/* Used by one exchange at a time. */
struct hc_curl_handle {
    CURL *curl; /* NULL: memory was short */
    CURLM *connections;
};

struct hc_http_pool {
    char *user_agent;
    char *ca_path; /* the authorities to trust; NULL: the system's */
    bool ca_is_directory;
    atomic_bool allows_private;
    struct {
        pthread_mutex_t lock;
        struct hc_bucket bandwidth;
        struct hc_curl_handle idle[HC_CURL_HANDLES_IDLE_MAX];
        size_t idle_count;
    } shared;
};

/*
 * Texts are copied. `ca_file`, unless NULL, is a file of certificate authorities to trust
 * instead of the system's, or a directory of them, or several directories with a colon
 * between them; INVALID_OPTIONS when none is there. All exchanges together get
 * `bytes_per_second`, 0: no limit.
 */
struct hc_http_pool *hc_http_pool_open(const char *user_agent, const char *ca_file,
                                       uint64_t bytes_per_second, struct hc_error *err);

/* No exchange may be running. */
void hc_http_pool_close(struct hc_http_pool *pool);
HC_DEFINE_AUTO(hc_http_pool, hc_http_pool_close)

/*
 * Lets answers lead to private addresses (address.h) from now on. So does the first
 * request that was not led to by an answer and connects to one: a Hub that is at a
 * private address itself may have its storage at another one. Before that, BAD_HUB_REPLY
 * is what becomes of requests with `is_redirect_target` to such an address; the address
 * that is connected to counts, whatever its name meant before. Through a proxy only
 * addresses in URLs are seen.
 */
void hc_http_pool_allow_private(struct hc_http_pool *pool);

/* A handle of the pool, or a new one, with the pool's options set and no others. Return
 * it in every case. */
struct hc_curl_handle hc_http_pool_borrow(struct hc_http_pool *pool);
void hc_http_pool_return(struct hc_http_pool *pool, struct hc_curl_handle handle);

/* Takes `bytes` of the bandwidth; how long to wait before more may come. */
int64_t hc_http_pool_take_bandwidth(struct hc_http_pool *pool, size_t bytes);

#endif
