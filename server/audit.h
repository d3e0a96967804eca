/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit trail: a line of JSON in a file for each call of hubcache.v1.Resolver, and
 * for each call whose caller was refused: which caller got which file of which commit. A
 * call adds its line to a queue and never waits for the disk; a thread of its own writes.
 *
 * While the file cannot be written (a full disk), lines wait, up to HC_AUDIT_BYTES_MAX,
 * and later ones are lost and counted; calls are answered all the same. Lines are not
 * synced to the disk: a crash of the machine loses those of the last seconds. A file that
 * was renamed is written until its name leads to another one or to none, which is noticed
 * within a second; a new one is made then. Callable from any thread.
 */
#ifndef HC_SERVER_AUDIT_H
#define HC_SERVER_AUDIT_H

#include "answer.h"

#include <base/auto.h>

struct hc_audit;

enum {
    HC_AUDIT_BYTES_MAX = 4 * 1024 * 1024,
    HC_AUDIT_FILES_MAX = 1000 /* lines about the files of one answer */
};

/* Opens the file, or makes it with mode 0640, and starts the thread. `path` is copied. */
struct hc_audit *hc_audit_open(const char *path, struct hc_error *err);

/* -1, INVALID_OPTIONS: it could not be opened. Makes no file. */
int hc_audit_check(const char *path, struct hc_error *err);

/* Waits a second at most until all lines are written; what is left then is lost. */
void hc_audit_close(struct hc_audit *audit);
HC_DEFINE_AUTO(hc_audit, hc_audit_close)

/* A call is over. Calls of other services are left out. */
void hc_audit_add(struct hc_audit *audit, const struct hc_request *request,
                  const struct hc_answer *answer, int64_t duration_us);

/*
 * The caller has got these files, of a repo that a policy decides about: a line for each,
 * and if they are more than HC_AUDIT_FILES_MAX, one with the number of the rest. `caller`
 * NULL: anonymous.
 */
void hc_audit_add_files(struct hc_audit *audit, const struct hc_caller *caller,
                        const struct hc_file *files, size_t count);

/* The file is opened again within a second, as after its rotation. */
void hc_audit_reopen(struct hc_audit *audit);

struct hc_audit_counts {
    uint64_t lines; /* that were added and not lost at once */
    uint64_t lost;
    bool is_failing; /* the last write has failed */
};
void hc_audit_count(struct hc_audit *audit, struct hc_audit_counts *counts);

#endif
