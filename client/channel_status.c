/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hubcached sends its error in `grpc-status-details-bin`; the proto file has the table
 * of reasons. Details that cannot be decoded are treated as if there were none. Two kinds
 * of status are mapped by their code alone: one without details, which gRPC itself or a
 * proxy on the way has made, and one with a reason that this client does not know, which
 * a newer server has sent.
 */
#include "channel_status.h"

#include "base/text.h"
#include "message.h"

#include <google/protobuf/any.pb-c.h>
#include <google/protobuf/duration.pb-c.h>
#include <google/rpc/error_details.pb-c.h>
#include <google/rpc/status.pb-c.h>
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ERROR_DOMAIN "hubcache"

/*
 * The first detail of that type, unpacked; NULL when there is none. Types are compared by
 * the name after the slash, as google.protobuf.Any asks for: the host before it varies.
 */
static ProtobufCMessage *details_find(const Google__Rpc__Status *status,
                                      const ProtobufCMessageDescriptor *type)
{
    for (size_t i = 0; i < status->n_details; i++) {
        const Google__Protobuf__Any *any = status->details[i];
        const char *slash = strrchr(any->type_url, '/');

        if (slash && strcmp(slash + 1, type->name) == 0)
            return protobuf_c_message_unpack(type, NULL, any->value.len, any->value.data);
    }
    return NULL;
}

/* The value of a metadata key of ErrorInfo; "" when it is not there. */
static const char *error_info_find(const Google__Rpc__ErrorInfo *info, const char *key)
{
    for (size_t i = 0; i < info->n_metadata; i++) {
        if (strcmp(info->metadata[i]->key, key) == 0)
            return info->metadata[i]->value;
    }
    return "";
}

/* A reason of another domain, or one that a newer server added, leaves the code's. */
static void status_read_error_info(const Google__Rpc__Status *status,
                                   struct hc_error *err)
{
    HC_AUTO_MESSAGE *message = details_find(status, &google__rpc__error_info__descriptor);
    const Google__Rpc__ErrorInfo *info = (const Google__Rpc__ErrorInfo *)message;

    if (!info || strcmp(info->domain, ERROR_DOMAIN) != 0)
        return;
    if (hc_reason_from_name(info->reason) != HC_OK)
        err->reason = hc_reason_from_name(info->reason);
    err->needed_bytes = strtoull(error_info_find(info, "needed_bytes"), NULL, 10);
    err->free_bytes = strtoull(error_info_find(info, "free_bytes"), NULL, 10);
    err->limit_bytes = strtoull(error_info_find(info, "limit_bytes"), NULL, 10);
    err->missing_count =
        (unsigned)strtoul(error_info_find(info, "missing_count"), NULL, 10);
    (void)snprintf(err->filename, sizeof err->filename, "%s",
                   error_info_find(info, "filename"));
    (void)snprintf(err->missing, sizeof err->missing, "%s",
                   error_info_find(info, "missing"));
    (void)snprintf(err->rule, sizeof err->rule, "%s", error_info_find(info, "rule"));
    (void)snprintf(err->rule_message, sizeof err->rule_message, "%s",
                   error_info_find(info, "rule_message"));
    (void)snprintf(err->alternative, sizeof err->alternative, "%s",
                   error_info_find(info, "alternative"));
}

/* Delays beyond a day are cut to one, so that the milliseconds fit. */
static void status_read_retry(const Google__Rpc__Status *status, struct hc_error *err)
{
    const int64_t seconds_max = 24L * 60 * 60;
    HC_AUTO_MESSAGE *message = details_find(status, &google__rpc__retry_info__descriptor);
    const Google__Rpc__RetryInfo *info = (const Google__Rpc__RetryInfo *)message;
    const Google__Protobuf__Duration *delay = info ? info->retry_delay : NULL;

    if (!delay || delay->seconds < 0 || delay->nanos < 0)
        return;
    if (delay->seconds > seconds_max)
        err->retry_after_ms = (unsigned)(seconds_max * 1000);
    else
        err->retry_after_ms = (unsigned)(delay->seconds * 1000 + delay->nanos / 1000000);
}

/* Only the first violation: the server refuses a request at its first invalid field. */
static void status_read_field(const Google__Rpc__Status *status, struct hc_error *err)
{
    HC_AUTO_MESSAGE *message =
        details_find(status, &google__rpc__bad_request__descriptor);
    const Google__Rpc__BadRequest *request = (const Google__Rpc__BadRequest *)message;

    if (request && request->n_field_violations > 0)
        (void)snprintf(err->field, sizeof err->field, "%s",
                       request->field_violations[0]->field);
}

/* A link that does not fit is left out, since a cut one would lead nowhere. */
static void status_read_link(const Google__Rpc__Status *status, struct hc_error *err)
{
    HC_AUTO_MESSAGE *message = details_find(status, &google__rpc__help__descriptor);
    const Google__Rpc__Help *help = (const Google__Rpc__Help *)message;

    if (help && help->n_links > 0)
        (void)hc_format(err->link, sizeof err->link, "%s", help->links[0]->url);
}

