/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of the Content-Range header. For any input, a range that is accepted is one that
 * a file can have, and is the range in the text.
 */
#include "fuzz.h"

#include <base/auto.h>
#include <hub/response.h>

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

/* Requires that the text has this range, without leading zeros. */
static void check_text(const struct hc_hub_response *reply)
{
    HC_AUTO_FREE char *text = NULL;
    HC_AUTO_FREE char *total = NULL;
    struct hc_hub_response again = {0};

    if (reply->range_total > 0)
        fuzz_require(asprintf(&total, "%" PRIu64, reply->range_total) > 0);
    fuzz_require(asprintf(&text, "content-range: bytes %" PRIu64 "-%" PRIu64 "/%s",
                          reply->range_start, reply->range_end - 1,
                          total ? total : "*") > 0);
    hc_hub_response_header(&again, text, strlen(text));
    fuzz_require(again.has_range && again.range_start == reply->range_start &&
                 again.range_end == reply->range_end &&
                 again.range_total == reply->range_total);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HC_AUTO_FREE char *value = fuzz_text(data, size);
    HC_AUTO_FREE char *header = NULL;
    struct hc_hub_response reply = {0};

    fuzz_require(asprintf(&header, "Content-Range: %s\r\n", value) > 0);
    hc_hub_response_header(&reply, header, strlen(header));
    fuzz_require(!(reply.has_range && reply.has_bad_range));
    if (!reply.has_range)
        return 0;
    fuzz_require(reply.range_start < reply.range_end && reply.range_end <= INT64_MAX);
    fuzz_require(reply.range_total == 0 || reply.range_end <= reply.range_total);
    fuzz_require(strncasecmp(value + strspn(value, " \t\r\n\v\f"), "bytes ", 6) == 0);
    check_text(&reply);
    return 0;
}
