/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's standard output is a pipe that is read until the last listener is
 * announced; its log is a file.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <hubcache/error.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { END_MS = 60 * 1000 };

static struct world *world_new(void)
{
    struct world *world = calloc(1, sizeof *world);

    assert_non_null(world);
    world->dir = temp_dir_make();
    world->hub = test_hub_start(&(struct test_hub_options){0});
    test_hub_add(world->hub, "config.json", "{}\n", 3, false);
    test_hub_add_generated(world->hub, "weights.bin", WEIGHTS_SIZE, 1, true);
    test_hub_commit(world->hub, "models/org/name", "main", world->commit);
    return world;
}

int world_setup_empty(void **state)
{
    *state = world_new();
    return 0;
}

int world_setup(void **state)
{
    struct world *world = world_new();

    *state = world;
    world_serve(world, (const char *const[]){NULL});
    return 0;
}

int world_teardown(void **state)
{
    struct world *world = *state;

    world_end_replica(world);
    test_hub_stop(world->hub);
    temp_dir_remove(world->dir);
    free(world);
    return 0;
}

/* In the child. It inherits no variable that concerns the Hub. */
static void become_server(struct world *world, const char *const *flags, int out)
{
    HC_AUTO_FREE char *cache = temp_dir_path(world->dir, "cache");
    HC_AUTO_FREE char *log = temp_dir_path(world->dir, "log");
    const char *arguments[FLAGS_MAX + 12] = {HUBCACHED, "--cache-dir", cache,
                                             "--endpoint", test_hub_endpoint(world->hub)};
    int log_fd = open(log, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    char *mutable[FLAGS_MAX + 12];
    size_t count = 5;

    for (size_t i = 0; flags[i] && i < FLAGS_MAX; i++)
        arguments[count++] = flags[i];
    memcpy(mutable, arguments, sizeof mutable);
    if (world->descriptors > 0)
        (void)setrlimit(RLIMIT_NOFILE,
                        &(struct rlimit){world->descriptors, world->descriptors});
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that aborts leaves nothing */
    /* NOLINTBEGIN(concurrency-mt-unsafe): a child has one thread */
    (void)unsetenv("HF_TOKEN");
    (void)unsetenv("HF_HUB_OFFLINE");
    (void)setenv("HF_HOME", world->dir, 1);
    if (world->preload) {
        HC_AUTO_FREE char *fifo = temp_dir_path(world->dir, "hang");
        HC_AUTO_FREE char *probe = temp_dir_path(world->dir, "hang-probe");

        (void)setenv("LD_PRELOAD", world->preload, 1);
        (void)setenv("HANGING_VOLUME", fifo, 1);
        (void)setenv("HANGING_PROBE", probe, 1);
        if (world->hanging) {
            (void)setenv("SLOW_VOLUME", cache, 1);
            (void)setenv("HANGING_PART", world->hanging, 1);
        }
    }
    /* NOLINTEND(concurrency-mt-unsafe) */
    (void)dup2(out, STDOUT_FILENO);
    if (world->log_fd > 0)
        log_fd = world->log_fd;
    if (log_fd >= 0)
        (void)dup2(log_fd, STDERR_FILENO);
    (void)execv(HUBCACHED, mutable);
    _exit(127);
}

/* The end of the pipe from which its standard output can be read. */
static int start_server(struct world *world, const char *const *flags)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    world->server = fork();
    assert_true(world->server >= 0);
    if (world->server == 0)
        become_server(world, flags, ends[1]);
    (void)close(ends[1]);
    return ends[0];
}

static size_t count_listeners(const char *const *flags)
{
    size_t count = 0;
    size_t http = 0;

    for (size_t i = 0; flags[i]; i++) {
        count += strcmp(flags[i], "--listen") == 0;
        http += strcmp(flags[i], "--http-listen") == 0;
    }
    return (count > 0 ? count : 1) + http;
}

void world_serve(struct world *world, const char *const *flags)
{
    const char *all[FLAGS_MAX] = {"--listen", "127.0.0.1:0"};
    size_t used = 0;
    size_t expected = count_listeners(flags);
    HC_AUTO_FCLOSE FILE *out = NULL;
    bool has_listener = false;

    for (size_t i = 0; flags[i]; i++)
        has_listener = has_listener || strcmp(flags[i], "--listen") == 0;
    for (size_t i = 0; flags[i]; i++)
        all[i + (has_listener ? 0 : 2)] = flags[i];
    out = fdopen(start_server(world, all), "r");
    assert_non_null(out);
    for (size_t i = 0; i < expected; i++) {
        char *line = world->lines + used;

        if (!out || !fgets(line, (int)(sizeof world->lines - used), out))
            fail_msg("the server did not start");
        used += strlen(line);
    }
    assert_int_equal(sscanf(world->lines, "listening %255s", world->address), 1);
    world->client = rpc_client_open(world->address);
}

void world_serve_replica(const struct world *world, struct world *replica,
                         const char *const *flags)
{
    *replica = *world;
    replica->server = 0;
    replica->client = NULL;
    world_serve(replica, flags);
}

void world_end_replica(struct world *replica)
{
    if (replica->client)
        rpc_client_close(replica->client);
    replica->client = NULL;
    if (replica->server <= 0)
        return;
    (void)kill(replica->server, SIGKILL);
    (void)world_await_end(replica);
}

int world_run_server(struct world *world, const char *const *flags)
{
    int out = start_server(world, flags);
    HC_AUTO_FCLOSE FILE *stream = fdopen(out, "r");
    size_t got = stream ? fread(world->lines, 1, sizeof world->lines - 1, stream) : 0;

    world->lines[got] = '\0';
    return world_await_end(world);
}

