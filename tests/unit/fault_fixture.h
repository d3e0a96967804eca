/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop of the fault tests: an action runs on a cache while the n-th system call on
 * the volume fails, or the process dies there, for every n until none is hit. Each time
 * the failure has a reason, what can be seen is right, and the action run once more, with
 * a resolver opened anew, succeeds and leaves nothing behind. Where threads race, the
 * n-th call is another one in each run: the promise holds at any of them.
 */
#ifndef HC_UNIT_FAULT_FIXTURE_H
#define HC_UNIT_FAULT_FIXTURE_H

#include "fault.h"
#include "resolver_fixture.h"

struct fault_action {
    const char *name;   /* by which a process that will die is told of it */
    const char *folder; /* the repo's; its refs/main names f->commit or is not there */
    int (*act)(struct hc_resolver *resolver, struct hc_error *err);
    unsigned calls_min; /* fewer would mean that nothing was tested */
    bool may_be_left;   /* what arrived may wait for the next run, with its claim */

    void (*prepare)(struct fixture *f); /* Optional: before each run */
    unsigned stride; /* Optional: of so many calls, one; each run begins at another */
};

/* Bytes that may be seen in a file of the cache: borrowed. Any other are wrong. */
void fault_expect_content(const void *bytes, size_t size);

/* Of the repo with refs/main; of all else, only what is visible is looked at. */
void fault_assert_nothing_wrong(struct fixture *f, const char *folder);

/* *.incomplete files and claims. */
unsigned fault_left_behind(struct fixture *f);

/*
 * An empty cache in place of the one there is; or a copy of the one that is kept: that of
 * now, until the test's end.
 */
void fault_start_afresh(struct fixture *f);
void fault_keep_cache(struct fixture *f);
void fault_forget_cache(void);

void fault_fail_everywhere(struct fixture *f, const struct fault_action *action,
                           int errnum);

/* The volume is full from the n-th call on. */
void fault_fill_everywhere(struct fixture *f, const struct fault_action *action);
void fault_die_everywhere(struct fixture *f, const struct fault_action *action);

/* Runs a program; its wait status. */
int fault_run(char **args);

/* What main() returns in a process that is to die, and -1 in any other. */
int fault_dies(int argc, char **argv, const struct fault_action *const actions[]);

#endif
