/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The count has a trap: gRPC owns the descriptor of an accepted connection, and does not
 * report when it closes it. So a connection is known by the number of its descriptor and
 * the inode of its socket: when the number has another inode, or none, the connection is
 * over. All are counted only at the limit and for the metrics; the lock guards them.
 *
 * The number is also all that a call tells about its connection, and a call can outlive
 * its connection by some time. If the number meant another user's connection by then, the
 * call would be that user's. So a number belongs to one peer, TCP or one user, for the
 * life of the process: a connection that gets a number of another peer is moved to a
 * number that is free for it. When no such number is left, the number belongs to no peer.
 */
#include "connections.h"

#include <base/cancellation.h>

#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    COUNT_EVERY_MS = 10, /* at the limit, at most */
    PREFACE_MS = 10 * 1000,
    PREFACE_BYTES = 24 + 9 /* and an empty SETTINGS frame (RFC 9113, 3.4) */
};

/* To which peer a number belongs; from 0 on it is a user's. */
enum { PEER_NONE = -3, PEER_MIXED = -2, PEER_TCP = -1 };

struct connection {
    ino_t inode;              /* of its socket; 0: no connection has this number */
    int64_t peer;             /* the number's, also when no connection has it */
    struct sockaddr_in6 from; /* AF_UNSPEC: a unix socket */
    unsigned abandoned, abandoned_epoch;
    int64_t silent_since_ms; /* 0: it has sent the preface, or need not */
};

struct hc_connections {
    unsigned max;
    struct {
        pthread_mutex_t lock;
        struct connection *items; /* by their descriptors' numbers */
        size_t room;
        unsigned open; /* an upper bound: a count finds the closed ones */
        int64_t counted_ms;
        uint64_t refused, cut;
    } shared;
};

/* 0: no socket. The number of a closed socket may be a file's by now. */
static ino_t socket_inode(int fd)
{
    struct stat info;

    return fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode) ? info.st_ino : 0;
}

/* The lock is held here and in the functions up to connections_are_full(). */
static void connections_count(struct hc_connections *all)
{
    all->shared.open = 0;
    for (size_t fd = 0; fd < all->shared.room; fd++) {
        ino_t *inode = &all->shared.items[fd].inode;

        if (*inode && socket_inode((int)fd) != *inode)
            *inode = 0;
        all->shared.open += *inode != 0;
    }
}

/* Descriptors are small numbers, so an array by number stays small. */
static bool connections_make_room(struct hc_connections *all, size_t fd)
{
    size_t room = all->shared.room ? all->shared.room : 64;
    struct connection *connections;

    while (room <= fd)
        room *= 2;
    if (room == all->shared.room)
        return true;
    connections = reallocarray(all->shared.items, room, sizeof *connections);
    if (!connections)
        return false;
    for (size_t i = all->shared.room; i < room; i++)
        connections[i] = (struct connection){.peer = PEER_NONE};
    all->shared.items = connections;
    all->shared.room = room;
    return true;
}

static bool connections_are_full(struct hc_connections *all)
{
    int64_t now_ms = hc_monotonic_ms();

    if (all->shared.open < all->max)
        return false;
    if (now_ms - all->shared.counted_ms >= COUNT_EVERY_MS) {
        connections_count(all);
        all->shared.counted_ms = now_ms;
    }
    return all->shared.open >= all->max;
}

/*
 * Ends a connection, and throws away what it has sent, so that gRPC does not read it.
 * gRPC may read at the same time: what it gets then is of no use to it.
 */
static void connection_cut(int fd)
{
    char thrown_away[16 * 1024];

    (void)shutdown(fd, SHUT_RDWR);
    /* It does not wait. NOLINTNEXTLINE(clang-analyzer-unix.BlockInCriticalSection) */
    while (recv(fd, thrown_away, sizeof thrown_away, MSG_DONTWAIT) > 0)
        continue;
}

static size_t connection_unread(int fd)
{
    int unread;

    return ioctl(fd, FIONREAD, &unread) == 0 && unread > 0 ? (size_t)unread : 0;
}

/* More over TLS; gRPC ends a handshake that takes too long. */
static bool connection_has_sent(int fd, unsigned bytes)
{
    struct tcp_info info = {.tcpi_bytes_received = 0};
    socklen_t size = sizeof info;

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 ||
           info.tcpi_bytes_received >= bytes;
}

/* Takes the number for the peer. False: it belongs to another one, or memory is short. */
static bool connections_claim(struct hc_connections *all, int fd, int64_t peer)
{
    struct connection *connection;

    if (!connections_make_room(all, (size_t)fd))
        return false;
    connection = &all->shared.items[fd];
    if (connection->peer == PEER_NONE)
        connection->peer = peer;
    return connection->peer == peer;
}

/* Moves the connection to a number of its peer; `*fd` is the connection's in any case. */
static bool connections_move(struct hc_connections *all, int *fd, int64_t peer)
{
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, *fd + 1);

    while (moved >= 0 && !connections_claim(all, moved, peer)) {
        int next = moved + 1;

        (void)close(moved);
        moved = fcntl(*fd, F_DUPFD_CLOEXEC, next);
    }
    if (moved < 0)
        return false;
    (void)close(*fd);
    *fd = moved;
    return true;
}

/* The user that connected, or PEER_TCP. */
static int64_t socket_peer(int fd)
{
    int domain = AF_UNSPEC;
    struct ucred credentials = {.uid = 0};
    socklen_t size = sizeof domain;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || domain != AF_UNIX)
        return PEER_TCP;
    size = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
        return PEER_MIXED;
    return credentials.uid;
}

