/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockets that clients connect to, and one thread that accepts. gRPC's own listener
 * (1.51) is never polled again after one accept() that failed, as it does when
 * descriptors are short; here a failure is a pause of a tenth of a second.
 *
 * Connections are counted. One beyond the limit is closed at once, so that its client
 * asks another replica instead of waiting. The limit leaves descriptors for the work.
 */
#ifndef HC_SERVER_LISTENER_H
#define HC_SERVER_LISTENER_H

#include <base/auto.h>

#include <hubcache/error.h>
#include <stddef.h>
#include <stdint.h>

struct addrinfo;
struct sockaddr_storage;
struct hc_listener;

enum { HC_LISTENER_HOST_MAX = 255 };

/* `accepted` owns the descriptor that it gets; the listener's thread calls it. */
struct hc_listener *hc_listener_new(unsigned connections_max,
                                    void (*accepted)(void *ctx, int fd), void *ctx,
                                    struct hc_error *err);

/* host:port or unix:/path, before the start; `bound` gets the address with its real port.
 */
int hc_listener_add(struct hc_listener *listener, const char *address, char *bound,
                    size_t size, struct hc_error *err);

int hc_listener_start(struct hc_listener *listener, struct hc_error *err);

/* No new connections from now on: the sockets are closed. Those accepted go on. */
void hc_listener_stop(struct hc_listener *listener);
void hc_listener_close(struct hc_listener *listener);
HC_DEFINE_AUTO(hc_listener, hc_listener_close)

/*
 * Where this process itself reaches the socket of that number, from 0, and the size of
 * that; 0: there is none.
 */
unsigned hc_listener_address(const struct hc_listener *listener, size_t number,
                             struct sockaddr_storage *address);

/* Connections that are open, and how many have been refused since the start. */
void hc_listener_count(struct hc_listener *listener, unsigned *open, uint64_t *refused);

/*
 * Any thread. The addresses of "host:port" or "[v6]:port", to bind to; the caller frees
 * `*found`. `host` gets the first part. INVALID_OPTIONS names `option`.
 */
int hc_listener_look_up(const char *address, const char *option, struct addrinfo **found,
                        char host[HC_LISTENER_HOST_MAX], struct hc_error *err);

/* The soft limit of descriptors becomes the hard one. */
void hc_listener_raise_limit(void);

#endif
