/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locations from redirects and listings. For any input, a location that is accepted is an
 * http or https URL that is accepted unchanged again, and joining it to a path never
 * makes another origin look like the endpoint.
 */
#include "fuzz.h"

#include <base/auto.h>
#include <base/text.h>
#include <hub/url.h>

#include <strings.h>

static const char endpoint[] = "https://hub.example:8443/base";

static void check_join(const char *text)
{
    char location[HC_URL_MAX], url[HC_URL_MAX];

    if (!hc_url_join(location, endpoint, text))
        return;
    fuzz_require(hc_text_starts(location, "http://") ||
                 hc_text_starts(location, "https://"));
    fuzz_require(hc_text_is_printable(location));
    fuzz_require(hc_url_same_origin(location, location));
    if (hc_url_same_origin(location, endpoint))
        fuzz_require(strncasecmp(location, "https://hub.example:8443", 24) == 0);
    if (hc_url_join(url, endpoint, location))
        fuzz_require(hc_url_same_origin(url, location));
}

/* Only unreserved characters, "/" and "%" come after the endpoint. */
static void check_resolve(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-._~/%";
    char url[HC_URL_MAX];
    struct hc_repo repo;
    struct hc_error err;

    if (hc_repo_init(&repo, HC_REPO_MODEL, "org/m", &err) < 0 ||
        hc_url_resolve(url, endpoint, &repo, name, name, &err) < 0)
        return;
    fuzz_require(hc_text_starts(url, endpoint));
    fuzz_require(strspn(url + strlen(endpoint), allowed) ==
                 strlen(url + strlen(endpoint)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HC_AUTO_FREE char *text = fuzz_text(data, size);

    check_join(text);
    check_resolve(text);
    return 0;
}