/* The reason for codes that gRPC itself, a proxy or a newer server may send. */
static enum hc_reason reason_of_status_code(int code)
{
    switch (code) {
    case HC_STATUS_CANCELLED:
        return HC_CANCELLED;
    case HC_STATUS_INVALID_ARGUMENT:
        return HC_INVALID_OPTIONS;
    case HC_STATUS_DEADLINE_EXCEEDED:
        return HC_DEADLINE_EXCEEDED;
    case HC_STATUS_NOT_FOUND:
        return HC_ENTRY_NOT_FOUND;
    case HC_STATUS_PERMISSION_DENIED:
        return HC_POLICY_DENIED;
    case HC_STATUS_UNAVAILABLE:
        return HC_SERVER_UNAVAILABLE;
    case HC_STATUS_UNAUTHENTICATED:
        return HC_CALLER_UNAUTHENTICATED;
    default:
        return HC_INTERNAL;
    }
}

/* Parts of what gRPC's releases say, and what each means. */
static const struct {
    const char *text, *meaning;
} tls_failures[] = {
    {"is not in peer certificate",
     "its certificate is for another name: use a name that it has as the address, or "
     "give one as the TLS server name"},
    {"certificate verify failed",
     "its certificate is signed by no authority that is trusted here (a private one has "
     "to be named as the TLS CA), or it has expired or is not valid yet"},
    {"wrong version number", "it does not speak TLS at this address: ask it without, or "
                             "use the port that has TLS"},
    {"packet length too long", "it does not speak TLS at this address: ask it without, "
                               "or use the port that has TLS"},
    {"empty address list",
     "this machine has no authorities to trust, unless one is named as the TLS CA; or "
     "the name has no address"},
    {"SSL_ERROR_SSL",
     "the signature of its certificate is not that of the trusted authority of that "
     "name, or the two sides have no TLS in common"},
};

static const char *tls_failure_meaning(const struct hc_channel_status *status)
{
    for (size_t i = 0; i < sizeof tls_failures / sizeof *tls_failures; i++) {
        if (status->has_tls && strcasestr(status->text, tls_failures[i].text))
            return tls_failures[i].meaning;
    }
    return NULL;
}

bool hc_channel_status_is_tls_failure(const struct hc_channel_status *status)
{
    return tls_failure_meaning(status) != NULL;
}

/* A server that wants another kind of connection hangs up, and says no more. */
static const char *unavailable_advice(const struct hc_channel_status *status)
{
    if (!strcasestr(status->text, "socket closed") &&
        !strcasestr(status->text, "connection reset"))
        return "";
    return status->has_tls
               ? "; if it wants client certificates, it may have refused this client's"
               : "; if it speaks TLS, it hangs up on a client without TLS";
}

/*
 * Makes the error of a status without details. UNAVAILABLE and DEADLINE_EXCEEDED are what
 * gRPC itself reports most, so their messages name the next step.
 */
static int status_fail_by_code(const struct hc_channel_status *status,
                               struct hc_error *err)
{
    const int unimplemented = 12;
    enum hc_reason reason = reason_of_status_code(status->code);
    const char *tls_failure = tls_failure_meaning(status);

    if (status->flaw && reason == HC_SERVER_UNAVAILABLE)
        return hc_fail(err, reason, "no TLS connection to '%.128s': %s (%.190s)",
                       status->server, status->flaw, status->text);
    if (tls_failure)
        return hc_fail(err, HC_SERVER_UNAVAILABLE,
                       "no TLS connection to '%.128s': %s (%.190s)", status->server,
                       tls_failure, status->text);
    if (reason == HC_SERVER_UNAVAILABLE)
        return hc_fail(
            err, reason,
            "no hubcached answers at '%.128s': check that it runs and that the "
            "address is right%s (%s)",
            status->server, unavailable_advice(status), status->text);
    if (reason == HC_DEADLINE_EXCEEDED)
        return hc_fail(err, reason,
                       "hubcached at '%.200s' did not answer in time; a download that it "
                       "has begun goes on while other calls wait for it, so ask again or "
                       "wait longer",
                       status->server);
    if (status->code == unimplemented)
        return hc_fail(
            err, reason,
            "the server at '%.200s' is not a hubcached that knows this call (%s)",
            status->server, status->text);
    return hc_fail(err, reason, "hubcached at '%.200s' failed with status %d: %s",
                   status->server, status->code, status->text);
}

int hc_channel_status_fail(const struct hc_channel_status *status, struct hc_error *err)
{
    HC_AUTO_MESSAGE *message = NULL;
    const Google__Rpc__Status *parsed;

    if (status->details)
        message = protobuf_c_message_unpack(&google__rpc__status__descriptor, NULL,
                                            status->details_size, status->details);
    parsed = (const Google__Rpc__Status *)message;
    if (!parsed)
        return status_fail_by_code(status, err);
    (void)hc_fail(err, reason_of_status_code(status->code), "%s", parsed->message);
    status_read_error_info(parsed, err);
    status_read_retry(parsed, err);
    status_read_field(parsed, err);
    status_read_link(parsed, err);
    return -1;
}