/* As an address of IPv6; AF_UNSPEC: the socket has no such address, or is closed. */
static struct sockaddr_in6 socket_address(int fd)
{
    const struct sockaddr_in6 none = {.sin6_family = AF_UNSPEC};
    struct sockaddr_in6 from = none;
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6,
                                  .sin6_addr.s6_addr = {[10] = 0xff, [11] = 0xff}};
    socklen_t size = sizeof from;
    struct sockaddr_in ipv4;

    if (getpeername(fd, (struct sockaddr *)&from, &size) < 0)
        return none;
    if (from.sin6_family != AF_INET)
        return from.sin6_family == AF_INET6 ? from : none;
    memcpy(&ipv4, &from, sizeof ipv4);
    memcpy(mapped.sin6_addr.s6_addr + 12, &ipv4.sin_addr, sizeof ipv4.sin_addr);
    mapped.sin6_port = ipv4.sin_port;
    return mapped;
}

static bool address_is_same(const struct sockaddr_in6 *address,
                            const struct sockaddr_in6 *other)
{
    return address->sin6_family == other->sin6_family &&
           address->sin6_port == other->sin6_port &&
           memcmp(&address->sin6_addr, &other->sin6_addr, sizeof other->sin6_addr) == 0;
}

/* --- public --------------------------------------------------------------------------
 */

struct hc_connections *hc_connections_new(unsigned max)
{
    struct hc_connections *all = calloc(1, sizeof *all);

    if (!all)
        return NULL;
    all->max = max;
    (void)pthread_mutex_init(&all->shared.lock, NULL);
    return all;
}

void hc_connections_free(struct hc_connections *all)
{
    if (!all)
        return;
    (void)pthread_mutex_destroy(&all->shared.lock);
    free(all->shared.items);
    free(all);
}

bool hc_connections_add(struct hc_connections *all, int *fd, unsigned *open)
{
    int64_t peer = socket_peer(*fd);
    struct connection *connection;
    HC_LOCKED(&all->shared.lock);

    if (connections_are_full(all) || !connections_make_room(all, (size_t)*fd)) {
        all->shared.refused++;
        return false;
    }
    if (!connections_claim(all, *fd, peer) && !connections_move(all, fd, peer))
        all->shared.items[*fd].peer = PEER_MIXED;
    connection = &all->shared.items[*fd];
    all->shared.open += connection->inode == 0;
    connection->inode = socket_inode(*fd);
    connection->from = socket_address(*fd);
    connection->abandoned = 0;
    connection->silent_since_ms = peer == PEER_TCP ? hc_monotonic_ms() : 0;
    *open = all->shared.open;
    return true;
}

bool hc_connections_uid(struct hc_connections *all, int fd, uid_t *uid)
{
    int64_t peer = PEER_NONE;

    if (fd >= 0) {
        HC_LOCKED(&all->shared.lock);

        if ((size_t)fd < all->shared.room)
            peer = all->shared.items[fd].peer;
    }
    if (peer < 0)
        return false;
    *uid = (uid_t)peer;
    return true;
}

int hc_connections_find(struct hc_connections *all, const struct sockaddr_in6 *from)
{
    HC_LOCKED(&all->shared.lock);

    for (size_t fd = 0; fd < all->shared.room; fd++) {
        const struct connection *connection = &all->shared.items[fd];

        if (connection->inode && address_is_same(&connection->from, from))
            return (int)fd;
    }
    return -1;
}

void hc_connections_end_silent(struct hc_connections *all, int64_t now_ms)
{
    HC_LOCKED(&all->shared.lock);

    for (size_t fd = 0; fd < all->shared.room; fd++) {
        struct connection *connection = &all->shared.items[fd];

        if (connection->silent_since_ms == 0 ||
            now_ms - connection->silent_since_ms < PREFACE_MS)
            continue;
        connection->silent_since_ms = 0;
        if (connection->inode && socket_inode((int)fd) == connection->inode &&
            !connection_has_sent((int)fd, PREFACE_BYTES))
            (void)shutdown((int)fd, SHUT_RDWR);
    }
}

void hc_connections_count(struct hc_connections *all, struct hc_connection_counts *counts)
{
    HC_LOCKED(&all->shared.lock);

    connections_count(all);
    counts->open = all->shared.open;
    counts->refused = all->shared.refused;
    counts->cut = all->shared.cut;
}

void hc_connections_count_abandoned(struct hc_connections *all, int fd, unsigned epoch)
{
    struct connection *connection;
    HC_LOCKED(&all->shared.lock);

    if (fd < 0 || (size_t)fd >= all->shared.room)
        return;
    connection = &all->shared.items[fd];
    if (connection->abandoned_epoch != epoch)
        connection->abandoned = 0;
    connection->abandoned_epoch = epoch;
    connection->abandoned++;
}

unsigned hc_connections_cut(struct hc_connections *all, size_t unread, unsigned abandoned,
                            unsigned epoch)
{
    unsigned count = 0;
    HC_LOCKED(&all->shared.lock);

    connections_count(all);
    for (size_t fd = 0; fd < all->shared.room; fd++) {
        struct connection *connection = &all->shared.items[fd];
        bool abandons =
            connection->abandoned_epoch == epoch && connection->abandoned >= abandoned;

        if (connection->inode && (abandons || connection_unread((int)fd) >= unread)) {
            connection_cut((int)fd);
            connection->abandoned = 0;
            count++;
        }
    }
    all->shared.cut += count;
    return count;
}
