/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of repo types, as the Hub's API and its clients spell them. They are in base
 * because the client library has them, too, and nothing else of lib/.
 */
#include <hubcache/repo.h>

#include <stddef.h>
#include <string.h>

static const char *const names[] = {
    [HC_REPO_DEFAULT] = "model",   [HC_REPO_MODEL] = "model",
    [HC_REPO_DATASET] = "dataset", [HC_REPO_SPACE] = "space",
    [HC_REPO_KERNEL] = "kernel",
};

enum { NAME_COUNT = sizeof names / sizeof *names };

const char *hc_repo_type_name(enum hc_repo_type type)
{
    return (unsigned)type < NAME_COUNT ? names[type] : NULL;
}

enum hc_repo_type hc_repo_type_from_name(const char *name)
{
    for (int i = HC_REPO_MODEL; i < NAME_COUNT; i++) {
        if (strcmp(names[i], name) == 0)
            return (enum hc_repo_type)i;
    }
    return HC_REPO_DEFAULT;
}
