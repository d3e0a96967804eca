/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server on loopback that sends exactly the bytes it was given, whether or not they are
 * HTTP: for the headers that no HTTP library would send. It serves one connection at a
 * time and closes it after one answer. Failures abort the test program. Callable from any
 * thread.
 */
#ifndef HC_SUPPORT_RAW_SERVER_H
#define HC_SUPPORT_RAW_SERVER_H

#include <stdbool.h>

struct raw_server;

/* Listens on 127.0.0.1, and answers 404 to requests that no answer was set for. */
struct raw_server *raw_server_start(void);
void raw_server_stop(struct raw_server *server);

/* "http://127.0.0.1:<port>", borrowed. */
const char *raw_server_url(const struct raw_server *server);

/*
 * Sets the answer to requests that contain `text`; both texts are copied. Of several
 * answers that match, the newest is sent.
 */
void raw_server_answer(struct raw_server *server, const char *text, const char *bytes);

/* How many requests contained `text`, in their first line or a header. */
unsigned raw_server_count(struct raw_server *server, const char *text);

#endif
