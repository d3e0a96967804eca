/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connects to the server's own listeners periodically, on a thread of its own. A server
 * that no longer accepts works for connected clients and fails for all others, so it is
 * better to end it, for a supervisor to start it again. Three checks in a row have to
 * fail.
 */
#ifndef HC_SERVER_WATCHDOG_H
#define HC_SERVER_WATCHDOG_H

#include "listener.h"

struct hc_watchdog;

/* `listener` is borrowed until close. */
struct hc_watchdog *hc_watchdog_open(const struct hc_listener *listener,
                                     struct hc_error *err);

/* Ends the checks; call it before the listener stops. */
void hc_watchdog_stop(struct hc_watchdog *watchdog);
void hc_watchdog_close(struct hc_watchdog *watchdog);
HC_DEFINE_AUTO(hc_watchdog, hc_watchdog_close)

/* Names the listener that is dead, and the cause; "": none is. */
const char *hc_watchdog_error(const struct hc_watchdog *watchdog);

#endif
