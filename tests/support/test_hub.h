/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Hub on loopback that answers as the real one does (spec/hub-wire.md): a hub port and,
 * for LFS files, a CDN port with signed URLs. Repos are made in memory or read from a
 * directory; rules inject faults; every request is logged. The unit and service tests use
 * it in-process, the interop tests and the quickstart as the program `test-hub`. Callable
 * from any thread.
 */
#ifndef HC_SUPPORT_TEST_HUB_H
#define HC_SUPPORT_TEST_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct test_hub;

struct test_hub_options {
    unsigned short port;     /* 0: any */
    unsigned short cdn_port; /* 0: any */
    const char *valid_token; /* NULL: every bearer token is valid */
    unsigned page_size;      /* entries of one tree page; 0: 1000 */
    bool no_xet;             /* leave out X-Xet-Hash, the xet links and xetHash */
};

/*
 * Starts listening on 127.0.0.1; aborts the program when that fails. Raises the soft
 * limit of open files, since a hub may have thousands of connections.
 */
struct test_hub *test_hub_start(const struct test_hub_options *options);
void test_hub_stop(struct test_hub *hub);

/* "http://127.0.0.1:<port>", borrowed. */
const char *test_hub_endpoint(const struct test_hub *hub);
const char *test_hub_cdn(const struct test_hub *hub);

/* --- content -------------------------------------------------------------------------
 */

/*
 * A commit is made of the files that were added since the last one.
 * `repo` is "models/org/name", "datasets/…", "spaces/…", "kernels/…". The commit hash is
 * derived from the content, the same on every run, and copied to `commit`. A revision is
 * a branch, a tag or "refs/pr/1"; committing moves it. Files of earlier commits stay
 * served under their hash.
 */
void test_hub_add(struct test_hub *hub, const char *path, const void *bytes, size_t size,
                  bool is_lfs);

/* The same with `size` bytes generated from `seed`, never all in memory at once. */
void test_hub_add_generated(struct test_hub *hub, const char *path, uint64_t size,
                            unsigned seed, bool is_lfs);
void test_hub_commit(struct test_hub *hub, const char *repo, const char *revision,
                     char commit[41]);

/* Gives an existing commit another name. */
void test_hub_tag(struct test_hub *hub, const char *repo, const char *revision,
                  const char *commit);

enum test_hub_access {
    TEST_HUB_PUBLIC,
    TEST_HUB_PRIVATE, /* 401 without a token of an account that has access, 404 with
                         another one, as for a missing repo */
    TEST_HUB_GATED,   /* 403 GatedRepo without one, for files but README.md; listings are
                         public */
    TEST_HUB_DISABLED /* 403 "… disabled …", with any token */
};
void test_hub_set_access(struct test_hub *hub, const char *repo,
                         enum test_hub_access access);

/*
 * Gives the account of `token` access to a private or gated repo, or takes it away. As
 * soon as one account has been given access to a repo, the others have none; before,
 * every token is one of an account that has.
 */
void test_hub_set_granted(struct test_hub *hub, const char *repo, const char *token,
                          bool is_granted);

/* Requests for `old_repo` answer 307 to `new_repo`, as for a renamed repo. */
void test_hub_rename(struct test_hub *hub, const char *old_repo, const char *new_repo);

/*
 * Sets whether a 404 for a file names the commit (X-Repo-Commit). The Hub once did, and
 * the test hub does by default; without it clients cannot record that the file is absent.
 */
void test_hub_set_commit_on_404(struct test_hub *hub, bool is_sent);

/*
 * Loads every repo below `dir`: <dir>/models/<org>/<name>/<revision>/<files…>, "/" in a
 * revision written as "%2F". Files over 64 KiB or ending in .safetensors, .bin, .gguf,
 * .pt, .onnx are LFS; .git/ and names that start with ".lfs-" are left out.
 */
void test_hub_load(struct test_hub *hub, const char *dir);

/* --- faults --------------------------------------------------------------------------
 */

enum test_hub_fault {
    TEST_HUB_STATUS,      /* answer `number` (a status) with `text` as X-Error-Message */
    TEST_HUB_CLOSE,       /* close the connection before any answer */
    TEST_HUB_RESET,       /* the same with RST */
    TEST_HUB_CUT,         /* close after `number` bytes of the body */
    TEST_HUB_CUT_RESET,   /* RST after `number` bytes of the body */
    TEST_HUB_STALL,       /* stop after `number` bytes of the body until released */
    TEST_HUB_CORRUPT,     /* flip the bits of body byte `number` */
    TEST_HUB_SHORT,       /* `number` bytes fewer, with a Content-Length that says so */
    TEST_HUB_NO_RANGE,    /* ignore Range: 200 and the whole body */
    TEST_HUB_SHORT_RANGE, /* of a Range `number` bytes at most, and say so */
    TEST_HUB_HEADER,      /* set header `name` to `text` (NULL: leave it out) */
    TEST_HUB_REDIRECT_LOOP, /* 302 to itself */
    TEST_HUB_REDIRECT,      /* 302 to `text` */
    TEST_HUB_DELAY,         /* wait `number` ms before answering */
    TEST_HUB_THROTTLE,      /* at most `number` bytes a second on each connection */
    TEST_HUB_CHUNKS,        /* send at most `number` bytes at once */
    TEST_HUB_BODY           /* answer 200 with `text` as the body */
};

struct test_hub_rule {
    const char *method; /* NULL: any */
    const char
        *contains; /* the request's target (path and query) contains this; NULL: any */
    const char *range; /* the request's Range header contains this; NULL: any */
    bool on_cdn;       /* the CDN port rather than the hub port */
    unsigned skip;     /* how many matching requests to let pass first */
    unsigned times;    /* how often to act then; 0: always */
    enum test_hub_fault fault;
    uint64_t number;
    const char *name;
    const char *text;
    unsigned retry_after_s; /* with TEST_HUB_STATUS: Retry-After; 0: none */
    const char *error_code; /* with TEST_HUB_STATUS: X-Error-Code; NULL: none */
};

/*
 * Adds a rule, which is copied. The first rule that matches and is not used up acts; of
 * HEADER rules, several may act on one answer.
 */
void test_hub_rule(struct test_hub *hub, const struct test_hub_rule *rule);
void test_hub_clear_rules(struct test_hub *hub);

/*
 * Lets every stalled answer continue, and also those that have not stalled yet, if their
 * request is in the log.
 */
void test_hub_release(struct test_hub *hub);

/* Blocks until `count` requests match; aborts after 10 s. Tests wait with it. */
void test_hub_await(struct test_hub *hub, const char *method, const char *contains,
                    unsigned count);

/* Blocks until an answer is stalled; aborts after 10 s. */
void test_hub_await_stall(struct test_hub *hub);

/* --- requests ------------------------------------------------------------------------
 */

/* The number of requests to both ports; NULL matches any. */
unsigned test_hub_count(struct test_hub *hub, const char *method, const char *contains);
unsigned test_hub_count_cdn(struct test_hub *hub, const char *method);

/* The number of requests with an Authorization header, to one of the ports. */
unsigned test_hub_count_authorized(struct test_hub *hub, bool on_cdn);

/* Body bytes sent by both ports since the log was cleared, headers apart. */
uint64_t test_hub_bytes_sent(struct test_hub *hub);

/*
 * The log as text, one request a line: "hub|cdn METHOD target status bytes range=<value
 * or -> auth=<yes|no> ua=<user agent>"; caller frees. Tokens are never in it.
 */
char *test_hub_log(struct test_hub *hub);
void test_hub_clear_log(struct test_hub *hub);

#endif
