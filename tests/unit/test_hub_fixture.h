/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hub with one repo, "models/org/name", and a plain HTTP client, for the tests of the
 * test hub itself. Callable from any thread.
 */
#ifndef HC_UNIT_TEST_HUB_FIXTURE_H
#define HC_UNIT_TEST_HUB_FIXTURE_H

#include "test.h"
#include "test_hub.h"

#include "base/auto.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <string.h>

enum { LFS_SIZE = 300000 };

#define LFS_PATH "/org/name/resolve/main/model.safetensors"
#define GIT_PATH "/org/name/resolve/main/sub/dir/a%20b.txt" /* "deep" */

struct fixture {
    struct test_hub *hub; /* the token "good" is valid, a page has two rows */
    char commit[41];
};

int hub_fixture_start(void **state);
int hub_fixture_stop(void **state);

#define WITH_HUB(test)                                                                   \
    cmocka_unit_test_setup_teardown(test, hub_fixture_start, hub_fixture_stop)

/* The outcome of one request. */
struct response {
    CURLcode outcome;
    long status;
    char *headers;
    char *body;
    size_t size;
};

void response_clear(struct response *response);
HC_DEFINE_AUTO_VALUE(response, response_clear)

/* One request; members that are zero are left out. */
struct http_request {
    const char *path; /* or a whole URL */
    const char *range;
    const char *token;
    bool is_head;
    bool follows;
};

struct response hub_fixture_request(const struct fixture *f,
                                    struct http_request http_request);

/* HEAD without following redirects; GET that follows them. */
struct response hub_fixture_head(const struct fixture *f, const char *path);
struct response hub_fixture_get(const struct fixture *f, const char *path);

#define assert_has(response, text) assert_non_null(strstr((response).headers, text))
#define assert_has_not(response, text) assert_null(strstr((response).headers, text))

#endif
