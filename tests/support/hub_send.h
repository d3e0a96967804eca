/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends an answer, with the faults that the rules give it. Bodies are read piece by piece
 * while they are sent, on the thread of the connection, which may therefore wait. Called
 * on that thread.
 */
#ifndef HC_SUPPORT_HUB_SEND_H
#define HC_SUPPORT_HUB_SEND_H

#include <microhttpd.h>

struct hub_answer;
struct hub_request;
struct hub_faults;

/* Takes what the answer owns. Returns what libmicrohttpd's handler has to return. */
enum MHD_Result hub_send(const struct hub_request *request,
                         const struct hub_faults *faults, struct hub_answer *answer);

#endif
