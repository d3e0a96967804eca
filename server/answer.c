/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One allocation per answer: the struct, its bytes, and the text of its message.
 *
 * A failure follows Google's error model (AIP-193, google/rpc/error_details.proto): a
 * google.rpc.Status whose details are ErrorInfo always, RetryInfo, BadRequest and Help
 * where they apply. gRPC's clients expect it in the trailer "grpc-status-details-bin".
 *
 * Two traps: protocol buffers in most languages refuse a whole message for one string
 * that is not UTF-8, and HTTP/2 peers refuse trailers over 8 KiB. So each text is cleaned
 * and shortened before it is packed.
 */
#include "answer.h"

#include "message.h"

#include <base/error.h>
#include <base/text.h>

#include <google/rpc/error_details.pb-c.h>
#include <google/rpc/status.pb-c.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { WIRE_LENGTH_DELIMITED = 2 };

/* Allocates room for `size` bytes, and copies `message` behind them. */
static struct hc_answer *answer_allocate(size_t size, const char *message)
{
    size_t text = strlen(message) + 1;
    struct hc_answer *answer = malloc(sizeof *answer + size + text);
    uint8_t *room;

    if (!answer)
        return NULL;
    room = (uint8_t *)(answer + 1);
    answer->code = 0;
    answer->reason = HC_OK;
    answer->retry_ms = 0;
    answer->tail = answer->next = NULL;
    answer->facts = (struct hc_facts){.source = HC_SOURCE_UNSPECIFIED};
    answer->subject = NULL;
    answer->bytes = room;
    answer->size = size;
    answer->message = memcpy(room + size, message, text);
    atomic_store(&answer->holders, 1);
    return answer;
}

/* The bytes, writable until the answer is shared. */
static uint8_t *answer_bytes(struct hc_answer *answer)
{
    return (uint8_t *)(answer + 1);
}

struct hc_answer *hc_answer_new(const ProtobufCMessage *message)
{
    struct hc_answer *answer =
        answer_allocate(protobuf_c_message_get_packed_size(message), "");

    if (answer)
        (void)protobuf_c_message_pack(message, answer_bytes(answer));
    return answer;
}

struct hc_answer *hc_answer_new_end(void)
{
    struct hc_answer *answer = answer_allocate(0, "");

    if (answer)
        answer->bytes = NULL;
    return answer;
}

struct hc_answer *hc_answer_new_room(size_t size, uint8_t **room)
{
    struct hc_answer *answer = answer_allocate(size, "");

    if (answer)
        *room = answer_bytes(answer);
    return answer;
}

struct hc_answer *hc_answer_new_failure(unsigned code, enum hc_reason reason,
                                        const char *message,
                                        const ProtobufCMessage *details)
{
    size_t size = details ? protobuf_c_message_get_packed_size(details) : 0;
    struct hc_answer *answer = answer_allocate(size, message);

    if (!answer)
        return NULL;
    answer->code = code;
    answer->reason = reason;
    if (details)
        (void)protobuf_c_message_pack(details, answer_bytes(answer));
    return answer;
}

/*
 * A message that holds one message is a tag, a length and the inner message's bytes:
 * those are copied and not packed again, because the inner answer has been packed
 * already.
 */
struct hc_answer *hc_answer_wrap(unsigned number, const struct hc_answer *inner)
{
    uint8_t head[2 * HC_MESSAGE_VARINT_MAX];
    size_t used = hc_message_put_varint(head, number << 3 | WIRE_LENGTH_DELIMITED);
    struct hc_answer *answer;

    used += hc_message_put_varint(head + used, inner->size);
    answer = answer_allocate(used + inner->size, "");
    if (!answer)
        return NULL;
    memcpy(answer_bytes(answer), head, used);
    memcpy(answer_bytes(answer) + used, inner->bytes, inner->size);
    answer->facts = inner->facts;
    return answer;
}

/* ---- failures ---------------------------------------------------------------------- */

enum { INFO_MAX = 8, DETAILS_MAX = 4, INFO_SIZE = 400, DETAIL_SIZE = 4096 };

typedef Google__Rpc__ErrorInfo__MetadataEntry info_entry;

/*
 * The details of one failure while they are built: the entries of ErrorInfo, then one
 * packed detail after the other. They are some 20 KiB, so they are allocated and not on
 * the stack.
 */
