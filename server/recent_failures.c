/* SPDX-License-Identifier: Apache-2.0 */
/* An unordered table: the entry whose last failure is the oldest one gives way. */
#include "recent_failures.h"

#include "caller.h"

#include <base/hash.h>
#include <base/text.h>

#include <string.h>

void hc_recent_failures_init(struct hc_recent_failures *failures)
{
    *failures = (struct hc_recent_failures){0};
    (void)pthread_mutex_init(&failures->shared.lock, NULL);
}

void hc_recent_failures_clear(struct hc_recent_failures *failures)
{
    (void)pthread_mutex_destroy(&failures->shared.lock);
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    return hc_hash_bytes(hash, text, strlen(text) + 1);
}

static uint64_t failure_key(const struct hc_request *request,
                            const struct hc_answer *answer)
{
    const unsigned numbers[] = {answer->code, answer->reason, request->subject.repo_type};
    uint64_t hash = hc_hash_bytes(HC_HASH_START, numbers, sizeof numbers);

    hash = hash_text(hash, request->method);
    hash = hash_text(hash, request->subject.repo_id);
    hash = hash_text(hash, request->subject.revision);
    return hash_text(hash, request->identity ? request->identity->name : "");
}

/* The lock is held. The entry of that key, or else the one to write over. */
static struct hc_recent_failure *failures_find(struct hc_recent_failures *failures,
                                               uint64_t key)
{
    struct hc_recent_failure *oldest = failures->shared.items;

    for (size_t i = 0; i < failures->shared.count; i++) {
        struct hc_recent_failure *item = &failures->shared.items[i];

        if (item->key == key)
            return item;
        if (item->last_ms < oldest->last_ms)
            oldest = item;
    }
    return failures->shared.count < HC_RECENT_FAILURES_MAX
               ? &failures->shared.items[failures->shared.count++]
               : oldest;
}

/* The beginning of a text that may have more, without half a character at its end. */
static void copy_start(char *buffer, size_t size, const char *text)
{
    size_t length = strnlen(text, size);

    if (length == size) {
        length = size - 1;
        while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
            length--;
    }
    memcpy(buffer, text, length);
    buffer[length] = '\0';
}

void hc_recent_failures_add(struct hc_recent_failures *failures,
                            const struct hc_request *request,
                            const struct hc_answer *answer, int64_t now_ms)
{
    uint64_t key = failure_key(request, answer);
    struct hc_recent_failure *item;
    HC_LOCKED(&failures->shared.lock);

    item = failures_find(failures, key);
    if (item->key != key || item->count == 0)
        *item = (struct hc_recent_failure){.key = key, .first_ms = now_ms};
    item->last_ms = now_ms;
    item->count++;
    item->method = request->method;
    item->reason = answer->reason;
    item->code = answer->code;
    item->repo_type = request->subject.repo_type;
    copy_start(item->repo_id, sizeof item->repo_id, request->subject.repo_id);
    copy_start(item->revision, sizeof item->revision, request->subject.revision);
    copy_start(item->caller, sizeof item->caller,
               request->identity ? request->identity->name : "");
    copy_start(item->message, sizeof item->message, answer->message);
}

static int compare_failures(const void *left, const void *right)
{
    const struct hc_recent_failure *a = left, *b = right;

    return (a->last_ms < b->last_ms) - (a->last_ms > b->last_ms);
}

size_t hc_recent_failures_copy(struct hc_recent_failures *failures,
                               struct hc_recent_failure items[HC_RECENT_FAILURES_MAX])
{
    size_t count;

    {
        HC_LOCKED(&failures->shared.lock);

        count = failures->shared.count;
        memcpy(items, failures->shared.items, count * sizeof *items);
    }
    qsort(items, count, sizeof *items, compare_failures);
    return count;
}
