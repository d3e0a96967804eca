/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets that listen, the thread that accepts, and the count of open connections.
 *
 * The count has a trap: gRPC owns the descriptor of an accepted connection, and does not
 * report when it closes it. So a connection is known by the number of its descriptor and
 * the inode of its socket: when the number has another inode, or none, the connection is
 * over. The count is made only at the limit and for the metrics; the lock guards it.
 *
 * The number is also all that a call tells about its connection, and a call can outlive
 * its connection by some time. If the number meant another user's connection by then, the
 * call would be that user's. So a number belongs to one peer, TCP or one user, for the
 * life of the process: a connection that gets a number of another peer is moved to a
 * number that is free for it. When no such number is left, the number belongs to no peer.
 */
#include "listener.h"

#include <base/error.h>
#include <base/text.h>
#include <hubcache/cancellation.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
    SOCKETS_MAX = 32,
    BATCH = 64,          /* accepted from one socket before the next socket */
    PAUSE_MS = 100,      /* after an accept() that lacked descriptors or memory */
    COUNT_EVERY_MS = 10, /* at the limit connections are counted at most so often */
    UNACKED_MS = 20000,  /* as long as gRPC waits for the answer to its ping */
    DESCRIPTORS_KEPT = 256
};

/* To which peer a number belongs; from 0 on it is a user's. */
enum { PEER_NONE = -3, PEER_MIXED = -2, PEER_TCP = -1 };

struct connection {
    ino_t inode;  /* of its socket; 0: no connection has this number */
    int64_t peer; /* the number's, also when no connection has it */
    unsigned abandoned, abandoned_epoch;
};

struct hc_listener {
    bool has_path;
    unsigned connections_max;
    void (*accepted)(void *ctx, int fd);
    void *ctx;
    struct {
        int fd;
        char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* "" unless unix: */
        ino_t inode;                                          /* of the path */
    } sockets[SOCKETS_MAX];
    size_t count;
    pthread_t thread;
    bool is_started;
    int stop_fd;
    int64_t counted_ms; /* the thread's */
    struct {
        pthread_mutex_t lock;
        struct connection *connections; /* by their descriptors' numbers */
        size_t room;
        unsigned open; /* an upper bound: a count finds the closed ones */
        uint64_t refused, cut;
    } shared;
};

/* --- addresses -----------------------------------------------------------------------
 */

int hc_listener_look_up(const char *address, const char *option, struct addrinfo **found,
                        char host[HC_LISTENER_HOST_MAX], struct hc_error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    const char *colon = strrchr(address, ':');
    bool is_bracketed = *address == '[';
    int length = colon ? (int)(colon - address) - 2 * is_bracketed : -1;
    int failed;

    *found = NULL;
    if (length < 0 ||
        hc_format(host, HC_LISTENER_HOST_MAX, "%.*s", length, address + is_bracketed) < 0)
        return hc_fail_field(err, HC_INVALID_OPTIONS, option, "%s: '%s' is not host:port",
                             option, address);
    failed = getaddrinfo(*host ? host : NULL, colon + 1, &hints, found);
    if (failed != 0 || !*found)
        return hc_fail_field(err, HC_INVALID_OPTIONS, option, "%s: '%s': %s", option,
                             address, gai_strerror(failed));
    return 0;
}

static int fail_to_listen(const char *address, struct hc_error *err)
{
    return hc_fail(err, HC_INTERNAL, "cannot listen on %s: %s", address,
                   strerrordesc_np(errno));
}

/*
 * Binds and listens. -1: errno says why. Accepted sockets inherit these options. As
 * gRPC's own listener does: small answers are sent at once, and a peer that no longer
 * acknowledges is given up (TCP_USER_TIMEOUT, gRPC's A18).
 */
