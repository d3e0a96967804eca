/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "/xet-bridge/<repo's number>/<xet hash>?Expires=<time>&Signature=<of both>"
 */
#include "hub_cdn.h"

#include "base/auto.h"
#include "base/text.h"
#include "hub_abort.h"
#include "hub_answer.h"
#include "hub_blob.h"
#include "hub_content.h"
#include "hub_state.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LIFETIME_S = 3600 };

/* No secret: the key only makes signatures that nobody computes by accident. */
static const char KEY[] = "test hub";

static void cdn_signature(const char *path, const char *expires, char hex[65])
{
    HC_AUTO_FREE char *text = hub_format("%s?Expires=%s", path, expires);
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned size = 0;

    if (!HMAC(EVP_sha256(), KEY, sizeof KEY, (const unsigned char *)text, strlen(text),
              mac, &size))
        hub_abort("OpenSSL", "HMAC");
    for (unsigned i = 0; i < size; i++)
        (void)snprintf(hex + 2 * (size_t)i, 3, "%02x", mac[i]);
}

static bool request_is_signed(const struct hub_request *request)
{
    const char *expires = hub_request_query(request, "Expires");
    const char *signature = hub_request_query(request, "Signature");
    char right[65];

    if (!expires || !signature)
        return false;
    cdn_signature(request->path, expires, right);
    return strcmp(signature, right) == 0 && strtoll(expires, NULL, 10) > time(NULL);
}

char *hub_cdn_sign(const struct test_hub *hub, const char *repo,
                   const struct hub_blob *blob)
{
    HC_AUTO_FREE char *path = NULL;
    HC_AUTO_FREE char *expires = NULL;
    char number[41], signature[65];

    hub_blob_name_text(repo, number);
    path = hub_format("/xet-bridge/%.24s/%s", number, blob->xet_hash);
    expires = hub_format("%lld", (long long)time(NULL) + LIFETIME_S);
    cdn_signature(path, expires, signature);
    return hub_format("%s%s?Expires=%s&Signature=%s", hub->cdn.url, path, expires,
                      signature);
}

void hub_cdn_answer(const struct hub_request *request, struct hub_answer *answer)
{
    const char *name = strrchr(request->path, '/');
    const struct hub_blob *blob;

    if (!hc_text_starts(request->path, "/xet-bridge/") || !request_is_signed(request)) {
        hub_answer_text(answer, 403, hub_strdup("Access denied"));
        return;
    }
    blob = hub_content_find_xet(request->hub->content, name + 1);
    if (!blob) {
        hub_answer_text(answer, 404, hub_strdup("No such object"));
        return;
    }
    hub_answer_set(answer, "ETag", "\"%s\"", blob->xet_hash);
    hub_answer_blob(answer, blob, request->range);
}