struct details {
    info_entry info[INFO_MAX];
    char texts[INFO_MAX][INFO_SIZE];
    info_entry *info_list[INFO_MAX];
    size_t info_count;
    Google__Protobuf__Any any[DETAILS_MAX];
    Google__Protobuf__Any *list[DETAILS_MAX];
    uint8_t packed[DETAILS_MAX][DETAIL_SIZE];
    size_t count;
    char message[sizeof((struct hc_error *)0)->message];
    char missing[sizeof((struct hc_error *)0)->missing];
};

/*
 * Copies the characters that fit, whole ones only; a byte that is no UTF-8 becomes "?".
 */
static char *text_clean(char *out, size_t size, const char *text)
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

/* Borrows `value`. */
static void details_add_clean_text(struct details *details, const char *key, char *value)
{
    info_entry *added = &details->info[details->info_count];

    google__rpc__error_info__metadata_entry__init(added);
    added->key = hc_unconst(key);
    added->value = value;
    details->info_list[details->info_count++] = added;
}

static void details_add_text(struct details *details, const char *key, const char *value)
{
    char *text = details->texts[details->info_count];

    if (value && *value)
        details_add_clean_text(details, key, text_clean(text, INFO_SIZE, value));
}

static void details_add_number(struct details *details, const char *key, uint64_t number)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    details_add_text(details, key, text);
}

static void details_add_request(struct details *details, const struct hc_target *target)
{
    enum hc_repo_type type = target->type;

    details_add_text(details, "repo_id", target->id);
    details_add_text(details, "repo_type",
                     hc_repo_type_name(type ? type : HC_REPO_MODEL));
    details_add_text(details, "revision", target->revision ? target->revision : "main");
}

/* The sizes of the texts keep each detail below DETAIL_SIZE; a larger one is left out. */
static void details_add(struct details *details, const ProtobufCMessage *message,
                        const char *url)
{
    uint8_t *packed = details->packed[details->count];
    Google__Protobuf__Any *any = &details->any[details->count];

    if (protobuf_c_message_get_packed_size(message) > DETAIL_SIZE)
        return;
    google__protobuf__any__init(any);
    any->type_url = hc_unconst(url);
    any->value.data = packed;
    any->value.len = protobuf_c_message_pack(message, packed);
    details->list[details->count++] = any;
}

static void details_add_error_info(struct details *details, const struct hc_error *err,
                                   const struct hc_target *target, const char *filename)
{
    Google__Rpc__ErrorInfo info;

    google__rpc__error_info__init(&info);
    if (target)
        details_add_request(details, target);
    details_add_text(details, "filename", filename ? filename : err->filename);
    if (err->reason == HC_NO_SPACE) {
        details_add_number(details, "needed_bytes", err->needed_bytes);
        details_add_number(details, "free_bytes", err->free_bytes);
        if (err->limit_bytes > 0)
            details_add_number(details, "limit_bytes", err->limit_bytes);
        if (err->rule[0])
            details_add_text(details, "rule", err->rule);
    }
    if (err->reason == HC_INCOMPLETE_SNAPSHOT) {
        details_add_clean_text(details, "missing",
                               text_clean(details->missing, sizeof details->missing,
                                          err->missing));
        details_add_number(details, "missing_count", err->missing_count);
    }
    if (err->reason == HC_POLICY_DENIED) {
        details_add_text(details, "rule", err->rule);
        details_add_text(details, "rule_message", err->rule_message);
        details_add_text(details, "alternative", err->alternative);
    }
    info.domain = hc_unconst("hubcache");
    info.reason = hc_unconst(hc_reason_name(err->reason));
    info.n_metadata = details->info_count;
    info.metadata = details->info_list;
    details_add(details, &info.base, "type.googleapis.com/google.rpc.ErrorInfo");
}

/*
 * A Hub may send Retry-After with every status; these are worth a retry. hubcache itself
 * asks for one when it does not know the key of a caller's token yet.
 */
static unsigned error_retry_ms(const struct hc_error *err)
{
    if (err->reason == HC_CALLER_UNAUTHENTICATED)
        return err->retry_after_ms;
    switch (hc_reason_status(err->reason)) {
    case HC_STATUS_UNAVAILABLE:
    case HC_STATUS_RESOURCE_EXHAUSTED:
    case HC_STATUS_INTERNAL:
        return err->retry_after_ms;
    default:
        return 0;
    }
}

