/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: hc_client_read_file() and hc_client_save_file() hand out each byte of a
 * file once, in order, whatever happens to the connection; they continue what an earlier
 * call has saved; and they notice bytes that are not those of the file, be it the disk or
 * the saved bytes that are wrong. Connections are cut by a proxy.
 */
#include "hub_blob.h"
#include "random.h"
#include "service_fixture.h"

#include <base/auto.h>
#include <hubcache-client/client.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MIB = 1024 * 1024,
    LFS_SIZE = 6 * MIB + 5,
    GIT_SIZE = 3 * MIB + 1,
    SEED = 3,
    CUTS_MIN = 20, /* more than the attempts of a call without progress */
    CUT_BYTES_MIN = 300 * 1024,
    CUT_BYTES_MAX = 900 * 1024
};

/* The bytes of a file as they arrive. */
struct received {
    struct hub_blob *expected;
    uint64_t next; /* in the file */
    unsigned begun;
    uint64_t stop_at; /* 0: never */
};

static bool receive_begin(void *ctx, const struct hc_client_file *file)
{
    struct received *received = ctx;

    received->begun++;
    assert_int_equal(file->size_bytes, received->expected->size);
    return true;
}

static bool receive_bytes(void *ctx, const void *bytes, size_t count)
{
    struct received *received = ctx;
    HC_AUTO_FREE unsigned char *expected = malloc(count > 0 ? count : 1);

    assert_non_null(expected);
    assert_true(count <= received->expected->size - received->next);
    hub_blob_read(received->expected, received->next, expected, count);
    if (memcmp(bytes, expected, count) != 0)
        fail_msg("wrong bytes behind %llu", (unsigned long long)received->next);
    received->next += count;
    return received->stop_at == 0 || received->next < received->stop_at;
}

static int read_setup(void **state)
{
    struct world *world;

    (void)world_setup_empty(state);
    world = *state;
    test_hub_add_generated(world->hub, "lfs", LFS_SIZE, SEED, true);
    test_hub_add_generated(world->hub, "git", GIT_SIZE, SEED, false);
    test_hub_add(world->hub, "empty", "", 0, false);
    test_hub_commit(world->hub, "models/org/name", "main", world->commit);
    world_serve(world, (const char *const[]){"--http-listen", "127.0.0.1:0", NULL});
    return 0;
}

static struct hc_client *client_open_at(const char *address)
{
    const struct hc_client_options options = {.server = address, .timeout_ms = 60000};
    struct hc_error err;
    struct hc_client *client = hc_client_open(&options, &err);

    if (!client)
        fail_msg("%s", err.message);
    return client;
}

static struct hc_client_read_request read_request(const char *filename,
                                                  struct received *received)
{
    return (struct hc_client_read_request){
        .file = {.repo = {.id = "org/name"}, .filename = filename},
        .begin = receive_begin,
        .bytes = receive_bytes,
        .ctx = received,
    };
}

/* Reads at `address`, and checks each byte. The reason of the failure, or OK. */
static enum hc_reason read_at(const char *address, const char *filename, uint64_t offset,
                              uint64_t length, struct received *received)
{
    struct hc_client *client = client_open_at(address);
    struct hc_client_read_request request = read_request(filename, received);
    struct hc_client_file file;
    struct hc_error err = {.reason = HC_OK};

    request.offset = received->next = offset;
    request.length = length;
    if (hc_client_read_file(client, &request, &file, &err) == 0) {
        assert_string_equal(file.filename, filename);
        hc_client_file_clear(&file);
    } else {
        print_message("%s: %s\n", hc_reason_name(err.reason), err.message);
    }
    hc_client_close(client);
    return err.reason;
}

static struct received received_new(uint64_t size)
{
    return (struct received){.expected = hub_blob_generated(size, SEED, false)};
}

/* ---- reading ------------------------------------------------------------------------
 */

