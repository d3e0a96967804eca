/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Relaxed: no reader draws a conclusion from one counter about another.
 */
#include "tally.h"

static enum hc_hub_answer status_answer(long status)
{
    switch (status / 100) {
    case 2:
        return HC_HUB_ANSWER_2XX;
    case 3:
        return HC_HUB_ANSWER_3XX;
    case 4:
        return status == 429 ? HC_HUB_ANSWER_429 : HC_HUB_ANSWER_4XX;
    case 5:
        return HC_HUB_ANSWER_5XX;
    default:
        return HC_HUB_ANSWER_NONE;
    }
}

void hc_hub_tally_add_request(struct hc_hub_tally *tally, enum hc_hub_request_kind kind,
                              enum hc_hub_host host, long status)
{
    atomic_fetch_add_explicit(&tally->requests[kind][host][status_answer(status)], 1,
                              memory_order_relaxed);
}

void hc_hub_tally_add_bytes(struct hc_hub_tally *tally, enum hc_hub_host host,
                            uint64_t count)
{
    atomic_fetch_add_explicit(&tally->bytes[host], count, memory_order_relaxed);
}

void hc_hub_tally_read(const struct hc_hub_tally *tally, struct hc_hub_counts *counts)
{
    for (size_t kind = 0; kind < HC_HUB_KINDS; kind++) {
        for (size_t host = 0; host < HC_HUB_HOSTS; host++) {
            for (size_t answer = 0; answer < HC_HUB_ANSWERS; answer++)
                counts->requests[kind][host][answer] =
                    atomic_load(&tally->requests[kind][host][answer]);
        }
    }
    for (size_t host = 0; host < HC_HUB_HOSTS; host++)
        counts->bytes[host] = atomic_load(&tally->bytes[host]);
}