static void details_add_retry_info(struct details *details, unsigned retry_ms)
{
    Google__Protobuf__Duration delay;
    Google__Rpc__RetryInfo retry;

    google__rpc__retry_info__init(&retry);
    google__protobuf__duration__init(&delay);
    delay.seconds = retry_ms / 1000;
    delay.nanos = (int32_t)(retry_ms % 1000 * 1000000);
    retry.retry_delay = &delay;
    details_add(details, &retry.base, "type.googleapis.com/google.rpc.RetryInfo");
}

static void details_add_bad_request(struct details *details, const struct hc_error *err)
{
    Google__Rpc__BadRequest__FieldViolation violation;
    Google__Rpc__BadRequest__FieldViolation *violations[] = {&violation};
    Google__Rpc__BadRequest bad;
    char field[sizeof err->field];

    google__rpc__bad_request__init(&bad);
    google__rpc__bad_request__field_violation__init(&violation);
    violation.field = text_clean(field, sizeof field, err->field);
    violation.description = details->message;
    bad.n_field_violations = 1;
    bad.field_violations = violations;
    details_add(details, &bad.base, "type.googleapis.com/google.rpc.BadRequest");
}

static void details_add_help(struct details *details, const struct hc_error *err)
{
    Google__Rpc__Help__Link link;
    Google__Rpc__Help__Link *links[] = {&link};
    Google__Rpc__Help help;
    char url[sizeof err->link];

    google__rpc__help__init(&help);
    google__rpc__help__link__init(&link);
    link.description = hc_unconst("The repo's page on the Hub");
    link.url = text_clean(url, sizeof url, err->link);
    help.n_links = 1;
    help.links = links;
    details_add(details, &help.base, "type.googleapis.com/google.rpc.Help");
}

struct hc_answer *hc_answer_of_error(const struct hc_error *err,
                                     const struct hc_target *target, const char *filename)
{
    Google__Rpc__Status status;
    HC_AUTO_FREE struct details *details = calloc(1, sizeof *details);
    unsigned code = hc_reason_status(err->reason);
    unsigned retry_ms = error_retry_ms(err);
    struct hc_answer *answer;

    google__rpc__status__init(&status);
    if (!details)
        return NULL;
    (void)text_clean(details->message, sizeof details->message, err->message);
    details_add_error_info(details, err, target, filename);
    if (retry_ms > 0)
        details_add_retry_info(details, retry_ms);
    if (err->field[0])
        details_add_bad_request(details, err);
    if (err->link[0])
        details_add_help(details, err);
    status.code = (int32_t)code;
    status.message = details->message;
    status.n_details = details->count;
    status.details = details->list;
    answer = hc_answer_new_failure(code, err->reason, details->message, &status.base);
    if (answer) {
        answer->retry_ms = retry_ms;
        (void)hc_format(answer->facts.rule, sizeof answer->facts.rule, "%s", err->rule);
    }
    return answer;
}

/* ---- sharing ----------------------------------------------------------------------- */

void hc_answer_set_tail(struct hc_answer *answer, struct hc_answer *tail)
{
    answer->tail = hc_answer_hold(tail);
}

void hc_answer_set_next(struct hc_answer *answer, struct hc_answer *next)
{
    answer->next = hc_answer_hold(next);
}

bool hc_answer_set_subject(struct hc_answer *answer, const struct hc_subject *subject)
{
    answer->subject = malloc(sizeof *subject);
    if (answer->subject)
        *answer->subject = *subject;
    return answer->subject;
}

struct hc_answer *hc_answer_hold(struct hc_answer *answer)
{
    /* Not relaxed: the last holder may be a thread of gRPC, which frees the answer. */
    atomic_fetch_add(&answer->holders, 1);
    return answer;
}

void hc_answer_release(struct hc_answer *answer)
{
    while (answer && atomic_fetch_sub(&answer->holders, 1) == 1) {
        struct hc_answer *rest = answer->tail ? answer->tail : answer->next;

        free(answer->subject);
        free(answer);
        answer = rest;
    }
}
