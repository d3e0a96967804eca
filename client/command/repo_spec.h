/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a person names a repo of the cache, a revision of it, or a file:
 *
 *     org/name               a model; also gpt2
 *     dataset/org/name       with its type: model, dataset, space, kernel, or the plural
 *     org/name@v1.0          with a revision, which may have "/" inside
 *     hf://datasets/org/name@main/file    as the Hub's clients do; a path is optional
 *
 * A model whose organisation is called "model" or "datasets" needs its type before it.
 * Callable from any thread.
 */
#ifndef HC_COMMAND_REPO_SPEC_H
#define HC_COMMAND_REPO_SPEC_H

#include "base/auto.h"

#include <hubcache-client/client.h>
#include <stddef.h>

enum { HC_REPO_SPEC_TEXT_MAX = 2048 };

struct hc_repo_spec {
    enum hc_repo_type type;               /* never HC_REPO_DEFAULT */
    char id[201];                         /* valid */
    char revision[HC_REPO_SPEC_TEXT_MAX]; /* "": none */
    char path[HC_REPO_SPEC_TEXT_MAX];     /* "": none */
};

/*
 * `defaults` has type and revision of a text without them, as options give them; NULL: a
 * model, and none. INVALID_REPO_ID: the text names no repo. The server checks the
 * revision.
 */
int hc_repo_spec_parse(const char *text, const struct hc_client_repo *defaults,
                       struct hc_repo_spec *spec, struct hc_error *err);

/* Several of them, and their ids in a list for a request. */
struct hc_repo_specs {
    struct hc_repo_spec *items;
    char **ids; /* point into the items */
    size_t count;
};

/* As hc_repo_spec_parse() for each. The caller clears `specs` in every case. */
int hc_repo_specs_parse(struct hc_repo_specs *specs, const char *const *texts,
                        size_t count, const struct hc_client_repo *defaults,
                        struct hc_error *err);
void hc_repo_specs_clear(struct hc_repo_specs *specs);
HC_DEFINE_AUTO_VALUE(hc_repo_specs, hc_repo_specs_clear)

/* "model/org/name", as `hf cache` names it; `text` has room for 256 bytes. */
void hc_repo_spec_format(enum hc_repo_type type, const char *id, char text[256]);

#endif
