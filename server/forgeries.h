/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts tokens with wrong signatures. To check a signature takes tens of microseconds on
 * a thread that all callers share, so a client that sends forgeries as fast as it can is
 * limited, by its address, and all clients together are. Its owner's lock guards it; the
 * time is an argument.
 */
#ifndef HC_SERVER_FORGERIES_H
#define HC_SERVER_FORGERIES_H

#include <hub/bucket.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    HC_FORGERIES_OF_PEER = 20, /* a second */
    HC_FORGERIES_OF_ALL = 1000,
    HC_FORGERIES_WAIT_MS = 1000, /* after which a client may try again */
    HC_FORGERIES_PEERS = 256
};

/* Zero-initialise it. */
struct hc_forgeries {
    struct hc_bucket all;
    struct {
        uint64_t peer;
        struct hc_bucket bucket;
    } peers[HC_FORGERIES_PEERS]; /* by the hash; peers of one place displace each other */
};

/*
 * The peer at an address, for the functions below: a keyed hash, so that no client can
 * take the place of another one. The addresses of a network of IPv6 (64 bits) are one
 * peer, for a host may have all of them. 0 for "".
 */
uint64_t hc_forgeries_peer(const char *address);

/* Whether that peer has to wait before its next signature is checked. */
bool hc_forgeries_are_many(const struct hc_forgeries *forgeries, uint64_t peer,
                           int64_t now_ms);

void hc_forgeries_count(struct hc_forgeries *forgeries, uint64_t peer, int64_t now_ms);

#endif