static void files_of_both_kinds_of_hash_are_read_and_verified(void **state)
{
    const struct world *world = *state;
    struct received lfs = received_new(LFS_SIZE), git = received_new(GIT_SIZE),
                    none = received_new(0);

    assert_int_equal(read_at(world->address, "lfs", 0, 0, &lfs), HC_OK);
    assert_int_equal(read_at(world->address, "git", 0, 0, &git), HC_OK);
    assert_int_equal(read_at(world->address, "empty", 0, 0, &none), HC_OK);
    assert_int_equal(lfs.next, LFS_SIZE);
    assert_int_equal(git.next, GIT_SIZE);
    assert_int_equal(none.begun, 1);
    hub_blob_free(lfs.expected);
    hub_blob_free(git.expected);
    hub_blob_free(none.expected);
}

static void a_range_is_read_and_ends_where_it_should(void **state)
{
    const struct world *world = *state;
    struct received lfs = received_new(LFS_SIZE);

    assert_int_equal(read_at(world->address, "lfs", 1, 2 * MIB, &lfs), HC_OK);
    assert_int_equal(lfs.next, 2 * MIB + 1);
    assert_int_equal(read_at(world->address, "lfs", LFS_SIZE - 1, UINT64_MAX, &lfs),
                     HC_OK);
    assert_int_equal(lfs.next, LFS_SIZE);
    assert_int_equal(read_at(world->address, "lfs", LFS_SIZE, 0, &lfs), HC_OK);
    assert_int_equal(read_at(world->address, "lfs", LFS_SIZE + 1, 0, &lfs),
                     HC_INVALID_OPTIONS);
    hub_blob_free(lfs.expected);
}

static void a_caller_that_gives_up_gets_no_more_bytes(void **state)
{
    const struct world *world = *state;
    struct received lfs = received_new(LFS_SIZE);

    lfs.stop_at = MIB;
    assert_int_equal(read_at(world->address, "lfs", 0, 0, &lfs), HC_CANCELLED);
    assert_in_range(lfs.next, MIB, 2 * MIB);
    hub_blob_free(lfs.expected);
}

/* Flips a bit of the blob of `filename` on the server's disk. */
static void damage_blob(struct world *world, const char *filename)
{
    char path[256];
    HC_AUTO_FREE char *full = NULL;
    HC_AUTO_CLOSE int fd = -1;
    unsigned char byte;

    (void)snprintf(path, sizeof path, "cache/models--org--name/snapshots/%s/%s",
                   world->commit, filename);
    full = temp_dir_path(world->dir, path);
    fd = open(full, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &byte, 1, MIB), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, MIB), 1);
}

static bool accept_bytes(void *ctx, const void *bytes, size_t count)
{
    (void)bytes;
    *(uint64_t *)ctx += count;
    return true;
}

static void a_blob_that_was_damaged_on_disk_is_noticed(void **state)
{
    static const char *const names[] = {"lfs", "git"};
    struct world *world = *state;
    struct hc_client *client = client_open_at(world->address);

    for (size_t i = 0; i < 2; i++) {
        uint64_t count = 0;
        struct hc_client_read_request request = {.file = {.repo = {.id = "org/name"},
                                                          .filename = names[i]},
                                                 .bytes = accept_bytes,
                                                 .ctx = &count};
        struct hc_error err = {.reason = HC_OK};

        assert_int_equal(hc_client_read_file(client, &request, NULL, &err), 0);
        damage_blob(world, names[i]);
        assert_int_equal(hc_client_read_file(client, &request, NULL, &err), -1);
        assert_int_equal(err.reason, HC_CHECKSUM_MISMATCH);
    }
    hc_client_close(client);
}

/* ---- saving -------------------------------------------------------------------------
 */

/* An unnamed file that has `count` bytes of the file of `size`. */
static int saved_file(uint64_t size, uint64_t count)
{
    struct hub_blob *blob = hub_blob_generated(size, SEED, false);
    HC_AUTO_FREE char *bytes = malloc(count + 1);
    int fd = memfd_create("saved", MFD_CLOEXEC);

    assert_true(bytes && fd >= 0);
    hub_blob_read(blob, 0, bytes, count);
    assert_int_equal(write(fd, bytes, count), count);
    hub_blob_free(blob);
    return fd;
}

static bool save_progress(void *ctx, uint64_t done, uint64_t total)
{
    uint64_t *last = ctx;

    assert_true(done <= total);
    *last = done;
    return true;
}

