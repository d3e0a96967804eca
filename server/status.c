/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything is built in one place and packed at the end. Protocol buffers in most
 * languages refuse a whole message for one string that is not UTF-8, and HTTP/2 peers
 * refuse trailers over 8 KiB, so each text is cleaned and cut before it goes in.
 */
#include "status.h"

#include "wire.h"

#include <base/error.h>
#include <base/text.h>

#include <google/rpc/error_details.pb-c.h>
#include <google/rpc/status.pb-c.h>
#include <inttypes.h>
#include <string.h>

enum { FACTS_MAX = 8, DETAILS_MAX = 4, FACT_SIZE = 400, DETAIL_SIZE = 4096 };

typedef Google__Rpc__ErrorInfo__MetadataEntry fact;

struct details {
    fact facts[FACTS_MAX];
    char texts[FACTS_MAX][FACT_SIZE];
    fact *fact_list[FACTS_MAX];
    size_t fact_count;
    Google__Protobuf__Any any[DETAILS_MAX];
    Google__Protobuf__Any *list[DETAILS_MAX];
    uint8_t packed[DETAILS_MAX][DETAIL_SIZE];
    size_t count;
    char message[sizeof((struct hc_error *)0)->message];
    char missing[sizeof((struct hc_error *)0)->missing];
};

/* Copies what fits, bytes that are no UTF-8 as "?", no character cut in two. */
static char *clean(char *out, size_t size, const char *text)
{
    size_t used = 0;

    while (*text) {
        size_t length = hc_text_utf8_length(text);
        size_t step = length > 0 ? length : 1;

        if (used + step >= size)
            break;
        memcpy(out + used, length > 0 ? text : "?", step);
        used += step;
        text += step;
    }
    out[used] = '\0';
    return out;
}

/* `value` stays where it is. */
static void add_clean_fact(struct details *details, const char *key, char *value)
{
    fact *added = &details->facts[details->fact_count];

    google__rpc__error_info__metadata_entry__init(added);
    added->key = hc_lend(key);
    added->value = value;
    details->fact_list[details->fact_count++] = added;
}

static void add_fact(struct details *details, const char *key, const char *value)
{
    char *text = details->texts[details->fact_count];

    if (value && *value)
        add_clean_fact(details, key, clean(text, FACT_SIZE, value));
}

static void add_number(struct details *details, const char *key, uint64_t number)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    add_fact(details, key, text);
}

static void add_request(struct details *details, const struct hc_facts *facts)
{
    enum hc_repo_type type = facts->repo_type;

    add_fact(details, "repo_id", facts->repo_id);
    add_fact(details, "repo_type", hc_repo_type_name(type ? type : HC_REPO_MODEL));
    add_fact(details, "revision", facts->revision);
}

/* All details together stay below DETAIL_SIZE by the sizes of their texts. */
static void add_detail(struct details *details, const ProtobufCMessage *message,
                       const char *url)
{
    uint8_t *packed = details->packed[details->count];
    Google__Protobuf__Any *any = &details->any[details->count];

    if (protobuf_c_message_get_packed_size(message) > DETAIL_SIZE)
        return;
    google__protobuf__any__init(any);
    any->type_url = hc_lend(url);
    any->value.data = packed;
    any->value.len = protobuf_c_message_pack(message, packed);
    details->list[details->count++] = any;
}

static void add_info(struct details *details, const struct hc_error *err,
                     const struct hc_facts *facts)
{
    Google__Rpc__ErrorInfo info;

    google__rpc__error_info__init(&info);
    if (facts)
        add_request(details, facts);
    add_fact(details, "filename",
             facts && facts->filename ? facts->filename : err->filename);
    if (err->reason == HC_NO_SPACE) {
        add_number(details, "needed_bytes", err->needed_bytes);
        add_number(details, "free_bytes", err->free_bytes);
    }
    if (err->reason == HC_INCOMPLETE_SNAPSHOT) {
        add_clean_fact(details, "missing",
                       clean(details->missing, sizeof details->missing, err->missing));
        add_number(details, "missing_count", err->missing_count);
    }
    info.domain = hc_lend("hubcache");
    info.reason = hc_lend(hc_reason_name(err->reason));
    info.n_metadata = details->fact_count;
    info.metadata = details->fact_list;
    add_detail(details, &info.base, "type.googleapis.com/google.rpc.ErrorInfo");
}

static void add_retry(struct details *details, const struct hc_error *err)
{
    Google__Protobuf__Duration delay;
    Google__Rpc__RetryInfo retry;

    google__rpc__retry_info__init(&retry);
    google__protobuf__duration__init(&delay);
    delay.seconds = err->retry_after_ms / 1000;
    delay.nanos = (int32_t)(err->retry_after_ms % 1000 * 1000000);
    retry.retry_delay = &delay;
    add_detail(details, &retry.base, "type.googleapis.com/google.rpc.RetryInfo");
}

static void add_bad_request(struct details *details, const struct hc_error *err)
{
    Google__Rpc__BadRequest__FieldViolation violation;
    Google__Rpc__BadRequest__FieldViolation *violations[] = {&violation};
    Google__Rpc__BadRequest bad;
    char field[sizeof err->field];

    google__rpc__bad_request__init(&bad);
    google__rpc__bad_request__field_violation__init(&violation);
    violation.field = clean(field, sizeof field, err->field);
    violation.description = details->message;
    bad.n_field_violations = 1;
    bad.field_violations = violations;
    add_detail(details, &bad.base, "type.googleapis.com/google.rpc.BadRequest");
}

static void add_help(struct details *details, const struct hc_error *err)
{
    Google__Rpc__Help__Link link;
    Google__Rpc__Help__Link *links[] = {&link};
    Google__Rpc__Help help;
    char url[sizeof err->link];

    google__rpc__help__init(&help);
    google__rpc__help__link__init(&link);
    link.description = hc_lend("The repo's page on the Hub");
    link.url = clean(url, sizeof url, err->link);
    help.n_links = 1;
    help.links = links;
    add_detail(details, &help.base, "type.googleapis.com/google.rpc.Help");
}

struct hc_answer *hc_status_answer(const struct hc_error *err,
                                   const struct hc_facts *facts)
{
    Google__Rpc__Status status;
    HC_AUTO_FREE struct details *details = calloc(1, sizeof *details);
    unsigned code = hc_reason_status(err->reason);

    google__rpc__status__init(&status);
    if (!details)
        return NULL;
    (void)clean(details->message, sizeof details->message, err->message);
    add_info(details, err, facts);
    if (err->retry_after_ms > 0)
        add_retry(details, err);
    if (err->field[0])
        add_bad_request(details, err);
    if (err->link[0])
        add_help(details, err);
    status.code = (int32_t)code;
    status.message = details->message;
    status.n_details = details->count;
    status.details = details->list;
    return hc_answer_new_failure(code, err->reason, details->message, &status.base);
}
