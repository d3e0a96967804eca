/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One or several Content-Length headers, a line each. For any input, a length that is
 * accepted is the only one that was sent, in digits; all else is reported as a flaw.
 */
#include "fuzz.h"

#include <base/auto.h>
#include <hub/response.h>

#include <inttypes.h>
#include <stdio.h>

/* Whether the lines hold only this number, in digits, spaces and commas. */
static bool says_only(const char *lines, uint64_t number)
{
    while (*lines) {
        size_t digits = strspn(lines, "0123456789");

        if (digits > 0 && strtoull(lines, NULL, 10) != number)
            return false;
        if (digits == 0 && !strchr(" \t\r\n\v\f,", *lines))
            return false;
        lines += digits > 0 ? digits : 1;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HC_AUTO_FREE char *lines = fuzz_text(data, size);
    HC_AUTO_FREE char *copy = fuzz_text(data, size);
    struct hc_hub_response reply = {0};

    for (char *line = lines, *next; line; line = next) {
        HC_AUTO_FREE char *header = NULL;

        next = fuzz_cut_line(line);
        fuzz_require(asprintf(&header, "Content-Length: %s\r\n", line) > 0);
        hc_hub_response_header(&reply, header, strlen(header));
    }
    if (reply.flaw)
        return 0;
    fuzz_require(reply.has_length && reply.content_length <= INT64_MAX);
    fuzz_require(says_only(copy, reply.content_length));
    return 0;
}