static void assert_saved(int fd, uint64_t size)
{
    struct hub_blob *blob = hub_blob_generated(size, SEED, false);
    HC_AUTO_FREE char *expected = malloc(size + 1);
    HC_AUTO_FREE char *bytes = malloc(size + 1);

    assert_true(expected && bytes);
    hub_blob_read(blob, 0, expected, size);
    assert_int_equal(pread(fd, bytes, size + 1, 0), size);
    assert_memory_equal(bytes, expected, size);
    hub_blob_free(blob);
}

static enum hc_reason save_at(const char *address, const char *filename, int fd)
{
    struct hc_client *client = client_open_at(address);
    uint64_t last = 0;
    const struct hc_client_save_request request = {.file = {.repo = {.id = "org/name"},
                                                            .filename = filename},
                                                   .fd = fd,
                                                   .progress = save_progress,
                                                   .progress_ctx = &last};
    struct hc_error err = {.reason = HC_OK};

    if (hc_client_save_file(client, &request, NULL, &err) < 0)
        print_message("%s: %s\n", hc_reason_name(err.reason), err.message);
    hc_client_close(client);
    if (err.reason == HC_OK && last > 0)
        assert_int_equal(last, lseek(fd, 0, SEEK_END));
    return err.reason;
}

static unsigned long bytes_read(struct world *world)
{
    HC_AUTO_FREE char *page = world_get(world, "/metrics");
    const char *line = strstr(page, "\nhubcache_read_bytes_total ");

    assert_non_null(line);
    return line ? strtoul(line + strlen("\nhubcache_read_bytes_total "), NULL, 10) : 0;
}

static void a_saved_start_is_continued_and_not_read_again(void **state)
{
    static const struct {
        const char *name;
        uint64_t size;
    } files[] = {{"lfs", LFS_SIZE}, {"git", GIT_SIZE}};
    struct world *world = *state;

    for (size_t i = 0; i < 2; i++) {
        const uint64_t size = files[i].size;
        const uint64_t starts[] = {0, 1, 2 * MIB, size - 1, size};

        for (size_t j = 0; j < 5; j++) {
            HC_AUTO_CLOSE int fd = saved_file(size, starts[j]);
            unsigned long before = bytes_read(world);

            assert_int_equal(save_at(world->address, files[i].name, fd), HC_OK);
            assert_saved(fd, size);
            assert_int_equal(bytes_read(world) - before, size - starts[j]);
        }
    }
}

static void a_saved_start_of_another_file_is_replaced(void **state)
{
    const struct world *world = *state;
    HC_AUTO_CLOSE int wrong = saved_file(LFS_SIZE, 2 * MIB);
    HC_AUTO_CLOSE int longer = saved_file(LFS_SIZE, GIT_SIZE + 1);

    assert_int_equal(pwrite(wrong, "?", 1, MIB), 1);
    assert_int_equal(save_at(world->address, "lfs", wrong), HC_OK);
    assert_saved(wrong, LFS_SIZE);
    assert_int_equal(save_at(world->address, "git", longer), HC_OK);
    assert_saved(longer, GIT_SIZE);
}

static void a_damaged_blob_leaves_nothing_saved(void **state)
{
    struct world *world = *state;
    HC_AUTO_CLOSE int fd = saved_file(LFS_SIZE, 0);
    struct stat status;

    assert_int_equal(save_at(world->address, "lfs", fd), HC_OK);
    damage_blob(world, "lfs");
    assert_int_equal(ftruncate(fd, MIB / 2), 0);
    assert_int_equal(save_at(world->address, "lfs", fd), HC_CHECKSUM_MISMATCH);
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(status.st_size, 0);
}

static void a_full_disk_is_told(void **state)
{
    const struct world *world = *state;
    HC_AUTO_CLOSE int fd = open("/dev/full", O_RDWR | O_CLOEXEC);

    assert_int_equal(save_at(world->address, "lfs", fd), HC_NO_SPACE);
}

/* ---- a connection that is cut -------------------------------------------------------
 */

