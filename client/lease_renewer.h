/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Renews the leases of a client, on one thread, which is started with the first lease.
 * Callable from any thread.
 */
#ifndef HC_CLIENT_LEASE_RENEWER_H
#define HC_CLIENT_LEASE_RENEWER_H

#include "base/auto.h"
#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct hc_client;
struct hc_lease_renewer;

/* A lease that is to be renewed; embedded in what it is for. */
struct hc_held_lease {
    /* Set before it is added. */
    const char *id;      /* borrowed */
    int64_t duration_ms; /* that it is renewed for */

    /* Until when it holds on the monotonic clock; 0: it is lost, and why is in `loss`. */
    _Atomic int64_t until_ms;
    struct hc_error loss;

    /* The renewer's, guarded by its lock. */
    LIST_ENTRY(hc_held_lease) link;
    int64_t due_ms;
    unsigned failures; /* since the last renewal */
};

struct hc_lease_renewer *hc_lease_renewer_new(struct hc_client *client,
                                              struct hc_error *err);

/* It has no lease any more. NULL is fine. */
void hc_lease_renewer_free(struct hc_lease_renewer *renewer);
HC_DEFINE_AUTO(hc_lease_renewer, hc_lease_renewer_free)

/* -1: there is no thread to renew it. */
int hc_lease_renewer_add(struct hc_lease_renewer *renewer, struct hc_held_lease *lease,
                         struct hc_error *err);

/* Waits for a renewal that is under way; none follows. */
void hc_lease_renewer_remove(struct hc_lease_renewer *renewer,
                             struct hc_held_lease *lease);

/* When a lease of that duration is renewed, after the renewal before: at a third. */
int64_t hc_lease_renewal_due_ms(int64_t duration_ms);

#endif
