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
    STEP_FETCH,    /* what of the revision is missing */
    STEP_DOWNLOAD, /* the same by a process that may die, and leave a part */
    STEP_PIN,      /* or unpin */
    STEP_LEASE,
    STEP_RENEW,
    STEP_RELEASE,
    STEP_EXPIRE, /* the end of a lease comes */
    STEP_REF,    /* a ref names the revision from now on */
    STEP_DELETE,
    STEP_DELETE_FILES, /* each second one of the revision */
    STEP_DELETE_REPO,
    STEP_PRUNE,      /* as two hours later */
    STEP_PRUNE_BACK, /* by a clock that is set back by as much */
    STEP_EVICT,
    STEP_DAMAGE, /* a byte of a blob changes */
    STEP_VERIFY,
    STEP_REPAIR, /* a verification that writes right bytes over corrupt ones */
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
    bool is_missing[FILES];  /* it was corrupt or removed, or has not come */
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

/* ---- between maintenance_model.c and maintenance_steps.c --------------------------- */

enum { HOUR_MS = 3600 * 1000, LATER_MS = 2 * HOUR_MS };

struct model_blob {
    const char *etag;
    size_t size;
};

extern const char *const model_commits[COMMITS];
extern const struct model_blob model_blobs[ETAGS];

/* Takes the step; whether its process was killed, as it was to be. */
bool step_run(struct model *model, const struct step *step);

/* Whether it frees room, and says how much. */
bool step_frees(enum step_kind kind);

/* What an eviction is to free. */
uint64_t step_bytes(const struct step *step);

/* "<repo folder>/<kind>/<name>". */
void model_format_place(char place[PATH_MAX], const struct hc_repo *repo,
                        const char *kind, const char *name);

/* What is on the volume. */
bool model_has(const struct model *model, int repo, const char *kind, const char *name);
bool model_has_file(const struct model *model, int repo, int commit, int file);
bool model_has_partials(const struct model *model, int repo);
uint64_t model_room(const struct model *model); /* of all that is in blobs/ */
int model_find_ref(const struct model *model, int repo, int ref); /* -1: none */
void model_count_leases(const struct model *model, int repo, int commit, unsigned *brief,
                        unsigned *lasting);

#endif
