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

struct hc_http_pool {
    char *user_agent;
    char *ca_path; /* the authorities to trust; NULL: the system's */
    bool ca_is_directory;
    atomic_bool allows_private;
    struct {
        pthread_mutex_t lock;
        struct hc_bucket bandwidth;
        struct {
            CURL *curl;
            CURLM *connections;
        } idle[HC_CURL_HANDLES_IDLE_MAX];
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

/*
 * A curl handle, with the connections it keeps open, for one exchange at a time: an idle
 * one or a new one, with the pool's options set and no others. NULL when memory is short.
 * Return it with its connections in every case, NULL included.
 */
CURL *hc_http_pool_borrow(struct hc_http_pool *pool, CURLM **connections);
void hc_http_pool_return(struct hc_http_pool *pool, CURL *curl, CURLM *connections);

void hc_http_pool_set_bandwidth(struct hc_http_pool *pool, uint64_t bytes_per_second);

/* Takes `bytes` of the bandwidth; how long to wait before more may come. */
int64_t hc_http_pool_take_bandwidth(struct hc_http_pool *pool, size_t bytes);

#endif
