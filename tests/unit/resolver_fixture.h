/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fixture of the resolver's tests: a cache of its own, a hub with one repo, and a
 * resolver between the two. The repo is "org/model": config.json and README.md (git),
 * weights.bin (LFS), sub/dir/nested.txt, empty.txt.
 */
#ifndef HC_UNIT_RESOLVER_FIXTURE_H
#define HC_UNIT_RESOLVER_FIXTURE_H

#include "test.h"
#include "test_hub.h"

#include <hubcache/resolver.h>

#include <stdbool.h>

#define REPO_FOLDER "models--org--model"

struct fixture {
    char *dir; /* the cache */
    struct test_hub *hub;
    struct hc_settings settings;
    struct hc_resolver *resolver;
    struct hc_error err;
    char commit[41];
};

int resolver_fixture_setup(void **state);
int resolver_fixture_teardown(void **state);

/* Opens the resolver anew, offline or not, as another process would. */
void resolver_fixture_reopen(struct fixture *f, bool offline);

/* Commits another config.json to main; `commit` gets its hash. */
void resolver_fixture_move_main(struct fixture *f, char commit[41]);

/* Makes refs/<revision> say that the Hub was last heard `seconds` ago. */
void resolver_fixture_age_ref(struct fixture *f, const char *revision, int seconds);

/* Resolves a file with default options; 0 or -1 and f->err. */
int fixture_resolve_file(struct fixture *f, const char *revision, const char *filename,
                         struct hc_file *file);

/* The content of a resolved file is `text`. */
void assert_file_content(const struct hc_file *file, const char *text);

/* "<REPO_FOLDER>/snapshots/<commit>/<path>", borrowed until the next call. */
const char *pointer_path(const char *commit, const char *path);

#endif
