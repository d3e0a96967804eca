/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets that listen, and the thread that accepts. What has been accepted is in
 * connections.c.
 */
#include "listener.h"

#include "connections.h"

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
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
    SOCKETS_MAX = 32,
    BATCH = 64,         /* accepted from one socket before the next socket */
    PAUSE_MS = 100,     /* after an accept() that lacked descriptors or memory */
    UNACKED_MS = 20000, /* as long as gRPC waits for the answer to its ping */
    DESCRIPTORS_KEPT = 256
};

struct hc_listener {
    bool has_path, is_kept_local;
    struct hc_connections *connections;
    void (*accepted)(void *ctx, int fd, unsigned open);
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

static bool is_loopback(const struct sockaddr *address)
{
    struct sockaddr_in6 ipv6;
    struct sockaddr_in ipv4;

    if (address->sa_family == AF_INET) {
        memcpy(&ipv4, address, sizeof ipv4);
        return ntohl(ipv4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    memcpy(&ipv6, address, sizeof ipv6);
    return IN6_IS_ADDR_LOOPBACK(&ipv6.sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr) &&
            ipv6.sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
}

/* Each address counts, for each is bound. */
static int addresses_check_local(const char *address, const struct addrinfo *found,
                                 struct hc_error *err)
{
    for (; found; found = found->ai_next) {
        if (!is_loopback(found->ai_addr))
            return hc_fail_field(err, HC_INVALID_OPTIONS, "listen",
                                 "listen: other machines would reach '%s' in clear text: "
                                 "give tls-cert and tls-key, or allow it with "
                                 "allow-plaintext",
                                 address);
    }
    return 0;
}

int hc_listener_check_local(const char *address, struct hc_error *err)
{
    char host[HC_LISTENER_HOST_MAX];
    struct addrinfo *found;
    int checked;

    if (hc_text_starts(address, "unix:"))
        return 0;
    if (hc_listener_look_up(address, "listen", &found, host, err) < 0)
        return -1;
    checked = addresses_check_local(address, found, err);
    freeaddrinfo(found);
    return checked;
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
    if (listener->is_kept_local && addresses_check_local(address, found, err) < 0) {
        freeaddrinfo(found);
        return -1;
    }
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

static int path_read(const char *path, struct sockaddr_un *address, struct hc_error *err)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (*path && hc_format(address->sun_path, sizeof address->sun_path, "%s", path) >= 0)
        return 0;
    return hc_fail_field(err, HC_INVALID_OPTIONS, "listen",
                         "listen: 'unix:%s' is no path of a socket", path);
}

static bool address_is_path(const char *address)
{
    return hc_text_starts(address, "unix:");
}

/* The path of "unix:/path" or "unix:///path". */
static const char *address_path(const char *address)
{
    const char *path = address + strlen("unix:");

    return hc_text_starts(path, "//") ? path + 2 : path;
}

/* Removes a socket that an earlier server has left, and no other kind of file. */
static int listener_add_path(struct hc_listener *listener, const char *path,
                             struct hc_error *err)
{
    struct sockaddr_un address;
    size_t added = listener->count;
    struct stat info;
    int fd;

    if (path_read(path, &address, err) < 0)
        return -1;
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

void hc_listener_keep_local(struct hc_listener *listener)
{
    listener->is_kept_local = true;
}

int hc_listener_add(struct hc_listener *listener, const char *address, char *bound,
                    size_t size, struct hc_error *err)
{
    if (!address_is_path(address))
        return listener_add_host(listener, address, bound, size, err);
    if (listener_add_path(listener, address_path(address), err) < 0)
        return -1;
    if (hc_format(bound, size, "%s", address) < 0)
        return hc_fail(err, HC_INTERNAL, "the address is too long");
    return 0;
}

/* --- the thread ----------------------------------------------------------------------
 */

/*
 * 1: accepted or refused one; 0: there is none; -1: this process is short of something.
 */
static int listener_accept_one(struct hc_listener *listener, int from)
{
    int fd = accept4(from, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    unsigned open;

    if (fd < 0 && (errno == EAGAIN))
        return 0;
    if (fd < 0 &&
        (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
        return -1;
    if (fd < 0)
        return 1; /* that connection is broken; there may be others */
    if (hc_connections_add(listener->connections, &fd, &open))
        listener->accepted(listener->ctx, fd, open);
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

int hc_listener_check(const char *address, const char *option, struct hc_error *err)
{
    char host[HC_LISTENER_HOST_MAX];
    struct sockaddr_un ignored;
    struct addrinfo *found;

    if (address_is_path(address))
        return path_read(address_path(address), &ignored, err);
    if (hc_listener_look_up(address, option, &found, host, err) < 0)
        return -1;
    freeaddrinfo(found);
    return 0;
}

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

struct hc_connections *hc_listener_connections(const struct hc_listener *listener)
{
    return listener->connections;
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
                                    void (*accepted)(void *ctx, int fd, unsigned open),
                                    void *ctx, struct hc_error *err)
{
    HC_AUTO(hc_listener) *listener = calloc(1, sizeof *listener);

    if (!listener) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    listener->accepted = accepted;
    listener->ctx = ctx;
    listener->stop_fd = eventfd(0, EFD_CLOEXEC);
    listener->connections =
        hc_connections_new(listener_limit_connections(connections_max));
    if (listener->stop_fd < 0 || !listener->connections) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    return hc_take(&listener);
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
    hc_connections_free(listener->connections);
    hc_auto_close(&listener->stop_fd);
    free(listener);
}
