/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A failure that is the server's, the volume's or the Hub's is an error; one that is the
 * caller's, or an honest "not there", is a warning; success is for debugging only.
 */
#include "journal.h"

#include "log.h"
#include "metrics.h"

static enum hc_log_level level_of(unsigned code)
{
    switch (code) {
    case HC_STATUS_OK:
    case HC_STATUS_CANCELLED:
        return HC_LOG_DEBUG;
    case HC_STATUS_INTERNAL:
    case HC_STATUS_UNAVAILABLE:
    case HC_STATUS_DATA_LOSS:
    case HC_STATUS_RESOURCE_EXHAUSTED:
    case HC_STATUS_FAILED_PRECONDITION:
        return HC_LOG_ERROR;
    default:
        return HC_LOG_WARN;
    }
}

void hc_journal_write(void *metrics, const struct hc_rpc_record *record)
{
    const char *method = record->method ? record->method->path : "unknown";

    hc_metrics_add_request(metrics, record);
    if (record->code == HC_STATUS_OK) {
        HC_LOG(HC_LOG_DEBUG, "request done", HC_NUMBER("id", record->id),
               HC_TEXT("method", method));
        return;
    }
    HC_LOG(level_of(record->code), "request failed", HC_NUMBER("id", record->id),
           HC_TEXT("method", method), HC_NUMBER("status", record->code),
           HC_TEXT("reason",
                   record->reason == HC_OK ? "OTHER" : hc_reason_name(record->reason)),
           HC_TEXT("error", record->message));
}
