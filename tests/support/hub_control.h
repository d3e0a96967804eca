/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control interface, for tests in other languages: requests for "/_test/…" on the hub
 * port do what the functions of test_hub.h do.
 */
#ifndef HC_SUPPORT_HUB_CONTROL_H
#define HC_SUPPORT_HUB_CONTROL_H

struct hub_answer;
struct hub_request;

#define HUB_CONTROL_PATH "/_test/"

void hub_control_answer(const struct hub_request *request, struct hub_answer *answer);

#endif
