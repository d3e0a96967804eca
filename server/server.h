/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server: a resolver, the services over it, and the edge that clients connect to. The
 * main thread moves it through its states:
 *
 *     opening    the parts open one after the other; a failure closes those that are open
 *     serving    until a signal arrives that ends it, or the watchdog finds a listener
 *                dead; SIGHUP makes a thread read the configuration again (reload.h)
 *     stopping   no new calls; running ones finish within the grace period. A second
 *                signal, or the end of that period, ends them at once
 *     closing    the parts close, those that use others first
 */
#ifndef HC_SERVER_SERVER_H
#define HC_SERVER_SERVER_H

struct hc_error;
struct hc_options;
struct hc_process_end;

/*
 * The whole life of a server; -1 also when a dead listener ended it. `signals` is of
 * signals.h. From the first signal on `end` ends the process if a state hangs.
 */
int hc_server_run(const struct hc_options *options, int signals,
                  struct hc_process_end *end, struct hc_error *err);

#endif
