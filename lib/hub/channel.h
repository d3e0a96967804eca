/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Curl handles, each with the connections that it keeps open. The one last used is used
 * first, so that few threads keep few connections warm; each belongs to one exchange at a
 * time. Callable from any thread.
 */
#ifndef HC_HUB_CHANNEL_H
#define HC_HUB_CHANNEL_H

#include <curl/curl.h>
#include <pthread.h>
#include <stddef.h>

enum { HC_CHANNELS_IDLE_MAX = 64 };

struct hc_channel {
    CURL *curl; /* NULL: memory was short */
    CURLM *connections;
};

/* Those that nobody uses. */
struct hc_channels {
    struct {
        pthread_mutex_t lock;
        struct hc_channel idle[HC_CHANNELS_IDLE_MAX];
        size_t count;
    } shared;
};

void hc_channels_init(struct hc_channels *channels);

/* None may be borrowed. */
void hc_channels_clear(struct hc_channels *channels);

/* Give it back in every case; its options are forgotten then. */
struct hc_channel hc_channels_borrow(struct hc_channels *channels);
void hc_channels_give_back(struct hc_channels *channels, struct hc_channel channel);

#endif
