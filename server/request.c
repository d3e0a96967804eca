/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a call's headers and message give for logs, limits and permissions.
 *
 * The token is copied into the arena, because the value of a header does not end with a
 * NUL; the arena wipes the copy when the method's function returns. Repo and commit are
 * copied into the struct, because the log line is written after the message and the
 * answer are freed.
 */
#include "request.h"

#include "caller.h"
#include "freed_memory.h"
#include "rpc.h"

#include <base/error.h>
#include <base/hash.h>
#include <base/text.h>

#include <string.h>

enum { TOKEN_MAX = 4096 };

void hc_request_init(struct hc_request *request, uint64_t id, int64_t arrived_ns,
                     struct hc_arena *arena)
{
    request->method = "unknown";
    request->method_number = 0;
    request->id = id;
    request->arrived_ns = arrived_ns;
    request->deadline_ms = HC_NO_DEADLINE;
    request->arena = arena;
    request->caller = 0;
    request->identity = NULL;
    request->trace = (struct hc_trace){.flags = 0};
    request->peer[0] = '\0';
    request->hub_token = "";
    request->subject.repo_type = HC_REPO_DEFAULT;
    request->subject.repo_id[0] = '\0';
    request->subject.revision[0] = '\0';
    request->subject.filename[0] = '\0';
    request->subject.patterns[0] = '\0';
    request->facts = (struct hc_facts){.source = HC_SOURCE_UNSPECIFIED};
}

void hc_request_clear(struct hc_request *request)
{
    hc_caller_release(hc_take(&request->identity));
}

/* Python's str.strip(), which the Hub's own clients clean a token file with, in ASCII. */
static bool is_white_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

int hc_request_read_token(struct hc_request *request, const struct hc_rpc_call *call,
                          struct hc_error *err)
{
    const char *value = "";
    char *copy;
    size_t size = 0;

    if (*request->hub_token || !hc_rpc_call_header(call, "x-hub-token", &value, &size))
        return 0;
    hc_freed_memory_wipe();
    for (; size > 0 && is_white_space(value[size - 1]); size--)
        continue;
    for (; size > 0 && is_white_space(*value); size--)
        value++;
    if (size > TOKEN_MAX)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "x-hub-token",
                             "x-hub-token is longer than %d bytes", TOKEN_MAX);
    /*
     * The Hub's request will have the token in a header: RFC 9110, 5.5, without spaces.
     */
    for (size_t i = 0; i < size; i++) {
        if (value[i] < 0x21 || value[i] > 0x7e)
            return hc_fail_field(err, HC_INVALID_OPTIONS, "x-hub-token",
                                 "x-hub-token contains a space or an unprintable byte");
    }
    copy = hc_arena_take_secret(request->arena, size + 1);
    if (!copy)
        return hc_fail_memory(err);
    memcpy(copy, value, size);
    copy[size] = '\0';
    request->hub_token = copy;
    return 0;
}

/* Copies what fits. */
static void text_copy_start(char *out, size_t size, const char *text)
{
    size_t length = strnlen(text, size - 1);

    memcpy(out, text, length);
    out[length] = '\0';
}

void hc_request_set_target(struct hc_request *request, const struct hc_target *target,
                           const char *filename)
{
    struct hc_subject *subject = &request->subject;

    subject->repo_type = target->type == HC_REPO_DEFAULT ? HC_REPO_MODEL : target->type;
    text_copy_start(subject->repo_id, sizeof subject->repo_id, target->id);
    text_copy_start(subject->revision, sizeof subject->revision,
                    target->revision ? target->revision : "main");
    if (filename)
        text_copy_start(subject->filename, sizeof subject->filename, filename);
}

void hc_request_add_pattern(struct hc_request *request, char sign, const char *pattern)
{
    char *patterns = request->subject.patterns;
    size_t used = strlen(patterns);
    const size_t size = sizeof request->subject.patterns;

    if (size - used < 4)
        return;
    if (used > 0)
        patterns[used++] = ' ';
    patterns[used++] = sign;
    text_copy_start(patterns + used, size - used, pattern);
}

void hc_request_identify(struct hc_request *request, const struct hc_rpc_call *call)
{
    const char *identity = request->hub_token;
    size_t size = strlen(identity);

    if (request->identity) {
        request->caller = request->identity->hash;
        return;
    }
    if (hc_rpc_call_header(call, "authorization", &identity, &size))
        hc_freed_memory_wipe();
    if (size > 0)
        request->caller = hc_hash_bytes(HC_HASH_START, identity, size);
}

/*
 * Only for calls that wait: gRPC allocates the text of an address, which a hit would pay.
 */
void hc_request_identify_by_address(struct hc_request *request,
                                    const struct hc_rpc_call *call)
{
    char address[HC_RPC_PEER_MAX];

    if (request->caller != 0)
        return;
    hc_rpc_call_peer(call, address);
    request->caller = hc_hash_bytes(HC_HASH_START, address, strlen(address));
}

struct hc_fetch_options hc_request_options(const struct hc_request *request)
{
    return (struct hc_fetch_options){
        .hub_token = *request->hub_token ? request->hub_token : NULL,
        .caller = request->caller,
        .identity = request->identity ? &request->identity->identity : NULL};
}

uint64_t hc_request_repo_hash(const struct hc_target *target)
{
    uint64_t hash = hc_hash_bytes(HC_HASH_START, &target->type, sizeof target->type);

    return hc_hash_bytes(hash, target->id, strlen(target->id));
}
