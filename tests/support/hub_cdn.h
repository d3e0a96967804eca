/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CDN that LFS files come from: URLs are signed and expire, nothing else is asked.
 */
#ifndef HC_SUPPORT_HUB_CDN_H
#define HC_SUPPORT_HUB_CDN_H

struct hub_answer;
struct hub_blob;
struct hub_request;
struct test_hub;

/* The absolute URL of a file of `repo`, good for an hour; the caller frees. */
char *hub_cdn_sign(const struct test_hub *hub, const char *repo,
                   const struct hub_blob *blob);

void hub_cdn_answer(const struct hub_request *request, struct hub_answer *answer);

#endif
