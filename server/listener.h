/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockets that clients connect to, and one thread that accepts. gRPC's own listener
 * (1.51) never polls a socket again after one accept() has failed, which happens when
 * descriptors are short; this one pauses for a tenth of a second.
 *
 * Connections are counted. One beyond the limit is closed at once, so that its client
 * asks another replica instead of waiting. The limit leaves descriptors for the work.
 */
#ifndef HC_SERVER_LISTENER_H
#define HC_SERVER_LISTENER_H

#include <base/auto.h>

#include <hubcache/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct addrinfo;
struct hc_connections;
struct hc_listener;
struct sockaddr_storage;

enum { HC_LISTENER_HOST_MAX = 255 };

/*
 * `accepted` owns the descriptor that it gets; the listener's thread calls it. `open` is
 * at least the number of connections that are open.
 */
struct hc_listener *hc_listener_new(unsigned connections_max,
                                    void (*accepted)(void *ctx, int fd, unsigned open),
                                    void *ctx, struct hc_error *err);

/*
 * From now on only unix sockets, and addresses that no other machine reaches, are bound.
 */
void hc_listener_keep_local(struct hc_listener *listener);

/* Binds host:port or unix:/path, before the start; `bound` gets the real port. */
int hc_listener_add(struct hc_listener *listener, const char *address, char *bound,
                    size_t size, struct hc_error *err);

int hc_listener_start(struct hc_listener *listener, struct hc_error *err);

/* Closes the sockets: no new connections. Accepted connections stay open. */
void hc_listener_stop(struct hc_listener *listener);
void hc_listener_close(struct hc_listener *listener);
HC_DEFINE_AUTO(hc_listener, hc_listener_close)

/*
 * The address at which this process reaches the socket of that number, from 0; returns
 * its size. 0: there is no such socket.
 */
unsigned hc_listener_address(const struct hc_listener *listener, size_t number,
                             struct sockaddr_storage *address);

/* Whether there is a unix socket. */
bool hc_listener_has_path(const struct hc_listener *listener);

/* Borrowed: those that it has accepted. */
struct hc_connections *hc_listener_connections(const struct hc_listener *listener);

/*
 * Any thread. Looks up the addresses of "host:port" or "[v6]:port" to bind to; the caller
 * frees `*found`. `host` gets the part before the port. INVALID_OPTIONS names `option`.
 */
int hc_listener_look_up(const char *address, const char *option, struct addrinfo **found,
                        char host[HC_LISTENER_HOST_MAX], struct hc_error *err);

/*
 * INVALID_OPTIONS unless `address`, as --listen has it, is a unix socket or leads to
 * addresses of the loopback alone. A name is looked up.
 */
int hc_listener_check_local(const char *address, struct hc_error *err);

/*
 * Any thread. Whether hc_listener_add() would take the address for one; INVALID_OPTIONS
 * names `option`.
 */
int hc_listener_check(const char *address, const char *option, struct hc_error *err);

/* Raises the soft limit of descriptors to the hard one. */
void hc_listener_raise_limit(void);

#endif