void world_stop_server(struct world *world)
{
    assert_int_equal(kill(world->server, SIGTERM), 0);
}

/* SIGKILL ends a server that does not end by itself. True: it was needed. */
static bool server_must_be_killed(pid_t server)
{
    HC_AUTO_CLOSE int fd = (int)syscall(SYS_pidfd_open, server, 0);
    struct pollfd end = {.fd = fd, .events = POLLIN};

    assert_true(fd >= 0);
    return poll(&end, 1, END_MS) == 0 && kill(server, SIGKILL) == 0;
}

int world_await_end(struct world *world)
{
    bool is_killed = server_must_be_killed(world->server);
    int status = 0;

    assert_int_equal(waitpid(world->server, &status, 0), world->server);
    world->server = 0;
    if (is_killed)
        fail_msg("the server did not end within %d ms", END_MS);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

FILE *world_open_log(struct world *world)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    world->log_fd = ends[1];
    return fdopen(ends[0], "r");
}

void log_await_line(FILE *log, const char *text, char *line, int size)
{
    do {
        if (!fgets(line, size, log))
            fail_msg("no line has '%s'", text);
    } while (!strstr(line, text));
}

char *world_log(struct world *world)
{
    if (world->server > 0) {
        world_stop_server(world);
        (void)world_await_end(world);
    }
    return temp_dir_read(world->dir, "log");
}

unsigned long world_process(struct world *world, const char *key)
{
    char path[64];
    char line[256];
    size_t length = strlen(key);
    HC_AUTO_FCLOSE FILE *file = NULL;

    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)world->server);
    file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, length) == 0 && line[length] == ':')
            return strtoul(line + length + 1, NULL, 10);
    }
    fail_msg("no %s in %s", key, path);
    return 0;
}

int world_connect_http(const struct world *world, const char *from)
{
    const char *port = strrchr(strstr(world->lines, "listening http://"), ':') + 1;
    struct sockaddr_in source = {.sin_family = AF_INET};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(inet_pton(AF_INET, from, &source.sin_addr), 1);
    if (fd < 0 || bind(fd, (struct sockaddr *)&source, sizeof source) < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail_msg("no connection from %s", from);
    return fd;
}

char *world_get(struct world *world, const char *path)
{
    HC_AUTO_CLOSE int fd = world_connect_http(world, "127.0.0.1");
    char *answer = calloc(1, 65536);
    size_t used = 0;
    ssize_t got;

    assert_non_null(answer);
    (void)dprintf(fd, "GET %s HTTP/1.0\r\nHost: here\r\n\r\n", path);
    while ((got = read(fd, answer + used, 65535 - used)) > 0)
        used += (size_t)got;
    return answer;
}

unsigned world_gauge(struct world *world, const char *name)
{
    HC_AUTO_FREE char *page = world_get(world, "/metrics");
    const char *line = strstr(page, name);

    assert_non_null(line);
    return (unsigned)strtoul(line + strlen(name), NULL, 10);
}

/* --- calls ----------------------------------------------------------------------------
 */

static char *fixture_unconst(const char *text)
{
    char *lent;

    memcpy(&lent, &text, sizeof lent);
    return lent;
}

Hubcache__V1__ResolveFileRequest file_request(const char *filename)
{
    Hubcache__V1__ResolveFileRequest request;

    hubcache__v1__resolve_file_request__init(&request);
    request.repo_id = fixture_unconst("org/name");
    request.filename = fixture_unconst(filename);
    return request;
}

Hubcache__V1__ResolveSnapshotRequest snapshot_request(void)
{
    Hubcache__V1__ResolveSnapshotRequest request;

    hubcache__v1__resolve_snapshot_request__init(&request);
    request.repo_id = fixture_unconst("org/name");
    return request;
}

struct rpc_call *start_file(struct world *world,
                            const Hubcache__V1__ResolveFileRequest *request)
{
    return rpc_call_start(world->client, &(struct rpc_request){
                                             .path = METHOD("ResolveFile"),
                                             .message = &request->base,
                                         });
}

struct rpc_call *ask_file(struct world *world,
                          const Hubcache__V1__ResolveFileRequest *request)
{
    struct rpc_call *call = start_file(world, request);

    (void)rpc_call_await(call);
    return call;
}

void assert_answers_file(struct world *world, struct rpc_call *call, const char *filename,
                         Hubcache__V1__Source source)
{
    ProtobufCMessage *message;
    const Hubcache__V1__ResolveFileResponse *answer;
    HC_AUTO_FREE char *expected = NULL;
    char path[512];

    if (rpc_call_await(call) != HC_STATUS_OK)
        fail_msg("%s: %s", rpc_call_reason(call), rpc_call_error(call));
    message = rpc_call_message(call, 0, &hubcache__v1__resolve_file_response__descriptor);
    answer = (const void *)message;
    (void)snprintf(path, sizeof path, "cache/models--org--name/snapshots/%s/%s",
                   world->commit, filename);
    expected = temp_dir_path(world->dir, path);
    assert_string_equal(answer->file->path, expected);
    assert_string_equal(answer->file->cache_path, strstr(expected, "models--"));
    assert_string_equal(answer->file->filename, filename);
    assert_string_equal(answer->file->commit_hash, world->commit);
    assert_int_equal(answer->file->source, source);
    assert_true(temp_dir_has(world->dir, path));
    protobuf_c_message_free_unpacked(message, NULL);
}
