/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of --policy while the server runs: it is read again when it has changed, or
 * when a reload asks for that. A wrong one changes nothing, and is told in the log, by
 * the metrics, on the status page and by /healthz until a right one is read. Callable
 * from any thread.
 */
#ifndef HC_SERVER_POLICY_FILE_H
#define HC_SERVER_POLICY_FILE_H

#include <base/auto.h>
#include <hubcache/resolver.h>

struct hc_policy_file;

/* Both are borrowed. The resolver has read the file of its settings, at `path`; it is
 * read once more, so that no change since then is missed. */
struct hc_policy_file *hc_policy_file_open(struct hc_resolver *resolver, const char *path,
                                           struct hc_error *err);
void hc_policy_file_close(struct hc_policy_file *file);
HC_DEFINE_AUTO(hc_policy_file, hc_policy_file_close)

/* Reads the file. -1: it is wrong, and the policy of before holds. */
int hc_policy_file_read(struct hc_policy_file *file, struct hc_error *err);

/* Reads it if it has changed since the last look or reading. */
void hc_policy_file_look(struct hc_policy_file *file);

/* Logs which token files of the policy's rules cannot be read. */
void hc_policy_file_warn(const char *path);

struct hc_policy_state {
    int64_t since_s;           /* when the policy that holds was read */
    uint64_t replaced, failed; /* since the start: how often it was, or was wrong */
    char error[sizeof((struct hc_error *)0)->message]; /* "": the newest file holds */
};

void hc_policy_file_state(struct hc_policy_file *file, struct hc_policy_state *state);

#endif
