/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A relay on loopback between clients and one server, which does to connections what a
 * bad network does: what a client meets before the server's first byte. Needs no
 * privileges. Failures abort the test program. Callable from any thread.
 */
#ifndef HC_SUPPORT_RELAY_H
#define HC_SUPPORT_RELAY_H

struct relay;

enum relay_fault {
    /* A connect is never answered: the queue of the listening socket is full, so that
       the kernel drops the first packet of a connection. A client's kernel sends it again
       after one second, two more, and so on. */
    RELAY_DROPS_CONNECTS,
    /* A connection is accepted, and nothing that the server sends comes through. */
    RELAY_KEEPS_ANSWERS,
    /* What the server sends comes through byte by byte, one every 20 ms. */
    RELAY_TRICKLES_ANSWERS
};

/* Of the server only host and port of `url`, "<scheme>://127.0.0.1:<port>…", are used. */
struct relay *relay_start(const char *url, enum relay_fault fault);
void relay_stop(struct relay *relay);

/* "<scheme>://127.0.0.1:<port>" with the scheme of the server, borrowed. */
const char *relay_url(const struct relay *relay);

/* The fault is over: connections go through, those that wait included. */
void relay_release(struct relay *relay);

/* Waits until clients have opened, or have closed, `count` connections since the start.
 * Those that are dropped do not count. */
void relay_await_opened(struct relay *relay, unsigned count);
void relay_await_closed(struct relay *relay, unsigned count);

#endif
