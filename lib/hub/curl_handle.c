/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stack. Its lock is not held while a handle is made or ended.
 */
#include "curl_handle.h"

#include <stdbool.h>

enum { CONNECTIONS_PER_HANDLE = 4 /* hub, storage, and what redirects add */ };

static void curl_handle_close(struct hc_curl_handle handle)
{
    curl_easy_cleanup(handle.curl);
    (void)curl_multi_cleanup(handle.connections);
}

static struct hc_curl_handle curl_handle_open(void)
{
    struct hc_curl_handle handle = {curl_easy_init(), curl_multi_init()};

    if (!handle.curl || !handle.connections) {
        curl_handle_close(handle);
        return (struct hc_curl_handle){0};
    }
    (void)curl_multi_setopt(handle.connections, CURLMOPT_MAXCONNECTS,
                            (long)CONNECTIONS_PER_HANDLE);
    return handle;
}

void hc_curl_handles_init(struct hc_curl_handles *handles)
{
    handles->shared.count = 0;
    (void)pthread_mutex_init(&handles->shared.lock, NULL);
}

void hc_curl_handles_clear(struct hc_curl_handles *handles)
{
    while (handles->shared.count > 0)
        curl_handle_close(handles->shared.idle[--handles->shared.count]);
    (void)pthread_mutex_destroy(&handles->shared.lock);
}

struct hc_curl_handle hc_curl_handles_borrow(struct hc_curl_handles *handles)
{
    struct hc_curl_handle handle = {0};

    (void)pthread_mutex_lock(&handles->shared.lock);
    if (handles->shared.count > 0)
        handle = handles->shared.idle[--handles->shared.count];
    (void)pthread_mutex_unlock(&handles->shared.lock);
    return handle.curl ? handle : curl_handle_open();
}

void hc_curl_handles_return(struct hc_curl_handles *handles, struct hc_curl_handle handle)
{
    bool is_kept;

    if (!handle.curl)
        return;
    curl_easy_reset(handle.curl); /* forgets options, keeps connections */
    (void)pthread_mutex_lock(&handles->shared.lock);
    is_kept = handles->shared.count < HC_CURL_HANDLES_IDLE_MAX;
    if (is_kept)
        handles->shared.idle[handles->shared.count++] = handle;
    (void)pthread_mutex_unlock(&handles->shared.lock);
    if (!is_kept)
        curl_handle_close(handle);
}
