/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header lines and the body of an error, as a hostile Hub or proxy may send them. For any
 * input, values end with a NUL, an etag that is accepted is safe as a file name, and the
 * error message can be printed.
 */
#include "fuzz.h"

#include <base/size.h>
#include <base/text.h>
#include <hub/response.h>

/* The first byte is the status, lines follow; an empty line begins the body. */
static void read_answer(struct hc_hub_response *reply, const char *text, size_t size)
{
    const char *end = text + size;

    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *next = newline ? newline + 1 : end;

        if (next - text == 1 && newline) {
            hc_hub_response_body(reply, next, (size_t)(end - next));
            return;
        }
        hc_hub_response_header(reply, text, (size_t)(next - text));
        text = next;
    }
}

static void check_metadata(const struct hc_hub_response *reply,
                           const struct hc_hub_target *question)
{
    struct hc_metadata metadata;
    struct hc_error err;

    if (hc_hub_response_metadata(reply, question, &metadata, &err) < 0) {
        fuzz_require(err.reason == HC_BAD_HUB_REPLY);
        return;
    }
    fuzz_require(hc_commit_is_valid(metadata.commit));
    fuzz_require(metadata.etag[0] && !strchr(metadata.etag, '/'));
    fuzz_require(strcmp(metadata.etag, ".") != 0 && strcmp(metadata.etag, "..") != 0);
    fuzz_require(metadata.size <= INT64_MAX || metadata.size == HC_SIZE_UNKNOWN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hc_repo repo;
    struct hc_error err;
    struct hc_hub_response reply = {0};
    struct hc_hub_target question = {.repo = &repo,
                                     .revision = "main",
                                     .path = "f",
                                     .endpoint = "https://hub.example",
                                     .had_token = size % 2 == 0};

    if (size == 0 || hc_repo_init(&repo, HC_REPO_MODEL, "org/m", &err) < 0)
        return 0;
    read_answer(&reply, (const char *)data + 1, size - 1);
    reply.status = 4L * data[0];
    fuzz_require(hc_text_is_printable(reply.error_message));
    fuzz_require(reply.retry_after_ms <= 86400000);
    fuzz_require(!reply.has_range || reply.range_start < reply.range_end);
    fuzz_require(!reply.has_range || reply.range_total == 0 ||
                 reply.range_end <= reply.range_total);
    fuzz_require(!(reply.has_range && reply.has_bad_range));
    (void)hc_hub_response_fail(&reply, &question, &err);
    fuzz_require(err.reason != HC_OK && hc_text_is_printable(err.message));
    check_metadata(&reply, &question);
    return 0;
}
