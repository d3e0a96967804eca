/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a reader of the status page may see: a policy that hides a repo from lists hides
 * it here, too. Sums and figures are those of the whole server. Any thread.
 */
#ifndef HC_SERVER_STATUS_READER_H
#define HC_SERVER_STATUS_READER_H

#include "server_status.h"

struct hc_policy;

/* Borrows. */
struct hc_status_reader {
    struct hc_policy *policy;
    const struct hc_identity *identity; /* NULL: anonymous */
    bool sees_all; /* there is no policy, or it is an administrator */
};

struct hc_status_reader hc_status_reader_of(struct hc_policy *policy,
                                            const struct hc_identity *identity);

/* False also of what is no repo's id. */
bool hc_status_reader_sees(const struct hc_status_reader *reader, enum hc_repo_type type,
                           const char *repo_id);

/*
 * Removes from the lists of repos, failures and kept revisions what the reader may not
 * see. Of failures the names of other callers go, and those of no repo but its own.
 */
void hc_status_reader_limit(const struct hc_status_reader *reader,
                            struct hc_status_facts *facts);

#endif
