/* SPDX-License-Identifier: Apache-2.0 */
/* One call of the client library, for tests of how it gets to the server. */
#ifndef CLIENT_ASK_H
#define CLIENT_ASK_H

#include <hubcache-client/client.h>

/* The reason of the failure, or HC_OK. */
enum hc_reason client_ask(struct hc_client *client, struct hc_error *err);

#endif
