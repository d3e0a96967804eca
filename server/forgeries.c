/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table with one place for each remainder of the hash. A peer that displaces another
 * one frees that from its count, but not all of them from theirs.
 */
#include "forgeries.h"

#include <base/hash.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

enum { NETWORK_BYTES = 8 };

static bool bucket_is_empty(const struct hc_bucket *bucket, int64_t now_ms)
{
    return hc_bucket_wait_ms(bucket, 1, now_ms) > 0;
}

uint64_t hc_forgeries_peer(const char *address)
{
    struct hc_keyed_hash hash = hc_keyed_hash_of(address);
    struct in6_addr ipv6;
    uint64_t peer;

    if (inet_pton(AF_INET6, address, &ipv6) == 1 && !IN6_IS_ADDR_V4MAPPED(&ipv6))
        hash = hc_keyed_hash_of_bytes(&ipv6, NETWORK_BYTES);
    memcpy(&peer, hash.bytes, sizeof peer);
    return peer;
}

bool hc_forgeries_are_many(const struct hc_forgeries *forgeries, uint64_t peer,
                           int64_t now_ms)
{
    size_t place = peer % HC_FORGERIES_PEERS;

    return bucket_is_empty(&forgeries->all, now_ms) ||
           (forgeries->peers[place].peer == peer &&
            bucket_is_empty(&forgeries->peers[place].bucket, now_ms));
}

void hc_forgeries_count(struct hc_forgeries *forgeries, uint64_t peer, int64_t now_ms)
{
    size_t place = peer % HC_FORGERIES_PEERS;

    if (forgeries->peers[place].peer != peer)
        forgeries->peers[place].bucket = (struct hc_bucket){.per_second = 0};
    forgeries->peers[place].peer = peer;
    hc_bucket_set_rate(&forgeries->peers[place].bucket, HC_FORGERIES_OF_PEER);
    hc_bucket_set_rate(&forgeries->all, HC_FORGERIES_OF_ALL);
    (void)hc_bucket_take(&forgeries->peers[place].bucket, 1, now_ms);
    (void)hc_bucket_take(&forgeries->all, 1, now_ms);
}
