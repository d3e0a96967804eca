/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The types of repos. A repo of the Hub is named by its type and its id, "gpt2" or
 * "org/name". Callable from any thread; the names are static.
 */
#ifndef HUBCACHE_REPO_H
#define HUBCACHE_REPO_H

#include <hubcache/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The numbers are those of hubcache.v1.RepoType. */
enum hc_repo_type {
    HC_REPO_DEFAULT = 0, /* means HC_REPO_MODEL */
    HC_REPO_MODEL = 1,
    HC_REPO_DATASET = 2,
    HC_REPO_SPACE = 3,
    HC_REPO_KERNEL = 4
};

/* "model", "dataset", "space", "kernel"; NULL for a number that is none of them. */
HC_PUBLIC const char *hc_repo_type_name(enum hc_repo_type type);

/* The type of that name; HC_REPO_DEFAULT when there is none. */
HC_PUBLIC enum hc_repo_type hc_repo_type_from_name(const char *name);

#ifdef __cplusplus
}
#endif

#endif
