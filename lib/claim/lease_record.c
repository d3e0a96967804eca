/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An id is read from its end: the last two parts have a fixed length, and the folder of a
 * repo may have dots itself.
 */
#include "lease_record.h"

#include <base/json.h>
#include <base/text.h>
#include <repo/name.h>

#include <string.h>
#include <sys/random.h>

enum {
    COMMIT_LENGTH = HC_COMMIT_SIZE - 1,
    TAIL_LENGTH = 1 + COMMIT_LENGTH + 1 + HC_LEASE_NAME_LENGTH, /* ".<commit>.<name>" */
    RANDOM_SIZE = HC_LEASE_NAME_LENGTH / 2
};

_Static_assert(HC_LEASE_ID_SIZE > HC_REPO_FOLDER_MAX + TAIL_LENGTH, "an id fits");
_Static_assert(sizeof((struct hc_lease *)0)->repo_id > HC_REPO_ID_MAX, "a repo id fits");

bool hc_lease_name_is_valid(const char *name)
{
    return hc_text_is_hex(name, HC_LEASE_NAME_LENGTH);
}

bool hc_lease_record_of_file(struct hc_lease *lease, const struct hc_repo *repo,
                             const char *commit, const char *name)
{
    if (!hc_commit_is_valid(commit) || !hc_lease_name_is_valid(name))
        return false;
    *lease = (struct hc_lease){.repo_type = repo->type};
    memcpy(lease->repo_id, repo->id, strlen(repo->id));
    memcpy(lease->commit_hash, commit, COMMIT_LENGTH);
    return hc_format(lease->id, sizeof lease->id, "%s.%s.%s", repo->folder, commit,
                     name) > 0;
}

int hc_lease_record_new(struct hc_lease *lease, const struct hc_repo *repo,
                        const char *commit, struct hc_error *err)
{
    unsigned char random[RANDOM_SIZE];
    char name[HC_LEASE_NAME_LENGTH + 1];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return hc_fail(err, HC_INTERNAL, "the system gives no random numbers");
    for (size_t i = 0; i < sizeof random; i++)
        (void)hc_format(name + 2 * i, sizeof name - 2 * i, "%02x", random[i]);
    if (!hc_lease_record_of_file(lease, repo, commit, name))
        return hc_fail(err, HC_INTERNAL, "'%s' is no commit to lease", commit);
    return 0;
}

bool hc_lease_id_parse(const char *id, struct hc_lease *lease, struct hc_repo *repo)
{
    size_t length = strnlen(id, HC_LEASE_ID_SIZE);
    char folder[HC_LEASE_ID_SIZE], commit[HC_COMMIT_SIZE];
    const char *tail = id + length - TAIL_LENGTH;

    if (length <= TAIL_LENGTH || length >= HC_LEASE_ID_SIZE || tail[0] != '.' ||
        tail[1 + COMMIT_LENGTH] != '.')
        return false;
    memcpy(folder, id, length - TAIL_LENGTH);
    folder[length - TAIL_LENGTH] = '\0';
    memcpy(commit, tail + 1, COMMIT_LENGTH);
    commit[COMMIT_LENGTH] = '\0';
    return hc_repo_parse_folder(repo, folder) &&
           hc_lease_record_of_file(lease, repo, commit, hc_lease_id_name(id));
}

const char *hc_lease_id_name(const char *id)
{
    return id + strlen(id) - HC_LEASE_NAME_LENGTH;
}

char *hc_lease_record_format(const struct hc_lease *lease, struct hc_error *err)
{
    HC_AUTO_JSON *object =
        json_pack("{s:s, s:s, s:s, s:I}", "kind", lease->kind, "caller", lease->caller,
                  "pod", lease->pod, "since", (json_int_t)lease->since_ms);
    char *content = object ? json_dumps(object, JSON_COMPACT) : NULL;

    if (!content)
        (void)hc_fail_memory(err);
    return content;
}

/* False when there is no such member, or it is longer than any that is written. */
static bool record_copy(const json_t *object, const char *key, char *out, size_t size)
{
    const char *value = json_string_value(json_object_get(object, key));

    return value && hc_format(out, size, "%s", value) >= 0;
}

void hc_lease_record_parse(struct hc_lease *lease, const char *content, size_t size)
{
    HC_AUTO_JSON *object = json_loadb(content, size, 0, NULL);
    const json_t *since = json_object_get(object, "since");

    lease->since_ms = json_is_integer(since) ? json_integer_value(since) : 0;
    if (record_copy(object, "kind", lease->kind, sizeof lease->kind) &&
        record_copy(object, "caller", lease->caller, sizeof lease->caller) &&
        record_copy(object, "pod", lease->pod, sizeof lease->pod))
        return;
    (void)hc_format(lease->kind, sizeof lease->kind, "unknown");
    lease->caller[0] = lease->pod[0] = '\0';
}