static int socket_open(const struct sockaddr *address, socklen_t size)
{
    HC_AUTO_CLOSE int fd =
        socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int on = 1, off = 0;
    const unsigned unacked_ms = UNACKED_MS;
    int opened;

    if (fd < 0)
        return -1;
    if (address->sa_family != AF_UNIX) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms,
                         sizeof unacked_ms);
    }
    if (address->sa_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, address, size) < 0 || listen(fd, SOMAXCONN) < 0)
        return -1;
    opened = fd;
    fd = -1;
    return opened;
}

static bool socket_keep(struct hc_listener *listener, int fd)
{
    if (listener->count == SOCKETS_MAX) {
        (void)close(fd);
        errno = EMFILE;
        return false;
    }
    listener->sockets[listener->count++].fd = fd; /* the rest is zero */
    return true;
}

static in_port_t *socket_port(struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET6)
        return &((struct sockaddr_in6 *)address)->sin6_port;
    return &((struct sockaddr_in *)address)->sin_port;
}

static bool is_wildcard(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET6)
        return IN6_IS_ADDR_UNSPECIFIED(
            &((const struct sockaddr_in6 *)address)->sin6_addr);
    return ((const struct sockaddr_in *)address)->sin_addr.s_addr == htonl(INADDR_ANY);
}

/* gRPC takes a wildcard for both families. -1: the machine has no IPv6. */
static int socket_open_any(in_port_t port)
{
    const struct sockaddr_in6 any = {.sin6_family = AF_INET6,
                                     .sin6_addr = IN6ADDR_ANY_INIT,
                                     .sin6_port = port};

    return socket_open((const struct sockaddr *)&any, sizeof any);
}

/* Adds one address of a name. `*port`: that of the first address, or 0 before that. */
static int listener_add_address(struct hc_listener *listener,
                                const struct addrinfo *found, in_port_t *port)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t size = found->ai_addrlen;
    int fd = -1;

    memcpy(&address, found->ai_addr, size);
    if (*port)
        *socket_port(&address) = *port;
    if (is_wildcard(&address))
        fd = socket_open_any(*socket_port(&address));
    if (fd < 0 && !(is_wildcard(&address) && errno == EADDRINUSE))
        fd = socket_open((struct sockaddr *)&address, size);
    if (fd < 0 || !socket_keep(listener, fd))
        return -1;
    size = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &size) == 0)
        *port = *socket_port(&address);
    return 0;
}

/* localhost is 127.0.0.1 and ::1: a machine may lack one, so one that works is enough. */
static int listener_add_host(struct hc_listener *listener, const char *address,
                             char *bound, size_t size, struct hc_error *err)
{
    char host[HC_LISTENER_HOST_MAX];
    struct addrinfo *found;
    in_port_t port = 0;
    size_t before = listener->count;
    int failed = 0;

    if (hc_listener_look_up(address, "listen", &found, host, err) < 0)
        return -1;
    for (struct addrinfo *each = found; each && failed != EADDRINUSE;
         each = each->ai_next) {
        if (listener_add_address(listener, each, &port) < 0)
            failed = errno;
        else if (is_wildcard((struct sockaddr_storage *)each->ai_addr))
            break;
    }
    freeaddrinfo(found);
    errno = failed;
    if (listener->count == before || failed == EADDRINUSE)
        return fail_to_listen(address, err);
    if (hc_format(bound, size, "%.*s:%u", (int)(strrchr(address, ':') - address), address,
                  ntohs(port)) < 0)
        return hc_fail(err, HC_INTERNAL, "the address is too long");
    return 0;
}

/* A server that still listens there accepts; a socket that is left behind refuses. */
static bool address_is_in_use(const struct sockaddr_un *address)
{
    HC_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) == 0;
}

