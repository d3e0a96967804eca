/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world of one test: a Hub, an empty cache, a real hubcached on a free port, and a
 * client. The hub has models/org/name with config.json and the LFS file weights.bin.
 */
#ifndef HC_SERVICE_FIXTURE_H
#define HC_SERVICE_FIXTURE_H

#include "rpc_client.h"
#include "test.h"
#include "test_hub.h"

#include <hubcache/v1/resolver.pb-c.h>
#include <stdio.h>
#include <sys/types.h>

enum { FLAGS_MAX = 16, WEIGHTS_SIZE = 1 << 20 };

struct world {
    struct test_hub *hub;
    char *dir; /* cache/, log, and what tests put there */
    char commit[41];
    pid_t server;
    char address[256]; /* of the first listener */
    char lines[1024];  /* all of the server's standard output up to serving */
    struct rpc_client *client;
    int log_fd;           /* Optional: the server's standard error, instead of the file */
    unsigned descriptors; /* Optional: the server's limit, soft and hard */
    const char *preload;  /* Optional: a library; HANGING_VOLUME is then "<dir>/hang",
                           * and HANGING_PROBE "<dir>/hang-probe" */
    const char *hanging;  /* Optional: HANGING_PART, for a volume that is slow as well */
};

/* cmocka's setup and teardown: the world with a server that has no further flags. */
int world_setup(void **state);

/* Without a server. */
int world_setup_empty(void **state);

/* Ends the server with SIGKILL if it still runs. */
int world_teardown(void **state);

/* Starts the server with more flags than those of every test; NULL ends them. */
void world_serve(struct world *world, const char *const *flags);

/*
 * Runs the server to its end and returns its exit status; its output is in world->lines.
 */
int world_run_server(struct world *world, const char *const *flags);

/* Sends SIGTERM. */
void world_stop_server(struct world *world);

/* Another server on the same volume, with the hub of the first; it belongs to the
 * caller, which ends it with world_end_replica(). */
void world_serve_replica(const struct world *world, struct world *replica,
                         const char *const *flags);

/* By SIGKILL, if it runs. */
void world_end_replica(struct world *replica);

/* Waits until the server has ended, and returns its exit status. A server that does not
 * end within a minute is killed, and fails the test. */
int world_await_end(struct world *world);

/* Before the server is started: its log, to be read line by line while it runs. The
 * caller closes it. */
FILE *world_open_log(struct world *world);

/* Reads up to the line that has `text`. */
void log_await_line(FILE *log, const char *text, char *line, int size);

/*
 * The whole log of the server, which the caller frees. It first ends the server, if that
 * runs, because a thread of the server writes the log.
 */
char *world_log(struct world *world);

/*
 * The server's answer to GET over HTTP with its headers, which the caller frees. Needs
 * --http-listen.
 */
char *world_get(struct world *world, const char *path);

/* A value of /metrics, by the name with its labels and a space. Needs --http-listen. */
unsigned world_gauge(struct world *world, const char *name);

/* Connects to --http-listen from an address of this machine, such as "127.0.0.2". */
int world_connect_http(const struct world *world, const char *from);

/* A line of /proc/<server>/status as a number: "Threads", "VmHWM". */
unsigned long world_process(struct world *world, const char *key);

/* --- calls ----------------------------------------------------------------------------
 */

Hubcache__V1__ResolveFileRequest file_request(const char *filename);
Hubcache__V1__ResolveSnapshotRequest snapshot_request(void);

struct rpc_call *start_file(struct world *world,
                            const Hubcache__V1__ResolveFileRequest *request);

/* Calls for the file and awaits the end. */
struct rpc_call *ask_file(struct world *world,
                          const Hubcache__V1__ResolveFileRequest *request);

/* Fails the test unless the call has answered with this file of the cache. */
void assert_answers_file(struct world *world, struct rpc_call *call, const char *filename,
                         Hubcache__V1__Source source);

#define METHOD(name) "/hubcache.v1.Resolver/" name

#endif
