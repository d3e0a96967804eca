/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A short list that only grows: the Hub has a handful of such hosts.
 */
#include "storage_hosts.h"

#include "url.h"

#include <base/error.h>

#include <pthread.h>

struct hc_storage_hosts {
    struct {
        pthread_mutex_t lock;
        struct hc_endpoint *items[HC_STORAGE_HOSTS_MAX];
        size_t count;
    } shared;
};

struct hc_storage_hosts *hc_storage_hosts_new(struct hc_error *err)
{
    struct hc_storage_hosts *hosts = calloc(1, sizeof *hosts);

    if (!hosts) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&hosts->shared.lock, NULL);
    return hosts;
}

void hc_storage_hosts_free(struct hc_storage_hosts *hosts)
{
    if (!hosts)
        return;
    while (hosts->shared.count > 0)
        hc_endpoint_free(hosts->shared.items[--hosts->shared.count]);
    (void)pthread_mutex_destroy(&hosts->shared.lock);
    free(hosts);
}

static struct hc_endpoint *storage_hosts_add(struct hc_storage_hosts *hosts,
                                             const char *url)
{
    char origin[HC_URL_MAX];
    struct hc_error unused;
    struct hc_endpoint *host = NULL;

    if (hosts->shared.count < HC_STORAGE_HOSTS_MAX && hc_url_join(origin, url, "/"))
        host = hc_endpoint_new(origin, 0, &unused);
    if (host)
        hosts->shared.items[hosts->shared.count++] = host;
    return host;
}

struct hc_endpoint *hc_storage_hosts_find(struct hc_storage_hosts *hosts, const char *url)
{
    struct hc_endpoint *host = NULL;

    (void)pthread_mutex_lock(&hosts->shared.lock);
    for (size_t i = 0; !host && i < hosts->shared.count; i++) {
        if (hc_url_same_origin(url, hc_endpoint_url(hosts->shared.items[i])))
            host = hosts->shared.items[i];
    }
    if (!host)
        host = storage_hosts_add(hosts, url);
    (void)pthread_mutex_unlock(&hosts->shared.lock);
    return host;
}
