/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections that the listener has accepted, known by their descriptors, which gRPC
 * owns: how many are open, which user is at the other end, and which of them flood the
 * server. Callable from any thread.
 */
#ifndef HC_SERVER_CONNECTIONS_H
#define HC_SERVER_CONNECTIONS_H

#include <base/auto.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct hc_connections;
struct sockaddr_in6;

/* NULL: memory is short. */
struct hc_connections *hc_connections_new(unsigned max);
void hc_connections_free(struct hc_connections *all);
HC_DEFINE_AUTO(hc_connections, hc_connections_free)

/*
 * Adds an accepted one. May replace `*fd`, which the caller owns in any case, by another
 * descriptor of it: see connections.c. `*open`: how many there are, or were a moment ago.
 * False: there are too many, or memory is short.
 */
bool hc_connections_add(struct hc_connections *all, int *fd, unsigned *open);

/*
 * True: the connection with that descriptor came over a unix socket, from a process of
 * user `*uid` (SO_PEERCRED). Right for a connection that is closed by now, too: see
 * connections.c.
 */
bool hc_connections_uid(struct hc_connections *all, int fd, uid_t *uid);

/*
 * The descriptor of the connection from that address and port, IPv4 addresses as those of
 * IPv6 (RFC 4291, 2.5.5.2). -1: there is none.
 */
int hc_connections_find(struct hc_connections *all, const struct sockaddr_in6 *from);

/*
 * Ends each connection over TCP that is ten seconds old and has not sent a whole HTTP/2
 * preface: gRPC, which waits for it, has no limit in clear text.
 */
void hc_connections_end_silent(struct hc_connections *all, int64_t now_ms);

struct hc_connection_counts {
    unsigned open;
    uint64_t refused, cut; /* since the start */
};

/* Looks at each. */
void hc_connections_count(struct hc_connections *all,
                          struct hc_connection_counts *counts);

/*
 * A call of that connection was abandoned by its client. The count begins anew with each
 * epoch.
 */
void hc_connections_count_abandoned(struct hc_connections *all, int fd, unsigned epoch);

/*
 * Ends each connection from which `unread` bytes wait to be read, or of which `abandoned`
 * calls were abandoned in this epoch; returns how many these were.
 */
unsigned hc_connections_cut(struct hc_connections *all, size_t unread, unsigned abandoned,
                            unsigned epoch);

#endif
