/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Without --yes the command asks for a dry run first, shows what it says, and asks the
 * person. What is evicted then may be another set: it was decided a moment later.
 */
#include "eviction.h"

#include "base/auto.h"
#include "base/error.h"
#include "base/text.h"
#include "client/cache_call.h"
#include "confirmation.h"
#include "output.h"
#include "removal_output.h"
#include "units.h"

#include <jansson.h>

enum { NOTE_SIZE = 256 };

typedef Hubcache__V1__EvictResponse evict_response;

struct evict_options {
    struct hc_cache_command base;
    struct hc_consent consent;
};

/* --- the output --------------------------------------------------------------------- */

static int evict_print_json(const struct hc_removal_output *output,
                            const evict_response *response, struct hc_error *err)
{
    json_t *whole = hc_removal_json(output);
    char *text;

    if (whole)
        (void)json_object_set_new(whole, "missing_bytes",
                                  json_integer((json_int_t)response->missing_bytes));
    text = whole ? json_dumps(whole, 0) : NULL;
    json_decref(whole);
    return hc_output_print_json(text, err);
}

static int evict_print(const struct hc_removal_output *output,
                       const evict_response *response, struct hc_error *err)
{
    char missing[HC_UNITS_TEXT_MAX], note[NOTE_SIZE];

    if (hc_removal_print(output, err) < 0)
        return -1;
    if (response->missing_bytes == 0)
        return 0;
    hc_bytes_format(missing, response->missing_bytes);
    (void)hc_format(note, sizeof note, "%s are missing: nothing else may go", missing);
    hc_output_print_note(note);
    return 0;
}

/* --- the calls ---------------------------------------------------------------------- */

static ProtobufCMessage *evict_call(struct hc_client *client, uint64_t bytes,
                                    bool is_dry_run, struct hc_removal_output *output,
                                    struct hc_error *err)
{
    Hubcache__V1__EvictRequest request;
    const evict_response *response;
    ProtobufCMessage *answer;
    const struct hc_channel_request call = {
        .method = HC_CACHE_METHOD("Evict"),
        .message = &request.base,
        .response = &hubcache__v1__evict_response__descriptor,
    };

    hubcache__v1__evict_request__init(&request);
    request.bytes = bytes;
    request.dry_run = is_dry_run;
    answer = hc_cache_call(client, &call, err);
    response = (const void *)answer;
    if (response)
        *output = (struct hc_removal_output){response->removed,       response->n_removed,
                                             response->kept,          response->n_kept,
                                             response->freed_bytes,   is_dry_run,
                                             response->removed_total, response->n_kept};
    return answer;
}

static void evict_set_status(struct evict_options *options,
                             const evict_response *response)
{
    options->base.exit_status =
        response->missing_bytes > 0 ? HC_EXIT_FAILURE : HC_EXIT_OK;
}

/* 1: the person agrees; 0: there is nothing to agree to, and the plan is the answer. */
static int evict_preview(struct hc_client *client, struct evict_options *options,
                         uint64_t bytes, struct hc_error *err)
{
    struct hc_removal_output plan;
    HC_AUTO_MESSAGE *answer = NULL;

    if (hc_confirm_check(options->base.common, err) < 0)
        return -1;
    answer = evict_call(client, bytes, true, &plan, err);
    if (!answer || evict_print(&plan, (const void *)answer, err) < 0)
        return -1;
    evict_set_status(options, (const void *)answer);
    if (plan.removed_count == 0)
        return 0;
    return hc_confirm("Remove this from the cache?", err) < 0 ? -1 : 1;
}

static int evict_parse_size(const struct evict_options *options, uint64_t *bytes,
                            struct hc_error *err)
{
    const char *text =
        options->base.argument_count > 0 ? options->base.arguments[0] : NULL;

    *bytes = 0;
    if (!text || (hc_bytes_parse(text, bytes) == 0 && *bytes > 0))
        return 0;
    return hc_fail_field(err, HC_INVALID_OPTIONS, "bytes",
                         "'%s' is no size such as 500M or 20GB", text);
}

static int evict_run(struct hc_client *client, void *input, struct hc_error *err)
{
    struct evict_options *options = input;
    HC_AUTO_MESSAGE *answer = NULL;
    struct hc_removal_output output;
    const evict_response *response;
    uint64_t bytes;
    int agreed = 1;

    if (evict_parse_size(options, &bytes, err) < 0)
        return -1;
    if (!options->consent.is_dry_run && !options->consent.is_agreed)
        agreed = evict_preview(client, options, bytes, err);
    if (agreed <= 0)
        return agreed;
    answer = evict_call(client, bytes, options->consent.is_dry_run, &output, err);
    if (!answer)
        return -1;
    response = (const void *)answer;
    evict_set_status(options, response);
    return options->base.common->json ? evict_print_json(&output, response, err)
                                      : evict_print(&output, response, err);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): argp decides on the type */
static error_t evict_option_parse(int key, char *arg, struct argp_state *state)
{
    struct evict_options *options = state->input;

    (void)arg;
    if (key != ARGP_KEY_INIT)
        return ARGP_ERR_UNKNOWN;
    state->child_inputs[0] = &options->consent;
    return 0;
}

static const struct argp_child consent_children[] = {{&hc_consent_argp, 0, NULL, 0}, {0}};
static const struct argp evict_argp = {.parser = evict_option_parse,
                                       .children = consent_children};
static const struct argp_child evict_children[] = {{&evict_argp, 0, NULL, 0},
                                                   HC_COMMON_OPTIONS};

const struct hc_subcommand hc_evict_command = {
    .name = "evict",
    .arguments = "[SIZE]",
    .summary = "Makes room in the cache: removes what was used least recently, and "
               "nothing that is in use. Without SIZE as much as the limit asks for.",
    .children = evict_children,
    .arguments_max = 1,
    .options_size = sizeof(struct evict_options),
    .run_cache = evict_run,
};