/* Removes a socket that an earlier server has left, and no other kind of file. */
static int listener_add_path(struct hc_listener *listener, const char *path,
                             struct hc_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t added = listener->count;
    struct stat info;
    int fd;

    if (!*path || hc_format(address.sun_path, sizeof address.sun_path, "%s", path) < 0)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "listen",
                             "listen: 'unix:%s' is no path of a socket", path);
    if (address_is_in_use(&address))
        return hc_fail(err, HC_INTERNAL, "unix:%s: another server listens there", path);
    if (lstat(path, &info) == 0 && S_ISSOCK(info.st_mode))
        (void)unlink(path);
    fd = socket_open((struct sockaddr *)&address, sizeof address);
    if (fd < 0 || !socket_keep(listener, fd))
        return fail_to_listen(path, err);
    listener->has_path = true;
    memcpy(listener->sockets[added].path, address.sun_path, sizeof address.sun_path);
    if (lstat(path, &info) == 0)
        listener->sockets[added].inode = info.st_ino;
    return 0;
}

int hc_listener_add(struct hc_listener *listener, const char *address, char *bound,
                    size_t size, struct hc_error *err)
{
    const char *path = address + strlen("unix:");

    if (!hc_text_starts(address, "unix:"))
        return listener_add_host(listener, address, bound, size, err);
    if (hc_text_starts(path, "//"))
        path += 2;
    if (listener_add_path(listener, path, err) < 0)
        return -1;
    if (hc_format(bound, size, "%s", address) < 0)
        return hc_fail(err, HC_INTERNAL, "the address is too long");
    return 0;
}

/* --- connections ---------------------------------------------------------------------
 */

/* 0: no socket. The number of a closed socket may be a file's by now. */
static ino_t socket_inode(int fd)
{
    struct stat info;

    return fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode) ? info.st_ino : 0;
}

/* The lock is held here and in the functions up to connections_are_full(). */
static void connections_count(struct hc_listener *listener)
{
    listener->shared.open = 0;
    for (size_t fd = 0; fd < listener->shared.room; fd++) {
        ino_t *inode = &listener->shared.connections[fd].inode;

        if (*inode && socket_inode((int)fd) != *inode)
            *inode = 0;
        listener->shared.open += *inode != 0;
    }
}

/* Descriptors are small numbers, so an array by number stays small. */
static bool connections_make_room(struct hc_listener *listener, size_t fd)
{
    size_t room = listener->shared.room ? listener->shared.room : 64;
    struct connection *connections;

    while (room <= fd)
        room *= 2;
    if (room == listener->shared.room)
        return true;
    connections = reallocarray(listener->shared.connections, room, sizeof *connections);
    if (!connections)
        return false;
    for (size_t i = listener->shared.room; i < room; i++)
        connections[i] = (struct connection){.peer = PEER_NONE};
    listener->shared.connections = connections;
    listener->shared.room = room;
    return true;
}