/* Forwards connections to the server, and cuts each after so many bytes of answers. */
struct proxy {
    const char *server; /* "127.0.0.1:port" */
    int listener;
    char address[64];
    struct random_source random;
    atomic_uint cuts;
    pthread_t thread;
};

static int loopback_connect(const char *address)
{
    const char *port = strrchr(address, ':') + 1;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* False: the connection is over. `budget` bytes more may pass. */
static bool proxy_forward(int from, int to, size_t *budget)
{
    char bytes[65536];
    size_t room = *budget < sizeof bytes ? *budget : sizeof bytes;
    ssize_t got = recv(from, bytes, room, 0);

    if (got <= 0 || send(to, bytes, (size_t)got, MSG_NOSIGNAL) != got)
        return false;
    *budget -= (size_t)got;
    return *budget > 0;
}

static void proxy_serve(struct proxy *proxy, int client)
{
    HC_AUTO_CLOSE int server = loopback_connect(proxy->server);
    size_t budget = random_between(&proxy->random, CUT_BYTES_MIN, CUT_BYTES_MAX);
    size_t unlimited = SIZE_MAX;
    bool goes_on = true;

    while (goes_on) {
        struct pollfd fds[] = {{.fd = client, .events = POLLIN},
                               {.fd = server, .events = POLLIN}};

        (void)poll(fds, 2, -1);
        if (fds[0].revents)
            goes_on = proxy_forward(client, server, &unlimited);
        if (goes_on && fds[1].revents)
            goes_on = proxy_forward(server, client, &budget);
    }
    if (budget == 0)
        atomic_fetch_add(&proxy->cuts, 1);
}

static void *proxy_run(void *argument)
{
    struct proxy *proxy = argument;
    int client;

    while ((client = accept(proxy->listener, NULL, NULL)) >= 0) {
        proxy_serve(proxy, client);
        (void)close(client);
    }
    return NULL;
}

static void proxy_start(struct proxy *proxy, const char *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;

    random_begin(&proxy->random, "cuts");
    proxy->server = server;
    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(proxy->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(proxy->listener, 16), 0);
    assert_int_equal(getsockname(proxy->listener, (struct sockaddr *)&address, &size), 0);
    (void)snprintf(proxy->address, sizeof proxy->address, "127.0.0.1:%u",
                   ntohs(address.sin_port));
    assert_int_equal(pthread_create(&proxy->thread, NULL, proxy_run, proxy), 0);
}

static void proxy_stop(struct proxy *proxy)
{
    (void)shutdown(proxy->listener, SHUT_RDWR);
    assert_int_equal(pthread_join(proxy->thread, NULL), 0);
    (void)close(proxy->listener);
}

static void a_connection_that_is_cut_again_and_again_brings_each_byte_once(void **state)
{
    const struct world *world = *state;
    struct proxy proxy = {0};
    struct received lfs = received_new(LFS_SIZE);
    unsigned reads = 0;

    proxy_start(&proxy, world->address);
    for (; atomic_load(&proxy.cuts) < CUTS_MIN; reads++) {
        lfs.begun = 0;
        assert_int_equal(read_at(proxy.address, "lfs", 0, 0, &lfs), HC_OK);
        assert_int_equal(lfs.next, LFS_SIZE);
        assert_int_equal(lfs.begun, 1);
    }
    print_message("%u reads, %u cuts\n", reads, atomic_load(&proxy.cuts));
    proxy_stop(&proxy);
    hub_blob_free(lfs.expected);
}

#define WORLD_TEST(test) cmocka_unit_test_setup_teardown(test, read_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(files_of_both_kinds_of_hash_are_read_and_verified),
        WORLD_TEST(a_range_is_read_and_ends_where_it_should),
        WORLD_TEST(a_caller_that_gives_up_gets_no_more_bytes),
        WORLD_TEST(a_blob_that_was_damaged_on_disk_is_noticed),
        WORLD_TEST(a_saved_start_is_continued_and_not_read_again),
        WORLD_TEST(a_saved_start_of_another_file_is_replaced),
        WORLD_TEST(a_damaged_blob_leaves_nothing_saved),
        WORLD_TEST(a_full_disk_is_told),
        WORLD_TEST(a_connection_that_is_cut_again_and_again_brings_each_byte_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
