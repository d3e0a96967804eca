/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connects to the server's own listeners now and then, on a thread of its own. A server
 * that no longer accepts looks alive to all who are connected and is dead to everyone else:
 * better it ends, and is started anew. Three checks in a row have to fail.
 */
#ifndef HC_SERVER_WATCHDOG_H
#define HC_SERVER_WATCHDOG_H

#include "listener.h"

struct hc_watchdog;

/* `listener` is borrowed until close. */
struct hc_watchdog *hc_watchdog_open(const struct hc_listener *listener,
                                     struct hc_error *err);

/* Checks no more; before the listener stops. */
void hc_watchdog_stop(struct hc_watchdog *watchdog);
void hc_watchdog_close(struct hc_watchdog *watchdog);
HC_DEFINE_AUTO(hc_watchdog, hc_watchdog_close)

/* A listener is dead: which and why; "" while there is none. */
const char *hc_watchdog_error(const struct hc_watchdog *watchdog);

#endif
