/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of cache/, claim/ and store/ start from: an empty cache in a directory
 * of its own, and a repo.
 */
#ifndef HC_UNIT_CACHE_FIXTURE_H
#define HC_UNIT_CACHE_FIXTURE_H

#include "test.h"

#include <base/hash.h>
#include <cache/cache.h>

#define COMMIT "1111111111111111111111111111111111111111"
#define OTHER_COMMIT "2222222222222222222222222222222222222222"

/* git's id of the text "hello", and its SHA-256. */
#define HELLO_GIT "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"
#define HELLO_SHA256 "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

struct fixture {
    char *dir;
    struct hc_cache *cache;
    struct hc_repo repo; /* models--org--name */
    struct hc_error err;
};

/* For cmocka_unit_test_setup_teardown. */
int make_cache(void **state);
int remove_cache(void **state);

/* Closes the cache and opens it again, with or without symlinks. */
void reopen_cache(struct fixture *f, bool no_symlinks);

void assert_file_content(const struct fixture *f, const char *path, const char *text);

/* The permission bits of the file itself. */
unsigned file_mode_of(const struct fixture *f, const char *path);

void assert_link(const struct fixture *f, const char *path, const char *target);

/* Sets both time stamps to so many seconds before now. */
void age_file(const struct fixture *f, const char *path, long seconds);

/*
 * Takes away the right to write anywhere in the cache, and gives it back. A test that
 * runs as root becomes an unprivileged user meanwhile.
 */
void make_cache_read_only(const struct fixture *f);
void make_cache_writable(const struct fixture *f);

#endif
