/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Curl handles, each with the connections that it keeps open. The one last used is used
 * first, so that few threads keep few connections warm; each belongs to one exchange at a
 * time. Callable from any thread.
 */
#ifndef HC_HUB_CURL_HANDLE_H
#define HC_HUB_CURL_HANDLE_H

#include <curl/curl.h>
#include <pthread.h>
#include <stddef.h>

enum { HC_CURL_HANDLES_IDLE_MAX = 64 };

struct hc_curl_handle {
    CURL *curl; /* NULL: memory was short */
    CURLM *connections;
};

/* Those that nobody uses. */
struct hc_curl_handles {
    struct {
        pthread_mutex_t lock;
        struct hc_curl_handle idle[HC_CURL_HANDLES_IDLE_MAX];
        size_t count;
    } shared;
};

void hc_curl_handles_init(struct hc_curl_handles *handles);

/* None may be borrowed. */
void hc_curl_handles_clear(struct hc_curl_handles *handles);

/* Give it back in every case; its options are forgotten then. */
struct hc_curl_handle hc_curl_handles_borrow(struct hc_curl_handles *handles);
void hc_curl_handles_return(struct hc_curl_handles *handles,
                            struct hc_curl_handle handle);

#endif
