/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answers of the two ports: files by /resolve/, repos and trees by /api/ on the hub
 * port; LFS files on the CDN port, where a signed URL is all that is needed. Callable
 * from any thread.
 */
#ifndef HC_SUPPORT_HUB_ENDPOINT_H
#define HC_SUPPORT_HUB_ENDPOINT_H

struct hub_answer;
struct hub_request;

void hub_endpoint_answer(const struct hub_request *request, struct hub_answer *answer);
void hub_cdn_answer(const struct hub_request *request, struct hub_answer *answer);

#endif
