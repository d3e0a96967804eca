/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The next page of a listing: a whole Link header is read, resolved and moved to the
 * endpoint. For any input, the next page belongs to the same commit on the endpoint.
 */
#include "fuzz.h"

#include <base/auto.h>
#include <base/text.h>
#include <hub/response.h>
#include <hub/url.h>

#include <stdio.h>

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static const char endpoint[] = "https://hub.example:8443/base";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HC_AUTO_FREE char *value = fuzz_text(data, size);
    HC_AUTO_FREE char *header = NULL;
    char link[HC_URL_MAX], page[HC_URL_MAX];
    struct hc_hub_response reply = {0};

    fuzz_require(asprintf(&header, "Link: %s\r\n", value) > 0);
    hc_hub_response_header(&reply, header, strlen(header));
    if (!reply.next_page[0] ||
        !hc_url_join(link, "https://hub.example:8443/base/api/models/o/m/tree/" COMMIT,
                     reply.next_page) ||
        !hc_url_page(page, endpoint, COMMIT, link))
        return 0;
    fuzz_require(hc_text_starts(page, "https://hub.example:8443/base/api/"));
    fuzz_require(hc_url_same_origin(page, endpoint));
    fuzz_require(hc_text_is_printable(page));
    fuzz_require(strcasestr(page, "/tree/" COMMIT) != NULL);
    return 0;
}
