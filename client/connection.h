/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gRPC channel to the servers of one address, made of the options of a client. Files
 * of TLS are read when it is opened, and again when there is no connection or a minute
 * has passed: if they have changed, the calls from then on go over a new gRPC channel,
 * while those before end on the old one. Callable from any thread.
 */
#ifndef HC_CLIENT_CONNECTION_H
#define HC_CLIENT_CONNECTION_H

#include "base/auto.h"
#include "base/error.h"

#include <grpc/grpc.h>
#include <stdbool.h>

struct hc_client_options;
struct hc_connection;
struct hc_connection_link; /* a gRPC channel, while calls use it */

/*
 * Connects when the first call asks for it. NULL: INVALID_OPTIONS for the address (field
 * "server") and for what hc_tls_files_read() refuses.
 */
struct hc_connection *hc_connection_open(const struct hc_client_options *options,
                                         struct hc_error *err);

/* No link may be in use. NULL is fine. */
void hc_connection_close(struct hc_connection *connection);
HC_DEFINE_AUTO(hc_connection, hc_connection_close)

bool hc_connection_has_tls(const struct hc_connection *connection);

/*
 * The link of a new call, which is dropped when the call has ended. Files of TLS that
 * cannot be used at the moment leave the link as it was.
 */
struct hc_connection_link *hc_connection_take(struct hc_connection *connection);
void hc_connection_drop(struct hc_connection *connection,
                        struct hc_connection_link *link);

/* Borrowed from the link. */
grpc_channel *hc_connection_grpc(const struct hc_connection_link *link);

/* As hc_tls_texts_flaw(). */
const char *hc_connection_flaw(const struct hc_connection_link *link);

/*
 * Waits until the connection is up or could not be made; polls on `queue`, which is for
 * plucking.
 */
void hc_connection_await(const struct hc_connection_link *link,
                         grpc_completion_queue *queue, gpr_timespec deadline);

#endif
