/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hub port: files by /resolve/, repos and trees by /api/.
 */
#ifndef HC_SUPPORT_HUB_ENDPOINT_H
#define HC_SUPPORT_HUB_ENDPOINT_H

struct hub_answer;
struct hub_request;

void hub_endpoint_answer(const struct hub_request *request, struct hub_answer *answer);

#endif
