/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cache has to have after each step that changes it, for
 * maintenance_property_test. A step runs in a process of its own, which may die.
 */
#ifndef HC_UNIT_MAINTENANCE_MODEL_H
#define HC_UNIT_MAINTENANCE_MODEL_H

#include "random.h"
#include "removal_fixture.h"

enum { REPOS = 2, COMMITS = 3, ETAGS = 5, FILES = 4, REFS = 3 };

enum step_kind {
    STEP_FETCH, /* or repair: what of the revision is missing */
    STEP_PIN,   /* or unpin */
    STEP_LEASE,
    STEP_RENEW,
    STEP_RELEASE,
    STEP_EXPIRE, /* the end of a lease comes */
    STEP_REF,    /* a ref names the revision from now on */
    STEP_DELETE,
    STEP_DELETE_REPO,
    STEP_PRUNE, /* as two hours later */
    STEP_EVICT,
    STEP_DAMAGE, /* a byte of a blob changes */
    STEP_VERIFY,
    STEP_KINDS
};

struct step {
    enum step_kind kind;
    int repo, commit;
    uint64_t number;  /* random: which file, how many bytes */
    unsigned dies_at; /* before which call; 0: it does not */
};

/* How many wrapped calls a step of the kind makes at most, about; 1: it cannot die. */
unsigned step_calls(enum step_kind kind);

struct model_revision {
    bool is_there, is_pinned;
    int etags[FILES];        /* of each file; -1: it has none */
    bool is_missing[FILES];  /* it was corrupt, and is not repaired */
    unsigned brief, lasting; /* leases: of an hour, which two hours end, and of a day */
};

struct model {
    struct fixture *f;
    struct random_source *random;
    struct hc_repo repos[REPOS];
    struct model_revision revisions[REPOS][COMMITS];
    int refs[REPOS][REFS]; /* the commit that it names; -1: there is none */
    bool is_damaged[REPOS][ETAGS];
    bool has_leftovers[REPOS]; /* of processes that died: what is freed is not told */
    uint64_t *freed;           /* by the last step, which says so; shared with it */
};

void model_begin(struct model *model, struct fixture *f, struct random_source *random);

/* Takes the step, and compares. */
void model_step(struct model *model, const struct step *step);

/* Sweeps and prunes, and looks for what is left. */
void model_end(struct model *model);

#endif
