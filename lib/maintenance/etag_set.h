/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of etags that needs eight bytes for each: it keeps hashes of them. It may say
 * that it has an etag which it does not have, and never the reverse, so it is for
 * questions where "yes" is the safe answer: "is this blob in use?". One thread builds it:
 * add …, then finish; after that any thread may ask.
 */
#ifndef HC_MAINTENANCE_ETAG_SET_H
#define HC_MAINTENANCE_ETAG_SET_H

#include <base/auto.h>
#include <base/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialise it. */
struct hc_etag_set {
    uint64_t *hashes;
    size_t count;
    size_t room;
};

int hc_etag_set_add(struct hc_etag_set *set, const char *etag, struct hc_error *err);

/* Once after the last add. */
void hc_etag_set_finish(struct hc_etag_set *set);

bool hc_etag_set_has(const struct hc_etag_set *set, const char *etag);

void hc_etag_set_clear(struct hc_etag_set *set);
HC_DEFINE_AUTO_VALUE(hc_etag_set, hc_etag_set_clear)

#endif