static bool connections_are_full(struct hc_listener *listener)
{
    int64_t now_ms = hc_monotonic_ms();

    if (listener->shared.open < listener->connections_max)
        return false;
    if (now_ms - listener->counted_ms >= COUNT_EVERY_MS) {
        connections_count(listener);
        listener->counted_ms = now_ms;
    }
    return listener->shared.open >= listener->connections_max;
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

/* Takes the number for the peer. False: it belongs to another one, or memory is short. */
static bool connections_claim(struct hc_listener *listener, int fd, int64_t peer)
{
    struct connection *connection;

    if (!connections_make_room(listener, (size_t)fd))
        return false;
    connection = &listener->shared.connections[fd];
    if (connection->peer == PEER_NONE)
        connection->peer = peer;
    return connection->peer == peer;
}

/* Moves the connection to a number of its peer; `*fd` is the connection's in any case. */
static bool connections_move(struct hc_listener *listener, int *fd, int64_t peer)
{
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, *fd + 1);

    while (moved >= 0 && !connections_claim(listener, moved, peer)) {
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

/* False: there are too many, or memory is short. May replace `*fd`: a moved one. */
static bool connections_add(struct hc_listener *listener, int *fd, int64_t peer)
{
    struct connection *connection;
    HC_LOCKED(&listener->shared.lock);

    if (connections_are_full(listener) || !connections_make_room(listener, (size_t)*fd)) {
        listener->shared.refused++;
        return false;
    }
    if (!connections_claim(listener, *fd, peer) && !connections_move(listener, fd, peer))
        listener->shared.connections[*fd].peer = PEER_MIXED;
    connection = &listener->shared.connections[*fd];
    listener->shared.open += connection->inode == 0;
    connection->inode = socket_inode(*fd);
    connection->abandoned = 0;
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

/*
 * 1: accepted or refused one; 0: there is none; -1: this process is short of something.
 */
static int listener_accept_one(struct hc_listener *listener, int from)
{
    int fd = accept4(from, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0 && (errno == EAGAIN))
        return 0;
    if (fd < 0 &&
        (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
        return -1;
    if (fd < 0)
        return 1; /* that connection is broken; there may be others */
    if (connections_add(listener, &fd, socket_peer(fd)))
        listener->accepted(listener->ctx, fd);
    else
        (void)close(fd);
    return 1;
}

/* One busy socket must not keep the others from being served. */
static int listener_accept_some(struct hc_listener *listener, int from)
{
    int accepted = 1;

    for (int n = 0; n < BATCH && accepted > 0; n++)
        accepted = listener_accept_one(listener, from);
    return accepted;
}

/* While it pauses it waits for the stop alone: poll() would report the same sockets. */
static void *listener_run(void *argument)
{
    struct hc_listener *listener = argument;
    struct pollfd events[SOCKETS_MAX + 1] = {{.fd = listener->stop_fd, .events = POLLIN}};
    bool must_pause = false;

    for (size_t i = 0; i < listener->count; i++)
        events[i + 1] = (struct pollfd){.fd = listener->sockets[i].fd, .events = POLLIN};
    while (!(events[0].revents & POLLIN)) {
        nfds_t count = must_pause ? 1 : (nfds_t)listener->count + 1;
        int ready = poll(events, count, must_pause ? PAUSE_MS : -1);

        must_pause = false;
        for (nfds_t i = 1; ready > 0 && i < count; i++) {
            if (events[i].revents && listener_accept_some(listener, events[i].fd) < 0)
                must_pause = true;
        }
    }
    return NULL;
}

/* --- public --------------------------------------------------------------------------
 */

unsigned hc_listener_address(const struct hc_listener *listener, size_t number,
                             struct sockaddr_storage *address)
{
    socklen_t size = sizeof *address;

    if (number >= listener->count ||
        getsockname(listener->sockets[number].fd, (struct sockaddr *)address, &size) < 0)
        return 0;
    if (address->ss_family == AF_INET && is_wildcard(address))
        ((struct sockaddr_in *)address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (address->ss_family == AF_INET6 && is_wildcard(address))
        ((struct sockaddr_in6 *)address)->sin6_addr =
            (struct in6_addr)IN6ADDR_LOOPBACK_INIT;
    return size;
}

bool hc_listener_has_path(const struct hc_listener *listener)
{
    return listener->has_path;
}

bool hc_listener_uid(struct hc_listener *listener, int fd, uid_t *uid)
{
    int64_t peer = PEER_NONE;

    if (fd >= 0) {
        HC_LOCKED(&listener->shared.lock);

        if ((size_t)fd < listener->shared.room)
            peer = listener->shared.connections[fd].peer;
    }
    if (peer < 0)
        return false;
    *uid = (uid_t)peer;
    return true;
}

void hc_listener_count(struct hc_listener *listener, struct hc_listener_counts *counts)
{
    HC_LOCKED(&listener->shared.lock);

    connections_count(listener);
    counts->open = listener->shared.open;
    counts->refused = listener->shared.refused;
    counts->cut = listener->shared.cut;
}

void hc_listener_count_abandoned(struct hc_listener *listener, int fd, unsigned epoch)
{
    struct connection *connection;
    HC_LOCKED(&listener->shared.lock);

    if (fd < 0 || (size_t)fd >= listener->shared.room)
        return;
    connection = &listener->shared.connections[fd];
    if (connection->abandoned_epoch != epoch)
        connection->abandoned = 0;
    connection->abandoned_epoch = epoch;
    connection->abandoned++;
}

unsigned hc_listener_cut(struct hc_listener *listener, size_t unread, unsigned abandoned,
                         unsigned epoch)
{
    unsigned count = 0;
    HC_LOCKED(&listener->shared.lock);

    connections_count(listener);
    for (size_t fd = 0; fd < listener->shared.room; fd++) {
        struct connection *connection = &listener->shared.connections[fd];
        bool abandons =
            connection->abandoned_epoch == epoch && connection->abandoned >= abandoned;

        if (connection->inode && (abandons || connection_unread((int)fd) >= unread)) {
            connection_cut((int)fd);
            connection->abandoned = 0;
            count++;
        }
    }
    listener->shared.cut += count;
    return count;
}

void hc_listener_raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* a sandbox may refuse: then it stays */
}

/*
 * Keeps a quarter of the descriptors for files and the Hub; 256, or half, if there are
 * few.
 */
static unsigned listener_limit_connections(unsigned wanted)
{
    struct rlimit limit;
    rlim_t kept;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return wanted;
    kept = limit.rlim_cur / 4 > DESCRIPTORS_KEPT ? limit.rlim_cur / 4 : DESCRIPTORS_KEPT;
    if (kept > limit.rlim_cur / 2)
        kept = limit.rlim_cur / 2;
    return wanted < limit.rlim_cur - kept ? wanted : (unsigned)(limit.rlim_cur - kept);
}

struct hc_listener *hc_listener_new(unsigned connections_max,
                                    void (*accepted)(void *ctx, int fd), void *ctx,
                                    struct hc_error *err)
{
    struct hc_listener *listener = calloc(1, sizeof *listener);
    int stop_fd = eventfd(0, EFD_CLOEXEC);

    if (!listener || stop_fd < 0) {
        free(listener);
        hc_auto_close(&stop_fd);
        (void)hc_fail_memory(err);
        return NULL;
    }
    listener->connections_max = listener_limit_connections(connections_max);
    listener->accepted = accepted;
    listener->ctx = ctx;
    listener->stop_fd = stop_fd;
    (void)pthread_mutex_init(&listener->shared.lock, NULL);
    return listener;
}

int hc_listener_start(struct hc_listener *listener, struct hc_error *err)
{
    if (pthread_create(&listener->thread, NULL, listener_run, listener) != 0)
        return hc_fail(err, HC_INTERNAL, "no thread to accept connections");
    listener->is_started = true;
    return 0;
}

/* Removes the path, unless another server has bound a socket there meanwhile. */
static void listener_remove_path(const struct hc_listener *listener, size_t number)
{
    const char *path = listener->sockets[number].path;
    struct stat info;

    if (*path && lstat(path, &info) == 0 &&
        info.st_ino == listener->sockets[number].inode && S_ISSOCK(info.st_mode))
        (void)unlink(path);
}

void hc_listener_stop(struct hc_listener *listener)
{
    if (listener->is_started) {
        (void)eventfd_write(listener->stop_fd, 1);
        (void)pthread_join(listener->thread, NULL);
        listener->is_started = false;
    }
    while (listener->count > 0) {
        listener_remove_path(listener, --listener->count);
        (void)close(listener->sockets[listener->count].fd);
    }
}

void hc_listener_close(struct hc_listener *listener)
{
    if (!listener)
        return;
    hc_listener_stop(listener);
    (void)pthread_mutex_destroy(&listener->shared.lock);
    (void)close(listener->stop_fd);
    free(listener->shared.connections);
    free(listener);
}
