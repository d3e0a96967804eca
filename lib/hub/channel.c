/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stack. Its lock is not held while a handle is made or ended.
 */
#include "channel.h"

#include <stdbool.h>

enum { CONNECTIONS_PER_HANDLE = 4 /* hub, storage, and what redirects add */ };

static void close_channel(struct hc_channel channel)
{
    curl_easy_cleanup(channel.curl);
    (void)curl_multi_cleanup(channel.connections);
}

static struct hc_channel open_channel(void)
{
    struct hc_channel channel = {curl_easy_init(), curl_multi_init()};

    if (!channel.curl || !channel.connections) {
        close_channel(channel);
        return (struct hc_channel){0};
    }
    (void)curl_multi_setopt(channel.connections, CURLMOPT_MAXCONNECTS,
                            (long)CONNECTIONS_PER_HANDLE);
    return channel;
}

void hc_channels_init(struct hc_channels *channels)
{
    channels->shared.count = 0;
    (void)pthread_mutex_init(&channels->shared.lock, NULL);
}

void hc_channels_clear(struct hc_channels *channels)
{
    while (channels->shared.count > 0)
        close_channel(channels->shared.idle[--channels->shared.count]);
    (void)pthread_mutex_destroy(&channels->shared.lock);
}

struct hc_channel hc_channels_borrow(struct hc_channels *channels)
{
    struct hc_channel channel = {0};

    (void)pthread_mutex_lock(&channels->shared.lock);
    if (channels->shared.count > 0)
        channel = channels->shared.idle[--channels->shared.count];
    (void)pthread_mutex_unlock(&channels->shared.lock);
    return channel.curl ? channel : open_channel();
}

void hc_channels_give_back(struct hc_channels *channels, struct hc_channel channel)
{
    bool is_kept;

    if (!channel.curl)
        return;
    curl_easy_reset(channel.curl); /* forgets options, keeps connections */
    (void)pthread_mutex_lock(&channels->shared.lock);
    is_kept = channels->shared.count < HC_CHANNELS_IDLE_MAX;
    if (is_kept)
        channels->shared.idle[channels->shared.count++] = channel;
    (void)pthread_mutex_unlock(&channels->shared.lock);
    if (!is_kept)
        close_channel(channel);
}
