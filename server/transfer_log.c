/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A repo may have a hundred thousand small files: that they came as they should is for
 * debugging only. A transfer whose callers all left has not failed.
 */
#include "transfer_log.h"

#include "log.h"
#include "metrics.h"

#include <base/text.h>

enum { SMALL = 1024 * 1024, ETAG_SHOWN = 12 };

static enum hc_log_level transfer_level(const struct hc_transfer *transfer)
{
    if (transfer->reason != HC_OK)
        return transfer->reason == HC_CANCELLED ? HC_LOG_INFO : HC_LOG_WARN;
    if (transfer->size_bytes < SMALL && transfer->retries == 0)
        return HC_LOG_DEBUG;
    return HC_LOG_INFO;
}

/* Of the bytes that came from the Hub, while nobody else was waited for. */
static uint64_t transfer_rate(const struct hc_transfer *transfer)
{
    uint64_t ms = transfer->duration_ms > transfer->waited_ms
                      ? transfer->duration_ms - transfer->waited_ms
                      : 1;

    return transfer->fetched_bytes * 1000 / ms;
}

static void transfer_write_line(enum hc_log_level level,
                                const struct hc_transfer *transfer)
{
    const struct hc_log_field none = {.key = NULL};
    char etag[ETAG_SHOWN + 1];

    (void)hc_format(etag, sizeof etag, "%.*s", ETAG_SHOWN, transfer->etag);
    HC_LOG(level, "transfer", HC_TEXT("repo", transfer->repo_id),
           HC_TEXT("type", hc_repo_type_name(transfer->repo_type)),
           HC_TEXT("file", transfer->path), HC_TEXT("etag", etag),
           HC_NUMBER("size", transfer->size_bytes),
           HC_NUMBER("fetched", transfer->fetched_bytes),
           HC_NUMBER("resumed", transfer->resumed_bytes),
           HC_NUMBER("shared", transfer->shared_bytes),
           HC_NUMBER("duration_ms", transfer->duration_ms),
           HC_NUMBER("waited_ms", transfer->waited_ms),
           HC_NUMBER("bytes_per_second", transfer_rate(transfer)),
           HC_NUMBER("connections", transfer->connections),
           HC_NUMBER("retries", transfer->retries),
           transfer->reason == HC_OK
               ? none
               : HC_TEXT("reason", hc_reason_name(transfer->reason)));
}

void hc_transfer_log_write(void *metrics, const struct hc_transfer *transfer)
{
    hc_metrics_add_transfer(metrics, transfer);
    transfer_write_line(transfer_level(transfer), transfer);
}
