/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume that two replicas share, and a hub with REPOS repos of one file each, of which
 * REPOS_FIT fit below REPLICAS_LIMIT: org/evict-0, org/evict-1, … A test names them by
 * their numbers.
 */
#ifndef HC_REPLICAS_FIXTURE_H
#define HC_REPLICAS_FIXTURE_H

#include "service_fixture.h"

#include <hubcache/v1/cache.pb-c.h>
#include <time.h>

#define REPLICAS_LIMIT "8388608"

enum {
    REPO_SIZE = 2 << 20,
    REPOS = 6,
    REPOS_FIT = 4,
    REPOS_MAX = 20,
    LEASE_ID_SIZE = 400
};

struct replicas {
    struct world *world; /* the first one */
    struct world other;  /* the second, once a test has it serve */
    char commits[REPOS_MAX][41];
    char path[512]; /* of replicas_path() */
};

/* cmocka's setup and teardown: no replica serves yet. */
int replicas_set_up(void **state);
int replicas_tear_down(void **state);

/* One more repo than REPOS, with the file weights.bin. */
void replicas_add_repo(struct replicas *f, unsigned number, uint64_t size);

/* The first replica fetches as many repos as fit. The one with the highest number was
 * used last, long ago. */
void replicas_fill(struct replicas *f);

/* ---- calls ------------------------------------------------------------------------- */

struct rpc_call *snapshot_start(struct world *world, unsigned number);

/* With a lease, if `lease_s` is not 0, and a deadline, if `timeout_ms` is not. */
struct rpc_call *snapshot_start_within(struct world *world, unsigned number,
                                       int64_t lease_s, int64_t timeout_ms);

/* With the header "authorization". */
struct rpc_call *snapshot_start_as(struct world *world, unsigned number,
                                   const char *authorization);

/* Fails the test unless the call is answered, and the answer's file opens. Frees the
 * call. `id` (Optional) is that of its lease. */
Hubcache__V1__Source snapshot_take(struct rpc_call *call, char id[LEASE_ID_SIZE]);

/* Both steps. The lease is of an hour. */
Hubcache__V1__Source snapshot_fetch(struct world *world, unsigned number);
void snapshot_fetch_leased(struct world *world, unsigned number, char id[LEASE_ID_SIZE]);

void snapshot_pin(struct world *world, unsigned number);
void lease_release(struct world *world, char *id);

struct rpc_call *evict_start(struct world *world, uint64_t bytes, bool is_dry_run);

/* Frees the call. The caller frees the answer: protobuf_c_message_free_unpacked(). */
Hubcache__V1__EvictResponse *evict_answer(struct rpc_call *call);

/* Fails the test if bytes are missing. */
void evict(struct world *world, uint64_t bytes);

/* ---- the volume -------------------------------------------------------------------- */

/* "cache/<repo folder>/snapshots/<commit><rest>", until the next call. */
const char *replicas_path(struct replicas *f, unsigned number, const char *rest);

/* The last use of a snapshot, and of its blob. */
void replicas_set_used(struct replicas *f, unsigned number, time_t seconds);

/* The numbers of those of the first REPOS repos whose file is there, such as "024". */
void replicas_find_left(struct replicas *f, char left[REPOS + 1]);
void replicas_assert_left(struct replicas *f, const char *expected);

/* Of all repos. */
unsigned replicas_count_snapshots(struct replicas *f);

/* What all blobs take on the volume. */
uint64_t replicas_room(const struct replicas *f);

#endif
