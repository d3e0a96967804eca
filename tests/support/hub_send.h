/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends an answer, spoiled as the verdict says. Bodies are read piece by piece while they
 * are sent, by the thread of the connection, which may therefore wait.
 */
#ifndef HC_SUPPORT_HUB_SEND_H
#define HC_SUPPORT_HUB_SEND_H

#include <microhttpd.h>

struct hub_answer;
struct hub_request;
struct hub_faults;

/* What libmicrohttpd's handler returns. Takes what the answer owns. */
enum MHD_Result hub_send(const struct hub_request *request,
                         const struct hub_faults *faults, struct hub_answer *answer);

#endif
